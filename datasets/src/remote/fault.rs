//! What goes wrong on the way to a hub, and whether it is worth another try.

use crate::error::{Error, HubFault};
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode};

/// The longest wait that a hub may ask for.
const REST_LIMIT: Duration = Duration::from_secs(120);
/// The longest wait between tries that nobody asked for.
const BACKOFF_LIMIT: Duration = Duration::from_secs(8);

/// One request's failure.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work later; the hub may say when.
    Passing {
        kind: HubFault,
        words: String,
        rest: Option<Duration>,
    },
    /// The signed address has expired: ask the hub for another.
    Expired(String),
    /// It will not work.
    Lasting(HubFault, String),
}

impl Fault {
    pub(super) fn broken(words: impl ToString) -> Self {
        Self::Passing {
            kind: HubFault::Offline,
            words: words.to_string(),
            rest: None,
        }
    }

    /// What the hub says makes no sense.
    pub(super) fn protocol(words: impl Into<String>) -> Self {
        Self::Lasting(HubFault::Protocol, words.into())
    }

    /// The failure as it is told to a person who wanted `place`.
    pub(super) fn tell(self, place: &str) -> Error {
        let (fault, problem) = match self {
            Self::Passing { kind, words, .. } => (kind, words),
            Self::Expired(words) => (HubFault::Login, words),
            Self::Lasting(kind, words) => (kind, words),
        };
        Error::Hub {
            place: place.to_owned(),
            fault,
            problem,
        }
    }
}

/// A failure of the connection itself.
pub(super) fn of_transport(error: ureq::Error, host: &str) -> Fault {
    use std::io::ErrorKind;
    let lasting = |words: String| Fault::Lasting(HubFault::Offline, words);
    let unknown = || {
        Fault::broken(format!(
            "{host} is not known; check the network and HF_ENDPOINT"
        ))
    };
    match error {
        ureq::Error::HostNotFound => unknown(),
        // The system's resolver has no kind of error of its own, only its words.
        ureq::Error::Io(e) if e.to_string().contains("lookup address") => unknown(),
        ureq::Error::Io(e) if e.kind() == ErrorKind::ConnectionRefused => Fault::broken(format!(
            "{host} refuses connections; check that a hub runs there, and HF_ENDPOINT"
        )),
        // What TLS finds wrong comes as invalid data.
        ureq::Error::Io(e) if e.kind() == ErrorKind::InvalidData => lasting(certificate(host, &e)),
        ureq::Error::Rustls(e) => lasting(certificate(host, &e)),
        ureq::Error::Timeout(_) => {
            Fault::broken(format!("{host} is silent; check the network, or try later"))
        }
        ureq::Error::LargeResponseHeader(..) | ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Fault::protocol(format!("{host} answers nonsense ({error})"))
        }
        other => Fault::broken(format!("the connection to {host} broke ({other})")),
    }
}

fn certificate(host: &str, words: &dyn std::fmt::Display) -> String {
    format!(
        "{host} does not prove who it is ({words}); if its certificate is your own authority's, name that in SSL_CERT_FILE"
    )
}

/// What an answer other than success means. `login` is whether a token was sent.
pub(super) fn of_status(status: StatusCode, headers: &HeaderMap, login: bool) -> Fault {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let code = text("x-error-code").unwrap_or_default();
    let said = text("x-error-message").map(readable);
    let said = said.map_or(String::new(), |said| format!(" (the hub says: {said})"));
    let log_in = if login {
        "the token that was sent gives no access: check it with `hf auth whoami`"
    } else {
        "log in with `hf auth login`, or set HF_TOKEN"
    };
    match (status.as_u16(), code) {
        (403 | 401, "GatedRepo") => Fault::Lasting(
            HubFault::Login,
            format!("access must be asked for on the dataset's page, and {log_in}{said}"),
        ),
        (401 | 404, "RepoNotFound") | (401, _) => Fault::Lasting(
            HubFault::NotFound,
            format!(
                "there is no such dataset, or it is private; check the name, and {log_in}{said}"
            ),
        ),
        (403, _) => Fault::Lasting(HubFault::Login, format!("access is denied; {log_in}{said}")),
        (404, "RevisionNotFound") => Fault::Lasting(
            HubFault::Revision,
            format!("the dataset has no such branch, tag or commit{said}"),
        ),
        (404, "EntryNotFound") => {
            Fault::Lasting(HubFault::File, format!("the file is not there{said}"))
        }
        (404 | 410, _) => Fault::Lasting(
            HubFault::NotFound,
            format!("there is nothing of that name; check the name and HF_ENDPOINT{said}"),
        ),
        (408 | 429 | 500 | 502 | 503 | 504, _) => Fault::Passing {
            kind: HubFault::Busy,
            words: format!("the hub is busy (status {status}){said}; try later"),
            rest: rest(headers),
        },
        _ => Fault::protocol(format!("the hub answers with status {status}{said}")),
    }
}

/// What a server says, fit for a terminal.
fn readable(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(200).collect()
}

/// How long the hub wants to be left alone: `Retry-After` in seconds, or the time that is left of a
/// used-up quota, `RateLimit: "api";r=0;t=55`.
fn rest(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let seconds = |text: &str| text.trim().parse::<u64>().ok().map(Duration::from_secs);
    let quota = || {
        let parts: Vec<&str> = text("ratelimit")?.split(';').map(str::trim).collect();
        let used_up = parts.contains(&"r=0");
        let left = parts.iter().find_map(|part| part.strip_prefix("t="))?;
        used_up.then(|| seconds(left))?
    };
    text("retry-after").and_then(seconds).or_else(quota)
}

/// The tries that one piece of work has.
#[derive(Debug)]
pub(super) struct Tries {
    whole: u32,
    left: u32,
    backoff: Duration,
    next: Duration,
}

impl Tries {
    pub(super) fn new(retries: u32, backoff: Duration) -> Self {
        Self {
            whole: retries,
            left: retries,
            backoff,
            next: backoff,
        }
    }

    /// The work has got on: failures before count no longer.
    pub(super) fn renew(&mut self) {
        (self.left, self.next) = (self.whole, self.backoff);
    }

    /// How long to wait before the next try, or the failure if it was the last one.
    pub(super) fn after(&mut self, fault: Fault) -> Result<Duration, Fault> {
        let asked = match &fault {
            Fault::Lasting(..) => return Err(fault),
            Fault::Expired(_) => Some(Duration::ZERO),
            Fault::Passing { rest, .. } => *rest,
        };
        if self.left == 0 || asked.is_some_and(|rest| rest > REST_LIMIT) {
            return Err(fault);
        }
        self.left -= 1;
        let own = self.next;
        self.next = (own * 2).min(BACKOFF_LIMIT.max(self.backoff));
        Ok(asked.unwrap_or(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ureq::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).ok()?;
            Some((ureq::http::HeaderName::from_static(name), value))
        };
        pairs.iter().filter_map(pair).collect()
    }

    #[test]
    fn the_hub_is_left_alone_as_long_as_it_asks() {
        let wait = |pairs: &[(&'static str, &str)]| rest(&headers(pairs)).map(|d| d.as_secs());
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        assert_eq!(wait(&[("ratelimit", "\"api\";r=0;t=55")]), Some(55));
        assert_eq!(wait(&[("ratelimit", "\"api\";r=3;t=55")]), None);
        assert_eq!(wait(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn tries_wait_longer_each_time_and_end() {
        let mut tries = Tries::new(3, Duration::from_millis(100));
        let waits: Vec<u128> = (0..3)
            .map(|_| tries.after(Fault::broken("x")).unwrap().as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400]);
        assert!(tries.after(Fault::broken("x")).is_err());
        tries.renew();
        assert!(tries.after(Fault::Expired("x".into())).is_ok());
        assert!(tries.after(Fault::protocol("x")).is_err());
        let busy = of_status(
            StatusCode::TOO_MANY_REQUESTS,
            &headers(&[("retry-after", "100000")]),
            false,
        );
        assert!(tries.after(busy).is_err(), "nobody waits for a day");
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(
            status in 100_u16..1000,
            code in "\\PC{0,20}",
            said in "\\PC{0,300}",
            after in "\\PC{0,30}",
            quota in "\\PC{0,30}",
        ) {
            let headers = headers(&[
                ("x-error-code", &code), ("x-error-message", &said),
                ("retry-after", &after), ("ratelimit", &quota),
            ]);
            let status = StatusCode::from_u16(status).unwrap();
            let told = of_status(status, &headers, true).tell("hub://a/b").to_string();
            prop_assert!(!told.contains('\n') && told.len() < 2000);
        }
    }
}
