//! Shards: files that a client says it has put together from xorbs. Nothing is believed: ranges, sizes, hashes and
//! the SHA-256 that git will know the file by are all recomputed, and a xorb counts only for whoever has shown
//! that they know its contents.

use super::dedup::{note_chunk, reachable};
use super::files::encode_terms;
use super::read;
use super::xorbs::Tables;
use crate::accounts::{Caller, quota};
use crate::db::{Db, now_ms};
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::operate::{Marked, unmark};
use crate::repos::Repo;
use crate::xet::shard::{FileEntry, Shard};
use crate::xet::{FileCheck, Hash};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use std::collections::{HashMap, HashSet};

/// Files that are checked at the same time.
const FILES: usize = 3;

/// Where a shard's files go, and on whose behalf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub db: &'a Db,
    pub tables: &'a Tables,
    pub objects: &'a Objects,
    pub caller: &'a Caller,
    pub repo: &'a Repo,
}

/// A checked file, ready to be written down.
#[derive(Debug)]
struct Checked {
    file: FileEntry,
    sha256: String,
    /// Whether its terms are in the database already.
    is_known: bool,
    /// Its first chunk and the xorb that has it; none in an empty file.
    first: Option<(Hash, Hash)>,
}

/// Checks a shard and registers its files; false when all were known. `progress` is told how many of how many files
/// are checked.
pub(crate) async fn register(
    target: Target<'_>,
    bytes: &[u8],
    mut progress: impl FnMut(usize, usize) + Send,
) -> Result<bool> {
    let files = parse(bytes)?;
    let total = files.len();
    check_reach(target, &files).await?;
    let known = known(target.db, &files).await?;
    let mut checks = stream::iter(files)
        .map(|file| check(target, &known, file))
        .buffered(FILES);
    let mut checked = Vec::with_capacity(total);
    progress(0, total);
    while let Some(one) = checks.next().await {
        checked.push(one?);
        progress(checked.len(), total);
    }
    check_quota(target, &checked).await?;
    // In one order, so that no two writers wait for each other.
    checked.sort_by(|a, b| a.sha256.cmp(&b.sha256));
    let mut is_new = false;
    for part in checked.chunks(200) {
        is_new |= write(target, part).await?;
    }
    Ok(is_new)
}

/// Files that the repository has not had count for its owner.
async fn check_quota(target: Target<'_>, checked: &[Checked]) -> Result<()> {
    let digests: Vec<String> = checked.iter().map(|one| one.sha256.clone()).collect();
    let known = crate::repos::files::large(target.db, target.repo, &digests).await?;
    let new = checked
        .iter()
        .filter(|one| !known.contains_key(&one.sha256));
    let bytes = new.fold(0u64, |sum, one| sum.saturating_add(one.file.size()));
    quota::check(target.db, &target.repo.owner, bytes).await
}

fn parse(bytes: &[u8]) -> Result<Vec<FileEntry>> {
    let shard = Shard::read(bytes)?;
    // What it says of xorbs is ignored: the hub made its own tables when the xorbs came.
    Ok(shard.files().collect())
}

/// Every xorb has to exist and be one that the caller may refer to.
async fn check_reach(target: Target<'_>, files: &[FileEntry]) -> Result<()> {
    let terms = files.iter().flat_map(|file| &file.terms);
    let xorbs: HashSet<Hash> = terms.map(|term| term.xorb).collect();
    let names: Vec<String> = xorbs.iter().map(Hash::to_string).collect();
    // Before looking: what is in use from here on is not removed meanwhile.
    let hashes: Vec<String> = files.iter().map(|file| file.hash.to_string()).collect();
    unmark(target.db, Marked::File, &hashes).await?;
    unmark(target.db, Marked::Xorb, &names).await?;
    let reached = reachable(target.db, target.caller, &names).await?;
    match names.iter().find(|name| !reached.contains(*name)) {
        Some(missing) => Err(Error::bad(format!(
            "the xorb {missing} is not here, or not yours to refer to; upload it before the shard"
        ))),
        None => Ok(()),
    }
}

/// Digests of the files that are in the database, by their hashes.
async fn known(db: &Db, files: &[FileEntry]) -> Result<HashMap<String, String>> {
    let names: Vec<String> = files.iter().map(|file| file.hash.to_string()).collect();
    let head = "SELECT hash, sha256 FROM xet_files WHERE hash IN";
    let mut known = HashMap::new();
    for row in db.in_list(head, "", &[], &names).await? {
        known.insert(row.try_get("hash")?, row.try_get("sha256")?);
    }
    Ok(known)
}

async fn check(
    target: Target<'_>,
    known: &HashMap<String, String>,
    file: FileEntry,
) -> Result<Checked> {
    check_hashes(target.tables, &file).await?;
    let first = first_chunk(target.tables, &file).await?;
    let claimed = file.sha256.map(hex::encode);
    let name = file.hash.to_string();
    let known = known.get(&name);
    let is_known = known.is_some();
    let sha256 = match known {
        Some(sha256) => sha256.clone(),
        None => digest(target, &file).await?,
    };
    if claimed.as_ref().is_some_and(|claimed| *claimed != sha256) {
        return Err(Error::bad(format!(
            "file {name} has the SHA-256 {sha256}, not {}",
            claimed.unwrap_or_default()
        )));
    }
    Ok(Checked {
        file,
        sha256,
        is_known,
        first,
    })
}

async fn first_chunk(tables: &Tables, file: &FileEntry) -> Result<Option<(Hash, Hash)>> {
    let Some(term) = file.terms.first() else {
        return Ok(None);
    };
    let table = tables.get(&term.xorb).await?;
    let chunk = table.and_then(|table| table.hashes_in(term.chunks())?.first().copied());
    Ok(chunk.map(|chunk| (chunk, term.xorb)))
}

/// Ranges lie in their xorbs, sizes add up, and the file's hash is that of its chunks.
async fn check_hashes(tables: &Tables, file: &FileEntry) -> Result<()> {
    let mut check = FileCheck::new(file)?;
    while let Some(term) = check.term() {
        let table = tables.get(&term.xorb).await?;
        check.check(table.as_deref())?;
    }
    check.finish()?;
    Ok(())
}

/// The SHA-256 of a file's contents, read back from the object store.
async fn digest(target: Target<'_>, file: &FileEntry) -> Result<String> {
    let size = file.size();
    let mut stream = read::stream(target.tables, target.objects, &file.terms, 0..size).await?;
    let mut hasher = Sha256::new();
    let mut seen = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(Error::io("read a file back"))?;
        seen += piece.len() as u64;
        let hashed = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            hasher
        });
        hasher = hashed
            .await
            .map_err(|error| Error::Damaged(error.to_string()))?;
    }
    if seen != size {
        return Err(Error::Damaged(format!(
            "file {} has {seen} bytes, not {size}",
            file.hash
        )));
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Writes files down; false when all were known to this repository.
async fn write(target: Target<'_>, files: &[Checked]) -> Result<bool> {
    let mut is_new = false;
    let mut transaction = target.db.write().await?;
    for checked in files {
        let name = checked.file.hash.to_string();
        let size = i64::try_from(checked.file.size()).unwrap_or(i64::MAX);
        if !checked.is_known {
            sqlx::query(
                "INSERT INTO xet_files (hash, size, sha256, terms, created_ms) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (hash) DO NOTHING",
            )
            .bind(name.clone())
            .bind(size)
            .bind(checked.sha256.clone())
            .bind(encode_terms(&checked.file.terms))
            .bind(now_ms())
            .execute(&mut *transaction)
            .await?;
            let xorbs: HashSet<Hash> = checked.file.terms.iter().map(|term| term.xorb).collect();
            for xorb in xorbs {
                sqlx::query(
                    "INSERT INTO file_xorbs (file, xorb) VALUES ($1, $2) ON CONFLICT (xorb, file) DO NOTHING",
                )
                .bind(name.clone())
                .bind(xorb.to_string())
                .execute(&mut *transaction)
                .await?;
            }
            if let Some(first) = &checked.first {
                note_chunk(&mut transaction, first).await?;
            }
        }
        sqlx::query(
            "INSERT INTO lfs_objects (sha256, size, xet, is_stored, created_ms) VALUES ($1, $2, $3, 0, $4) \
             ON CONFLICT (sha256) DO UPDATE SET xet = excluded.xet",
        )
        .bind(checked.sha256.clone())
        .bind(size)
        .bind(name)
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        is_new |= link(&mut transaction, target.repo, &checked.sha256).await?;
    }
    transaction.commit().await?;
    Ok(is_new)
}

/// Notes that a repository was shown a large file's contents; false when that was known.
pub(crate) async fn link(
    transaction: &mut sqlx::Transaction<'static, sqlx::Any>,
    repo: &Repo,
    sha256: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO repo_lfs (repo, sha256, is_committed, created_ms) VALUES ($1, $2, 0, $3) \
         ON CONFLICT (repo, sha256) DO NOTHING",
    )
    .bind(repo.id.clone())
    .bind(sha256.to_owned())
    .bind(now_ms())
    .execute(&mut **transaction)
    .await?;
    // In use from here on, and with it what it leads to.
    sqlx::query("DELETE FROM gc_marks WHERE kind = 'link' AND id = $1")
        .bind(format!("{}/{sha256}", repo.id))
        .execute(&mut **transaction)
        .await?;
    Ok(done.rows_affected() > 0)
}
