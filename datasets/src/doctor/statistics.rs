//! Stored statistics against those of the data.
//!
//! They lie packed: for each feature nine times as many values as its statistics have, then the
//! count (`stored.rs`).

use super::code::Code;
use super::finding::{Findings, Place};
use super::head::{Described, Head, Kind};
use super::stored::Stored;
use crate::fsio;
use crate::stats::VALUE_NAMES;
use crate::stats::store::{STATS_LIMIT_BYTES, flatten};
use crate::table;
use arrow_array::RecordBatch;
use serde_json::Value;
use std::path::Path;

const FILE: &str = "meta/stats.json";

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
        Some(Stored::of(values, field.width))
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
    let parsed = fsio::read_limited(&path, STATS_LIMIT_BYTES)
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
