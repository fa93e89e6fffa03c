//! Large files of a repository as clients list them, and copies on the server: of large files into another
//! repository, and of a whole repository.

use super::Hub;
use super::access::{Visit, check};
use super::info::{first, pairs};
use super::lifecycle::{is_private, kind, name, namespace_for, taken};
use super::reply::{Json, date, link_next, ok};
use crate::accounts::{Right, quota};
use crate::cas::register::link;
use crate::error::{Error, Result};
use crate::limits;
use crate::repos::git::Facts;
use crate::repos::names::Kind;
use crate::repos::{self, NewRepo, Repo, copies, files, refs, trees};
use axum::extract::{RawQuery, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Large files on a page of the list.
const PAGE: usize = 1000;
/// Branches and tags in which the names of large files are looked for.
const REFS: usize = 20;

/// Large files that a repository has, those of older commits and those that no commit names yet included.
pub(super) async fn list(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Response> {
    let repo = visit.repo()?;
    let query = pairs(&query.unwrap_or_default());
    let after = first(&query, "cursor").unwrap_or_default();
    let mut page = files::page(&hub.db, repo, after, PAGE + 1).await?;
    let is_more = page.len() > PAGE;
    page.truncate(PAGE);
    let names = names(&hub, repo, &page).await?;
    let describe = |(large, created_ms): &(files::Large, i64)| {
        // What no branch has any more is called by its digest.
        let (path, in_ref) = match names.get(&large.sha256) {
            Some((path, in_ref)) => (path.as_str(), Some(in_ref)),
            None => (large.sha256.as_str(), None),
        };
        json!({
            "fileOid": large.sha256, "oid": large.sha256, "filename": path, "ref": in_ref, "size": large.size,
            "pushedAt": date(*created_ms), "xetHash": large.xet,
        })
    };
    let mut response = ok(page.iter().map(describe).collect());
    if let Some((last, _)) = page.last().filter(|_| is_more) {
        let url = format!("{}{}?cursor={}", visit.base, uri.path(), last.sha256);
        link_next(&mut response, &url);
    }
    Ok(response)
}

/// For large files a path and the branch or tag that has it: `main` if it does.
async fn names(
    hub: &Hub,
    repo: &Repo,
    page: &[(files::Large, i64)],
) -> Result<HashMap<String, (String, String)>> {
    let mut names: HashMap<String, (String, String)> = HashMap::new();
    let mut all = refs::all(&hub.db, repo).await?;
    all.sort_by_key(|one| one.name != "refs/heads/main");
    for one in all.into_iter().take(REFS) {
        if page
            .iter()
            .all(|(large, _)| names.contains_key(&large.sha256))
        {
            break;
        }
        let Some(head) = refs::commit_by_id(&hub.db, repo, &one.target).await? else {
            continue;
        };
        for item in trees::all_files(&hub.db, &head.tree).await? {
            if let Facts::Pointer { sha256, .. } = item.entry.facts {
                let place = || (item.path, one.name.clone());
                names.entry(sha256).or_insert_with(place);
            }
        }
    }
    Ok(names)
}

#[derive(Debug, Deserialize)]
pub(super) struct Copy {
    target: Target,
    #[serde(default)]
    files: Vec<Copied>,
}

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Copied {
    sha256: String,
}

/// Lets another repository hand out large files of this one, so that a commit there can name them.
pub(super) async fn copy_files(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Copy>,
) -> Result<Response> {
    let caller = visit.caller()?;
    if request.files.len() > limits::LFS_BATCH {
        return Err(Error::refused(
            413,
            format!("at most {} files may be copied at once", limits::LFS_BATCH),
        ));
    }
    let kind = kind(request.target.kind.as_deref())?;
    let (namespace, name) = name(caller, &request.target.name, None);
    let target = repos::find(&hub.db, kind, &namespace, &name).await?;
    let target = target.ok_or_else(|| repos::not_found(false))?;
    check(&hub, Some(caller), &target, Right::Write).await?;
    let digests: Vec<String> = request.files.iter().map(|one| one.sha256.clone()).collect();
    let known = files::large_to_use(&hub.db, visit.repo()?, &digests).await?;
    let there = files::large(&hub.db, &target, &digests).await?;
    let new = known
        .values()
        .filter(|large| !there.contains_key(&large.sha256));
    let bytes = new.fold(0_u64, |sum, large| sum.saturating_add(large.size));
    quota::check(&hub.db, &target.owner, bytes).await?;
    let mut failed: Vec<Value> = Vec::new();
    let mut transaction = hub.db.write().await?;
    for sha256 in digests {
        if known.contains_key(&sha256) {
            link(&mut transaction, &target, &sha256).await?;
        } else {
            failed.push(json!({"sha256": sha256, "error": "this repository has no such file"}));
        }
    }
    transaction.commit().await?;
    Ok(ok(json!({"failed": failed})))
}

#[derive(Debug, Deserialize)]
pub(super) struct Duplicate {
    repository: String,
    private: Option<bool>,
    visibility: Option<String>,
}

/// Makes a repository that has what this one has, history included.
pub(super) async fn duplicate(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Duplicate>,
) -> Result<Response> {
    let (caller, from) = (visit.caller()?, visit.repo()?);
    let (namespace, name) = name(caller, &request.repository, None);
    let owner = namespace_for(&hub, caller, &namespace).await?;
    let is_private = is_private(request.visibility.as_deref(), request.private)?;
    quota::check(&hub.db, &owner.id, copies::bytes(&hub.db, from).await?).await?;
    let new = NewRepo {
        kind: from.kind,
        owner: &owner,
        name: &name,
        is_private: is_private.unwrap_or(from.is_private),
        sdk: from.sdk.clone(),
    };
    let url = address(&visit, from.kind, &owner.name, &name);
    let mut transaction = hub.db.write().await?;
    let Some(repo) = repos::insert(&mut transaction, caller, &new).await? else {
        return Err(taken(from.kind, &url));
    };
    copies::fill(&mut transaction, caller, from, &repo).await?;
    transaction.commit().await?;
    Ok(ok(json!({"url": url, "filesCopyPending": false})))
}

fn address(visit: &Visit, kind: Kind, namespace: &str, name: &str) -> String {
    format!("{}/{}{namespace}/{name}", visit.base, kind.prefix())
}
