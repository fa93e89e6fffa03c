//! Copies between repositories: rows, never contents, since those are stored once whoever refers to them.

use super::Repo;
use crate::accounts::Caller;
use crate::audit::{self, Event};
use crate::db::{Db, LIST, now_ms, parameters};
use crate::error::Result;
use sqlx::{Any, AssertSqlSafe, Transaction};
use std::collections::{HashMap, HashSet};

/// Bytes that a copy of a repository would count for.
pub(crate) async fn bytes(db: &Db, repo: &Repo) -> Result<u64> {
    let row: (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(o.size), 0) AS BIGINT) FROM repo_lfs l \
         JOIN lfs_objects o ON o.sha256 = l.sha256 WHERE l.repo = $1 AND l.is_committed = 1",
    )
    .bind(repo.id.clone())
    .fetch_one(db.pool())
    .await?;
    let git: (i64,) = sqlx::query_as("SELECT git_bytes FROM repos WHERE id = $1")
        .bind(repo.id.clone())
        .fetch_one(db.pool())
        .await?;
    Ok(u64::try_from(row.0.saturating_add(git.0)).unwrap_or(0))
}

/// Fills a new repository with the branches and tags of another and the history that they lead to: not with what was
/// squashed away, nor with pull requests. Both rows are there.
pub(crate) async fn fill(
    transaction: &mut Transaction<'static, Any>,
    caller: &Caller,
    from: &Repo,
    to: &Repo,
) -> Result<()> {
    let commits = reachable(transaction, from).await?;
    for part in commits.chunks(LIST) {
        let text = format!(
            "INSERT INTO commits (repo, oid, tree, parent, author, title, message, date_s, raw, request) \
             SELECT $1, oid, tree, parent, author, title, message, date_s, raw, '' FROM commits \
             WHERE repo = $2 AND oid IN ({})",
            parameters(3, part.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(to.id.clone())
            .bind(from.id.clone());
        for oid in part {
            query = query.bind(oid.clone());
        }
        query.execute(&mut **transaction).await?;
    }
    let texts = [
        "INSERT INTO refs (repo, name, target, message) SELECT $1, name, target, message FROM refs \
         WHERE repo = $2 AND name NOT LIKE 'refs/pr/%'",
        "INSERT INTO tag_objects (repo, name, oid, raw) SELECT $1, name, oid, raw FROM tag_objects WHERE repo = $2",
        "INSERT INTO repo_tags (repo, tag) SELECT $1, tag FROM repo_tags WHERE repo = $2",
        "UPDATE repos SET card = s.card, tags = s.tags, sdk = s.sdk, git_bytes = s.git_bytes \
         FROM (SELECT card, tags, sdk, git_bytes FROM repos WHERE id = $2) AS s WHERE repos.id = $1",
    ];
    for text in texts {
        sqlx::query(text)
            .bind(to.id.clone())
            .bind(from.id.clone())
            .execute(&mut **transaction)
            .await?;
    }
    sqlx::query(
        "INSERT INTO repo_lfs (repo, sha256, is_committed, created_ms) SELECT $1, sha256, 1, $3 FROM repo_lfs \
         WHERE repo = $2 AND is_committed = 1",
    )
    .bind(to.id.clone())
    .bind(from.id.clone())
    .bind(now_ms())
    .execute(&mut **transaction)
    .await?;
    let event = Event {
        action: "repo.duplication",
        target: &to.web_path(),
        detail: format!("from {}", from.web_path()),
    };
    audit::note(transaction, caller, event).await
}

/// Ids of the commits that branches and tags lead to.
async fn reachable(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
) -> Result<Vec<String>> {
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT oid, parent FROM commits WHERE repo = $1")
            .bind(repo.id.clone())
            .fetch_all(&mut **transaction)
            .await?;
    let parents: HashMap<String, Option<String>> = rows.into_iter().collect();
    let heads: Vec<(String,)> =
        sqlx::query_as("SELECT target FROM refs WHERE repo = $1 AND name NOT LIKE 'refs/pr/%'")
            .bind(repo.id.clone())
            .fetch_all(&mut **transaction)
            .await?;
    let mut open: Vec<String> = heads.into_iter().map(|row| row.0).collect();
    let mut found = HashSet::new();
    while let Some(oid) = open.pop() {
        let Some(above) = parents.get(&oid) else {
            continue;
        };
        if found.insert(oid) {
            let above = above.as_deref().unwrap_or_default();
            open.extend(above.split_whitespace().map(str::to_owned));
        }
    }
    Ok(found.into_iter().collect())
}
