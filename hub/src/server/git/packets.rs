//! Packet lines, and what a client asks for in them.

use crate::error::{Error, Result};
use crate::repos::names::is_commit_id;

/// Ends a section.
pub(super) const DELIMITER: &[u8] = b"0001";
/// Ends a message.
pub(super) const FLUSH: &[u8] = b"0000";
/// Bytes of contents that a packet has at most.
pub(super) const MOST: usize = 65_515;
/// Wants, haves and the like of one request.
const LINES: usize = 50_000;

/// A packet with a text.
pub(super) fn line(text: &str) -> Vec<u8> {
    packet(text.as_bytes())
}

/// A packet; longer contents than [`MOST`] are cut, which no caller has.
pub(super) fn packet(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let mut packet = format!("{:04x}", bytes.len() + 4).into_bytes();
    packet.extend_from_slice(bytes);
    packet
}

/// A request of protocol version 2.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    ListRefs(ListRefs),
    Fetch(Fetch),
}

/// Which branches and tags are to be listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListRefs {
    /// Those whose names begin with one of these; all without any.
    pub prefixes: Vec<String>,
    /// Whether to say which commits annotated tags are on.
    pub peels: bool,
}

/// Which objects are wanted, and which are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fetch {
    pub wants: Vec<String>,
    pub haves: Vec<String>,
    /// Commits whose parents the client does not have.
    pub shallow: Vec<String>,
    /// How many commits of each history are wanted.
    pub depth: Option<usize>,
    /// Whether the client has said all that it has.
    pub is_done: bool,
    /// Whether annotated tags on what is sent are wanted too.
    pub includes_tags: bool,
}

/// Reads a request.
pub(super) fn parse(bytes: &[u8]) -> Result<Request> {
    let mut command = String::new();
    let mut list = ListRefs::default();
    let mut fetch = Fetch::default();
    for (count, text) in Lines(bytes).enumerate() {
        let text = text?;
        if count >= LINES {
            return Err(Error::bad("the request has too many lines"));
        }
        let (word, rest) = text.split_once([' ', '=']).unwrap_or((&text, ""));
        match word {
            "command" => command = rest.to_owned(),
            "ref-prefix" => list.prefixes.push(rest.to_owned()),
            "peel" => list.peels = true,
            "want" => fetch.wants.push(oid(rest)?),
            "have" => fetch.haves.push(oid(rest)?),
            "shallow" => fetch.shallow.push(oid(rest)?),
            "deepen" => {
                let depth = rest.parse().ok().filter(|depth| *depth > 0);
                fetch.depth = Some(depth.ok_or_else(|| Error::bad("deepen wants a number"))?);
            }
            "done" => fetch.is_done = true,
            "include-tag" => fetch.includes_tags = true,
            "deepen-since" | "deepen-not" | "deepen-relative" | "filter" => {
                return Err(Error::bad(format!(
                    "this hub does not know {word:?}; clone without it"
                )));
            }
            _ => {}
        }
    }
    match command.as_str() {
        "ls-refs" => Ok(Request::ListRefs(list)),
        "fetch" if fetch.wants.is_empty() => Err(Error::bad("the request wants nothing")),
        "fetch" => Ok(Request::Fetch(fetch)),
        _ => Err(Error::bad("the request has no command that this hub knows")),
    }
}

fn oid(text: &str) -> Result<String> {
    if is_commit_id(text) {
        return Ok(text.to_owned());
    }
    Err(Error::bad("an object's id has 40 hex digits"))
}

/// The texts of packet lines; delimiters and flushes are passed over.
struct Lines<'a>(&'a [u8]);

impl Iterator for Lines<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let broken = || Error::bad("the request is no sequence of packet lines");
            let length = self
                .0
                .get(..4)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(length) = length.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
                self.0 = &[];
                return Some(Err(broken()));
            };
            if length < 4 {
                self.0 = &self.0[4..];
                continue;
            }
            let Some(text) = self.0.get(4..length) else {
                self.0 = &[];
                return Some(Err(broken()));
            };
            self.0 = &self.0[length..];
            let text = String::from_utf8_lossy(text)
                .trim_end_matches('\n')
                .to_owned();
            return Some(Ok(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(lines: &[&str]) -> Vec<u8> {
        let mut bytes: Vec<u8> = lines.iter().flat_map(|text| line(text)).collect();
        bytes.extend_from_slice(FLUSH);
        bytes
    }

    #[test]
    fn a_fetch_is_read() {
        let id = "a".repeat(40);
        let bytes = request(&[
            "command=fetch\n",
            "thin-pack\n",
            &format!("want {id}\n"),
            "deepen 1\n",
            "done\n",
        ]);
        let expected = Fetch {
            wants: vec![id],
            depth: Some(1),
            is_done: true,
            ..Fetch::default()
        };
        assert_eq!(parse(&bytes).unwrap(), Request::Fetch(expected));
    }

    #[test]
    fn a_list_is_read() {
        let bytes = request(&["command=ls-refs\n", "peel\n", "ref-prefix refs/heads/\n"]);
        let expected = ListRefs {
            prefixes: vec!["refs/heads/".to_owned()],
            peels: true,
        };
        assert_eq!(parse(&bytes).unwrap(), Request::ListRefs(expected));
    }

    proptest! {
        #[test]
        fn no_request_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), head in "[0-9a-f]{0,8}") {
            let _ = parse(&bytes);
            let mut bytes = bytes;
            bytes.splice(0..0, head.into_bytes());
            let _ = parse(&bytes);
        }
    }
}
