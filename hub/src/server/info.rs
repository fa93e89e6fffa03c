//! What a repository is: its description at a revision, and lists of repositories.

use super::Hub;
use super::access::Visit;
use super::reply::{date, link_next, ok};
use super::tree::{Known, large_json};
use crate::accounts::rights::readable_owners;
use crate::error::{Error, Result};
use crate::limits;
use crate::repos::git::Entry;
use crate::repos::names::Kind;
use crate::repos::refs::Commit;
use crate::repos::trees::{Item, all_files};
use crate::repos::{self, Filter, Repo, files, refs};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The query of an address as pairs, for parameters that repeat.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced)
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .take(10_000)
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key).trim_end_matches("[]").to_owned(), decode(value))
        })
        .collect()
}

/// The first value of a parameter.
pub(super) fn first<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|pair| pair.0 == key);
    found.map(|pair| pair.1.as_str())
}

/// Whether a parameter says yes.
pub(super) fn is_set(pairs: &[(String, String)], key: &str) -> bool {
    first(pairs, key).is_some_and(|value| matches!(value, "true" | "True" | "1" | ""))
}

/// A repository on `main`.
pub(super) async fn head(
    visit: Visit,
    hub: State<Arc<Hub>>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    describe(visit, hub, "main", query).await
}

/// A repository at a revision.
pub(super) async fn revision(
    visit: Visit,
    hub: State<Arc<Hub>>,
    Path((_, _, revision)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    describe(visit, hub, &revision, query).await
}

async fn describe(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    revision: &str,
    query: Option<String>,
) -> Result<Response> {
    let repo = visit.repo()?;
    let query = pairs(&query.unwrap_or_default());
    let commit = refs::resolve(&hub.db, repo, revision).await?;
    let mut all = summary(repo, Some(&commit));
    let expand: Vec<&str> = query
        .iter()
        .filter(|pair| pair.0 == "expand")
        .map(|pair| pair.1.as_str())
        .collect();
    if expand.is_empty() || expand.contains(&"siblings") || expand.contains(&"usedStorage") {
        let items = all_files(&hub.db, &commit.tree).await?;
        let known = Known::of(&hub.db, repo, items.iter().map(|item| &item.entry)).await?;
        all.insert("usedStorage".to_owned(), json!(used(&items, &known)));
        let siblings = siblings(&items, &known, is_set(&query, "blobs"));
        all.insert("siblings".to_owned(), siblings);
    }
    if !expand.is_empty() {
        all.retain(|key, _| matches!(key.as_str(), "id" | "_id") || expand.contains(&key.as_str()));
    }
    Ok(ok(Value::Object(all)))
}

fn used(items: &[Item], known: &Known) -> u64 {
    items.iter().map(|item| known.size(&item.entry)).sum()
}

fn siblings(items: &[Item], known: &Known, with_blobs: bool) -> Value {
    let sibling = |item: &Item| {
        let mut sibling = json!({"rfilename": item.path});
        if with_blobs {
            add_blob(&mut sibling, &item.entry, known);
        }
        sibling
    };
    items.iter().map(sibling).collect()
}

fn add_blob(sibling: &mut Value, entry: &Entry, known: &Known) {
    sibling["blobId"] = json!(entry.oid);
    sibling["size"] = json!(known.size(entry));
    if let Some(large) = known.large(entry) {
        let mut lfs = large_json(large, files::blob_size(entry));
        lfs["sha256"] = json!(large.sha256);
        sibling["lfs"] = lfs;
    }
}

/// What every description and every list says of a repository.
fn summary(repo: &Repo, commit: Option<&Commit>) -> Map<String, Value> {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let card = parsed(&repo.card);
    let mut all = Map::new();
    let mut add = |key: &str, value: Value| all.insert(key.to_owned(), value);
    add("_id", json!(repo.id));
    add("id", json!(repo.full_name()));
    add("author", json!(repo.namespace));
    if let Some(commit) = commit {
        add("sha", json!(commit.oid));
    }
    add("lastModified", json!(date(repo.modified_ms)));
    add("createdAt", json!(date(repo.created_ms)));
    add("private", json!(repo.is_private));
    add("gated", json!(false));
    add("disabled", json!(false));
    add("downloads", json!(repo.downloads));
    add("downloadsAllTime", json!(repo.downloads));
    add("likes", json!(repo.likes));
    add("trendingScore", json!(0));
    add("tags", parsed(&repo.tags));
    match repo.kind {
        Kind::Model => {
            add("modelId", json!(repo.full_name()));
            for key in ["library_name", "pipeline_tag"] {
                if let Some(value) = card.get(key).filter(|value| value.is_string()) {
                    add(key, value.clone());
                }
            }
        }
        Kind::Space => {
            add("sdk", json!(repo.sdk));
        }
        Kind::Dataset | Kind::Kernel => {}
    }
    add("cardData", card);
    all
}

/// Repositories of a kind, newest first unless told otherwise.
pub(super) async fn list(
    kind: Kind,
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = pairs(&query.unwrap_or_default());
    let number = |key: &str| first(&query, key).and_then(|value| value.parse::<i64>().ok());
    let limit = number("limit")
        .unwrap_or(limits::LIST_PAGE)
        .clamp(1, limits::LIST_PAGE);
    let offset = number("cursor").unwrap_or(0).max(0);
    let owners = match &visit.caller {
        Some(caller) => readable_owners(&hub.db, caller).await?,
        None => Vec::new(),
    };
    let tags = query
        .iter()
        .filter(|pair| matches!(pair.0.as_str(), "filter" | "pipeline_tag" | "tags"));
    let filter = Filter {
        search: first(&query, "search").map(str::to_owned),
        author: first(&query, "author").map(str::to_owned),
        tags: tags.map(|pair| pair.1.clone()).take(20).collect(),
        order: order(first(&query, "sort"))?,
        offset,
        limit: limit + 1,
        owners,
    };
    let mut found = repos::list(&hub.db, kind, &filter).await?;
    let has_more = found.len() as i64 > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let list: Vec<Value> = found
        .iter()
        .map(|repo| Value::Object(summary(repo, None)))
        .collect();
    let mut response = ok(Value::Array(list));
    if has_more {
        let rest: Vec<String> = query
            .iter()
            .filter(|pair| pair.0 != "cursor")
            .map(|(key, value)| {
                format!(
                    "{}={}",
                    super::tree::encode(key),
                    super::tree::encode(value)
                )
            })
            .chain([format!("cursor={}", offset + limit)])
            .collect();
        let url = format!("{}/api/{}?{}", visit.base, kind.plural(), rest.join("&"));
        link_next(&mut response, &url);
    }
    Ok(response)
}

fn order(sort: Option<&str>) -> Result<&'static str> {
    match sort {
        None | Some("lastModified" | "last_modified" | "trendingScore" | "trending_score") => {
            Ok("modified_ms")
        }
        Some("createdAt" | "created_at") => Ok("created_ms"),
        Some("downloads") => Ok("downloads"),
        Some("likes") => Ok("likes"),
        Some(other) => Err(Error::bad(format!(
            "cannot sort by {other:?}; use lastModified, createdAt, downloads or likes"
        ))),
    }
}
