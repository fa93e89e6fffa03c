//! Cells of Arrow columns → values, without a change of type.

use super::value::{Numbers, Tensor, Value};
use crate::error::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::{Map, Value as Json, json};
use std::ops::Range;
use std::path::Path;

/// Deepest nesting of structured cells. LeRobot's language columns have three levels.
const DEPTH_LIMIT: usize = 16;

/// Collects the numbers of cells that lie in one or several columns of the same type.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    numbers: Option<Numbers>,
}

/// Appends `$range` of a primitive array to the vector of the variant `$variant`.
macro_rules! append {
    ($self:ident, $path:ident, $array:ident, $range:ident, $variant:ident, $kind:ty) => {{
        let values = &$array.as_primitive::<$kind>().values()[$range];
        match $self
            .numbers
            .get_or_insert_with(|| Numbers::$variant(Vec::new()))
        {
            Numbers::$variant(all) => all.extend_from_slice(values),
            _ => return Err(Error::corrupt($path, "one column has two types")),
        }
    }};
}

impl Gathered {
    /// Appends the numbers in cell `row` of `array`, however deep its lists.
    pub(crate) fn add(&mut self, path: &Path, array: &ArrayRef, row: usize) -> Result<()> {
        let (leaf, range) = leaf(path, array, row..row + 1)?;
        match leaf.data_type() {
            DataType::Float32 => append!(self, path, leaf, range, F32, Float32Type),
            DataType::Float64 => append!(self, path, leaf, range, F64, Float64Type),
            DataType::Int64 => append!(self, path, leaf, range, I64, Int64Type),
            DataType::Int32 => append!(self, path, leaf, range, I32, Int32Type),
            DataType::Int16 => append!(self, path, leaf, range, I16, Int16Type),
            DataType::Int8 => append!(self, path, leaf, range, I8, Int8Type),
            DataType::UInt64 => append!(self, path, leaf, range, U64, UInt64Type),
            DataType::UInt32 => append!(self, path, leaf, range, U32, UInt32Type),
            DataType::UInt16 => append!(self, path, leaf, range, U16, UInt16Type),
            DataType::UInt8 => append!(self, path, leaf, range, U8, UInt8Type),
            DataType::Float16 => {
                let values = leaf.as_primitive::<Float16Type>().values();
                let bits = values[range].iter().map(|v| v.to_bits());
                match self
                    .numbers
                    .get_or_insert_with(|| Numbers::F16Bits(Vec::new()))
                {
                    Numbers::F16Bits(all) => all.extend(bits),
                    _ => return Err(Error::corrupt(path, "one column has two types")),
                }
            }
            DataType::Boolean => {
                let values = leaf.as_boolean();
                match self
                    .numbers
                    .get_or_insert_with(|| Numbers::Bool(Vec::new()))
                {
                    Numbers::Bool(all) => all.extend(range.map(|i| values.value(i))),
                    _ => return Err(Error::corrupt(path, "one column has two types")),
                }
            }
            other => {
                return Err(Error::corrupt(
                    path,
                    format!("type {other} where numbers should be"),
                ));
            }
        }
        Ok(())
    }

    /// The tensor of `shape`, if the count is right.
    pub(crate) fn tensor(self, path: &Path, name: &str, shape: Vec<usize>) -> Result<Tensor> {
        let numbers = self.numbers.unwrap_or(Numbers::F32(Vec::new()));
        let expected = shape.iter().try_fold(1_usize, |n, s| n.checked_mul(*s));
        if expected != Some(numbers.len()) {
            return Err(Error::corrupt(
                path,
                format!(
                    "a cell of {name} holds {} values instead of the shape {shape:?}",
                    numbers.len()
                ),
            ));
        }
        Ok(Tensor { shape, numbers })
    }
}

/// The array at the bottom of the lists of `rows`, and which of its values are theirs.
pub(crate) fn leaf<'a>(
    path: &Path,
    array: &'a ArrayRef,
    rows: Range<usize>,
) -> Result<(&'a ArrayRef, Range<usize>)> {
    let (mut array, mut range) = (array, rows);
    loop {
        if range.end > array.len() || range.start > range.end {
            return Err(Error::corrupt(path, "a cell lies outside its column"));
        }
        if array.null_count() > 0 && range.clone().any(|i| array.is_null(i)) {
            return Err(Error::corrupt(path, "empty cell where a number should be"));
        }
        (array, range) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                let bounds = offsets[range.start] as usize..offsets[range.end] as usize;
                (list.values(), bounds)
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets = list.value_offsets();
                let bounds = offsets[range.start] as usize..offsets[range.end] as usize;
                (list.values(), bounds)
            }
            DataType::FixedSizeList(_, length) => {
                let list = array.as_fixed_size_list();
                let length = *length as usize;
                (list.values(), range.start * length..range.end * length)
            }
            _ => return Ok((array, range)),
        };
    }
}

/// The bytes of an encoded picture: `struct{bytes, path}`, HF's image type.
pub(crate) fn picture_bytes<'a>(path: &Path, array: &'a ArrayRef, row: usize) -> Result<&'a [u8]> {
    let missing = || {
        Error::corrupt(
            path,
            "an image cell holds no bytes; pictures outside the parquet file are not read",
        )
    };
    let DataType::Struct(_) = array.data_type() else {
        return Err(missing());
    };
    let bytes = array
        .as_struct()
        .column_by_name("bytes")
        .ok_or_else(missing)?;
    if row >= bytes.len() || bytes.is_null(row) {
        return Err(missing());
    }
    match bytes.data_type() {
        DataType::Binary => Ok(bytes.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Ok(bytes.as_binary::<i64>().value(row)),
        _ => Err(missing()),
    }
}

/// Any other cell: text as it is, structures as JSON.
pub(crate) fn other(path: &Path, array: &ArrayRef, row: usize) -> Result<Value> {
    Ok(match json(path, array, row, 0)? {
        Json::String(text) => Value::Text(text),
        json => Value::Json(json),
    })
}

fn json(path: &Path, array: &ArrayRef, row: usize, depth: usize) -> Result<Json> {
    if row >= array.len() || depth > DEPTH_LIMIT {
        return Err(Error::corrupt(path, "a cell lies outside its column"));
    }
    if array.is_null(row) {
        return Ok(Json::Null);
    }
    if let Some(inner) = crate::table::cell(array, row) {
        let all = (0..inner.len()).map(|i| json(path, &inner, i, depth + 1));
        return Ok(Json::Array(all.collect::<Result<_>>()?));
    }
    Ok(match array.data_type() {
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => json!(array.as_string::<i64>().value(row)),
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Float32 => json!(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Struct(fields) => {
            let mut object = Map::new();
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                object.insert(field.name().clone(), json(path, column, row, depth + 1)?);
            }
            Json::Object(object)
        }
        other => {
            return Err(Error::corrupt(
                path,
                format!("type {other} is not one that LeRobot writes"),
            ));
        }
    })
}
