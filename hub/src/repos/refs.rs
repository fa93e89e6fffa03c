//! Branches, tags and what a revision means.

use super::Repo;
use super::names::{check_ref_name, is_commit_id};
use crate::accounts::Caller;
use crate::audit::{self, Event};
use crate::db::Db;
use crate::error::{Code, Error, Result};
use sqlx::{Any, Transaction};

/// Message of the tags that the hub sets by itself.
pub(crate) const AUTO_TAG: &str = "set by the hub";

/// A branch or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ref {
    /// Full: `refs/heads/main`.
    pub name: String,
    /// Commit id.
    pub target: String,
}

/// A branch or a tag as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Full: `refs/heads/main`.
    pub name: String,
    /// Commit id.
    pub target: String,
    /// Id of its tag object, of an annotated tag.
    pub tag: Option<String>,
}

impl Listed {
    /// The object that git sees there.
    pub(crate) fn oid(&self) -> &str {
        self.tag.as_ref().unwrap_or(&self.target)
    }
}

/// A commit that a revision means, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub oid: String,
    pub tree: String,
    /// The first, of a merge.
    pub parent: Option<String>,
    pub author: String,
    pub title: String,
    pub message: String,
    pub date_s: i64,
}

type CommitRow = (String, String, Option<String>, String, String, String, i64);

pub(super) fn commit(row: CommitRow) -> Commit {
    Commit {
        oid: row.0,
        tree: row.1,
        parent: row
            .2
            .and_then(|parents| parents.split(' ').next().map(str::to_owned)),
        author: row.3,
        title: row.4,
        message: row.5,
        date_s: row.6,
    }
}

/// Full names that a revision may stand for, best first.
fn candidates(revision: &str) -> Vec<String> {
    if revision.starts_with("refs/") {
        return vec![revision.to_owned()];
    }
    // Clients of one release send Python's `None` where they mean the default.
    let revision = if revision == "None" { "main" } else { revision };
    vec![
        format!("refs/heads/{revision}"),
        format!("refs/tags/{revision}"),
    ]
}

/// The full name of a branch that a revision names for writing.
pub(crate) fn branch(revision: &str) -> Result<String> {
    let name = candidates(revision).swap_remove(0);
    let short = name
        .strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/pr/"));
    let short = short.ok_or_else(|| {
        Error::bad(format!(
            "{revision:?} is no branch; commit to a branch or a refs/pr/N"
        ))
    })?;
    check_ref_name(short)?;
    Ok(name)
}

/// Where a full name points to.
pub(crate) async fn target(db: &Db, repo: &Repo, name: &str) -> Result<Option<String>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT target FROM refs WHERE repo = $1 AND name = $2")
            .bind(repo.id.clone())
            .bind(name.to_owned())
            .fetch_optional(db.pool())
            .await?;
    Ok(row.map(|row| row.0))
}

/// The commit that a revision means.
pub(crate) async fn resolve(db: &Db, repo: &Repo, revision: &str) -> Result<Commit> {
    if is_commit_id(revision)
        && let Some(found) = commit_by_id(db, repo, revision).await?
    {
        return Ok(found);
    }
    for name in candidates(revision) {
        if let Some(found) = commit_at(db, repo, &name).await? {
            return Ok(found);
        }
    }
    let shown: String = revision.chars().take(200).collect();
    Err(Error::missing(
        Code::RevisionNotFound,
        format!("{} has no revision {shown:?}", repo.full_name()),
    ))
}

/// The commit that a full name points to, in one query because every reading request needs it.
async fn commit_at(db: &Db, repo: &Repo, name: &str) -> Result<Option<Commit>> {
    let row: Option<CommitRow> = sqlx::query_as(
        "SELECT c.oid, c.tree, c.parent, c.author, c.title, c.message, c.date_s \
         FROM refs r JOIN commits c ON c.repo = r.repo AND c.oid = r.target WHERE r.repo = $1 AND r.name = $2",
    )
    .bind(repo.id.clone())
    .bind(name.to_owned())
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(commit))
}

/// A commit of a repository by its id.
pub(crate) async fn commit_by_id(db: &Db, repo: &Repo, oid: &str) -> Result<Option<Commit>> {
    let row: Option<CommitRow> = sqlx::query_as(
        "SELECT oid, tree, parent, author, title, message, date_s FROM commits WHERE repo = $1 AND oid = $2",
    )
    .bind(repo.id.clone())
    .bind(oid.to_owned())
    .fetch_optional(db.pool())
    .await?;
    Ok(row.map(commit))
}

/// All branches and tags, in order of their names.
pub(crate) async fn all(db: &Db, repo: &Repo) -> Result<Vec<Listed>> {
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT r.name, r.target, t.oid FROM refs r LEFT JOIN tag_objects t ON t.repo = r.repo AND t.name = r.name \
         WHERE r.repo = $1 ORDER BY r.name",
    )
    .bind(repo.id.clone())
    .fetch_all(db.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|(name, target, tag)| Listed { name, target, tag })
        .collect())
}

/// Makes a branch or tag (`refs/heads/` or `refs/tags/` with a checked name).
pub(crate) async fn create(
    db: &Db,
    caller: &Caller,
    repo: &Repo,
    new: &Ref,
    message: &str,
) -> Result<()> {
    let short = new.name.splitn(3, '/').nth(2).unwrap_or_default();
    check_ref_name(short)?;
    let mut transaction = db.write().await?;
    // A tag that the hub set by itself gives way to one that somebody sets.
    sqlx::query("DELETE FROM refs WHERE repo = $1 AND name = $2 AND message = $3")
        .bind(repo.id.clone())
        .bind(new.name.clone())
        .bind(AUTO_TAG.to_owned())
        .execute(&mut *transaction)
        .await?;
    let is_new = insert(&mut transaction, repo, new, message).await?;
    if !is_new {
        return Err(Error::refused(
            409,
            format!("{} of {} exists already", new.name, repo.full_name()),
        ));
    }
    let event = Event {
        action: "repo.ref.create",
        target: &repo.web_path(),
        detail: format!("{} {}", new.name, new.target),
    };
    audit::note(&mut transaction, caller, event).await?;
    transaction.commit().await?;
    Ok(())
}

/// Adds a ref if its name is free and its commit is there; false if not.
pub(crate) async fn insert(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    new: &Ref,
    message: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO refs (repo, name, target, message) SELECT $1, $2, $3, $4 \
         WHERE EXISTS (SELECT 1 FROM commits WHERE repo = $1 AND oid = $3) ON CONFLICT (repo, name) DO NOTHING",
    )
    .bind(repo.id.clone())
    .bind(new.name.clone())
    .bind(new.target.clone())
    .bind(message.to_owned())
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes a branch or tag.
pub(crate) async fn delete(db: &Db, caller: &Caller, repo: &Repo, name: &str) -> Result<()> {
    if name == "refs/heads/main" {
        return Err(Error::refused(403, "the branch main cannot be deleted"));
    }
    let mut transaction = db.write().await?;
    let done = sqlx::query("DELETE FROM refs WHERE repo = $1 AND name = $2")
        .bind(repo.id.clone())
        .bind(name.to_owned())
        .execute(&mut *transaction)
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::missing(
            Code::RevisionNotFound,
            format!("{} has no {name}", repo.full_name()),
        ));
    }
    let event = Event {
        action: "repo.ref.delete",
        target: &repo.web_path(),
        detail: name.to_owned(),
    };
    audit::note(&mut transaction, caller, event).await?;
    transaction.commit().await?;
    Ok(())
}
