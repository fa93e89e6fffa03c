//! Devices with which a person moves a robot.
//!
//! A [`Teleop`] turns what the person does into joint targets. It never waits: what has not
//! happened by now is for the next call.

pub mod keyboard;

pub use keyboard::{JointKey, Key, KeySender, KeyboardOptions, KeyboardTeleop};

use crate::error::DriverError;
use sinew_runtime::{JointState, JointTarget};

/// What the person wants besides motion. Ordered by urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopRequest {
    /// Nothing.
    #[default]
    None,
    /// Let go of the emergency stop.
    Release,
    /// Stop where the robot is, under torque.
    Hold,
    /// Latch the emergency stop.
    Emergency,
}

/// What the person wants of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpisodeCommand {
    /// End this episode and go on to the next.
    Next,
    /// Throw this episode away and record it again.
    Redo,
    /// Go on within the episode with the next task.
    NextTask,
    /// End the recording.
    Quit,
}

/// What one call of [`Teleop::target`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TeleopStatus {
    /// Whether the target changed.
    pub moved: bool,
    /// Most urgent stop request since the last call.
    pub stop: StopRequest,
    /// Last episode command since the last call.
    pub episode: Option<EpisodeCommand>,
}

/// Something with which a person moves a robot.
pub trait Teleop: Send {
    /// Writes goal positions (rad, blueprint order) into `target`, given where the robot is.
    /// Does not wait and does not allocate.
    fn target(
        &mut self,
        state: &JointState,
        target: &mut JointTarget,
    ) -> Result<TeleopStatus, DriverError>;
}
