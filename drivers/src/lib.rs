//! Everything that touches a device: servo buses, teleoperation devices, and the emulators that
//! stand in for hardware.
//!
//! The path that data takes:
//!
//! ```text
//! servos ◄─ bytes ─► feetech::bus ◄─ ticks ─► feetech::robot (rad, a sinew_runtime::Robot) ◄─► device thread
//! keys ─► teleop::keyboard (an operator's thread) ─► slot<JointTarget> ─► control loop ─► device thread
//! pseudo-terminal ◄─ bytes ─► emulator::pty ◄─► emulator::chain (servos) ◄─► a Plant: inertia, or MuJoCo in sim
//! ```
//!
//! Read [`feetech::registers`] and [`feetech::bus`] first. No bus cycle allocates, waits past its
//! budget, or lets one servo's fault hide the others.

pub mod emulator;
pub mod error;
pub mod feetech;
pub mod teleop;

pub use error::{DriverError, ServoProblem};
