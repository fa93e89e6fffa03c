//! What git pushes: commits, trees and blobs in one pack, and where branches and tags go. Everything is checked
//! before anything is visible, and either all refs of a push move or none.
//!
//! A push's path: [`pack`] unpacks and hashes every object → [`tags`] looks through annotated tags → [`commits`] and
//! [`trees`] walk from the new heads, with [`known`] for what the repository has → one transaction writes objects and
//! moves refs.

mod commits;
mod delta;
mod known;
pub(crate) mod pack;
#[cfg(any(test, fuzzing))]
pub(crate) mod rehearsal;
mod tags;
mod trees;

use super::cards::{self, Telling};
use super::commits::{Pack, PackedBlob, insert_blobs, insert_trees, mark_committed, note_change};
use super::names::{check_ref_name, is_commit_id};
use super::pending::Pending;
use super::refs::{self, Ref};
use super::{Repo, files};
use crate::accounts::{Caller, quota};
use crate::audit::{self, Event};
use crate::db::{Db, LIST, from_hex, new_id, parameters};
use crate::error::{Error, Result};
use crate::objects::{Objects, pack_key};
use commits::PushedCommit;
use known::Known;
use pack::{Id, ObjectKind};
use sqlx::{Any, AssertSqlSafe, Transaction};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use trees::{Found, Problem, Trees};

/// Where a branch or tag goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// Full: `refs/heads/main`.
    pub name: String,
    /// Where the client believes it to be; `None` when it is to be made.
    pub old: Option<String>,
    /// `None` when it is to be removed.
    pub new: Option<String>,
}

/// What every part of a push needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub db: &'a Db,
    pub objects: &'a Objects,
    pub caller: &'a Caller,
    pub repo: &'a Repo,
}

/// Checks a push and carries it out.
///
/// # Errors
/// Refusals in words for the pusher; then nothing has changed.
pub(crate) async fn push(
    target: Target<'_>,
    updates: &[Update],
    pushed: pack::Objects,
) -> Result<()> {
    for update in updates {
        check_name(target, update).await?;
    }
    let (updates, tags) = tags::peel(target, updates, &pushed).await?;
    let commits = new_commits(target, &updates, &pushed).await?;
    let checked = check_trees(target, &commits, &pushed).await?;
    check_pointers(target, &checked.pointers).await?;
    let blobs: HashMap<Id, pack::Stored> = checked
        .blobs
        .iter()
        .filter_map(|id| Some((*id, *pushed.by_id.get(id)?)))
        .collect();
    let bytes = tags.bytes() + blobs.values().map(|blob| blob.size).sum::<u64>();
    quota::check(target.db, &target.repo.owner, bytes).await?;
    let pack = store_blobs(target.objects, Arc::new(pushed), blobs).await?;
    let files = Pending {
        db: target.db,
        objects: target.objects,
        trees: &checked.new,
        pack: &pack,
    };
    let main = main_tells(files, target.repo, &updates, &commits).await?;
    let mut transaction = target.db.write().await?;
    check_parents(&mut transaction, target.repo, &commits).await?;
    insert_blobs(&mut transaction, &pack).await?;
    insert_trees(&mut transaction, &checked.new).await?;
    for commit in &commits {
        insert_commit(&mut transaction, target.repo, commit).await?;
    }
    let large: Vec<&String> = checked.pointers.iter().map(|pointer| &pointer.0).collect();
    mark_committed(&mut transaction, target.repo, &large).await?;
    for update in &updates {
        tags.check(&mut transaction, target.repo, &update.name)
            .await?;
        move_ref(&mut transaction, target, update).await?;
        if update.new.is_some() {
            tags.write(&mut transaction, target.repo, &update.name)
                .await?;
        }
    }
    if let Some((head, telling)) = &main {
        cards::write(&mut transaction, target.caller, target.repo, head, telling).await?;
    }
    note_change(&mut transaction, target.repo, bytes).await?;
    transaction.commit().await?;
    Ok(())
}

/// The new head of `main` and what its files say, if the push moves it.
async fn main_tells(
    files: Pending<'_>,
    repo: &Repo,
    updates: &[Update],
    commits: &[PushedCommit],
) -> Result<Option<(String, Telling)>> {
    let main = updates
        .iter()
        .find(|update| update.name == "refs/heads/main");
    let Some(head) = main.and_then(|update| update.new.clone()) else {
        return Ok(None);
    };
    let tree = match commits.iter().find(|commit| commit.oid == head) {
        Some(new) => hex::encode(new.tree),
        None => match refs::commit_by_id(files.db, repo, &head).await? {
            Some(known) => known.tree,
            // Then the push is refused.
            None => return Ok(None),
        },
    };
    Ok(Some((head, cards::read(files, &tree).await?)))
}

async fn check_name(target: Target<'_>, update: &Update) -> Result<()> {
    let name = &update.name;
    let bad = |problem: &str| Err(Error::bad(format!("{name:?} {problem}")));
    for oid in update.old.iter().chain(&update.new) {
        if !is_commit_id(oid) {
            return bad("is to go from or to something that is no commit");
        }
    }
    if update.new.is_none() && name == "refs/heads/main" {
        return bad("cannot be deleted");
    }
    if let Some(number) = name.strip_prefix("refs/pr/") {
        let exists = refs::target(target.db, target.repo, name).await?.is_some();
        let is_number = number.parse::<u32>().is_ok();
        return if exists && is_number {
            Ok(())
        } else {
            bad("is no open pull request")
        };
    }
    match name
        .strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/tags/"))
    {
        Some(short) => check_ref_name(short),
        None => bad("is no branch, tag or pull request; push to refs/heads/… or refs/tags/…"),
    }
}

/// The commits that the new heads lead to and the repository does not have, children first.
async fn new_commits(
    target: Target<'_>,
    updates: &[Update],
    pushed: &pack::Objects,
) -> Result<Vec<PushedCommit>> {
    let mut open: Vec<String> = updates
        .iter()
        .filter_map(|update| update.new.clone())
        .collect();
    let mut seen: HashSet<String> = open.iter().cloned().collect();
    let mut found = Vec::new();
    while !open.is_empty() {
        let head = "SELECT oid FROM commits WHERE repo = $1 AND oid IN";
        let rows = target
            .db
            .in_list(head, "", &[&target.repo.id], &open)
            .await?;
        let mut stored = HashSet::new();
        for row in rows {
            stored.insert(sqlx::Row::try_get::<String, _>(&row, "oid")?);
        }
        let mut next = Vec::new();
        for oid in open.iter().filter(|oid| !stored.contains(*oid)) {
            let id = from_hex(oid).and_then(|bytes| Id::try_from(bytes).ok());
            let object = id.and_then(|id| Some((id, pushed.get(&id, ObjectKind::Commit)?)));
            let Some((id, object)) = object else {
                return Err(Error::bad(format!(
                    "the commit {oid} is neither here nor in the push; fetch first, or push from a full clone"
                )));
            };
            let commit = commits::parse(&id, pushed.read(object)?)?;
            next.extend(
                commit
                    .parents
                    .iter()
                    .filter(|oid| seen.insert((*oid).clone()))
                    .cloned(),
            );
            found.push(commit);
        }
        open = next;
    }
    Ok(found)
}

/// What the pusher started from: the parents that are here.
fn edges(commits: &[PushedCommit]) -> Vec<String> {
    let new: HashSet<&str> = commits.iter().map(|commit| commit.oid.as_str()).collect();
    let parents: HashSet<&String> = commits.iter().flat_map(|commit| &commit.parents).collect();
    parents
        .into_iter()
        .filter(|oid| !new.contains(oid.as_str()))
        .cloned()
        .collect()
}

/// The parents are still here: one that no branch led to may have been removed since.
async fn check_parents(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    commits: &[PushedCommit],
) -> Result<()> {
    for part in edges(commits).chunks(LIST) {
        let text = format!(
            "SELECT COUNT(*) FROM commits WHERE repo = $1 AND oid IN ({})",
            parameters(2, part.len())
        );
        let mut query = sqlx::query_as(AssertSqlSafe(text)).bind(repo.id.clone());
        for oid in part {
            query = query.bind(oid.clone());
        }
        let (count,): (i64,) = query.fetch_one(&mut **transaction).await?;
        if usize::try_from(count) != Ok(part.len()) {
            return Err(Error::refused(
                409,
                "what this builds on was removed just now; push again",
            ));
        }
    }
    Ok(())
}

async fn check_trees(
    target: Target<'_>,
    commits: &[PushedCommit],
    pushed: &pack::Objects,
) -> Result<Found> {
    let edges = edges(commits);
    let head = "SELECT tree FROM commits WHERE repo = $1 AND oid IN";
    let rows = target
        .db
        .in_list(head, "", &[&target.repo.id], &edges)
        .await?;
    let mut roots = Vec::new();
    for row in rows {
        roots.push(sqlx::Row::try_get(&row, "tree")?);
    }
    let known = Known::load(target.db, target.repo, roots).await?;
    if let Ok(checked) = try_trees(commits, pushed, known)? {
        return Ok(checked);
    }
    // Something from further back, which git saw no reason to send again.
    let mut known = Known::load(target.db, target.repo, Vec::new()).await?;
    known.load_history(target.db, target.repo).await?;
    try_trees(commits, pushed, known)?.map_err(|(path, id)| {
        Error::bad(format!(
            "{path:?} is the object {}, which is neither here nor in the push",
            hex::encode(id)
        ))
    })
}

/// Checks every commit's tree, or says what is missing where.
fn try_trees(
    commits: &[PushedCommit],
    pushed: &pack::Objects,
    known: Known,
) -> Result<std::result::Result<Found, (String, Id)>> {
    let mut trees = Trees::new(pushed, known);
    for commit in commits {
        match trees.check_root(&commit.tree) {
            Ok(()) => {}
            Err(Problem::Missing { path, id }) => return Ok(Err((path, id))),
            Err(Problem::Other(error)) => return Err(error),
        }
    }
    Ok(Ok(trees.finish()))
}

/// Large files have to be here before what points to them.
async fn check_pointers(target: Target<'_>, pointers: &[(String, u64, String)]) -> Result<()> {
    let digests: Vec<String> = pointers.iter().map(|pointer| pointer.0.clone()).collect();
    let known = files::large_to_use(target.db, target.repo, &digests).await?;
    for (sha256, size, path) in pointers {
        match known.get(sha256) {
            Some(large) if large.size == *size => {}
            Some(large) => {
                return Err(Error::bad(format!(
                    "{path:?} points to a large file of {size} bytes, which has {}",
                    large.size
                )));
            }
            None => {
                return Err(Error::bad(format!(
                    "{path:?} points to the large file {sha256}, which was not uploaded; run `git lfs push --all` first"
                )));
            }
        }
    }
    Ok(())
}

/// Copies blobs into a pack of the object store.
async fn store_blobs(
    objects: &Objects,
    pushed: Arc<pack::Objects>,
    blobs: HashMap<Id, pack::Stored>,
) -> Result<Pack> {
    if blobs.is_empty() {
        return Ok(Pack::default());
    }
    let mut spool = objects.spool().await?;
    let mut packed = Vec::with_capacity(blobs.len());
    for (id, stored) in blobs {
        let pushed = Arc::clone(&pushed);
        let content = tokio::task::spawn_blocking(move || pushed.read(stored)).await;
        let content = content.map_err(|error| Error::Damaged(error.to_string()))??;
        packed.push(PackedBlob {
            oid: hex::encode(id),
            size: stored.size,
            start: spool.size(),
        });
        spool.write(&content).await?;
    }
    let pack = Pack {
        id: new_id()?,
        blobs: packed,
    };
    objects.put_spool(&pack_key(&pack.id), spool).await?;
    Ok(pack)
}

async fn insert_commit(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    commit: &PushedCommit,
) -> Result<()> {
    let parents = commit.parents.join(" ");
    sqlx::query(
        "INSERT INTO commits (repo, oid, tree, parent, author, title, message, date_s, raw, request) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '') ON CONFLICT (repo, oid) DO NOTHING",
    )
    .bind(repo.id.clone())
    .bind(commit.oid.clone())
    .bind(hex::encode(commit.tree))
    .bind((!parents.is_empty()).then_some(parents))
    .bind(commit.author.clone())
    .bind(commit.title.clone())
    .bind(commit.message.clone())
    .bind(commit.date_s)
    .bind(commit.raw.clone())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Moves a ref if it is where the pusher saw it.
async fn move_ref(
    transaction: &mut Transaction<'static, Any>,
    target: Target<'_>,
    update: &Update,
) -> Result<()> {
    let (repo, name) = (target.repo, &update.name);
    let (action, query) = match (&update.old, &update.new) {
        (None, None) => return Err(Error::bad(format!("{name:?} goes from nowhere to nowhere"))),
        (None, Some(new)) => {
            let new = Ref {
                name: name.clone(),
                target: new.clone(),
            };
            if !refs::insert(transaction, repo, &new, "").await? {
                return Err(moved(name));
            }
            ("repo.ref.create", None)
        }
        (Some(old), Some(new)) => {
            let text = "UPDATE refs SET target = $4, message = '' WHERE repo = $1 AND name = $2 AND target = $3 \
                        AND EXISTS (SELECT 1 FROM commits WHERE repo = $1 AND oid = $4)";
            (
                "repo.push",
                Some(bound(text, repo, name, old).bind(new.clone())),
            )
        }
        (Some(old), None) => {
            let text = "DELETE FROM refs WHERE repo = $1 AND name = $2 AND target = $3";
            ("repo.ref.delete", Some(bound(text, repo, name, old)))
        }
    };
    if let Some(query) = query
        && query.execute(&mut **transaction).await?.rows_affected() != 1
    {
        return Err(moved(name));
    }
    let show = |oid: &Option<String>| oid.clone().unwrap_or_else(|| "none".to_owned());
    let event = Event {
        action,
        target: &repo.web_path(),
        detail: format!("{name} {} {}", show(&update.old), show(&update.new)),
    };
    audit::note(transaction, target.caller, event).await
}

fn bound(
    text: &'static str,
    repo: &Repo,
    name: &str,
    old: &str,
) -> sqlx::query::Query<'static, Any, sqlx::any::AnyArguments> {
    sqlx::query(text)
        .bind(repo.id.clone())
        .bind(name.to_owned())
        .bind(old.to_owned())
}

fn moved(name: &str) -> Error {
    Error::refused(409, format!("{name} has moved since; fetch first"))
}
