//! What a device thread counts, reports and fails with.

use crate::histogram::{Stats, StatsSummary};
use crate::joints::{JointCounts, JointFault, MAX_JOINTS};
use crate::pace::PaceCounters;
use crate::robot::RobotError;
use crate::rt::RtReport;
use crate::safety::SafetyCounters;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Everything that a device thread counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceCounters {
    /// Deadlines met, late and skipped.
    pub pace: PaceCounters,
    /// States published.
    pub reads: u64,
    /// Cycles in which no joint could be read.
    pub read_failures: u64,
    /// Of those, cycles in which the bus stayed silent.
    pub bus_timeouts: u64,
    /// Goals sent.
    pub writes: u64,
    /// Cycles in which goals could not be sent.
    pub write_failures: u64,
    /// Times that torque could not be switched.
    pub torque_failures: u64,
    /// Cycles in which each joint did not answer in time.
    pub joint_timeouts: JointCounts,
    /// Cycles in which each joint's answer was damaged.
    pub joint_corrupt: JointCounts,
    /// What safety did.
    pub safety: SafetyCounters,
}

/// Counts and histograms of a running device thread, published about once a second.
#[derive(Debug, Clone, Default)]
pub struct DeviceTelemetry {
    /// Counts so far.
    pub counters: DeviceCounters,
    /// Distributions so far.
    pub stats: Stats,
    /// Joints that are kept without torque after an alarm, until [`crate::safety::EStop::reset`].
    pub released: [bool; MAX_JOINTS],
}

/// How the arm was left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafeOutcome {
    /// Only observed: nothing was ever sent, so nothing was changed.
    #[default]
    Untouched,
    /// Torque is off.
    Limp,
    /// The servos hold the last position, but for joints that were given up after an alarm.
    Holding,
    /// It moved to its rest pose; torque is off.
    Resting,
    /// It could not be told. The text says why.
    Unknown(String),
}

/// For people; with `{:#}`, also why the robot could not be told.
impl fmt::Display for SafeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => f.write_str("the arm was only observed"),
            Self::Limp => f.write_str("torque is off"),
            Self::Holding => f.write_str("the arm holds its position"),
            Self::Resting => f.write_str("the arm is at rest, torque is off"),
            Self::Unknown(why) => {
                f.write_str("the arm could not be told to stop")?;
                if f.alternate() {
                    write!(f, " ({why})")?;
                }
                f.write_str(
                    ": only the servos' own limits apply, cut its power before you touch it",
                )
            }
        }
    }
}

/// What a device thread did, complete when it has ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DeviceReport {
    /// What the system granted the thread.
    pub rt: RtReport,
    /// Counts.
    pub counters: DeviceCounters,
    /// Distributions, µs.
    pub stats: StatsSummary,
    /// How the arm was left.
    pub left: SafeOutcome,
}

/// Why a device thread could not start or go on.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The configuration makes no sense.
    #[error("device settings: {problem}; correct robot.toml")]
    Config {
        /// What is wrong, joint included.
        problem: String,
    },
    /// The system gave no thread.
    #[error("cannot start the device thread: {0}; close other programs and try again")]
    Spawn(#[from] std::io::Error),
    /// The robot failed for good, or too often in a row.
    #[error("{source}{}", in_a_row(*.failures))]
    Robot {
        /// The last failure.
        source: RobotError,
        /// Failed cycles in a row.
        failures: u32,
    },
    /// One joint stayed away while others answered.
    #[error(
        "{joint}: no good answer for {cycles} cycles ({}); check its cable and id, or run `sinew doctor`",
        describe(*.fault)
    )]
    JointLost {
        /// Joint name.
        joint: String,
        /// Cycles without a good answer.
        cycles: u32,
        /// The last fault.
        fault: JointFault,
    },
    /// The thread panicked: a defect.
    #[error("the device thread panicked: {message}; please report this as a bug")]
    Panicked {
        /// The panic's words.
        message: String,
    },
}

fn in_a_row(failures: u32) -> String {
    match failures {
        0 | 1 => String::new(),
        n => format!(" ({n} cycles failed in a row)"),
    }
}

fn describe(fault: JointFault) -> &'static str {
    match fault {
        JointFault::Timeout => "no reply",
        JointFault::Corrupt => "damaged replies",
        JointFault::Alarm(_) => "alarm",
        JointFault::None => "no fault",
    }
}

/// A device thread that did not end as asked.
#[derive(Debug, Error)]
#[error("{error}; {}", .report.left)]
pub struct DeviceFailure {
    /// Why.
    #[source]
    pub error: DeviceError,
    /// What it did until then, and how it left the arm.
    pub report: Box<DeviceReport>,
}
