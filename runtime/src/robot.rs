//! The seam between the loop and any robot: real bus, emulated bus, or lockstep simulation.

use crate::joints::{JointNames, JointState, JointTarget};
use thiserror::Error;

/// Something that has joints. Owned by one device thread; no method may allocate after the first
/// call, except when it returns an error.
pub trait Robot: Send {
    /// Joint names, in the order of every array.
    fn joints(&self) -> &JointNames;

    /// Measures all joints into `state`. A joint that fails keeps its last value and carries a
    /// [`crate::JointFault`]; an error means that no joint could be read.
    fn read(&mut self, state: &mut JointState) -> Result<(), RobotError>;

    /// Sends goal positions to all joints.
    fn write(&mut self, target: &JointTarget) -> Result<(), RobotError>;

    /// Makes joints hold (`true`) or go limp (`false`). Turning on first sets the goals to the
    /// present positions, so that nothing jumps.
    fn set_torque(&mut self, on: bool) -> Result<(), RobotError>;

    /// Makes one joint go limp. It takes no goals until torque is switched again; the other joints
    /// are not touched.
    fn release(&mut self, joint: usize) -> Result<(), RobotError>;
}

/// Why a robot could not be read or driven. Messages say what, where and what to do.
#[derive(Debug, Clone, Error)]
pub enum RobotError {
    /// The device is gone: unplugged, closed, or its process died.
    #[error("{device}: connection lost ({reason}); check the cable and power, then start again")]
    Disconnected {
        /// Port path or simulator name.
        device: String,
        /// The system's own words.
        reason: String,
    },
    /// No joint answered.
    #[error(
        "{device}: no servo answered within {budget_ms} ms; check power and baud rate, or run `sinew doctor`"
    )]
    Silent {
        /// Port path or simulator name.
        device: String,
        /// Time waited, ms.
        budget_ms: u64,
    },
    /// One joint made the operation impossible.
    #[error("{joint} (id {id}) on {device}: {problem}")]
    Joint {
        /// Port path or simulator name.
        device: String,
        /// Joint name.
        joint: String,
        /// Bus id.
        id: u8,
        /// What went wrong, register included, and what to do.
        problem: String,
    },
    /// The device is there and cannot be used as it was asked to.
    #[error("{device}: {problem}")]
    Unusable {
        /// Port path or simulator name.
        device: String,
        /// What went wrong, and what to do.
        problem: String,
    },
    /// The simulation failed.
    #[error("simulation {world}: {problem}")]
    Simulation {
        /// World name.
        world: String,
        /// What went wrong.
        problem: String,
    },
}
