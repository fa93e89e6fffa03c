//! Counting downloads without a write for each: counts are added up for some seconds. A process that dies takes
//! the last few with it, which is the only thing that a replica knows alone.

use crate::db::Db;
use crate::repos::add_downloads;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long counts are added up.
const PERIOD: Duration = Duration::from_secs(5);

/// Downloads that are not in the database yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Downloads(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    counts: HashMap<String, i64>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Downloads {
    /// Counts a download of a repository.
    pub(super) fn count(&self, db: &Db, repo: &str) {
        let is_due = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *open.counts.entry(repo.to_owned()).or_default() += 1;
            open.since.get_or_insert_with(Instant::now).elapsed() >= PERIOD
        };
        if is_due {
            let (this, db) = (self.clone(), db.clone());
            tokio::spawn(async move { this.flush(&db).await });
        }
    }

    /// Brings the counts to the database. Counts are not worth failing for.
    pub(super) async fn flush(&self, db: &Db) {
        let counts = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.since = None;
            std::mem::take(&mut open.counts)
        };
        if counts.is_empty() {
            return;
        }
        if let Err(error) = add_downloads(db, counts.into_iter().collect()).await {
            tracing::warn!("downloads are not counted: {error}");
        }
    }
}
