//! New columns.

use super::build::make;
use super::plan::{Origin, Plan, Planned};
use super::{Report, Target};
use crate::error::{Error, Result};
use crate::features::{DEFAULT_FEATURES, Feature};
use crate::spec::check_name;
use crate::table;
use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch};
use std::path::Path;
use std::sync::Arc;

/// Gives the values of a new feature in one row.
pub(super) type ValuesOf<'a> = Box<dyn FnMut(&AddedRow<'_>) -> Result<Vec<f64>> + 'a>;

/// A feature that is added.
pub(super) struct Added<'a> {
    /// Its values.
    pub(super) values: ValuesOf<'a>,
}

impl std::fmt::Debug for Added<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Added")
    }
}

/// A row that gets a new feature.
#[derive(Debug, Clone, Copy)]
pub struct AddedRow<'a> {
    /// Episode number.
    pub episode: u64,
    /// Frame in the episode.
    pub frame: u64,
    /// Row in the dataset.
    pub index: u64,
    pub(super) path: &'a Path,
    pub(super) batch: &'a RecordBatch,
    pub(super) row: usize,
}

impl AddedRow<'_> {
    /// The row's values of a numeric feature of the source.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is no such column or it holds no numbers.
    pub fn numbers(&self, feature: &str) -> Result<Vec<f64>> {
        let column = table::column(self.path, self.batch, feature)?;
        let mut out = Vec::new();
        table::numbers(self.path, column, self.row, &mut out)?;
        Ok(out)
    }
}

/// Adds a numeric feature (`float32`, `float64`, `int64` or `bool`, one-dimensional) whose values
/// `values` gives row by row, in the order of the dataset.
///
/// # Errors
/// [`Error::Edit`] if the name is taken or the type is another; [`Error::Row`] if a row's values do
/// not fit; whatever `values` returns.
pub fn add<'a>(
    source: &Path,
    name: &str,
    feature: Feature,
    values: impl FnMut(&AddedRow<'_>) -> Result<Vec<f64>> + 'a,
    target: &Target,
) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    let refuse = |problem: String| Err(Error::edit(source, problem));
    if check_name(name).is_err() {
        return refuse(format!("`{name}` is no usable feature name"));
    }
    if plan.source().info.features.get(name).is_some() {
        return refuse(format!("there is a feature {name} already"));
    }
    let numeric = ["float32", "float64", "int64", "bool"].contains(&feature.dtype.as_str());
    if !numeric || feature.shape.len() != 1 || feature.shape[0] == 0 {
        return refuse(format!(
            "{name} would be {} {:?}; a feature can be added as float32, float64, int64 or bool of shape [n]",
            feature.dtype, feature.shape
        ));
    }
    let planned = Planned {
        name: name.to_owned(),
        feature,
        origin: Origin::Added(plan.added.len()),
    };
    // LeRobot's own columns come last.
    let own = |f: &Planned| DEFAULT_FEATURES.iter().any(|(n, _)| *n == f.name);
    let place = plan.features.iter().position(own);
    plan.features
        .insert(place.unwrap_or(plan.features.len()), planned);
    plan.added.push(Added {
        values: Box::new(values),
    });
    make(plan, target)
}

/// Adds a numeric feature from `values`: all rows of the dataset one after the other, each with as
/// many values as the feature's shape says.
///
/// # Errors
/// As [`add`], and [`Error::Edit`] if the number of values is wrong.
pub fn add_column(
    source: &Path,
    name: &str,
    feature: Feature,
    values: &[f64],
    target: &Target,
) -> Result<Report> {
    let rows = crate::Info::read(source)?.total_frames;
    let width = feature.shape.first().map_or(0, |w| *w as usize);
    if rows.checked_mul(width as u64) != Some(values.len() as u64) {
        return Err(Error::edit(
            source,
            format!(
                "{} values were given for {rows} rows of {width}",
                values.len()
            ),
        ));
    }
    let row = |row: &AddedRow<'_>| {
        let start = row.index as usize * width;
        Ok(values
            .get(start..start + width)
            .unwrap_or_default()
            .to_vec())
    };
    add(source, name, feature, row, target)
}

/// A column of the feature's type.
pub(super) fn column(dtype: &str, values: Vec<f64>) -> ArrayRef {
    match dtype {
        "float32" => Arc::new(Float32Array::from_iter_values(
            values.into_iter().map(|v| v as f32),
        )),
        "int64" => Arc::new(Int64Array::from_iter_values(
            values.into_iter().map(|v| v as i64),
        )),
        "bool" => Arc::new(BooleanArray::from_iter(
            values.into_iter().map(|v| Some(v != 0.0)),
        )),
        _ => Arc::new(Float64Array::from(values)),
    }
}
