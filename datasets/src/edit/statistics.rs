//! Statistics of a whole result, computed from its rows in as many passes as the memory needs.

use super::columns::{is_numeric, shape};
use crate::error::{Error, Result};
use crate::info::Info;
use crate::stats::FeatureStats;
use crate::table;
use std::ops::Range;
use std::path::PathBuf;

/// Values that are held at a time; one entry of a longer dataset is held whole.
const VALUES_AT_A_TIME: u64 = 32 << 20;

/// Some entries of a feature.
struct Unit<'a> {
    feature: usize,
    name: &'a str,
    width: usize,
    entries: Range<usize>,
    columns: Vec<Vec<f64>>,
}

/// Exact statistics of every numeric feature over the rows of `files`, in feature order.
pub(crate) fn whole(
    info: &Info,
    files: &[PathBuf],
    rows: u64,
) -> Result<Vec<(String, FeatureStats)>> {
    let numeric: Vec<(&str, Vec<usize>)> = info
        .features
        .iter()
        .filter(|(_, f)| is_numeric(f))
        .map(|(n, f)| (n, shape(f)))
        .collect();
    let mut found: Vec<(String, FeatureStats)> = numeric
        .iter()
        .map(|(name, shape)| {
            let mut stats = FeatureStats::empty(shape.iter().product(), false);
            stats.count = rows;
            if shape.len() > 1 {
                stats.shape.clone_from(shape);
            }
            ((*name).to_owned(), stats)
        })
        .collect();
    let at_a_time = (VALUES_AT_A_TIME / rows.max(1)).max(1) as usize;
    for mut pass in passes(&numeric, at_a_time) {
        gather(files, &mut pass)?;
        for unit in pass {
            let stats = &mut found[unit.feature].1;
            for (entry, mut column) in unit.entries.zip(unit.columns) {
                stats.set_entry(entry, &mut column);
            }
        }
    }
    Ok(found)
}

/// All entries of all features in groups of at most `at_a_time`.
fn passes<'a>(numeric: &[(&'a str, Vec<usize>)], at_a_time: usize) -> Vec<Vec<Unit<'a>>> {
    let mut passes: Vec<Vec<Unit<'a>>> = Vec::new();
    let mut room = 0;
    for (feature, (name, shape)) in numeric.iter().enumerate() {
        let width: usize = shape.iter().product();
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

/// Reads the values of the pass's entries.
fn gather(files: &[PathBuf], pass: &mut [Unit<'_>]) -> Result<()> {
    let names: Vec<String> = pass.iter().map(|u| u.name.to_owned()).collect();
    for path in files {
        table::read(
            path,
            |name| names.iter().any(|n| n == name),
            |batch| {
                for unit in pass.iter_mut() {
                    let values = table::flat_numbers(path, table::column(path, batch, unit.name)?)?;
                    if values.len() != batch.num_rows() * unit.width {
                        return Err(Error::corrupt(
                            path,
                            format!("rows of {} have not {} values each", unit.name, unit.width),
                        ));
                    }
                    for (entry, column) in unit.entries.clone().zip(&mut unit.columns) {
                        column.extend(values.iter().skip(entry).step_by(unit.width));
                    }
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_cover_every_entry_once() {
        let numeric = [("a", vec![1]), ("b", vec![2, 3]), ("c", vec![4])];
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
