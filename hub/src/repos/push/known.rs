//! What a repository has already, so that a push may refer to it: never what only other repositories have, since
//! whoever names an object's id would otherwise be handed its contents.

use super::pack::Id;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::operate::unmark_history;
use crate::repos::Repo;
use crate::repos::git::{Entry, Facts, hash_bytes};
use crate::repos::trees::{EMPTY, load_many};
use std::collections::{HashMap, HashSet};

/// An entry of a tree that is stored: what it points to, and the bytes of its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child {
    pub id: Id,
    pub name_len: usize,
    pub is_folder: bool,
}

/// Objects of a repository.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: HashMap<Id, Facts>,
    folders: HashMap<Id, Vec<Child>>,
}

impl Known {
    /// What lies at the heads of all branches and tags, and at these commits' trees.
    pub(super) async fn load(db: &Db, repo: &Repo, trees: Vec<String>) -> Result<Self> {
        let heads: Vec<(String,)> = sqlx::query_as(
            "SELECT DISTINCT c.tree FROM refs r JOIN commits c ON c.repo = r.repo AND c.oid = r.target WHERE r.repo = $1",
        )
        .bind(repo.id.clone())
        .fetch_all(db.pool())
        .await?;
        let mut known = Self::default();
        known.folders.insert(hash_bytes(EMPTY)?, Vec::new());
        let heads = heads.into_iter().map(|row| row.0);
        known.add(db, heads.chain(trees).collect()).await?;
        Ok(known)
    }

    /// Adds what lay at every commit, also of such that no branch leads to; all of it is in use from here on.
    pub(super) async fn load_history(&mut self, db: &Db, repo: &Repo) -> Result<()> {
        unmark_history(db, &repo.id).await?;
        let all: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT tree FROM commits WHERE repo = $1")
                .bind(repo.id.clone())
                .fetch_all(db.pool())
                .await?;
        self.add(db, all.into_iter().map(|row| row.0).collect())
            .await
    }

    async fn add(&mut self, db: &Db, roots: Vec<String>) -> Result<()> {
        let mut level: HashSet<String> = roots.into_iter().collect();
        while !level.is_empty() {
            let mut wanted = Vec::new();
            for oid in level.drain() {
                if !self.folders.contains_key(&hash_bytes(&oid)?) {
                    wanted.push(oid);
                }
            }
            for part in wanted.chunks(64) {
                let found = load_many(db, part).await?;
                if found.len() != part.len() {
                    return Err(Error::Damaged(
                        "trees of a commit are missing; run fsck".to_owned(),
                    ));
                }
                for (oid, entries) in found {
                    level.extend(
                        entries
                            .iter()
                            .filter(|entry| entry.is_folder())
                            .map(|entry| entry.oid.clone()),
                    );
                    self.insert(&oid, &entries)?;
                }
            }
        }
        Ok(())
    }

    /// Notes a tree, stored or checked.
    pub(super) fn insert(&mut self, oid: &str, entries: &[Entry]) -> Result<()> {
        let mut children = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = hash_bytes(&entry.oid)?;
            children.push(Child {
                id,
                name_len: entry.name.len(),
                is_folder: entry.is_folder(),
            });
            if !entry.is_folder() {
                self.files.insert(id, entry.facts.clone());
            }
        }
        self.folders.insert(hash_bytes(oid)?, children);
        Ok(())
    }

    pub(super) fn file(&self, id: &Id) -> Option<&Facts> {
        self.files.get(id)
    }

    pub(super) fn folder(&self, id: &Id) -> Option<&[Child]> {
        self.folders.get(id).map(Vec::as_slice)
    }
}
