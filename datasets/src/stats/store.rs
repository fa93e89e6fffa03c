//! `meta/stats.json` and the statistics in the episode table: reading, and replacing after a
//! recalculation.

use super::{FeatureStats, Recomputed, Stats, VALUE_NAMES};
use crate::episodes::{self, stats_columns};
use crate::error::{Error, Result};
use crate::fsio;
use crate::info::Info;
use crate::reader::Dataset;
use crate::resume::Claim;
use crate::table::{self, TableWriter};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than the statistics of any dataset.
pub(crate) const STATS_LIMIT_BYTES: u64 = 256 << 20;
/// Deepest lists of values.
const DEPTH_LIMIT: usize = 8;

/// Where the file is, under the dataset's root.
pub(crate) fn path(root: &Path) -> PathBuf {
    root.join("meta/stats.json")
}

/// Reads `meta/stats.json`: what it says of the features of `info`, in their order. Values that are
/// missing are empty.
///
/// # Errors
/// If there is no such file, or it is no JSON object.
pub fn read(root: &Path, info: &Info) -> Result<Stats> {
    let path = path(root);
    let bytes = fsio::read_limited(&path, STATS_LIMIT_BYTES)?;
    let json: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&path, e.to_string()))?;
    let Value::Object(features) = &json else {
        return Err(Error::corrupt(&path, "it is no JSON object"));
    };
    let known = info.features.iter().filter_map(|(name, feature)| {
        let said = features.get(name)?;
        let mut stats = FeatureStats::empty(0, feature.is_camera());
        for value in VALUE_NAMES {
            if let Some(slot) = stats.value_mut(value) {
                flatten(&said[value], slot, DEPTH_LIMIT);
            }
        }
        let mut count = Vec::new();
        flatten(&said["count"], &mut count, DEPTH_LIMIT);
        stats.count = count.first().map_or(0, |c| *c as u64);
        Some((name.to_owned(), stats))
    });
    Ok(Stats(known.collect()))
}

/// The numbers in nested lists.
pub(crate) fn flatten(value: &Value, out: &mut Vec<f64>, depth: usize) {
    match value {
        Value::Number(number) => out.extend(number.as_f64()),
        Value::Array(list) if depth > 0 => list.iter().for_each(|v| flatten(v, out, depth - 1)),
        _ => {}
    }
}

/// Replaces the statistics of the dataset by recomputed ones: those of the episodes in
/// `meta/episodes`, then `meta/stats.json`. Features that were not recomputed keep theirs. Each file
/// is replaced in one step and flushed; after a crash some files have the new statistics and the
/// others the old, and doing it again completes it.
///
/// # Errors
/// If the dataset is being recorded or holds an unfinished recording, or a file cannot be written.
pub fn write(dataset: &Dataset, new: &Recomputed) -> Result<()> {
    let root = dataset.root();
    let _claim = Claim::take(root)?;
    let mut at = 0;
    for path in episodes::files(root)? {
        if at >= new.episodes.len() {
            break;
        }
        at = replace_rows(&path, &new.episodes, at)?;
    }
    let mut whole = new.whole.clone();
    if path(root).is_file() {
        let old = read(root, dataset.info())?;
        let kept = old
            .0
            .into_iter()
            .filter(|(n, _)| new.whole.get(n).is_none());
        whole.0.extend(kept);
    }
    whole.sort(&dataset.info().features);
    fsio::replace(&path(root), &whole.to_bytes()?)
}

/// Replaces the statistics in one file of the episode table, whose first row is episode `first`;
/// gives the episode after its last. Rows beyond the dataset's episodes, which were never
/// committed, are left out.
fn replace_rows(path: &Path, new: &[Stats], first: usize) -> Result<usize> {
    let staged = path.with_extension("part");
    let mut writer: Option<TableWriter> = None;
    let mut at = first;
    let outcome = table::read(
        path,
        |_| true,
        |batch| {
            for row in 0..batch.num_rows().min(new.len() - at) {
                let fresh = with_stats(path, &batch.slice(row, 1), &new[at])?;
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(TableWriter::create(&staged, fresh.schema(), &[])?),
                };
                let fresh = writer.batch(path, fresh.columns().to_vec())?;
                writer.write(&fresh)?;
                at += 1;
            }
            Ok(())
        },
    );
    let finished = outcome
        .and_then(|()| writer.map_or(Ok(()), TableWriter::finish))
        .and_then(|()| match at > first {
            true => fsio::publish(&staged, path),
            false => Ok(()),
        });
    if finished.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&staged);
    }
    finished.map(|()| at)
}

/// A row of the episode table with other statistics, which stand where the old ones did.
fn with_stats(path: &Path, row: &RecordBatch, stats: &Stats) -> Result<RecordBatch> {
    let mut fresh: Vec<(String, ArrayRef)> = Vec::new();
    for (feature, stats) in &stats.0 {
        stats_columns(path, feature, stats, &mut fresh)?;
    }
    let replaced = |name: &str| {
        let rest = name.strip_prefix("stats/");
        let feature = rest.and_then(|rest| rest.rsplit_once('/')).map(|(f, _)| f);
        feature.is_some_and(|f| stats.get(f).is_some())
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let schema = row.schema();
    for (field, column) in schema.fields().iter().zip(row.columns()) {
        let name = field.name();
        if replaced(name) || name.starts_with("meta/episodes/") {
            columns.append(&mut fresh);
        }
        if !replaced(name) {
            columns.push((name.clone(), column.clone()));
        }
    }
    columns.append(&mut fresh);
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::corrupt(path, format!("columns do not form a table: {e}")))
}
