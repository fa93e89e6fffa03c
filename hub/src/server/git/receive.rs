//! Taking pushes. Source: git's documentation, `gitprotocol-pack`, "Pushing data to a server": this part of the
//! protocol has had no version 2.

use super::packets::{FLUSH, MOST, line, packet};
use super::{Hub, Visit, answer};
use crate::accounts::Right;
use crate::error::{Error, Result};
use crate::limits;
use crate::repos::push::{self, Target, Update, pack};
use crate::repos::refs;
use crate::server::access::check;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures_util::StreamExt;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// What this server can do. Thin packs would build on objects whose ids the client only has to name.
const CAPABILITIES: &str = "report-status delete-refs side-band-64k ofs-delta atomic no-thin object-format=sha1 agent=sinew-hub";
/// A ref that is not there.
const NOWHERE: &str = "0000000000000000000000000000000000000000";
/// Refs that one push may move.
const UPDATES: usize = 1000;
const LIMITS: pack::Limits = pack::Limits {
    objects: limits::PUSH_OBJECTS,
    object: limits::REGULAR as u64,
    total: limits::PUSH_UNPACKED,
};

/// Branches and tags, for a client that is about to push.
pub(super) async fn advertise(hub: &Hub, visit: &Visit) -> Result<Response> {
    let repo = visit.repo()?;
    check(hub, visit.caller.as_ref(), repo, Right::Write).await?;
    let mut body = line("# service=git-receive-pack\n");
    body.extend_from_slice(FLUSH);
    let all = refs::all(&hub.db, repo).await?;
    let mut capabilities = format!("\0{CAPABILITIES}");
    for one in &all {
        body.extend(line(&format!("{} {}{capabilities}\n", one.oid(), one.name)));
        capabilities.clear();
    }
    if all.is_empty() {
        body.extend(line(&format!(
            "{NOWHERE} capabilities^{{}}{capabilities}\n"
        )));
    }
    body.extend_from_slice(FLUSH);
    Ok(answer(
        Body::from(body),
        "application/x-git-receive-pack-advertisement",
    ))
}

/// Takes a push. What is wrong with it is told in git's own report, not by the status.
pub(in crate::server) async fn receive_pack(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Error::refused(
            415,
            "a push has to come as it is, without an encoding of its content",
        ));
    }
    let received = receive(&hub, body).await?;
    let scratch = hub.objects.scratch().await?;
    let (head, pushed) = blocking(move || {
        let mut reader = BufReader::with_capacity(256 * 1024, received);
        let head = commands(&mut reader)?;
        // Clients find out by an empty request whether they may push.
        let has_pack = head.updates.iter().any(|update| update.new.is_some());
        let pushed = if has_pack {
            pack::unpack(reader, scratch, LIMITS)
        } else {
            Ok(pack::Objects::none(scratch))
        };
        Ok((head, pushed))
    })
    .await?;
    let target = Target {
        db: &hub.db,
        objects: &hub.objects,
        caller: visit.caller()?,
        repo: visit.repo()?,
    };
    let done = match pushed {
        Ok(_) if head.updates.is_empty() => Ok(()),
        Ok(pushed) => push::push(target, &head.updates, pushed).await,
        Err(error) => Err(error),
    };
    let problem = match done {
        Ok(()) => None,
        Err(Error::Refused(refusal)) => Some(refusal.message),
        Err(failure) => return Err(failure),
    };
    Ok(answer(
        Body::from(report(&head, problem.as_deref())),
        "application/x-git-receive-pack-result",
    ))
}

/// Stores the body, so that it does not have to fit into memory.
async fn receive(hub: &Hub, body: Body) -> Result<File> {
    let io = || Error::io("store a push");
    let mut file = tokio::fs::File::from_std(hub.objects.scratch().await?);
    let mut body = body.into_data_stream();
    let mut size = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Error::bad(format!("the push broke off: {error}")))?;
        size += piece.len() as u64;
        if size > limits::PUSH {
            return Err(Error::refused(
                413,
                format!(
                    "a push has at most {} bytes; push in parts, and large files by git-lfs",
                    limits::PUSH
                ),
            ));
        }
        file.write_all(&piece).await.map_err(io())?;
    }
    file.flush().await.map_err(io())?;
    let mut file = file.into_std().await;
    file.rewind().map_err(io())?;
    Ok(file)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Damaged(format!("reading a push: {error}")))?
}

/// What a push asks for, before its pack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    updates: Vec<Update>,
    has_bands: bool,
}

/// Reads the commands and stops where the pack begins.
pub(super) fn commands(reader: &mut impl BufRead) -> Result<Commands> {
    let mut found = Commands::default();
    while let Some(text) = read_packet(reader)? {
        let (command, capabilities) = text.split_once('\0').unwrap_or((&text, ""));
        found.has_bands |= capabilities
            .split_whitespace()
            .any(|one| one == "side-band-64k");
        let command = command.trim_end_matches('\n');
        if command.starts_with("shallow ") {
            continue;
        }
        let mut parts = command.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::bad(
                "the push has a command that this hub does not know",
            ));
        };
        if found.updates.len() >= UPDATES || found.updates.iter().any(|update| update.name == name)
        {
            return Err(Error::bad("the push moves a ref twice, or more than 1000"));
        }
        let there = |oid: &str| (oid != NOWHERE).then(|| oid.to_owned());
        found.updates.push(Update {
            name: name.to_owned(),
            old: there(old),
            new: there(new),
        });
    }
    Ok(found)
}

/// Reads the commands and makes the reports for them: how many refs would move. For fuzzing.
#[cfg(any(test, fuzzing))]
pub(super) fn rehearse(mut bytes: &[u8]) -> Result<usize> {
    let head = commands(&mut bytes)?;
    let _ = report(&head, None);
    let _ = report(&head, Some("no\nreason"));
    Ok(head.updates.len())
}

/// A packet's text; `None` at a flush, or when there is nothing at all.
fn read_packet(reader: &mut impl BufRead) -> Result<Option<String>> {
    let broken = || Error::bad("the push does not begin with packet lines");
    if reader
        .fill_buf()
        .map_err(Error::io("read a push"))?
        .is_empty()
    {
        return Ok(None);
    }
    let mut digits = [0; 4];
    reader.read_exact(&mut digits).map_err(|_| broken())?;
    let length = std::str::from_utf8(&digits)
        .ok()
        .and_then(|text| usize::from_str_radix(text, 16).ok());
    let length = match length {
        Some(0) => return Ok(None),
        Some(length) if (4..=MOST + 4).contains(&length) => length - 4,
        _ => return Err(broken()),
    };
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(|_| broken())?;
    String::from_utf8(text).map(Some).map_err(|_| broken())
}

/// The report: `ok`, or the same reason for every ref, since they move together.
fn report(head: &Commands, problem: Option<&str>) -> Vec<u8> {
    if head.updates.is_empty() {
        return Vec::new();
    }
    let mut report = line("unpack ok\n");
    for update in &head.updates {
        let name = &update.name;
        let verdict = match problem {
            None => format!("ok {name}\n"),
            Some(problem) => {
                let words: String = problem
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .take(900)
                    .collect();
                format!("ng {name} {words}\n")
            }
        };
        report.extend(line(&verdict));
    }
    report.extend_from_slice(FLUSH);
    if !head.has_bands {
        return report;
    }
    let mut banded = Vec::new();
    for part in report.chunks(MOST - 1) {
        banded.extend(packet(&[&[1], part].concat()));
    }
    banded.extend_from_slice(FLUSH);
    banded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_end_where_the_pack_begins() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let mut bytes = line(&format!(
            "{a} {b} refs/heads/main\0 report-status side-band-64k\n"
        ));
        bytes.extend(line(&format!("{a} {NOWHERE} refs/heads/old\n")));
        bytes.extend_from_slice(b"0000PACK");
        let mut reader = bytes.as_slice();
        let found = commands(&mut reader).unwrap();
        assert_eq!(reader, b"PACK");
        assert!(found.has_bands);
        assert_eq!(
            (&found.updates[0].new, &found.updates[1].new),
            (&Some(b), &None)
        );
    }

    proptest! {
        #[test]
        fn no_push_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), head in "[0-9a-f]{0,8}") {
            let _ = commands(&mut bytes.as_slice());
            let bytes = [head.as_bytes(), &bytes].concat();
            let _ = commands(&mut bytes.as_slice());
        }
    }
}
