//! Datasets from and to other formats.
//!
//! | from | to | pictures |
//! |---|---|---|
//! | LeRobot v2.0, v2.1 | LeRobot v3.0 | moved as they are |
//! | LeRobot v3.0 | MCAP, rosbag2 | moved as they are, or decoded to PNG |
//! | MCAP, rosbag2 that this program wrote | LeRobot v3.0, bit for bit the dataset it was | moved as they are |
//! | MCAP, rosbag2 of a robot | LeRobot v3.0, topics put onto a grid of rows | encoded |
//!
//! All results appear when they are complete, as those of edits do ([`crate::edit`]).

mod mcap;
mod v2;

pub use mcap::{
    Cameras, Container, DEFAULT_START_NS, ExportOptions, Exported, Imported, Inspection, JointUnit,
    Mapping, NEXT_STATE, TimeSource, TopicCount, TopicInfo, TopicKind, TopicUse, export, import,
    inspect,
};

use crate::edit::Report;
use crate::error::{Error, Result};
use crate::info::{CODEBASE_VERSION, Info};
use serde::Serialize;
use std::path::Path;

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Format {
    /// A dataset of LeRobot v2.0 or v2.1.
    #[serde(rename = "lerobot-v2")]
    LeRobotV2,
    /// A dataset of LeRobot v3.0.
    #[serde(rename = "lerobot-v3")]
    LeRobotV3,
    /// MCAP files or rosbag2 folders.
    #[serde(rename = "mcap")]
    Mcap,
}

/// Finds out what `input` is.
///
/// # Errors
/// [`Error::Convert`] if it is nothing of that, or a dataset of a version that is not understood.
pub fn format_of(input: &Path) -> Result<Format> {
    if !input.exists() {
        return Err(Error::convert(input, "it does not exist"));
    }
    if !Info::path(input).exists() {
        return Ok(Format::Mcap);
    }
    let version = v2::version(input)?;
    match version.as_str() {
        CODEBASE_VERSION => Ok(Format::LeRobotV3),
        version if v2::VERSIONS.contains(&version) => Ok(Format::LeRobotV2),
        version => Err(Error::convert(
            input,
            format!(
                "its codebase_version is `{}`; v2.0, v2.1 and v3.0 are understood",
                version.escape_debug()
            ),
        )),
    }
}

/// Makes a v3.0 dataset in the new folder `out` of a v2.0 or v2.1 dataset: few large files from one
/// file an episode, statistics with quantiles, no picture encoded anew.
///
/// # Errors
/// [`Error::Corrupt`] for what is damaged or contradicts itself, [`Error::Convert`] if `out` is in
/// use.
pub fn from_v2(input: &Path, out: &Path) -> Result<Report> {
    v2::convert(input, out).map_err(as_conversion)
}

/// The refusals of the builder of edits, in the words of a conversion.
fn as_conversion(error: Error) -> Error {
    match error {
        Error::Edit { root, problem } => Error::Convert {
            path: root,
            problem,
        },
        other => other,
    }
}
