//! Stored statistics against recomputed ones, value by value.

use super::recompute::recompute_with;
use super::{FeatureStats, QUANTILES, Stats, VALUE_NAMES, read};
use crate::doctor::stored::{Stored, quantile_slack, rank_holds};
use crate::episodes;
use crate::error::Result;
use crate::reader::Dataset;
use serde::Serialize;
use std::collections::HashMap;

/// Discrepancies that are listed; the others are counted.
const LISTED: usize = 1000;
/// How far stored mean and deviation of pictures may be from those of other frames of the same camera,
/// as a part of the greatest level. What was encoded differs from what the camera gave, too.
const PICTURE_SLACK: f64 = 0.03;

/// A stored statistic that is not what the data give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Discrepancy {
    /// Episode; `None` for the whole dataset.
    pub episode: Option<u64>,
    /// Feature.
    pub feature: String,
    /// Entry of the feature, unless it is a single value.
    pub entry: Option<String>,
    /// What is stored, and what the data give.
    pub problem: String,
    /// Whether it is not wrong but a quantile of the dataset that is the mean of the episodes'
    /// quantiles, as lerobot 0.6.1 and recordings have it.
    pub approximate: bool,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CheckReport {
    /// At most one for each feature of each episode and of the dataset; at most 1000.
    pub discrepancies: Vec<Discrepancy>,
    /// How many more there are.
    pub unlisted: u64,
    /// How many are wrong rather than approximate.
    pub wrong: u64,
    /// Statistics that were compared: features of the dataset and of the episodes.
    pub compared: u64,
    /// What could not be computed, and why.
    pub notes: Vec<String>,
}

impl CheckReport {
    fn add(&mut self, found: Discrepancy) {
        self.wrong += u64::from(!found.approximate);
        if self.discrepancies.len() < LISTED {
            self.discrepancies.push(found);
        } else {
            self.unlisted += 1;
        }
    }
}

/// Compares the stored statistics of the dataset and of its episodes with recomputed ones.
/// `progress` is told how many episodes of how many are done.
///
/// # Errors
/// If the stored statistics, rows or pictures cannot be read.
pub fn check(dataset: &Dataset, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport> {
    let info = dataset.info();
    let whole = read(dataset.root(), info)?;
    let table = episodes::read_all(dataset.root(), info, true)?;
    let stored = |episode: Option<usize>| match episode {
        Some(number) => &table[number].stats,
        None => &whole,
    };
    // Of each quantile, whether its rank is that of the stored value.
    let mut ranks: HashMap<(Option<usize>, String), Vec<[bool; 5]>> = HashMap::new();
    let found = recompute_with(dataset, progress, &mut |episode, name, entry, values| {
        let holds = stored(episode).get(name).map(|s| holds(s, entry, values));
        let key = (episode, name.to_owned());
        ranks
            .entry(key)
            .or_default()
            .push(holds.unwrap_or_default());
    })?;
    let mut report = CheckReport {
        notes: found.notes.clone(),
        ..CheckReport::default()
    };
    let whole_first = std::iter::once((None, &found.whole));
    let episodes = found.episodes.iter().enumerate();
    for (episode, stats) in whole_first.chain(episodes.map(|(n, s)| (Some(n), s))) {
        for (name, new) in &stats.0 {
            report.compared += 1;
            let ranks = ranks.get(&(episode, name.clone()));
            let pair = Pair {
                name,
                stored: stored(episode).get(name),
                found: new,
                ranks: ranks.map_or(&[], |r| &r[..]),
            };
            let episodes = episode.is_none().then_some(&found.episodes[..]);
            if let Some((entry, problem, approximate)) = pair.compare(episodes) {
                report.add(Discrepancy {
                    episode: episode.map(|n| n as u64),
                    feature: name.clone(),
                    entry: info.features.get(name).and_then(|f| f.stat_entry(entry)),
                    problem,
                    approximate,
                });
            }
        }
    }
    Ok(report)
}

/// Whether each stored quantile of an entry has its rank among the sorted values.
fn holds(stored: &FeatureStats, entry: usize, sorted: &[f64]) -> [bool; 5] {
    let at = |values: &[f64]| values.get(entry).copied().unwrap_or(f64::NAN);
    let slack = quantile_slack(at(&stored.min), at(&stored.max));
    std::array::from_fn(|quantile| {
        let said = at(&stored.quantiles[quantile]);
        let below = sorted.partition_point(|v| *v < said - slack) as u64;
        let upto = sorted.partition_point(|v| *v <= said + slack) as u64;
        let rank = rank_holds(QUANTILES[quantile].1, sorted.len() as u64, below, upto);
        // Without any finite value there is no rank to miss.
        sorted.is_empty() || (said.is_finite() && slack.is_finite() && rank)
    })
}

/// Nine values an entry, then the count; not-a-number for what is not there.
fn packed(stats: &FeatureStats) -> Vec<f64> {
    let width = stats.mean.len();
    let mut packed = Vec::with_capacity(VALUE_NAMES.len() * width + 1);
    for name in VALUE_NAMES {
        let values = stats.value(name);
        packed.extend((0..width).map(|i| values.get(i).copied().unwrap_or(f64::NAN)));
    }
    packed.push(stats.count as f64);
    packed
}

/// One feature's statistics, as stored and as found.
struct Pair<'a> {
    name: &'a str,
    stored: Option<&'a FeatureStats>,
    found: &'a FeatureStats,
    /// See [`holds`]; one an entry.
    ranks: &'a [[bool; 5]],
}

impl Pair<'_> {
    /// The first discrepancy; `episodes` are those that a dataset's quantiles may be the mean of.
    fn compare(&self, episodes: Option<&[Stats]>) -> Option<(usize, String, bool)> {
        let wrong = |entry, problem| Some((entry, problem, false));
        let Some(stored) = self.stored else {
            return wrong(0, "nothing is stored".into());
        };
        if stored.mean.len() != self.found.mean.len() {
            let (said, is) = (stored.mean.len(), self.found.mean.len());
            return wrong(0, format!("{said} values are stored instead of {is}"));
        }
        if self.found.camera {
            return picture_problem(stored, self.found).map(|(e, p)| (e, p, false));
        }
        let packed = packed(stored);
        let compared = Stored::of(&packed, stored.mean.len());
        let holds = |quantile: usize, entry: usize| {
            self.ranks.get(entry).is_some_and(|ranks| ranks[quantile])
        };
        let mean = |quantile: usize, entry: usize| {
            let mean = episodes.and_then(|all| self.mean_of(all, quantile, entry));
            let said = compared.quantile(quantile, entry);
            mean.is_some_and(|mean| (said - mean).abs() <= compared.quantile_slack(entry))
        };
        let count = self.found.count;
        let first = compared.compare(self.found, count, holds)?;
        // With the means allowed nothing may be left that is wrong.
        match compared.compare(self.found, count, |q, e| holds(q, e) || mean(q, e)) {
            Some((entry, problem)) => wrong(entry, problem),
            None => Some((first.0, first.1, true)),
        }
    }

    /// Count-weighted mean of the episodes' quantiles.
    fn mean_of(&self, episodes: &[Stats], quantile: usize, entry: usize) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for stats in episodes.iter().filter_map(|e| e.get(self.name)) {
            let weight = stats.count as f64;
            sum += stats.quantiles[quantile].get(entry)? * weight;
            count += weight;
        }
        (count > 0.0).then_some(sum / count)
    }
}

/// The first statistic of pictures that cannot be that of this camera. Extremes and quantiles hang on
/// few pixels, whose colours encoding changes, and counts on which frames were taken; they are not
/// compared.
fn picture_problem(stored: &FeatureStats, found: &FeatureStats) -> Option<(usize, String)> {
    let slack = PICTURE_SLACK * found.max.iter().copied().fold(1.0, f64::max);
    for name in ["mean", "std"] {
        for (entry, (said, is)) in stored.value(name).iter().zip(found.value(name)).enumerate() {
            let close = (said - is).abs() <= slack;
            if !close {
                let problem = format!("{name} is {said:.4}, but the pictures give {is:.4}");
                return Some((entry, problem));
            }
        }
    }
    None
}
