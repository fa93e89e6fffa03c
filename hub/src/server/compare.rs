//! What changed between two revisions, file by file. Format: git's documentation, `diff-format`, "Raw output", with the
//! kind and size of the new file before each line, as huggingface.co has it.

use super::Hub;
use super::access::Visit;
use super::info::{is_set, pairs};
use super::reply::set;
use super::tree::Known;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::repos::Repo;
use crate::repos::compare::{Difference, compare};
use crate::repos::git::Entry;
use crate::repos::refs::{self, commit_by_id};
use crate::repos::trees::EMPTY;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Stands for a file that is not there.
const NOTHING: &str = "0000000000000000000000000000000000000000";

/// `BASE..HEAD`, or one revision against what it was made from.
pub(super) async fn raw(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, _, spec)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = pairs(&query.unwrap_or_default());
    if !is_set(&query, "raw") {
        return Err(Error::refused(
            501,
            "this hub compares files, not lines: ask with raw=true, or compare in a clone",
        ));
    }
    let repo = visit.repo()?;
    let (old, new) = trees(&hub.db, repo, &spec).await?;
    let found = compare(&hub.db, &old, &new).await?;
    let both = |one: &Difference| one.old.iter().chain(&one.new).cloned().collect::<Vec<_>>();
    let entries: Vec<Entry> = found.iter().flat_map(both).collect();
    let known = Known::of(&hub.db, repo, entries.iter()).await?;
    let text: String = found.iter().map(|one| line(one, &known)).collect();
    let mut response = text.into_response();
    set(
        response.headers_mut(),
        "content-type",
        "text/plain; charset=utf-8",
    );
    Ok(response)
}

/// The trees that a comparison names.
async fn trees(db: &Db, repo: &Repo, spec: &str) -> Result<(String, String)> {
    if let Some((old, new)) = spec.split_once("..") {
        let old = refs::resolve(db, repo, old).await?;
        let new = refs::resolve(db, repo, new).await?;
        return Ok((old.tree, new.tree));
    }
    let new = refs::resolve(db, repo, spec).await?;
    let parent = match &new.parent {
        Some(parent) => commit_by_id(db, repo, parent).await?,
        None => None,
    };
    let old = parent.map_or_else(|| EMPTY.to_owned(), |parent| parent.tree);
    Ok((old, new.tree))
}

/// A file's line. Large files are the binary ones: what is kept in git reads as text.
fn line(found: &Difference, known: &Known) -> String {
    let status = match (&found.old, &found.new) {
        (None, _) => 'A',
        (_, None) => 'D',
        _ => 'M',
    };
    let last = found.new.as_ref().or(found.old.as_ref());
    let is_large = last.is_some_and(|entry| known.large(entry).is_some());
    let size = found.new.as_ref().map_or(0, |entry| known.size(entry));
    let mode = |entry: &Option<Entry>| entry.as_ref().map_or("000000", Entry::mode);
    let oid = |entry: &Option<Entry>| {
        let oid = entry.as_ref().map(|entry| entry.oid.clone());
        oid.unwrap_or_else(|| NOTHING.to_owned())
    };
    format!(
        "{} {size}\t:{} {} {}... {}... {status}\t{}\n",
        if is_large { 'B' } else { 'T' },
        mode(&found.old),
        mode(&found.new),
        oid(&found.old),
        oid(&found.new),
        found.path
    )
}
