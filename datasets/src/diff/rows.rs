//! The rows of a matched episode, column by column.

use super::{Both, EpisodeDiff};
use crate::error::Result;
use crate::features::{ACTION, Feature, STATE};
use crate::reader::{Dataset, Series};
use serde::Serialize;
use std::collections::HashMap;

/// Rows by which episodes of different lengths are laid beside each other.
const ALIGNING_ROWS: usize = 2000;

/// A column that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDiff {
    /// Feature, or `task`.
    pub feature: String,
    /// First row of `a` in which it differs.
    pub first_row: u64,
    /// Rows in which it differs.
    pub rows: u64,
    /// The largest difference; `None` for what is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<LargestDiff>,
}

/// Where two columns of numbers are furthest apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LargestDiff {
    /// Row of `a`.
    pub row: u64,
    /// Entry of the feature, unless it is a single value.
    pub entry: Option<String>,
    /// Value in `a`.
    pub a: f64,
    /// Value in `b`.
    pub b: f64,
}

/// Compares the rows of a pair, which `out` names, and says there what differs.
pub(super) fn compare(both: &Both, out: &mut EpisodeDiff) -> Result<()> {
    if out.rows_a != out.rows_b {
        (out.from_a, out.from_b) = align(both, out)?;
    }
    for name in &both.common {
        let Some(feature) = both.a.info().features.get(name) else {
            continue;
        };
        // Rows that were shifted have other times by that alone.
        let shifted = name == "timestamp" && out.from_a != out.from_b;
        if feature.is_camera() || shifted {
            continue;
        }
        let found = if feature.is_numeric() {
            let (a, b) = (both.a.series(out.a, name)?, both.b.series(out.b, name)?);
            numbers(name, feature, &a, &b, out)
        } else {
            let (a, b) = (
                both.a.row_hashes(out.a, name)?,
                both.b.row_hashes(out.b, name)?,
            );
            others(name, &a, &b, out)
        };
        out.columns.extend(found);
    }
    let (a, b) = (tasks(&both.a, out.a)?, tasks(&both.b, out.b)?);
    out.columns.extend(others("task", &a, &b, out));
    Ok(())
}

/// The task sentence of each row; a number where there is none.
pub(super) fn tasks(
    dataset: &Dataset,
    episode: u64,
) -> Result<Vec<std::result::Result<&str, i64>>> {
    let numbers = dataset.series(episode, "task_index")?;
    let sentence = |number: &f64| {
        let at = *number as i64;
        let sentence = usize::try_from(at)
            .ok()
            .and_then(|at| dataset.tasks().get(at));
        sentence.map(String::as_str).ok_or(at)
    };
    Ok(numbers.values.iter().map(sentence).collect())
}

/// The first rows to compare: those by which most rows of the shorter episode meet equal ones.
fn align(both: &Both, pair: &EpisodeDiff) -> Result<(u64, u64)> {
    let common = |name: &&str| both.common.iter().any(|n| n == name);
    let Some(name) = [STATE, ACTION].into_iter().find(common) else {
        return Ok((0, 0));
    };
    let (a, b) = (
        both.a.row_hashes(pair.a, name)?,
        both.b.row_hashes(pair.b, name)?,
    );
    let (short, long) = if a.len() < b.len() {
        (&a, &b)
    } else {
        (&b, &a)
    };
    let mut places: HashMap<u64, Option<usize>> = HashMap::new();
    for (place, row) in long.iter().enumerate() {
        // A row that comes twice says nothing.
        places
            .entry(*row)
            .and_modify(|p| *p = None)
            .or_insert(Some(place));
    }
    let mut votes: HashMap<i64, usize> = HashMap::new();
    for (row, hash) in short.iter().enumerate().take(ALIGNING_ROWS) {
        if let Some(Some(place)) = places.get(hash) {
            *votes.entry(*place as i64 - row as i64).or_default() += 1;
        }
    }
    let best = votes
        .into_iter()
        .max_by_key(|(shift, count)| (*count, -shift.abs()));
    let shift = best.map_or(0, |(shift, _)| shift);
    let (in_long, in_short) = (shift.max(0) as u64, (-shift).max(0) as u64);
    Ok(if a.len() < b.len() {
        (in_short, in_long)
    } else {
        (in_long, in_short)
    })
}

fn numbers(
    name: &str,
    feature: &Feature,
    a: &Series,
    b: &Series,
    pair: &EpisodeDiff,
) -> Option<ColumnDiff> {
    let mut rows = 0;
    let mut first = None;
    let mut largest: Option<(f64, u64, usize, f64, f64)> = None;
    for at in 0..pair.compared() {
        let row_a = a.row((pair.from_a + at) as usize).unwrap_or(&[]);
        let row_b = b.row((pair.from_b + at) as usize).unwrap_or(&[]);
        let mut differs = false;
        for (entry, (a, b)) in row_a.iter().zip(row_b).enumerate() {
            if a == b || (a.is_nan() && b.is_nan()) {
                continue;
            }
            differs = true;
            let apart = (a - b).abs();
            // Where one is no number, they are as far apart as can be.
            let apart = if apart.is_nan() { f64::INFINITY } else { apart };
            if largest.is_none_or(|(known, ..)| apart > known) {
                largest = Some((apart, pair.from_a + at, entry, *a, *b));
            }
        }
        if differs {
            rows += 1;
            first.get_or_insert(pair.from_a + at);
        }
    }
    let largest = largest.map(|(_, row, entry, a, b)| LargestDiff {
        row,
        entry: match a_name(feature, a_width(feature), entry) {
            Some(name) => Some(name),
            None if a_width(feature) > 1 => Some(entry.to_string()),
            None => None,
        },
        a,
        b,
    });
    Some(ColumnDiff {
        feature: name.to_owned(),
        first_row: first?,
        rows,
        largest,
    })
}

fn a_width(feature: &Feature) -> u64 {
    feature.shape.iter().fold(1, |n, s| n.saturating_mul(*s))
}

fn a_name(feature: &Feature, width: u64, entry: usize) -> Option<String> {
    let names = feature.entry_names()?;
    let fits = names.len() as u64 == width;
    names.into_iter().nth(entry).filter(|_| fits)
}

fn others<T: PartialEq>(name: &str, a: &[T], b: &[T], pair: &EpisodeDiff) -> Option<ColumnDiff> {
    let differing = (0..pair.compared()).filter(|at| {
        let (at_a, at_b) = (pair.from_a + at, pair.from_b + at);
        a.get(at_a as usize) != b.get(at_b as usize)
    });
    let differing: Vec<u64> = differing.collect();
    Some(ColumnDiff {
        feature: name.to_owned(),
        first_row: pair.from_a + differing.first()?,
        rows: differing.len() as u64,
        largest: None,
    })
}
