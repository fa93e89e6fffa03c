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

/// Trees and parents of commits.
type Commits = HashMap<String, (String, String)>;

fn id(oid: &str) -> Id {
    from_hex(oid)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or_default()
}

/// What is in use, or what unused commits lead to that stay for now.
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
        let mut dead = Self {
            unused: HashSet::new(),
            held: HashSet::new(),
            marks,
            limit_ms,
        };
        let (mut live, mut held) = (Live::default(), Live::default());
        for repo in names(db, "SELECT id FROM repos").await? {
            let rest = live.add_repo(db, &repo).await?;
            let trees = dead.commits(&repo, &rest);
            held.add_trees(db, &repo, trees).await?;
        }
        for oid in names(db, "SELECT oid FROM trees").await? {
            let by = used(&live.trees, &held.trees, &id(&oid));
            dead.add_led(Kind::Tree, by, oid);
        }
        for oid in names(db, "SELECT oid FROM blobs").await? {
            let by = used(&live.blobs, &held.blobs, &id(&oid));
            dead.add_led(Kind::Blob, by, oid);
        }
        dead.large(db, &live, &held).await?;
        Ok(dead)
    }

    /// Adds unused commits, and returns the trees of those that stay for now. Somebody may still make a branch of
    /// them, so all that they lead to stays as long.
    fn commits(&mut self, repo: &str, unused: &Commits) -> HashSet<String> {
        let key = |oid: &String| (Kind::Commit, format!("{repo}/{oid}"));
        self.unused.extend(unused.keys().map(key));
        let mut open: Vec<&String> = unused
            .keys()
            .filter(|oid| !self.is_due(&key(oid)))
            .collect();
        let mut trees = HashSet::new();
        let mut seen: HashSet<&str> = open.iter().map(|oid| oid.as_str()).collect();
        while let Some((tree, parents)) = open.pop().and_then(|oid| unused.get(oid)) {
            trees.insert(tree.clone());
            for parent in parents.split_whitespace() {
                let Some((oid, _)) = unused.get_key_value(parent) else {
                    continue;
                };
                if seen.insert(oid) {
                    self.held.insert(key(oid));
                    open.push(oid);
                }
            }
        }
        trees
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
    async fn large(&mut self, db: &Db, live: &Live, held: &Live) -> Result<()> {
        let mut large = Uses::default();
        for key in names(db, "SELECT repo || '/' || sha256 FROM repo_lfs").await? {
            let by = used(&live.links, &held.links, &key);
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

fn used<T: Eq + std::hash::Hash>(live: &HashSet<T>, held: &HashSet<T>, id: &T) -> Option<Use> {
    if live.contains(id) {
        return Some(Use::Live);
    }
    held.contains(id).then_some(Use::Held)
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
    /// Adds what branches and tags lead to, and returns the other commits.
    async fn add_repo(&mut self, db: &Db, repo: &str) -> Result<Commits> {
        let rows: Vec<(String, String, Option<String>)> =
            sqlx::query_as("SELECT oid, tree, parent FROM commits WHERE repo = $1")
                .bind(repo.to_owned())
                .fetch_all(db.pool())
                .await?;
        let mut commits: Commits = rows
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
        self.add_trees(db, repo, trees).await?;
        commits.retain(|oid, _| !self.commits.contains(&format!("{repo}/{oid}")));
        Ok(commits)
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
