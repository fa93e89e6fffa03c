//! One file of a repository: where its bytes are, and ranges of them.
//!
//! The hub says how large a file is and either gives its bytes itself or names a signed address at a
//! store. That address is used until it expires. Every answer is checked to be about the same file.

use super::client::{Answer, Ask, Away};
use super::fault::Fault;
use super::hub::Hub;
use super::url::{Url, path};
use crate::error::{HubFault, Result};
use std::io::Read;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use ureq::http::{HeaderMap, StatusCode, header};

/// Largest file, bytes: far above what a hub stores, and small enough to count with.
const SIZE_LIMIT_BYTES: u64 = 1 << 50;
/// Progress that makes earlier failures count no longer, bytes.
const PROGRESS_BYTES: usize = 64 << 10;

/// A file of a repository at its pinned commit.
#[derive(Debug)]
pub(super) struct Object {
    /// Inside the dataset.
    path: String,
    size: u64,
    /// What the hub says identifies the contents.
    tag: String,
    place: Mutex<Place>,
    /// Held by the thread that asks for a new address, so that the others wait for it.
    renewing: Mutex<()>,
}

/// Where the bytes come from at present.
#[derive(Debug, Clone)]
struct Place {
    url: Url,
    /// The ETag by which this server knows the file, once it has told.
    entity: Option<String>,
}

/// What the hub says about a file.
struct Resolved {
    size: u64,
    tag: String,
    place: Place,
}

impl Object {
    /// Asks the hub for the file.
    pub(super) fn open(hub: &Hub, path: &str) -> Result<Self> {
        let place = hub.place(path);
        let found = hub.client.persist(&place, |_| resolve(hub, path))?;
        Ok(Self {
            path: path.to_owned(),
            size: found.size,
            tag: found.tag,
            place: Mutex::new(found.place),
            renewing: Mutex::new(()),
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn place(&self) -> Place {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes the ETag of the server at `place`, unless the file comes from elsewhere by now.
    fn learn(&self, place: &Place, entity: Option<String>) {
        let mut now = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if now.url == place.url {
            now.entity = entity;
        }
    }

    /// The bytes in `range`, which is not empty and lies inside the file. What has arrived when a
    /// connection breaks is kept.
    pub(super) fn fetch(&self, hub: &Hub, range: Range<u64>) -> Result<Vec<u8>> {
        let length = (range.end - range.start) as usize;
        let mut got = Vec::with_capacity(length);
        let mut counted = 0;
        hub.client.persist(&hub.place(&self.path), |tries| {
            let rest = range.start + got.len() as u64..range.end;
            let place = self.place();
            let fault = match self.fetch_once(hub, &place, rest, &mut got) {
                Ok(()) if got.len() == length => return Ok(()),
                Ok(()) => Fault::broken("the server ended its answer early"),
                Err(fault) => fault,
            };
            if got.len() >= counted + PROGRESS_BYTES {
                counted = got.len();
                tries.renew();
            }
            if matches!(fault, Fault::Expired(_)) {
                self.renew(hub, &place)?;
            }
            Err(fault)
        })?;
        Ok(got)
    }

    /// Asks `place` once for `range` and appends what comes of it.
    fn fetch_once(
        &self,
        hub: &Hub,
        place: &Place,
        range: Range<u64>,
        got: &mut Vec<u8>,
    ) -> std::result::Result<(), Fault> {
        let answer = hub.client.ask(&Ask {
            url: &place.url,
            head: false,
            range: Some(range.clone()),
            // A weak tag does not identify bytes, so that servers refuse it here.
            if_range: place.entity.clone().filter(|tag| !tag.starts_with("W/")),
            away: Away::Follow,
        })?;
        let length = self.check(hub, &answer, place, &range)?;
        let entity = text(&answer.headers, header::ETAG.as_str());
        if place.entity.is_none() && entity.is_some() {
            self.learn(place, entity);
        }
        let mut body = answer.body.into_reader();
        let read = body.by_ref().take(length).read_to_end(got);
        read.map_err(|e| Fault::broken(format!("the answer broke off ({e})")))?;
        // Reading to the end gives the connection back.
        let _ = body.read(&mut [0]);
        Ok(())
    }

    /// Whether the answer is about these bytes of this file; the number of bytes to take from it.
    fn check(
        &self,
        hub: &Hub,
        answer: &Answer<'_>,
        place: &Place,
        range: &Range<u64>,
    ) -> std::result::Result<u64, Fault> {
        let at_home = answer.url.origin() == hub.client.endpoint().origin();
        match answer.status {
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {}
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED => {
                return Err(changed());
            }
            status if !at_home && status.is_client_error() && !is_busy(status) => {
                let host = answer.url.host();
                return Err(Fault::Expired(format!(
                    "{host} refuses the signed address (status {status})"
                )));
            }
            _ => return Err(hub.client.refusal(answer)),
        }
        let same = |a: &str, b: &str| bare(a) == bare(b);
        let entity = text(&answer.headers, header::ETAG.as_str());
        if let (Some(known), Some(now)) = (&place.entity, &entity)
            && answer.url.origin() == place.url.origin()
            && !same(known, now)
        {
            return Err(changed());
        }
        if text(&answer.headers, header::CONTENT_ENCODING.as_str()).is_some_and(|e| e != "identity")
        {
            return Err(Fault::protocol(
                "the server compresses what has to come as it is",
            ));
        }
        if answer.status == StatusCode::OK {
            return self.check_whole(answer, range);
        }
        let (start, end, whole) = content_range(&answer.headers)
            .ok_or_else(|| Fault::protocol("the server does not say which bytes it gives"))?;
        if whole.is_some_and(|whole| whole != self.size) {
            return Err(changed());
        }
        if start != range.start || end > range.end || end <= start {
            return Err(Fault::protocol(format!(
                "the server gives the bytes {start} to {end} though {} to {} were asked for",
                range.start, range.end
            )));
        }
        Ok(end - start)
    }

    /// A server may answer with the whole file: then only its beginning can be used.
    fn check_whole(
        &self,
        answer: &Answer<'_>,
        range: &Range<u64>,
    ) -> std::result::Result<u64, Fault> {
        let length = text(&answer.headers, header::CONTENT_LENGTH.as_str());
        let length: Option<u64> = length.and_then(|l| l.parse().ok());
        if length.is_some_and(|length| length != self.size) {
            return Err(changed());
        }
        if range.start == 0 {
            return Ok(range.end);
        }
        Err(Fault::protocol(format!(
            "{} gives whole files only; download the dataset instead",
            answer.url.host()
        )))
    }

    /// Gets a new address instead of `expired`, unless another thread has done so.
    fn renew(&self, hub: &Hub, expired: &Place) -> std::result::Result<(), Fault> {
        let _alone = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.place().url != expired.url {
            return Ok(());
        }
        let mut found = resolve(hub, &self.path)?;
        if found.tag != self.tag || found.size != self.size {
            return Err(changed());
        }
        if found.place.url.origin() == expired.url.origin() {
            found.place.entity = found.place.entity.or_else(|| self.place().entity);
        }
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = found.place;
        Ok(())
    }
}

fn changed() -> Fault {
    let words = "the file has changed while it was read; open the dataset again";
    Fault::Lasting(HubFault::Changed, words.into())
}

/// Asks the hub where a file is.
fn resolve(hub: &Hub, file: &str) -> std::result::Result<Resolved, Fault> {
    let at = format!(
        "/datasets/{}/resolve/{}/{}",
        hub.name.repo,
        hub.commit,
        path(file)
    );
    let answer = hub.client.ask(&Ask {
        url: &hub.client.url(&at)?,
        head: true,
        range: None,
        if_range: None,
        away: Away::Stop,
    })?;
    if !answer.status.is_success() && answer.left_for.is_none() {
        return Err(hub.client.refusal(&answer));
    }
    let either = |name: &str| text(&answer.first, name).or_else(|| text(&answer.headers, name));
    if either("x-repo-commit").is_some_and(|commit| !commit.eq_ignore_ascii_case(&hub.commit)) {
        return Err(Fault::protocol("the hub answers about another commit"));
    }
    let own = |name: &str| text(&answer.headers, name);
    // The length of a redirect's own body is not the file's.
    let length = own("content-length").filter(|_| answer.left_for.is_none());
    let size = either("x-linked-size").or(length);
    let size = size.and_then(|size| size.parse().ok());
    let size = size.filter(|size| *size <= SIZE_LIMIT_BYTES);
    let size = size.ok_or_else(|| Fault::protocol("the hub does not say how large the file is"))?;
    let tag = either("x-linked-etag").or_else(|| either("etag"));
    let tag = tag
        .ok_or_else(|| Fault::protocol("the hub does not say which version of the file it has"))?;
    let place = match answer.left_for {
        Some(url) => Place { url, entity: None },
        None => Place {
            entity: own("etag"),
            url: answer.url,
        },
    };
    Ok(Resolved {
        size,
        tag: bare(&tag).to_owned(),
        place,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

/// An ETag without its quotes and the mark of weakness.
fn bare(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429)
}

/// First byte, byte after the last, and size of the file.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let value = text(headers, header::CONTENT_RANGE.as_str())?;
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.trim().parse::<u64>().ok()?.checked_add(1)?;
    let whole = match whole.trim() {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    Some((first.trim().parse().ok()?, end, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ureq::http::HeaderValue;

    fn parsed(value: &str) -> Option<(u64, u64, Option<u64>)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(value).ok()?);
        content_range(&headers)
    }

    #[test]
    fn ranges_are_understood() {
        assert_eq!(parsed("bytes 0-9/100"), Some((0, 10, Some(100))));
        assert_eq!(parsed("bytes 5-5/*"), Some((5, 6, None)));
        for wrong in [
            "bytes */100",
            "bytes 0-18446744073709551615/1",
            "items 0-9/100",
            "bytes 9/9",
            "",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert_eq!((bare("W/\"a\""), bare("\"a\""), bare("a")), ("a", "a", "a"));
    }

    proptest! {
        #[test]
        fn hostile_ranges_never_panic(value in "(bytes )?[0-9*/-]{0,50}") {
            let _ = parsed(&value);
        }
    }
}
