//! Statistics of pictures: those stored with the episodes, or of the frames that a cut left.

use super::plan::{Origin, Plan, Planned, Source};
use super::videos::{WrittenVideos, is_depth};
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::files::LocalFiles;
use crate::info::Info;
use crate::levels::Levels;
use crate::reader::value::Pixels;
use crate::stats::{FeatureStats, ImageStats, Stats};
use crate::video::VideoReader;
use crate::video::frames::Frames;
use sinew_runtime::frame::Frame;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Camera statistics of each episode of the result, and what a person should know about them.
pub(super) fn cameras(
    plan: &Plan<'_>,
    info: &Info,
    root: &Path,
    videos: &WrittenVideos,
) -> Result<(Vec<Stats>, Vec<String>)> {
    let mut episodes = vec![Stats::default(); plan.segments.len()];
    let mut notes = Vec::new();
    for (planned, source_key) in cameras_of(plan) {
        let stored: Vec<Option<&FeatureStats>> = plan
            .segments
            .iter()
            .map(|s| {
                let episode = &plan.sources[s.source].episodes[s.episode];
                episode.stats.get(source_key)
            })
            .collect();
        let completed = if plan.complete_pictures {
            complete(plan, planned, &stored, info, root, videos)?
        } else {
            BTreeMap::new()
        };
        let missing =
            |(place, old): (usize, &Option<_>)| old.is_none() && !completed.contains_key(&place);
        if stored.iter().enumerate().any(missing) {
            notes.push(format!(
                "{} has no statistics in every episode, so the result has none of it",
                planned.name
            ));
            continue;
        }
        let fresh = trimmed(plan, &planned.name, &planned.feature, info, root, videos)?;
        if fresh.is_none() {
            notes.push(format!(
                "the statistics of {} are those before the cut",
                planned.name
            ));
        }
        let mut fresh = fresh.unwrap_or_default();
        fresh.extend(completed);
        if plan.complete_pictures && lacking(&stored).any(|place| !fresh.contains_key(&place)) {
            notes.push(format!(
                "the pictures of {} cannot be decoded here, so their statistics lack quantiles",
                planned.name
            ));
        }
        for (place, old) in stored.into_iter().enumerate() {
            let new = fresh.remove(&place).or_else(|| old.cloned());
            episodes[place]
                .0
                .extend(new.map(|stats| (planned.name.clone(), stats)));
        }
    }
    Ok((episodes, notes))
}

/// How often each level occurs in the result's pictures, if it has all episodes of its sources, whole,
/// and the sources know it of theirs. Statistics from these are exact; those of the episodes added up
/// are not, as quantiles cannot be added.
pub(super) fn levels(plan: &Plan<'_>) -> Option<Levels> {
    let all: usize = plan.sources.iter().map(|s| s.episodes.len()).sum();
    let taken: BTreeSet<(usize, usize)> = plan
        .segments
        .iter()
        .filter(|s| s.rows() == plan.sources[s.source].episodes[s.episode].length)
        .map(|s| (s.source, s.episode))
        .collect();
    if taken.len() != all || plan.segments.len() != all {
        return None;
    }
    let known = |source: &Source| Levels::read(&source.root, &source.info);
    let known: Vec<Levels> = plan.sources.iter().map(known).collect::<Option<_>>()?;
    let names: Vec<(&str, &str)> = cameras_of(plan).map(|(f, old)| (&*f.name, old)).collect();
    if names.is_empty() {
        return None;
    }
    Levels::joined(&known, &names)
}

/// The statistics of all pictures from their levels.
pub(super) fn exact(plan: &Plan<'_>, levels: &Levels) -> Stats {
    let of = |planned: &Planned| {
        let kind = if is_depth(&planned.feature) {
            ImageStats::depth()
        } else {
            ImageStats::default()
        };
        let stats = levels.statistics(&planned.name, kind)?;
        Some((planned.name.clone(), stats.finish()))
    };
    Stats(cameras_of(plan).filter_map(|(f, _)| of(f)).collect())
}

/// The result's cameras and their names in the sources.
fn cameras_of<'p>(plan: &'p Plan<'_>) -> impl Iterator<Item = (&'p Planned, &'p str)> {
    plan.features.iter().filter_map(|f| match &f.origin {
        Origin::Source(name) if f.feature.is_camera() => Some((f, name.as_str())),
        _ => None,
    })
}

/// The episodes without complete statistics: all of them, or the quantiles that version 2 had not.
fn lacking(stored: &[Option<&FeatureStats>]) -> impl Iterator<Item = usize> {
    let complete = |old: &Option<&FeatureStats>| {
        old.is_some_and(|stats| stats.quantiles.iter().all(|q| !q.is_empty()))
    };
    let places = stored.iter().enumerate();
    places.filter_map(move |(place, old)| (!complete(old)).then_some(place))
}

/// Statistics of the episodes that lack some, from a sample of their frames. Nothing for pictures
/// that cannot be decoded on this machine, or that are no video.
fn complete(
    plan: &Plan<'_>,
    planned: &Planned,
    stored: &[Option<&FeatureStats>],
    info: &Info,
    root: &Path,
    videos: &WrittenVideos,
) -> Result<BTreeMap<usize, FeatureStats>> {
    let mut found = BTreeMap::new();
    if !planned.feature.is_video() || is_depth(&planned.feature) {
        return Ok(found);
    }
    let frames = Frames::new(Arc::new(LocalFiles::new(root)), 0);
    for place in lacking(stored) {
        let Some(span) = videos.spans[place].iter().find(|s| s.key == planned.name) else {
            continue;
        };
        let path = info.video_file(&planned.name, span.file)?;
        let mut stats = ImageStats::default();
        for row in sample(plan.segments[place].rows()) {
            let time_s = span.from_s + row as f64 / f64::from(info.fps);
            let images = match frames.at(&path, &[time_s], TOLERANCE_S, None) {
                Ok(images) => images,
                Err(Error::NoDecoder { .. }) => return Ok(BTreeMap::new()),
                Err(error) => return Err(error),
            };
            for image in images {
                let image = Arc::unwrap_or_clone(image);
                if let Pixels::Rgb(rgb) = image.pixels {
                    stats.add(&Frame::new(image.width as u32, image.height as u32, rgb));
                }
            }
        }
        found.insert(place, stats.finish());
    }
    Ok(found)
}

/// How far a frame may be from its row's time, s.
const TOLERANCE_S: f64 = 1e-4;

/// The rows whose pictures LeRobot samples for statistics: n^0.75 of n, at least 100 and at most
/// 10,000, evenly spread.
fn sample(rows: u64) -> impl Iterator<Item = u64> {
    let wanted = ((rows as f64).powf(0.75) as u64)
        .clamp(100, 10_000)
        .min(rows);
    let step = rows.saturating_sub(1) as f64 / wanted.saturating_sub(1).max(1) as f64;
    (0..wanted).map(move |i| (i as f64 * step).round() as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_all_rows() {
        for (rows, count) in [(0, 0), (1, 1), (99, 99), (1000, 177), (10_000_000, 10_000)] {
            let sample: Vec<u64> = sample(rows).collect();
            assert_eq!(sample.len(), count, "{rows}");
            assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(count < 2 || sample.last() == Some(&(rows - 1)));
        }
    }
}
