//! What the numbers of an episode say: finite, as the statistics claim, and not seen before.

use super::code::Code;
use super::finding::{Findings, Place};
use super::head::{Described, Head};
use super::joints::Joints;
use super::statistics::{Layout, dataset_place, numeric};
use super::stored::rank_holds;
use super::timing::Timing;
use crate::features::{ACTION, STATE};
use crate::stats::{FeatureStats, QUANTILES};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

/// Rows of all episodes together whose motion is kept for the cameras.
const MOTION_LIMIT: usize = 1 << 24;

/// One episode's rows.
#[derive(Debug)]
pub(super) struct EpisodeValues<'a> {
    pub(super) number: u64,
    /// Data file.
    pub(super) file: &'a Path,
    pub(super) rows: u64,
    /// Whether nothing was wrong with its numbering: only then can statistics be compared.
    pub(super) sound: bool,
    /// One vector a numeric feature; shorter than rows × width where the column cannot be used.
    pub(super) values: &'a [Vec<f64>],
    /// Its row of the episode table: place and packed statistics.
    pub(super) table: Option<(Place, &'a [f64])>,
}

/// What is known of one feature in the whole dataset.
#[derive(Debug, Default)]
struct Whole {
    stats: Option<FeatureStats>,
    /// Sums of rows × quantile, five for each entry.
    weighted: Vec<f64>,
    /// Rows below, and rows up to, the stored quantiles; five for each entry.
    below: Vec<u64>,
    upto: Vec<u64>,
    /// Set when some values are missing or wrong in a way that is reported already.
    spoiled: bool,
    /// First episode without statistics, and the number of such episodes.
    without: Option<(u64, u64)>,
}

/// Gathers what all episodes say together.
#[derive(Debug)]
pub(super) struct Content<'a> {
    features: Vec<&'a Described>,
    layout: &'a Layout,
    /// Packed contents of `stats.json`.
    stored: Option<Box<[f64]>>,
    whole: Vec<Whole>,
    joints: Vec<(usize, Joints)>,
    timing: Timing,
    /// Episodes by their actions: number of rows and hash → number and hash of the states.
    seen: HashMap<(u64, u64), (u64, Option<u64>)>,
    moved: HashSet<u64>,
    motion: HashMap<u64, Vec<f32>>,
    motion_rows: usize,
}

impl<'a> Content<'a> {
    /// `filmed`: the episodes whose motion is wanted.
    pub(super) fn new(
        head: &'a Head,
        layout: &'a Layout,
        stored: Option<Box<[f64]>>,
        filmed: HashSet<u64>,
    ) -> Self {
        let features: Vec<&Described> = numeric(head).collect();
        let joints = features
            .iter()
            .enumerate()
            .filter(|(_, f)| f.name == STATE || f.name == ACTION)
            .map(|(at, f)| (at, Joints::new(f, head.fps)));
        Self {
            layout,
            stored,
            whole: features.iter().map(|_| Whole::default()).collect(),
            joints: joints.collect(),
            timing: Timing::new(&features, head.fps),
            features,
            seen: HashMap::new(),
            moved: filmed,
            motion: HashMap::new(),
            motion_rows: 0,
        }
    }

    /// Number of values in a row.
    pub(super) fn row_width(&self) -> usize {
        self.features.iter().map(|f| f.width).sum()
    }

    /// The numeric features, in order.
    pub(super) fn features(&self) -> &[&'a Described] {
        &self.features
    }

    /// No statistics of the whole dataset can be compared: rows are missing.
    pub(super) fn spoil(&mut self) {
        self.whole.iter_mut().for_each(|w| w.spoiled = true);
    }

    /// Takes an episode in.
    pub(super) fn take(&mut self, episode: &EpisodeValues<'_>, out: &mut Findings) {
        for (at, feature) in self.features.clone().into_iter().enumerate() {
            let values = &episode.values[at];
            let usable = values.len() as u64 == episode.rows * feature.width as u64;
            if !usable || !finite(episode, feature, values, out) || !episode.sound {
                self.whole[at].spoiled = true;
                continue;
            }
            let stats = FeatureStats::of_rows(values, feature.stat_width);
            self.compare(at, episode, &stats, out);
            self.add(at, values, &stats);
        }
        let clean = |at: usize| {
            let values = &episode.values[at];
            let width = self.features[at].width as u64;
            values.len() as u64 == episode.rows * width && values.iter().all(|v| v.is_finite())
        };
        let clean: Vec<bool> = (0..self.features.len()).map(clean).collect();
        for (at, joints) in self.joints.iter_mut().filter(|(at, _)| clean[*at]) {
            joints.take(self.features[*at], episode, *at, out);
        }
        if clean.iter().all(|c| *c) {
            self.timing.take(episode, out);
        }
        self.duplicate(episode, out);
        self.keep_motion(episode);
    }

    /// Compares with the episode's own statistics.
    fn compare(
        &mut self,
        at: usize,
        episode: &EpisodeValues<'_>,
        stats: &FeatureStats,
        out: &mut Findings,
    ) {
        let feature = self.features[at];
        let Some((place, stored)) = episode
            .table
            .as_ref()
            .and_then(|(place, packed)| Some((place, self.layout.stored(packed, at)?)))
        else {
            return;
        };
        if stored.is_absent() {
            let without = self.whole[at].without.get_or_insert((episode.number, 0));
            without.1 += 1;
            return;
        }
        let values = &episode.values[at];
        let wrong = stored.compare(stats, episode.rows, |quantile, entry| {
            let (value, slack) = (
                stored.quantile(quantile, entry),
                stored.quantile_slack(entry),
            );
            let column = values.iter().skip(entry).step_by(feature.stat_width);
            let (below, upto) = ranks(column, value, slack);
            rank_holds(QUANTILES[quantile].1, stats.count, below, upto)
        });
        if let Some((entry, problem)) = wrong {
            let place = place.clone().feature(feature.stat_entry(entry));
            out.add(Code::StatsWrong, place, problem);
        }
    }

    fn add(&mut self, at: usize, values: &[f64], stats: &FeatureStats) {
        let (whole, width) = (&mut self.whole[at], self.features[at].stat_width);
        let slots = QUANTILES.len() * width;
        whole.weighted.resize(slots, 0.0);
        whole.below.resize(slots, 0);
        whole.upto.resize(slots, 0);
        let stored = self.stored.as_ref().and_then(|p| self.layout.stored(p, at));
        for entry in 0..width {
            for quantile in 0..QUANTILES.len() {
                let slot = entry * QUANTILES.len() + quantile;
                whole.weighted[slot] += stats.quantiles[quantile][entry] * stats.count as f64;
                let Some(stored) = stored else { continue };
                let (value, slack) = (
                    stored.quantile(quantile, entry),
                    stored.quantile_slack(entry),
                );
                let column = values.iter().skip(entry).step_by(width);
                let (below, upto) = ranks(column, value, slack);
                whole.below[slot] += below;
                whole.upto[slot] += upto;
            }
        }
        match &mut whole.stats {
            Some(sum) => sum.merge(stats),
            None => whole.stats = Some(stats.clone()),
        }
    }

    fn duplicate(&mut self, episode: &EpisodeValues<'_>, out: &mut Findings) {
        let hash_of = |name: &str| {
            let at = self.features.iter().position(|f| f.name == name)?;
            let mut hasher = DefaultHasher::new();
            let values = episode.values.get(at).filter(|v| !v.is_empty())?;
            values.iter().for_each(|v| hasher.write_u64(v.to_bits()));
            Some(hasher.finish())
        };
        let (Some(actions), states) = (hash_of(ACTION), hash_of(STATE)) else {
            return;
        };
        let Some((first, others)) = self.seen.get(&(episode.rows, actions)) else {
            self.seen
                .insert((episode.rows, actions), (episode.number, states));
            return;
        };
        let also = if *others == states {
            "; its states are the same too"
        } else {
            "; its states differ"
        };
        let message = format!(
            "all {} actions are those of episode {first}{also}",
            episode.rows
        );
        let place = Place::file(episode.file)
            .episode(episode.number)
            .feature(ACTION);
        out.add(Code::EpisodeDuplicate, place, message);
    }

    /// Keeps how far the joints had moved by each row, each in units of its range.
    fn keep_motion(&mut self, episode: &EpisodeValues<'_>) {
        if !self.moved.contains(&episode.number) {
            return;
        }
        let at = [STATE, ACTION]
            .iter()
            .find_map(|name| self.features.iter().position(|f| f.name == *name));
        let Some(at) = at else { return };
        let (values, width) = (&episode.values[at], self.features[at].width);
        let rows = values.len() / width.max(1);
        if self.motion_rows + rows > MOTION_LIMIT || values.iter().any(|v| !v.is_finite()) {
            return;
        }
        self.motion_rows += rows;
        let stats = FeatureStats::of_rows(values, width);
        let mut moved = vec![0.0_f32; rows];
        for row in 1..rows {
            let step: f64 = (0..width)
                .map(|entry| {
                    let range = stats.max[entry] - stats.min[entry];
                    let step = values[row * width + entry] - values[(row - 1) * width + entry];
                    if range > 0.0 { step.abs() / range } else { 0.0 }
                })
                .sum();
            moved[row] = moved[row - 1] + step as f32;
        }
        self.motion.insert(episode.number, moved);
    }

    /// Says what only all episodes together can tell; gives the motion that was kept.
    pub(super) fn finish(self, out: &mut Findings) -> HashMap<u64, Vec<f32>> {
        for (at, whole) in self.whole.iter().enumerate() {
            let name = &self.features[at].name;
            if let Some((first, episodes)) = whole.without {
                let message = format!(
                    "{} without statistics of it in the episode table",
                    super::files::of_episodes(episodes)
                );
                let place = Place::default().episode(first).feature(name);
                out.add(Code::StatsMissing, place, message);
            }
            self.compare_whole(at, whole, out);
        }
        for (at, joints) in &self.joints {
            joints.finish(self.features[*at], out);
        }
        self.timing.finish(out);
        self.motion
    }

    fn compare_whole(&self, at: usize, whole: &Whole, out: &mut Findings) {
        let (Some(packed), Some(found), false) = (&self.stored, &whole.stats, whole.spoiled) else {
            return;
        };
        let Some(stored) = self.layout.stored(packed, at) else {
            return;
        };
        let feature = self.features[at];
        if stored.is_absent() {
            let place = dataset_place(&feature.name);
            out.add(Code::StatsMissing, place, "there are no statistics of it");
            return;
        }
        let rows = found.count * feature.stat_width as u64 / feature.width as u64;
        let wrong = stored.compare(found, rows, |quantile, entry| {
            let slot = entry * QUANTILES.len() + quantile;
            let mean = whole.weighted[slot] / found.count as f64;
            let slack = stored.quantile_slack(entry);
            let (_, q) = QUANTILES[quantile];
            (stored.quantile(quantile, entry) - mean).abs() <= slack
                || rank_holds(q, found.count, whole.below[slot], whole.upto[slot])
        });
        if let Some((entry, problem)) = wrong {
            out.add(
                Code::StatsWrong,
                dataset_place(&feature.stat_entry(entry)),
                problem,
            );
        }
    }
}

/// How many values are below `value`, and how many not above it, give or take `slack`.
fn ranks<'a>(column: impl Iterator<Item = &'a f64>, value: f64, slack: f64) -> (u64, u64) {
    let (low, high) = (value - slack, value + slack);
    column.fold((0, 0), |(below, upto), v| {
        (below + u64::from(*v < low), upto + u64::from(*v <= high))
    })
}

/// Whether all values are finite numbers; says which entry first is not.
fn finite(
    episode: &EpisodeValues<'_>,
    feature: &Described,
    values: &[f64],
    out: &mut Findings,
) -> bool {
    let Some(at) = values.iter().position(|v| !v.is_finite()) else {
        return true;
    };
    let count = values.iter().filter(|v| !v.is_finite()).count();
    let (row, entry) = (at / feature.width, at % feature.width);
    let place = Place::file(episode.file)
        .episode(episode.number)
        .frame(row as u64)
        .feature(feature.entry(entry));
    let message = format!("{} in row {row}; {count} such values here", values[at]);
    out.add(Code::NotFinite, place, message);
    false
}
