//! Removing what nothing refers to, in two steps: what is found unused is marked, and what was unused at every run for
//! thirty days is removed. Run it daily. Whoever refers to something marked takes the mark away.

mod dead;

use crate::db::{Db, now_ms, parameters};
use crate::error::{Error, Result};
use crate::objects::{GRANTS, KINDS, Listed};
use crate::server::Hub;
pub(crate) use dead::Kind;
use dead::{Dead, Marks};
use futures_util::StreamExt;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};
use std::collections::HashSet;
use std::time::Duration;

/// Clients refer to xorbs that they have known for up to four weeks; nothing younger than this is removed.
pub const KEPT_AT_LEAST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcOptions {
    /// Only what has been unused for longer; never less than [`KEPT_AT_LEAST`].
    pub older_than: Duration,
    /// Only count.
    pub is_dry_run: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            older_than: KEPT_AT_LEAST,
            is_dry_run: false,
        }
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcReport {
    /// What is unused now, whether for long enough or not.
    pub unused: u64,
    /// Commits that no branch or tag leads to.
    pub commits: u64,
    /// Trees and blobs of git.
    pub git_objects: u64,
    /// Large files, those that a repository has no more among them.
    pub files: u64,
    /// Xorbs.
    pub xorbs: u64,
    /// Objects of the store, packs among them.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Removes what nothing refers to and has been unused for long enough.
///
/// # Errors
/// When `older_than` is too short, or the database or the store fails.
pub async fn gc(hub: &Hub, options: &GcOptions) -> Result<GcReport> {
    if options.older_than < KEPT_AT_LEAST {
        return Err(Error::bad(
            "clients may refer to what they have known for 30 days; nothing younger can be removed",
        ));
    }
    let age_ms = i64::try_from(options.older_than.as_millis()).unwrap_or(i64::MAX);
    let since = marks(&hub.db).await?;
    let limit_ms = now_ms() - age_ms;
    let dead = Dead::find(&hub.db, &since, limit_ms).await?;
    let due: HashSet<&(Kind, String)> = dead.all().filter(|key| dead.is_due(key)).collect();
    let mut report = GcReport {
        unused: dead.all().count() as u64,
        ..GcReport::default()
    };
    count(&mut report, due.iter().copied());
    if options.is_dry_run {
        return Ok(report);
    }
    mark(&hub.db, &dead, &since).await?;
    if !due.is_empty() {
        remove(&hub.db, &due, limit_ms).await?;
    }
    sweep(hub, options.older_than, &mut report).await?;
    Ok(report)
}

fn count<'a>(report: &mut GcReport, keys: impl Iterator<Item = &'a (Kind, String)>) {
    for (kind, _) in keys {
        match kind {
            Kind::Commit => report.commits += 1,
            Kind::Tree | Kind::Blob => report.git_objects += 1,
            Kind::Link | Kind::Large | Kind::File => report.files += 1,
            Kind::Xorb => report.xorbs += 1,
        }
    }
}

async fn marks(db: &Db) -> Result<Marks> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT kind, id, since_ms FROM gc_marks")
            .fetch_all(db.pool())
            .await?;
    let mark = |(kind, id, since): (String, String, i64)| Some(((Kind::parse(&kind)?, id), since));
    Ok(rows.into_iter().filter_map(mark).collect())
}

/// Marks what is unused now and was not before, and takes the marks of everything else away.
async fn mark(db: &Db, dead: &Dead<'_>, known: &Marks) -> Result<()> {
    let now = now_ms();
    let mut transaction = db.write().await?;
    for (kind, id) in known.keys().filter(|key| !dead.has(key)) {
        sqlx::query("DELETE FROM gc_marks WHERE kind = $1 AND id = $2")
            .bind(kind.as_str().to_owned())
            .bind(id.clone())
            .execute(&mut *transaction)
            .await?;
    }
    for (kind, id) in dead.all().filter(|key| !known.contains_key(*key)) {
        sqlx::query("INSERT INTO gc_marks (kind, id, since_ms) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO NOTHING")
            .bind(kind.as_str().to_owned())
            .bind(id.clone())
            .bind(now)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Removes rows while nobody else writes. What has come into use meanwhile stays.
async fn remove(db: &Db, due: &HashSet<&(Kind, String)>, limit_ms: i64) -> Result<()> {
    let mut transaction = db.exclusive().await?;
    // A mark that is gone: somebody was told of it just now.
    let still = marks(db).await?;
    let dead = Dead::find(db, &still, limit_ms).await?;
    let kept = |key: &&&(Kind, String)| dead.is_due(key);
    for kind in Kind::IN_ORDER {
        let ids: Vec<&String> = due
            .iter()
            .filter(kept)
            .filter(|key| key.0 == kind)
            .map(|key| &key.1)
            .collect();
        for part in ids.chunks(200) {
            delete(&mut transaction, kind, part).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

async fn delete(
    transaction: &mut Transaction<'static, Any>,
    kind: Kind,
    ids: &[&String],
) -> Result<()> {
    let list = parameters(1, ids.len());
    let rows = match kind {
        // Keys of two columns are told apart by the slash between them.
        Kind::Commit => format!("DELETE FROM commits WHERE repo || '/' || oid IN ({list})"),
        Kind::Link => format!("DELETE FROM repo_lfs WHERE repo || '/' || sha256 IN ({list})"),
        Kind::Tree => format!("DELETE FROM trees WHERE oid IN ({list})"),
        Kind::Blob => format!("DELETE FROM blobs WHERE oid IN ({list})"),
        Kind::Large => format!("DELETE FROM lfs_objects WHERE sha256 IN ({list})"),
        Kind::File => format!("DELETE FROM xet_files WHERE hash IN ({list})"),
        Kind::Xorb => format!("DELETE FROM xorbs WHERE hash IN ({list})"),
    };
    let marks = format!(
        "DELETE FROM gc_marks WHERE kind = '{}' AND id IN ({list})",
        kind.as_str()
    );
    for text in [rows, marks] {
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in ids {
            query = query.bind((*id).clone());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// How long nobody writes to an upload before it counts as cut off.
const CUT_OFF: Duration = Duration::from_secs(24 * 3600);
/// Objects that are removed while writers wait.
const BATCH: usize = 100;

/// Removes objects that no row leads to. Young ones may belong to an upload that is not written down yet.
async fn sweep(hub: &Hub, older_than: Duration, report: &mut GcReport) -> Result<()> {
    hub.objects.tidy(CUT_OFF).await?;
    let mut granted = hub.objects.list(GRANTS);
    while let Some(object) = granted.next().await {
        let object = object?;
        if object.age > CUT_OFF {
            hub.objects.delete(&object.key).await?;
        }
    }
    for kind in KINDS {
        let known: HashSet<String> = names(&hub.db, kind, None).await?;
        let mut list = hub.objects.list(kind);
        let mut batch = Vec::new();
        while let Some(object) = list.next().await {
            let object = object?;
            if !known.contains(name_of(&object.key)) && object.age > older_than {
                batch.push(object);
            }
            if batch.len() == BATCH {
                remove_objects(hub, kind, std::mem::take(&mut batch), report).await?;
            }
        }
        remove_objects(hub, kind, batch, report).await?;
    }
    Ok(())
}

/// Removes objects while nobody writes. What was uploaded again meanwhile has a row now, and stays; whoever uploads
/// one at this moment looks for it after us, before the row is written.
async fn remove_objects(
    hub: &Hub,
    kind: &str,
    batch: Vec<Listed>,
    report: &mut GcReport,
) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let transaction = hub.db.exclusive().await?;
    let names_of: Vec<String> = batch
        .iter()
        .map(|object| name_of(&object.key).to_owned())
        .collect();
    let known = names(&hub.db, kind, Some(&names_of)).await?;
    let gone = batch
        .into_iter()
        .filter(|object| !known.contains(name_of(&object.key)));
    for object in gone {
        hub.objects.delete(&object.key).await?;
        report.objects += 1;
        report.bytes += object.size;
    }
    transaction.rollback().await?;
    Ok(())
}

fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Names of the objects of a kind that rows lead to: of all, or which of some.
async fn names(db: &Db, kind: &str, of: Option<&[String]>) -> Result<HashSet<String>> {
    let (text, column) = match kind {
        "packs" => ("SELECT DISTINCT pack AS name FROM blobs WHERE", "pack"),
        "xorbs" => ("SELECT hash AS name FROM xorbs WHERE", "hash"),
        _ => (
            "SELECT sha256 AS name FROM lfs_objects WHERE is_stored = 1 AND",
            "sha256",
        ),
    };
    let rows = match of {
        Some(some) => {
            db.in_list(&format!("{text} {column} IN"), "", &[], some)
                .await?
        }
        None => {
            sqlx::query(AssertSqlSafe(format!("{text} 1 = 1")))
                .fetch_all(db.pool())
                .await?
        }
    };
    rows.iter()
        .map(|row| Ok(row.try_get("name")?))
        .collect::<Result<_>>()
}

/// Says that something is in use after all. This waits while `gc` removes, so that what is there afterwards stays:
/// nobody takes for known what is about to go.
pub(crate) async fn unmark(db: &Db, kind: Kind, ids: &[String]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut transaction = db.write().await?;
    for part in ids.chunks(crate::db::LIST) {
        let text = format!(
            "DELETE FROM gc_marks WHERE kind = '{}' AND id IN ({})",
            kind.as_str(),
            parameters(1, part.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in part {
            query = query.bind(id.clone());
        }
        query.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The same of every commit of a repository, and with them of all that they lead to.
pub(crate) async fn unmark_history(db: &Db, repo: &str) -> Result<()> {
    let mut transaction = db.write().await?;
    let text = "DELETE FROM gc_marks WHERE kind = 'commit' AND id IN \
                (SELECT repo || '/' || oid FROM commits WHERE repo = $1)";
    sqlx::query(text)
        .bind(repo.to_owned())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
