//! Recomputing what is stored: nothing that the database says is believed.

use crate::cas::{files, read};
use crate::db::{Db, Row, from_hex};
use crate::error::{Error, Result};
use crate::objects::{lfs_key, pack_key, xorb_key};
use crate::repos::git::{Facts, decode_tree, object_id};
use crate::repos::tags;
use crate::repos::trees::EMPTY;
use crate::server::Hub;
use crate::xet::xorb::{XorbCheck, XorbTable};
use crate::xet::{Hash, Tree};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use std::collections::{HashMap, HashSet};

type Id = [u8; 20];

/// How deep to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckOptions {
    /// Whether to read every object and recompute its hashes; otherwise only that it is there and as long as it should.
    pub reads_contents: bool,
}

impl Default for FsckOptions {
    fn default() -> Self {
        Self {
            reads_contents: true,
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What it concerns: `repository datasets/a/b refs/heads/main`, `xorb 00…`.
    pub what: String,
    /// What is wrong with it.
    pub message: String,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FsckReport {
    /// Branches and tags.
    pub refs: u64,
    /// Commits.
    pub commits: u64,
    /// Git's trees.
    pub trees: u64,
    /// Git's blobs.
    pub blobs: u64,
    /// Xorbs.
    pub xorbs: u64,
    /// Large files, each by its SHA-256.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong; empty on a sound hub.
    pub problems: Vec<Problem>,
}

/// Checks every ref, commit, tree, blob, xorb and large file. `progress` is told what is being looked at.
///
/// # Errors
/// When the database or the store cannot be asked; what is damaged stands in the report.
pub async fn fsck(
    hub: &Hub,
    options: &FsckOptions,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<FsckReport> {
    let mut check = Check {
        hub,
        reads: options.reads_contents,
        report: FsckReport::default(),
        blobs: HashMap::new(),
        trees: HashSet::new(),
    };
    progress("blobs");
    check.blobs().await?;
    progress("trees");
    check.trees().await?;
    progress("commits and refs");
    check.commits().await?;
    check.tags().await?;
    progress("xorbs");
    check.xorbs().await?;
    progress("large files");
    check.files().await?;
    Ok(check.report)
}

struct Check<'a> {
    hub: &'a Hub,
    reads: bool,
    report: FsckReport,
    /// Sizes of the blobs that there are.
    blobs: HashMap<Id, u64>,
    trees: HashSet<Id>,
}

fn id(oid: &str) -> Id {
    from_hex(oid)
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or_default()
}

fn size(row: &Row, column: &str) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

impl<'a> Check<'a> {
    fn db(&self) -> &'a Db {
        &self.hub.db
    }

    fn problem(&mut self, what: String, message: impl Into<String>) {
        let message = message.into();
        self.report.problems.push(Problem { what, message });
    }

    async fn blobs(&mut self) -> Result<()> {
        let mut rows = sqlx::query("SELECT oid, size, pack, start FROM blobs ORDER BY pack, start")
            .fetch(self.db().pool());
        // The length of the pack that the last blob lay in.
        let mut here: (String, Option<u64>) = (String::new(), None);
        while let Some(row) = rows.try_next().await? {
            let (oid, pack): (String, String) = (row.try_get("oid")?, row.try_get("pack")?);
            let (len, start) = (size(&row, "size")?, size(&row, "start")?);
            self.report.blobs += 1;
            self.blobs.insert(id(&oid), len);
            if here.0 != pack {
                here = (pack.clone(), self.hub.objects.size(&pack_key(&pack)).await?);
            }
            if here.1.is_none_or(|end| start + len > end) {
                self.problem(
                    format!("blob {oid}"),
                    format!("the pack {pack} is missing or too short"),
                );
            } else if self.reads {
                let content = self
                    .hub
                    .objects
                    .read(&pack_key(&pack), start..start + len)
                    .await?;
                self.report.bytes += len;
                if object_id("blob", &content) != oid {
                    self.problem(
                        format!("blob {oid}"),
                        format!("its bytes in the pack {pack} are others"),
                    );
                }
            }
        }
        Ok(())
    }

    async fn trees(&mut self) -> Result<()> {
        self.trees.insert(id(EMPTY));
        let mut rows = sqlx::query("SELECT oid FROM trees").fetch(self.db().pool());
        while let Some(row) = rows.try_next().await? {
            self.trees.insert(id(&row.try_get::<String, _>("oid")?));
        }
        let mut rows = sqlx::query("SELECT oid, raw, facts FROM trees").fetch(self.db().pool());
        while let Some(row) = rows.try_next().await? {
            let oid: String = row.try_get("oid")?;
            let (raw, facts): (Vec<u8>, Vec<u8>) = (row.try_get("raw")?, row.try_get("facts")?);
            self.report.trees += 1;
            if object_id("tree", &raw) != oid {
                self.problem(format!("tree {oid}"), "its bytes are others");
            }
            let Ok(entries) = decode_tree(&oid, &raw, &facts) else {
                self.problem(format!("tree {oid}"), "it does not parse");
                continue;
            };
            for entry in entries {
                let is_right = match entry.facts {
                    Facts::Folder => self.trees.contains(&id(&entry.oid)),
                    Facts::Blob { size } | Facts::Pointer { size, .. } => {
                        self.blobs.get(&id(&entry.oid)) == Some(&size)
                    }
                };
                if !is_right {
                    let message = format!(
                        "{:?} is missing or has another size: {}",
                        entry.name, entry.oid
                    );
                    self.problem(format!("tree {oid}"), message);
                }
            }
        }
        Ok(())
    }

    async fn commits(&mut self) -> Result<()> {
        let mut known: HashSet<(String, Id)> = HashSet::new();
        let mut parents: Vec<(String, String, String)> = Vec::new();
        let mut rows =
            sqlx::query("SELECT repo, oid, tree, parent, raw FROM commits").fetch(self.db().pool());
        while let Some(row) = rows.try_next().await? {
            let (repo, oid): (String, String) = (row.try_get("repo")?, row.try_get("oid")?);
            let (tree, raw): (String, Vec<u8>) = (row.try_get("tree")?, row.try_get("raw")?);
            let parent: Option<String> = row.try_get("parent")?;
            self.report.commits += 1;
            let what = || format!("commit {oid} of repository {repo}");
            if object_id("commit", &raw) != oid
                || !raw.starts_with(format!("tree {tree}\n").as_bytes())
            {
                self.problem(what(), "its bytes are others");
            }
            if !self.trees.contains(&id(&tree)) {
                self.problem(what(), format!("its tree {tree} is missing"));
            }
            for parent in parent.unwrap_or_default().split_whitespace() {
                parents.push((repo.clone(), oid.clone(), parent.to_owned()));
            }
            known.insert((repo, id(&oid)));
        }
        for (repo, oid, parent) in parents {
            if !known.contains(&(repo.clone(), id(&parent))) {
                self.problem(
                    format!("commit {oid} of repository {repo}"),
                    format!("its parent {parent} is missing"),
                );
            }
        }
        let refs: Vec<(String, String, String)> =
            sqlx::query_as("SELECT repo, name, target FROM refs")
                .fetch_all(self.db().pool())
                .await?;
        for (repo, name, target) in refs {
            self.report.refs += 1;
            if !known.contains(&(repo.clone(), id(&target))) {
                self.problem(
                    format!("{name} of repository {repo}"),
                    format!("its commit {target} is missing"),
                );
            }
        }
        Ok(())
    }

    async fn tags(&mut self) -> Result<()> {
        let mut rows = sqlx::query(
            "SELECT t.repo, t.name, t.oid, t.raw, r.target FROM tag_objects t \
             JOIN refs r ON r.repo = t.repo AND r.name = t.name",
        )
        .fetch(self.db().pool());
        while let Some(row) = rows.try_next().await? {
            let (repo, name): (String, String) = (row.try_get("repo")?, row.try_get("name")?);
            let (oid, raw): (String, Vec<u8>) = (row.try_get("oid")?, row.try_get("raw")?);
            let target: String = row.try_get("target")?;
            let is_right = object_id("tag", &raw) == oid
                && tags::parse(&oid, raw).is_ok_and(|tag| tag.commit == target);
            if !is_right {
                self.problem(
                    format!("{name} of repository {repo}"),
                    format!("its tag object {oid} is another"),
                );
            }
        }
        Ok(())
    }

    async fn xorbs(&mut self) -> Result<()> {
        let mut rows = sqlx::query("SELECT hash, size, chunks FROM xorbs").fetch(self.db().pool());
        while let Some(row) = rows.try_next().await? {
            let (name, footer): (String, Vec<u8>) = (row.try_get("hash")?, row.try_get("chunks")?);
            let len = size(&row, "size")?;
            self.report.xorbs += 1;
            if let Some(message) = self.xorb(&name, &footer, len).await? {
                self.problem(format!("xorb {name}"), message);
            }
        }
        Ok(())
    }

    async fn xorb(&mut self, name: &str, footer: &[u8], len: u64) -> Result<Option<String>> {
        let Ok(hash) = name.parse::<Hash>() else {
            return Ok(Some("its name is no hash".to_owned()));
        };
        let table = match XorbTable::from_footer(footer) {
            Ok(table) if table.xorb_hash() == hash => table,
            Ok(_) => return Ok(Some("its table is of another".to_owned())),
            Err(error) => return Ok(Some(format!("its table: {error}"))),
        };
        let key = xorb_key(name);
        if self.hub.objects.size(&key).await? != Some(len) || u64::from(table.packed_len()) != len {
            return Ok(Some("the object is missing or has another size".to_owned()));
        }
        if !self.reads {
            return Ok(None);
        }
        let mut check = XorbCheck::new();
        let mut stream = self.hub.objects.stream(&key, 0..len).await?;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(Error::io("read a xorb"))?;
            self.report.bytes += piece.len() as u64;
            if let Err(error) = check.push(&piece) {
                return Ok(Some(error.to_string()));
            }
        }
        Ok(match check.finish(&hash) {
            Ok(found) if found.to_footer() == footer => None,
            Ok(_) => Some("its chunks are not those of its table".to_owned()),
            Err(error) => Some(error.to_string()),
        })
    }

    async fn files(&mut self) -> Result<()> {
        let lost: Vec<(String, String)> = sqlx::query_as(
            "SELECT l.repo, l.sha256 FROM repo_lfs l LEFT JOIN lfs_objects o ON o.sha256 = l.sha256 WHERE o.sha256 IS NULL",
        )
        .fetch_all(self.db().pool())
        .await?;
        for (repo, sha256) in lost {
            self.problem(
                format!("large file {sha256} of repository {repo}"),
                "it is missing",
            );
        }
        let mut rows = sqlx::query("SELECT sha256, size, xet, is_stored FROM lfs_objects")
            .fetch(self.db().pool());
        while let Some(row) = rows.try_next().await? {
            let (sha256, xet): (String, Option<String>) =
                (row.try_get("sha256")?, row.try_get("xet")?);
            let len = size(&row, "size")?;
            self.report.files += 1;
            let is_stored = row.try_get::<i64, _>("is_stored")? != 0;
            if !is_stored && xet.is_none() {
                self.problem(format!("large file {sha256}"), "it is nowhere");
            }
            if is_stored && let Some(message) = self.plain(&sha256, len).await? {
                self.problem(format!("large file {sha256}"), message);
            }
            if let Some(xet) = xet
                && let Some(message) = self.xet(&sha256, &xet, len).await?
            {
                self.problem(format!("large file {sha256}, in Xet {xet}"), message);
            }
        }
        Ok(())
    }

    async fn plain(&mut self, sha256: &str, len: u64) -> Result<Option<String>> {
        let key = lfs_key(sha256);
        if self.hub.objects.size(&key).await? != Some(len) {
            return Ok(Some("the object is missing or has another size".to_owned()));
        }
        if !self.reads {
            return Ok(None);
        }
        let stream = self.hub.objects.stream(&key, 0..len).await?;
        self.digest(stream, sha256, len).await
    }

    /// The file's terms make its hash, and its bytes the digest.
    async fn xet(&mut self, sha256: &str, xet: &str, len: u64) -> Result<Option<String>> {
        let terms = match files::terms(self.db(), xet).await {
            Ok(Some(terms)) => terms,
            Ok(None) => return Ok(Some("its terms are missing".to_owned())),
            Err(Error::Damaged(problem)) => return Ok(Some(problem)),
            Err(error) => return Err(error),
        };
        let tables = crate::cas::xorbs::Tables::new(self.db());
        let mut tree = Tree::new();
        for term in &terms {
            let table = match tables.get(&term.xorb).await {
                Ok(table) => table,
                Err(Error::Damaged(problem)) => return Ok(Some(problem)),
                Err(error) => return Err(error),
            };
            let Some(chunks) = table.as_ref().and_then(|table| table.chunks(term.chunks())) else {
                return Ok(Some(format!(
                    "the xorb {} or its chunks are missing",
                    term.xorb
                )));
            };
            for (hash, len) in chunks {
                tree.push(hash, len);
            }
        }
        if tree.size() != len || tree.file_hash().to_string() != xet {
            return Ok(Some("its terms make another file".to_owned()));
        }
        if !self.reads {
            return Ok(None);
        }
        let stream = read::stream(&tables, &self.hub.objects, &terms, 0..len).await?;
        self.digest(stream, sha256, len).await
    }

    async fn digest(
        &mut self,
        mut stream: crate::objects::ByteStream,
        sha256: &str,
        len: u64,
    ) -> Result<Option<String>> {
        let (mut hasher, mut seen) = (Sha256::new(), 0);
        while let Some(piece) = stream.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Ok(Some(error.to_string())),
            };
            hasher.update(&piece);
            seen += piece.len() as u64;
        }
        self.report.bytes += seen;
        let is_right = seen == len && hex::encode(hasher.finalize()) == sha256;
        Ok((!is_right).then(|| "its bytes are others".to_owned()))
    }
}
