//! Branches and tags.

use super::Hub;
use super::access::Visit;
use super::info::{is_set, pairs};
use super::reply::{Json, ok};
use crate::error::Result;
use crate::repos::names::check_ref_name;
use crate::repos::refs::{self, Ref};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

type RepoPath = Path<(String, String, String)>;

/// All of them.
pub(super) async fn list(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let all = refs::all(&hub.db, visit.repo()?).await?;
    let part = |prefix: &str| -> Value {
        all.iter()
            .filter_map(|one| {
                let name = one.name.strip_prefix(prefix)?;
                Some(json!({"name": name, "ref": one.name, "targetCommit": one.target}))
            })
            .collect()
    };
    let mut body = json!({
        "branches": part("refs/heads/"),
        "tags": part("refs/tags/"),
        "converts": part("refs/convert/"),
    });
    let query = pairs(&query.unwrap_or_default());
    if is_set(&query, "include_prs") {
        body["pullRequests"] = part("refs/pr/");
    }
    Ok(ok(body))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewBranch {
    starting_point: Option<String>,
}

/// Makes a branch.
pub(super) async fn create_branch(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, branch)): RepoPath,
    Json(request): Json<NewBranch>,
) -> Result<Response> {
    let repo = visit.repo()?;
    let start = request.starting_point.as_deref().unwrap_or("main");
    let commit = refs::resolve(&hub.db, repo, start).await?;
    let new = Ref {
        name: format!("refs/heads/{branch}"),
        target: commit.oid,
    };
    refs::create(&hub.db, visit.caller()?, repo, &new, "").await?;
    Ok(ok(json!({})))
}

/// Removes a branch.
pub(super) async fn delete_branch(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, branch)): RepoPath,
) -> Result<Response> {
    let name = format!("refs/heads/{branch}");
    refs::delete(&hub.db, visit.caller()?, visit.repo()?, &name).await?;
    Ok(ok(json!({})))
}

#[derive(Debug, Deserialize)]
pub(super) struct NewTag {
    tag: String,
    message: Option<String>,
}

/// Puts a tag on a revision.
pub(super) async fn create_tag(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision)): RepoPath,
    Json(request): Json<NewTag>,
) -> Result<Response> {
    check_ref_name(&request.tag)?;
    let repo = visit.repo()?;
    let commit = refs::resolve(&hub.db, repo, &revision).await?;
    let new = Ref {
        name: format!("refs/tags/{}", request.tag),
        target: commit.oid,
    };
    let message = request.message.unwrap_or_default();
    refs::create(&hub.db, visit.caller()?, repo, &new, &message).await?;
    Ok(ok(json!({})))
}

/// Removes a tag.
pub(super) async fn delete_tag(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, tag)): RepoPath,
) -> Result<Response> {
    let name = format!("refs/tags/{tag}");
    refs::delete(&hub.db, visit.caller()?, visit.repo()?, &name).await?;
    Ok(ok(json!({})))
}
