//! What the two files `meta/stats.json` say.

use crate::error::{Error, Result};
use crate::reader::Dataset;
use crate::stats::{self, FeatureStats, Stats, VALUE_NAMES};
use serde::Serialize;

/// Values closer than this part of the larger one are the same: text has finitely many digits.
const SAME: f64 = 1e-9;

/// A feature whose statistics differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatisticDiff {
    /// Feature.
    pub feature: String,
    /// Values that differ.
    pub values: u64,
    /// The value that is furthest apart for its size: `mean`, `count`, …
    pub name: String,
    /// Its entry, unless it is a single value.
    pub entry: Option<String>,
    /// What `a` says; `None` if nothing.
    pub a: Option<f64>,
    /// What `b` says; `None` if nothing.
    pub b: Option<f64>,
}

pub(super) fn compare(
    a: &Dataset,
    b: &Dataset,
    notes: &mut Vec<String>,
) -> Result<Vec<StatisticDiff>> {
    let (Some(mine), Some(theirs)) = (stored(a, notes)?, stored(b, notes)?) else {
        return Ok(Vec::new());
    };
    let features = a.info().features.iter();
    let differing = features.filter_map(|(name, feature)| {
        let pair = (mine.get(name), theirs.get(name));
        // A feature that only one has is a difference of the heads.
        b.info().features.get(name)?;
        let worst = worst(pair)?;
        Some(StatisticDiff {
            feature: name.to_owned(),
            entry: (worst.name != "count")
                .then(|| feature.stat_entry(worst.entry))
                .flatten(),
            name: worst.name.to_owned(),
            values: worst.values,
            a: worst.a,
            b: worst.b,
        })
    });
    Ok(differing.collect())
}

fn stored(dataset: &Dataset, notes: &mut Vec<String>) -> Result<Option<Stats>> {
    match stats::read(dataset.root(), dataset.info()) {
        Ok(stats) => Ok(Some(stats)),
        Err(error @ (Error::Io { .. } | Error::Corrupt { .. })) => {
            notes.push(format!("statistics were not compared: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

struct Worst {
    apart: f64,
    values: u64,
    name: &'static str,
    entry: usize,
    a: Option<f64>,
    b: Option<f64>,
}

fn worst((a, b): (Option<&FeatureStats>, Option<&FeatureStats>)) -> Option<Worst> {
    let mut worst: Option<Worst> = None;
    let mut take = |name, entry, a: Option<f64>, b: Option<f64>| {
        let apart = match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() / a.abs().max(b.abs()).max(f64::MIN_POSITIVE),
            (None, None) => 0.0,
            _ => f64::INFINITY,
        };
        if apart <= SAME {
            return;
        }
        let values = worst.as_ref().map_or(0, |w| w.values) + 1;
        match &mut worst {
            Some(known) if known.apart >= apart => known.values = values,
            _ => {
                worst = Some(Worst {
                    apart,
                    values,
                    name,
                    entry,
                    a,
                    b,
                });
            }
        }
    };
    let count = |s: Option<&FeatureStats>| s.map(|s| s.count as f64);
    take("count", 0, count(a), count(b));
    for name in VALUE_NAMES {
        let values = |s: Option<&FeatureStats>| s.map_or(Vec::new(), |s| s.value(name).to_vec());
        let (a, b) = (values(a), values(b));
        for entry in 0..a.len().max(b.len()) {
            take(name, entry, a.get(entry).copied(), b.get(entry).copied());
        }
    }
    worst
}
