//! Xorbs that clients bring to the object store by themselves, past the hub, and that the hub checks there.
//!
//! Whoever was given an address can write to it again as long as it works. So what is checked is a copy, to which
//! nobody has an address, and what becomes visible is that copy.

use super::xorbs::{Received, write_down};
use crate::accounts::Caller;
use crate::db::{Db, new_id};
use crate::error::{Error, Result};
use crate::objects::{Objects, grant_key, xorb_key};
use crate::operate::{Marked, unmark};
use crate::xet::Hash;
use crate::xet::xorb::{XorbCheck, XorbTable};
use futures_util::StreamExt;

/// What was brought, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brought<'a> {
    pub hash: &'a Hash,
    /// Id of the grant.
    pub id: &'a str,
    /// Bytes, as they were announced.
    pub len: u64,
}

/// Checks what was brought and makes it a xorb; false when nothing was brought.
pub(crate) async fn commit(
    db: &Db,
    objects: &Objects,
    caller: &Caller,
    brought: Brought<'_>,
) -> Result<bool> {
    let (staged, own) = (grant_key(brought.id), grant_key(&new_id()?));
    if !objects.copy(&staged, &own).await? {
        return Ok(false);
    }
    let done = check_and_keep(db, objects, caller, brought, &own).await;
    objects.delete(&own).await?;
    done?;
    tracing::debug!("xorb {} was brought to the store", brought.hash);
    objects.delete(&staged).await?;
    Ok(true)
}

async fn check_and_keep(
    db: &Db,
    objects: &Objects,
    caller: &Caller,
    brought: Brought<'_>,
    own: &str,
) -> Result<()> {
    let found = objects.size(own).await?;
    if found != Some(brought.len) {
        return Err(Error::bad(format!(
            "{} bytes were announced and {} have arrived; upload the xorb again",
            brought.len,
            found.unwrap_or(0)
        )));
    }
    let table = check(objects, own, brought).await?;
    let name = brought.hash.to_string();
    // Before looking: what is in use from here on is not removed meanwhile.
    unmark(db, Marked::Xorb, std::slice::from_ref(&name)).await?;
    let is_new = !super::xorbs::exists(db, &name).await?;
    if is_new {
        keep(objects, own, &xorb_key(&name), &table, brought.len).await?;
    }
    let received = Received {
        hash: *brought.hash,
        table,
        is_new,
    };
    write_down(db, objects, caller, &received).await
}

async fn check(objects: &Objects, own: &str, brought: Brought<'_>) -> Result<XorbTable> {
    let mut check = XorbCheck::new();
    let mut stream = objects.stream(own, 0..brought.len).await?;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(Error::io("read a xorb back"))?;
        // Unpacking takes milliseconds; other requests of this thread should not wait for it.
        let checked = tokio::task::spawn_blocking(move || check.push(&piece).map(|()| check)).await;
        check =
            checked.map_err(|error| Error::Damaged(format!("the check of a xorb: {error}")))??;
    }
    Ok(check.finish(brought.hash)?)
}

/// Stores the packed chunks only: tables are in the database.
async fn keep(objects: &Objects, own: &str, key: &str, table: &XorbTable, len: u64) -> Result<()> {
    let packed = u64::from(table.packed_len());
    if packed == len {
        return match objects.copy(own, key).await? {
            true => Ok(()),
            false => Err(Error::Damaged(format!("the object {own} is gone"))),
        };
    }
    let mut spool = objects.spool().await?;
    let stream = objects.stream(own, 0..packed).await?;
    spool.fill(stream, packed, |_| {}).await?;
    objects.put_spool(key, spool).await
}
