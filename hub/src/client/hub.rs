//! A hub, and the one way in which its API is asked: redirects followed, errors told, the token sent to the hub
//! itself and to nobody else.

use super::error::{ClientError, ClientResult};
use super::http::{Ask, Fault, Http, HttpOptions};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::{Response, Uri, header};

/// Most bytes of a JSON answer.
const ANSWER_LIMIT_BYTES: u64 = 64 << 20;
/// Most redirects of one request.
const REDIRECTS: usize = 6;

/// A hub as somebody with a token, or nobody, sees it.
pub struct HubClient {
    pub(crate) http: Http,
    pub(crate) options: HttpOptions,
    endpoint: String,
    token: Option<String>,
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubClient")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Who a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Whoami {
    /// The user's or organisation's name.
    pub name: String,
    /// Organisations of the user.
    #[serde(default)]
    pub orgs: Vec<OrgName>,
    /// The token.
    #[serde(default)]
    auth: Auth,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OrgName {
    /// Its name.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Auth {
    access_token: Option<AccessToken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct AccessToken {
    role: Option<String>,
}

impl Whoami {
    /// What the token may do at most: `read`, `write` or `fineGrained`, if the hub tells.
    pub fn role(&self) -> Option<&str> {
        self.auth.access_token.as_ref()?.role.as_deref()
    }
}

impl HubClient {
    /// A hub at an address such as `http://hub.local:8010`.
    ///
    /// # Errors
    /// If that is no address.
    pub fn new(endpoint: &str, token: Option<String>, options: HttpOptions) -> ClientResult<Self> {
        Ok(Self {
            http: Http::new(options.clone()),
            options,
            endpoint: check_endpoint(endpoint)?,
            token: token.filter(|token| !token.is_empty()),
        })
    }

    /// Its address, without a slash at the end.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The token that it is asked with.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Who the token belongs to.
    ///
    /// # Errors
    /// If the hub cannot be reached or does not know the token.
    pub fn whoami(&self) -> ClientResult<Whoami> {
        let place = format!("asking {} who you are", self.endpoint);
        self.json(&place, "/api/whoami-v2", Ask::default())
    }

    /// Asks for JSON, `path` beginning with a slash. Passing failures are tried again.
    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        place: &str,
        path: &str,
        ask: Ask<'_>,
    ) -> ClientResult<T> {
        self.call(place, path, ask, |response| {
            let mut body = Vec::new();
            Http::read(place, response, ANSWER_LIMIT_BYTES, &mut body)?;
            parse(place, &body)
        })
    }

    /// Asks; `take` gets the answer if it is a success.
    pub(crate) fn call<T>(
        &self,
        place: &str,
        path: &str,
        ask: Ask<'_>,
        mut take: impl FnMut(Response<Body>) -> Result<T, Fault>,
    ) -> ClientResult<T> {
        let url = self.address(path);
        self.http.persist(|| {
            let response = self.send(place, &url, &ask)?;
            match response.status().is_success() {
                true => take(response),
                false => Err(Http::refusal(place, response)),
            }
        })
    }

    /// A path below the hub as an address; what is an address already stays.
    pub(crate) fn address(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => format!("{}{path}", self.endpoint),
            false => path.to_owned(),
        }
    }

    /// Asks once and follows redirects. The token is for the hub's own address only.
    pub(crate) fn send(
        &self,
        place: &str,
        url: &str,
        ask: &Ask<'_>,
    ) -> Result<Response<Body>, Fault> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let token = self.token.as_deref().filter(|_| self.is_own(&url));
            let response = self.http.ask(
                place,
                &Ask {
                    url: &url,
                    token,
                    ..*ask
                },
            )?;
            let keeps_body = matches!(response.status().as_u16(), 307 | 308);
            let is_get = ask.body.is_none() && ask.file.is_none() && ask.method.is_none();
            let is_redirect =
                keeps_body || is_get && matches!(response.status().as_u16(), 301..=303);
            let target = response
                .headers()
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok());
            match (is_redirect, target) {
                (true, Some(target)) => {
                    url = resolve(&url, target).ok_or_else(|| {
                        ClientError::protocol(place, format!("it leads to {target:?}"))
                    })?;
                }
                _ => return Ok(response),
            }
        }
        Err(ClientError::protocol(place, "it leads in circles").into())
    }

    /// Whether an address is the hub's own, by scheme, host and port.
    fn is_own(&self, url: &str) -> bool {
        match (url.parse::<Uri>(), self.endpoint.parse::<Uri>()) {
            (Ok(url), Ok(own)) => {
                url.scheme() == own.scheme() && url.authority() == own.authority()
            }
            _ => false,
        }
    }
}

/// JSON of a stranger.
pub(crate) fn parse<T: DeserializeOwned>(place: &str, body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|e| {
        ClientError::protocol(place, format!("the answer is not understood ({e})")).into()
    })
}

/// Whether the answer means that a hub does not have a route.
pub(crate) fn is_unknown_route(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status: 404 | 405 | 501, code, .. } if code.is_empty())
}

/// An address of a hub, without a slash at the end.
pub(crate) fn check_endpoint(text: &str) -> ClientResult<String> {
    let text = text.trim().trim_end_matches('/');
    let uri = text.parse::<Uri>().ok();
    let is_fine = uri.is_some_and(|uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        is_http
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !has_user
    });
    match is_fine {
        true => Ok(text.to_owned()),
        false => Err(ClientError::Usage(format!(
            "{text:?} is no address of a hub; write one such as http://hub.local:8010 (--endpoint, HF_ENDPOINT)"
        ))),
    }
}

/// Where a `Location` leads from an address: a whole address, one of the same host, or of the same folder.
fn resolve(from: &str, location: &str) -> Option<String> {
    let is_plain = location.chars().all(|c| c.is_ascii_graphic());
    if !is_plain {
        return None;
    }
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let uri: Uri = from.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let (folder, _) = uri.path().rsplit_once('/')?;
    (!location.contains(':')).then(|| format!("{scheme}://{authority}{folder}/{location}"))
}

/// The address of the next page in a `Link` header. Source: RFC 8288.
pub(crate) fn next_page(link: &str) -> Option<String> {
    let mut rest = link;
    while let Some((_, after)) = rest.split_once('<') {
        let (url, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or_default();
            key.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        if is_next {
            return Some(url.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn locations_are_resolved_as_browsers_do() {
        let from = "http://hub:8010/a/b/c?x=1";
        for (location, expected) in [
            ("https://cdn/x", Some("https://cdn/x")),
            ("/x?y", Some("http://hub:8010/x?y")),
            ("//cdn/x", Some("http://cdn/x")),
            ("d", Some("http://hub:8010/a/b/d")),
            ("file:/etc/passwd", None),
            ("a b", None),
        ] {
            assert_eq!(resolve(from, location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        let link = "<http://h/a?cursor=1>; rel=\"prev\", <http://h/a?cursor=3>; rel=\"next\"";
        assert_eq!(next_page(link).as_deref(), Some("http://h/a?cursor=3"));
        assert_eq!(
            next_page("<http://h>; rel=next").as_deref(),
            Some("http://h")
        );
        assert_eq!(next_page("<http://h>; rel=\"xet-auth\""), None);
    }

    #[test]
    fn the_token_is_for_the_hub_alone() {
        let hub = HubClient::new(
            "http://hub:8010/",
            Some("hf_x".into()),
            HttpOptions::default(),
        )
        .unwrap();
        assert!(hub.is_own("http://hub:8010/api"));
        for other in [
            "http://hub:8011/api",
            "https://hub:8010/api",
            "http://hub:8010.evil/api",
            "http://x@hub:8010/",
        ] {
            assert!(!hub.is_own(other), "{other}");
        }
        assert!(!format!("{hub:?}").contains("hf_x"));
    }

    #[test]
    fn only_addresses_are_endpoints() {
        assert_eq!(check_endpoint(" http://a:1/ ").unwrap(), "http://a:1");
        for wrong in [
            "",
            "a:1",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a?x",
        ] {
            assert!(check_endpoint(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(link in ".{0,60}", from in ".{0,30}") {
            let _ = next_page(&link);
            let _ = resolve(&from, &link);
            let _ = check_endpoint(&link);
        }
    }
}
