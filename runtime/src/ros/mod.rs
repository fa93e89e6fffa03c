//! ROS 2 messages and their encoding, without any transport: `topics` sends them over zenoh, and the
//! datasets crate keeps them in MCAP files.

pub mod cdr;
pub mod messages;
