//! How many requests run at once, and when the hub wants a rest.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lets a few requests through at a time.
#[derive(Debug)]
pub(super) struct Gate {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// Nobody passes before this.
    rest_until: Option<Instant>,
}

/// The right to make a request; it ends when dropped.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn.
    pub(super) fn pass(&self) -> Pass<'_> {
        let mut state = self.state();
        loop {
            let rest = state
                .rest_until
                .map(|t| t.saturating_duration_since(Instant::now()));
            let rest = rest.filter(|rest| !rest.is_zero());
            if rest.is_none() && state.running < self.most {
                state.running += 1;
                return Pass(self);
            }
            state = match rest {
                Some(rest) => {
                    let woken = self.changed.wait_timeout(state, rest);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Keeps everybody out for this long: a hub that has enough of one thread has enough of all.
    pub(super) fn rest(&self, duration: Duration) {
        let until = Instant::now().checked_add(duration);
        let mut state = self.state();
        state.rest_until = state.rest_until.max(until);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.changed.notify_one();
    }
}
