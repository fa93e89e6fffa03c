//! Edits datasets: a new dataset from the episodes of one or several others.
//!
//! Every operation is a plan (`plan.rs`): which episodes, cut where, with which features, from
//! which sources. One builder carries plans out: rows (`rows.rs`), videos (`videos.rs`, moved
//! without re-encoding wherever a cut falls on a key frame), statistics (`../stats/whole.rs`, `video_stats.rs`), and the
//! metadata last (`build.rs`).
//!
//! The source is only read. The result is put together in a hidden folder beside its final place,
//! flushed, and appears by a rename when it is complete (`place.rs`); after an error nothing is
//! left of it. An edit in place is the same with the two folders swapped at the end.
//!
//! Statistics of numbers are computed from the rows of the result, exactly, quantiles included.
//! Statistics of pictures are exact too where the sources know how often each level occurs
//! (`meta/sinew_levels.json`) and all their episodes stay. Else they are those stored with each episode,
//! aggregated as LeRobot does (exact minimum, maximum, mean and deviation; count-weighted means of
//! quantiles); those of trimmed episodes are computed from the frames that are left.

mod add;
pub(crate) mod build;
mod columns;
mod delete;
mod drop;
mod joining;
mod marks;
mod merge;
mod pack;
pub(crate) mod place;
pub(crate) mod plan;
mod reencode;
mod relabel;
mod rename;
mod rows;
#[cfg(test)]
mod sharing_tests;
mod sink;
mod split;
mod trim;
mod video_stats;
mod videos;

pub use add::{AddedRow, add, add_column};
pub use delete::{delete, keep};
pub use drop::drop_features;
pub use merge::merge;
pub use pack::{Limits, pack};
pub use reencode::{Reencode, reencode};
pub use relabel::{Relabel, relabel};
pub use rename::rename;
pub use split::{Part, Share, split};
pub use trim::{Cut, trim};

use serde::Serialize;
use std::path::PathBuf;

/// Where the result of an edit goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A new folder, which must not exist or be empty.
    Folder(PathBuf),
    /// The source's own place. The old dataset stays beside it until the new one is in place, and is
    /// removed then.
    InPlace,
}

/// What an edit made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The resulting dataset.
    pub root: PathBuf,
    /// Its episodes.
    pub episodes: u64,
    /// Its rows.
    pub frames: u64,
    /// Its different task sentences.
    pub tasks: u64,
    /// Its data files.
    pub data_files: u64,
    /// What became of the videos.
    pub videos: VideoWork,
    /// What a person should know about the result; empty if there is nothing.
    pub notes: Vec<String>,
}

/// How the video files of a result were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct VideoWork {
    /// Files that are byte for byte those of the source.
    pub copied_files: u64,
    /// Files whose frames were moved without re-encoding.
    pub remuxed_files: u64,
    /// Files whose frames were decoded and encoded again.
    pub reencoded_files: u64,
    /// Frames in those.
    pub reencoded_frames: u64,
}
