//! Who calls, what for, and whether they may: asked here for every route, and nowhere else.

use super::Hub;
use super::links::XetGrant;
use super::rates::Allowance;
use super::tls::Peer;
use crate::accounts::rights::{self, on_repo};
use crate::accounts::{Caller, Right, tokens};
use crate::error::{Error, Result};
use crate::repos::names::Kind;
use crate::repos::{self, Repo};
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing; a token is not even looked at.
    Nothing,
    /// Nothing, but the answer depends on who asks.
    Anybody,
    /// A valid token.
    Login,
    /// To read the repository in the path.
    Read,
    /// To write to it.
    Write,
    /// A signature in the address, which the handler checks.
    Signature,
    /// A Xet token for reading or writing.
    XetRead,
    /// A Xet token for writing.
    XetWrite,
}

/// What is known about a request that passed.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub caller: Option<Caller>,
    repo: Option<Repo>,
    /// Scheme and host that the client used, without a slash at the end.
    pub base: String,
    /// The client's address; empty when it is not known.
    pub peer: String,
}

impl Visit {
    /// Who calls; routes that need a login have one.
    pub(crate) fn caller(&self) -> Result<&Caller> {
        self.caller
            .as_ref()
            .ok_or_else(|| Error::refused(401, "this needs a token; log in first"))
    }

    /// The repository in the path or of the Xet token.
    pub(crate) fn repo(&self) -> Result<&Repo> {
        self.repo
            .as_ref()
            .ok_or_else(|| Error::Damaged("a route without a repository asked for one".to_owned()))
    }
}

impl FromRequestParts<Arc<Hub>> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Hub>) -> Result<Self> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Error::Damaged("a route without a guard was called".to_owned()))
    }
}

/// What the guard of a route is given.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub hub: Arc<Hub>,
    pub need: Need,
    pub kind: Option<Kind>,
}

/// Lets a request through with its [`Visit`], or answers it.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let admission = admit(&guard, &mut parts).await;
    let caller = counted(&guard, &parts, &admission);
    let allowance = count(&guard.hub, caller).await;
    let mut response = match admission {
        _ if allowance.is_some_and(|allowance| allowance.is_over) => {
            Error::refused(429, "too many requests; wait as long as the headers say")
                .into_response()
        }
        Ok(Admission::Enter(visit)) => {
            parts.extensions.insert(*visit);
            next.run(Request::from_parts(parts, body)).await
        }
        Ok(Admission::Elsewhere(response)) => response,
        Err(error) => error.into_response(),
    };
    if let Some(allowance) = allowance {
        allowance.describe(response.headers_mut());
    }
    response
}

async fn count(hub: &Hub, caller: Option<String>) -> Option<Allowance> {
    match caller {
        Some(caller) => hub.rates.count(&hub.db, &caller).await,
        None => None,
    }
}

/// Whom a request counts for: its token, or its address without a valid one. What moves contents of large files
/// is not counted: who may move how many was counted before.
fn counted(guard: &Guard, parts: &Parts, admission: &Result<Admission>) -> Option<String> {
    if matches!(guard.need, Need::Signature | Need::XetRead | Need::XetWrite) {
        return None;
    }
    let caller = match admission {
        Ok(Admission::Enter(visit)) => visit.caller.as_ref(),
        _ => None,
    };
    Some(caller.map_or_else(|| peer(parts), |caller| caller.token_id.clone()))
}

fn peer(parts: &Parts) -> String {
    let peer = parts.extensions.get::<ConnectInfo<Peer>>();
    peer.map_or_else(String::new, |peer| peer.0.0.ip().to_string())
}

enum Admission {
    Enter(Box<Visit>),
    /// The repository has another name now.
    Elsewhere(Response),
}

async fn admit(guard: &Guard, parts: &mut Parts) -> Result<Admission> {
    let base = base(&guard.hub, &parts.headers);
    let mut visit = Visit {
        caller: None,
        repo: None,
        base,
        peer: peer(parts),
    };
    match guard.need {
        Need::Nothing | Need::Signature => return Ok(Admission::Enter(Box::new(visit))),
        Need::XetRead | Need::XetWrite => {
            let needs_write = guard.need == Need::XetWrite;
            admit_xet(&guard.hub, &parts.headers, needs_write, &mut visit).await?;
            return Ok(Admission::Enter(Box::new(visit)));
        }
        _ => {}
    }
    visit.caller = identify(&guard.hub, &parts.headers).await?;
    if guard.need == Need::Login {
        visit.caller()?;
    }
    let right = match guard.need {
        Need::Read => Right::Read,
        Need::Write => Right::Write,
        _ => return Ok(Admission::Enter(Box::new(visit))),
    };
    let Some(kind) = guard.kind else {
        return Err(Error::Damaged(
            "a repository's route has no kind".to_owned(),
        ));
    };
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|error| Error::bad(error.to_string()))?;
    let param = |name: &str| {
        let found = params.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value).to_owned()
    };
    let (namespace, name) = (param("ns"), param("name"));
    let name = name.strip_suffix(".git").unwrap_or(&name);
    let Some(repo) = repos::find(&guard.hub.db, kind, &namespace, name).await? else {
        return moved(guard, parts, kind, &namespace, name, &visit).await;
    };
    check(&guard.hub, visit.caller.as_ref(), &repo, right).await?;
    if let (Need::Read, true, Some(caller)) = (guard.need, repo.is_private, &visit.caller) {
        let what = format!("{} {}", parts.method, parts.uri.path());
        guard
            .hub
            .reads
            .note(&guard.hub, caller, &repo, what)
            .await?;
    }
    visit.repo = Some(repo);
    Ok(Admission::Enter(Box::new(visit)))
}

/// Refuses unless the caller has the right to the repository.
pub(super) async fn check(
    hub: &Hub,
    caller: Option<&Caller>,
    repo: &Repo,
    needed: Right,
) -> Result<()> {
    let right = on_repo(&hub.db, caller, repo).await?;
    if right >= needed {
        return Ok(());
    }
    if right < Right::Read {
        return Err(repos::not_found(caller.is_none()));
    }
    Err(if caller.is_none() {
        Error::refused(401, "this needs a token that may write here; log in first")
    } else {
        Error::refused(
            403,
            format!(
                "your token may read {} but not write to it",
                repo.full_name()
            ),
        )
    })
}

/// Refuses unless the caller may create repositories in a namespace.
pub(super) async fn check_namespace(
    hub: &Hub,
    caller: &Caller,
    owner: &crate::accounts::Account,
) -> Result<()> {
    if rights::on_namespace(&hub.db, caller, owner).await? >= Right::Write {
        return Ok(());
    }
    Err(Error::refused(
        403,
        format!("your token may not create repositories in {}", owner.name),
    ))
}

async fn moved(
    guard: &Guard,
    parts: &Parts,
    kind: Kind,
    namespace: &str,
    name: &str,
    visit: &Visit,
) -> Result<Admission> {
    let hub = &guard.hub;
    let caller = visit.caller.as_ref();
    let Some(repo) = repos::find_moved(&hub.db, kind, namespace, name).await? else {
        return Err(repos::not_found(caller.is_none()));
    };
    check(hub, caller, &repo, Right::Read).await?;
    let old = format!("/{namespace}/{name}");
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let target = path.replacen(&old, &format!("/{}", repo.full_name()), 1);
    let mut response = axum::http::StatusCode::TEMPORARY_REDIRECT.into_response();
    super::reply::set(response.headers_mut(), "location", &target);
    Ok(Admission::Elsewhere(response))
}

/// Whom the token in the headers belongs to; nobody when there is none.
async fn identify(hub: &Hub, headers: &HeaderMap) -> Result<Option<Caller>> {
    let Some(token) = token(headers) else {
        return Ok(None);
    };
    let caller = tokens::identify(&hub.db, &token).await?;
    // These words keep the clients from taking it for a missing repository.
    caller
        .map(Some)
        .ok_or_else(|| Error::refused(401, "Invalid credentials in Authorization header"))
}

/// The token as `Bearer`, or as the password of `Basic`, which git sends.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

/// A Xet token counts only as long as the access token behind it and that one's right to the repository.
async fn admit_xet(
    hub: &Hub,
    headers: &HeaderMap,
    needs_write: bool,
    visit: &mut Visit,
) -> Result<()> {
    let refused = || Error::refused(401, "the Xet token is missing, wrong or has expired");
    let grant: XetGrant = token(headers)
        .and_then(|token| hub.keys.read_xet_token(&token))
        .ok_or_else(refused)?;
    if needs_write && !grant.may_write {
        return Err(Error::refused(403, "this Xet token is for reading"));
    }
    if !grant.token_id.is_empty() {
        let caller = tokens::identify_by_id(&hub.db, &grant.token_id).await?;
        visit.caller = Some(caller.ok_or_else(refused)?);
    }
    let repo = repos::by_id(&hub.db, &grant.repo)
        .await?
        .ok_or_else(refused)?;
    let needed = if needs_write {
        Right::Write
    } else {
        Right::Read
    };
    check(hub, visit.caller.as_ref(), &repo, needed).await?;
    visit.repo = Some(repo);
    Ok(())
}

fn base(hub: &Hub, headers: &HeaderMap) -> String {
    if let Some(url) = &hub.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let is_host = |host: &&str| {
        host.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_'))
    };
    let scheme = if hub.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", host.filter(is_host).unwrap_or("localhost"))
}
