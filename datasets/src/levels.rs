//! `meta/sinew_levels.json`: how often each level occurs in each camera's pictures of the whole
//! dataset, so that its statistics stay exact however many sessions add to it.
//!
//! Pictures cannot be counted again later, because decoding all of them takes too long. The file says
//! of how many frames it speaks; when these are not all, somebody else changed the dataset, and it is
//! ignored. Readers that do not know it ignore it anyway.

use crate::error::{Error, Result};
use crate::fsio;
use crate::info::Info;
use crate::stats::ImageStats;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More than the levels of any real dataset: 16-bit depth of dozens of cameras.
const LIMIT_BYTES: u64 = 64 << 20;

/// The levels of all cameras.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Levels {
    /// Frames of the dataset that are in here.
    frames: u64,
    /// By camera feature and channel: levels and how often they occur.
    cameras: BTreeMap<String, Vec<Vec<(u16, u64)>>>,
}

impl Levels {
    /// Where the file is, under the dataset's root.
    pub(crate) fn name() -> PathBuf {
        "meta/sinew_levels.json".into()
    }

    /// Reads the levels of the dataset in `root`; `None` if not all its frames are in them.
    pub(crate) fn read(root: &Path, info: &Info) -> Option<Self> {
        if info.total_frames == 0 {
            return Some(Self::default());
        }
        let bytes = fsio::read_limited(&root.join(Self::name()), LIMIT_BYTES).ok()?;
        let levels: Self = serde_json::from_slice(&bytes).ok()?;
        (levels.frames == info.total_frames).then_some(levels)
    }

    /// Adds an episode of `rows` rows, and makes the cameras' statistics those of all episodes.
    pub(crate) fn add(&mut self, rows: u64, cameras: &mut [(String, ImageStats)]) {
        self.frames += rows;
        for (key, stats) in cameras {
            if let Some(before) = self.cameras.get(key) {
                stats.add_levels(before, self.frames - rows);
            }
            self.cameras.insert(key.clone(), stats.levels());
        }
    }

    /// Those of several datasets in one. `names` are the cameras to keep: the name in the result, the
    /// name in the datasets. `None` if a dataset lacks one of them.
    pub(crate) fn joined(datasets: &[Self], names: &[(&str, &str)]) -> Option<Self> {
        let mut joined = Self::default();
        for levels in datasets {
            joined.frames += levels.frames;
            for (new, old) in names {
                let theirs = levels.cameras.get(*old)?;
                let mine = joined.cameras.entry((*new).to_owned()).or_default();
                mine.resize(mine.len().max(theirs.len()), Vec::new());
                for (mine, theirs) in mine.iter_mut().zip(theirs) {
                    *mine = sum(mine, theirs);
                }
            }
        }
        Some(joined)
    }

    /// Makes `empty`, of the camera's kind, the statistics of all its pictures.
    pub(crate) fn statistics(&self, camera: &str, mut empty: ImageStats) -> Option<ImageStats> {
        empty.add_levels(self.cameras.get(camera)?, self.frames);
        Some(empty)
    }

    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::spec(e.to_string()))
    }
}

/// Counts of one channel's levels, added up.
fn sum(a: &[(u16, u64)], b: &[(u16, u64)]) -> Vec<(u16, u64)> {
    let mut counts: BTreeMap<u16, u64> = a.iter().copied().collect();
    for (level, count) in b {
        let all = counts.entry(*level).or_default();
        *all = all.saturating_add(*count);
    }
    counts.into_iter().collect()
}
