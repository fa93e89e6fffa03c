//! Reads of private repositories in the audit log: one event for each token, repository and ten minutes, written
//! before the first byte leaves.

use super::Hub;
use crate::accounts::Caller;
use crate::audit::{self, Event};
use crate::error::Result;
use crate::repos::Repo;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one event stands for what follows it.
const PERIOD: Duration = Duration::from_secs(600);
/// Pairs of token and repository that are remembered; a forgotten one is noted again.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(50_000);

/// Who has read what lately.
#[derive(Debug)]
pub(super) struct Reads(Mutex<LruCache<(String, String), Instant>>);

impl Default for Reads {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Reads {
    /// Notes a read if none was noted lately. `what` is the request's method and path.
    pub(super) async fn note(
        &self,
        hub: &Hub,
        caller: &Caller,
        repo: &Repo,
        what: String,
    ) -> Result<()> {
        let key = (caller.token_id.clone(), repo.id.clone());
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.get(&key).is_some_and(|at| at.elapsed() < PERIOD) {
                return Ok(());
            }
        }
        let event = Event {
            action: "repo.read",
            target: &repo.web_path(),
            detail: what,
        };
        audit::note_once(&hub.db, caller, event, PERIOD).await?;
        // Only now: a read whose event could not be written is refused, and so is the next.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(key, Instant::now());
        Ok(())
    }
}
