//! The database: SQLite by default, PostgreSQL by URL, one text for every query.
//!
//! Queries use `$1`-style parameters, TEXT, BIGINT and byte strings, which both databases read alike.
//! Nothing is locked by hand: what must not be overtaken is an `UPDATE … WHERE` the old value stands.

mod schema;

use crate::error::{Error, Result};
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, AssertSqlSafe, Transaction};
use std::time::Duration;

/// How many values one query may carry in a list.
pub(crate) const LIST: usize = 500;

/// PostgreSQL's name for what `gc` and writers exclude each other by.
const GC_LOCK: i64 = 5_350_411;

/// A row of either database.
pub(crate) type Row = AnyRow;

/// The connections to the database.
#[derive(Debug, Clone)]
pub struct Db {
    pool: AnyPool,
    is_sqlite: bool,
}

impl Db {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// When the URL is of no known kind, the database cannot be reached, or is of a later version.
    pub async fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let is_sqlite = url.starts_with("sqlite:");
        if !is_sqlite && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(Error::Setup(format!(
                "the database {url:?} is neither sqlite:… nor postgres://…; give one of them"
            )));
        }
        let options = AnyPoolOptions::new()
            .max_connections(if is_sqlite { 8 } else { 16 })
            // A file does not hang up. Asking costs two changes of threads, as much as a query.
            .test_before_acquire(!is_sqlite)
            .acquire_timeout(Duration::from_secs(30));
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                if is_sqlite {
                    prepare_sqlite(connection).await?;
                }
                Ok(())
            })
        });
        let pool = options.connect(url).await?;
        let db = Self { pool, is_sqlite };
        schema::migrate(&db).await?;
        Ok(db)
    }

    /// For reading, and for single statements that write.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Starts a transaction that will write.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Any>> {
        // SQLite gives up at once when a reading transaction starts to write behind another writer.
        let statement = if self.is_sqlite {
            "BEGIN IMMEDIATE"
        } else {
            "BEGIN"
        };
        let mut transaction = self.pool.begin_with(statement).await?;
        if !self.is_sqlite {
            // Beside other writers, but not while `gc` removes what they might be about to refer to.
            let lock = format!("SELECT pg_advisory_xact_lock_shared({GC_LOCK})");
            sqlx::query(AssertSqlSafe(lock))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction)
    }

    /// Starts a transaction that writes while nobody else does.
    pub(crate) async fn exclusive(&self) -> Result<Transaction<'static, Any>> {
        if self.is_sqlite {
            return self.write().await;
        }
        let mut transaction = self.pool.begin_with("BEGIN").await?;
        let lock = format!("SELECT pg_advisory_xact_lock({GC_LOCK})");
        sqlx::query(AssertSqlSafe(lock))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    /// Starts a transaction that sees the database as it is now, whatever others write.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Any>> {
        let statement = if self.is_sqlite {
            "BEGIN"
        } else {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        };
        Ok(self.pool.begin_with(statement).await?)
    }

    /// Rows for which a column is in a list: `head`, then the list in brackets, then `tail`. The values of
    /// `fixed` are `$1`, `$2`, … in either part.
    pub(crate) async fn in_list(
        &self,
        head: &str,
        tail: &str,
        fixed: &[&str],
        list: &[String],
    ) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for part in list.chunks(LIST) {
            let text = format!(
                "{head} ({}) {tail}",
                parameters(fixed.len() + 1, part.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for value in fixed {
                query = query.bind((*value).to_owned());
            }
            for value in part {
                query = query.bind(value.clone());
            }
            rows.extend(query.fetch_all(&self.pool).await?);
        }
        Ok(rows)
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.is_sqlite
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes the connections, after which SQLite's file is whole by itself.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// `$from, …` for `count` values.
pub(crate) fn parameters(from: usize, count: usize) -> String {
    let names: Vec<String> = (from..from + count).map(|n| format!("${n}")).collect();
    names.join(",")
}

/// `($1,$2),($3,$4),…` for `rows` rows of `columns` values.
pub(crate) fn value_rows(rows: usize, columns: usize) -> String {
    let rows: Vec<String> = (0..rows)
        .map(|row| format!("({})", parameters(row * columns + 1, columns)))
        .collect();
    rows.join(",")
}

async fn prepare_sqlite(
    connection: &mut sqlx::AnyConnection,
) -> std::result::Result<(), sqlx::Error> {
    // Every commit is on the disk when it returns; readers do not wait for the writer.
    for statement in [
        "PRAGMA busy_timeout = 60000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// Random bytes from the system, fit for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Setup(format!("the system has no random numbers: {error}")))?;
    Ok(bytes)
}

/// A new random identifier of 24 hex digits.
pub(crate) fn new_id() -> Result<String> {
    Ok(hex::encode(random::<12>()?))
}

/// The bytes of lower- or upper-case hex, if it is hex.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok()
}
