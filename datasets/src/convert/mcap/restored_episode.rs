//! An episode on its way back from messages.

use super::restore::CUT;
use super::restored_rows::Column;
use super::restored_video::VideoIn;
use crate::convert::v2;
use crate::error::Result;
use crate::journal::marks::EpisodeMark;
use crate::stats::Stats;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// An episode that comes in.
pub(super) struct Open {
    /// What the record before it says.
    pub(super) about: BTreeMap<String, String>,
    pub(super) rows: u64,
    pub(super) columns: BTreeMap<String, Column>,
    pub(super) videos: BTreeMap<String, VideoIn>,
    /// Where tasks begin, and their numbers.
    pub(super) tasks: Vec<(u64, u64)>,
    pub(super) bytes: usize,
}

impl Open {
    pub(super) fn frame(
        &mut self,
        path: &Path,
        scratch: &Path,
        feature: &str,
        row: u64,
        data: &[u8],
    ) -> Result<()> {
        let video = match self.videos.get_mut(feature) {
            Some(video) => video,
            None => {
                let text = self.about.get("videos").map_or("", String::as_str);
                let videos: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
                let about = videos.get(feature).cloned().unwrap_or_default();
                let file = scratch.join("frames").join(self.videos.len().to_string());
                let video = VideoIn::create(path, &file, &about)?;
                self.videos.entry(feature.to_owned()).or_insert(video)
            }
        };
        video.take(row, data)
    }

    /// The rows that are there of all features: name, and whether it is a video.
    pub(super) fn whole_rows<'f>(&self, features: impl Iterator<Item = (&'f str, bool)>) -> u64 {
        let mut rows = self.rows;
        let mut videos = Vec::new();
        for (name, is_video) in features {
            if is_video {
                videos.push(self.videos.get(name));
            } else {
                rows = rows.min(self.columns.get(name).map_or(0, |c| c.rows));
            }
        }
        // A cut must be possible in all videos at once.
        loop {
            let possible = |video: &Option<&VideoIn>| video.map_or(0, |v| v.rows_within(rows));
            let fewest = videos.iter().map(possible).min().unwrap_or(rows);
            if fewest == rows {
                return rows;
            }
            rows = fewest;
        }
    }

    /// The task of each row.
    pub(super) fn task_numbers(&self, rows: u64) -> Vec<i64> {
        let mut numbers = Vec::new();
        let mut current = 0;
        let mut next = self.tasks.iter().peekable();
        for row in 0..rows {
            while let Some((_, number)) = next.next_if(|(from, _)| *from <= row) {
                current = *number as i64;
            }
            numbers.push(current);
        }
        numbers
    }

    pub(super) fn mark(&self, rows: u64) -> EpisodeMark {
        let text = self.about.get("mark").map_or("", String::as_str);
        let mut mark: EpisodeMark = serde_json::from_str(text).unwrap_or_default();
        if rows < self.rows {
            mark.ended_early = Some(CUT.into());
        }
        mark
    }

    /// Statistics of the cameras; none of an episode that was cut, so that they are computed.
    pub(super) fn stats(&self, rows: u64) -> Stats {
        let text = self.about.get("camera_stats").map_or("", String::as_str);
        let stored: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let all = stored.into_iter().filter(|_| rows == self.rows);
        Stats(
            all.filter_map(|(name, values)| Some((name, v2::of_json(&values)?)))
                .collect(),
        )
    }
}
