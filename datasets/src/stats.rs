//! Statistics of each feature, as LeRobot computes them.
//!
//! Vectors: minimum, maximum, mean, population standard deviation and five quantiles for each
//! entry. LeRobot takes quantiles from a histogram of 5000 bins; here they are the exact values
//! that its histogram approximates (the smallest value with at least `q·n` values at or below it).
//! Cameras: the same for each colour channel over downscaled images, divided by 255 (distances of
//! depth cameras stay as they are). Every frame
//! counts (LeRobot's streaming mode), because sampling would need the episode's length beforehand.
//! [`recompute()`] afterwards knows the lengths, and takes as many frames as LeRobot does.

mod check;
mod pictures;
mod recompute;
pub(crate) mod store;
pub(crate) mod whole;

pub use check::{CheckReport, Discrepancy, check};
pub use recompute::{Recomputed, recompute};
pub use store::{read, write};

use crate::error::{Error, Result};
use crate::features::Features;
use crate::info::to_indented_json;
use serde_json::{Map, Value, json};
use sinew_runtime::frame::Frame;

/// Quantiles and their names.
pub const QUANTILES: [(&str, f64); 5] = [
    ("q01", 0.01),
    ("q10", 0.1),
    ("q50", 0.5),
    ("q90", 0.9),
    ("q99", 0.99),
];
/// Names of the values besides `count`, in LeRobot's order (which has `count` after `std`).
pub(crate) const VALUE_NAMES: [&str; 9] = [
    "min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99",
];

/// Images are downscaled when their larger side has at least this many pixels …
const DOWNSCALE_FROM: u32 = 300;
/// … towards this many.
const DOWNSCALE_TO: u32 = 150;

/// Statistics of one feature: one value for each vector entry or colour channel.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureStats {
    /// Smallest values.
    pub min: Vec<f64>,
    /// Largest values.
    pub max: Vec<f64>,
    /// Means.
    pub mean: Vec<f64>,
    /// Population standard deviations.
    pub std: Vec<f64>,
    /// 1 %, 10 %, 50 %, 90 % and 99 % quantiles.
    pub quantiles: [Vec<f64>; 5],
    /// Number of rows, or images, that went in.
    pub count: u64,
    /// Whether it is a camera: written with shape (3, 1, 1), values in 0..1.
    pub camera: bool,
}

impl FeatureStats {
    /// Statistics of a column group: `values` holds rows of `width` entries. Values that are no
    /// finite numbers count as rows but not as values.
    pub fn of_rows(values: &[f64], width: usize) -> Self {
        Self::of_rows_with(values, width, |_, _| ())
    }

    /// The same; `each` is given every entry with its finite values, sorted.
    pub(crate) fn of_rows_with(
        values: &[f64],
        width: usize,
        mut each: impl FnMut(usize, &[f64]),
    ) -> Self {
        let rows = values.len().checked_div(width).unwrap_or(0);
        let mut stats = Self::empty(width, false);
        stats.count = rows as u64;
        let mut column = Vec::with_capacity(rows);
        for entry in 0..width {
            column.clear();
            column.extend(values.iter().skip(entry).step_by(width));
            stats.set_entry(entry, &mut column);
            each(entry, &column);
        }
        stats
    }

    /// Computes one entry from all its values, which are sorted for that; `count` is left alone.
    pub(crate) fn set_entry(&mut self, entry: usize, column: &mut Vec<f64>) {
        column.retain(|v| v.is_finite());
        column.sort_unstable_by(f64::total_cmp);
        let (Some(smallest), Some(largest)) = (column.first(), column.last()) else {
            return;
        };
        let n = column.len() as f64;
        let mean = column.iter().sum::<f64>() / n;
        let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        self.min[entry] = *smallest;
        self.max[entry] = *largest;
        self.mean[entry] = mean;
        self.std[entry] = variance.sqrt();
        for (slot, (_, q)) in self.quantiles.iter_mut().zip(QUANTILES) {
            slot[entry] = column[rank(q, column.len() as u64) as usize];
        }
    }

    /// The lengths of the nested lists that a value is written as, outermost first.
    pub(crate) fn dims(&self) -> Vec<usize> {
        if self.camera {
            // Shape (3, 1, 1): one-entry lists around each channel.
            vec![self.mean.len(), 1, 1]
        } else {
            vec![self.mean.len()]
        }
    }

    /// Zeros of the given width.
    pub(crate) fn empty(width: usize, camera: bool) -> Self {
        let zeros = || vec![0.0; width];
        Self {
            min: zeros(),
            max: zeros(),
            mean: zeros(),
            std: zeros(),
            quantiles: std::array::from_fn(|_| zeros()),
            count: 0,
            camera,
        }
    }

    /// The values called `name` (see [`VALUE_NAMES`]).
    pub(crate) fn value(&self, name: &str) -> &[f64] {
        match name {
            "min" => &self.min,
            "max" => &self.max,
            "mean" => &self.mean,
            "std" => &self.std,
            _ => QUANTILES
                .iter()
                .position(|(n, _)| *n == name)
                .map_or(&[], |i| &self.quantiles[i]),
        }
    }

    /// Mutable access to the values called `name`.
    pub(crate) fn value_mut(&mut self, name: &str) -> Option<&mut Vec<f64>> {
        Some(match name {
            "min" => &mut self.min,
            "max" => &mut self.max,
            "mean" => &mut self.mean,
            "std" => &mut self.std,
            _ => &mut self.quantiles[QUANTILES.iter().position(|(n, _)| *n == name)?],
        })
    }

    /// Adds another episode's statistics: exact for minimum, maximum, mean and deviation;
    /// count-weighted means for quantiles, which is what LeRobot 0.6.1 writes.
    pub fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let total = a + b;
        for i in 0..self.mean.len().min(other.mean.len()) {
            let mean = (self.mean[i] * a + other.mean[i] * b) / total;
            let spread = |std: f64, m: f64| std * std + (m - mean).powi(2);
            let variance = (spread(self.std[i], self.mean[i]) * a
                + spread(other.std[i], other.mean[i]) * b)
                / total;
            self.mean[i] = mean;
            self.std[i] = variance.sqrt();
            self.min[i] = self.min[i].min(other.min[i]);
            self.max[i] = self.max[i].max(other.max[i]);
        }
        for (mine, theirs) in self.quantiles.iter_mut().zip(&other.quantiles) {
            // The first writers of v3.0 had no quantiles; those of a part say nothing of the whole.
            let length = mine.len().min(theirs.len());
            mine.truncate(length);
            for (m, t) in mine.iter_mut().zip(theirs) {
                *m = (*m * a + t * b) / total;
            }
        }
        self.count += other.count;
    }

    pub(crate) fn to_json(&self) -> Value {
        let dims = self.dims();
        let mut object = Map::new();
        for name in VALUE_NAMES {
            if !self.value(name).is_empty() {
                object.insert(name.into(), nested(self.value(name), &dims));
            }
            if name == "std" {
                object.insert("count".into(), json!([self.count]));
            }
        }
        Value::Object(object)
    }
}

/// Values as lists of lists of the given lengths.
fn nested(values: &[f64], dims: &[usize]) -> Value {
    let Some((length, inner)) = dims.split_first().filter(|(_, inner)| !inner.is_empty()) else {
        return json!(values);
    };
    let size = values.len().checked_div(*length).unwrap_or(0).max(1);
    values
        .chunks(size)
        .map(|part| nested(part, inner))
        .collect()
}

/// Index of the quantile `q` among `n` sorted values.
fn rank(q: f64, n: u64) -> u64 {
    ((q * n as f64).ceil() as u64).clamp(1, n) - 1
}

/// Statistics of all features of a dataset, or of one episode, in feature order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats(pub Vec<(String, FeatureStats)>);

impl Stats {
    /// Statistics of the feature `name`.
    pub fn get(&self, name: &str) -> Option<&FeatureStats> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, s)| s)
    }

    /// Puts the features into the order of the dataset's.
    pub(crate) fn sort(&mut self, features: &Features) {
        let place = |name: &str| features.0.iter().position(|(n, _)| n == name);
        self.0.sort_by_key(|(name, _)| place(name));
    }

    /// Replaces the statistics of a feature.
    pub(crate) fn set(&mut self, name: &str, stats: FeatureStats) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, known)) => *known = stats,
            None => self.0.push((name.to_owned(), stats)),
        }
    }

    /// Adds an episode.
    pub fn merge(&mut self, episode: &Self) {
        for (name, theirs) in &episode.0 {
            match self.0.iter_mut().find(|(n, _)| n == name) {
                Some((_, mine)) => mine.merge(theirs),
                None => self.0.push((name.clone(), theirs.clone())),
            }
        }
    }

    /// The contents of `meta/stats.json`.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let object: Map<String, Value> = self
            .0
            .iter()
            .map(|(n, s)| (n.clone(), s.to_json()))
            .collect();
        // JSON has no NaN; a reader would meet `null` where it wants a number.
        let finite = |s: &FeatureStats| {
            VALUE_NAMES
                .iter()
                .all(|n| s.value(n).iter().all(|v| v.is_finite()))
        };
        if let Some((name, _)) = self.0.iter().find(|(_, s)| !finite(s)) {
            return Err(Error::spec(format!(
                "{name} has values that are not finite numbers"
            )));
        }
        to_indented_json(&object)
    }
}

/// Statistics of one camera, gathered frame by frame.
#[derive(Debug, Clone)]
pub struct ImageStats {
    /// How often each level occurred, one histogram a channel.
    histogram: Vec<Box<[u64]>>,
    /// The level that counts as 1: colours are stored in 0..1, distances as they are.
    one: f64,
    frames: u64,
}

impl Default for ImageStats {
    /// Of a colour camera.
    fn default() -> Self {
        Self {
            histogram: vec![vec![0; 256].into(); 3],
            one: 255.0,
            frames: 0,
        }
    }
}

impl ImageStats {
    /// Of a depth camera, in mm.
    pub fn depth() -> Self {
        Self {
            histogram: vec![vec![0; 1 << 16].into()],
            one: 1.0,
            frames: 0,
        }
    }

    /// Adds an image: every k-th pixel of every k-th row where it is large.
    pub fn add(&mut self, frame: &Frame) {
        self.add_sample(&sample(frame));
    }

    pub(crate) fn add_sample(&mut self, pixels: &[u8]) {
        self.each_level(pixels, |count| *count += 1);
        self.frames += 1;
    }

    /// Of the same kind of camera, without images.
    pub(crate) fn emptied(&self) -> Self {
        let zeros = |histogram: &[u64]| vec![0; histogram.len()].into();
        Self {
            histogram: self.histogram.iter().map(|h| zeros(h)).collect(),
            one: self.one,
            frames: 0,
        }
    }

    /// Adds the images of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.histogram.iter_mut().zip(&other.histogram) {
            mine.iter_mut()
                .zip(theirs.iter())
                .for_each(|(m, t)| *m += t);
        }
        self.frames += other.frames;
    }

    /// Takes back what [`Self::add_sample`] added.
    pub(crate) fn remove_sample(&mut self, pixels: &[u8]) {
        self.each_level(pixels, |count| *count = count.saturating_sub(1));
        self.frames = self.frames.saturating_sub(1);
    }

    fn each_level(&mut self, pixels: &[u8], mut change: impl FnMut(&mut u64)) {
        match &mut self.histogram[..] {
            [distances] => {
                for pixel in pixels.chunks_exact(2) {
                    change(&mut distances[usize::from(u16::from_le_bytes([pixel[0], pixel[1]]))]);
                }
            }
            [red, green, blue] => {
                for pixel in pixels.chunks_exact(3) {
                    change(&mut red[usize::from(pixel[0])]);
                    change(&mut green[usize::from(pixel[1])]);
                    change(&mut blue[usize::from(pixel[2])]);
                }
            }
            _ => {}
        }
    }

    /// The levels that occurred, channel by channel.
    pub(crate) fn levels(&self) -> Vec<Vec<(u16, u64)>> {
        let occurring = |histogram: &[u64]| {
            let counted = histogram
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0);
            counted
                .map(|(level, count)| (level as u16, *count))
                .collect()
        };
        self.histogram.iter().map(|h| occurring(h)).collect()
    }

    /// Adds the levels of `frames` frames.
    pub(crate) fn add_levels(&mut self, levels: &[Vec<(u16, u64)>], frames: u64) {
        for (histogram, levels) in self.histogram.iter_mut().zip(levels) {
            for (level, count) in levels {
                if let Some(all) = histogram.get_mut(usize::from(*level)) {
                    *all = all.saturating_add(*count);
                }
            }
        }
        self.frames += frames;
    }

    /// The statistics so far: of colours in 0..1, of distances in mm.
    pub fn finish(&self) -> FeatureStats {
        let mut stats = FeatureStats::empty(self.histogram.len(), true);
        stats.count = self.frames;
        for (channel, histogram) in self.histogram.iter().enumerate() {
            let pixels = histogram.iter().fold(0_u64, |n, c| n.saturating_add(*c));
            if pixels == 0 {
                continue;
            }
            let n = pixels as f64;
            let weighted = |f: &dyn Fn(f64) -> f64| {
                let counted = histogram.iter().enumerate().filter(|(_, c)| **c > 0);
                counted
                    .map(|(v, c)| f(v as f64 / self.one) * *c as f64)
                    .sum::<f64>()
                    / n
            };
            let level = |index| level_at(histogram, index) / self.one;
            let mean = weighted(&|v| v);
            stats.mean[channel] = mean;
            stats.std[channel] = weighted(&|v| (v - mean).powi(2)).sqrt();
            stats.min[channel] = level(0);
            stats.max[channel] = level(pixels - 1);
            for (slot, (_, q)) in stats.quantiles.iter_mut().zip(QUANTILES) {
                slot[channel] = level(rank(q, pixels));
            }
        }
        stats
    }
}

/// The pixels of an image that count.
pub(crate) fn sample(frame: &Frame) -> Vec<u8> {
    let step = downscale_step(frame.width, frame.height);
    let pixel_bytes = frame.format.bytes();
    let row_bytes = (pixel_bytes * frame.width as usize).max(1);
    let rows = frame.data.chunks_exact(row_bytes).step_by(step);
    let pixels = rows.flat_map(|row| row.chunks_exact(pixel_bytes).step_by(step));
    let mut out = Vec::with_capacity(frame.data.len() / (step * step) + row_bytes);
    pixels.for_each(|pixel| out.extend_from_slice(pixel));
    out
}

/// The level of the `index`-th pixel in sorted order.
fn level_at(histogram: &[u64], index: u64) -> f64 {
    let mut below = 0;
    for (level, count) in histogram.iter().enumerate() {
        below = u64::saturating_add(below, *count);
        if below > index {
            return level as f64;
        }
    }
    histogram.len() as f64 - 1.0
}

/// LeRobot's integer factor for large images.
fn downscale_step(width: u32, height: u32) -> usize {
    let larger = width.max(height);
    if larger < DOWNSCALE_FROM {
        1
    } else {
        (larger / DOWNSCALE_TO) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_equal_those_of_lerobot() {
        // Values from compute_stats of lerobot 0.6.1 on 0..11, rounded by its bin width.
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let stats = FeatureStats::of_rows(&values, 1);
        let found: Vec<f64> = stats.quantiles.iter().map(|q| q[0]).collect();
        assert_eq!(found, [0.0, 1.0, 5.0, 10.0, 11.0]);
        assert_eq!(
            (stats.min[0], stats.max[0], stats.mean[0], stats.count),
            (0.0, 11.0, 5.5, 12)
        );
        assert!((stats.std[0] - 3.452052529534663).abs() < 1e-12);
    }

    #[test]
    fn image_channels_are_separate_and_scaled() {
        let mut stats = ImageStats::default();
        let pixels = [0_u8, 51, 255].repeat(320 * 240);
        stats.add(&Frame::new(320, 240, pixels));
        let found = stats.finish();
        assert_eq!(
            found
                .mean
                .iter()
                .map(|v| (v * 255.0).round())
                .collect::<Vec<_>>(),
            [0.0, 51.0, 255.0]
        );
        assert_eq!(found.quantiles[2], [0.0, 0.2, 1.0]);
        assert_eq!(found.count, 1);
        assert_eq!(
            stats.histogram[0][0],
            160 * 120,
            "a 320 pixel wide image is halved"
        );
    }

    #[test]
    fn distances_stay_in_mm_and_can_be_taken_back() {
        let mut stats = ImageStats::depth();
        let near = Frame::depth(20, 10, &[250; 200]);
        stats.add(&near);
        stats.add(&Frame::depth(20, 10, &[60_000; 200]));
        stats.add(&near);
        let found = stats.finish();
        assert_eq!(
            (found.min[0], found.max[0], found.count),
            (250.0, 60_000.0, 3)
        );
        assert_eq!(found.quantiles[2], [250.0]);
        assert_eq!(found.to_json()["q99"], json!([[[60_000.0]]]));
        (0..2).for_each(|_| stats.remove_sample(&sample(&near)));
        assert_eq!((stats.finish().min[0], stats.finish().count), (60_000.0, 1));
    }

    #[test]
    fn values_of_cameras_are_nested_lists() {
        let camera = FeatureStats::empty(3, true);
        assert_eq!(camera.to_json()["q50"], json!([[[0.0]], [[0.0]], [[0.0]]]));
    }

    #[test]
    fn missing_quantiles_and_values_are_borne() {
        let whole = FeatureStats::of_rows(&[1.0, f64::NAN, 3.0], 1);
        assert_eq!((whole.mean[0], whole.count), (2.0, 3));
        let mut old = FeatureStats::of_rows(&[5.0], 1);
        old.quantiles = Default::default();
        old.merge(&whole);
        assert_eq!((old.max[0], old.count), (5.0, 4));
        assert!(old.to_json().get("q50").is_none());
    }

    proptest! {
        #[test]
        fn merging_equals_computing_at_once(a in prop::collection::vec(-1e3..1e3, 1..40), b in prop::collection::vec(-1e3..1e3, 1..40)) {
            let mut merged = FeatureStats::of_rows(&a, 1);
            merged.merge(&FeatureStats::of_rows(&b, 1));
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            let whole = FeatureStats::of_rows(&all, 1);
            prop_assert!((merged.mean[0] - whole.mean[0]).abs() < 1e-9);
            prop_assert!((merged.std[0] - whole.std[0]).abs() < 1e-9);
            prop_assert_eq!((merged.min[0], merged.max[0], merged.count), (whole.min[0], whole.max[0], whole.count));
        }
    }
}
