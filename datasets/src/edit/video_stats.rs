//! Statistics of pictures: those stored with the episodes, or of the frames that a cut left.

use super::plan::{Origin, Plan};
use super::videos::{WrittenVideos, is_depth};
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::info::Info;
use crate::stats::{FeatureStats, ImageStats, Stats};
use crate::video::VideoReader;
use sinew_runtime::frame::Frame;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Camera statistics of each episode of the result, and what a person should know about them.
pub(super) fn cameras(
    plan: &Plan<'_>,
    info: &Info,
    root: &Path,
    videos: &WrittenVideos,
) -> Result<(Vec<Stats>, Vec<String>)> {
    let mut episodes = vec![Stats::default(); plan.segments.len()];
    let mut notes = Vec::new();
    for planned in plan.features.iter().filter(|f| f.feature.is_camera()) {
        let Origin::Source(source_key) = &planned.origin else {
            continue;
        };
        let stored: Option<Vec<&FeatureStats>> = plan
            .segments
            .iter()
            .map(|s| {
                plan.sources[s.source].episodes[s.episode]
                    .stats
                    .get(source_key)
            })
            .collect();
        let Some(stored) = stored else {
            notes.push(format!(
                "{} has no statistics in every episode, so the result has none of it",
                planned.name
            ));
            continue;
        };
        let mut fresh = trimmed(plan, &planned.name, &planned.feature, info, root, videos)?;
        if fresh.is_none() {
            notes.push(format!(
                "the statistics of {} are those before the cut",
                planned.name
            ));
        }
        for (place, old) in stored.into_iter().enumerate() {
            let new = fresh.as_mut().and_then(|f| f.remove(&place));
            episodes[place]
                .0
                .push((planned.name.clone(), new.unwrap_or_else(|| old.clone())));
        }
    }
    Ok((episodes, notes))
}

/// Fresh statistics of the trimmed episodes; `None` if there are some that cannot be computed.
fn trimmed(
    plan: &Plan<'_>,
    key: &str,
    feature: &Feature,
    info: &Info,
    root: &Path,
    videos: &WrittenVideos,
) -> Result<Option<BTreeMap<usize, FeatureStats>>> {
    let mut found = BTreeMap::new();
    let places: Vec<usize> = (0..plan.segments.len())
        .filter(|place| {
            let segment = &plan.segments[*place];
            segment.rows() != plan.sources[segment.source].episodes[segment.episode].length
        })
        .collect();
    if places.is_empty() {
        return Ok(Some(found));
    }
    if !feature.is_video() || is_depth(feature) {
        return Ok(None);
    }
    let mut files: BTreeMap<PathBuf, Vec<(usize, u64)>> = BTreeMap::new();
    for place in places {
        let Some(span) = videos.spans[place].iter().find(|s| s.key == key) else {
            continue;
        };
        let first = (span.from_s * f64::from(info.fps)).round() as u64;
        files
            .entry(root.join(info.video_file(key, span.file)?))
            .or_default()
            .push((place, first));
    }
    for (path, episodes) in files {
        match of_file(plan, &path, &episodes) {
            Ok(stats) => found.extend(stats),
            // A build without video moves frames all the same.
            Err(Error::NoVideo) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(found))
}

/// Decodes a file and gathers the pictures of its episodes, given with their first frames.
fn of_file(
    plan: &Plan<'_>,
    path: &Path,
    episodes: &[(usize, u64)],
) -> Result<Vec<(usize, FeatureStats)>> {
    let mut reader = VideoReader::open(path)?;
    let mut gathered: Vec<ImageStats> = episodes.iter().map(|_| ImageStats::default()).collect();
    let mut number = 0;
    while let Some(picture) = reader.next_picture()? {
        let frame = Frame::new(picture.width, picture.height, picture.rgb);
        for ((place, first), stats) in episodes.iter().zip(&mut gathered) {
            if (*first..first + plan.segments[*place].rows()).contains(&number) {
                stats.add(&frame);
            }
        }
        number += 1;
    }
    Ok(episodes
        .iter()
        .zip(&gathered)
        .map(|((place, _), stats)| (*place, stats.finish()))
        .collect())
}
