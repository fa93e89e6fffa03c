//! Exact statistics over all rows of a dataset, in as many passes as the memory needs.

use super::FeatureStats;
use crate::error::{Error, Result};
use crate::info::Info;
use crate::table;
use arrow_array::RecordBatch;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Values that are held at a time; one entry of a longer dataset is held whole.
const VALUES_AT_A_TIME: u64 = 32 << 20;

/// Rows of a data file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DataRows {
    pub(crate) path: PathBuf,
    /// Dataset-wide numbers of the rows that count, in order; `None` for all rows.
    pub(crate) indices: Option<Vec<Range<u64>>>,
}

impl DataRows {
    /// All rows of a file.
    pub(crate) fn all(path: PathBuf) -> Self {
        Self {
            path,
            indices: None,
        }
    }

    /// Which rows of a batch count.
    fn chosen(&self, batch: &RecordBatch) -> Result<Option<Vec<usize>>> {
        let Some(ranges) = &self.indices else {
            return Ok(None);
        };
        let indices = table::counts(&self.path, batch, "index")?;
        let inside = |index: &u64| {
            let after = ranges.partition_point(|r| r.end <= *index);
            ranges.get(after).is_some_and(|r| r.contains(index))
        };
        let rows = indices.iter().enumerate().filter(|(_, i)| inside(i));
        Ok(Some(rows.map(|(row, _)| row).collect()))
    }
}

/// Some entries of a feature.
struct Unit<'a> {
    feature: usize,
    name: &'a str,
    width: usize,
    entries: Range<usize>,
    columns: Vec<Vec<f64>>,
}

/// Exact statistics of every numeric feature over the rows of `files`, of which there are `rows`, in
/// feature order. `each` is given every entry of every feature with its finite values, sorted.
pub(crate) fn whole(
    info: &Info,
    files: &[DataRows],
    rows: u64,
    mut each: impl FnMut(&str, usize, &[f64]),
) -> Result<Vec<(String, FeatureStats)>> {
    let mut numeric = Vec::new();
    for (name, feature) in info.features.iter().filter(|(_, f)| f.is_numeric()) {
        let width = feature.stat_width().ok_or_else(|| {
            let problem = format!("{name} has the shape {:?}", feature.shape);
            Error::corrupt(Path::new("meta/info.json"), problem)
        })?;
        numeric.push((name, width));
    }
    let empty = |(name, width): &(&str, usize)| {
        let mut stats = FeatureStats::empty(*width, false);
        stats.count = rows;
        ((*name).to_owned(), stats)
    };
    let mut found: Vec<(String, FeatureStats)> = numeric.iter().map(empty).collect();
    let at_a_time = (VALUES_AT_A_TIME / rows.max(1)).max(1) as usize;
    for mut pass in passes(&numeric, at_a_time) {
        files.iter().try_for_each(|file| gather(file, &mut pass))?;
        for unit in pass {
            let stats = &mut found[unit.feature].1;
            for (entry, mut column) in unit.entries.zip(unit.columns) {
                stats.set_entry(entry, &mut column);
                each(unit.name, entry, &column);
            }
        }
    }
    Ok(found)
}

/// All entries of all features in groups of at most `at_a_time`.
fn passes<'a>(numeric: &[(&'a str, usize)], at_a_time: usize) -> Vec<Vec<Unit<'a>>> {
    let mut passes: Vec<Vec<Unit<'a>>> = Vec::new();
    let mut room = 0;
    for (feature, (name, width)) in numeric.iter().enumerate() {
        let width = *width;
        let mut start = 0;
        while start < width {
            if room == 0 {
                passes.push(Vec::new());
                room = at_a_time;
            }
            let end = width.min(start + room);
            let unit = Unit {
                feature,
                name,
                width,
                entries: start..end,
                columns: vec![Vec::new(); end - start],
            };
            room -= end - start;
            start = end;
            if let Some(pass) = passes.last_mut() {
                pass.push(unit);
            }
        }
    }
    passes
}

/// Reads the values of the pass's entries from one file.
fn gather(file: &DataRows, pass: &mut [Unit<'_>]) -> Result<()> {
    let path = &file.path;
    let mut names: Vec<String> = pass.iter().map(|u| u.name.to_owned()).collect();
    if file.indices.is_some() {
        names.push("index".into());
    }
    table::read(
        path,
        |name| names.iter().any(|n| n == name),
        |batch| {
            let chosen = file.chosen(batch)?;
            for unit in pass.iter_mut() {
                let values = table::flat_numbers(path, table::column(path, batch, unit.name)?)?;
                // Of a matrix, a row holds several values of each entry.
                let row = values.len().checked_div(batch.num_rows()).unwrap_or(0);
                if row * batch.num_rows() != values.len() || !row.is_multiple_of(unit.width) {
                    let problem = format!("rows of {} have not {} values", unit.name, unit.width);
                    return Err(Error::corrupt(path, problem));
                }
                for (entry, column) in unit.entries.clone().zip(&mut unit.columns) {
                    match &chosen {
                        None => column.extend(values.iter().skip(entry).step_by(unit.width)),
                        Some(rows) => rows.iter().for_each(|at| {
                            let row = &values[at * row..(at + 1) * row];
                            column.extend(row.iter().skip(entry).step_by(unit.width));
                        }),
                    }
                }
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_cover_every_entry_once() {
        let numeric = [("a", 1), ("b", 6), ("c", 4)];
        for at_a_time in 1..13 {
            let passes = passes(&numeric, at_a_time);
            let mut seen = Vec::new();
            for pass in &passes {
                assert!(pass.iter().map(|u| u.entries.len()).sum::<usize>() <= at_a_time);
                seen.extend(
                    pass.iter()
                        .flat_map(|u| u.entries.clone().map(|e| (u.feature, e))),
                );
            }
            let all = [(0, 1), (1, 6), (2, 4)];
            let expected: Vec<(usize, usize)> = all
                .iter()
                .flat_map(|(f, w)| (0..*w).map(|e| (*f, e)))
                .collect();
            assert_eq!(seen, expected);
        }
    }
}
