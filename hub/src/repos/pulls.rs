//! Pull requests, as far as uploads need them: a number, what was said, and a ref to commit to.

use super::Repo;
use super::refs::{self, Commit, Ref};
use crate::accounts::Caller;
use crate::audit::{self, Event};
use crate::db::{Db, now_ms};
use crate::error::{Error, Result};
use sqlx::{Any, Transaction};

/// How often the next number is tried again when others take it at the same moment.
const TRIES: u32 = 20;

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequest {
    pub number: i64,
    pub title: String,
    pub description: String,
    /// Name of the user who opened it.
    pub author: String,
    pub created_ms: i64,
    /// Whether its ref is there.
    pub is_open: bool,
}

/// Where its commits are.
pub(crate) fn ref_name(number: i64) -> String {
    format!("refs/pr/{number}")
}

/// Opens a pull request that starts from a commit, and returns its number.
pub(crate) async fn open(
    db: &Db,
    caller: &Caller,
    repo: &Repo,
    start: &Commit,
    title: &str,
    description: &str,
) -> Result<i64> {
    for _ in 0..TRIES {
        let last: (i64,) = sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) FROM pull_requests WHERE repo = $1",
        )
        .bind(repo.id.clone())
        .fetch_one(db.pool())
        .await?;
        let new = PullRequest {
            number: last.0 + 1,
            title: title.to_owned(),
            description: description.to_owned(),
            author: caller.user.name.clone(),
            created_ms: now_ms(),
            is_open: true,
        };
        let mut transaction = db.write().await?;
        if insert(&mut transaction, repo, start, &new).await? {
            let event = Event {
                action: "repo.pull_request.open",
                target: &repo.web_path(),
                detail: format!("{} {}", ref_name(new.number), start.oid),
            };
            audit::note(&mut transaction, caller, event).await?;
            transaction.commit().await?;
            return Ok(new.number);
        }
    }
    Err(Error::refused(
        409,
        "too many pull requests at once; try again",
    ))
}

/// Writes a pull request and its ref; false when somebody took the number at the same moment.
async fn insert(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    start: &Commit,
    new: &PullRequest,
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO pull_requests (repo, number, title, description, author, created_ms) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (repo, number) DO NOTHING",
    )
    .bind(repo.id.clone())
    .bind(new.number)
    .bind(new.title.clone())
    .bind(new.description.clone())
    .bind(new.author.clone())
    .bind(new.created_ms)
    .execute(&mut **transaction)
    .await?;
    let head = Ref {
        name: ref_name(new.number),
        target: start.oid.clone(),
    };
    Ok(done.rows_affected() == 1 && refs::insert(transaction, repo, &head, "").await?)
}

/// All of a repository, newest first.
pub(crate) async fn all(db: &Db, repo: &Repo) -> Result<Vec<PullRequest>> {
    let rows: Vec<(i64, String, String, String, i64, Option<String>)> = sqlx::query_as(
        "SELECT p.number, p.title, p.description, p.author, p.created_ms, r.name FROM pull_requests p \
         LEFT JOIN refs r ON r.repo = p.repo AND r.name = 'refs/pr/' || CAST(p.number AS TEXT) \
         WHERE p.repo = $1 ORDER BY p.number DESC",
    )
    .bind(repo.id.clone())
    .fetch_all(db.pool())
    .await?;
    let pull = |row: (i64, String, String, String, i64, Option<String>)| PullRequest {
        number: row.0,
        title: row.1,
        description: row.2,
        author: row.3,
        created_ms: row.4,
        is_open: row.5.is_some(),
    };
    Ok(rows.into_iter().map(pull).collect())
}
