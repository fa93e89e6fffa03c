//! The emergency stop: a latch that anyone can trip and only a deliberate act resets.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Who tripped the emergency stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EStopReason {
    /// A key or button at this machine.
    Key = 1,
    /// A message from elsewhere.
    Topic,
    /// Whoever supervises the robot is no longer there.
    LostLiveliness,
    /// The program itself.
    Program,
}

impl EStopReason {
    const ALL: [Self; 4] = [Self::Key, Self::Topic, Self::LostLiveliness, Self::Program];
}

impl fmt::Display for EStopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key pressed",
            Self::Topic => "asked for by a message",
            Self::LostLiveliness => "supervisor lost",
            Self::Program => "tripped by the program",
        })
    }
}

#[derive(Debug, Default)]
struct Latch {
    reason: AtomicU8,
    resets: AtomicU64,
}

/// Handle to one robot's emergency stop. Cheap to clone; never blocks.
#[derive(Debug, Clone, Default)]
pub struct EStop(Arc<Latch>);

impl EStop {
    /// A latch that is not tripped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trips the latch. The first reason stays until the reset.
    pub fn trip(&self, reason: EStopReason) {
        _ = self
            .0
            .reason
            .compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Why the latch is tripped, if it is.
    pub fn tripped(&self) -> Option<EStopReason> {
        let code = self.0.reason.load(Ordering::Acquire);
        EStopReason::ALL
            .into_iter()
            .find(|&reason| reason as u8 == code)
    }

    /// Releases the latch, and also an arm that went limp because targets stayed away or a servo
    /// raised an alarm. The arm then moves again with the next fresh target, from where it is.
    pub fn reset(&self) {
        self.0.reason.store(0, Ordering::Release);
        self.0.resets.fetch_add(1, Ordering::AcqRel);
    }

    /// How often [`Self::reset`] was called.
    pub(crate) fn resets(&self) -> u64 {
        self.0.resets.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latches_until_reset() {
        let stop = EStop::new();
        assert_eq!(stop.tripped(), None);
        let elsewhere = stop.clone();
        elsewhere.trip(EStopReason::Topic);
        stop.trip(EStopReason::Key);
        assert_eq!(stop.tripped(), Some(EStopReason::Topic));
        stop.reset();
        assert_eq!((elsewhere.tripped(), elsewhere.resets()), (None, 1));
    }
}
