//! Writing commits: all of one in one transaction, or nothing.

use super::Repo;
use super::cards::{self, Telling};
use super::edit::{Change, Edit};
use super::git::{CommitText, EncodedTree, Facts, encode_commit, object_id};
use super::pending::Pending;
use super::refs::{self, Commit, Ref};
use super::trees::EMPTY;
use crate::accounts::{Caller, quota};
use crate::audit::{self, Event};
use crate::db::{Db, now_ms, parameters, value_rows};
use crate::error::{Error, Result};
use crate::objects::Objects;
use sqlx::{Any, AssertSqlSafe, Transaction};

/// How often a commit is tried again when others move the branch at the same moment.
const TRIES: usize = 20;

/// A blob that lies in a pack.
#[derive(Debug, Clone)]
pub(crate) struct PackedBlob {
    pub oid: String,
    pub size: u64,
    pub start: u64,
}

/// Blobs of a commit, already in the object store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pack {
    /// Id of the pack; without blobs there is none.
    pub id: String,
    pub blobs: Vec<PackedBlob>,
}

impl Pack {
    /// Bytes of its blobs.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// What a client asks to commit.
#[derive(Debug)]
pub(crate) struct Request {
    pub title: String,
    pub description: String,
    /// The commit that the client believes to be the newest.
    pub parent: Option<String>,
    pub changes: Vec<Change>,
    pub pack: Pack,
    /// Digest of the request, by which its repetition is known.
    pub digest: String,
}

/// Commits to a branch (full name) and returns the branch's new head.
pub(crate) async fn commit(
    db: &Db,
    objects: &Objects,
    caller: &Caller,
    repo: &Repo,
    branch: &str,
    request: &Request,
) -> Result<Commit> {
    quota::check(db, &repo.owner, request.pack.bytes()).await?;
    for _ in 0..TRIES {
        let head = head(db, repo, branch).await?;
        if let Some(head) = &head
            && repeats(db, repo, head, request).await?
        {
            return Ok(head.clone());
        }
        check_parent(request, head.as_ref())?;
        let root = head.as_ref().map_or(EMPTY, |head| head.tree.as_str());
        let trees = edit(db, root, &request.changes).await?;
        let tree = trees
            .last()
            .map_or(EMPTY, |tree| tree.oid.as_str())
            .to_owned();
        if let Some(head) = &head
            && head.tree == tree
        {
            // Nothing changes: a repeated or an idle commit.
            return Ok(head.clone());
        }
        let new = new_commit(caller, head.as_ref(), &tree, request);
        let files = Pending {
            db,
            objects,
            trees: &trees,
            pack: &request.pack,
        };
        let telling = match branch {
            "refs/heads/main" => Some(cards::read(files, &tree).await?),
            _ => None,
        };
        let (head, telling) = (head.as_ref(), telling.as_ref());
        if write(
            db, caller, repo, branch, head, &new, &trees, request, telling,
        )
        .await?
        {
            return Ok(new);
        }
    }
    Err(Error::refused(
        409,
        "the branch moved too often while this was committed; try again",
    ))
}

async fn head(db: &Db, repo: &Repo, branch: &str) -> Result<Option<Commit>> {
    match refs::target(db, repo, branch).await? {
        Some(oid) => refs::commit_by_id(db, repo, &oid).await,
        // Only the first commit of all makes its branch.
        None if branch == "refs/heads/main" => Ok(None),
        None => refs::resolve(db, repo, branch).await.map(Some),
    }
}

/// Whether the newest commit was made by this very request, whose answer got lost.
async fn repeats(db: &Db, repo: &Repo, head: &Commit, request: &Request) -> Result<bool> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT request FROM commits WHERE repo = $1 AND oid = $2")
            .bind(repo.id.clone())
            .bind(head.oid.clone())
            .fetch_optional(db.pool())
            .await?;
    Ok(row.is_some_and(|row| row.0 == request.digest))
}

fn check_parent(request: &Request, head: Option<&Commit>) -> Result<()> {
    match (&request.parent, head) {
        (Some(parent), Some(head)) if !head.oid.starts_with(parent.as_str()) => {
            Err(Error::refused(
                412,
                format!(
                    "A commit has happened since: the branch is at {}, the request expects {parent}. Please refresh and try again.",
                    head.oid
                ),
            ))
        }
        _ => Ok(()),
    }
}

async fn edit(db: &Db, root: &str, changes: &[Change]) -> Result<Vec<EncodedTree>> {
    let mut edit = Edit::start(db, root).await?;
    for change in changes {
        edit.apply(change.clone()).await?;
    }
    edit.finish()
}

fn new_commit(caller: &Caller, head: Option<&Commit>, tree: &str, request: &Request) -> Commit {
    let message = if request.description.is_empty() {
        request.title.clone()
    } else {
        format!("{}\n\n{}", request.title, request.description)
    };
    // A commit is never older than its parent.
    let date_s = (now_ms() / 1000).max(head.map_or(0, |head| head.date_s));
    let mut commit = Commit {
        oid: String::new(),
        tree: tree.to_owned(),
        parent: head.map(|head| head.oid.clone()),
        author: caller.user.name.clone(),
        title: request.title.clone(),
        message,
        date_s,
    };
    commit.oid = object_id("commit", &raw(&commit));
    commit
}

fn raw(commit: &Commit) -> Vec<u8> {
    encode_commit(&CommitText {
        tree: &commit.tree,
        parent: commit.parent.as_deref(),
        author: &commit.author,
        email: &format!("{}@users.noreply.hub", commit.author),
        date_s: commit.date_s,
        message: &commit.message,
    })
}

/// Writes everything and moves the branch; false when the branch had moved.
#[allow(
    clippy::too_many_arguments,
    reason = "one caller, and each is a different thing"
)]
async fn write(
    db: &Db,
    caller: &Caller,
    repo: &Repo,
    branch: &str,
    head: Option<&Commit>,
    new: &Commit,
    trees: &[EncodedTree],
    request: &Request,
    telling: Option<&Telling>,
) -> Result<bool> {
    let mut transaction = db.write().await?;
    insert_blobs(&mut transaction, &request.pack).await?;
    insert_trees(&mut transaction, trees).await?;
    insert_commit(&mut transaction, repo, new, &request.digest).await?;
    mark_committed(&mut transaction, repo, &large_of(&request.changes)).await?;
    if !advance(&mut transaction, repo, branch, head, new).await? {
        return Ok(false);
    }
    if let Some(telling) = telling {
        cards::write(&mut transaction, caller, repo, &new.oid, telling).await?;
    }
    note_change(&mut transaction, repo, request.pack.bytes()).await?;
    let event = Event {
        action: "repo.commit",
        target: &repo.web_path(),
        detail: format!("{branch} {}", new.oid),
    };
    audit::note(&mut transaction, caller, event).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Notes when a repository changed, and what came with it.
pub(super) async fn note_change(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    bytes: u64,
) -> Result<()> {
    sqlx::query("UPDATE repos SET modified_ms = $1, git_bytes = git_bytes + $2 WHERE id = $3")
        .bind(now_ms())
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .bind(repo.id.clone())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn advance(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    branch: &str,
    head: Option<&Commit>,
    new: &Commit,
) -> Result<bool> {
    let Some(head) = head else {
        let first = Ref {
            name: branch.to_owned(),
            target: new.oid.clone(),
        };
        return refs::insert(transaction, repo, &first, "").await;
    };
    let done =
        sqlx::query("UPDATE refs SET target = $1 WHERE repo = $2 AND name = $3 AND target = $4")
            .bind(new.oid.clone())
            .bind(repo.id.clone())
            .bind(branch.to_owned())
            .bind(head.oid.clone())
            .execute(&mut **transaction)
            .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn insert_blobs(
    transaction: &mut Transaction<'static, Any>,
    pack: &Pack,
) -> Result<()> {
    // In one order, so that no two writers wait for each other.
    let mut blobs: Vec<&PackedBlob> = pack.blobs.iter().collect();
    blobs.sort_by(|a, b| a.oid.cmp(&b.oid));
    for part in blobs.chunks(200) {
        let text = format!(
            "INSERT INTO blobs (oid, size, pack, start) VALUES {} ON CONFLICT (oid) DO NOTHING",
            value_rows(part.len(), 4)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for blob in part {
            query = query
                .bind(blob.oid.clone())
                .bind(i64::try_from(blob.size).unwrap_or(i64::MAX))
                .bind(pack.id.clone())
                .bind(i64::try_from(blob.start).unwrap_or(i64::MAX));
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

pub(crate) async fn insert_trees(
    transaction: &mut Transaction<'static, Any>,
    trees: &[EncodedTree],
) -> Result<()> {
    let mut trees: Vec<&EncodedTree> = trees.iter().collect();
    trees.sort_by(|a, b| a.oid.cmp(&b.oid));
    for tree in trees {
        sqlx::query(
            "INSERT INTO trees (oid, raw, facts) VALUES ($1, $2, $3) ON CONFLICT (oid) DO NOTHING",
        )
        .bind(tree.oid.clone())
        .bind(tree.raw.clone())
        .bind(tree.facts.clone())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

async fn insert_commit(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    new: &Commit,
    digest: &str,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO commits (repo, oid, tree, parent, author, title, message, date_s, raw, request) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (repo, oid) DO NOTHING",
    )
    .bind(repo.id.clone())
    .bind(new.oid.clone())
    .bind(new.tree.clone())
    .bind(new.parent.clone())
    .bind(new.author.clone())
    .bind(new.title.clone())
    .bind(new.message.clone())
    .bind(new.date_s)
    .bind(raw(new))
    .bind(digest.to_owned())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Large files that a commit names.
fn large_of(changes: &[Change]) -> Vec<&String> {
    let large = changes.iter().filter_map(|change| match change {
        Change::Put {
            facts: Facts::Pointer { sha256, .. },
            ..
        } => Some(sha256),
        _ => None,
    });
    large.collect()
}

/// Large files that a commit names stay with the repository for good.
pub(super) async fn mark_committed(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    large: &[&String],
) -> Result<()> {
    for part in large.chunks(crate::db::LIST) {
        let text = format!(
            "UPDATE repo_lfs SET is_committed = 1 WHERE repo = $1 AND sha256 IN ({})",
            parameters(2, part.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(repo.id.clone());
        for sha256 in part {
            query = query.bind((*sha256).clone());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Replaces a branch's history by one commit with the same files.
pub(crate) async fn squash(
    db: &Db,
    caller: &Caller,
    repo: &Repo,
    branch: &str,
    message: &str,
) -> Result<Commit> {
    let Some(head) = head(db, repo, branch).await? else {
        return refs::resolve(db, repo, branch).await;
    };
    let request = Request {
        title: message.lines().next().unwrap_or("Squash").to_owned(),
        description: String::new(),
        parent: None,
        changes: Vec::new(),
        pack: Pack::default(),
        digest: String::new(),
    };
    let new = new_commit(caller, None, &head.tree, &request);
    let is_written = write(
        db,
        caller,
        repo,
        branch,
        Some(&head),
        &new,
        &[],
        &request,
        None,
    )
    .await?;
    if is_written {
        Ok(new)
    } else {
        Err(Error::refused(409, "the branch moved meanwhile; try again"))
    }
}
