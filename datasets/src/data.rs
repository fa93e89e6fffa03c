//! One episode's rows, and the parquet file that they become.

use crate::error::{Error, Result};
use crate::features::{ACTION, DEFAULT_FEATURES, DatasetSpec, STATE};
use crate::stats::{FeatureStats, Stats};
use crate::table;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// Values of a column group, row after row.
#[derive(Debug, Clone)]
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
}

/// One feature's column.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    width: usize,
    values: Values,
}

impl Column {
    fn dtype(&self) -> &'static str {
        match self.values {
            Values::F32(_) => "float32",
            Values::F64(_) => "float64",
            Values::I64(_) => "int64",
        }
    }

    fn flat_array(&self) -> ArrayRef {
        match &self.values {
            Values::F32(v) => Arc::new(Float32Array::from(v.clone())),
            Values::F64(v) => Arc::new(Float64Array::from(v.clone())),
            Values::I64(v) => Arc::new(Int64Array::from(v.clone())),
        }
    }

    /// LeRobot stores one-entry features as plain columns and vectors as fixed-size lists.
    fn array(&self, path: &Path) -> Result<ArrayRef> {
        let flat = self.flat_array();
        if self.width == 1 {
            return Ok(flat);
        }
        let element = Arc::new(Field::new("element", flat.data_type().clone(), true));
        let width =
            i32::try_from(self.width).map_err(|_| Error::corrupt(path, "vector too long"))?;
        let list = FixedSizeListArray::try_new(element, width, flat, None)
            .map_err(|e| Error::corrupt(path, format!("column {}: {e}", self.name)))?;
        Ok(Arc::new(list))
    }

    /// The type description that HF `datasets` keeps in the file.
    fn hf_type(&self) -> Value {
        let value = json!({"dtype": self.dtype(), "_type": "Value"});
        if self.width == 1 {
            value
        } else {
            json!({"feature": value, "length": self.width, "_type": "List"})
        }
    }

    fn stats(&self) -> FeatureStats {
        let values: Vec<f64> = match &self.values {
            Values::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::F64(v) => v.clone(),
            Values::I64(v) => v.iter().map(|x| *x as f64).collect(),
        };
        FeatureStats::of_rows(&values, self.width)
    }
}

/// The rows of one episode in memory: some hundred bytes each, a few MB for an hour.
#[derive(Debug)]
pub(crate) struct EpisodeRows {
    state: Column,
    action: Column,
    extras: Vec<Column>,
    rows: u64,
}

/// What the default columns need to know about an episode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbering {
    pub(crate) episode: u64,
    pub(crate) first_index: u64,
    pub(crate) task: u64,
    pub(crate) fps: u32,
}

impl EpisodeRows {
    pub(crate) fn new(spec: &DatasetSpec) -> Self {
        let f32s = |name: &str, width| Column {
            name: name.into(),
            width,
            values: Values::F32(Vec::new()),
        };
        Self {
            state: f32s(STATE, spec.state_names.len()),
            action: f32s(ACTION, spec.action_names.len()),
            extras: spec
                .extras
                .iter()
                .map(|e| Column {
                    name: e.name.clone(),
                    width: e.entries.len(),
                    values: Values::F64(Vec::new()),
                })
                .collect(),
            rows: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.rows
    }

    /// What of a row does not fit, in words.
    pub(crate) fn problem(&self, state: &[f32], action: &[f32], extra: &[f64]) -> Option<String> {
        let extra_len: usize = self.extras.iter().map(|c| c.width).sum();
        let lengths = [
            (STATE, state.len(), self.state.width),
            (ACTION, action.len(), self.action.width),
            ("the extra columns", extra.len(), extra_len),
        ];
        if let Some((name, got, want)) = lengths.into_iter().find(|(_, got, want)| got != want) {
            return Some(format!("{got} values for {name}, which has {want}"));
        }
        let finite = |name: &str, ok: bool| {
            (!ok).then(|| format!("a value of {name} is not a finite number"))
        };
        finite(STATE, state.iter().all(|v| v.is_finite()))
            .or_else(|| finite(ACTION, action.iter().all(|v| v.is_finite())))
            .or_else(|| finite("the extra columns", extra.iter().all(|v| v.is_finite())))
    }

    /// Appends a row that [`Self::problem`] has nothing against.
    pub(crate) fn push(&mut self, state: &[f32], action: &[f32], extra: &[f64]) {
        for (column, row) in [(&mut self.state, state), (&mut self.action, action)] {
            if let Values::F32(values) = &mut column.values {
                values.extend_from_slice(row);
            }
        }
        let mut rest = extra;
        for column in &mut self.extras {
            let (own, others) = rest.split_at(column.width.min(rest.len()));
            if let Values::F64(values) = &mut column.values {
                values.extend_from_slice(own);
            }
            rest = others;
        }
        self.rows += 1;
    }

    /// All columns in feature order, the five defaults included.
    fn columns(&self, numbering: Numbering) -> Vec<Column> {
        let mut columns = vec![self.state.clone(), self.action.clone()];
        columns.extend(self.extras.iter().cloned());
        let rows = self.rows as i64;
        let constant = |value: u64| Values::I64(vec![value as i64; self.rows as usize]);
        for (name, _) in DEFAULT_FEATURES {
            let values = match name {
                "timestamp" => {
                    // Synthetic on purpose: LeRobot finds video frames by it.
                    Values::F32(
                        (0..rows)
                            .map(|i| (i as f64 / f64::from(numbering.fps)) as f32)
                            .collect(),
                    )
                }
                "frame_index" => Values::I64((0..rows).collect()),
                "index" => Values::I64(
                    (0..rows)
                        .map(|i| numbering.first_index as i64 + i)
                        .collect(),
                ),
                "episode_index" => constant(numbering.episode),
                _ => constant(numbering.task),
            };
            columns.push(Column {
                name: name.into(),
                width: 1,
                values,
            });
        }
        columns
    }

    /// Writes the episode's data file, flushed, and returns the statistics of its columns.
    pub(crate) fn write(&self, path: &Path, numbering: Numbering) -> Result<Stats> {
        let columns = self.columns(numbering);
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        let mut types = Map::new();
        for column in &columns {
            let array = column.array(path)?;
            let data_type: DataType = array.data_type().clone();
            fields.push(Field::new(&column.name, data_type, true));
            types.insert(column.name.clone(), column.hf_type());
            arrays.push(array);
        }
        let hf = json!({"info": {"features": types}}).to_string();
        let schema = Schema::new(fields).with_metadata([("huggingface".to_owned(), hf.clone())]);
        table::write(
            path,
            &table::batch(path, schema, arrays)?,
            &[("huggingface", hf)],
        )?;
        Ok(Stats(
            columns
                .iter()
                .map(|c| (c.name.clone(), c.stats()))
                .collect(),
        ))
    }
}
