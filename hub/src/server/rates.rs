//! How often somebody may ask. Windows are fixed and the same for everybody. Servers on one PostgreSQL count together;
//! on SQLite, where every count would be a write to the disk, a server counts by itself.

use crate::db::{Db, now_ms};
use crate::error::Result;
use axum::http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Length of a window, seconds: that of Hugging Face, which the clients expect.
const WINDOW_S: i64 = 300;
/// Callers that are told apart in one window; more share what is left.
const CALLERS: usize = 100_000;

/// Counts requests by caller.
#[derive(Debug)]
pub(super) struct Rates {
    /// Tells counts of different things apart.
    name: &'static str,
    /// Requests that each caller has in a window; `None` without a limit.
    quota: Option<u32>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    window: i64,
    counts: HashMap<String, u32>,
}

/// What is left to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    quota: u32,
    left: u32,
    /// Until the window ends.
    reset_s: i64,
    /// Whether this request was one too many.
    pub is_over: bool,
}

impl Rates {
    pub(super) fn new(name: &'static str, quota: Option<u32>) -> Self {
        Self {
            name,
            quota,
            open: Mutex::default(),
        }
    }

    /// Counts a request; `None` when nothing is counted.
    pub(super) async fn count(&self, db: &Db, caller: &str) -> Option<Allowance> {
        let quota = self.quota?;
        let now_s = now_ms() / 1000;
        let (key, here, is_first) = self.count_here(caller, now_s);
        if db.is_sqlite() {
            return Some(Allowance::of(quota, here, now_s));
        }
        let span = now_s.div_euclid(WINDOW_S);
        let count = count_together(db, &format!("{} {key}", self.name), span, is_first).await;
        let count = count.unwrap_or_else(|error| {
            tracing::warn!("requests are counted by this server alone: {error}");
            here
        });
        Some(Allowance::of(quota, count, now_s))
    }

    /// Counts in this process: what the caller counts as, how often it asked, and whether a window begins.
    fn count_here(&self, caller: &str, now_s: i64) -> (String, u32, bool) {
        let window = now_s.div_euclid(WINDOW_S);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = open.window != window;
        if is_first {
            *open = Open {
                window,
                counts: HashMap::new(),
            };
        }
        let is_new = !open.counts.contains_key(caller);
        let key = if is_new && open.counts.len() >= CALLERS {
            "others"
        } else {
            caller
        };
        let count = open.counts.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
        (key.to_owned(), *count, is_first)
    }
}

/// Counts in the database, and removes counts of former windows.
async fn count_together(db: &Db, caller: &str, span: i64, is_first: bool) -> Result<u32> {
    if is_first {
        sqlx::query("DELETE FROM rates WHERE span < $1")
            .bind(span)
            .execute(db.pool())
            .await?;
    }
    let (count,): (i64,) = sqlx::query_as(
        "INSERT INTO rates (caller, span, requests) VALUES ($1, $2, 1) \
         ON CONFLICT (caller, span) DO UPDATE SET requests = rates.requests + 1 RETURNING requests",
    )
    .bind(caller.to_owned())
    .bind(span)
    .fetch_one(db.pool())
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

impl Allowance {
    fn of(quota: u32, count: u32, now_s: i64) -> Self {
        Self {
            quota,
            left: quota.saturating_sub(count),
            reset_s: WINDOW_S - now_s.rem_euclid(WINDOW_S),
            is_over: count > quota,
        }
    }

    /// Tells the client. Source: the IETF's draft on rate-limit headers, in the form that Hugging Face sends.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        let Self {
            quota,
            left,
            reset_s,
            ..
        } = self;
        super::reply::set(
            headers,
            "ratelimit",
            &format!("\"api\";r={left};t={reset_s}"),
        );
        let policy = format!("\"fixed window\";\"api\";q={quota};w={WINDOW_S}");
        super::reply::set(headers, "ratelimit-policy", &policy);
        if self.is_over {
            super::reply::set(headers, "retry-after", &reset_s.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_quota_for_everybody() {
        let rates = Rates::new("test", Some(2));
        let at = |who, now| Allowance::of(2, rates.count_here(who, now).1, now);
        assert_eq!(
            at("a", 600),
            Allowance {
                quota: 2,
                left: 1,
                reset_s: 300,
                is_over: false
            }
        );
        assert!(!at("a", 700).is_over);
        assert_eq!(
            at("a", 899),
            Allowance {
                quota: 2,
                left: 0,
                reset_s: 1,
                is_over: true
            }
        );
        assert!(!at("b", 899).is_over);
        assert!(!at("a", 900).is_over);
    }
}
