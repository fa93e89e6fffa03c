//! Who may refer to which xorb, and how clients find out that a chunk is here already.
//!
//! A xorb may be referred to by whoever has sent it, and by whoever may read a file that uses it. Only those are
//! told of, so a hit reveals nothing that its receiver could not read.
//!
//! Clients ask for the first chunk of a file and for one in a thousand after that, and send what they meet before a
//! hit. So an answer tells not only of the xorb that has the chunk but of what follows it in the files that use it:
//! a new client that changes a large file then finds all of the file by its first chunk.

use super::files::terms;
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
/// Xorbs of one answer that have the chunk.
const MOST: usize = 4;
/// Files, the newest, whose other xorbs are told of.
const FILES: i64 = 4;
/// Xorbs that are told of beside those.
const BESIDE: usize = 64;
/// Chunks of one answer, each 48 bytes: 2 GB of files, and 1.6 MB.
const CHUNKS: usize = 32 * 1024;
/// Memory that an answer takes with the tables that it is made of, MiB.
pub(crate) const ANSWER_MIB: u32 = 4;

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

/// Xorbs that come after one of these in files that use them, in the files' order.
async fn following(db: &Db, xorbs: &[String]) -> Result<Vec<String>> {
    let tail = format!("ORDER BY f.created_ms DESC, f.hash LIMIT {FILES}");
    let head = "SELECT DISTINCT f.hash AS hash, f.created_ms FROM file_xorbs x JOIN xet_files f ON f.hash = x.file \
                WHERE x.xorb IN";
    let mut seen: HashSet<String> = xorbs.iter().cloned().collect();
    let mut found = Vec::new();
    for row in db.in_list(head, &tail, &[], xorbs).await? {
        let terms = terms(db, row.try_get("hash")?).await?.unwrap_or_default();
        let names = terms.iter().map(|term| term.xorb.to_string());
        let from_here = names.skip_while(|name| !xorbs.contains(name));
        found.extend(from_here.filter(|name| seen.insert(name.clone())));
    }
    found.truncate(BESIDE);
    Ok(found)
}

/// A shard of xorbs that have a chunk and of what follows them in files; `None` when there is none that the caller may refer to. Hashes in it are
/// shielded by a key of its own: only whoever has a chunk recognises it.
pub(crate) async fn answer(
    tables: &Tables,
    caller: &Caller,
    chunk: &Hash,
) -> Result<Option<Vec<u8>>> {
    let db = tables.db();
    let rows = sqlx::query("SELECT xorb AS hash FROM dedup_chunks WHERE chunk = $1 LIMIT 100")
        .bind(chunk.to_string())
        .fetch_all(db.pool())
        .await?;
    let names: Vec<String> = hashes(&rows)?.into_iter().collect();
    let mut reached: Vec<String> = reachable(db, caller, &names).await?.into_iter().collect();
    reached.sort();
    reached.truncate(MOST);
    let beside = following(db, &reached).await?;
    let may_be_told = reachable(db, caller, &beside).await?;
    reached.extend(beside.into_iter().filter(|name| may_be_told.contains(name)));
    // Whoever is told of a xorb may refer to it for weeks.
    unmark(db, Marked::Xorb, &reached).await?;
    // `gc` may have been faster; tables of what it removed can still be in memory.
    let still = reachable(db, caller, &reached).await?;
    reached.retain(|name| still.contains(name));
    let mut shard = ShardBuilder::new();
    let mut chunks = 0;
    for (index, name) in reached.iter().enumerate() {
        let Ok(hash) = name.parse::<Hash>() else {
            continue;
        };
        let Some(table) = tables.get(&hash).await? else {
            continue;
        };
        chunks += table.len();
        if index >= MOST && chunks > CHUNKS {
            break;
        }
        shard.add_xorb(XorbEntry::of(hash, &table))?;
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
