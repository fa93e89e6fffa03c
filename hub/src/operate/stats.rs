//! Counting what a hub has.

use crate::error::Result;
use crate::server::Hub;

/// What a hub has.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// People.
    pub users: u64,
    /// Organisations.
    pub orgs: u64,
    /// Repositories by kind: `models`, `datasets`, `spaces`, `kernels`.
    pub repos: Vec<(String, u64)>,
    /// Commits of all of them.
    pub commits: u64,
    /// Git's blobs, and their bytes.
    pub blobs: u64,
    /// Bytes of those.
    pub blob_bytes: u64,
    /// Large files, each counted once.
    pub large_files: u64,
    /// Bytes of those, as if each lay there in whole.
    pub large_bytes: u64,
    /// Xorbs.
    pub xorbs: u64,
    /// Bytes of those: what the large files take after deduplication and packing.
    pub xorb_bytes: u64,
    /// Bytes of large files that came without Xet.
    pub plain_bytes: u64,
}

/// Counts.
///
/// # Errors
/// When the database fails.
pub async fn stats(hub: &Hub) -> Result<Stats> {
    let count = async |text: &'static str| -> Result<u64> {
        let row: (i64,) = sqlx::query_as(text).fetch_one(hub.db.pool()).await?;
        Ok(u64::try_from(row.0).unwrap_or(0))
    };
    let repos: Vec<(String, i64)> =
        sqlx::query_as("SELECT kind, COUNT(*) FROM repos GROUP BY kind ORDER BY kind")
            .fetch_all(hub.db.pool())
            .await?;
    Ok(Stats {
        users: count("SELECT COUNT(*) FROM accounts WHERE kind = 'user'").await?,
        orgs: count("SELECT COUNT(*) FROM accounts WHERE kind = 'org'").await?,
        repos: repos
            .into_iter()
            .map(|(kind, n)| (kind, u64::try_from(n).unwrap_or(0)))
            .collect(),
        commits: count("SELECT COUNT(*) FROM commits").await?,
        blobs: count("SELECT COUNT(*) FROM blobs").await?,
        blob_bytes: count("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs").await?,
        large_files: count("SELECT COUNT(*) FROM lfs_objects").await?,
        large_bytes: count("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM lfs_objects")
            .await?,
        xorbs: count("SELECT COUNT(*) FROM xorbs").await?,
        xorb_bytes: count("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM xorbs").await?,
        plain_bytes: count(
            "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM lfs_objects WHERE is_stored = 1",
        )
        .await?,
    })
}
