//! Logging in on a page: a client shows a code, somebody confirms it in a browser with name and password, the client
//! gets a token. Source: RFC 8628, as `hf auth login` speaks it.

use super::Hub;
use super::access::Visit;
use super::info::{first, pairs};
use super::reply::{ok, read_body, set, with_status};
use crate::accounts::{NewToken, TokenRole, check_password, tokens};
use crate::db::{now_ms, random};
use crate::error::{Error, Result};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How long a code may be confirmed, seconds.
const CODE_S: i64 = 900;
/// Seconds between questions of a client.
const INTERVAL_S: i64 = 3;
/// How long a token works that was made this way, seconds.
const TOKEN_S: i64 = 365 * 24 * 3600;
/// Bytes of a form.
const FORM: usize = 16 * 1024;
/// Letters of codes: without vowels, so that no words come out (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

type Pairs = Vec<(String, String)>;

async fn form(body: Body) -> Result<Pairs> {
    let bytes = read_body(body, FORM).await?;
    Ok(pairs(&String::from_utf8_lossy(&bytes)))
}

fn digest(code: &str) -> String {
    hex::encode(Sha256::digest(code.as_bytes()))
}

/// Begins a login.
pub(super) async fn begin(visit: Visit, State(hub): State<Arc<Hub>>) -> Result<Response> {
    throttle(&hub, &visit).await?;
    let device_code = hex::encode(random::<32>()?);
    let user_code = user_code()?;
    let now = now_ms();
    sqlx::query("DELETE FROM device_logins WHERE expires_ms < $1")
        .bind(now)
        .execute(hub.db.pool())
        .await?;
    sqlx::query(
        "INSERT INTO device_logins (device_digest, user_code, account, asked_ms, expires_ms) VALUES ($1, $2, '', $3, $4)",
    )
    .bind(digest(&device_code))
    .bind(user_code.clone())
    .bind(now)
    .bind(now + CODE_S * 1000)
    .execute(hub.db.pool())
    .await?;
    let page = format!("{}/login/device", visit.base);
    Ok(ok(json!({
        "device_code": device_code, "user_code": user_code, "verification_uri": page,
        "verification_uri_complete": format!("{page}?code={user_code}"),
        "interval": INTERVAL_S, "expires_in": CODE_S,
    })))
}

/// `BCDF-GHJK`: 34 bits, guessed within 15 minutes and a few tries.
fn user_code() -> Result<String> {
    // 240 is the largest multiple of 20 in a byte.
    let letters = random::<32>()?.into_iter().filter(|byte| *byte < 240);
    let code: String = letters
        .map(|byte| char::from(LETTERS[usize::from(byte % 20)]))
        .take(8)
        .collect();
    let (head, tail) = code.split_at(code.len() / 2);
    Ok(format!("{head}-{tail}"))
}

/// Gives the client its token once somebody has confirmed.
pub(super) async fn token(State(hub): State<Arc<Hub>>, body: Body) -> Result<Response> {
    let form = form(body).await?;
    let failed = |error: &str| Ok(with_status(400, json!({"error": error})));
    match first(&form, "grant_type") {
        Some(GRANT) => {}
        // No refresh tokens are given out, so none is good.
        Some("refresh_token") => return failed("invalid_grant"),
        _ => return failed("unsupported_grant_type"),
    }
    let Some(code) = first(&form, "device_code") else {
        return failed("invalid_request");
    };
    let row: Option<(String, i64)> =
        sqlx::query_as("SELECT account, expires_ms FROM device_logins WHERE device_digest = $1")
            .bind(digest(code))
            .fetch_optional(hub.db.pool())
            .await?;
    let Some((account, expires_ms)) = row else {
        return failed("invalid_grant");
    };
    match account.as_str() {
        "-" => failed("access_denied"),
        _ if expires_ms < now_ms() => failed("expired_token"),
        "" => failed("authorization_pending"),
        name => make_token(&hub, code, name).await,
    }
}

async fn make_token(hub: &Hub, code: &str, name: &str) -> Result<Response> {
    let done = sqlx::query("DELETE FROM device_logins WHERE device_digest = $1 AND account = $2")
        .bind(digest(code))
        .bind(name.to_owned())
        .execute(hub.db.pool())
        .await?;
    let user = crate::accounts::find(&hub.db, name).await?;
    let (1, Some(user)) = (done.rows_affected(), user) else {
        return Ok(with_status(400, json!({"error": "invalid_grant"})));
    };
    let new = NewToken {
        name: "login by device".to_owned(),
        role: TokenRole::Write,
        expires_ms: Some(now_ms() + TOKEN_S * 1000),
        grants: Vec::new(),
    };
    let token = tokens::create(&hub.db, &user, &new).await?;
    crate::audit::note_by(&hub.db, &user.name, "token.create", &user.name, "by device").await?;
    Ok(ok(json!({
        "access_token": token, "token_type": "bearer", "expires_in": TOKEN_S, "scope": "read-repos write-repos",
    })))
}

/// The page.
pub(super) async fn page(RawQuery(query): RawQuery) -> Response {
    let query = pairs(&query.unwrap_or_default());
    html(200, &ask(first(&query, "code").unwrap_or_default(), ""))
}

/// What somebody wrote into the page.
pub(super) async fn confirm(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    body: Body,
) -> Result<Response> {
    throttle(&hub, &visit).await?;
    let form = form(body).await?;
    let field = |name: &str| first(&form, name).unwrap_or_default().trim().to_owned();
    let (code, name) = (field("code").to_uppercase(), field("name"));
    let password = first(&form, "password").unwrap_or_default();
    // Hashing takes long on purpose; nothing is not worth it.
    let is_empty = name.is_empty() || password.is_empty();
    let user = if is_empty {
        None
    } else {
        check_password(&hub.db, &name, password).await?
    };
    let Some(user) = user else {
        return Ok(html(403, &ask(&code, "Name or password is wrong.")));
    };
    let is_allowed = first(&form, "decision") != Some("deny");
    let account = if is_allowed { user.name.as_str() } else { "-" };
    let done = sqlx::query(
        "UPDATE device_logins SET account = $1 WHERE user_code = $2 AND account = '' AND expires_ms > $3",
    )
    .bind(account.to_owned())
    .bind(code.clone())
    .bind(now_ms())
    .execute(hub.db.pool())
    .await?;
    if done.rows_affected() != 1 {
        return Ok(html(
            400,
            &ask(
                "",
                "There is no such code, or it has expired; begin again where it was shown.",
            ),
        ));
    }
    let said = if is_allowed {
        "Done. The device is logged in."
    } else {
        "Refused. The device gets nothing."
    };
    Ok(html(
        200,
        &format!("<p>{said} You can close this page.</p>"),
    ))
}

/// Few tries for each address: passwords and codes are not to be guessed.
async fn throttle(hub: &Hub, visit: &Visit) -> Result<()> {
    match hub.logins.count(&hub.db, &visit.peer).await {
        Some(allowance) if allowance.is_over => Err(Error::refused(
            429,
            "too many logins from this address; try again in five minutes",
        )),
        _ => Ok(()),
    }
}

fn ask(code: &str, problem: &str) -> String {
    let code: String = code
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(20)
        .collect();
    format!(
        "<p>Confirm only a code that you see on your own device.</p><p><b>{problem}</b></p>\
         <form method=\"post\" action=\"/login/device\">\
         <p><label>Code<br><input name=\"code\" value=\"{code}\" autocomplete=\"off\" required></label></p>\
         <p><label>Name<br><input name=\"name\" autocomplete=\"username\" required></label></p>\
         <p><label>Password<br><input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label></p>\
         <p><button name=\"decision\" value=\"allow\">Log the device in</button> \
         <button name=\"decision\" value=\"deny\">Refuse</button></p></form>"
    )
}

fn html(status: u16, body: &str) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Log a device in</title><style>body{{font:16px sans-serif;max-width:24em;margin:3em auto;padding:0 1em}}\
         input{{width:100%;padding:.4em;box-sizing:border-box}}button{{padding:.5em 1em}}</style>\
         <h1>Log a device in</h1>{body}</html>"
    );
    let mut response = text.into_response();
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    set(headers, "content-type", "text/html; charset=utf-8");
    set(headers, "cache-control", "no-store");
    set(headers, "x-content-type-options", "nosniff");
    set(headers, "referrer-policy", "no-referrer");
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
    set(headers, "content-security-policy", policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_eight_consonants() {
        let code = user_code().unwrap();
        assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'), "{code}");
    }

    #[test]
    fn nothing_of_a_stranger_gets_into_the_page() {
        assert!(!ask("\"><script>", "").contains("<script>"));
    }
}
