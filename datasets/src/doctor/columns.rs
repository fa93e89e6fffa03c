//! Arrow columns of any numeric type as plain numbers.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// Levels of lists in one cell.
const NESTING_LIMIT: usize = 6;
/// Beyond it a double does not hold every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A numeric column: `width` values a row. Empty cells are not-a-number.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) width: usize,
    pub(super) values: Vec<f64>,
}

impl Numbers {
    /// The values of a row.
    pub(super) fn row(&self, row: usize) -> &[f64] {
        let start = row * self.width;
        self.values.get(start..start + self.width).unwrap_or(&[])
    }
}

/// All values of a column, or what is wrong with its type.
pub(super) fn numbers(array: &ArrayRef) -> Result<Numbers, String> {
    let rows = array.len();
    let mut values = Vec::new();
    flatten(array, NESTING_LIMIT, &mut values)?;
    if rows == 0 {
        return Ok(Numbers { width: 0, values });
    }
    if !values.len().is_multiple_of(rows) {
        return Err("its cells differ in length".into());
    }
    Ok(Numbers {
        width: values.len() / rows,
        values,
    })
}

fn flatten(array: &ArrayRef, depth: usize, out: &mut Vec<f64>) -> Result<(), String> {
    if depth == 0 {
        return Err("its lists are nested too deeply".into());
    }
    match array.data_type() {
        DataType::FixedSizeList(_, width) => {
            let list = array.as_fixed_size_list();
            if list.null_count() > 0 {
                return Err("it has empty cells".into());
            }
            let start = list.value_offset_at(0);
            let length = list.len() * usize::try_from(*width).unwrap_or(0);
            flatten(&list.values().slice(start, length), depth - 1, out)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets: Vec<usize> = list.offsets().iter().map(|o| *o as usize).collect();
            lists(&offsets, list.null_count(), list.values(), depth, out)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets: Vec<usize> = list.offsets().iter().map(|o| *o as usize).collect();
            lists(&offsets, list.null_count(), list.values(), depth, out)
        }
        _ => primitive(array, out),
    }
}

fn lists(
    offsets: &[usize],
    nulls: usize,
    values: &ArrayRef,
    depth: usize,
    out: &mut Vec<f64>,
) -> Result<(), String> {
    if nulls > 0 {
        return Err("it has empty cells".into());
    }
    let mut lengths = offsets.windows(2).map(|w| w[1] - w[0]);
    let first = lengths.next().unwrap_or(0);
    if lengths.any(|length| length != first) {
        return Err("its cells differ in length".into());
    }
    let (Some(start), Some(end)) = (offsets.first(), offsets.last()) else {
        return Ok(());
    };
    flatten(&values.slice(*start, end - start), depth - 1, out)
}

fn primitive(array: &ArrayRef, out: &mut Vec<f64>) -> Result<(), String> {
    macro_rules! take {
        ($type:ty, $convert:expr) => {{
            let array = array.as_primitive::<$type>();
            if array.null_count() == 0 {
                out.extend(array.values().iter().map(|v| $convert(*v)));
            } else {
                out.extend(array.iter().map(|v| v.map_or(f64::NAN, $convert)));
            }
        }};
    }
    match array.data_type() {
        DataType::Float64 => take!(Float64Type, |v: f64| v),
        DataType::Float32 => take!(Float32Type, f64::from),
        DataType::Float16 => take!(Float16Type, f64::from),
        DataType::Int64 => take!(Int64Type, |v: i64| v as f64),
        DataType::Int32 => take!(Int32Type, f64::from),
        DataType::Int16 => take!(Int16Type, f64::from),
        DataType::Int8 => take!(Int8Type, f64::from),
        DataType::UInt64 => take!(UInt64Type, |v: u64| v as f64),
        DataType::UInt32 => take!(UInt32Type, f64::from),
        DataType::UInt16 => take!(UInt16Type, f64::from),
        DataType::UInt8 => take!(UInt8Type, f64::from),
        DataType::Boolean => {
            let flag = |v: Option<bool>| v.map_or(f64::NAN, |v| f64::from(u8::from(v)));
            out.extend(array.as_boolean().iter().map(flag));
        }
        other => return Err(format!("its type is {other}")),
    }
    Ok(())
}

/// A column of whole numbers that are not negative; cells that hold none are `None`. `Err` says
/// why there is no such column.
pub(super) fn counts(batch: &RecordBatch, name: &str) -> Result<Vec<Option<u64>>, String> {
    let numbers = scalars(batch, name)?;
    let whole = |v: f64| ((0.0..EXACT).contains(&v) && v.fract() == 0.0).then_some(v as u64);
    Ok(numbers.into_iter().map(whole).collect())
}

/// A column with one number a row.
pub(super) fn scalars(batch: &RecordBatch, name: &str) -> Result<Vec<f64>, String> {
    let array = batch.column_by_name(name).ok_or("it is missing")?;
    let numbers = numbers(array)?;
    if array.is_empty() || numbers.width == 1 {
        Ok(numbers.values)
    } else {
        Err(format!("its cells hold {} numbers", numbers.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BooleanArray, FixedSizeListArray, Float32Array, Int64Array, ListArray};
    use arrow_schema::Field;
    use std::sync::Arc;

    fn pairs(values: ArrayRef) -> FixedSizeListArray {
        let field = Arc::new(Field::new("element", values.data_type().clone(), true));
        FixedSizeListArray::new(field, 2, values, None)
    }

    #[test]
    fn slices_of_nested_lists_are_flattened_in_order() {
        let flat: ArrayRef = Arc::new(Float32Array::from_iter_values((0..12).map(|v| v as f32)));
        let nested: ArrayRef = Arc::new(pairs(Arc::new(pairs(flat))));
        let found = numbers(&nested.slice(1, 2)).unwrap();
        assert_eq!(found.width, 4);
        assert_eq!(found.row(0), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(found.row(1), [8.0, 9.0, 10.0, 11.0]);
        let lists: ArrayRef = Arc::new(ListArray::from(pairs(Arc::new(Int64Array::from(vec![
            1, 2, 3, 4,
        ])))));
        assert_eq!(numbers(&lists.slice(1, 1)).unwrap().row(0), [3.0, 4.0]);
    }

    #[test]
    fn empty_cells_are_not_numbers_and_text_is_refused() {
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
        let found = numbers(&flags).unwrap().values;
        assert!(found[0] == 1.0 && found[1].is_nan());
        let text: ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["a"]));
        assert!(numbers(&text).unwrap_err().contains("Utf8"));
    }
}
