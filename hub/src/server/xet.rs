//! Xet: tokens for it, xorbs and shards in, reconstructions and packed bytes out.

use super::Hub;
use super::access::Visit;
use super::links::LinkQuery;
use super::reply::{ok, read_body, set};
use super::resolve::{byte_range, direct};
use crate::accounts::quota;
use crate::cas::register::{Target, register};
use crate::cas::{dedup, files, reconstruction, xorbs};
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::xorb_key;
use crate::repos::refs;
use crate::xet::Hash;
use crate::xet::reconstruction::{Reconstruction, Span, XorbSpan};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

type RepoPath = Path<(String, String, String)>;

/// A token for reading large files.
pub(super) async fn read_token(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision)): RepoPath,
) -> Result<Response> {
    refs::resolve(&hub.db, visit.repo()?, &revision).await?;
    token(&hub, &visit, false)
}

/// A token for uploading large files. The revision may be one that a commit will make.
pub(super) async fn write_token(visit: Visit, State(hub): State<Arc<Hub>>) -> Result<Response> {
    token(&hub, &visit, true)
}

/// Some clients read the headers, others the body.
fn token(hub: &Hub, visit: &Visit, may_write: bool) -> Result<Response> {
    let token_id = visit.caller.as_ref().map_or("", |caller| &caller.token_id);
    let (token, expires_s) = hub.keys.xet_token(token_id, &visit.repo()?.id, may_write);
    let body = json!({"casUrl": visit.base, "accessToken": token, "exp": expires_s});
    let mut response = ok(body);
    let headers = response.headers_mut();
    set(headers, "x-xet-cas-url", &visit.base);
    set(headers, "x-xet-access-token", &token);
    set(headers, "x-xet-token-expiration", &expires_s.to_string());
    set(headers, "cache-control", "no-store");
    Ok(response)
}

pub(super) fn hash(text: &str) -> Result<Hash> {
    text.parse().map_err(|error| Error::bad(format!("{error}")))
}

/// Takes a xorb.
pub(super) async fn put_xorb(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, name)): Path<(String, String)>,
    body: Body,
) -> Result<Response> {
    quota::check(&hub.db, &visit.repo()?.owner, 0).await?;
    let is_new = xorbs::store(&hub.db, &hub.objects, visit.caller()?, &hash(&name)?, body).await?;
    Ok(ok(json!({"was_inserted": is_new})))
}

/// Whether a xorb is there, for those who could upload it.
pub(super) async fn head_xorb(
    visit: Visit,
    method: Method,
    State(hub): State<Arc<Hub>>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response> {
    if method != Method::HEAD {
        return Err(Error::refused(
            405,
            "xorbs are read through reconstructions",
        ));
    }
    let name = hash(&name)?.to_string();
    // Only whoever may refer to it is told.
    let reached = dedup::reachable(&hub.db, visit.caller()?, std::slice::from_ref(&name)).await?;
    if !reached.is_empty() {
        return Ok(StatusCode::OK.into_response());
    }
    Err(Error::refused(404, format!("there is no xorb {name}")))
}

/// Global deduplication: a shard of the xorbs that have a chunk, among those that the caller may refer to.
pub(super) async fn chunk(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let chunk = hash(&name)?;
    let missing = || Error::refused(404, "no file that you may read has this chunk");
    let caller = visit.caller.as_ref().ok_or_else(missing)?;
    let _permit = super::memory(&hub, &headers, 1, dedup::ANSWER_MIB).await?;
    let shard = dedup::answer(&hub.tables, caller, &chunk).await?;
    let mut response = Body::from(shard.ok_or_else(missing)?).into_response();
    super::reply::harmless(response.headers_mut());
    Ok(response)
}

/// Memory that the largest shard takes with what is read from it, MiB.
const SHARD_MIB: u32 = 192;

/// Takes a shard and answers when it is checked.
pub(super) async fn put_shard_v1(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let _permit = super::memory(&hub, &headers, 3, SHARD_MIB).await?;
    let bytes = read_body(body, limits::SHARD).await?;
    let is_new = register(target(&hub, &visit)?, &bytes, |_, _| {}).await?;
    Ok(ok(json!({"result": i32::from(is_new)})))
}

fn target<'a>(hub: &'a Hub, visit: &'a Visit) -> Result<Target<'a>> {
    Ok(Target {
        db: &hub.db,
        tables: &hub.tables,
        objects: &hub.objects,
        caller: visit.caller()?,
        repo: visit.repo()?,
    })
}

/// How long nothing may be said while a shard is checked.
const SILENCE: Duration = Duration::from_secs(10);

/// Takes a shard and tells how its check goes.
pub(super) async fn put_shard_v2(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let permit = super::memory(&hub, &headers, 3, SHARD_MIB).await?;
    let bytes = read_body(body, limits::SHARD).await?;
    visit.caller()?;
    let (sender, receiver) = mpsc::channel(16);
    // It goes on when the client hangs up, so that its next try finds the work done.
    tokio::spawn(async move {
        let _permit = permit;
        let last = check_shard(&hub, &visit, &bytes, &sender).await;
        // The client may have gone.
        let _ = sender.send(last).await;
    });
    let mut response = Body::from_stream(frames(receiver)).into_response();
    set(
        response.headers_mut(),
        "content-type",
        "application/x-ndjson",
    );
    Ok(response)
}

async fn check_shard(
    hub: &Hub,
    visit: &Visit,
    bytes: &Bytes,
    sender: &mpsc::Sender<Value>,
) -> Value {
    let progress = |verified: usize, total: usize| {
        // A client that reads slowly misses some of the progress.
        let frame = json!({"type": "validating", "verified": verified, "total": total});
        let _ = sender.try_send(frame);
    };
    let done = match target(hub, visit) {
        Ok(target) => register(target, bytes, progress).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => json!({"type": "result"}),
        Err(Error::Refused(refusal)) => {
            json!({"type": "error", "message": refusal.message, "retryable": false})
        }
        Err(failure) => {
            tracing::error!("checking a shard: {failure}");
            json!({"type": "error", "message": "internal error; the hub's log says more", "retryable": true})
        }
    }
}

/// Frames as lines; what was said last is said again when the check takes long.
fn frames(
    receiver: mpsc::Receiver<Value>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    let start = json!({"type": "validating", "verified": 0, "total": 0});
    stream::unfold((receiver, start), |(mut receiver, last)| async move {
        let frame = match tokio::time::timeout(SILENCE, receiver.recv()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return None,
            Err(_) => last,
        };
        let line = Bytes::from(format!("{frame}\n"));
        Some((Ok(line), (receiver, frame)))
    })
}

/// How to put a file together, first version of the answer.
pub(super) async fn reconstruction_v1(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let plan = plan(&hub, &visit, &file, &headers).await?;
    let url = |hash: &Hash, bytes: &Span<u64>| xorb_url(&hub, &visit, hash, bytes);
    Ok(ok(json!(plan.into_v1(url))))
}

/// How to put a file together. One range an address: otherwise clients may ask for several at once.
pub(super) async fn reconstruction_v2(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let plan = plan(&hub, &visit, &file, &headers).await?;
    let url = |hash: &Hash, spans: &[XorbSpan]| {
        let span = spans
            .first()
            .map(|span| xorb_url(&hub, &visit, hash, &span.bytes));
        span.unwrap_or_default()
    };
    Ok(ok(json!(plan.into_v2(1, url))))
}

async fn plan(hub: &Hub, visit: &Visit, file: &str, headers: &HeaderMap) -> Result<Reconstruction> {
    let hash = hash(file)?;
    let name = hash.to_string();
    let missing = || Error::refused(404, format!("this repository has no file {name}"));
    if !files::is_in_repo(&hub.db, visit.repo()?, &name).await? {
        return Err(missing());
    }
    let terms = files::terms(&hub.db, &name).await?.ok_or_else(missing)?;
    let size: u64 = terms.iter().map(|term| u64::from(term.raw_len)).sum();
    let range = byte_range(headers, size)?.unwrap_or(0..size);
    reconstruction::plan(&hub.tables, &hash, &terms, range).await
}

/// A signed address names the range too: a xorb may hold chunks of files that the reader may not see.
fn xorb_url(hub: &Hub, visit: &Visit, hash: &Hash, bytes: &Span<u64>) -> String {
    let range = format!("{}-{}", bytes.start, bytes.end);
    let query = hub.keys.link("xorb", &format!("{hash} {range}"));
    format!("{}/xet/xorbs/{hash}{query}&r={range}", visit.base)
}

#[derive(Debug, Deserialize)]
pub(super) struct Allowed {
    /// First and last byte.
    r: String,
}

/// Packed bytes of a xorb, by a signed address.
pub(super) async fn xorb_bytes(
    State(hub): State<Arc<Hub>>,
    Path(name): Path<String>,
    Query(query): Query<LinkQuery>,
    Query(allowed): Query<Allowed>,
    headers: HeaderMap,
) -> Result<Response> {
    let name = hash(&name)?.to_string();
    hub.keys
        .check_link("xorb", &format!("{name} {}", allowed.r), &query)?;
    let bounds = allowed.r.split_once('-');
    let bounds = bounds.and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    let (start, last): (u64, u64) = bounds.ok_or_else(|| Error::bad("the address has no range"))?;
    let end = last.saturating_add(1);
    let range = byte_range(&headers, end)?.unwrap_or(start..end);
    if range.start < start || range.end > end {
        return Err(Error::refused(
            416,
            format!("this address is for bytes {start} to {last}"),
        ));
    }
    let exactly = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    // The store is told no other range than the one that was checked here.
    if headers
        .get(header::RANGE)
        .is_some_and(|value| value == exactly.as_str())
        && let Some(away) = direct(&hub, &xorb_key(&name), &[(header::RANGE, exactly)]).await?
    {
        return Ok(away);
    }
    let stream = hub.objects.stream(&xorb_key(&name), range.clone()).await?;
    let mut response = Body::from_stream(stream).into_response();
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    super::reply::harmless(headers);
    set(
        headers,
        "content-length",
        &(range.end - range.start).to_string(),
    );
    let content_range = format!("bytes {}-{}/*", range.start, range.end.saturating_sub(1));
    set(headers, "content-range", &content_range);
    Ok(response)
}
