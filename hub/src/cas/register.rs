//! Shards: files that a client says it has put together from xorbs. Nothing is believed: ranges, sizes, hashes and
//! the SHA-256 that git will know the file by are all recomputed, and a xorb counts only for whoever has shown
//! that they know its contents.

use super::files::encode_terms;
use super::read;
use super::xorbs::Tables;
use crate::accounts::rights::readable_owners;
use crate::accounts::Caller;
use crate::db::{Db, hex, now_ms, parameters};
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::repos::Repo;
use crate::xet::shard::{FileEntry, Shard};
use crate::xet::{Hash, Tree, range_hash};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Where a shard's files go, and on whose behalf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub db: &'a Db,
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
    let mut tables = Tables::new(target.db);
    let mut checked = Vec::with_capacity(total);
    for (done, file) in files.into_iter().enumerate() {
        progress(done, total);
        checked.push(check(target, &mut tables, file).await?);
    }
    progress(total, total);
    let mut is_new = false;
    for part in checked.chunks(200) {
        is_new |= write(target, part).await?;
    }
    Ok(is_new)
}

fn parse(bytes: &[u8]) -> Result<Vec<FileEntry>> {
    let shard = Shard::read(bytes)?;
    // What it says of xorbs is ignored: the hub made its own tables when the xorbs came.
    Ok(shard.files().collect())
}

/// Every xorb has to exist and be one that the caller has sent, or that is part of a file which they may read.
async fn check_reach(target: Target<'_>, files: &[FileEntry]) -> Result<()> {
    let terms = files.iter().flat_map(|file| &file.terms);
    let xorbs: HashSet<Hash> = terms.map(|term| term.xorb).collect();
    let names: Vec<String> = xorbs.iter().map(Hash::to_string).collect();
    let own = "SELECT xorb AS hash FROM xorb_owners WHERE account = $1 AND xorb IN";
    let own = target.db.in_list(own, "", &[&target.caller.user.id], &names).await?;
    let mut reached = hashes(&own)?;
    let rest: Vec<String> = names.into_iter().filter(|name| !reached.contains(name)).collect();
    if rest.is_empty() {
        return Ok(());
    }
    let owners = readable_owners(target.db, target.caller).await?;
    let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
    let head = "SELECT DISTINCT x.xorb AS hash FROM file_xorbs x JOIN lfs_objects o ON o.xet = x.file \
                JOIN repo_lfs l ON l.sha256 = o.sha256 JOIN repos r ON r.id = l.repo WHERE x.xorb IN";
    // The list's parameters come after the fixed ones.
    let tail = format!(
        "AND (r.is_private = 0 OR r.owner IN ({}))",
        parameters(1, owners.len())
    );
    reached.extend(hashes(&target.db.in_list(head, &tail, &owners, &rest).await?)?);
    match rest.iter().find(|name| !reached.contains(*name)) {
        Some(missing) => Err(Error::bad(format!(
            "the xorb {missing} is not here, or not yours to refer to; upload it before the shard"
        ))),
        None => Ok(()),
    }
}

fn hashes(rows: &[crate::db::Row]) -> Result<HashSet<String>> {
    use sqlx::Row;
    let mut found = HashSet::new();
    for row in rows {
        found.insert(row.try_get("hash")?);
    }
    Ok(found)
}

async fn check(target: Target<'_>, tables: &mut Tables<'_>, file: FileEntry) -> Result<Checked> {
    check_hashes(tables, &file).await?;
    let claimed = file.sha256.map(|digest| hex(&digest));
    let name = file.hash.to_string();
    let known: Option<(String,)> = sqlx::query_as("SELECT sha256 FROM xet_files WHERE hash = $1")
        .bind(name.clone())
        .fetch_optional(target.db.pool())
        .await?;
    let is_known = known.is_some();
    let sha256 = match known {
        Some((sha256,)) => sha256,
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
    })
}

/// Ranges lie in their xorbs, sizes add up, and the file's hash is that of its chunks.
async fn check_hashes(tables: &mut Tables<'_>, file: &FileEntry) -> Result<()> {
    let wrong = |what: String| Error::bad(format!("file {}: {what}", file.hash));
    let proofs = file
        .range_hashes
        .as_ref()
        .filter(|proofs| proofs.len() == file.terms.len())
        .ok_or_else(|| wrong("it has no verification hashes; send one for each term".to_owned()))?;
    let mut tree = Tree::new();
    for (term, proof) in file.terms.iter().zip(proofs) {
        let missing = || wrong(format!("xorb {} is not here; upload it first", term.xorb));
        let table = tables.get(&term.xorb).await?.ok_or_else(missing)?;
        let outside = || wrong(format!("xorb {} has no chunks {:?}", term.xorb, term.chunks()));
        let mut size = 0;
        for (hash, len) in table.chunks(term.chunks()).ok_or_else(outside)? {
            tree.push(hash, len);
            size += len;
        }
        if size != u64::from(term.raw_len) {
            return Err(wrong(format!(
                "chunks {:?} of xorb {} have {size} bytes, not {}",
                term.chunks(),
                term.xorb,
                term.raw_len
            )));
        }
        let chunks = table.hashes_in(term.chunks()).ok_or_else(outside)?;
        if range_hash(chunks) != *proof {
            return Err(wrong(format!(
                "the verification hash of chunks {:?} of xorb {} is wrong",
                term.chunks(),
                term.xorb
            )));
        }
    }
    let hash = tree.file_hash();
    if hash != file.hash {
        return Err(wrong(format!("its chunks make the file {hash}")));
    }
    Ok(())
}

/// The SHA-256 of a file's contents, read back from the object store.
async fn digest(target: Target<'_>, file: &FileEntry) -> Result<String> {
    let size = file.size();
    let mut stream = read::stream(target.db, target.objects, &file.terms, 0..size).await?;
    let mut hasher = Sha256::new();
    let mut seen = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(Error::io("read a file back"))?;
        seen += piece.len() as u64;
        let hashed = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            hasher
        });
        hasher = hashed.await.map_err(|error| Error::Damaged(error.to_string()))?;
    }
    if seen != size {
        return Err(Error::Damaged(format!("file {} has {seen} bytes, not {size}", file.hash)));
    }
    Ok(hex(&hasher.finalize()))
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
    Ok(done.rows_affected() > 0)
}
