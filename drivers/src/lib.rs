//! Everything that touches a device: servo buses, teleoperation devices, and the emulators that
//! stand in for hardware.
//!
//! The path that data takes:
//!
//! ```text
//! servos ◄─ bytes ─► feetech::bus ─► feetech::robot (rad) ─► sinew_runtime::Robot ─► device thread
//! keys ─► teleop::keyboard ─► JointTarget ─► device thread
//! ```
//!
//! Read [`feetech::registers`] and [`feetech::bus`] first. No bus cycle allocates, waits past its
//! budget, or lets one servo's fault hide the others.

pub mod emulator;
pub mod error;
pub mod feetech;
pub mod teleop;

pub use error::{DriverError, ServoProblem};
