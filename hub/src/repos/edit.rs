//! Making new trees out of old ones: folders are read as they are needed, changed, and written from the deepest up.

use super::git::{EncodedTree, Entry, Facts, encode_tree};
use super::names::{check_path, fold};
use super::trees::{EMPTY, join, load};
use crate::db::Db;
use crate::error::{Code, Error, Result};
use std::collections::{BTreeMap, HashMap};

/// One change of a commit.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A file with new contents; its name is the last part of the path.
    Put {
        path: String,
        oid: String,
        facts: Facts,
    },
    /// A file to be removed.
    DeleteFile(String),
    /// A folder to be removed with everything in it.
    DeleteFolder(String),
}

type Folder = BTreeMap<String, Entry>;

/// A tree being changed.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    db: &'a Db,
    /// Folders read so far, by path; the root has the empty one.
    folders: HashMap<String, Folder>,
}

impl<'a> Edit<'a> {
    /// Starts from a tree.
    pub(crate) async fn start(db: &'a Db, root: &str) -> Result<Self> {
        let mut edit = Self {
            db,
            folders: HashMap::new(),
        };
        edit.open(String::new(), root).await?;
        Ok(edit)
    }

    async fn open(&mut self, path: String, oid: &str) -> Result<()> {
        let entries = load(self.db, oid).await?;
        let entries = entries.into_iter().map(|entry| (entry.name.clone(), entry));
        self.folders.insert(path, entries.collect());
        Ok(())
    }

    /// Applies one change.
    pub(crate) async fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Put { path, oid, facts } => self.put(&path, oid, facts).await,
            Change::DeleteFile(path) => self.delete(&path, false).await,
            Change::DeleteFolder(path) => self.delete(path.trim_end_matches('/'), true).await,
        }
    }

    async fn put(&mut self, path: &str, oid: String, facts: Facts) -> Result<()> {
        check_path(path)?;
        let (folder, name) = split(path);
        self.descend(folder, true).await?;
        let entries = self.folders.entry(folder.to_owned()).or_default();
        let old = entries.get(name);
        if old.is_some_and(Entry::is_folder) {
            return Err(Error::bad(format!(
                "{path:?} is a folder; delete it before a file takes its name"
            )));
        }
        let is_executable = old.is_some_and(|old| old.is_executable);
        check_case(entries, name, path)?;
        let entry = Entry {
            name: name.to_owned(),
            is_executable,
            oid,
            facts,
        };
        entries.insert(name.to_owned(), entry);
        Ok(())
    }

    async fn delete(&mut self, path: &str, is_folder: bool) -> Result<()> {
        let missing = || {
            let what = if is_folder { "folder" } else { "file" };
            Error::missing(
                Code::EntryNotFound,
                format!("there is no {what} {path:?} to delete"),
            )
        };
        let (folder, name) = split(path);
        if !self.descend(folder, false).await? {
            return Err(missing());
        }
        let entries = self.folders.entry(folder.to_owned()).or_default();
        match entries.get(name) {
            Some(entry) if entry.is_folder() == is_folder => entries.remove(name),
            _ => return Err(missing()),
        };
        if is_folder {
            let inside = format!("{path}/");
            self.folders
                .retain(|other, _| other != path && !other.starts_with(&inside));
        }
        Ok(())
    }

    /// Opens every folder on the way to a folder; false when one is missing and may not be made.
    async fn descend(&mut self, folder: &str, may_make: bool) -> Result<bool> {
        let mut here = String::new();
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            let path = join(&here, part);
            if !self.folders.contains_key(&path) {
                let parent = self.folders.entry(here.clone()).or_default();
                let oid = match parent.get(part) {
                    Some(entry) if entry.is_folder() => entry.oid.clone(),
                    Some(_) if may_make => {
                        return Err(Error::bad(format!(
                            "{path:?} is a file; a folder cannot have its name"
                        )));
                    }
                    None if may_make => {
                        check_case(parent, part, &path)?;
                        parent.insert(part.to_owned(), folder_entry(part, EMPTY));
                        EMPTY.to_owned()
                    }
                    _ => return Ok(false),
                };
                self.open(path.clone(), &oid).await?;
            }
            here = path;
        }
        Ok(true)
    }

    /// Encodes every folder that was opened; the last one is the root.
    pub(crate) fn finish(mut self) -> Result<Vec<EncodedTree>> {
        let mut paths: Vec<String> = self.folders.keys().cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(depth(path)));
        let mut trees = Vec::new();
        for path in paths {
            let entries = self.folders.remove(&path).unwrap_or_default();
            let is_empty = entries.is_empty();
            let tree = encode_tree(entries.into_values().collect())?;
            if !path.is_empty() {
                let (parent, name) = split(&path);
                if let Some(parent) = self.folders.get_mut(parent) {
                    // Git has no empty folders.
                    if is_empty {
                        parent.remove(name);
                    } else {
                        parent.insert(name.to_owned(), folder_entry(name, &tree.oid));
                    }
                }
            }
            if !is_empty || path.is_empty() {
                trees.push(tree);
            }
        }
        Ok(trees)
    }
}

fn folder_entry(name: &str, oid: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        is_executable: false,
        oid: oid.to_owned(),
        facts: Facts::Folder,
    }
}

fn depth(path: &str) -> usize {
    if path.is_empty() {
        0
    } else {
        1 + path.matches('/').count()
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Two names that differ only in case would overwrite each other on half of all computers.
fn check_case(entries: &Folder, name: &str, path: &str) -> Result<()> {
    if entries.contains_key(name) {
        return Ok(());
    }
    let folded = fold(name);
    match entries.keys().find(|other| fold(other) == folded) {
        Some(other) => Err(Error::bad(format!(
            "{path:?} and the existing {other:?} differ only in case; rename one of them"
        ))),
        None => Ok(()),
    }
}
