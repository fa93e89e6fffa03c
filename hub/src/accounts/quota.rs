//! How many bytes an account's repositories may have. Large files count in whole in every repository that has them,
//! whatever the store needs for them.

use crate::db::Db;
use crate::error::{Error, Result};

/// Bytes that an account's repositories have.
pub(crate) async fn used(db: &Db, owner: &str) -> Result<u64> {
    let large: (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(o.size), 0) AS BIGINT) FROM repos r JOIN repo_lfs l ON l.repo = r.id \
         JOIN lfs_objects o ON o.sha256 = l.sha256 WHERE r.owner = $1",
    )
    .bind(owner.to_owned())
    .fetch_one(db.pool())
    .await?;
    let small: (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(git_bytes), 0) AS BIGINT) FROM repos WHERE owner = $1",
    )
    .bind(owner.to_owned())
    .fetch_one(db.pool())
    .await?;
    Ok(u64::try_from(large.0.saturating_add(small.0)).unwrap_or(0))
}

/// Refuses what would go beyond the quota of an account (by id).
pub(crate) async fn check(db: &Db, owner: &str, more: u64) -> Result<()> {
    let row: Option<(Option<i64>, String)> =
        sqlx::query_as("SELECT quota, name FROM accounts WHERE id = $1")
            .bind(owner.to_owned())
            .fetch_optional(db.pool())
            .await?;
    let Some((Some(quota), name)) = row else {
        return Ok(());
    };
    let quota = u64::try_from(quota).unwrap_or(0);
    let used = used(db, owner).await?;
    if used.saturating_add(more) <= quota {
        return Ok(());
    }
    Err(Error::refused(
        403,
        format!(
            "the storage of {name} is limited to {quota} bytes, {used} are used and this needs {more} more; \
             delete repositories or ask the hub's operator for more"
        ),
    ))
}
