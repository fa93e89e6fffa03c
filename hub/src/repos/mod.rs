//! Repositories: what they are called, their branches and tags, their commits and files.
//!
//! A commit's path: operations → [`edit`] makes new trees out of the old ones → [`commits`] writes objects and
//! moves the branch, all in one transaction. Reading goes [`refs`] → [`trees`] → [`files`].

pub(crate) mod attributes;
pub(crate) mod cards;
pub(crate) mod commits;
pub(crate) mod compare;
pub(crate) mod copies;
pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod git;
pub(crate) mod history;
pub(crate) mod names;
pub(crate) mod pending;
pub(crate) mod pulls;
pub(crate) mod push;
pub(crate) mod refs;
pub(crate) mod tags;
pub(crate) mod trees;

use crate::accounts::{Account, Caller};
use crate::audit::{self, Event};
use crate::db::{Db, new_id, now_ms};
use crate::error::{Code, Error, Result};
use names::{Kind, check_repo_name, fold};
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};

/// A repository.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    pub id: String,
    pub kind: Kind,
    /// Account id of the namespace.
    pub owner: String,
    pub namespace: String,
    pub name: String,
    pub created_by: String,
    pub is_private: bool,
    /// `false`, `auto` or `manual`.
    pub gated: String,
    pub downloads: i64,
    pub likes: i64,
    pub created_ms: i64,
    pub modified_ms: i64,
    /// Metadata of the card on `main`, JSON.
    pub card: String,
    /// Tags made of the card and the files on `main`, JSON.
    pub tags: String,
    pub sdk: Option<String>,
}

impl Repo {
    /// `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// As in addresses of pages and files: with the prefix of its kind.
    pub(crate) fn web_path(&self) -> String {
        format!("{}{}", self.kind.prefix(), self.full_name())
    }
}

const COLUMNS: &str = "id, kind, owner, namespace, name, created_by, is_private, gated, downloads, likes, created_ms, modified_ms, card, tags, sdk";

fn from_row(row: &crate::db::Row) -> Result<Repo> {
    let kind: String = row.try_get("kind")?;
    let kind = Kind::parse(&kind)
        .ok_or_else(|| Error::Damaged(format!("unknown kind of repository {kind:?}")))?;
    Ok(Repo {
        id: row.try_get("id")?,
        kind,
        owner: row.try_get("owner")?,
        namespace: row.try_get("namespace")?,
        name: row.try_get("name")?,
        created_by: row.try_get("created_by")?,
        is_private: row.try_get::<i64, _>("is_private")? != 0,
        gated: row.try_get("gated")?,
        downloads: row.try_get("downloads")?,
        likes: row.try_get("likes")?,
        created_ms: row.try_get("created_ms")?,
        modified_ms: row.try_get("modified_ms")?,
        card: row.try_get("card")?,
        tags: row.try_get("tags")?,
        sdk: row.try_get("sdk")?,
    })
}

/// Finds a repository by its name.
pub(crate) async fn find(db: &Db, kind: Kind, namespace: &str, name: &str) -> Result<Option<Repo>> {
    let text = AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM repos WHERE kind = $1 AND folded = $2"
    ));
    let row = sqlx::query(text)
        .bind(kind.plural().to_owned())
        .bind(fold(&format!("{namespace}/{name}")))
        .fetch_optional(db.pool())
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// Finds a repository by its id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<Repo>> {
    let text = AssertSqlSafe(format!("SELECT {COLUMNS} FROM repos WHERE id = $1"));
    let row = sqlx::query(text)
        .bind(id.to_owned())
        .fetch_optional(db.pool())
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// The repository that once had this name.
pub(crate) async fn find_moved(
    db: &Db,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Repo>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT repo FROM moved WHERE kind = $1 AND folded = $2")
            .bind(kind.plural().to_owned())
            .bind(fold(&format!("{namespace}/{name}")))
            .fetch_optional(db.pool())
            .await?;
    match row {
        Some((id,)) => by_id(db, &id).await,
        None => Ok(None),
    }
}

/// What lists ask for.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub search: Option<String>,
    pub author: Option<String>,
    pub tags: Vec<String>,
    /// A column of `repos`, newest or largest first.
    pub order: &'static str,
    pub offset: i64,
    pub limit: i64,
    /// Owners whose private repositories may be listed.
    pub owners: Vec<String>,
}

/// Repositories of a kind that the filter lets through.
pub(crate) async fn list(db: &Db, kind: Kind, filter: &Filter) -> Result<Vec<Repo>> {
    let mut values = vec![kind.plural().to_owned()];
    let mut text = format!("SELECT {COLUMNS} FROM repos WHERE kind = $1 AND (is_private = 0");
    let mut add = |text: &mut String, head: &str, value: String, tail: &str| {
        values.push(value);
        text.push_str(&format!("{head}${}{tail}", values.len()));
    };
    for owner in &filter.owners {
        add(&mut text, " OR owner = ", owner.clone(), "");
    }
    text.push(')');
    if let Some(author) = &filter.author {
        add(&mut text, " AND LOWER(namespace) = ", fold(author), "");
    }
    if let Some(search) = &filter.search {
        let pattern = fold(search).replace(['%', '_', '\\'], "");
        add(&mut text, " AND folded LIKE ", format!("%{pattern}%"), "");
    }
    for tag in &filter.tags {
        let head = " AND id IN (SELECT repo FROM repo_tags WHERE tag = ";
        add(&mut text, head, fold(tag), ")");
    }
    let (order, limit, offset) = (filter.order, filter.limit, filter.offset);
    text.push_str(&format!(
        " ORDER BY {order} DESC, id LIMIT {limit} OFFSET {offset}"
    ));
    let mut query = sqlx::query(AssertSqlSafe(text));
    for value in values {
        query = query.bind(value);
    }
    let rows = query.fetch_all(db.pool()).await?;
    rows.iter().map(from_row).collect()
}

/// A repository to be made.
#[derive(Debug)]
pub(crate) struct NewRepo<'a> {
    pub kind: Kind,
    pub owner: &'a Account,
    pub name: &'a str,
    pub is_private: bool,
    pub sdk: Option<String>,
}

/// Makes the row; the first commit follows.
pub(crate) async fn insert(
    transaction: &mut Transaction<'static, Any>,
    caller: &Caller,
    new: &NewRepo<'_>,
) -> Result<Option<Repo>> {
    check_repo_name(new.name)?;
    let now = now_ms();
    let repo = Repo {
        id: new_id()?,
        kind: new.kind,
        owner: new.owner.id.clone(),
        namespace: new.owner.name.clone(),
        name: new.name.to_owned(),
        created_by: caller.user.id.clone(),
        is_private: new.is_private,
        gated: "false".to_owned(),
        downloads: 0,
        likes: 0,
        created_ms: now,
        modified_ms: now,
        card: "{}".to_owned(),
        tags: "[]".to_owned(),
        sdk: new.sdk.clone(),
    };
    let text = AssertSqlSafe(format!(
        "INSERT INTO repos ({COLUMNS}, folded) VALUES ($1, $2, $3, $4, $5, $6, $7, 'false', 0, 0, $8, $8, '{{}}', '[]', $9, $10) \
         ON CONFLICT (kind, folded) DO NOTHING"
    ));
    let done = sqlx::query(text)
        .bind(repo.id.clone())
        .bind(repo.kind.plural().to_owned())
        .bind(repo.owner.clone())
        .bind(repo.namespace.clone())
        .bind(repo.name.clone())
        .bind(repo.created_by.clone())
        .bind(i64::from(repo.is_private))
        .bind(now)
        .bind(repo.sdk.clone())
        .bind(fold(&repo.full_name()))
        .execute(&mut **transaction)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    // A new repository takes its name back from one that has left it.
    sqlx::query("DELETE FROM moved WHERE kind = $1 AND folded = $2")
        .bind(repo.kind.plural().to_owned())
        .bind(fold(&repo.full_name()))
        .execute(&mut **transaction)
        .await?;
    let event = Event {
        action: "repo.create",
        target: &repo.web_path(),
        detail: String::new(),
    };
    audit::note(transaction, caller, event).await?;
    Ok(Some(repo))
}

/// Deletes a repository with its branches and commits. Contents that nothing else uses are left to `gc`.
pub(crate) async fn delete(db: &Db, caller: &Caller, repo: &Repo) -> Result<()> {
    let mut transaction = db.write().await?;
    sqlx::query("DELETE FROM repos WHERE id = $1")
        .bind(repo.id.clone())
        .execute(&mut *transaction)
        .await?;
    let event = Event {
        action: "repo.delete",
        target: &repo.web_path(),
        detail: String::new(),
    };
    audit::note(&mut transaction, caller, event).await?;
    transaction.commit().await?;
    Ok(())
}

/// Gives a repository another name and keeps the old one as a pointer to it.
pub(crate) async fn rename(
    db: &Db,
    caller: &Caller,
    repo: &Repo,
    owner: &Account,
    name: &str,
) -> Result<()> {
    check_repo_name(name)?;
    let new_name = format!("{}/{name}", owner.name);
    let taken = find(db, repo.kind, &owner.name, name).await?;
    if taken.is_some_and(|other| other.id != repo.id) {
        return Err(Error::refused(
            409,
            format!("{new_name} exists already; delete it first or choose another name"),
        ));
    }
    let mut transaction = db.write().await?;
    sqlx::query(
        "UPDATE repos SET owner = $1, namespace = $2, name = $3, folded = $4 WHERE id = $5",
    )
    .bind(owner.id.clone())
    .bind(owner.name.clone())
    .bind(name.to_owned())
    .bind(fold(&new_name))
    .bind(repo.id.clone())
    .execute(&mut *transaction)
    .await?;
    for folded in [fold(&new_name), fold(&repo.full_name())] {
        sqlx::query("DELETE FROM moved WHERE kind = $1 AND folded = $2")
            .bind(repo.kind.plural().to_owned())
            .bind(folded)
            .execute(&mut *transaction)
            .await?;
    }
    if fold(&new_name) != fold(&repo.full_name()) {
        sqlx::query("INSERT INTO moved (kind, folded, repo) VALUES ($1, $2, $3)")
            .bind(repo.kind.plural().to_owned())
            .bind(fold(&repo.full_name()))
            .bind(repo.id.clone())
            .execute(&mut *transaction)
            .await?;
    }
    let event = Event {
        action: "repo.move",
        target: &repo.web_path(),
        detail: new_name,
    };
    audit::note(&mut transaction, caller, event).await?;
    transaction.commit().await?;
    Ok(())
}

/// Changes who may see a repository.
pub(crate) async fn update_settings(
    db: &Db,
    caller: &Caller,
    repo: &Repo,
    is_private: bool,
    gated: &str,
) -> Result<()> {
    let mut transaction = db.write().await?;
    sqlx::query("UPDATE repos SET is_private = $1, gated = $2 WHERE id = $3")
        .bind(i64::from(is_private))
        .bind(gated.to_owned())
        .bind(repo.id.clone())
        .execute(&mut *transaction)
        .await?;
    let event = Event {
        action: "repo.update_settings",
        target: &repo.web_path(),
        detail: format!("private={is_private} gated={gated}"),
    };
    audit::note(&mut transaction, caller, event).await?;
    transaction.commit().await?;
    Ok(())
}

/// Adds to the downloads of repositories, by id.
pub(crate) async fn add_downloads(db: &Db, counts: Vec<(String, i64)>) -> Result<()> {
    let mut transaction = db.write().await?;
    for (id, count) in counts {
        sqlx::query("UPDATE repos SET downloads = downloads + $1 WHERE id = $2")
            .bind(count)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// For clients: there is no such repository, or none for this caller.
pub(crate) fn not_found(is_anonymous: bool) -> Error {
    if is_anonymous {
        // As huggingface.co does: whether it exists is told to nobody who does not say who they are.
        return Error::coded(
            401,
            Some(Code::RepoNotFound),
            "Repository not found, or it is private; log in with a token that may read it",
        );
    }
    Error::missing(
        Code::RepoNotFound,
        "Repository not found, or your token may not read it",
    )
}
