//! Bringing the schema up to date: numbered files, each applied once, in one transaction.

use super::Db;
use crate::error::{Error, Result};
use sqlx::AssertSqlSafe;

const STEPS: [&str; 5] = [
    include_str!("../../migrations/0001_start.sql"),
    include_str!("../../migrations/0002_operation.sql"),
    include_str!("../../migrations/0003_rates.sql"),
    include_str!("../../migrations/0004_pull_requests.sql"),
    include_str!("../../migrations/0005_annotated_tags.sql"),
];

/// Applies what is missing.
pub(super) async fn migrate(db: &Db) -> Result<()> {
    let mut transaction = db.write().await?;
    if !db.is_sqlite() {
        // Several servers may start at once on one PostgreSQL.
        sqlx::query("SELECT pg_advisory_xact_lock(5350410)")
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await?;
    let version: Option<(i64,)> =
        sqlx::query_as("SELECT version FROM schema_version ORDER BY version DESC LIMIT 1")
            .fetch_optional(&mut *transaction)
            .await?;
    let version = usize::try_from(version.map_or(0, |row| row.0)).unwrap_or(usize::MAX);
    if version > STEPS.len() {
        return Err(Error::Setup(format!(
            "the database has schema {version} and this program knows {}; use the newer program",
            STEPS.len()
        )));
    }
    for (index, step) in STEPS.iter().enumerate().skip(version) {
        for statement in statements(step, db.is_sqlite()) {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(i64::try_from(index + 1).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The statements of a file, without comments, in the database's own words.
fn statements(file: &str, is_sqlite: bool) -> Vec<String> {
    let lines = file
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = if is_sqlite {
        text.replace(" BYTEA", " BLOB").replace(" UNLOGGED", "")
    } else {
        text
    };
    text.split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}
