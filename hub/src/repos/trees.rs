//! Reading trees: by path, and whole, in the order of paths.

use super::git::{Entry, decode_tree, find_in_tree};
use crate::db::Db;
use crate::error::{Error, Result};
use sqlx::Row;
use std::collections::HashMap;

/// Id of the tree without entries.
pub(crate) const EMPTY: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// One tree's entries.
pub(crate) async fn load(db: &Db, oid: &str) -> Result<Vec<Entry>> {
    let mut trees = load_many(db, &[oid.to_owned()]).await?;
    trees.remove(oid).ok_or_else(|| missing(oid))
}

/// Several trees' entries by their ids.
pub(crate) async fn load_many(db: &Db, oids: &[String]) -> Result<HashMap<String, Vec<Entry>>> {
    let mut trees = HashMap::new();
    if oids.iter().any(|oid| oid == EMPTY) {
        trees.insert(EMPTY.to_owned(), Vec::new());
    }
    let rows = db
        .in_list(
            "SELECT oid, raw, facts FROM trees WHERE oid IN",
            "",
            &[],
            oids,
        )
        .await?;
    for row in rows {
        let oid: String = row.try_get("oid")?;
        let raw: Vec<u8> = row.try_get("raw")?;
        let facts: Vec<u8> = row.try_get("facts")?;
        let entries = decode_tree(&oid, &raw, &facts)?;
        trees.insert(oid, entries);
    }
    Ok(trees)
}

/// What lies at a path; the root is a folder without a name.
pub(crate) async fn find(db: &Db, root: &str, path: &str) -> Result<Option<Entry>> {
    let mut here = root_entry(root);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !here.is_folder() {
            return Ok(None);
        }
        match child(db, &here.oid, part).await? {
            Some(entry) => here = entry,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

/// One entry of a tree.
async fn child(db: &Db, tree: &str, name: &str) -> Result<Option<Entry>> {
    if tree == EMPTY {
        return Ok(None);
    }
    let row: Option<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT raw, facts FROM trees WHERE oid = $1")
            .bind(tree.to_owned())
            .fetch_optional(db.pool())
            .await?;
    let (raw, facts) = row.ok_or_else(|| missing(tree))?;
    find_in_tree(tree, &raw, &facts, name)
}

fn missing(oid: &str) -> Error {
    Error::Damaged(format!("tree {oid} is missing; run fsck"))
}

fn root_entry(oid: &str) -> Entry {
    Entry {
        name: String::new(),
        is_executable: false,
        oid: oid.to_owned(),
        facts: super::git::Facts::Folder,
    }
}

/// What lies at each of several paths, folders read once each.
pub(crate) async fn find_many(
    db: &Db,
    root: &str,
    paths: &[String],
) -> Result<HashMap<String, Entry>> {
    let mut found = HashMap::new();
    // Level by level: every path stands at an entry and has parts to go.
    let mut open: Vec<(&String, Entry, Vec<&str>)> = paths
        .iter()
        .map(|path| {
            let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            parts.reverse();
            (path, root_entry(root), parts)
        })
        .collect();
    while !open.is_empty() {
        let mut wanted: Vec<String> = open.iter().map(|(_, entry, _)| entry.oid.clone()).collect();
        wanted.sort();
        wanted.dedup();
        let trees = load_many(db, &wanted).await?;
        let mut next = Vec::new();
        for (path, entry, mut parts) in open {
            let Some(part) = parts.pop() else {
                found.insert(path.clone(), entry);
                continue;
            };
            let entries = trees.get(&entry.oid).map(Vec::as_slice).unwrap_or_default();
            let Some(child) = entries.iter().find(|child| child.name == part) else {
                continue;
            };
            if parts.is_empty() {
                found.insert(path.clone(), child.clone());
            } else if child.is_folder() {
                next.push((path, child.clone(), parts));
            }
        }
        open = next;
    }
    Ok(found)
}

/// A file or folder with its whole path.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub path: String,
    pub entry: Entry,
}

/// Entries below a folder in the order of their paths, folders before what is in them.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    db: &'a Db,
    is_recursive: bool,
    /// Entries still to be given out, the next one last.
    stack: Vec<Item>,
    /// Trees read ahead.
    loaded: HashMap<String, Vec<Entry>>,
    /// Everything up to and with this path is left out.
    after: Option<String>,
}

impl<'a> Walk<'a> {
    /// Starts at a tree whose own path is `path` (empty for the root).
    pub(crate) async fn start(
        db: &'a Db,
        tree: &str,
        path: &str,
        is_recursive: bool,
        after: Option<String>,
    ) -> Result<Self> {
        let mut walk = Self {
            db,
            is_recursive,
            stack: Vec::new(),
            loaded: HashMap::new(),
            after,
        };
        let entries = load(db, tree).await?;
        walk.push(path, entries).await?;
        Ok(walk)
    }

    /// Puts a folder's entries on the stack and reads the folders among them ahead.
    async fn push(&mut self, path: &str, mut entries: Vec<Entry>) -> Result<()> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let items = entries.into_iter().map(|entry| Item {
            path: join(path, &entry.name),
            entry,
        });
        let items: Vec<Item> = items.filter(|item| !self.is_done(item)).collect();
        if self.is_recursive {
            let folders = items.iter().filter(|item| item.entry.is_folder());
            let wanted: Vec<String> = folders.map(|item| item.entry.oid.clone()).collect();
            for part in wanted.chunks(64) {
                // Ahead only as far as memory does not matter.
                if self.loaded.len() < 256 {
                    self.loaded.extend(load_many(self.db, part).await?);
                }
            }
        }
        self.stack.extend(items.into_iter().rev());
        Ok(())
    }

    /// Whether an entry and everything in it lies before the start of this page.
    fn is_done(&self, item: &Item) -> bool {
        let Some(after) = &self.after else {
            return false;
        };
        let order = compare_paths(&item.path, after);
        order.is_lt() && !is_inside(after, &item.path)
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<Item>> {
        while let Some(item) = self.stack.pop() {
            if self.is_recursive && item.entry.is_folder() {
                let entries = match self.loaded.remove(&item.entry.oid) {
                    Some(entries) => entries,
                    None => load(self.db, &item.entry.oid).await?,
                };
                self.push(&item.path, entries).await?;
            }
            let is_given = self
                .after
                .as_ref()
                .is_some_and(|after| compare_paths(&item.path, after).is_le());
            if !is_given {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Part by part, so that a folder's contents follow it at once.
fn compare_paths(a: &str, b: &str) -> std::cmp::Ordering {
    a.split('/').cmp(b.split('/'))
}

/// A path below a folder's.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Every file below a tree.
pub(crate) async fn all_files(db: &Db, tree: &str) -> Result<Vec<Item>> {
    let mut files = Vec::new();
    let mut level = vec![(String::new(), tree.to_owned())];
    while !level.is_empty() {
        let mut wanted: Vec<String> = level.iter().map(|folder| folder.1.clone()).collect();
        wanted.sort();
        wanted.dedup();
        let trees = load_many(db, &wanted).await?;
        let mut next = Vec::new();
        for (path, oid) in level {
            let entries = trees.get(&oid).ok_or_else(|| missing(&oid))?;
            for entry in entries {
                let path = join(&path, &entry.name);
                if entry.is_folder() {
                    next.push((path, entry.oid.clone()));
                } else {
                    files.push(Item {
                        path,
                        entry: entry.clone(),
                    });
                }
            }
        }
        level = next;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
