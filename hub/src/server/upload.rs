//! Before a commit: is the card well-formed, and which files come as large ones?

use super::Hub;
use super::access::Visit;
use super::info::{is_set, pairs};
use super::reply::{Json, ok, with_status};
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::pack_key;
use crate::repos::attributes::{Attributes, matches};
use crate::repos::git::{Entry, Facts};
use crate::repos::refs::{self, Commit};
use crate::repos::{Repo, cards, files, trees};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
pub(super) struct Card {
    #[serde(default)]
    content: String,
}

/// Whether a card's metadata parse. Nothing is kept, so no token is needed.
pub(super) async fn validate_yaml(Json(card): Json<Card>) -> Response {
    match cards::parse(&card.content) {
        Ok(_) => ok(json!({"errors": [], "warnings": []})),
        Err(problem) => {
            let message = format!("the card's YAML metadata are wrong: {problem}");
            let body = json!({"errors": [{"message": message}], "warnings": [], "error": message});
            with_status(400, body)
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Preupload {
    files: Vec<Candidate>,
    git_ignore: Option<String>,
    git_attributes: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    path: String,
    #[serde(default)]
    size: u64,
    /// The beginning, base64.
    #[serde(default)]
    sample: String,
}

/// How each file is to be uploaded, and what is there now.
pub(super) async fn preupload(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, revision)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    Json(request): Json<Preupload>,
) -> Result<Response> {
    let repo = visit.repo()?;
    if request.files.len() > limits::PREUPLOAD_FILES {
        return Err(Error::bad(format!(
            "at most {} files may be asked for at once",
            limits::PREUPLOAD_FILES
        )));
    }
    for file in &request.files {
        crate::repos::names::check_path(&file.path)?;
    }
    let query = pairs(&query.unwrap_or_default());
    let commit = base_commit(&hub, repo, &revision, is_set(&query, "create_pr")).await?;
    let attributes = match &request.git_attributes {
        Some(text) => Attributes::parse(text),
        None => attributes(&hub, &commit).await?,
    };
    let ignore = request.git_ignore.unwrap_or_default();
    let paths: Vec<String> = request.files.iter().map(|file| file.path.clone()).collect();
    let existing = trees::find_many(&hub.db, &commit.tree, &paths).await?;
    let large = files::large_of(&hub.db, repo, existing.values()).await?;
    let answer = |file: &Candidate| -> Value {
        let sample = STANDARD.decode(&file.sample).unwrap_or_default();
        let is_large = attributes.is_large(&file.path, file.size, &sample);
        let mode = if is_large { "lfs" } else { "regular" };
        let entry = existing.get(&file.path).filter(|entry| !entry.is_folder());
        let oid = entry.and_then(|entry| {
            present(
                entry,
                is_large,
                files::large_behind(entry, &large).is_some(),
            )
        });
        json!({
            "path": file.path, "uploadMode": mode,
            "shouldIgnore": is_ignored(&ignore, &file.path), "oid": oid,
        })
    };
    let answers: Vec<Value> = request.files.iter().map(answer).collect();
    Ok(ok(json!({"files": answers, "commitOid": commit.oid})))
}

/// What the client compares its own file with.
fn present(entry: &Entry, is_large: bool, has_large: bool) -> Option<String> {
    match &entry.facts {
        Facts::Pointer { sha256, .. } if has_large => is_large.then(|| sha256.clone()),
        _ => (!is_large).then(|| entry.oid.clone()),
    }
}

/// The commit that an upload starts from. A pull request may start from any revision.
async fn base_commit(hub: &Hub, repo: &Repo, revision: &str, is_pr: bool) -> Result<Commit> {
    if !is_pr {
        refs::branch(revision)?;
    }
    refs::resolve(&hub.db, repo, revision).await
}

async fn attributes(hub: &Hub, commit: &Commit) -> Result<Attributes> {
    let entry = trees::find(&hub.db, &commit.tree, ".gitattributes").await?;
    let Some(entry) = entry.filter(|entry| !entry.is_folder()) else {
        return Ok(Attributes::parse(&crate::repos::attributes::default_file()));
    };
    let (pack, start, size) = files::blob_place(&hub.db, &entry.oid).await?;
    let size = size.min(limits::CARD as u64);
    let bytes = hub
        .objects
        .read(&pack_key(&pack), start..start + size)
        .await?;
    Ok(Attributes::parse(&String::from_utf8_lossy(&bytes)))
}

/// Whether the client's own `.gitignore` leaves a file out: the last line that fits it or a folder above it.
fn is_ignored(ignore: &str, path: &str) -> bool {
    let mut ignored = false;
    for line in ignore.lines().take(10_000).map(str::trim_end) {
        let (pattern, verdict) = match line.strip_prefix('!') {
            Some(rest) => (rest, false),
            None => (line, true),
        };
        if pattern.is_empty() || pattern.starts_with('#') {
            continue;
        }
        let is_folder_only = pattern.ends_with('/');
        let pattern = pattern.trim_end_matches('/');
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let mut candidates = above.chain((!is_folder_only).then_some(path));
        if candidates.any(|candidate| matches(pattern, candidate)) {
            ignored = verdict;
        }
    }
    ignored
}

#[cfg(test)]
mod tests {
    use super::is_ignored;

    #[test]
    fn gitignore_lines_work_as_gits() {
        let ignore = "# comment\n*.log\nbuild/\n!keep.log\n/top\n";
        for (path, expected) in [
            ("a.log", true),
            ("x/a.log", true),
            ("keep.log", false),
            ("build/a", true),
            ("build", false),
            ("x/build/a", true),
            ("top", true),
            ("x/top", false),
            ("readme", false),
        ] {
            assert_eq!(is_ignored(ignore, path), expected, "{path}");
        }
    }
}
