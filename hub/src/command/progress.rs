//! How far a transfer is: on a terminal one line that is written over, elsewhere a line now and then.

use super::text::{bytes, rate};
use crate::client::xet::Progress;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Work shorter than this shows nothing.
const QUIET: Duration = Duration::from_millis(500);
/// Between two lines on a terminal.
const PERIOD: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Lines on stderr until it is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    is_over: Mutex<bool>,
    changed: Condvar,
    /// A line stands on the terminal.
    is_shown: AtomicBool,
}

impl Ticker {
    /// Begins; `what` is the verb.
    pub(super) fn start(what: &'static str, progress: &Arc<Progress>, is_shown: bool) -> Self {
        let stop = Arc::new(Stop::default());
        let (watched, signal) = (progress.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("hub-progress".into());
        // Without a thread there is no line; the work goes on.
        let thread = is_shown
            .then(|| thread.spawn(move || tick(what, &watched, &signal)).ok())
            .flatten();
        Self { stop, thread }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self
            .stop
            .is_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if self.stop.is_shown.load(Ordering::Relaxed) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn tick(what: &str, progress: &Progress, stop: &Stop) {
    let began = Instant::now();
    let is_terminal = std::io::stderr().is_terminal();
    let mut wait = if is_terminal { QUIET } else { LOG_PERIOD };
    let mut is_over = stop.is_over.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let waited = stop
            .changed
            .wait_timeout_while(is_over, wait, |is_over| !*is_over);
        let (guard, timed) = waited.unwrap_or_else(PoisonError::into_inner);
        if *guard || !timed.timed_out() {
            return;
        }
        is_over = guard;
        let line = line(what, progress, began.elapsed());
        // A terminal that is gone is no reason to stop the work.
        let _ = match is_terminal {
            true => write!(std::io::stderr(), "\r{line}\x1b[K"),
            false => writeln!(std::io::stderr(), "{line}"),
        };
        stop.is_shown.store(is_terminal, Ordering::Relaxed);
        wait = if is_terminal { PERIOD } else { LOG_PERIOD };
    }
}

fn line(what: &str, progress: &Progress, elapsed: Duration) -> String {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (done, total) = (read(&progress.file_bytes), read(&progress.total_bytes));
    let (files, all) = (read(&progress.files), read(&progress.total_files));
    if total == 0 && all == 0 {
        return format!("{what}: comparing …");
    }
    let moved = done.saturating_sub(read(&progress.known_bytes));
    format!(
        "{what}: {} of {}, {files} of {all} files, {}",
        bytes(done.min(total)),
        bytes(total),
        rate(moved, elapsed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = Progress::default();
        assert_eq!(line("pull", &progress, QUIET), "pull: comparing …");
        progress.total_bytes.store(4_000_000, Ordering::Relaxed);
        progress.file_bytes.store(1_000_000, Ordering::Relaxed);
        progress.total_files.store(2, Ordering::Relaxed);
        assert_eq!(
            line("pull", &progress, QUIET),
            "pull: 1.00 MB of 4.00 MB, 0 of 2 files, 2.00 MB/s"
        );
    }
}
