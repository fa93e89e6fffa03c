//! Values of the additional columns, in the types that LeRobot has for them.

use crate::spec::{ExtraSpec, ExtraType};
use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray};
use std::sync::Arc;

/// Longest text in one cell, bytes.
const TEXT_LIMIT: usize = 64 << 10;

/// One extra column's values in one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExtraValue<'a> {
    /// Of a `float32` column.
    F32(&'a [f32]),
    /// Of a `float64` column.
    F64(&'a [f64]),
    /// Of an `int64` column.
    I64(&'a [i64]),
    /// Of a `bool` column.
    Bool(&'a [bool]),
    /// Of a `string` column.
    Text(&'a str),
}

/// Values of one column: of a row, or of all rows one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl From<&ExtraValue<'_>> for Values {
    fn from(value: &ExtraValue<'_>) -> Self {
        match value {
            ExtraValue::F32(v) => Self::F32(v.to_vec()),
            ExtraValue::F64(v) => Self::F64(v.to_vec()),
            ExtraValue::I64(v) => Self::I64(v.to_vec()),
            ExtraValue::Bool(v) => Self::Bool(v.to_vec()),
            ExtraValue::Text(v) => Self::Text(vec![(*v).to_owned()]),
        }
    }
}

impl Values {
    /// No values of a type.
    pub(crate) fn none(dtype: ExtraType) -> Self {
        match dtype {
            ExtraType::Float32 => Self::F32(Vec::new()),
            ExtraType::Float64 => Self::F64(Vec::new()),
            ExtraType::Int64 => Self::I64(Vec::new()),
            ExtraType::Bool => Self::Bool(Vec::new()),
            ExtraType::Text => Self::Text(Vec::new()),
        }
    }

    /// Numbers as values of a column: whole numbers rounded, truth where it is not zero.
    pub(crate) fn from_numbers(dtype: ExtraType, numbers: &[f64]) -> Self {
        let numbers = numbers.iter();
        match dtype {
            ExtraType::Float32 => Self::F32(numbers.map(|v| *v as f32).collect()),
            ExtraType::Float64 => Self::F64(numbers.copied().collect()),
            ExtraType::Int64 => Self::I64(numbers.map(|v| v.round() as i64).collect()),
            ExtraType::Bool => Self::Bool(numbers.map(|v| *v != 0.0).collect()),
            ExtraType::Text => Self::Text(numbers.map(f64::to_string).collect()),
        }
    }

    pub(crate) fn dtype(&self) -> ExtraType {
        match self {
            Self::F32(_) => ExtraType::Float32,
            Self::F64(_) => ExtraType::Float64,
            Self::I64(_) => ExtraType::Int64,
            Self::Bool(_) => ExtraType::Bool,
            Self::Text(_) => ExtraType::Text,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// What of a row's values does not fit its column, in words.
    pub(crate) fn problem(&self, name: &str, dtype: ExtraType, width: usize) -> Option<String> {
        if self.dtype() != dtype {
            return Some(format!(
                "{} values for {name}, which has {}",
                self.dtype().name(),
                dtype.name()
            ));
        }
        if self.len() != width {
            return Some(format!(
                "{} values for {name}, which has {width}",
                self.len()
            ));
        }
        let sound = match self {
            Self::F32(v) => v.iter().all(|v| v.is_finite()),
            Self::F64(v) => v.iter().all(|v| v.is_finite()),
            Self::I64(_) | Self::Bool(_) => true,
            Self::Text(v) => {
                let long = v.iter().any(|text| text.len() > TEXT_LIMIT);
                return long.then(|| format!("a text of {name} is longer than {TEXT_LIMIT} bytes"));
            }
        };
        (!sound).then(|| format!("a value of {name} is not a finite number"))
    }

    /// Appends values of the same type.
    pub(crate) fn extend(&mut self, row: &Self) {
        match (self, row) {
            (Self::F32(all), Self::F32(row)) => all.extend_from_slice(row),
            (Self::F64(all), Self::F64(row)) => all.extend_from_slice(row),
            (Self::I64(all), Self::I64(row)) => all.extend_from_slice(row),
            (Self::Bool(all), Self::Bool(row)) => all.extend_from_slice(row),
            (Self::Text(all), Self::Text(row)) => all.extend_from_slice(row),
            // `problem` kept values of other types away.
            _ => {}
        }
    }

    /// Keeps the first `count` values.
    pub(crate) fn truncate(&mut self, count: usize) {
        match self {
            Self::F32(v) => v.truncate(count),
            Self::F64(v) => v.truncate(count),
            Self::I64(v) => v.truncate(count),
            Self::Bool(v) => v.truncate(count),
            Self::Text(v) => v.truncate(count),
        }
    }

    /// The values as one Arrow array.
    pub(crate) fn array(&self) -> ArrayRef {
        match self {
            Self::F32(v) => Arc::new(Float32Array::from(v.clone())),
            Self::F64(v) => Arc::new(Float64Array::from(v.clone())),
            Self::I64(v) => Arc::new(Int64Array::from(v.clone())),
            Self::Bool(v) => Arc::new(BooleanArray::from(v.clone())),
            Self::Text(v) => Arc::new(StringArray::from_iter_values(v)),
        }
    }

    /// The values as numbers, for statistics; text has none.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Self::F32(v) => Some(v.iter().map(|x| f64::from(*x)).collect()),
            Self::F64(v) => Some(v.clone()),
            Self::I64(v) => Some(v.iter().map(|x| *x as f64).collect()),
            Self::Bool(v) => Some(v.iter().map(|x| f64::from(u8::from(*x))).collect()),
            Self::Text(_) => None,
        }
    }
}

/// The values of a row of the control loop, where numbers of all columns stand one after the other
/// and texts apart.
pub(crate) fn from_loop<'t>(
    extras: &[ExtraSpec],
    mut numbers: &[f64],
    mut texts: impl Iterator<Item = Option<&'t str>>,
) -> Vec<Values> {
    extras
        .iter()
        .map(|extra| {
            if extra.dtype == ExtraType::Text {
                let text = texts.next().flatten().unwrap_or_default();
                return Values::Text(vec![text.to_owned()]);
            }
            let (own, rest) = numbers.split_at(extra.width().min(numbers.len()));
            numbers = rest;
            Values::from_numbers(extra.dtype, own)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_loop_are_dealt_out_to_their_columns() {
        let extras = [
            ExtraSpec::vector("timing", ExtraType::Float64, &["a_s", "b_s"]),
            ExtraSpec::scalar("remark", ExtraType::Text),
            ExtraSpec::scalar("next.done", ExtraType::Bool),
            ExtraSpec::scalar("count", ExtraType::Int64),
        ];
        let found = from_loop(&extras, &[0.5, 1.5, 1.0, 41.0], [Some("hm")].into_iter());
        assert_eq!(
            found,
            [
                Values::F64(vec![0.5, 1.5]),
                Values::Text(vec!["hm".into()]),
                Values::Bool(vec![true]),
                Values::I64(vec![41]),
            ]
        );
        for (values, extra) in found.iter().zip(&extras) {
            assert_eq!(values.problem("x", extra.dtype, extra.width()), None);
        }
    }

    #[test]
    fn wrong_values_are_named() {
        let nan = Values::F32(vec![f32::NAN]);
        let problem = |values: &Values, dtype, width| values.problem("x", dtype, width);
        assert!(
            problem(&nan, ExtraType::Float32, 1)
                .unwrap()
                .contains("finite")
        );
        assert!(
            problem(&nan, ExtraType::Float32, 2)
                .unwrap()
                .contains("has 2")
        );
        assert!(
            problem(&nan, ExtraType::Bool, 1)
                .unwrap()
                .contains("float32")
        );
        let long = Values::Text(vec!["x".repeat(TEXT_LIMIT + 1)]);
        assert!(
            problem(&long, ExtraType::Text, 1)
                .unwrap()
                .contains("longer")
        );
    }
}
