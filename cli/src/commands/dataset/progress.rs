//! How far long work is: one line on the terminal, rewritten in place, and nothing elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work shorter than this shows nothing.
const QUIET: Duration = Duration::from_millis(500);
/// Time between two lines.
const PERIOD: Duration = Duration::from_millis(100);

/// A line on stderr. Dropping it clears the line.
#[derive(Debug)]
pub(in crate::commands) struct Progress {
    what: &'static str,
    next: Instant,
    shown: bool,
}

impl Progress {
    /// A line that says how many `what` are done.
    pub(in crate::commands) fn new(what: &'static str) -> Self {
        Self {
            what,
            next: Instant::now() + QUIET,
            shown: false,
        }
    }

    /// Shows that `done` of `total` are done.
    pub(in crate::commands) fn at(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if now < self.next || !std::io::stderr().is_terminal() {
            return;
        }
        self.next = now + PERIOD;
        self.shown = true;
        // A terminal that is gone is no reason to stop the work.
        let _ = write!(std::io::stderr(), "\r{done} of {total} {}\x1b[K", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
