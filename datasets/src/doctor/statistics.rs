//! Stored statistics against those of the data.
//!
//! Everything is recomputed from all rows. Tolerances, with S the largest magnitude and R the range
//! of an entry: minimum, maximum and mean within 1e-5·S, because lerobot computes in float32;
//! variance within 4e-6·S² + 1e-3 of itself, because lerobot takes it as a difference of squares;
//! quantiles by rank, within two bins of lerobot's histogram (R/5000 each). A quantile
//! of the whole dataset may also be the count-weighted mean of the episodes' quantiles, which is
//! what lerobot 0.6.1 writes. Of a matrix, lerobot takes all values with the same place on the last
//! axis together.

use super::code::Code;
use super::finding::{Findings, Place};
use super::head::{Described, Head, Kind};
use crate::fsio;
use crate::stats::{FeatureStats, QUANTILES, VALUE_NAMES};
use crate::table;
use arrow_array::RecordBatch;
use serde_json::Value;
use std::path::Path;

const FILE: &str = "meta/stats.json";
/// More than the statistics of any dataset.
const FILE_LIMIT_BYTES: u64 = 256 << 20;
/// Bins of lerobot's quantile histogram.
const BINS: f64 = 5000.0;

/// How the statistics of all numeric features lie in one slice: for each feature nine times
/// `width` values, then the count.
#[derive(Debug)]
pub(super) struct Layout {
    fields: Vec<Field>,
    len: usize,
}

#[derive(Debug)]
struct Field {
    name: String,
    width: usize,
    start: usize,
}

impl Layout {
    pub(super) fn of(head: &Head) -> Self {
        let mut layout = Self {
            fields: Vec::new(),
            len: 0,
        };
        for feature in numeric(head) {
            layout.fields.push(Field {
                name: feature.name.clone(),
                width: feature.stat_width,
                start: layout.len,
            });
            layout.len += VALUE_NAMES.len() * feature.stat_width + 1;
        }
        layout
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The statistics of the numeric feature number `feature` in a packed slice.
    pub(super) fn stored<'a>(&self, packed: &'a [f64], feature: usize) -> Option<Stored<'a>> {
        let field = self.fields.get(feature)?;
        let length = VALUE_NAMES.len() * field.width;
        let values = packed.get(field.start..field.start + length + 1)?;
        Some(Stored {
            values: &values[..length],
            count: values[length],
            width: field.width,
        })
    }

    /// Packs what a row of the episode table says; values that are not there are not-a-number.
    pub(super) fn pack_row(&self, batch: &RecordBatch, row: usize) -> Box<[f64]> {
        let mut cell = Vec::new();
        self.pack(|feature, value, out| {
            cell.clear();
            let Some(column) = batch.column_by_name(&format!("stats/{feature}/{value}")) else {
                return;
            };
            if table::numbers(Path::new(""), column, row, &mut cell).is_ok()
                && cell.len() == out.len()
            {
                out.copy_from_slice(&cell);
            }
        })
    }

    /// Packs what `stats.json` says.
    fn pack_json(&self, json: &Value) -> Box<[f64]> {
        let mut cell = Vec::new();
        self.pack(|feature, value, out| {
            cell.clear();
            flatten(&json[feature][value], &mut cell, 8);
            if cell.len() == out.len() {
                out.copy_from_slice(&cell);
            }
        })
    }

    fn pack(&self, mut fill: impl FnMut(&str, &str, &mut [f64])) -> Box<[f64]> {
        let mut packed = vec![f64::NAN; self.len];
        for field in &self.fields {
            let mut at = field.start;
            for name in VALUE_NAMES {
                fill(&field.name, name, &mut packed[at..at + field.width]);
                at += field.width;
            }
            fill(&field.name, "count", &mut packed[at..=at]);
        }
        packed.into()
    }
}

/// The numeric features, in the order that [`Layout`] and [`super::content`] number them.
pub(super) fn numeric(head: &Head) -> impl Iterator<Item = &Described> {
    head.features.iter().filter(|f| f.kind == Kind::Number)
}

fn flatten(value: &Value, out: &mut Vec<f64>, depth: usize) {
    match value {
        Value::Number(number) => out.extend(number.as_f64()),
        Value::Array(list) if depth > 0 => list.iter().for_each(|v| flatten(v, out, depth - 1)),
        _ => {}
    }
}

/// One feature's stored statistics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    values: &'a [f64],
    count: f64,
    width: usize,
}

impl Stored<'_> {
    fn value(&self, name: usize, entry: usize) -> f64 {
        self.values[name * self.width + entry]
    }

    /// The stored quantile number `quantile`.
    pub(super) fn quantile(&self, quantile: usize, entry: usize) -> f64 {
        self.value(4 + quantile, entry)
    }

    /// Whether nothing at all is stored.
    pub(super) fn is_absent(&self) -> bool {
        self.count.is_nan() && self.values.iter().all(|v| v.is_nan())
    }

    /// How far a stored quantile may be off in value: two bins of the stored range, and float32.
    pub(super) fn quantile_slack(&self, entry: usize) -> f64 {
        let (min, max) = (self.value(0, entry), self.value(1, entry));
        2.0 * (max - min).abs() / BINS + 1e-5 * min.abs().max(max.abs()) + 1e-9
    }

    /// The first value that is not that of the data, which has `rows` rows: entry, and what is
    /// wrong. `quantile_holds` judges a stored quantile (number, entry) by rank.
    pub(super) fn compare(
        &self,
        found: &FeatureStats,
        rows: u64,
        quantile_holds: impl Fn(usize, usize) -> bool,
    ) -> Option<(usize, String)> {
        let says = |name: &str, said: f64, is: f64| {
            let said = if said.is_nan() {
                "missing".to_owned()
            } else {
                short(said)
            };
            format!("{name} is {said}, but the data give {}", short(is))
        };
        if self.count != rows as f64 {
            return Some((0, says("count", self.count, rows as f64)));
        }
        for entry in 0..self.width.min(found.mean.len()) {
            let (min, max) = (found.min[entry], found.max[entry]);
            let (scale, deviation) = (min.abs().max(max.abs()), found.std[entry]);
            let slack = 1e-5 * scale + 1e-9;
            let variance_slack = 4e-6 * scale * scale + 1e-3 * deviation * deviation + 1e-12;
            let wanted = [
                ("min", 0, min, slack),
                ("max", 1, max, slack),
                ("mean", 2, found.mean[entry], slack),
            ];
            for (name, at, is, slack) in wanted {
                let said = self.value(at, entry);
                if !within(said, is, slack) {
                    return Some((entry, says(name, said, is)));
                }
            }
            let said = self.value(3, entry);
            let (said_square, square) = (said * said, deviation * deviation);
            if !within(said_square, square, variance_slack) || said < 0.0 {
                return Some((entry, says("std", said, deviation)));
            }
            for (number, (name, _)) in QUANTILES.iter().enumerate() {
                if !quantile_holds(number, entry) {
                    let (said, is) = (self.quantile(number, entry), found.quantiles[number][entry]);
                    return Some((entry, says(name, said, is)));
                }
            }
        }
        None
    }
}

/// Whether two values are the same, give or take `slack`; not-a-number never is.
fn within(said: f64, is: f64, slack: f64) -> bool {
    (said - is).abs() <= slack
}

/// Six digits are enough to see a difference.
fn short(value: f64) -> String {
    let digits = if value.abs() >= 1e6 || (value != 0.0 && value.abs() < 1e-4) {
        return format!("{value:.5e}");
    } else {
        6_usize.saturating_sub(value.abs().max(1.0).log10() as usize)
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Whether a value is the quantile `q` of `n` values, of which `below` are less and `upto` not
/// more than it. Conventions differ in which of the rows around the rank they take, or what
/// between them.
pub(super) fn rank_holds(q: f64, n: u64, below: u64, upto: u64) -> bool {
    let rank = q * n.saturating_sub(1) as f64;
    let lowest = rank.floor().min((q * n as f64).ceil() - 1.0);
    upto as f64 > lowest && below as f64 <= rank.ceil()
}

/// Reads `meta/stats.json`, packed; `None` with a finding if there is none that can be used.
pub(super) fn read_dataset(
    root: &Path,
    layout: &Layout,
    needed: bool,
    out: &mut Findings,
) -> Option<Box<[f64]>> {
    let place = Place::file(Path::new(FILE));
    let path = root.join(FILE);
    if !path.is_file() {
        if needed {
            out.add(
                Code::StatsMissing,
                place,
                "there are no statistics of the dataset",
            );
        }
        return None;
    }
    let parsed = fsio::read_limited(&path, FILE_LIMIT_BYTES)
        .map_err(|e| super::files::problem_of(&e))
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|e| e.to_string()));
    match parsed {
        Ok(json) => Some(layout.pack_json(&json)),
        Err(problem) => {
            let message = format!("the statistics cannot be read: {problem}");
            out.add(Code::StatsMissing, place, message);
            None
        }
    }
}

/// The place of a statement in `stats.json`.
pub(super) fn dataset_place(feature: &str) -> Place {
    Place::file(Path::new(FILE)).feature(feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_allow_for_conventions_but_not_for_wrong_values() {
        // 100 values 0..100, q90: 89 (ours), 89.1 (numpy) and 90 all hold; 80 and 95 do not.
        for (below, upto, holds) in [
            (89, 90, true),
            (90, 90, true),
            (90, 91, true),
            (80, 81, false),
            (95, 96, false),
        ] {
            assert_eq!(rank_holds(0.9, 100, below, upto), holds, "{below}");
        }
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<String> = [0.0, 12.5, -3.0, 123456.789, 1e9, 1e-7].map(short).into();
        assert_eq!(
            shown,
            ["0", "12.5", "-3", "123456.8", "1.00000e9", "1.00000e-7"]
        );
    }
}
