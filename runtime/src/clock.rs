//! One notion of time: wall time on robots, stepped time in lockstep simulation.

use std::sync::atomic::{AtomicU64, Ordering};

/// Monotonic time in nanoseconds. Only differences mean anything.
pub type Nanos = u64;

/// A source of monotonic time that can be waited on.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time.
    fn now(&self) -> Nanos;
    /// Returns when `now() >= deadline`. Absolute, so that waiting never accumulates drift.
    fn sleep_until(&self, deadline: Nanos);
}

/// `CLOCK_MONOTONIC`, waited on with absolute deadlines.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now(&self) -> Nanos {
        let mut ts = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `ts` is a valid timespec for the kernel to fill.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
        ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
    }

    fn sleep_until(&self, deadline: Nanos) {
        let ts = libc::timespec {
            tv_sec: (deadline / 1_000_000_000) as libc::time_t,
            tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
        };
        loop {
            // SAFETY: `ts` is a valid timespec; the remainder pointer may be null with TIMER_ABSTIME.
            let rc = unsafe {
                libc::clock_nanosleep(
                    libc::CLOCK_MONOTONIC,
                    libc::TIMER_ABSTIME,
                    &ts,
                    std::ptr::null_mut(),
                )
            };
            if rc != libc::EINTR {
                return;
            }
        }
    }
}

/// Time that moves only when somebody steps it: a lockstep simulation's clock.
///
/// `sleep_until` jumps forward, so a loop on this clock runs as fast as the machine allows and
/// sees the same times in every run.
#[derive(Debug, Default)]
pub struct SteppedClock(AtomicU64);

impl SteppedClock {
    /// Moves time forward by `by` nanoseconds.
    pub fn advance(&self, by: Nanos) {
        self.0.fetch_add(by, Ordering::AcqRel);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Nanos {
        self.0.load(Ordering::Acquire)
    }

    fn sleep_until(&self, deadline: Nanos) {
        self.0.fetch_max(deadline, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_sleep_reaches_its_deadline() {
        let clock = MonotonicClock;
        let deadline = clock.now() + 2_000_000;
        clock.sleep_until(deadline);
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn stepped_time_never_goes_back() {
        let clock = SteppedClock::default();
        clock.sleep_until(50);
        clock.sleep_until(20);
        clock.advance(5);
        assert_eq!(clock.now(), 55);
    }
}
