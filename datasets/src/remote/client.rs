//! Requests to a hub and to the stores that it sends us to: one connection pool, redirects under
//! our own control, the token for the hub alone.

use super::fault::{self, Fault, Tries};
use super::gate::{Gate, Pass};
use super::options::{HubOptions, Token};
use super::url::{Origin, Url};
use crate::error::{Error, HubFault, Result};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use ureq::http::{HeaderMap, Request, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Redirects in a row.
const REDIRECT_LIMIT: usize = 5;
/// The slowest transfer that is borne, bytes/s.
const SLOWEST_BYTES_S: u64 = 32 << 10;
/// Most bytes of all headers of an answer: signed addresses are long.
const HEADER_LIMIT_BYTES: usize = 64 << 10;
/// Longest body that is read for the connection's sake.
const DRAIN_LIMIT_BYTES: u64 = 64 << 10;
/// Tries before the hub has answered at all: a wrong address is more likely then than a bad moment.
const FIRST_RETRIES: u64 = 1;

/// Talks to one hub.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: Url,
    token: Option<Token>,
    gate: Gate,
    patience: Duration,
    retries: u32,
    backoff: Duration,
    /// Whether the hub has ever answered.
    reached: AtomicBool,
}

/// What to do when a redirect leads away from the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// It is an error: metadata comes from the hub alone.
    Refuse,
    /// Give the redirect back.
    Stop,
    /// Follow it, without the token.
    Follow,
}

/// A request without a body.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    /// Whether only the headers are wanted.
    pub(super) head: bool,
    /// Bytes of the file.
    pub(super) range: Option<Range<u64>>,
    /// Send the range only while the file has this ETag.
    pub(super) if_range: Option<String>,
    pub(super) away: Away,
}

/// What came back. Its turn ends when it is dropped.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// Who answered.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Headers of the first answer, before any redirect.
    pub(super) first: HeaderMap,
    /// Where a redirect leads away from the hub.
    pub(super) left_for: Option<Url>,
    pub(super) body: Body,
    _pass: Pass<'a>,
}

impl Client {
    pub(super) fn new(options: &HubOptions) -> Result<Self> {
        let endpoint = options.endpoint.trim_end_matches('/');
        let endpoint = Url::parse(endpoint).ok_or_else(|| Error::Hub {
            place: format!("`{}`", readable_endpoint(endpoint)),
            fault: HubFault::Name,
            problem: "this is no address of a hub; set HF_ENDPOINT to something like https://huggingface.co".into(),
        })?;
        let tls = TlsConfig::builder().root_certs(root_certificates());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .user_agent(concat!("sinew/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEADER_LIMIT_BYTES)
            .max_idle_connections(4 * options.connections)
            .max_idle_connections_per_host(options.connections)
            .timeout_resolve(Some(options.patience))
            .timeout_connect(Some(options.patience))
            .timeout_recv_response(Some(options.patience))
            .timeout_per_read(Some(options.patience))
            .timeout_per_write(Some(options.patience));
        Ok(Self {
            agent: config.build().new_agent(),
            endpoint,
            token: options.token.clone(),
            gate: Gate::new(options.connections),
            patience: options.patience,
            retries: options.retries,
            backoff: options.backoff,
            reached: AtomicBool::new(false),
        })
    }

    pub(super) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The address of `path`, which begins with a slash, on the hub.
    pub(super) fn url(&self, path: &str) -> std::result::Result<Url, Fault> {
        let base = self.endpoint.uri().to_string();
        let url = Url::parse(&format!("{}{path}", base.trim_end_matches('/')));
        url.ok_or_else(|| Fault::protocol(format!("{path} is no address")))
    }

    /// Does `work` again while its failures pass. `place` is what the work is about.
    pub(super) fn persist<T>(
        &self,
        place: &str,
        mut work: impl FnMut(&mut Tries) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let mut tries = Tries::new(self.retries, self.backoff);
        for number in 0_u64.. {
            let fault = match work(&mut tries) {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            tracing::debug!(?fault, place, "a request failed");
            if number >= FIRST_RETRIES && !self.reached.load(Ordering::Relaxed) {
                return Err(fault.tell(place));
            }
            let asked = matches!(fault, Fault::Passing { rest: Some(_), .. });
            let wait = tries.after(fault).map_err(|fault| fault.tell(place))?;
            if asked {
                self.gate.rest(wait);
            } else {
                std::thread::sleep(wait);
            }
        }
        Err(Fault::protocol("too many tries").tell(place))
    }

    /// Asks once, and follows redirects.
    pub(super) fn ask(&self, ask: &Ask<'_>) -> std::result::Result<Answer<'_>, Fault> {
        let pass = self.gate.pass();
        let home = self.endpoint.origin();
        let mut url = ask.url.clone();
        let mut first: Option<HeaderMap> = None;
        for _ in 0..=REDIRECT_LIMIT {
            let response = self.exchange(ask, &url, &home)?;
            let (parts, body) = response.into_parts();
            let location = parts
                .status
                .is_redirection()
                .then(|| parts.headers.get(header::LOCATION));
            let next = match location.flatten() {
                Some(location) => Some(next_url(&url, location.to_str().unwrap_or_default())?),
                None => None,
            };
            let first_headers = first.get_or_insert_with(|| parts.headers.clone());
            match next {
                Some(next) if ask.away == Away::Follow || next.origin() == home => {
                    drain(body);
                    url = next;
                }
                Some(next) if ask.away == Away::Refuse => {
                    return Err(Fault::protocol(format!(
                        "the hub sends us to {} for metadata; set HF_ENDPOINT to the hub's own address",
                        next.host()
                    )));
                }
                left_for => {
                    return Ok(Answer {
                        url,
                        status: parts.status,
                        first: std::mem::take(first_headers),
                        headers: parts.headers,
                        left_for,
                        body,
                        _pass: pass,
                    });
                }
            }
        }
        Err(Fault::protocol("the hub sends us in circles"))
    }

    fn exchange(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        home: &Origin,
    ) -> std::result::Result<ureq::http::Response<Body>, Fault> {
        let mut request = Request::builder()
            .method(if ask.head { "HEAD" } else { "GET" })
            .uri(url.uri().clone())
            // A range of a compressed answer would be a range of something else.
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(range) = &ask.range {
            let last = range.end.saturating_sub(1);
            request = request.header(header::RANGE, format!("bytes={}-{last}", range.start));
        }
        // A store that the hub sends us to has its own tags.
        let same_server = url.origin() == ask.url.origin();
        if let Some(entity) = ask.if_range.as_ref().filter(|_| same_server) {
            request = request.header(header::IF_RANGE, entity);
        }
        if let Some(token) = self.token.as_ref().filter(|_| url.origin() == *home) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        let broken = |e: ureq::Error| fault::of_transport(e, url.host());
        let request = request.body(()).map_err(|e| broken(e.into()))?;
        let bytes = ask.range.as_ref().map_or(0, |r| r.end - r.start);
        let slowest = Duration::from_secs(bytes / SLOWEST_BYTES_S);
        let mut config = self.agent.configure_request(request);
        config = config.timeout_recv_body(Some(3 * self.patience + slowest));
        if url.is_loopback() {
            config = config.proxy(None);
        }
        let response = self.agent.run(config.build()).map_err(broken)?;
        if url.origin() == *home {
            self.reached.store(true, Ordering::Relaxed);
        }
        Ok(response)
    }

    /// Gets JSON of at most `limit` bytes from the hub, and the address of its next page.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        place: &str,
        url: &Url,
        limit: u64,
    ) -> Result<(T, Option<Url>)> {
        self.persist(place, |_| {
            let answer = self.ask(&Ask {
                url,
                head: false,
                range: None,
                if_range: None,
                away: Away::Refuse,
            })?;
            if !answer.status.is_success() {
                return Err(self.refusal(&answer));
            }
            let next = next_page(&answer)?;
            let bytes = whole_body(answer, limit)?;
            let parsed = serde_json::from_slice(&bytes);
            let parsed = parsed.map_err(|e| {
                let host = url.host();
                Fault::protocol(format!(
                    "{host} does not answer as a hub does ({e}); check HF_ENDPOINT"
                ))
            })?;
            Ok((parsed, next))
        })
    }

    /// What it means that the hub did not answer with success.
    pub(super) fn refusal(&self, answer: &Answer<'_>) -> Fault {
        fault::of_status(answer.status, &answer.headers, self.token.is_some())
    }
}

/// The system's certificate authorities, so that a company's own hub works (`SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name others); on a system without any, Mozilla's.
fn root_certificates() -> RootCerts {
    static SYSTEM: LazyLock<Arc<Vec<Certificate<'static>>>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate authority of this system cannot be used");
        }
        let owned = found
            .certs
            .iter()
            .map(|c| Certificate::from_der(c).to_owned());
        Arc::new(owned.collect())
    });
    if SYSTEM.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::Specific(SYSTEM.clone())
    }
}

/// A body of at most `limit` bytes.
fn whole_body(answer: Answer<'_>, limit: u64) -> std::result::Result<Vec<u8>, Fault> {
    let announced = answer.body.content_length();
    let mut bytes = Vec::new();
    let mut body = answer.body.into_reader().take(limit + 1);
    body.read_to_end(&mut bytes).map_err(Fault::broken)?;
    let read = bytes.len() as u64;
    if read > limit {
        return Err(Fault::protocol(format!(
            "the hub answers with more than {limit} bytes of JSON"
        )));
    }
    if announced.is_some_and(|announced| read < announced) {
        return Err(Fault::broken("the hub ended its answer early"));
    }
    Ok(bytes)
}

/// Reads what is left of a short body, so that its connection can be used again.
fn drain(body: Body) {
    let mut rest = body.into_reader().take(DRAIN_LIMIT_BYTES);
    let _ = std::io::copy(&mut rest, &mut std::io::sink());
}

/// An address that a person may have mistyped, fit for a message; what may be a password is left out.
fn readable_endpoint(endpoint: &str) -> String {
    let shown = endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host);
    shown
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

/// Where a redirect leads.
fn next_url(from: &Url, location: &str) -> std::result::Result<Url, Fault> {
    let next = from.join(location);
    let next = next.ok_or_else(|| Fault::protocol("the hub sends us to no address"))?;
    if from.is_secure() && !next.is_secure() {
        return Err(Fault::protocol(format!(
            "{} sends us to {} without encryption",
            from.host(),
            next.host()
        )));
    }
    Ok(next)
}

/// `Link: <address>; rel="next"`.
fn next_page(answer: &Answer<'_>) -> std::result::Result<Option<Url>, Fault> {
    let links = answer.headers.get_all(header::LINK).iter();
    let links = links
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(", "));
    let next = links
        .filter_map(|link| link.split_once('>'))
        .find(|(_, what)| what.replace('"', "").contains("rel=next"));
    let Some((address, _)) = next else {
        return Ok(None);
    };
    let url = next_url(&answer.url, address.trim_start().trim_start_matches('<'))?;
    if url.origin() != answer.url.origin() {
        return Err(Fault::protocol(format!(
            "the hub's list goes on at {}, which is not the hub",
            url.host()
        )));
    }
    Ok(Some(url))
}
