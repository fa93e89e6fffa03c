//! The audit log as JSON lines.

use crate::error::{Error, Result};
use crate::server::Hub;
use futures_util::TryStreamExt;
use serde_json::json;
use sqlx::Row;
use std::io::Write;

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// From this moment on, milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Before this moment.
    pub until_ms: Option<i64>,
}

/// Writes the events, oldest first, one JSON object a line (`id`, `at`, `actor`, `token`, `action`, `target`, `detail`),
/// and returns how many there were.
///
/// # Errors
/// When the database fails or `to` cannot be written.
pub async fn export_audit(
    hub: &Hub,
    filter: &AuditFilter,
    to: &mut (dyn Write + Send),
) -> Result<u64> {
    let mut rows = sqlx::query(
        "SELECT id, at_ms, actor, token, action, target, detail FROM audit \
         WHERE at_ms >= $1 AND at_ms < $2 ORDER BY at_ms, id",
    )
    .bind(filter.from_ms.unwrap_or(i64::MIN))
    .bind(filter.until_ms.unwrap_or(i64::MAX))
    .fetch(hub.db.pool());
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        let text = |name: &str| row.try_get::<String, _>(name);
        let line = json!({
            "id": text("id")?, "at": crate::server::date(row.try_get("at_ms")?), "actor": text("actor")?,
            "token": text("token")?, "action": text("action")?, "target": text("target")?, "detail": text("detail")?,
        });
        writeln!(to, "{line}").map_err(Error::io("write the audit log"))?;
        count += 1;
    }
    Ok(count)
}
