//! What is at the end of a path: bytes in a pack, or a large file.

use super::Repo;
use super::git::{Entry, Facts};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::operate::{Marked, unmark};
use sqlx::Row;
use std::collections::HashMap;

/// A large file that a repository may hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Large {
    pub sha256: String,
    pub size: u64,
    /// Its hash in Xet, printed, if it is stored there.
    pub xet: Option<String>,
    /// Whether it lies in the object store as it is.
    pub is_stored: bool,
}

/// Which of these large files the repository may hand out, by digest.
pub(crate) async fn large(
    db: &Db,
    repo: &Repo,
    digests: &[String],
) -> Result<HashMap<String, Large>> {
    let head = "SELECT o.sha256, o.size, o.xet, o.is_stored FROM repo_lfs r JOIN lfs_objects o ON o.sha256 = r.sha256 \
                WHERE r.repo = $1 AND r.sha256 IN";
    let rows = db.in_list(head, "", &[&repo.id], digests).await?;
    let mut found = HashMap::new();
    for row in rows {
        let size: i64 = row.try_get("size")?;
        let large = Large {
            sha256: row.try_get("sha256")?,
            size: u64::try_from(size).unwrap_or(0),
            xet: row.try_get("xet")?,
            is_stored: row.try_get::<i64, _>("is_stored")? != 0,
        };
        found.insert(large.sha256.clone(), large);
    }
    Ok(found)
}

/// Large files that a repository has, in the order of their digests, with when it got them (ms since 1970).
pub(crate) async fn page(
    db: &Db,
    repo: &Repo,
    after: &str,
    limit: usize,
) -> Result<Vec<(Large, i64)>> {
    let rows: Vec<(String, i64, Option<String>, i64, i64)> = sqlx::query_as(
        "SELECT o.sha256, o.size, o.xet, o.is_stored, r.created_ms FROM repo_lfs r \
         JOIN lfs_objects o ON o.sha256 = r.sha256 WHERE r.repo = $1 AND r.sha256 > $2 ORDER BY r.sha256 LIMIT $3",
    )
    .bind(repo.id.clone())
    .bind(after.to_owned())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db.pool())
    .await?;
    let large = |row: (String, i64, Option<String>, i64, i64)| {
        let large = Large {
            sha256: row.0,
            size: u64::try_from(row.1).unwrap_or(0),
            xet: row.2,
            is_stored: row.3 != 0,
        };
        (large, row.4)
    };
    Ok(rows.into_iter().map(large).collect())
}

/// The same for whoever is about to refer to them: from here on they are in use, and not removed meanwhile.
pub(crate) async fn large_to_use(
    db: &Db,
    repo: &Repo,
    digests: &[String],
) -> Result<HashMap<String, Large>> {
    let links: Vec<String> = digests
        .iter()
        .map(|sha256| format!("{}/{sha256}", repo.id))
        .collect();
    unmark(db, Marked::Link, &links).await?;
    large(db, repo, digests).await
}

/// The large files behind entries, by digest.
pub(crate) async fn large_of<'a>(
    db: &Db,
    repo: &Repo,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<HashMap<String, Large>> {
    let mut digests: Vec<String> = entries.filter_map(pointer_digest).collect();
    digests.sort();
    digests.dedup();
    large(db, repo, &digests).await
}

fn pointer_digest(entry: &Entry) -> Option<String> {
    match &entry.facts {
        Facts::Pointer { sha256, .. } => Some(sha256.clone()),
        _ => None,
    }
}

/// The large file behind an entry. A pointer to what the repository may not hand out is an ordinary file.
pub(crate) fn large_behind<'a>(
    entry: &Entry,
    known: &'a HashMap<String, Large>,
) -> Option<&'a Large> {
    match &entry.facts {
        Facts::Pointer { sha256, .. } => known.get(sha256),
        _ => None,
    }
}

/// Bytes of the git blob of an entry.
pub(crate) fn blob_size(entry: &Entry) -> u64 {
    match entry.facts {
        Facts::Folder => 0,
        Facts::Blob { size } | Facts::Pointer { size, .. } => size,
    }
}

/// Where a blob lies: its pack, its start and its size.
pub(crate) async fn blob_place(db: &Db, oid: &str) -> Result<(String, u64, u64)> {
    let row: Option<(String, i64, i64)> =
        sqlx::query_as("SELECT pack, start, size FROM blobs WHERE oid = $1")
            .bind(oid.to_owned())
            .fetch_optional(db.pool())
            .await?;
    let (pack, start, size) =
        row.ok_or_else(|| Error::Damaged(format!("blob {oid} is missing; run fsck")))?;
    let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok((pack, unsigned(start), unsigned(size)))
}

/// Whether a blob is stored.
pub(crate) async fn has_blob(db: &Db, oid: &str) -> Result<bool> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT size FROM blobs WHERE oid = $1")
        .bind(oid.to_owned())
        .fetch_optional(db.pool())
        .await?;
    Ok(row.is_some())
}
