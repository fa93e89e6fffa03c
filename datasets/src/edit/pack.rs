//! Few large files from many small ones.

use super::build::make;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::Result;
use crate::info::Info;
use std::path::Path;

/// Sizes that packed files stay below, bytes. A file with a single episode may be larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a data file.
    pub data_bytes: u64,
    /// Of a video file.
    pub video_bytes: u64,
}

impl Limits {
    /// The sizes that `meta/info.json` gives in MiB.
    pub fn of(info: &Info) -> Self {
        Self {
            data_bytes: info.data_files_size_in_mb.saturating_mul(1 << 20),
            video_bytes: info.video_files_size_in_mb.saturating_mul(1 << 20),
        }
    }
}

/// Joins the files of a dataset up to the sizes of its `info.json`, or to `limits`. Episodes, rows
/// and frames stay as they are; videos are joined without re-encoding.
///
/// # Errors
/// [`Error::Edit`](crate::Error::Edit) if there are no episodes, and whatever is wrong with the
/// source.
pub fn pack(source: &Path, limits: Option<Limits>, target: &Target) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    plan.pack = Some(limits.unwrap_or_else(|| Limits::of(&plan.source().info)));
    make(plan, target)
}
