//! Who may refer to which xorb, and how clients find out that a chunk is here already.
//!
//! A xorb may be referred to by whoever has sent it, and by whoever may read a file that uses it. Only those are
//! told of, so a hit reveals nothing that its receiver could not read.

use super::xorbs::Tables;
use crate::accounts::Caller;
use crate::accounts::rights::readable_owners;
use crate::db::{Db, Row, now_ms, parameters, random};
use crate::error::Result;
use crate::operate::{Marked, unmark};
use crate::xet::Hash;
use crate::xet::shard::{ShardBuilder, Stamp, XorbEntry};
use sqlx::Row as _;
use std::collections::HashSet;

/// How long clients may use an answer, seconds. They keep it for three weeks at most.
const ANSWER_S: u64 = 7 * 24 * 3600;
/// Xorbs of one answer.
const MOST: usize = 4;

/// Which of these xorbs exist and may be referred to.
pub(crate) async fn reachable(
    db: &Db,
    caller: &Caller,
    names: &[String],
) -> Result<HashSet<String>> {
    let own = "SELECT xorb AS hash FROM xorb_owners WHERE account = $1 AND xorb IN";
    let own = db.in_list(own, "", &[&caller.user.id], names).await?;
    let mut reached = hashes(&own)?;
    let rest: Vec<String> = names
        .iter()
        .filter(|name| !reached.contains(*name))
        .cloned()
        .collect();
    if rest.is_empty() {
        return Ok(reached);
    }
    let owners = readable_owners(db, caller).await?;
    let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
    let head = "SELECT DISTINCT x.xorb AS hash FROM file_xorbs x JOIN lfs_objects o ON o.xet = x.file \
                JOIN repo_lfs l ON l.sha256 = o.sha256 JOIN repos r ON r.id = l.repo WHERE x.xorb IN";
    let tail = match owners.len() {
        0 => "AND r.is_private = 0".to_owned(),
        // The list's parameters come after these.
        count => format!(
            "AND (r.is_private = 0 OR r.owner IN ({}))",
            parameters(1, count)
        ),
    };
    reached.extend(hashes(&db.in_list(head, &tail, &owners, &rest).await?)?);
    Ok(reached)
}

fn hashes(rows: &[Row]) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for row in rows {
        found.insert(row.try_get("hash")?);
    }
    Ok(found)
}

/// Notes a chunk (first) that a xorb (second) can be found by.
pub(super) async fn note_chunk(
    transaction: &mut sqlx::Transaction<'static, sqlx::Any>,
    (chunk, xorb): &(Hash, Hash),
) -> Result<()> {
    sqlx::query(
        "INSERT INTO dedup_chunks (chunk, xorb) VALUES ($1, $2) ON CONFLICT (chunk, xorb) DO NOTHING",
    )
    .bind(chunk.to_string())
    .bind(xorb.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// A shard of xorbs that have a chunk; `None` when there is none that the caller may refer to. Hashes in it are
/// shielded by a key of its own: only whoever has a chunk recognises it.
pub(crate) async fn answer(db: &Db, caller: &Caller, chunk: &Hash) -> Result<Option<Vec<u8>>> {
    let rows = sqlx::query("SELECT xorb AS hash FROM dedup_chunks WHERE chunk = $1 LIMIT 100")
        .bind(chunk.to_string())
        .fetch_all(db.pool())
        .await?;
    let names: Vec<String> = hashes(&rows)?.into_iter().collect();
    let mut reached: Vec<String> = reachable(db, caller, &names).await?.into_iter().collect();
    reached.sort();
    reached.truncate(MOST);
    // Whoever is told of a xorb may refer to it for weeks.
    unmark(db, Marked::Xorb, &reached).await?;
    let mut tables = Tables::new(db);
    let mut shard = ShardBuilder::new();
    for name in reached {
        let Ok(hash) = name.parse::<Hash>() else {
            continue;
        };
        if let Some(table) = tables.get(&hash).await? {
            shard.add_xorb(XorbEntry::of(hash, &table))?;
        }
    }
    if shard.is_empty() {
        return Ok(None);
    }
    let key = Hash::from_bytes(random()?);
    let now = u64::try_from(now_ms() / 1000).unwrap_or(0);
    let stamp = Stamp {
        created: now,
        expires: now + ANSWER_S,
    };
    Ok(Some(shard.answer(&key, stamp)))
}
