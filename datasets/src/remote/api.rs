//! What the hub says about a repository: its versions, the commit behind a name, its files.

use super::client::Client;
use super::name::HubName;
use super::url::segment;
use super::version::{Choice, choose};
use crate::error::{Error, HubFault, Result};
use crate::files::{FILES_LIMIT, FileEntry};
use crate::info::CODEBASE_VERSION;
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};

/// Most bytes of one answer.
const JSON_LIMIT_BYTES: u64 = 32 << 20;
/// Most pages of a listing; a page has a thousand entries.
const PAGE_LIMIT: usize = 2_000;

/// `/api/datasets/{repo}/refs`.
#[derive(Debug, Deserialize)]
struct Refs {
    #[serde(default)]
    branches: Vec<Ref>,
    #[serde(default)]
    tags: Vec<Ref>,
}

#[derive(Debug, Deserialize)]
struct Ref {
    name: String,
}

/// `/api/datasets/{repo}/revision/{revision}`.
#[derive(Debug, Deserialize)]
struct Revision {
    sha: String,
}

/// An entry of `/api/datasets/{repo}/tree/{revision}`.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Pointer>,
}

/// What lies in large-file storage.
#[derive(Debug, Deserialize)]
struct Pointer {
    size: u64,
}

/// The commit that `name` means now. From here on nothing can move.
pub(super) fn commit(client: &Client, name: &HubName) -> Result<String> {
    let revision = match &name.revision {
        // A commit needs no looking up; whether it is there shows at the first file.
        Some(revision) if is_commit(revision) => return Ok(revision.clone()),
        Some(revision) => revision.clone(),
        None => newest(client, name)?,
    };
    let place = name.to_string();
    let path = format!(
        "/api/datasets/{}/revision/{}",
        name.repo,
        segment(&revision)
    );
    let url = client.url(&path).map_err(|f| f.tell(&place))?;
    let (found, _): (Revision, _) = client.json(&place, &url, JSON_LIMIT_BYTES)?;
    if is_commit(&found.sha) {
        return Ok(found.sha);
    }
    Err(Error::Hub {
        place,
        fault: HubFault::Protocol,
        problem: format!("the hub names no commit for {revision}"),
    })
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The branch or tag that LeRobot would read.
fn newest(client: &Client, name: &HubName) -> Result<String> {
    let place = name.to_string();
    let path = format!("/api/datasets/{}/refs", name.repo);
    let url = client.url(&path).map_err(|f| f.tell(&place))?;
    let (refs, _): (Refs, _) = client.json(&place, &url, JSON_LIMIT_BYTES)?;
    let names = refs
        .branches
        .iter()
        .chain(&refs.tags)
        .map(|r| r.name.as_str());
    let problem = match choose(names) {
        Choice::Take(found) => return Ok(found),
        Choice::TooOld(found) => format!(
            "its newest version is {found}, but LeRobot {CODEBASE_VERSION} is read here; convert it with lerobot's converter (`python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id {}`)",
            name.repo
        ),
        Choice::TooNew(found) => format!(
            "its oldest version is {found}, but LeRobot {CODEBASE_VERSION} is read here; use a newer program"
        ),
        Choice::None => format!(
            "no branch or tag says which version it is; if it is LeRobot {CODEBASE_VERSION}, name a branch: hub://{}@main",
            name.repo
        ),
    };
    Err(Error::Hub {
        place,
        fault: HubFault::Version,
        problem,
    })
}

/// All files in `folder` at a commit; the empty path is the whole repository.
pub(super) fn list(
    client: &Client,
    place: &str,
    repo: &str,
    commit: &str,
    folder: &Path,
) -> Result<Vec<FileEntry>> {
    let inside = folder.to_string_lossy();
    let inside = if inside.is_empty() {
        String::new()
    } else {
        format!("/{}", segment(&inside))
    };
    let path = format!("/api/datasets/{repo}/tree/{commit}{inside}?recursive=true&expand=false");
    let mut next = Some(client.url(&path).map_err(|f| f.tell(place))?);
    let mut found = Vec::new();
    let mut pages = 0;
    while let Some(url) = next {
        let (page, after): (Vec<Entry>, _) = client.json(place, &url, JSON_LIMIT_BYTES)?;
        found.extend(page.into_iter().filter_map(|e| file(e, folder)));
        pages += 1;
        if pages > PAGE_LIMIT || found.len() > FILES_LIMIT {
            return Err(Error::Hub {
                place: place.to_owned(),
                fault: HubFault::Protocol,
                problem: format!("the hub's list of files has no end ({} files)", found.len()),
            });
        }
        next = after;
    }
    Ok(found)
}

/// The file that an entry describes, if it lies where it was asked for.
fn file(entry: Entry, folder: &Path) -> Option<FileEntry> {
    let path = PathBuf::from(&entry.path);
    let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
    let wanted = inside && entry.kind == "file" && path.starts_with(folder);
    wanted.then(|| FileEntry {
        path,
        size: entry.lfs.map_or(entry.size, |pointer| pointer.size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_outside_the_dataset_are_left_out() {
        let entries = r#"[
            {"type": "file", "path": "data/a.parquet", "size": 130, "lfs": {"oid": "x", "size": 5000}},
            {"type": "file", "path": "../../etc/passwd", "size": 1},
            {"type": "file", "path": "/etc/passwd", "size": 1},
            {"type": "directory", "path": "data", "size": 0},
            {"type": "file", "path": "README.md", "size": 7, "new": {"key": []}}
        ]"#;
        let entries: Vec<Entry> = serde_json::from_str(entries).unwrap();
        let found: Vec<FileEntry> = entries
            .into_iter()
            .filter_map(|e| file(e, Path::new("")))
            .collect();
        let found: Vec<(&str, u64)> = found
            .iter()
            .map(|f| (f.path.to_str().unwrap(), f.size))
            .collect();
        assert_eq!(found, [("data/a.parquet", 5000), ("README.md", 7)]);
    }

    proptest! {
        #[test]
        fn hostile_json_never_panics(text in "[\\[\\]{}\":,a-z0-9 ./]{0,80}") {
            let _ = serde_json::from_str::<Refs>(&text);
            let _ = serde_json::from_str::<Revision>(&text);
            if let Ok(entries) = serde_json::from_str::<Vec<Entry>>(&text) {
                let _: Vec<_> = entries.into_iter().filter_map(|e| file(e, Path::new("meta"))).collect();
            }
        }
    }
}
