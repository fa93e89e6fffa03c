//! Addresses: where a request goes, and whether that is still the hub itself.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

/// What a path may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Longest address, bytes: signed ones have a thousand or two.
const URL_LIMIT: usize = 16 << 10;

/// An absolute http or https address without a user's name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    uri: Uri,
}

/// Scheme, host and port: who gets to see what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > URL_LIMIT {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?;
        let authority = uri.authority()?;
        let sound = matches!(scheme, "http" | "https")
            && !authority.as_str().contains('@')
            && !authority.host().is_empty();
        sound.then_some(Self { uri })
    }

    /// The address that `location`, which may be relative, means seen from here.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        if location.contains("://") && !location.starts_with(['/', '?', '.']) {
            return Self::parse(location);
        }
        let scheme = self.uri.scheme_str()?;
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let authority = self.uri.authority()?;
        if location.starts_with('/') {
            return Self::parse(&format!("{scheme}://{authority}{location}"));
        }
        let folder = self.uri.path().rsplit_once('/').map_or("", |(f, _)| f);
        Self::parse(&format!("{scheme}://{authority}{folder}/{location}"))
    }

    pub(super) fn origin(&self) -> Origin {
        let secure = self.is_secure();
        Origin {
            secure,
            host: self.host().to_ascii_lowercase(),
            port: self.uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Whether this is the machine itself, which no proxy leads to.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<std::net::IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
    }

    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// A name for a folder: host and port.
    pub(super) fn folder_name(&self) -> String {
        let name = self.uri.authority().map_or("", |a| a.as_str());
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).collect();
        format!("hub_{name}")
    }
}

/// Text as one segment of a path: slashes are encoded too.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// Text as a path: slashes stay.
pub(super) fn path(text: &str) -> String {
    let segments: Vec<String> = text.split('/').map(segment).collect();
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn locations_are_joined_as_browsers_do() {
        let base = Url::parse("https://hub.example:8443/a/b/c?x=1").unwrap();
        let joined = |l: &str| base.join(l).map(|u| u.uri.to_string());
        for (location, expected) in [
            ("/d?e=f", "https://hub.example:8443/d?e=f"),
            ("d", "https://hub.example:8443/a/b/d"),
            ("//cdn.example/d", "https://cdn.example/d"),
            (
                "http://cdn.example/d?u=http://x",
                "http://cdn.example/d?u=http://x",
            ),
            (
                "/d?next=https://evil.example/",
                "https://hub.example:8443/d?next=https://evil.example/",
            ),
        ] {
            assert_eq!(joined(location).as_deref(), Some(expected), "{location}");
        }
        for wrong in [
            "file:///etc/passwd",
            "ftp://a/b",
            "https://user:pw@a/b",
            "https:///b",
        ] {
            assert_eq!(joined(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |u: &str| Url::parse(u).unwrap().origin();
        assert_eq!(
            origin("https://HUB.example/a"),
            origin("https://hub.example:443/b")
        );
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_ne!(origin("http://127.0.0.1:1"), origin("http://127.0.0.1:2"));
        assert_ne!(
            origin("https://hub.example"),
            origin("https://hub.example.evil")
        );
    }

    proptest! {
        #[test]
        fn hostile_locations_never_panic(base in "\\PC{0,30}", location in "\\PC{0,60}") {
            if let Some(url) = Url::parse(&format!("http://{base}")) {
                let _ = url.join(&location).map(|u| (u.origin(), u.is_loopback(), u.folder_name()));
            }
        }
    }
}
