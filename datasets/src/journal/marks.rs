//! `meta/sinew_episodes.json`: what was remarkable about episodes.
//!
//! LeRobot's episode table has no place for it, and an additional column there would keep files of
//! two writers from being read as one table. Readers that do not know this file ignore it.

use crate::error::{Error, Result};
use crate::fsio;
use crate::info::to_indented_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More than the marks of any real dataset.
const LIMIT_BYTES: u64 = 64 << 20;
/// Gaps kept for one episode; what lies beyond is only counted.
const GAP_LIMIT: usize = 1000;

/// Rows that are missing in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The row, from 0, before which they are missing.
    pub before_row: u64,
    /// How many are missing.
    pub rows: u64,
}

/// What was remarkable about one episode.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EpisodeMark {
    /// Rows that were dropped, with their frames, because the machine could not keep up.
    #[serde(default)]
    pub dropped_rows: u64,
    /// Where they are missing; those after the last row are only in `dropped_rows`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Why the episode ended before it was to end: a full disk, a lost camera, a failed encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// Whether it was recovered after a crash.
    #[serde(default)]
    pub recovered: bool,
}

impl EpisodeMark {
    /// Notes that `rows` rows are missing before row `before_row`.
    pub(crate) fn gap(&mut self, before_row: u64, rows: u64) {
        self.dropped_rows += rows;
        if rows > 0 && self.gaps.len() < GAP_LIMIT {
            self.gaps.push(Gap { before_row, rows });
        }
    }
}

/// The marks of a dataset's episodes, by episode number. Episodes without one were unremarkable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EpisodeMarks {
    /// The marks.
    pub episodes: BTreeMap<u64, EpisodeMark>,
}

impl EpisodeMarks {
    /// Where the file is, under the dataset's root.
    pub fn path(root: &Path) -> PathBuf {
        root.join("meta/sinew_episodes.json")
    }

    /// Reads the marks of the dataset in `root`; a dataset without the file has none.
    pub fn read(root: &Path) -> Result<Self> {
        let path = Self::path(root);
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&path, &fsio::read_limited(&path, LIMIT_BYTES)?)
    }

    /// As [`Self::read`], from the file's contents. `path` is for messages.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, e.to_string()))
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        to_indented_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_survive_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            EpisodeMarks::read(dir.path()).unwrap(),
            EpisodeMarks::default()
        );
        let mut mark = EpisodeMark::default();
        mark.gap(7, 3);
        mark.gap(9, 0);
        assert_eq!((mark.dropped_rows, mark.gaps.len()), (3, 1));
        let marks = EpisodeMarks {
            episodes: [(4, mark)].into(),
        };
        fsio::replace(&EpisodeMarks::path(dir.path()), &marks.to_bytes().unwrap()).unwrap();
        assert_eq!(EpisodeMarks::read(dir.path()).unwrap(), marks);
    }

    proptest! {
        #[test]
        fn hostile_marks_never_panic(text in "\\PC{0,200}") {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("meta")).unwrap();
            std::fs::write(EpisodeMarks::path(dir.path()), text).unwrap();
            let _ = EpisodeMarks::read(dir.path());
        }
    }
}
