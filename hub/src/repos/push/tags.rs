//! Annotated tags of a push: the rest of it only deals with the commits that they are on.

use super::pack::{self, Id, ObjectKind};
use super::{Target, Update, moved};
use crate::db::from_hex;
use crate::error::{Error, Result};
use crate::repos::Repo;
use crate::repos::refs::{self, Listed};
use crate::repos::tags::{self, TagObject};
use sqlx::{Any, Transaction};
use std::collections::HashMap;

/// Tag objects by the full names of their refs.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Which the pusher saw there.
    old: HashMap<String, String>,
    new: HashMap<String, TagObject>,
}

/// Puts commits in place of the tag objects that updates go from and to.
pub(super) async fn peel(
    target: Target<'_>,
    updates: &[Update],
    pushed: &pack::Objects,
) -> Result<(Vec<Update>, Tags)> {
    let listed = refs::all(target.db, target.repo).await?;
    let mut found = Tags::default();
    let mut peeled = Vec::with_capacity(updates.len());
    for update in updates {
        let mut update = update.clone();
        let here = listed.iter().find(|one| one.name == update.name);
        if let Some((here, tag)) = here.and_then(|here| Some((here, here.tag.as_ref()?))) {
            if update.old.as_ref() != Some(tag) {
                return Err(moved(&update.name));
            }
            update.old = Some(here.target.clone());
            found.old.insert(update.name.clone(), tag.clone());
        }
        if let Some(oid) = &update.new
            && let Some(tag) = tag_object(target, oid, pushed, &listed).await?
        {
            if !update.name.starts_with("refs/tags/") {
                return Err(Error::bad(format!(
                    "{:?} is to go to a tag; branches go to commits",
                    update.name
                )));
            }
            update.new = Some(tag.commit.clone());
            found.new.insert(update.name.clone(), tag);
        }
        peeled.push(update);
    }
    Ok((peeled, found))
}

/// The tag object of an id, from the push or from the repository.
async fn tag_object(
    target: Target<'_>,
    oid: &str,
    pushed: &pack::Objects,
    listed: &[Listed],
) -> Result<Option<TagObject>> {
    let id = from_hex(oid).and_then(|bytes| Id::try_from(bytes).ok());
    if let Some(stored) = id.and_then(|id| pushed.get(&id, ObjectKind::Tag)) {
        return tags::parse(oid, pushed.read(stored)?).map(Some);
    }
    if !listed.iter().any(|one| one.tag.as_deref() == Some(oid)) {
        return Ok(None);
    }
    let mut known = tags::read(target.db, target.repo, &[oid.to_owned()]).await?;
    known
        .remove(oid)
        .map(|raw| tags::parse(oid, raw))
        .transpose()
}

impl Tags {
    /// Bytes of those that the push sets.
    pub(super) fn bytes(&self) -> u64 {
        self.new.values().map(|tag| tag.raw.len() as u64).sum()
    }

    /// A ref still has the tag object that the pusher saw there.
    pub(super) async fn check(
        &self,
        transaction: &mut Transaction<'static, Any>,
        repo: &Repo,
        name: &str,
    ) -> Result<()> {
        if tags::at(transaction, repo, name).await?.as_ref() == self.old.get(name) {
            Ok(())
        } else {
            Err(moved(name))
        }
    }

    /// Gives a ref that has moved its tag object.
    pub(super) async fn write(
        &self,
        transaction: &mut Transaction<'static, Any>,
        repo: &Repo,
        name: &str,
    ) -> Result<()> {
        tags::set(transaction, repo, name, self.new.get(name)).await
    }
}
