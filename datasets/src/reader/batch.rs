//! An episode's numbers as an Arrow table.

use super::Dataset;
use super::cells::Gathered;
use super::value::{Numbers, Tensor};
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::table;
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array, make_array,
};
use arrow_schema::{DataType, Field, Schema};
use std::path::Path;
use std::sync::Arc;

impl Dataset {
    /// All numeric features of an episode, one row a frame: scalars as plain columns, vectors and
    /// matrices as fixed-size lists, in the dataset's order and with its types.
    ///
    /// # Errors
    /// If there is no such episode, or its data file is missing or damaged.
    pub fn record_batch(&self, episode: u64) -> Result<RecordBatch> {
        let entry = self.episode(episode)?;
        let path = self.info.data_file(entry.data)?;
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (name, feature) in self.info.features.iter() {
            let text = matches!(feature.dtype.as_str(), "string" | "language");
            if feature.is_camera() || text {
                continue;
            }
            let tensor = self.tensor(entry, name)?;
            let shape = tensor.shape.get(1..).unwrap_or_default();
            let column = nested(&path, flat(&path, tensor.numbers)?, shape)?;
            fields.push(Field::new(name, column.data_type().clone(), false));
            columns.push(column);
        }
        table::batch(&path, Schema::new(fields), columns)
    }

    /// All values of a numeric feature in an episode; the tensor's first side is the rows.
    pub(crate) fn tensor(&self, episode: &Episode, name: &str) -> Result<Tensor> {
        let path = self.info.data_file(episode.data)?;
        let mut whole = vec![self.rows_of(episode)?];
        whole.extend(self.shape(name, self.feature(name)?)?);
        let mut gathered = Gathered::default();
        self.each_cell(episode, name, |path, array, row| {
            gathered.add(path, array, row)
        })?;
        gathered.tensor(&path, name, whole)
    }
}

/// The numbers as an Arrow column of their type.
pub(crate) fn flat(path: &Path, numbers: Numbers) -> Result<ArrayRef> {
    let broken = |e: arrow_schema::ArrowError| Error::corrupt(path, e.to_string());
    Ok(match numbers {
        Numbers::Bool(v) => Arc::new(BooleanArray::from(v)),
        Numbers::I8(v) => Arc::new(Int8Array::from(v)),
        Numbers::I16(v) => Arc::new(Int16Array::from(v)),
        Numbers::I32(v) => Arc::new(Int32Array::from(v)),
        Numbers::I64(v) => Arc::new(Int64Array::from(v)),
        Numbers::U8(v) => Arc::new(UInt8Array::from(v)),
        Numbers::U16(v) => Arc::new(UInt16Array::from(v)),
        Numbers::U32(v) => Arc::new(UInt32Array::from(v)),
        Numbers::U64(v) => Arc::new(UInt64Array::from(v)),
        Numbers::F32(v) => Arc::new(Float32Array::from(v)),
        Numbers::F64(v) => Arc::new(Float64Array::from(v)),
        Numbers::F16Bits(v) => {
            let halves = UInt16Array::from(v).into_data().into_builder();
            make_array(
                halves
                    .data_type(DataType::Float16)
                    .build()
                    .map_err(broken)?,
            )
        }
    })
}

/// Wraps a flat column in one level of lists for each side, innermost first.
pub(crate) fn nested(path: &Path, mut column: ArrayRef, shape: &[usize]) -> Result<ArrayRef> {
    for side in shape.iter().rev() {
        let element: DataType = column.data_type().clone();
        let broken = |e: String| Error::corrupt(path, e);
        let length = i32::try_from(*side).map_err(|e| broken(e.to_string()))?;
        let list = FixedSizeListArray::try_new(
            Arc::new(Field::new("element", element, false)),
            length,
            column,
            None,
        );
        column = Arc::new(list.map_err(|e| broken(e.to_string()))?);
    }
    Ok(column)
}
