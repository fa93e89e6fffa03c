//! Git over HTTP: clone and fetch by protocol version 2, and pushes. Source: git's documentation, `gitprotocol-v2` and
//! `gitprotocol-http`.
//!
//! A fetch's path: [`packets`] reads the request → [`reach`] finds which objects the client lacks → [`pack`]
//! writes them. Pushes are taken by [`receive`].

mod pack;
mod packets;
mod reach;
mod receive;

use super::Hub;
use super::access::Visit;
use super::info::{first, pairs};
use super::reply::{read_body, set};
use crate::error::{Error, Result};
use crate::repos::refs;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use packets::{DELIMITER, FLUSH, Fetch, ListRefs, Request, line};
pub(super) use receive::receive_pack;
use std::io::Read;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes of a request, unpacked.
const REQUEST: usize = 4 * 1024 * 1024;

/// What this server can do.
pub(super) async fn info_refs(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = pairs(&query.unwrap_or_default());
    match first(&query, "service") {
        Some("git-upload-pack") => {}
        Some("git-receive-pack") => return receive::advertise(&hub, &visit).await,
        _ => {
            return Err(Error::bad(
                "this hub speaks git's smart protocol only; use git 2.26 or later",
            ));
        }
    }
    let version = headers
        .get("git-protocol")
        .and_then(|value| value.to_str().ok());
    if !version.is_some_and(|version| version.split(':').any(|part| part == "version=2")) {
        return Err(Error::bad(
            "this hub speaks git's protocol version 2; use git 2.26 or later",
        ));
    }
    let mut body = line("# service=git-upload-pack\n");
    body.extend_from_slice(FLUSH);
    for capability in [
        "version 2\n",
        "agent=sinew-hub\n",
        "ls-refs=unborn\n",
        "fetch=shallow\n",
        "object-format=sha1\n",
    ] {
        body.extend(line(capability));
    }
    body.extend_from_slice(FLUSH);
    Ok(answer(
        Body::from(body),
        "application/x-git-upload-pack-advertisement",
    ))
}

fn answer(body: Body, kind: &'static str) -> Response {
    let mut response = body.into_response();
    set(response.headers_mut(), "content-type", kind);
    set(response.headers_mut(), "cache-control", "no-cache");
    response
}

const RESULT: &str = "application/x-git-upload-pack-result";

/// Lists branches and tags, or sends objects.
pub(super) async fn upload_pack(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let bytes = read_body(body, REQUEST).await?;
    let bytes = unzip(&headers, bytes)?;
    match packets::parse(&bytes)? {
        Request::ListRefs(request) => list_refs(&hub, &visit, &request).await,
        Request::Fetch(request) => fetch(hub, visit, request).await,
    }
}

/// Git packs requests that have many lines.
fn unzip(headers: &HeaderMap, bytes: Bytes) -> Result<Bytes> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    if !encoding.is_some_and(|encoding| encoding == "gzip" || encoding == "x-gzip") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let decoder = flate2::read::GzDecoder::new(bytes.as_ref());
    let done = decoder.take(REQUEST as u64 + 1).read_to_end(&mut plain);
    if done.is_err() || plain.len() > REQUEST {
        return Err(Error::bad("the request does not unpack or is too large"));
    }
    Ok(Bytes::from(plain))
}

/// Reads what a client might send to either service: how many refs it would move. For fuzzing.
#[cfg(any(test, fuzzing))]
pub(super) fn rehearse(bytes: &[u8]) -> Option<usize> {
    let _ = packets::parse(bytes);
    receive::rehearse(bytes).ok()
}

async fn list_refs(hub: &Hub, visit: &Visit, request: &ListRefs) -> Result<Response> {
    let all = refs::all(&hub.db, visit.repo()?).await?;
    let is_wanted = |name: &str| {
        request.prefixes.is_empty()
            || request
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
    };
    let mut body = Vec::new();
    let main = all.iter().find(|one| one.name == "refs/heads/main");
    if let Some(main) = main.filter(|_| is_wanted("HEAD")) {
        body.extend(line(&format!(
            "{} HEAD symref-target:refs/heads/main\n",
            main.target
        )));
    }
    for one in all.iter().filter(|one| is_wanted(&one.name)) {
        let peeled = match &one.tag {
            Some(_) if request.peels => format!(" peeled:{}", one.target),
            _ => String::new(),
        };
        body.extend(line(&format!("{} {}{peeled}\n", one.oid(), one.name)));
    }
    body.extend_from_slice(FLUSH);
    Ok(answer(Body::from(body), RESULT))
}

async fn fetch(hub: Arc<Hub>, visit: Visit, request: Fetch) -> Result<Response> {
    let repo = visit.repo()?.clone();
    let commits = reach::Commits::find(&hub.db, &repo, &request).await?;
    let mut head = Vec::new();
    if !request.is_done {
        head.extend(line("acknowledgments\n"));
        for oid in &commits.common {
            head.extend(line(&format!("ACK {oid}\n")));
        }
        if commits.common.is_empty() {
            head.extend(line("NAK\n"));
            head.extend_from_slice(FLUSH);
            return Ok(answer(Body::from(head), RESULT));
        }
        head.extend(line("ready\n"));
        head.extend_from_slice(DELIMITER);
    }
    if request.depth.is_some() {
        head.extend(line("shallow-info\n"));
        for oid in &commits.shallow {
            head.extend(line(&format!("shallow {oid}\n")));
        }
        for oid in &commits.unshallow {
            head.extend(line(&format!("unshallow {oid}\n")));
        }
        head.extend_from_slice(DELIMITER);
    }
    head.extend(line("packfile\n"));
    let objects = reach::Objects::find(&hub.db, &commits).await?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let first = sender.send(Ok(Bytes::from(head))).await;
        if first.is_ok()
            && let Err(error) = pack::write(&hub, &repo, &commits, objects, &sender).await
        {
            tracing::error!("sending a pack of {}: {error}", repo.id);
            // The client sees a stream that breaks off, and tries again.
            let broken = std::io::Error::other("the pack could not be written");
            let _ = sender.send(Err(broken)).await;
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok(answer(Body::from_stream(stream), RESULT))
}
