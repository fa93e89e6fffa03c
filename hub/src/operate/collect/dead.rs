//! Finding what nothing leads to: from branches and tags to commits, trees and blobs, and through pointers to large
//! files and xorbs.

use crate::db::{Db, from_hex};
use crate::error::Result;
use crate::repos::git::Facts;
use crate::repos::trees::load_many;
use std::collections::{HashMap, HashSet};

/// What can be unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// `repository/commit`.
    Commit,
    Tree,
    Blob,
    /// A large file in a repository: `repository/sha256`.
    Link,
    /// A large file, by its SHA-256.
    Large,
    /// A file in Xet.
    File,
    Xorb,
}

impl Kind {
    /// In the order in which rows are removed: those that refer to others first.
    pub(super) const IN_ORDER: [Self; 7] = [
        Self::Commit,
        Self::Tree,
        Self::Blob,
        Self::Link,
        Self::Large,
        Self::File,
        Self::Xorb,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Link => "link",
            Self::Large => "large",
            Self::File => "file",
            Self::Xorb => "xorb",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::IN_ORDER
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// What is marked, and since when, milliseconds since 1970.
pub(super) type Marks = HashMap<(Kind, String), i64>;

/// Everything unused.
#[derive(Debug)]
pub(super) struct Dead<'a> {
    unused: HashSet<(Kind, String)>,
    /// Those of them that something leads to that is unused too, but not for long enough.
    held: HashSet<(Kind, String)>,
    marks: &'a Marks,
    /// What was marked by then is unused for long enough.
    limit_ms: i64,
}

type Id = [u8; 20];

fn id(oid: &str) -> Id {
    from_hex(oid)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or_default()
}

/// What is in use.
#[derive(Debug, Default)]
struct Live {
    /// `repository/commit`.
    commits: HashSet<String>,
    trees: HashSet<Id>,
    blobs: HashSet<Id>,
    /// `repository/sha256`.
    links: HashSet<String>,
}

impl<'a> Dead<'a> {
    pub(super) fn all(&self) -> impl Iterator<Item = &(Kind, String)> {
        self.unused.iter()
    }

    pub(super) fn has(&self, key: &(Kind, String)) -> bool {
        self.unused.contains(key)
    }

    /// Whether it was unused for long enough, and all that leads to it.
    pub(super) fn is_due(&self, key: &(Kind, String)) -> bool {
        let is_old = self
            .marks
            .get(key)
            .is_some_and(|since| *since <= self.limit_ms);
        is_old && self.has(key) && !self.held.contains(key)
    }

    pub(super) async fn find(db: &Db, marks: &'a Marks, limit_ms: i64) -> Result<Self> {
        let mut live = Live::default();
        let repos: Vec<(String,)> = sqlx::query_as("SELECT id FROM repos")
            .fetch_all(db.pool())
            .await?;
        for (repo,) in repos {
            live.add_repo(db, &repo).await?;
        }
        let mut dead = Self {
            unused: HashSet::new(),
            held: HashSet::new(),
            marks,
            limit_ms,
        };
        for oid in names(db, "SELECT oid FROM trees").await? {
            dead.add(Kind::Tree, live.trees.contains(&id(&oid)), oid);
        }
        for oid in names(db, "SELECT oid FROM blobs").await? {
            dead.add(Kind::Blob, live.blobs.contains(&id(&oid)), oid);
        }
        for key in names(db, "SELECT repo || '/' || oid FROM commits").await? {
            dead.add(Kind::Commit, live.commits.contains(&key), key);
        }
        dead.large(db, &live).await?;
        Ok(dead)
    }

    fn add(&mut self, kind: Kind, is_live: bool, id: String) {
        if !is_live {
            self.unused.insert((kind, id));
        }
    }

    /// Adds something that others lead to, and says what that means for what it leads to itself.
    fn add_led(&mut self, kind: Kind, by: Option<Use>, id: String) -> Option<Use> {
        let key = (kind, id);
        match by {
            Some(Use::Live) => return Some(Use::Live),
            Some(Use::Held) => {
                self.held.insert(key.clone());
            }
            None => {}
        }
        self.unused.insert(key.clone());
        (!self.is_due(&key)).then_some(Use::Held)
    }

    /// Large files are in use by repositories, files of Xet by large files, xorbs by files.
    async fn large(&mut self, db: &Db, live: &Live) -> Result<()> {
        let mut large = Uses::default();
        for key in names(db, "SELECT repo || '/' || sha256 FROM repo_lfs").await? {
            let by = live.links.contains(&key).then_some(Use::Live);
            let sha256 = key.split('/').nth(1).unwrap_or_default().to_owned();
            large.add(sha256, self.add_led(Kind::Link, by, key));
        }
        let mut files = Uses::default();
        let rows: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT sha256, xet FROM lfs_objects")
                .fetch_all(db.pool())
                .await?;
        for (sha256, xet) in rows {
            let by = self.add_led(Kind::Large, large.of(&sha256), sha256);
            if let Some(xet) = xet {
                files.add(xet, by);
            }
        }
        let mut by_file: HashMap<String, Option<Use>> = HashMap::new();
        for hash in names(db, "SELECT hash FROM xet_files").await? {
            let by = self.add_led(Kind::File, files.of(&hash), hash.clone());
            by_file.insert(hash, by);
        }
        let mut xorbs = Uses::default();
        let pairs: Vec<(String, String)> = sqlx::query_as("SELECT file, xorb FROM file_xorbs")
            .fetch_all(db.pool())
            .await?;
        for (file, xorb) in pairs {
            xorbs.add(xorb, by_file.get(&file).copied().flatten());
        }
        for hash in names(db, "SELECT hash FROM xorbs").await? {
            self.add_led(Kind::Xorb, xorbs.of(&hash), hash);
        }
        Ok(())
    }
}

/// How something is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// By something unused that stays for now.
    Held,
    Live,
}

/// The strongest use of each.
#[derive(Debug, Default)]
struct Uses(HashMap<String, Use>);

impl Uses {
    fn add(&mut self, id: String, by: Option<Use>) {
        if let Some(by) = by {
            let strongest = self.0.entry(id).or_insert(by);
            *strongest = by.max(*strongest);
        }
    }

    fn of(&self, id: &str) -> Option<Use> {
        self.0.get(id).copied()
    }
}

async fn names(db: &Db, query: &'static str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(query).fetch_all(db.pool()).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

impl Live {
    async fn add_repo(&mut self, db: &Db, repo: &str) -> Result<()> {
        let rows: Vec<(String, String, Option<String>)> =
            sqlx::query_as("SELECT oid, tree, parent FROM commits WHERE repo = $1")
                .bind(repo.to_owned())
                .fetch_all(db.pool())
                .await?;
        let commits: HashMap<String, (String, String)> = rows
            .into_iter()
            .map(|(oid, tree, parents)| (oid, (tree, parents.unwrap_or_default())))
            .collect();
        let heads: Vec<(String,)> = sqlx::query_as("SELECT target FROM refs WHERE repo = $1")
            .bind(repo.to_owned())
            .fetch_all(db.pool())
            .await?;
        let mut open: Vec<String> = heads.into_iter().map(|head| head.0).collect();
        let mut trees = HashSet::new();
        while let Some(oid) = open.pop() {
            let Some((tree, parents)) = commits.get(&oid) else {
                continue;
            };
            if self.commits.insert(format!("{repo}/{oid}")) {
                trees.insert(tree.clone());
                open.extend(parents.split_whitespace().map(str::to_owned));
            }
        }
        self.add_trees(db, repo, trees).await
    }

    async fn add_trees(&mut self, db: &Db, repo: &str, roots: HashSet<String>) -> Result<()> {
        // Of this repository alone: the same folder in two of them has its pointers in both.
        let mut seen: HashSet<Id> = HashSet::new();
        let mut level: Vec<String> = roots.into_iter().collect();
        while !level.is_empty() {
            level.retain(|oid| seen.insert(id(oid)));
            let mut next = Vec::new();
            for part in level.chunks(64) {
                for entry in load_many(db, part).await?.into_values().flatten() {
                    if entry.is_folder() {
                        next.push(entry.oid);
                        continue;
                    }
                    self.blobs.insert(id(&entry.oid));
                    if let Facts::Pointer { sha256, .. } = entry.facts {
                        self.links.insert(format!("{repo}/{sha256}"));
                    }
                }
            }
            level = next;
        }
        self.trees.extend(seen);
        Ok(())
    }
}
