//! Making, renaming and deleting repositories, and who may see them.

use super::Hub;
use super::access::{Visit, check, check_namespace};
use super::reply::{Json, ok};
use crate::accounts::{self, Account, Caller, Right};
use crate::db::new_id;
use crate::error::{Error, Result};
use crate::objects::pack_key;
use crate::operate::{Marked, unmark};
use crate::repos::commits::{Pack, PackedBlob, Request, commit};
use crate::repos::edit::Change;
use crate::repos::git::{Facts, object_id};
use crate::repos::names::Kind;
use crate::repos::{self, NewRepo, Repo, attributes, files, refs};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    private: Option<bool>,
    visibility: Option<String>,
    sdk: Option<String>,
}

/// Makes a repository with a first commit.
pub(super) async fn create(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Create>,
) -> Result<Response> {
    let caller = visit.caller()?;
    let kind = kind(request.kind.as_deref())?;
    let (namespace, name) = name(caller, &request.name, request.organization.as_deref());
    let owner = namespace_for(&hub, caller, &namespace).await?;
    let is_private = is_private(request.visibility.as_deref(), request.private)?.unwrap_or(false);
    let new = NewRepo {
        kind,
        owner: &owner,
        name: &name,
        is_private,
        sdk: request.sdk.filter(|sdk| sdk.len() <= 40),
    };
    let url = format!("{}/{}{}/{name}", visit.base, kind.prefix(), owner.name);
    let mut transaction = hub.db.write().await?;
    let Some(repo) = repos::insert(&mut transaction, caller, &new).await? else {
        drop(transaction);
        complete(&hub, caller, kind, &owner.name, &name).await?;
        return Err(taken(kind, &url));
    };
    transaction.commit().await?;
    first_commit(&hub, caller, &repo).await?;
    Ok(ok(
        json!({"url": url, "name": repo.full_name(), "id": repo.id}),
    ))
}

/// Clients look for the address in the refusal, and are content with the repository that is there.
pub(super) fn taken(kind: Kind, url: &str) -> Error {
    Error::refused(409, format!("You already created this {kind} repo: {url}"))
        .with_url(url.to_owned())
}

/// A repository whose making was cut off gets its first commit when somebody makes it again.
async fn complete(
    hub: &Hub,
    caller: &Caller,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<()> {
    let Some(repo) = repos::find(&hub.db, kind, namespace, name).await? else {
        return Ok(());
    };
    let main = refs::target(&hub.db, &repo, "refs/heads/main").await?;
    if main.is_none() {
        first_commit(hub, caller, &repo).await?;
    }
    Ok(())
}

/// Every repository has a commit from the start, as on huggingface.co.
async fn first_commit(hub: &Hub, caller: &Caller, repo: &Repo) -> Result<()> {
    let text = attributes::default_file();
    let oid = object_id("blob", text.as_bytes());
    let size = text.len() as u64;
    let mut pack = Pack::default();
    // The same text in every repository: one pack for all of them, in use from here on.
    unmark(&hub.db, Marked::Blob, std::slice::from_ref(&oid)).await?;
    if !files::has_blob(&hub.db, &oid).await? {
        pack.id = new_id()?;
        hub.objects.put(&pack_key(&pack.id), text.into()).await?;
        pack.blobs.push(PackedBlob {
            oid: oid.clone(),
            size,
            start: 0,
        });
    }
    let request = Request {
        title: "initial commit".to_owned(),
        description: String::new(),
        parent: None,
        changes: vec![Change::Put {
            path: ".gitattributes".to_owned(),
            oid,
            facts: Facts::Blob { size },
        }],
        pack,
        digest: String::new(),
    };
    commit(
        &hub.db,
        &hub.objects,
        caller,
        repo,
        "refs/heads/main",
        &request,
    )
    .await?;
    Ok(())
}

#[derive(Debug, Deserialize)]
pub(super) struct Delete {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Deletes a repository.
pub(super) async fn delete(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Delete>,
) -> Result<Response> {
    let caller = visit.caller()?;
    let kind = kind(request.kind.as_deref())?;
    let (namespace, name) = name(caller, &request.name, request.organization.as_deref());
    let repo = writable(&hub, caller, kind, &namespace, &name).await?;
    repos::delete(&hub.db, caller, &repo).await?;
    Ok(ok(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rename {
    from_repo: String,
    to_repo: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Gives a repository another name or owner.
pub(super) async fn rename(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Rename>,
) -> Result<Response> {
    let caller = visit.caller()?;
    let kind = kind(request.kind.as_deref())?;
    let (namespace, old) = name(caller, &request.from_repo, None);
    let repo = writable(&hub, caller, kind, &namespace, &old).await?;
    let (namespace, new) = name(caller, &request.to_repo, None);
    let owner = namespace_for(&hub, caller, &namespace).await?;
    repos::rename(&hub.db, caller, &repo, &owner, &new).await?;
    Ok(ok(json!({})))
}

#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    private: Option<bool>,
    visibility: Option<String>,
    gated: Option<Value>,
}

/// Who may see a repository.
pub(super) async fn settings(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Settings>,
) -> Result<Response> {
    let repo = visit.repo()?;
    let private = is_private(request.visibility.as_deref(), request.private)?;
    let private = private.unwrap_or(repo.is_private);
    let gated = match &request.gated {
        None => repo.gated.clone(),
        Some(Value::Bool(false)) => "false".to_owned(),
        Some(_) => {
            return Err(Error::refused(
                501,
                "this hub has no gated access yet; make the repository private instead",
            ));
        }
    };
    repos::update_settings(&hub.db, visit.caller()?, repo, private, &gated).await?;
    Ok(ok(json!({"private": private, "gated": false})))
}

pub(super) fn kind(text: Option<&str>) -> Result<Kind> {
    let text = text.unwrap_or("model");
    Kind::parse(text).ok_or_else(|| {
        Error::bad(format!(
            "{text:?} is no kind of repository; use model, dataset, space or kernel"
        ))
    })
}

/// Namespace and name; without a namespace it is the caller's own.
pub(super) fn name(caller: &Caller, text: &str, organization: Option<&str>) -> (String, String) {
    let own = || organization.unwrap_or(&caller.user.name).to_owned();
    match text.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (own(), text.to_owned()),
    }
}

pub(super) async fn namespace_for(hub: &Hub, caller: &Caller, namespace: &str) -> Result<Account> {
    let owner = accounts::find(&hub.db, namespace).await?.ok_or_else(|| {
        Error::refused(
            403,
            format!("there is no namespace {namespace:?} that your token may write to"),
        )
    })?;
    check_namespace(hub, caller, &owner).await?;
    Ok(owner)
}

async fn writable(
    hub: &Hub,
    caller: &Caller,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Repo> {
    let repo = repos::find(&hub.db, kind, namespace, name).await?;
    let repo = repo.ok_or_else(|| repos::not_found(false))?;
    check(hub, Some(caller), &repo, Right::Write).await?;
    Ok(repo)
}

pub(super) fn is_private(visibility: Option<&str>, private: Option<bool>) -> Result<Option<bool>> {
    match visibility {
        None => Ok(private),
        Some("public") => Ok(Some(false)),
        // Protected spaces show a page and hide their files; without pages that is private.
        Some("private" | "protected") => Ok(Some(true)),
        Some(other) => Err(Error::bad(format!(
            "{other:?} is no visibility; use public, private or protected"
        ))),
    }
}
