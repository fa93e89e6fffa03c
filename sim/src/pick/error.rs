//! What can go wrong around the pick-and-place world, in words a user can act on.

use crate::SimError;
use std::path::PathBuf;
use thiserror::Error;

/// Why the `so101-pick` world could not be built, served or reached.
#[derive(Debug, Error)]
pub enum PickError {
    /// The physics or the renderer failed.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// The arm's blueprint could not be loaded.
    #[error(transparent)]
    Blueprint(#[from] sinew_hardware::HardwareError),
    /// Whoever decides could not go on.
    #[error("so101-pick: the episode of seed {seed} broke off: {problem}")]
    Decision {
        /// Seed of the episode.
        seed: u64,
        /// In the words of who decides.
        problem: String,
    },
    /// A configuration value cannot be used.
    #[error("so101-pick: {field} = {value} {problem}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// The scripted operator found no way to put the gripper where it should go.
    #[error(
        "so101-pick: the arm cannot {action} at ({x:.3}, {y:.3}) m; reset the episode with another seed"
    )]
    Unreachable {
        /// What the operator wanted to do there.
        action: &'static str,
        /// Where, m, arm base frame.
        x: f64,
        /// Where, m, arm base frame.
        y: f64,
    },
    /// The arm is where the cube should go.
    #[error(
        "so101-pick: the arm is where seed {seed} puts the cube; move it home, then reset again"
    )]
    Blocked {
        /// Seed of the refused reset.
        seed: u64,
    },
    /// A reset was asked for over the link, and the simulator refused.
    #[error("so101-pick: reset to seed {seed} refused: {reason}")]
    Refused {
        /// Seed of the refused reset.
        seed: u64,
        /// The simulator's words.
        reason: String,
    },
    /// A step in lockstep cannot be made.
    #[error("so101-pick: step refused: {problem}")]
    Step {
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The emulated servo bus could not be set up or broke down.
    #[error("so101-pick: emulated servo bus: {reason}")]
    Bus {
        /// What the emulator said.
        reason: String,
    },
    /// A thread of the simulator could not be started.
    #[error(
        "so101-pick: cannot start thread {thread}: {reason}; check the limit on processes (ulimit -u)"
    )]
    Spawn {
        /// Name of the thread.
        thread: &'static str,
        /// The system's own words.
        reason: String,
    },
    /// A thread of the simulator ended on its own.
    #[error("so101-pick: thread {thread} stopped: {reason}; start the simulation again")]
    Stopped {
        /// Name of the thread.
        thread: &'static str,
        /// Its error, or its panic message.
        reason: String,
    },
    /// The simulator did not answer in time.
    #[error(
        "so101-pick: no answer to `{request}` within {waited_ms} ms; the machine may be overloaded, close other programs or start the simulator with a smaller --camera-fps"
    )]
    Timeout {
        /// What was asked for.
        request: &'static str,
        /// How long the caller waited, ms.
        waited_ms: u64,
    },
    /// The socket between simulator and client failed.
    #[error("simulator link {path}: {reason}; is `sinew sim so101-pick` still running?", path = path.display())]
    Link {
        /// The socket.
        path: PathBuf,
        /// The system's own words.
        reason: String,
    },
    /// The peer of the link is gone.
    #[error("{reason}")]
    Closed {
        /// What that means, and how it showed.
        reason: String,
    },
    /// The peer sent something that is not the link's protocol.
    #[error("simulator link: {problem}; both ends must be of the same sinew version")]
    Protocol {
        /// What was wrong with the bytes.
        problem: String,
    },
}
