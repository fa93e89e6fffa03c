//! The columns of a result: as they were, numbered anew, or added.

use super::add::AddedRow;
use super::plan::Planned;
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::table;
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// The new numbers of a part's rows.
pub(super) struct RowNumbers {
    pub(super) episode: u64,
    pub(super) frame: u64,
    pub(super) index: u64,
    pub(super) fps: u32,
    /// Whether rows before these were cut off.
    pub(super) trimmed: bool,
}

impl RowNumbers {
    /// One of LeRobot's own columns; `None` if it is another, or stays as it is.
    pub(super) fn column(&self, name: &str, part: &RecordBatch, tasks: &[i64]) -> Option<ArrayRef> {
        let rows = part.num_rows() as u64;
        let counted = |first: u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                (first..first + rows).map(|v| v as i64),
            ))
        };
        let times = || (self.frame..self.frame + rows).map(|f| f as f64 / f64::from(self.fps));
        let wide = || {
            let stored = part.column_by_name("timestamp");
            stored.is_some_and(|c| *c.data_type() == DataType::Float64)
        };
        Some(match name {
            "frame_index" => counted(self.frame),
            "index" => counted(self.index),
            "episode_index" => Arc::new(Int64Array::from(vec![self.episode as i64; rows as usize])),
            "task_index" => Arc::new(Int64Array::from(tasks.to_vec())),
            "timestamp" if self.trimmed && wide() => {
                Arc::new(Float64Array::from_iter_values(times()))
            }
            "timestamp" if self.trimmed => {
                Arc::new(Float32Array::from_iter_values(times().map(|t| t as f32)))
            }
            _ => return None,
        })
    }
}

/// A column of the source in the type of the result.
pub(super) fn stored(
    path: &Path,
    part: &RecordBatch,
    name: &str,
    feature: &Feature,
) -> Result<ArrayRef> {
    let array = table::column(path, part, name)?.clone();
    if feature.shape.len() != 1 || !matches!(array.data_type(), DataType::List(_)) {
        return Ok(array);
    }
    let list = array.as_list::<i32>();
    let width = usize::try_from(feature.shape[0]).unwrap_or(usize::MAX);
    let even = list.null_count() == 0
        && list
            .offsets()
            .windows(2)
            .all(|o| (o[1] - o[0]) as usize == width);
    if !even {
        return Err(Error::corrupt(
            path,
            format!("rows of {name} have not {width} values each"),
        ));
    }
    let start = usize::try_from(list.value_offsets()[0]).unwrap_or(0);
    shaped(
        path,
        list.values().slice(start, list.len() * width),
        feature,
    )
}

/// LeRobot stores one-entry features as plain columns and vectors as fixed-size lists.
pub(super) fn shaped(path: &Path, flat: ArrayRef, feature: &Feature) -> Result<ArrayRef> {
    if feature.shape == [1] {
        return Ok(flat);
    }
    let width = feature.shape.first().and_then(|w| i32::try_from(*w).ok());
    let width = width.ok_or_else(|| Error::corrupt(path, "vector too long"))?;
    let element = Arc::new(Field::new("element", flat.data_type().clone(), true));
    let list = FixedSizeListArray::try_new(element, width, flat, None)
        .map_err(|e| Error::corrupt(path, e.to_string()))?;
    Ok(Arc::new(list))
}

/// The values of an added feature in a part.
pub(super) fn made(
    values: &mut dyn FnMut(&AddedRow<'_>) -> Result<Vec<f64>>,
    feature: &Feature,
    part: &RecordBatch,
    rows: &RowNumbers,
    path: &Path,
) -> Result<Vec<f64>> {
    let width = feature.shape.first().map_or(0, |w| *w as usize);
    let mut all = Vec::with_capacity(part.num_rows() * width);
    for row in 0..part.num_rows() {
        let given = values(&AddedRow {
            episode: rows.episode,
            frame: rows.frame + row as u64,
            index: rows.index + row as u64,
            path,
            batch: part,
            row,
        })?;
        if given.len() != width || !given.iter().all(|v| v.is_finite()) {
            return Err(Error::Row {
                episode: rows.episode,
                row: rows.frame + row as u64,
                problem: format!("the new feature needs {width} finite values, not {given:?}"),
            });
        }
        all.extend(given);
    }
    Ok(all)
}

/// The file's schema, with the type description that HF `datasets` keeps in it.
pub(super) fn schema(
    features: &[Planned],
    columns: &[ArrayRef],
) -> (Schema, Vec<(&'static str, String)>) {
    let stored = || features.iter().filter(|f| !f.feature.is_video());
    let fields: Vec<Field> = stored()
        .zip(columns)
        .map(|(f, c)| Field::new(&f.name, c.data_type().clone(), true))
        .collect();
    let schema = Schema::new(fields);
    let types: Option<Map<String, Value>> = stored()
        .map(|f| Some((f.name.clone(), hf_type(&f.feature)?)))
        .collect();
    match types {
        Some(types) => {
            let text = json!({"info": {"features": types}}).to_string();
            let schema = schema.with_metadata([("huggingface".to_owned(), text.clone())]);
            (schema, vec![("huggingface", text)])
        }
        // Readers do without it; a wrong description would be worse.
        None => (schema, Vec::new()),
    }
}

fn hf_type(feature: &Feature) -> Option<Value> {
    let value = json!({"dtype": feature.dtype, "_type": "Value"});
    match (feature.dtype.as_str(), feature.shape.len()) {
        ("language", _) => None,
        ("image", _) => Some(json!({"_type": "Image"})),
        _ if feature.shape == [1] => Some(value),
        (_, 1) => Some(json!({"feature": value, "length": feature.shape[0], "_type": "List"})),
        (dtype, n @ 2..=5) => {
            Some(json!({"shape": feature.shape, "dtype": dtype, "_type": format!("Array{n}D")}))
        }
        _ => None,
    }
}
