//! What every other crate stands on: the messages that flow between threads, the clock that
//! stamps them, and the two real-time threads that move a robot.
//!
//! The path that data takes:
//!
//! ```text
//! Robot::read ─► device thread ─► slot<JointState> ─► control loop ─► ring<Tick> ─► recorder, topics, panel
//!              ◄─ safety filter ◄─ slot<JointTarget> ◄─ action queue ◄─ inference thread
//! ```
//!
//! Read [`joints`] and [`robot`] first, then [`device`] and [`control`]. Units are SI and
//! radians throughout; degrees and normalised ranges exist only at the edges.

pub mod actions;
pub mod clock;
pub mod control;
pub mod device;
pub mod frame;
pub mod histogram;
pub mod joints;
pub mod lockstep;
pub mod pace;
pub mod ring;
pub mod robot;
pub mod ros;
pub mod rt;
pub mod safety;
pub mod slot;
pub mod stop;
#[cfg(feature = "topics")]
pub mod topics;

pub use clock::{Clock, MonotonicClock, Nanos, SteppedClock};
pub use frame::{Frame, FramePool};
pub use joints::{JointCounts, JointFault, JointNames, JointState, JointTarget, MAX_JOINTS};
pub use robot::{Robot, RobotError};
pub use stop::{StopCause, StopToken};
