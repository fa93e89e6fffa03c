//! Commits: what clients send line by line becomes one new state of a branch.

mod lines;

pub(super) use lines::check_message;
#[cfg(any(test, fuzzing))]
pub(super) use lines::rehearse;

use super::access::Visit;
use super::info::{first, is_set, pairs};
use super::reply::{Json, date, link_next, ok};
use super::{Hub, discussions};
use crate::error::Result;
use crate::limits;
use crate::repos::{commits, history, pulls, refs};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

type RepoPath = Path<(String, String, String)>;

/// Commits to a branch, or to a new pull request.
pub(super) async fn commit(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision)): RepoPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let repo = visit.repo()?;
    let caller = visit.caller()?;
    let query = pairs(&query.unwrap_or_default());
    let is_pr = is_set(&query, "create_pr");
    let mut branch = String::new();
    if !is_pr {
        branch = refs::branch(&revision)?;
        // Before the contents are read: a wrong branch should not cost an upload.
        refs::resolve(&hub.db, repo, &branch).await?;
    }
    // A line as it came, its text, and the file in it.
    let _permit = super::memory(&hub, &headers, 3, 64).await?;
    let request = lines::receive(&hub, repo, body).await?;
    let mut pull_request = None;
    if is_pr {
        let start = refs::resolve(&hub.db, repo, &revision).await?;
        let (title, text) = (&request.title, &request.description);
        let number = pulls::open(&hub.db, caller, repo, &start, title, text).await?;
        branch = pulls::ref_name(number);
        pull_request = Some(number);
    }
    let head = commits::commit(&hub.db, &hub.objects, caller, repo, &branch, &request).await?;
    let address = format!("{}/{}", visit.base, repo.web_path());
    let mut answer = json!({
        "success": true,
        "commitOid": head.oid,
        "commitUrl": format!("{address}/commit/{}", head.oid),
        "hookOutput": "",
    });
    if let Some(number) = pull_request {
        answer["pullRequestUrl"] = json!(discussions::address(&visit, repo, number));
    }
    Ok(ok(answer))
}

/// A branch's commits, newest first.
pub(super) async fn log(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision)): RepoPath,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Response> {
    let repo = visit.repo()?;
    let query = pairs(&query.unwrap_or_default());
    let number = |key: &str| first(&query, key).and_then(|text| text.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(50).clamp(1, limits::COMMITS_PAGE);
    let start = match first(&query, "cursor") {
        Some(cursor) => cursor,
        None => &revision,
    };
    let start = refs::resolve(&hub.db, repo, start).await?;
    let mut commits = history::log(&hub.db, repo, start, 0, limit + 1).await?;
    let next = (commits.len() > limit).then(|| commits.pop()).flatten();
    let list: Vec<Value> = commits
        .iter()
        .map(|commit| {
            let rest = commit
                .message
                .strip_prefix(&commit.title)
                .unwrap_or_default();
            json!({
                "id": commit.oid, "title": commit.title, "message": rest.trim_start(),
                "date": date(commit.date_s * 1000), "authors": [{"user": commit.author}],
                "formatted": {"title": escape(&commit.title), "message": escape(rest.trim_start())},
            })
        })
        .collect();
    let mut response = ok(Value::Array(list));
    if let Some(next) = next {
        let url = format!(
            "{}{}?limit={limit}&cursor={}",
            visit.base,
            uri.path(),
            next.oid
        );
        link_next(&mut response, &url);
    }
    Ok(response)
}

/// Text as it stands, for where a page would be.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[derive(Debug, Deserialize)]
pub(super) struct Squash {
    message: Option<String>,
}

/// Replaces a branch's history by one commit.
pub(super) async fn squash(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, branch)): RepoPath,
    Json(request): Json<Squash>,
) -> Result<Response> {
    let name = refs::branch(&branch)?;
    let message = request
        .message
        .unwrap_or_else(|| "Super-squash history".to_owned());
    lines::check_message(&message)?;
    let head = commits::squash(&hub.db, visit.caller()?, visit.repo()?, &name, &message).await?;
    Ok(ok(json!({"commitOid": head.oid})))
}
