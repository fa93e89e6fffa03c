//! Commits: what clients send line by line becomes one new state of a branch.

mod lines;

use super::Hub;
use super::access::Visit;
use super::info::{first, is_set, pairs};
use super::reply::{Json, date, link_next, ok};
use crate::error::{Error, Result};
use crate::limits;
use crate::repos::refs::{self, Ref};
use crate::repos::{Repo, commits, history};
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
        let number = open_pull_request(&hub, &visit, repo, &revision).await?;
        branch = format!("refs/pr/{number}");
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
        answer["pullRequestUrl"] = json!(format!("{address}/discussions/{number}"));
    }
    Ok(ok(answer))
}

/// Takes the next number for a pull request from a revision.
async fn open_pull_request(hub: &Hub, visit: &Visit, repo: &Repo, revision: &str) -> Result<u64> {
    let start = refs::resolve(&hub.db, repo, revision).await?;
    for _ in 0..20 {
        let all = refs::all(&hub.db, repo).await?;
        let numbers = all
            .iter()
            .filter_map(|one| one.name.strip_prefix("refs/pr/")?.parse::<u64>().ok());
        let number = numbers.max().unwrap_or(0) + 1;
        let new = Ref {
            name: format!("refs/pr/{number}"),
            target: start.oid.clone(),
        };
        match refs::create(&hub.db, visit.caller()?, repo, &new, "").await {
            Ok(()) => return Ok(number),
            // Somebody took the number at the same moment.
            Err(Error::Refused(refusal)) if refusal.status == 409 => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::refused(
        409,
        "too many pull requests at once; try again",
    ))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Discussion {
    #[serde(default)]
    pull_request: bool,
}

/// Opens a pull request before the commit that fills it.
pub(super) async fn discuss(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Discussion>,
) -> Result<Response> {
    if !request.pull_request {
        return Err(Error::refused(
            501,
            "this hub has no discussions yet, only pull requests",
        ));
    }
    let repo = visit.repo()?;
    let number = open_pull_request(&hub, &visit, repo, "main").await?;
    let url = format!("{}/{}/discussions/{number}", visit.base, repo.web_path());
    Ok(ok(json!({"num": number, "url": url, "pullRequest": true})))
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
