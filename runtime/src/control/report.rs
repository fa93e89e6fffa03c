//! What a control loop counts, reports and fails with.

use crate::actions::QueueCounters;
use crate::clock::Nanos;
use crate::histogram::{Stats, StatsSummary};
use crate::pace::PaceCounters;
use crate::rt::RtReport;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everything that a control loop counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControlCounters {
    /// Deadlines met, late and skipped.
    pub pace: PaceCounters,
    /// Ticks that sent a target.
    pub acted: u64,
    /// Start of the tick that sent the first target, monotonic clock.
    pub first_target_ns: Option<Nanos>,
    /// Ticks before the first joint state.
    pub no_state: u64,
    /// Ticks with a joint state older than allowed: no target was sent.
    pub stale_state: u64,
    /// Ticks in which a camera had not delivered yet.
    pub no_frame: u64,
    /// Ticks in which a camera's newest frame was older than allowed.
    pub stale_frame: u64,
    /// Ticks in which the source had not begun yet.
    pub waiting: u64,
    /// Ticks for which there was no action: no target was sent.
    pub starved: u64,
    /// Records that readers were too slow for, all readers together.
    pub dropped: u64,
    /// What the action queue counted, if the source has one.
    pub queue: Option<QueueCounters>,
}

/// Counts and histograms of a running loop, published about once a second.
#[derive(Debug, Clone, Default)]
pub struct ControlTelemetry {
    /// Counts so far.
    pub counters: ControlCounters,
    /// Distributions so far.
    pub stats: Stats,
}

/// What a control loop did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ControlReport {
    /// What the system granted the thread.
    pub rt: RtReport,
    /// Counts.
    pub counters: ControlCounters,
    /// Distributions, µs.
    pub stats: StatsSummary,
}

/// Why a control loop could not start or go on.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The configuration makes no sense.
    #[error("loop settings: {problem}")]
    Config {
        /// What is wrong.
        problem: String,
    },
    /// The system gave no thread.
    #[error("cannot start the control loop: {0}; close other programs and try again")]
    Spawn(#[from] std::io::Error),
    /// The source of actions failed.
    #[error("no more actions: {problem}")]
    Source {
        /// The source's own words.
        problem: String,
    },
    /// Actions stayed away for longer than the run allows.
    #[error(
        "no action for {ticks} ticks in a row; the policy is too slow for this rate, hangs, or lacks the picture of a camera"
    )]
    Starved {
        /// Ticks without an action.
        ticks: u32,
    },
    /// The thread panicked: a defect.
    #[error("the control loop panicked: {message}; please report this as a bug")]
    Panicked {
        /// The panic's words.
        message: String,
    },
}

/// A control loop that did not end as asked.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct ControlFailure {
    /// Why.
    #[source]
    pub error: ControlError,
    /// What it did until then.
    pub report: Box<ControlReport>,
}
