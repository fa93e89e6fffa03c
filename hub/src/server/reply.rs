//! Answers that clients understand: errors with their headers, JSON bodies in and out.

use super::Hub;
use crate::error::{Error, Refusal, Result};
use crate::limits;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refused(&refusal),
            failure => {
                let id = request_id();
                tracing::error!(request = id, "{failure}");
                let mut response = plain(
                    500,
                    json!({"error": format!("Internal error {id}; the hub's log says more")}),
                );
                set(response.headers_mut(), "x-request-id", &id);
                response
            }
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    let mut body = json!({"error": refusal.message});
    if let Some(url) = &refusal.url {
        body["url"] = json!(url);
    }
    let mut response = plain(refusal.status, body);
    let headers = response.headers_mut();
    if let Some(code) = refusal.code {
        set(headers, "x-error-code", code.as_str());
    }
    set(headers, "x-error-message", &refusal.message);
    set(headers, "x-request-id", &request_id());
    if let Some(commit) = &refusal.commit {
        set(headers, "x-repo-commit", commit);
    }
    if refusal.status == 401 {
        set(
            headers,
            "www-authenticate",
            "Basic realm=\"hub\", charset=\"UTF-8\"",
        );
    }
    response
}

fn plain(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body.to_string()).into_response();
    set(response.headers_mut(), "content-type", "application/json");
    response
}

/// A name for a request, to find it in the log by.
fn request_id() -> String {
    crate::db::new_id().unwrap_or_default()
}

/// Sets a header; what headers cannot carry becomes a question mark.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let clean: String = value
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&clean) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// A JSON answer.
pub(crate) fn ok(body: Value) -> Response {
    plain(200, body)
}

/// A JSON answer with another status.
pub(crate) fn with_status(status: u16, body: Value) -> Response {
    plain(status, body)
}

/// A JSON request body. Which content type it claims does not matter: the clients do not agree on one.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Hub>> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Arc<Hub>) -> Result<Self> {
        let bytes = read_body(request.into_body(), limits::JSON).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Error::bad(format!("the request's JSON is not as expected: {error}")))
    }
}

/// A whole body of at most `limit` bytes.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<bytes::Bytes> {
    axum::body::to_bytes(body, limit).await.map_err(|_| {
        Error::refused(
            413,
            format!(
                "the request's body broke off or is larger than the {limit} bytes that are allowed"
            ),
        )
    })
}

/// Milliseconds since 1970 as clients write dates: `2026-11-25T22:45:54.000Z`. Days to dates: H. Hinnant's
/// `civil_from_days`.
pub(crate) fn date(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The header that names the next page.
pub(crate) fn link_next(response: &mut Response, url: &str) {
    set(
        response.headers_mut(),
        "link",
        &format!("<{url}>; rel=\"next\""),
    );
}

/// A file's bytes from strangers: never to be run by a browser in the hub's name.
pub(crate) fn harmless(headers: &mut HeaderMap) {
    set(headers, "x-content-type-options", "nosniff");
    set(
        headers,
        "content-security-policy",
        "default-src 'none'; sandbox",
    );
    set(headers, "content-type", "application/octet-stream");
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_827_696_123), "2000-02-29T12:34:56.123Z");
        assert_eq!(date(1_798_761_599_000), "2026-12-31T23:59:59.000Z");
    }
}
