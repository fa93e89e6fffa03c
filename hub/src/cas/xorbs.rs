//! Xorbs: checked while they arrive, stored once, with their tables in the database.

use super::dedup::note_chunk;
use crate::accounts::Caller;
use crate::db::{Db, now_ms};
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::{Objects, Spool, xorb_key};
use crate::operate::{Marked, unmark};
use crate::xet::xorb::{XorbCheck, XorbTable};
use crate::xet::{Hash, is_dedup_eligible};
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;
use lru::LruCache;
use sqlx::Row;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that go to another thread at a time, so that going there costs little.
const BATCH: usize = 512 * 1024;

/// Receives a xorb, checks it in whole and stores it; false when it was there before.
pub(crate) async fn store(
    db: &Db,
    objects: &Objects,
    caller: &Caller,
    hash: &Hash,
    body: Body,
) -> Result<bool> {
    let (table, spool) = receive(objects, hash, body).await?;
    let name = hash.to_string();
    // Before looking: what is in use from here on is not removed meanwhile.
    unmark(db, Marked::Xorb, std::slice::from_ref(&name)).await?;
    let is_new = !exists(db, &name).await?;
    if is_new {
        objects.put_spool(&xorb_key(&name), spool).await?;
    }
    let received = Received {
        hash: *hash,
        table,
        is_new,
    };
    write_down(db, objects, caller, &received).await?;
    Ok(is_new)
}

/// A checked xorb whose object is stored.
#[derive(Debug)]
pub(super) struct Received {
    pub hash: Hash,
    pub table: XorbTable,
    /// Whether its object was stored just now; otherwise there was a row.
    pub is_new: bool,
}

/// Writes a xorb down, and that the caller may refer to it.
pub(super) async fn write_down(
    db: &Db,
    objects: &Objects,
    caller: &Caller,
    received: &Received,
) -> Result<()> {
    let Received {
        hash,
        table,
        is_new,
    } = received;
    let name = hash.to_string();
    let mut transaction = db.write().await?;
    let done = sqlx::query(
        "INSERT INTO xorbs (hash, size, chunks, created_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING",
    )
    .bind(name.clone())
    .bind(i64::from(table.packed_len()))
    .bind(table.to_footer())
    .bind(now_ms())
    .execute(&mut *transaction)
    .await?;
    // Nothing is removed from here on.
    let is_here =
        !is_new || objects.size(&xorb_key(&name)).await? == Some(u64::from(table.packed_len()));
    if !is_here || (!is_new && done.rows_affected() > 0) {
        return Err(Error::refused(
            503,
            "the xorb was removed just now; send it again",
        ));
    }
    // Whoever sent all of its bytes may refer to it, new or not.
    sqlx::query(
        "INSERT INTO xorb_owners (xorb, account) VALUES ($1, $2) ON CONFLICT (xorb, account) DO NOTHING",
    )
    .bind(name)
    .bind(caller.user.id.clone())
    .execute(&mut *transaction)
    .await?;
    for chunk in table
        .hashes()
        .iter()
        .filter(|chunk| is_dedup_eligible(chunk))
    {
        note_chunk(&mut transaction, &(*chunk, *hash)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// A xorb that is being checked and stored.
#[derive(Debug)]
struct Arriving {
    check: XorbCheck,
    spool: Spool,
}

impl Arriving {
    /// Takes the next bytes in, on a thread that may compute for milliseconds.
    fn take(mut self, pieces: &[Bytes]) -> Result<Self> {
        for piece in pieces {
            if self.spool.size() + piece.len() as u64 > limits::XORB {
                return Err(Error::refused(
                    413,
                    format!("a xorb has at most {} bytes", limits::XORB),
                ));
            }
            self.spool.write_here(piece)?;
            self.check.push(piece)?;
        }
        Ok(self)
    }
}

/// Stores the packed chunks only: a footer is checked and left out, since tables are in the database.
async fn receive(objects: &Objects, hash: &Hash, body: Body) -> Result<(XorbTable, Spool)> {
    let mut arriving = Arriving {
        check: XorbCheck::new(),
        spool: objects.spool().await?,
    };
    let mut body = body.into_data_stream();
    let mut pieces = next_batch(&mut body).await?;
    while !pieces.is_empty() {
        let taken = tokio::task::spawn_blocking(move || arriving.take(&pieces));
        // The next bytes arrive meanwhile.
        let next = next_batch(&mut body).await;
        arriving = taken
            .await
            .map_err(|error| Error::Damaged(format!("the check of a xorb: {error}")))??;
        pieces = next?;
    }
    let table = arriving.check.finish(hash)?;
    Ok((table, arriving.spool))
}

/// What arrives next, at least [`BATCH`] bytes unless the body ends; nothing at its end.
async fn next_batch(body: &mut BodyDataStream) -> Result<Vec<Bytes>> {
    let (mut pieces, mut size) = (Vec::new(), 0);
    while size < BATCH
        && let Some(piece) = body.next().await
    {
        let piece = piece.map_err(|error| Error::bad(format!("the xorb broke off: {error}")))?;
        size += piece.len();
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    Ok(pieces)
}

/// Whether a xorb is stored.
pub(crate) async fn exists(db: &Db, hash: &str) -> Result<bool> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT size FROM xorbs WHERE hash = $1")
        .bind(hash.to_owned())
        .fetch_optional(db.pool())
        .await?;
    Ok(row.is_some())
}

/// Tables of xorbs, the last few kept: they never change. That a table is kept does not say that its xorb is still
/// there, which whoever asks has learned from a row that refers to it.
#[derive(Debug)]
pub(crate) struct Tables {
    db: Db,
    kept: Mutex<LruCache<Hash, Arc<XorbTable>>>,
}

/// Tables that are kept; the largest has 330 kB.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

impl Tables {
    pub(crate) fn new(db: &Db) -> Self {
        Self {
            db: db.clone(),
            kept: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// The database that has them.
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<Hash, Arc<XorbTable>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table of a xorb; `None` when there is no such xorb.
    pub(crate) async fn get(&self, hash: &Hash) -> Result<Option<Arc<XorbTable>>> {
        if let Some(table) = self.kept().get(hash) {
            return Ok(Some(Arc::clone(table)));
        }
        let row = sqlx::query("SELECT chunks FROM xorbs WHERE hash = $1")
            .bind(hash.to_string())
            .fetch_optional(self.db.pool())
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let footer: Vec<u8> = row.try_get("chunks")?;
        let table = XorbTable::from_footer(&footer)
            .map_err(|error| Error::Damaged(format!("the table of xorb {hash}: {error}")))?;
        let table = Arc::new(table);
        self.kept().put(*hash, Arc::clone(&table));
        Ok(Some(table))
    }
}
