//! Files by path: their headers, which tell the clients everything, and their bytes, whole or in part.

use super::Hub;
use super::access::Visit;
use super::reply::{harmless, set};
use super::tree::encode;
use crate::cas;
use crate::error::{Code, Error, Result};
use crate::objects::{ByteStream, lfs_key, pack_key};
use crate::repos::files::{self, Large};
use crate::repos::git::Entry;
use crate::repos::refs::{self, Commit};
use crate::repos::{Repo, trees};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::ops::Range;
use std::sync::Arc;

type FilePath = Path<(String, String, String, String)>;

/// A file, large ones with their contents.
pub(super) async fn file(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision, path)): FilePath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let repo = visit.repo()?;
    let (commit, entry) = find(&hub, repo, &revision, &path).await?;
    let known = files::large_of(&hub.db, repo, std::iter::once(&entry)).await?;
    let large = files::large_behind(&entry, &known);
    let size = large.map_or_else(|| files::blob_size(&entry), |large| large.size);
    let etag = large.map_or(&entry.oid, |large| &large.sha256);
    if method != Method::HEAD && headers.contains_key("x-hf-download-counter") {
        hub.downloads.count(&hub.db, &repo.id);
    }
    let away = match large {
        Some(large) => large_away(&hub, &method, large).await?,
        None => None,
    };
    let open = async |range| match large {
        Some(large) => large_bytes(&hub, large, range).await,
        None => blob_bytes(&hub, &entry.oid, range).await,
    };
    let mut response = match away {
        Some(away) => away,
        None => respond(&method, &headers, size, etag, open).await?,
    };
    let out = response.headers_mut();
    describe(out, &commit, &path);
    if let Some(large) = large {
        set(out, "x-linked-etag", &format!("\"{}\"", large.sha256));
        set(out, "x-linked-size", &large.size.to_string());
        if let Some(xet) = &large.xet {
            set(out, "x-xet-hash", xet);
            let route = format!(
                "{}/api/{}/{}/xet-read-token/{}",
                visit.base,
                repo.kind.plural(),
                repo.full_name(),
                commit.oid
            );
            set(out, "link", &format!("<{route}>; rel=\"xet-auth\""));
        }
    }
    Ok(response)
}

/// A file as git has it: pointers in place of large files.
pub(super) async fn raw(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision, path)): FilePath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let (commit, entry) = find(&hub, visit.repo()?, &revision, &path).await?;
    let size = files::blob_size(&entry);
    let mut response = respond(&method, &headers, size, &entry.oid, async |range| {
        blob_bytes(&hub, &entry.oid, range).await
    })
    .await?;
    describe(response.headers_mut(), &commit, &path);
    Ok(response)
}

async fn find(hub: &Hub, repo: &Repo, revision: &str, path: &str) -> Result<(Commit, Entry)> {
    let commit = refs::resolve(&hub.db, repo, revision).await?;
    let entry = trees::find(&hub.db, &commit.tree, path).await?;
    let entry = entry.filter(|entry| !entry.is_folder()).ok_or_else(|| {
        let shown: String = path.chars().take(300).collect();
        Error::missing(
            Code::EntryNotFound,
            format!("Entry not found: {shown:?} at {revision}"),
        )
        .at_commit(&commit.oid)
    })?;
    Ok((commit, entry))
}

fn describe(headers: &mut HeaderMap, commit: &Commit, path: &str) {
    set(headers, "x-repo-commit", &commit.oid);
    let name = path.rsplit('/').next().unwrap_or(path);
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '\\' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let disposition = format!(
        "inline; filename*=UTF-8''{}; filename=\"{plain}\";",
        encode(name)
    );
    set(headers, "content-disposition", &disposition);
}

/// An answer with the bytes that the request's headers ask for.
pub(super) async fn respond(
    method: &Method,
    headers: &HeaderMap,
    size: u64,
    etag: &str,
    open: impl AsyncFnOnce(Range<u64>) -> Result<ByteStream>,
) -> Result<Response> {
    let etag = format!("\"{etag}\"");
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        set(response.headers_mut(), "etag", &etag);
        return Ok(response);
    }
    let part = byte_range(headers, size)?;
    let range = part.clone().unwrap_or(0..size);
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(open(range.clone()).await?)
    };
    let mut response = body.into_response();
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let out = response.headers_mut();
    harmless(out);
    set(out, "etag", &etag);
    set(out, "accept-ranges", "bytes");
    set(
        out,
        "content-length",
        &(range.end - range.start).to_string(),
    );
    if part.is_some() {
        let last = range.end.saturating_sub(1);
        set(
            out,
            "content-range",
            &format!("bytes {}-{last}/{size}", range.start),
        );
    }
    Ok(response)
}

/// The one range that a request asks for; `None` for everything. Several at once are answered with everything,
/// as HTTP allows.
pub(super) fn byte_range(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>> {
    let Some(value) = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(None);
    };
    match parse_range(value, size) {
        Asked::Everything => Ok(None),
        Asked::Part(range) => Ok(Some(range)),
        Asked::Nothing => Err(Error::refused(
            416,
            format!("the file has {size} bytes; there is nothing at {value}"),
        )),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Everything,
    Part(Range<u64>),
    Nothing,
}

/// Source: RFC 9110 §14.1.2.
fn parse_range(value: &str, size: u64) -> Asked {
    let Some((first, last)) = value
        .strip_prefix("bytes=")
        .filter(|spec| !spec.contains(','))
        .and_then(|spec| spec.trim().split_once('-'))
    else {
        return Asked::Everything;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(count)) if first.trim().is_empty() && count > 0 => {
            size.saturating_sub(count)..size
        }
        (Err(_), Ok(_)) if first.trim().is_empty() => return Asked::Nothing,
        _ => return Asked::Everything,
    };
    if range.start >= size {
        Asked::Nothing
    } else {
        Asked::Part(range)
    }
}

/// Sends a client to the store itself for one GET with these headers; `None` where that cannot be.
pub(super) async fn direct(
    hub: &Hub,
    key: &str,
    headers: &[(HeaderName, String)],
) -> Result<Option<Response>> {
    let address = hub.objects.signed(Method::GET, key, headers).await?;
    Ok(address.map(|address| {
        tracing::debug!("{key} is had from the store");
        let mut response = StatusCode::FOUND.into_response();
        set(response.headers_mut(), "location", &address);
        set(response.headers_mut(), "cache-control", "no-store");
        response
    }))
}

/// The same for a large file that lies in the store as it is.
pub(super) async fn large_away(
    hub: &Hub,
    method: &Method,
    large: &Large,
) -> Result<Option<Response>> {
    if method != Method::GET || !large.is_stored {
        return Ok(None);
    }
    direct(hub, &lfs_key(&large.sha256), &[]).await
}

async fn blob_bytes(hub: &Hub, oid: &str, range: Range<u64>) -> Result<ByteStream> {
    let (pack, start, _) = files::blob_place(&hub.db, oid).await?;
    hub.objects
        .stream(&pack_key(&pack), start + range.start..start + range.end)
        .await
}

/// Bytes of a large file, wherever it is stored.
pub(super) async fn large_bytes(hub: &Hub, large: &Large, range: Range<u64>) -> Result<ByteStream> {
    if large.is_stored {
        return hub.objects.stream(&lfs_key(&large.sha256), range).await;
    }
    let damaged = || Error::Damaged(format!("large file {} is nowhere; run fsck", large.sha256));
    let file = large.xet.as_ref().ok_or_else(damaged)?;
    let terms = cas::files::terms(&hub.db, file)
        .await?
        .ok_or_else(damaged)?;
    cas::read::stream(&hub.tables, &hub.objects, &terms, range).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_https() {
        for (text, expected) in [
            ("bytes=0-9", Asked::Part(0..10)),
            ("bytes=90-", Asked::Part(90..100)),
            ("bytes=-5", Asked::Part(95..100)),
            ("bytes=-500", Asked::Part(0..100)),
            ("bytes=50-1000", Asked::Part(50..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-1", Asked::Everything),
            ("bytes=0-1,3-4", Asked::Everything),
            ("lines=0-1", Asked::Everything),
        ] {
            assert_eq!(parse_range(text, 100), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-0", 0), Asked::Nothing);
    }

    proptest! {
        #[test]
        fn parts_lie_in_the_file(text in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Asked::Part(range) = parse_range(&text, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
