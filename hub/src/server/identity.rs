//! Who somebody is, and small things that clients ask of every hub.

use super::Hub;
use super::access::Visit;
use super::reply::{Json, ok, with_status};
use crate::accounts::{organisations, tokens};
use crate::error::Result;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Whether this server can do its work.
pub(super) async fn health(State(hub): State<Arc<Hub>>) -> Result<Response> {
    hub.db.ping().await?;
    Ok(ok(json!({"status": "ok"})))
}

/// The user of a token, with organisations and the token itself.
pub(super) async fn whoami(visit: Visit, State(hub): State<Arc<Hub>>) -> Result<Response> {
    let caller = visit.caller()?;
    let orgs: Vec<Value> = organisations(&hub.db, &caller.user.id)
        .await?
        .into_iter()
        .map(|(org, role)| {
            json!({
                "type": "org", "id": org.id, "name": org.name, "fullname": org.full_name,
                "roleInOrg": role.as_str(), "isEnterprise": false,
            })
        })
        .collect();
    let expires = caller.expires_ms.map(super::reply::date);
    Ok(ok(json!({
        "type": "user",
        "id": caller.user.id,
        "name": caller.user.name,
        "fullname": caller.user.full_name,
        "email": caller.user.email,
        "emailVerified": caller.user.email.is_some(),
        "isPro": false,
        "canPay": false,
        "orgs": orgs,
        "auth": {
            "type": "access_token",
            "accessToken": {
                "displayName": caller.token_name,
                "role": caller.role.as_str(),
                "expiresAt": expires,
            },
        },
    })))
}

/// Passing the guard was the question.
pub(super) async fn auth_check() -> Response {
    ok(json!({}))
}

/// Asked by every start of a client; there is nothing to say.
pub(super) async fn harnesses() -> Response {
    ok(json!({"standardEnvVars": [], "harnesses": {}}))
}

/// Nothing is kept of what clients tell about themselves.
pub(super) async fn telemetry() -> Response {
    axum::http::StatusCode::OK.into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct Revocation {
    #[serde(default)]
    credentials: Vec<String>,
}

/// Ends leaked tokens; whoever has one may, and the answer does not tell which were valid.
pub(super) async fn revoke(
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Revocation>,
) -> Result<Response> {
    for token in request.credentials.iter().take(1000) {
        tokens::revoke(&hub.db, token).await?;
    }
    Ok(with_status(202, json!({})))
}
