//! The audit log: what was written, and read of what is private, by whom, with which token. Rows are only ever added.

use crate::accounts::Caller;
use crate::db::{Db, new_id, now_ms};
use crate::error::Result;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Transaction};
use std::time::Duration;

/// What happened, in the words of Hugging Face's audit log where it has one.
pub(crate) struct Event<'a> {
    pub action: &'static str,
    /// A repository or an account, by name.
    pub target: &'a str,
    pub detail: String,
}

/// Notes an event in the transaction that does it, so that neither is there without the other.
pub(crate) async fn note(
    transaction: &mut Transaction<'static, Any>,
    caller: &Caller,
    event: Event<'_>,
) -> Result<()> {
    let (actor, token) = (&caller.user.name, &caller.token_id);
    insert(actor, token, event)?
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Notes what the operator does at the machine, who has no account there.
pub(crate) async fn note_operator(
    transaction: &mut Transaction<'static, Any>,
    event: Event<'_>,
) -> Result<()> {
    insert("operator", "", event)?
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Notes an event that changes nothing else, unless the same was noted within `period`, by whatever server.
pub(crate) async fn note_once(
    db: &Db,
    caller: &Caller,
    event: Event<'_>,
    period: Duration,
) -> Result<()> {
    let since = now_ms() - i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
    let same: Option<(String,)> = sqlx::query_as(
        "SELECT id FROM audit WHERE at_ms > $1 AND token = $2 AND action = $3 AND target = $4 LIMIT 1",
    )
    .bind(since)
    .bind(caller.token_id.clone())
    .bind(event.action.to_owned())
    .bind(event.target.to_owned())
    .fetch_optional(db.pool())
    .await?;
    if same.is_none() {
        insert(&caller.user.name, &caller.token_id, event)?
            .execute(db.pool())
            .await?;
    }
    Ok(())
}

/// Notes what somebody did who has shown a password instead of a token.
pub(crate) async fn note_by(
    db: &Db,
    actor: &str,
    action: &'static str,
    target: &str,
    detail: &str,
) -> Result<()> {
    let detail = detail.to_owned();
    insert(
        actor,
        "",
        Event {
            action,
            target,
            detail,
        },
    )?
    .execute(db.pool())
    .await?;
    Ok(())
}

fn insert(actor: &str, token: &str, event: Event<'_>) -> Result<Query<'static, Any, AnyArguments>> {
    let query = sqlx::query(
        "INSERT INTO audit (id, at_ms, actor, token, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new_id()?)
    .bind(now_ms())
    .bind(actor.to_owned())
    .bind(token.to_owned())
    .bind(event.action.to_owned())
    .bind(event.target.to_owned())
    .bind(event.detail);
    Ok(query)
}
