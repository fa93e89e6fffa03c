//! Absolute deadlines at a fixed rate, with every late or skipped tick counted.

use crate::clock::Nanos;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Nanoseconds of a duration, at most `u64::MAX`.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The period of `hz` ticks a second. `None` unless it is between 1 ns and an hour.
pub fn period_of(hz: f64) -> Option<Duration> {
    let seconds = 1.0 / hz;
    (1e-9..=3600.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// How many deadlines were met and how many were not. `ticks + skipped` is the number of deadlines
/// that have passed, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PaceCounters {
    /// Ticks that ran.
    pub ticks: u64,
    /// Ticks that ran, but started later than allowed or after skipped ones.
    pub late: u64,
    /// Ticks that never ran, because the one before was still running or the system kept us waiting.
    pub skipped: u64,
}

/// What is known when a tick starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The deadline that this tick serves.
    pub scheduled_ns: Nanos,
    /// When it started.
    pub started_ns: Nanos,
    /// From the deadline that was waited for to the start, ns. Includes time skipped.
    pub wake_error_ns: u64,
    /// From the start of the tick before, ns. `None` in the first tick.
    pub period_ns: Option<u64>,
    /// Ticks skipped just before this one.
    pub skipped: u64,
    /// Whether this tick counts as late.
    pub late: bool,
}

/// Deadlines of one thread.
///
/// A tick less than a period late runs at once; whole missed periods are skipped, so that the
/// phase never moves and a stall is not followed by a burst.
#[derive(Debug, Clone)]
pub struct Pace {
    period: Nanos,
    late_after: Nanos,
    next: Nanos,
    last_start: Option<Nanos>,
    counters: PaceCounters,
}

impl Pace {
    /// Deadlines every `period` (at least 1 ns), the first at `first`. A tick is late from half a period on.
    pub fn new(period: Duration, first: Nanos) -> Self {
        let period = nanos(period).max(1);
        Self {
            period,
            late_after: (period / 2).max(1),
            next: first,
            last_start: None,
            counters: PaceCounters::default(),
        }
    }

    /// Moves the first deadline to the first instant at or after `now` that is `phase` past a whole
    /// number of periods. Threads started at different times thus keep a fixed phase.
    pub fn align(&mut self, now: Nanos, phase: Duration) {
        let phase = nanos(phase) % self.period;
        let base = now.saturating_sub(phase).div_ceil(self.period) * self.period;
        self.next = base + phase;
    }

    /// The deadline to wait for.
    pub fn deadline(&self) -> Nanos {
        self.next
    }

    /// The period, ns.
    pub fn period_ns(&self) -> Nanos {
        self.period
    }

    /// Counts so far.
    pub fn counters(&self) -> PaceCounters {
        self.counters
    }

    /// Accounts for a tick that starts at `now` and sets the next deadline.
    pub fn arrive(&mut self, now: Nanos) -> Arrival {
        let wake_error_ns = now.saturating_sub(self.next);
        let skipped = wake_error_ns / self.period;
        let late = wake_error_ns >= self.late_after;
        let scheduled_ns = self.next + skipped * self.period;
        let period_ns = self.last_start.map(|last| now.saturating_sub(last));
        self.next = scheduled_ns + self.period;
        self.last_start = Some(now);
        self.counters.ticks += 1;
        self.counters.late += u64::from(late);
        self.counters.skipped += skipped;
        Arrival {
            scheduled_ns,
            started_ns: now,
            wake_error_ns,
            period_ns,
            skipped,
            late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIOD: Duration = Duration::from_nanos(1000);

    #[test]
    fn phase_survives_a_stall() {
        let mut pace = Pace::new(PERIOD, 5000);
        assert_eq!(pace.arrive(5010).wake_error_ns, 10);
        let stalled = pace.arrive(9300);
        assert_eq!(
            (stalled.scheduled_ns, stalled.skipped, stalled.late),
            (9000, 3, true)
        );
        assert_eq!((pace.deadline(), stalled.period_ns), (10_000, Some(4290)));
        assert_eq!(
            pace.counters(),
            PaceCounters {
                ticks: 2,
                late: 1,
                skipped: 3
            }
        );
    }

    #[test]
    fn alignment_is_to_whole_periods_and_phase() {
        let mut pace = Pace::new(PERIOD, 0);
        pace.align(12_345, Duration::from_nanos(200));
        assert_eq!(pace.deadline(), 13_200);
        pace.align(12_100, Duration::from_nanos(200));
        assert_eq!(pace.deadline(), 12_200);
        pace.align(0, Duration::ZERO);
        assert_eq!(pace.deadline(), 0);
    }

    #[test]
    fn rates_out_of_reason_have_no_period() {
        assert_eq!(period_of(1000.0), Some(Duration::from_millis(1)));
        for hz in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(period_of(hz), None, "{hz}");
        }
    }

    proptest! {
        #[test]
        fn no_deadline_goes_uncounted(delays in prop::collection::vec(0u64..10_000, 1..200)) {
            let mut pace = Pace::new(PERIOD, 0);
            let mut now = 0;
            for delay in delays {
                now = now.max(pace.deadline()) + delay;
                let arrival = pace.arrive(now);
                let counters = pace.counters();
                prop_assert_eq!(arrival.scheduled_ns % 1000, 0);
                prop_assert!(arrival.scheduled_ns <= now && now < arrival.scheduled_ns + 1000);
                prop_assert_eq!(counters.ticks + counters.skipped, pace.deadline() / 1000);
            }
        }
    }
}
