//! What can be wrong with a blueprint, a calibration or a pose.

use std::path::PathBuf;
use thiserror::Error;

/// Every error of this crate. Messages say what, where and what to do.
#[derive(Debug, Error)]
pub enum HardwareError {
    /// No built-in robot, folder or file has this name.
    #[error(
        "no robot named `{name}`; known robots: {known}; for your own, give the path of a folder that holds robot.toml"
    )]
    UnknownRobot {
        /// What was asked for.
        name: String,
        /// Names that would have worked, comma separated.
        known: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}; check that the file exists and that you may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(
        "cannot write {path}: {source}; check that the folder is writable and the disk is not full"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A robot.toml is not TOML, or a key is unknown, missing or of the wrong kind.
    #[error(
        "{file}:{line}:{column}: {problem}; correct this key (the built-in so101 shows every one)"
    )]
    Schema {
        /// The file, or `built-in <name>`.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A robot.toml is well formed but contradicts itself.
    #[error("{file}:{line}: {key}: {problem}")]
    Invalid {
        /// The file, or `built-in <name>`.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The key, e.g. `joints.elbow_flex.limits_rad`.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The robot's model file is not there.
    #[error("{robot}: model file {file} not found (looked in {searched}); {hint}")]
    ModelMissing {
        /// Robot name.
        robot: String,
        /// The file as the blueprint names it.
        file: String,
        /// Folders tried, comma separated.
        searched: String,
        /// How to get it.
        hint: String,
    },
    /// The blueprint has no such section.
    #[error("{robot}: the blueprint has no {section}; add it to robot.toml")]
    MissingSection {
        /// Robot name.
        robot: String,
        /// The section, e.g. `[kinematics]`.
        section: String,
    },
    /// A calibration file is not what LeRobot writes.
    #[error(
        "{file}:{line}:{column}: {problem}; restore the file, or calibrate again with LeRobot (`lerobot-calibrate`)"
    )]
    CalibrationSyntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A calibration holds values that no servo can have, or does not fit the robot.
    #[error(
        "calibration of {joint}: {problem}; give this robot's own file, or calibrate with LeRobot (`lerobot-calibrate`)"
    )]
    Calibration {
        /// Joint name.
        joint: String,
        /// What is wrong.
        problem: String,
    },
    /// A robot id that cannot be a file name.
    #[error(
        "`{id}` cannot name a calibration file; use letters, digits, `.`, `-` and `_`, and start with a letter or digit"
    )]
    BadId {
        /// What was given.
        id: String,
    },
    /// Neither `HF_LEROBOT_CALIBRATION` nor a home directory is set.
    #[error("no place for calibration files: set HF_LEROBOT_CALIBRATION or HOME")]
    NoHome,
    /// No tool frame has this name.
    #[error("{robot} has no tool frame `{tool}`; it has: {known}")]
    UnknownTool {
        /// Robot name.
        robot: String,
        /// What was asked for.
        tool: String,
        /// Tool frames of the robot, comma separated.
        known: String,
    },
    /// A request to the kinematics makes no sense, e.g. a NaN target.
    #[error("kinematics: {problem}")]
    BadGoal {
        /// What is wrong and what to do.
        problem: String,
    },
    /// Inverse kinematics found no joint angles for the target.
    #[error(
        "target is out of reach: the tool stays {distance_m:.4} m away; move the target closer or relax its direction"
    )]
    Unreachable {
        /// Distance from the target at the best pose found, m.
        distance_m: f64,
    },
}
