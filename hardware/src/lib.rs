//! What a robot is: its joints, buses, limits, units, shape and safety policy, read from one
//! `robot.toml`, plus the arithmetic that depends on nothing else.
//!
//! ```text
//! so101/robot.toml ─► Blueprint ─┬─► drivers (buses, ids, limits)      ┌─► safety filter (limits)
//! <id>.json (LeRobot) ─► Calibration ─► Units: raw ticks ⇄ rad ⇄ LeRobot units ─► recorder, policies
//!                                └─► Chain: joints (rad) ⇄ tool pose (m)
//! ```
//!
//! Read [`blueprint`] first; the two robots that ship with Sinew (`so101`, `go2`) are compiled in,
//! so the binary finds them anywhere. Positions are rad inside; [`units`] is the one place where
//! degrees and 0..100 appear, [`calibration`] the one where servo ticks do.

pub mod blueprint;
pub mod calibration;
pub mod error;
pub mod kinematics;
pub mod units;

pub use blueprint::{Blueprint, ModelSource, Norm};
pub use calibration::{Calibration, JointCalibration};
pub use error::HardwareError;
pub use kinematics::{Chain, Goal, Pose, Solution};
pub use units::{JointUnits, Units};

/// Largest text file that is read, bytes: a hundred times the longest real one.
const TEXT_LIMIT: u64 = 1 << 20;

/// A whole text file; one that is too large to be meant is an error before it fills the memory.
fn read_text(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(TEXT_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_LIMIT {
        return Err(std::io::Error::other(format!(
            "it has more than {TEXT_LIMIT} bytes"
        )));
    }
    Ok(text)
}
