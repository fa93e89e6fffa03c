//! The calls of a chunk store.

use crate::client::error::{ClientError, ClientResult};
use crate::client::http::{Ask, Fault, Http};
use crate::xet::Hash;
use crate::xet::reconstruction::{Span, V1, V2};
use crate::xet::shard::MAX_SHARD_BYTES;
use crate::xet::xorb::{MAX_XORB_PACKED_BYTES, Xorb};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use ureq::Body;
use ureq::http::{Response, StatusCode};

/// A token is renewed so long before it expires, seconds.
const RENEWAL_S: u64 = 30;
/// Most bytes of JSON of a reconstruction.
const ANSWER_LIMIT_BYTES: u64 = 64 << 20;

/// Where a chunk store is and what opens it, as a hub's token route says it.
#[derive(Clone, PartialEq, Eq)]
pub struct CasToken {
    /// Address of the store.
    pub url: String,
    /// The bearer token.
    pub token: String,
    /// When the token expires, seconds since 1970.
    pub expires: u64,
}

impl std::fmt::Debug for CasToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("CasToken");
        shown
            .field("url", &self.url)
            .field("expires", &self.expires);
        shown.finish_non_exhaustive()
    }
}

/// Asks the hub for a token.
type Renew = Box<dyn Fn() -> ClientResult<CasToken> + Send + Sync>;

/// A chunk store, opened for reading or for writing to one repository.
pub struct Cas {
    http: Http,
    renew: Renew,
    token: Mutex<Option<CasToken>>,
}

impl std::fmt::Debug for Cas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cas").finish_non_exhaustive()
    }
}

impl Cas {
    /// A store that `renew` opens; it is called when a token is needed, so at first and before each expires.
    pub fn new(
        http: Http,
        renew: impl Fn() -> ClientResult<CasToken> + Send + Sync + 'static,
    ) -> Self {
        Self {
            http,
            renew: Box::new(renew),
            token: Mutex::new(None),
        }
    }

    /// Whether the hub has a chunk store for this at all; it need not.
    ///
    /// # Errors
    /// If it cannot be asked, or refuses for another reason.
    pub fn is_there(&self) -> ClientResult<bool> {
        match self.token() {
            Ok(_) => Ok(true),
            Err(ClientError::Refused {
                status: 404 | 405 | 501,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A token that is valid for a while. One thread asks, the others wait for it.
    fn token(&self) -> ClientResult<CasToken> {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_secs());
        if let Some(token) = kept
            .as_ref()
            .filter(|token| token.expires > now + RENEWAL_S)
        {
            return Ok(token.clone());
        }
        let token = (self.renew)()?;
        *kept = Some(token.clone());
        Ok(token)
    }

    /// Forgets a token that the store does not take.
    fn forget(&self, refused: &CasToken) {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() == Some(refused) {
            *kept = None;
        }
    }

    /// Asks the store itself, `path` beginning with a slash; `take` says what an answer means. A token that
    /// is refused is renewed once.
    fn call<T>(
        &self,
        place: &str,
        path: &str,
        ask: Ask<'_>,
        mut take: impl FnMut(Response<Body>) -> Result<T, Fault>,
    ) -> ClientResult<T> {
        let mut renewed = false;
        self.http.persist(|| {
            loop {
                let token = self.token()?;
                let url = format!("{}{path}", token.url.trim_end_matches('/'));
                let ask = Ask {
                    url: &url,
                    token: Some(&token.token),
                    ..ask
                };
                let response = self.http.ask(place, &ask)?;
                if response.status() != StatusCode::UNAUTHORIZED || renewed {
                    return take(response);
                }
                renewed = true;
                self.forget(&token);
            }
        })
    }

    /// What to fetch for a range of a file. Servers that do not know the second shape are asked for the
    /// first.
    pub(super) fn reconstruction(&self, file: &Hash, range: &Range<u64>) -> ClientResult<V2> {
        let place = format!("asking for file {file}");
        let ask = Ask {
            range: Some((range.start, range.end - 1)),
            ..Ask::default()
        };
        let second = self.call(
            &place,
            &format!("/v2/reconstructions/{file}"),
            ask,
            |response| match response.status() {
                StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Ok(None),
                _ => json(&place, response).map(Some),
            },
        )?;
        match second {
            Some(answer) => Ok(answer),
            None => {
                let path = format!("/v1/reconstructions/{file}");
                let first: V1 = self.call(&place, &path, ask, |response| json(&place, response))?;
                Ok(first.into())
            }
        }
    }

    /// Bytes of a xorb from a signed address. `None` when the address is not good any more.
    pub(super) fn fetch(&self, url: &str, bytes: &Span<u64>) -> ClientResult<Option<Vec<u8>>> {
        let place = "fetching a part of a xorb";
        let length = bytes.end.saturating_sub(bytes.start).saturating_add(1);
        if length > MAX_XORB_PACKED_BYTES as u64 {
            return Err(ClientError::protocol(
                place,
                format!("no xorb has {length} bytes"),
            ));
        }
        self.http.persist(|| {
            let range = Some((bytes.start, bytes.end));
            let response = self.http.ask(
                place,
                &Ask {
                    url,
                    range,
                    follows: true,
                    ..Ask::default()
                },
            )?;
            let mut body = Vec::new();
            match response.status() {
                StatusCode::PARTIAL_CONTENT => Http::read(place, response, length, &mut body)?,
                // A store may answer with the whole xorb.
                StatusCode::OK => {
                    Http::read(
                        place,
                        response,
                        MAX_XORB_PACKED_BYTES as u64 + (1 << 20),
                        &mut body,
                    )?;
                    body.truncate(usize::try_from(bytes.end + 1).unwrap_or(usize::MAX));
                    body.drain(..body.len().min(bytes.start as usize));
                }
                StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => return Ok(None),
                _ => return Err(Http::refusal(place, response)),
            }
            match body.len() as u64 == length {
                true => Ok(Some(body)),
                false => {
                    Err(ClientError::protocol(place, "not the bytes that were asked for").into())
                }
            }
        })
    }

    /// A shard with a xorb that has this chunk, if the store knows one.
    pub(super) fn find_chunk(&self, chunk: &Hash) -> ClientResult<Option<Vec<u8>>> {
        let place = "asking for a known chunk";
        self.call(
            place,
            &format!("/v1/chunks/default/{chunk}"),
            Ask::default(),
            |response| {
                let mut shard = Vec::new();
                match response.status() {
                    StatusCode::NOT_FOUND => return Ok(None),
                    StatusCode::OK => {
                        Http::read(place, response, MAX_SHARD_BYTES as u64, &mut shard)?
                    }
                    _ => return Err(Http::refusal(place, response)),
                }
                Ok(Some(shard))
            },
        )
    }

    /// Whether the store says that it has a xorb. Stores need not know the question.
    pub(super) fn has_xorb(&self, xorb: &Hash) -> ClientResult<bool> {
        let place = format!("asking for xorb {xorb}");
        let ask = Ask {
            head: true,
            ..Ask::default()
        };
        let path = format!("/v1/xorbs/default/{xorb}");
        self.call(&place, &path, ask, |response| {
            Ok(response.status() == StatusCode::OK)
        })
    }

    /// Stores a xorb.
    pub(super) fn put_xorb(&self, xorb: &Xorb) -> ClientResult<()> {
        let place = format!("uploading xorb {}", xorb.hash);
        let ask = Ask {
            body: Some(&xorb.packed),
            ..Ask::default()
        };
        let path = format!("/v1/xorbs/default/{}", xorb.hash);
        self.call(&place, &path, ask, |response| is_done(&place, response))
    }

    /// Registers a shard, whose xorbs are all there.
    pub(super) fn put_shard(&self, shard: &[u8]) -> ClientResult<()> {
        let place = "registering the uploaded files";
        let ask = Ask {
            body: Some(shard),
            ..Ask::default()
        };
        self.call(place, "/v1/shards", ask, |response| {
            is_done(place, response)
        })
    }
}

fn is_done(place: &str, response: Response<Body>) -> Result<(), Fault> {
    match response.status().is_success() {
        true => Http::read(place, response, 1 << 20, &mut Vec::new()),
        false => Err(Http::refusal(place, response)),
    }
}

fn json<T: serde::de::DeserializeOwned>(place: &str, response: Response<Body>) -> Result<T, Fault> {
    if !response.status().is_success() {
        return Err(Http::refusal(place, response));
    }
    let mut body = Vec::new();
    Http::read(place, response, ANSWER_LIMIT_BYTES, &mut body)?;
    let parsed = serde_json::from_slice(&body);
    parsed.map_err(|e| {
        ClientError::protocol(place, format!("the answer is not understood ({e})")).into()
    })
}
