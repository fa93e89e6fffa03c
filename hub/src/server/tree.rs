//! Listings of files: a folder, a whole tree, or paths by name.

use super::Hub;
use super::access::Visit;
use super::info::{first, is_set, pairs};
use super::reply::{date, link_next, ok, read_body};
use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::repos::files::{self, Large};
use crate::repos::git::Entry;
use crate::repos::refs::{self, Commit};
use crate::repos::trees::{Item, Walk, find, find_many};
use crate::repos::{Repo, history};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::Uri;
use axum::response::Response;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The large files behind a listing's entries.
#[derive(Debug)]
pub(super) struct Known(HashMap<String, Large>);

impl Known {
    pub(super) async fn of<'a>(
        db: &Db,
        repo: &Repo,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Result<Self> {
        files::large_of(db, repo, entries).await.map(Self)
    }

    pub(super) fn large(&self, entry: &Entry) -> Option<&Large> {
        files::large_behind(entry, &self.0)
    }

    /// Bytes of the contents.
    pub(super) fn size(&self, entry: &Entry) -> u64 {
        self.large(entry)
            .map_or_else(|| files::blob_size(entry), |large| large.size)
    }
}

/// The `lfs` object of a listing.
pub(super) fn large_json(large: &Large, pointer_size: u64) -> Value {
    json!({"oid": large.sha256, "size": large.size, "pointerSize": pointer_size})
}

const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Text for use in an address.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// The root folder.
pub(super) async fn root(
    visit: Visit,
    hub: State<Arc<Hub>>,
    Path((_, _, revision)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Response> {
    list(visit, hub, &revision, "", query, uri.path()).await
}

/// A folder below it.
pub(super) async fn folder(
    visit: Visit,
    hub: State<Arc<Hub>>,
    Path((_, _, revision, path)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Response> {
    let path = path.trim_matches('/');
    list(visit, hub, &revision, path, query, uri.path()).await
}

async fn list(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    revision: &str,
    path: &str,
    query: Option<String>,
    uri: &str,
) -> Result<Response> {
    let repo = visit.repo()?;
    let query = pairs(&query.unwrap_or_default());
    let commit = refs::resolve(&hub.db, repo, revision).await?;
    let folder = find(&hub.db, &commit.tree, path).await?;
    let folder = folder.filter(Entry::is_folder).ok_or_else(|| {
        Error::missing(
            Code::EntryNotFound,
            format!("there is no folder {path:?} at {revision}"),
        )
        .at_commit(&commit.oid)
    })?;
    let is_expanded = is_set(&query, "expand");
    let most = if is_expanded {
        limits::TREE_PAGE_EXPANDED
    } else {
        limits::TREE_PAGE
    };
    let limit = first(&query, "limit").and_then(|text| text.parse().ok());
    let limit = limit.unwrap_or(most).clamp(1, most);
    let after = first(&query, "cursor").map(str::to_owned);
    let is_recursive = is_set(&query, "recursive");
    let mut walk = Walk::start(&hub.db, &folder.oid, path, is_recursive, after).await?;
    let mut items = Vec::new();
    while items.len() <= limit
        && let Some(item) = walk.next().await?
    {
        items.push(item);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().map(|item| item.path.clone());
    let mut response = ok(describe(&hub, repo, &commit, &items, is_expanded).await?);
    if let (true, Some(last)) = (has_more, last) {
        let url = format!(
            "{}{uri}?recursive={is_recursive}&expand={is_expanded}&limit={limit}&cursor={}",
            visit.base,
            encode(&last)
        );
        link_next(&mut response, &url);
    }
    Ok(response)
}

async fn describe(
    hub: &Hub,
    repo: &Repo,
    commit: &Commit,
    items: &[Item],
    is_expanded: bool,
) -> Result<Value> {
    let known = Known::of(&hub.db, repo, items.iter().map(|item| &item.entry)).await?;
    let mut list: Vec<Value> = items.iter().map(|item| item_json(item, &known)).collect();
    if is_expanded {
        let paths: Vec<String> = items.iter().map(|item| item.path.clone()).collect();
        let changes = history::last_changes(&hub.db, repo, commit, &paths).await?;
        for (value, path) in list.iter_mut().zip(&paths) {
            if let Some(change) = changes.get(path) {
                value["lastCommit"] = json!({
                    "id": change.oid, "title": change.title, "date": date(change.date_s * 1000),
                });
            }
        }
    }
    Ok(Value::Array(list))
}

fn item_json(item: &Item, known: &Known) -> Value {
    let entry = &item.entry;
    let kind = if entry.is_folder() {
        "directory"
    } else {
        "file"
    };
    let mut value = json!({
        "type": kind, "oid": entry.oid, "size": known.size(entry), "path": item.path,
    });
    if let Some(large) = known.large(entry) {
        value["lfs"] = large_json(large, files::blob_size(entry));
        if let Some(xet) = &large.xet {
            value["xetHash"] = json!(xet);
        }
    }
    value
}

/// Files and folders by their paths; what is not there is left out.
pub(super) async fn paths_info(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response> {
    let repo = visit.repo()?;
    let bytes = read_body(body, limits::JSON).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut paths, is_expanded) = parse_paths(&text);
    if paths.len() > limits::PATHS {
        return Err(Error::bad(format!(
            "at most {} paths may be asked for at once",
            limits::PATHS
        )));
    }
    paths.sort();
    paths.dedup();
    let commit = refs::resolve(&hub.db, repo, &revision).await?;
    let mut found = find_many(&hub.db, &commit.tree, &paths).await?;
    let items: Vec<Item> = paths
        .into_iter()
        .filter_map(|path| {
            let entry = found.remove(&path)?;
            let path = path.trim_matches('/').to_owned();
            (!path.is_empty()).then_some(Item { path, entry })
        })
        .collect();
    Ok(ok(describe(&hub, repo, &commit, &items, is_expanded).await?))
}

/// Clients send a form; JSON is taken as well.
fn parse_paths(text: &str) -> (Vec<String>, bool) {
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && let Some(paths) = value.get("paths").and_then(Value::as_array)
    {
        let paths = paths
            .iter()
            .filter_map(|path| path.as_str().map(str::to_owned));
        let expand = value
            .get("expand")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        return (paths.collect(), expand);
    }
    let form = pairs(text);
    let paths = form.iter().filter(|pair| pair.0 == "paths");
    (
        paths.map(|pair| pair.1.clone()).collect(),
        is_set(&form, "expand"),
    )
}
