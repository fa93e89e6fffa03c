//! Going back along a branch: lists of commits, and which commit last changed a path.

use super::Repo;
use super::git::Entry;
use super::refs::{Commit, commit_by_id};
use super::trees::find_many;
use crate::db::Db;
use crate::error::Result;
use std::collections::HashMap;

/// How far back the last change of a path is looked for. Older ones are given the oldest commit looked at.
const DEPTH: usize = 1000;

/// Commits from `start` back, without the first `skip`.
pub(crate) async fn log(
    db: &Db,
    repo: &Repo,
    start: Commit,
    skip: usize,
    limit: usize,
) -> Result<Vec<Commit>> {
    let mut commits = Vec::new();
    let mut here = Some(start);
    let mut passed = 0;
    while let Some(commit) = here.take() {
        here = match &commit.parent {
            Some(parent) if commits.len() + 1 < limit => commit_by_id(db, repo, parent).await?,
            _ => None,
        };
        if passed >= skip {
            commits.push(commit);
        }
        passed += 1;
    }
    Ok(commits)
}

/// For each path the commit that last changed what lies there.
pub(crate) async fn last_changes(
    db: &Db,
    repo: &Repo,
    start: &Commit,
    paths: &[String],
) -> Result<HashMap<String, Commit>> {
    let mut found = HashMap::new();
    let mut open: Vec<String> = paths.to_vec();
    let mut here = start.clone();
    let mut entries = find_many(db, &here.tree, &open).await?;
    for _ in 0..DEPTH {
        let parent = match &here.parent {
            Some(parent) if !open.is_empty() => commit_by_id(db, repo, parent).await?,
            _ => None,
        };
        let Some(parent) = parent else { break };
        let before = find_many(db, &parent.tree, &open).await?;
        let same = |path: &String| oid(&entries, path) == oid(&before, path);
        let (still, changed): (Vec<String>, Vec<String>) = open.into_iter().partition(same);
        for path in changed {
            found.insert(path, here.clone());
        }
        open = still;
        here = parent;
        entries = before;
    }
    for path in open {
        found.insert(path, here.clone());
    }
    Ok(found)
}

fn oid<'a>(entries: &'a HashMap<String, Entry>, path: &str) -> Option<&'a str> {
    entries.get(path).map(|entry| entry.oid.as_str())
}
