//! All statistics of a dataset, computed anew from its rows and pictures.

use super::pictures::Cameras;
use super::whole::{DataRows, whole};
use super::{FeatureStats, Stats};
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::reader::Dataset;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// Statistics as the rows and pictures give them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recomputed {
    /// Of all rows together, quantiles exact.
    pub whole: Stats,
    /// Of each episode.
    pub episodes: Vec<Stats>,
    /// What could not be computed, and why; empty if there is nothing.
    pub notes: Vec<String>,
}

/// Computes the statistics of all features with numbers or pictures: of the whole dataset and of each
/// episode. Numbers are exact over all rows; of pictures the frames that LeRobot samples count.
/// `progress` is told how many episodes of how many are done.
///
/// # Errors
/// If rows or pictures cannot be read.
pub fn recompute(dataset: &Dataset, progress: &mut dyn FnMut(u64, u64)) -> Result<Recomputed> {
    recompute_with(dataset, progress, &mut |_, _, _, _| ())
}

/// What is given every entry of every numeric feature: episode (`None` for all rows together),
/// feature, entry, and its finite values, sorted.
pub(super) type EachEntry<'a> = &'a mut dyn FnMut(Option<usize>, &str, usize, &[f64]);

pub(super) fn recompute_with(
    dataset: &Dataset,
    progress: &mut dyn FnMut(u64, u64),
    each: EachEntry<'_>,
) -> Result<Recomputed> {
    let total = dataset.episodes().len() as u64;
    let mut cameras = Cameras::of(dataset)?;
    let mut episodes = Vec::new();
    for (number, episode) in dataset.episodes().iter().enumerate() {
        progress(number as u64, total);
        let mut stats = Stats(of_numbers(dataset, number, each)?);
        stats.0.extend(cameras.episode(episode)?);
        stats.sort(&dataset.info().features);
        episodes.push(stats);
    }
    let rows = rows_of(dataset)?;
    let info = dataset.info();
    let numbers = whole(info, &rows, dataset.len(), |feature, entry, values| {
        each(None, feature, entry, values);
    })?;
    let mut whole = Stats(numbers);
    let notes = cameras.finish(&mut whole);
    whole.sort(&info.features);
    progress(total, total);
    Ok(Recomputed {
        whole,
        episodes,
        notes,
    })
}

/// The numeric features of one episode.
fn of_numbers(
    dataset: &Dataset,
    episode: usize,
    each: EachEntry<'_>,
) -> Result<Vec<(String, FeatureStats)>> {
    let mut found = Vec::new();
    let features = dataset.info().features.iter();
    for (name, feature) in features.filter(|(_, f)| f.is_numeric()) {
        let series = dataset.series(episode as u64, name)?;
        let width = feature.stat_width().unwrap_or(1);
        let mut stats = FeatureStats::of_rows_with(&series.values, width, |entry, values| {
            each(Some(episode), name, entry, values);
        });
        stats.count = series.len() as u64;
        found.push((name.to_owned(), stats));
    }
    Ok(found)
}

/// The data files, and which of their rows belong to episodes.
fn rows_of(dataset: &Dataset) -> Result<Vec<DataRows>> {
    let mut files: BTreeMap<PathBuf, Vec<Range<u64>>> = BTreeMap::new();
    for episode in dataset.episodes() {
        let path = file_of(dataset, episode)?;
        let range = episode.from_index..episode.to_index;
        files.entry(path).or_default().push(range);
    }
    let rows = files.into_iter().map(|(path, ranges)| DataRows {
        path,
        indices: Some(ranges),
    });
    Ok(rows.collect())
}

fn file_of(dataset: &Dataset, episode: &Episode) -> Result<PathBuf> {
    let path = dataset.root().join(dataset.info().data_file(episode.data)?);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::corrupt(&path, "this data file is missing"))
    }
}
