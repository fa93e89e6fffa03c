//! In what two datasets differ.
//!
//! Episodes are matched by what they hold (`matching.rs`), so that one that was inserted, deleted or
//! moved is seen as such. Then each pair is compared: rows column by column (`rows.rs`), videos by
//! their bytes, then by their encoded frames, then picture by picture (`videos.rs`). Numbers that only
//! say where something is (`index`, `episode_index`, `task_index`, file numbers) are no difference.
//!
//! What is byte for byte the same is not decoded (`files.rs`), so equal datasets take as long as
//! reading them.

mod files;
mod head;
mod matching;
mod rows;
mod statistics;
mod videos;

pub use head::HeadDiff;
pub use rows::ColumnDiff;
pub use statistics::StatisticDiff;
pub use videos::{VideoCount, VideoDiff, VideoVerdict};

use crate::error::Result;
use crate::journal::marks::{EpisodeMark, EpisodeMarks};
use crate::reader::Dataset;
use matching::Matching;
use serde::Serialize;
use std::path::Path;

/// Differing episodes that are described; the others are counted.
const LISTED: usize = 1000;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether to decode pictures whose encoded bytes differ.
    pub pictures: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { pictures: true }
    }
}

/// In what dataset `a` and dataset `b` differ.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Diff {
    /// Rate, robot, features.
    pub head: Vec<HeadDiff>,
    /// Task sentences that only `a` has.
    pub tasks_only_a: Vec<String>,
    /// Task sentences that only `b` has.
    pub tasks_only_b: Vec<String>,
    /// Episodes that are the same in both.
    pub same_episodes: u64,
    /// Episodes of `a` that `b` has nothing of.
    pub only_a: Vec<u64>,
    /// Episodes of `b` that `a` has nothing of.
    pub only_b: Vec<u64>,
    /// Episodes that stand at another place: number in `a`, number in `b`.
    pub moved: Vec<(u64, u64)>,
    /// Episodes that are in both and differ; at most 1000.
    pub episodes: Vec<EpisodeDiff>,
    /// How many more differ.
    pub unlisted: u64,
    /// What was found of the videos of matched episodes.
    pub videos: VideoCount,
    /// `meta/stats.json`, one a feature.
    pub statistics: Vec<StatisticDiff>,
    /// What was not compared, and why.
    pub notes: Vec<String>,
}

impl Diff {
    /// Whether there is no difference.
    pub fn is_same(&self) -> bool {
        self.head.is_empty()
            && self.tasks_only_a.is_empty()
            && self.tasks_only_b.is_empty()
            && self.only_a.is_empty()
            && self.only_b.is_empty()
            && self.moved.is_empty()
            && self.episodes.is_empty()
            && self.statistics.is_empty()
    }
}

/// In what an episode differs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct EpisodeDiff {
    /// Its number in `a`.
    pub a: u64,
    /// Its number in `b`.
    pub b: u64,
    /// Its rows in `a`.
    pub rows_a: u64,
    /// Its rows in `b`.
    pub rows_b: u64,
    /// Row of `a` with which the comparison begins.
    pub from_a: u64,
    /// Row of `b` with which the comparison begins.
    pub from_b: u64,
    /// Columns that differ.
    pub columns: Vec<ColumnDiff>,
    /// Videos whose frames differ.
    pub videos: Vec<VideoDiff>,
    /// What is remarkable about it, if that differs: in `a`, in `b`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marks: Option<Box<(EpisodeMark, EpisodeMark)>>,
}

impl EpisodeDiff {
    /// Rows that are compared.
    fn compared(&self) -> u64 {
        (self.rows_a - self.from_a).min(self.rows_b - self.from_b)
    }

    fn is_same(&self) -> bool {
        self.rows_a == self.rows_b
            && self.columns.is_empty()
            && self.videos.is_empty()
            && self.marks.is_none()
    }
}

/// Both datasets, and what a comparison remembers.
#[derive(Debug)]
struct Both {
    a: Dataset,
    b: Dataset,
    files: files::Files,
    /// Features of both, of the same kind and shape.
    common: Vec<String>,
    options: Options,
}

/// Compares the datasets in the folders `a` and `b`. `progress` is told how many episodes of how many
/// are compared.
///
/// # Errors
/// If one of them cannot be read. Videos that cannot be read are a difference instead.
pub fn diff(
    a: &Path,
    b: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Diff> {
    let (a, b) = (Dataset::open(a)?, Dataset::open(b)?);
    let mut out = Diff {
        head: head::compare(a.info(), b.info()),
        tasks_only_a: missing(a.tasks(), b.tasks()),
        tasks_only_b: missing(b.tasks(), a.tasks()),
        ..Diff::default()
    };
    let mut both = Both {
        common: head::common(a.info(), b.info()),
        a,
        b,
        files: files::Files::default(),
        options: *options,
    };
    let matching = Matching::of(&mut both, &mut out.notes)?;
    let marks = (
        EpisodeMarks::read(both.a.root())?,
        EpisodeMarks::read(both.b.root())?,
    );
    let mut compared = videos::Videos::new(&both)?;
    let total = matching.pairs.len() as u64;
    for (number, pair) in matching.pairs.iter().enumerate() {
        progress(number as u64, total);
        let mut found = EpisodeDiff {
            a: pair.a as u64,
            b: pair.b as u64,
            rows_a: both.a.episodes()[pair.a].length,
            rows_b: both.b.episodes()[pair.b].length,
            ..EpisodeDiff::default()
        };
        if !pair.same_rows {
            rows::compare(&both, &mut found)?;
        }
        compared.compare(&mut both, &mut found, &mut out.videos)?;
        let mark = |marks: &EpisodeMarks, at: u64| marks.episodes.get(&at).cloned();
        let (mark_a, mark_b) = (mark(&marks.0, found.a), mark(&marks.1, found.b));
        if mark_a != mark_b {
            let marks = (mark_a.unwrap_or_default(), mark_b.unwrap_or_default());
            found.marks = Some(Box::new(marks));
        }
        if found.is_same() {
            out.same_episodes += 1;
        } else if out.episodes.len() < LISTED {
            out.episodes.push(found);
        } else {
            out.unlisted += 1;
        }
    }
    progress(total, total);
    out.only_a = matching.only_a;
    out.only_b = matching.only_b;
    out.moved = matching.moved;
    out.statistics = statistics::compare(&both.a, &both.b, &mut out.notes)?;
    Ok(out)
}

/// Sentences of `of` that are not in `other`.
fn missing(of: &[String], other: &[String]) -> Vec<String> {
    let other: std::collections::HashSet<&String> = other.iter().collect();
    of.iter().filter(|t| !other.contains(t)).cloned().collect()
}
