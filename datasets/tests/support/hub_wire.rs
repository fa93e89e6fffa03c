//! The test hub's requests and answers, as they go over the line.

use super::Trouble;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Hub,
    Store,
}

/// A request, and what it cost.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) host: Host,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
    /// What was sent with it.
    pub(crate) body: String,
    /// Bytes of the answer's body.
    pub(crate) sent: u64,
}

/// An answer before it is sent.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn json(value: &Value) -> Self {
        let mut answer = Self::new(200).with("Content-Type", "application/json");
        answer.body = value.to_string().into_bytes();
        answer
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        let mut answer = Self::new(status).with("X-Error-Code", code);
        answer.body = json!({ "error": code }).to_string().into_bytes();
        answer
    }
}

pub(super) fn read_request(reader: &mut impl BufRead, host: Host) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut parts = line.split_whitespace();
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = String::new();
    if let Some(length) = headers.get("content-length").and_then(|l| l.parse().ok()) {
        reader.take(length).read_to_string(&mut body).ok()?;
    }
    let range = headers.get("range").and_then(|r| {
        let (first, last) = r.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().unwrap_or(u64::MAX)))
    });
    Some(Asked {
        host,
        method,
        target,
        range,
        if_range: headers.remove("if-range"),
        authorization: headers.remove("authorization"),
        body,
        sent: 0,
    })
}

/// A file, or the part of it that was asked for.
pub(super) fn content(asked: &Asked, path: &Path, tag: &str, trouble: &Option<Trouble>) -> Answer {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let part = |first: u64, end: u64| {
        let mut bytes = vec![0; (end - first) as usize];
        file.read_exact_at(&mut bytes, first).unwrap();
        bytes
    };
    let head = |status| {
        Answer::new(status)
            .with("ETag", tag)
            .with("Accept-Ranges", "bytes")
    };
    let other_file = asked.if_range.as_ref().is_some_and(|t| t != tag);
    let whole = matches!(trouble, Some(Trouble::Whole)) || other_file;
    let Some((first, last)) = asked.range.filter(|_| !whole) else {
        let mut answer = head(200);
        if asked.method == "HEAD" {
            answer = answer.with("Content-Length", size);
        } else {
            answer.body = part(0, size);
        }
        return answer;
    };
    if first >= size {
        return head(416).with("Content-Range", format!("bytes */{size}"));
    }
    let last = last.min(size - 1);
    let shift = u64::from(matches!(trouble, Some(Trouble::OtherBytes)));
    let mut answer = head(206).with(
        "Content-Range",
        format!("bytes {}-{}/{size}", first + shift, last),
    );
    answer.body = part(first + shift, last + 1);
    answer
}

pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok());
        match hex.flatten().and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
