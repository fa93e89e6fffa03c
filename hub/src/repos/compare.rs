//! In what two trees differ.

use super::git::Entry;
use super::trees::{EMPTY, join, load_many};
use crate::db::Db;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// Files that a comparison tells of at most.
const MOST: usize = 100_000;

/// A file that two trees do not have alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub path: String,
    /// In the first tree.
    pub old: Option<Entry>,
    /// In the second one.
    pub new: Option<Entry>,
}

/// Two folders of one path; a folder that is not there is the empty one.
struct Pair {
    path: String,
    old: String,
    new: String,
}

/// The files in which two trees differ, in the order of their paths. Folders that are the same are not looked into.
///
/// # Errors
/// When they differ in more files than can be told.
pub(crate) async fn compare(db: &Db, old: &str, new: &str) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let mut level = vec![Pair {
        path: String::new(),
        old: old.to_owned(),
        new: new.to_owned(),
    }];
    while !level.is_empty() {
        let mut wanted: Vec<String> = level
            .iter()
            .flat_map(|pair| [pair.old.clone(), pair.new.clone()])
            .collect();
        wanted.sort();
        wanted.dedup();
        let trees = load_many(db, &wanted).await?;
        let mut next = Vec::new();
        for pair in level {
            folder(&pair, &trees, &mut found, &mut next)?;
        }
        level = next;
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Compares the entries of one folder, and notes the folders below it that differ.
fn folder(
    pair: &Pair,
    trees: &HashMap<String, Vec<Entry>>,
    found: &mut Vec<Difference>,
    next: &mut Vec<Pair>,
) -> Result<()> {
    let (old, new) = (by_name(&pair.old, trees)?, by_name(&pair.new, trees)?);
    let mut names: Vec<&str> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (old, new) = (old.get(name).copied(), new.get(name).copied());
        let is_same = |old: &Entry, new: &Entry| old.oid == new.oid && old.mode() == new.mode();
        if old.zip(new).is_some_and(|(old, new)| is_same(old, new)) {
            continue;
        }
        let path = join(&pair.path, name);
        let tree = |entry: Option<&Entry>| {
            let folder = entry.filter(|entry| entry.is_folder());
            folder.map_or_else(|| EMPTY.to_owned(), |entry| entry.oid.clone())
        };
        let (old_tree, new_tree) = (tree(old), tree(new));
        if old_tree != new_tree {
            next.push(Pair {
                path: path.clone(),
                old: old_tree,
                new: new_tree,
            });
        }
        let file = |entry: Option<&Entry>| entry.filter(|entry| !entry.is_folder()).cloned();
        let (old, new) = (file(old), file(new));
        if old.is_some() || new.is_some() {
            found.push(Difference { path, old, new });
        }
        if found.len() > MOST {
            return Err(Error::refused(
                413,
                format!("the revisions differ in more than {MOST} files; compare them in a clone"),
            ));
        }
    }
    Ok(())
}

fn by_name<'a>(
    oid: &str,
    trees: &'a HashMap<String, Vec<Entry>>,
) -> Result<BTreeMap<&'a str, &'a Entry>> {
    let entries = trees
        .get(oid)
        .ok_or_else(|| Error::Damaged(format!("tree {oid} is missing; run fsck")))?;
    Ok(entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry))
        .collect())
}
