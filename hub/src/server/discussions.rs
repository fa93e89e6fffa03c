//! Pull requests as clients open them before the commit that fills them. Other discussions are not kept yet.

use super::Hub;
use super::access::Visit;
use super::commits::check_message;
use super::info::{first, pairs};
use super::reply::{Json, date, ok};
use crate::error::{Error, Result};
use crate::repos::pulls::{self, PullRequest, ref_name};
use crate::repos::{Repo, refs};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Pull requests on a page of the list.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Discussion {
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pull_request: bool,
}

/// Opens a pull request.
pub(super) async fn create(
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
    check_message(&request.title)?;
    check_message(&request.description)?;
    let repo = visit.repo()?;
    let start = refs::resolve(&hub.db, repo, "main").await?;
    let (title, description) = (request.title.trim(), request.description.trim());
    let number = pulls::open(&hub.db, visit.caller()?, repo, &start, title, description).await?;
    Ok(ok(
        json!({"num": number, "url": address(&visit, repo, number), "pullRequest": true}),
    ))
}

/// Where a pull request is found, as clients read its number from it.
pub(super) fn address(visit: &Visit, repo: &Repo, number: i64) -> String {
    format!("{}/{}/discussions/{number}", visit.base, repo.web_path())
}

/// A repository's pull requests, newest first.
pub(super) async fn list(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let repo = visit.repo()?;
    let query = pairs(&query.unwrap_or_default());
    let wanted = |key: &str| first(&query, key).filter(|value| *value != "all");
    let mut all = pulls::all(&hub.db, repo).await?;
    all.retain(|one| {
        wanted("type").is_none_or(|kind| kind == "pull_request")
            && wanted("status").is_none_or(|status| status == word(one))
            && wanted("author").is_none_or(|author| author == one.author)
    });
    let page = first(&query, "p").and_then(|page| page.parse::<usize>().ok());
    let start = page.unwrap_or(0).saturating_mul(PAGE);
    let page: Vec<Value> = all
        .iter()
        .skip(start)
        .take(PAGE)
        .map(|one| describe(repo, one))
        .collect();
    Ok(ok(
        json!({"count": all.len(), "start": start, "discussions": page}),
    ))
}

/// One pull request with what was said.
pub(super) async fn detail(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, number)): Path<(String, String, String)>,
) -> Result<Response> {
    let repo = visit.repo()?;
    let all = pulls::all(&hub.db, repo).await?;
    let found = all.iter().find(|one| one.number.to_string() == number);
    let found = found.ok_or_else(|| {
        Error::refused(
            404,
            format!("{} has no pull request of that number", repo.full_name()),
        )
    })?;
    let mut answer = describe(repo, found);
    let opening = json!({
        "id": format!("{}-{number}", repo.id), "type": "comment", "createdAt": date(found.created_ms),
        "author": {"name": found.author},
        "data": {"edited": false, "hidden": false, "latest": {"raw": found.description}},
    });
    answer["events"] = json!([opening]);
    answer["changes"] = json!({"base": "refs/heads/main"});
    answer["filesWithConflicts"] = json!([]);
    answer["gitReference"] = json!(ref_name(found.number));
    Ok(ok(answer))
}

fn describe(repo: &Repo, pull: &PullRequest) -> Value {
    json!({
        "num": pull.number, "title": pull.title, "status": word(pull), "isPullRequest": true,
        "author": {"name": pull.author}, "createdAt": date(pull.created_ms),
        "repo": {"name": repo.full_name(), "type": repo.kind.singular()},
    })
}

fn word(pull: &PullRequest) -> &'static str {
    if pull.is_open { "open" } else { "closed" }
}
