//! Logging in on a page: the hub gives a code, the user confirms it in a browser, the client gets a token.
//! Source: RFC 8628.

use super::error::{ClientError, ClientResult};
use super::http::{Ask, Http};
use super::hub::{HubClient, is_unknown_route, parse};
use super::names::segment;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The client that huggingface_hub says it is, unless told otherwise.
const CLIENT_ID: &str = "26be6b09-91c5-47da-9861-d2d2bb7a7e36";
/// Most bytes of an answer.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// A login that somebody has to confirm.
#[derive(Debug, Clone, Deserialize)]
pub struct DeviceLogin {
    device_code: String,
    /// What the user has to compare or type.
    pub user_code: String,
    /// The page.
    pub verification_uri: String,
    /// The page with the code in it.
    #[serde(default)]
    pub verification_uri_complete: Option<String>,
    /// Seconds between questions.
    #[serde(default)]
    interval: Option<u64>,
    /// Seconds until the code is of no use.
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

impl HubClient {
    /// Begins a login; `None` if the hub has no such page.
    ///
    /// # Errors
    /// If the hub cannot be asked.
    pub fn begin_login(&self) -> ClientResult<Option<DeviceLogin>> {
        let place = format!("asking {} for a code to log in with", self.endpoint());
        let body = format!("client_id={CLIENT_ID}");
        match self.json::<DeviceLogin>(&place, "/oauth/device", form(&body)) {
            Ok(login) => Ok(Some(login)),
            Err(error) if is_unknown_route(&error) || error.is_no_repository() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until somebody confirms it; the token.
    ///
    /// # Errors
    /// If nobody does in time, or it is denied.
    pub fn finish_login(&self, login: &DeviceLogin) -> ClientResult<String> {
        let place = format!("waiting for the login at {}", self.endpoint());
        let body = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code={}&client_id={CLIENT_ID}",
            segment(&login.device_code)
        );
        let url = self.address("/oauth/token");
        let mut rest = Duration::from_secs(login.interval.unwrap_or(5).clamp(1, 60));
        let end = Duration::from_secs(login.expires_in.unwrap_or(900).min(3600));
        let began = Instant::now();
        while began.elapsed() < end {
            let answer = self.http.persist(|| {
                let response = self.send(&place, &url, &form(&body))?;
                let status = response.status().as_u16();
                if !matches!(status, 200 | 400..=403) {
                    return Err(Http::refusal(&place, response));
                }
                let mut bytes = Vec::new();
                Http::read(&place, response, ANSWER_LIMIT_BYTES, &mut bytes)?;
                parse::<Answer>(&place, &bytes)
            })?;
            if let Some(token) = answer.access_token {
                return Ok(token);
            }
            match answer.error.as_deref() {
                Some("authorization_pending") => {}
                Some("slow_down") => rest += Duration::from_secs(5),
                Some("access_denied") => {
                    return Err(ClientError::Usage(
                        "the login was denied on the page".into(),
                    ));
                }
                Some("expired_token") => break,
                other => {
                    let words = other.unwrap_or("it says neither token nor error");
                    return Err(ClientError::protocol(
                        &place,
                        words.chars().take(200).collect::<String>(),
                    ));
                }
            }
            std::thread::sleep(rest);
        }
        Err(ClientError::Usage(
            "nobody confirmed the login in time; run the same command again".into(),
        ))
    }
}

fn form(body: &str) -> Ask<'_> {
    Ask {
        body: Some(body.as_bytes()),
        content_type: Some("application/x-www-form-urlencoded"),
        ..Ask::default()
    }
}
