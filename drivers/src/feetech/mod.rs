//! Feetech STS/SMS serial-bus servos: packets, control table, bus, and the robot made of them.
//!
//! Read [`registers`] for what a servo holds, [`packet`] for what goes over the wire, then
//! [`bus`] and [`robot`].

pub mod bus;
pub mod joint;
pub mod packet;
pub mod port;
pub mod registers;
pub mod robot;
mod startup;

pub use bus::{BusOptions, BusStats, FeetechBus, Reply, ReplyStatus, wire_time_us};
pub use joint::{JointSpec, Protection};
pub use port::LowLatency;
pub use robot::{FeetechRobot, ReadMode, RobotOptions};
pub use startup::CalibrationPolicy;
