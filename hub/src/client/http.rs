//! Requests: one pool of connections, bounded waiting, failures that pass tried again.

use super::error::{ClientError, ClientResult};
use std::fs::File;
use std::io::{Read, Seek};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Request, Response, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body};

/// Most bytes of an error's text that is read.
const WORDS_LIMIT_BYTES: u64 = 16 << 10;
/// Most bytes of all headers of an answer: signed addresses are long.
const HEADER_LIMIT_BYTES: usize = 64 << 10;
/// The slowest transfer that is borne, bytes/s.
const SLOWEST_BYTES_S: u64 = 32 << 10;
/// Most redirects of one request that follows them.
const REDIRECTS: u32 = 6;
/// The longest wait between tries that nobody asked for.
const BACKOFF_LIMIT: Duration = Duration::from_secs(8);
/// The longest wait that a hub may ask for.
const REST_LIMIT: Duration = Duration::from_secs(120);

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long a server may be silent.
    pub patience: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Wait before the second try; doubled each time, 8 s at most.
    pub backoff: Duration,
    /// Most connections that are kept to one server.
    pub connections: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(60),
            retries: 5,
            backoff: Duration::from_millis(500),
            connections: 8,
        }
    }
}

/// Makes requests.
#[derive(Debug)]
pub struct Http {
    agent: Agent,
    options: HttpOptions,
}

/// One failed request.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may work later; the server may say when.
    Passing {
        error: ClientError,
        rest: Option<Duration>,
    },
    /// It will not.
    Lasting(ClientError),
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self::Lasting(error)
    }
}

/// A request; a body makes what would be a GET a POST.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a str,
    /// Something else than what follows from `head` and the bodies.
    pub(crate) method: Option<&'a str>,
    /// Only headers are wanted.
    pub(crate) head: bool,
    pub(crate) token: Option<&'a str>,
    /// `Range`: first and last byte.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) body: Option<&'a [u8]>,
    /// A whole file as the body, with its size in bytes.
    pub(crate) file: Option<(&'a File, u64)>,
    /// Of the body; bytes unless it says something else.
    pub(crate) content_type: Option<&'a str>,
    /// More headers.
    pub(crate) headers: &'a [(String, String)],
    /// The answer may take minutes: there is much to do.
    pub(crate) is_slow: bool,
    /// Goes where the server sends it, with all headers but the token.
    pub(crate) follows: bool,
}

impl Ask<'_> {
    fn method(&self) -> &str {
        let has_body = self.body.is_some() || self.file.is_some();
        match (self.method, has_body, self.head) {
            (Some(method), ..) => method,
            (None, true, _) => "POST",
            (None, false, true) => "HEAD",
            (None, false, false) => "GET",
        }
    }

    /// Everything but the body.
    fn request(&self) -> Builder {
        let mut request = Request::builder().uri(self.url).method(self.method());
        // A range of a compressed answer would be a range of something else.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some((first, last)) = self.range {
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        let has_own = self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(token) = self.token.filter(|_| !has_own) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if self.body.is_some() || self.file.is_some() {
            let content_type = self.content_type.unwrap_or("application/octet-stream");
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request
    }
}

impl Http {
    /// A pool without connections.
    pub fn new(options: HttpOptions) -> Self {
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
        Self {
            agent: config.build().new_agent(),
            options,
        }
    }

    /// Does `work` again while its failures pass.
    pub(crate) fn persist<T>(&self, mut work: impl FnMut() -> Result<T, Fault>) -> ClientResult<T> {
        let mut backoff = self.options.backoff;
        for left in (0..=self.options.retries).rev() {
            match work() {
                Ok(done) => return Ok(done),
                Err(Fault::Lasting(error)) => return Err(error),
                Err(Fault::Passing { error, .. }) if left == 0 => return Err(error),
                Err(Fault::Passing { error, rest }) => {
                    tracing::debug!(%error, left, "a request failed and is tried again");
                    std::thread::sleep(rest.unwrap_or(backoff).min(REST_LIMIT));
                    backoff = (2 * backoff).min(BACKOFF_LIMIT);
                }
            }
        }
        Err(ClientError::protocol("request", "it was never tried"))
    }

    /// Asks once. Statuses are the caller's business. `place` is for messages.
    pub(crate) fn ask(&self, place: &str, ask: &Ask<'_>) -> Result<Response<Body>, Fault> {
        let request = ask.request();
        let result = match (ask.body, ask.file) {
            (Some(body), _) => self.send(request.body(body), ask, body.len() as u64),
            (None, Some((file, size))) => {
                let mut file = file;
                let rewound = file.rewind();
                rewound.map_err(|e| ClientError::io("read the file to upload", e))?;
                self.send(request.body(file), ask, size)
            }
            (None, None) => self.send(request.body(()), ask, 0),
        };
        result.map_err(|error| of_transport(place, &error))
    }

    fn send<B: AsSendBody>(
        &self,
        request: Result<Request<B>, ureq::http::Error>,
        ask: &Ask<'_>,
        sent_bytes: u64,
    ) -> Result<Response<Body>, ureq::Error> {
        let slowest = |bytes: u64| {
            Some(3 * self.options.patience + Duration::from_secs(bytes / SLOWEST_BYTES_S))
        };
        let expected = ask
            .range
            .map_or(0, |(first, last)| last.saturating_sub(first));
        let mut config = self.agent.configure_request(request?);
        config = config.timeout_send_body(slowest(sent_bytes));
        config = config.timeout_recv_body(slowest(expected));
        if ask.is_slow {
            config = config.timeout_recv_response(Some(10 * self.options.patience));
        }
        if ask.follows {
            config = config.max_redirects(REDIRECTS);
        }
        if is_loopback(ask.url) {
            config = config.proxy(None);
        }
        self.agent.run(config.build())
    }

    /// What it means that `response` is no success.
    pub(crate) fn refusal(place: &str, response: Response<Body>) -> Fault {
        let (parts, body) = response.into_parts();
        let mut words = Vec::new();
        let _ = body
            .into_reader()
            .take(WORDS_LIMIT_BYTES)
            .read_to_end(&mut words);
        let error = ClientError::Refused {
            place: place.to_owned(),
            status: parts.status.as_u16(),
            code: error_code(&parts.headers),
            words: readable(&parts.headers, &words),
        };
        match parts.status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                passing(error, &parts.headers)
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                passing(error, &parts.headers)
            }
            _ => Fault::Lasting(error),
        }
    }

    /// The body, of at most `limit` bytes, appended to `out`.
    pub(crate) fn read(
        place: &str,
        response: Response<Body>,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let announced = response.body().content_length();
        let start = out.len();
        let mut body = response
            .into_body()
            .into_reader()
            .take(limit.saturating_add(1));
        let read = body.read_to_end(out);
        read.map_err(|e| broken(place, format!("the answer broke off ({e})")))?;
        let read = (out.len() - start) as u64;
        if read > limit {
            return Err(
                ClientError::protocol(place, format!("more than {limit} bytes came")).into(),
            );
        }
        if announced.is_some_and(|announced| read < announced) {
            return Err(broken(place, "the answer ended early".into()));
        }
        Ok(())
    }
}

/// Whether an address is on this machine, where no proxy leads.
fn is_loopback(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn passing(error: ClientError, headers: &HeaderMap) -> Fault {
    let rest = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let rest = rest.and_then(|seconds| seconds.trim().parse().ok());
    Fault::Passing {
        error,
        rest: rest.map(Duration::from_secs),
    }
}

/// A connection that did not do what it should; worth another try.
pub(crate) fn broken(place: &str, words: String) -> Fault {
    Fault::Passing {
        error: ClientError::Unreachable {
            place: place.to_owned(),
            words,
        },
        rest: None,
    }
}

fn of_transport(place: &str, error: &ureq::Error) -> Fault {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            ClientError::protocol(place, error.to_string()).into()
        }
        _ => broken(place, error.to_string()),
    }
}

/// The class of an error, by the name that Hugging Face's clients know it by; empty if it has none.
fn error_code(headers: &HeaderMap) -> String {
    let code = headers.get("x-error-code");
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
    code.chars().take(64).collect()
}

/// The hub's words: its header for them, the `error` in its JSON, or its text.
fn readable(headers: &HeaderMap, body: &[u8]) -> String {
    let header = headers
        .get("x-error-message")
        .and_then(|words| words.to_str().ok());
    let json = || {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let words = value.get("error").or_else(|| value.get("message"))?;
        Some(words.as_str()?.to_owned())
    };
    let text = || String::from_utf8_lossy(body).into_owned();
    let words = header.map(str::to_owned).or_else(json).unwrap_or_else(text);
    words
        .chars()
        .filter(|c| !c.is_control())
        .take(400)
        .collect()
}

/// The system's certificate authorities, so that a company's own hub works; on a system without any,
/// Mozilla's.
fn root_certificates() -> RootCerts {
    static SYSTEM: LazyLock<Arc<Vec<Certificate<'static>>>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs();
        let owned = found
            .certs
            .iter()
            .map(|c| Certificate::from_der(c).to_owned());
        Arc::new(owned.collect())
    });
    match SYSTEM.is_empty() {
        true => RootCerts::WebPki,
        false => RootCerts::Specific(SYSTEM.clone()),
    }
}
