//! An episode's numbers as an Arrow table.
//!
//! The table shares the memory of the cached columns wherever an episode's rows follow each other
//! in one of them, which is how LeRobot and Sinew write; only scattered rows are copied together.

use super::Dataset;
use super::cells::{Gathered, leaf};
use super::columns::Block;
use super::value::Tensor;
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::table;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, RecordBatch};
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Rows that follow each other in one block.
struct Run {
    block: Arc<Block>,
    rows: Range<usize>,
}

impl Dataset {
    /// All numeric features of an episode, one row a frame: scalars as plain columns, vectors and
    /// matrices as fixed-size lists, in the dataset's order and with its types. For a window of
    /// frames take [`RecordBatch::slice`] of it; neither copies the numbers.
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
            let shape = self.shape(name, feature)?;
            let width = shape.iter().product::<usize>();
            let column = nested(&path, self.flat(&path, entry, name, width)?, &shape)?;
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

    /// The numbers of a feature in an episode, row after row, `width` of them in each.
    fn flat(&self, path: &Path, entry: &Episode, name: &str, width: usize) -> Result<ArrayRef> {
        let mut parts = Vec::new();
        for run in self.runs(entry, name)? {
            let array = &run.block.array;
            for row in run.rows.clone() {
                let (_, cell) = leaf(path, array, row..row + 1)?;
                if cell.len() != width {
                    let found = cell.len();
                    let problem =
                        format!("a cell of {name} holds {found} values instead of {width}");
                    return Err(Error::corrupt(path, problem));
                }
            }
            let (values, range) = leaf(path, array, run.rows)?;
            parts.push(values.slice(range.start, range.len()));
        }
        match &parts[..] {
            [one] => Ok(one.clone()),
            [] => Err(Error::corrupt(path, "the episode has no rows")),
            several => {
                let several: Vec<&dyn Array> = several.iter().map(|p| &**p).collect();
                concat(&several).map_err(|e| Error::corrupt(path, e.to_string()))
            }
        }
    }

    fn runs(&self, entry: &Episode, name: &str) -> Result<Vec<Run>> {
        self.rows_of(entry)?;
        let file = self.columns.file(&self.info, entry.data)?;
        let column = file.column(name)?;
        let mut runs: Vec<Run> = Vec::new();
        for index in entry.from_index..entry.to_index {
            let cell = self.columns.cell(&file, column, file.row_of(index)?)?;
            match runs.last_mut() {
                Some(run) if run.rows.end == cell.row && Arc::ptr_eq(&run.block, &cell.block) => {
                    run.rows.end += 1;
                }
                _ => runs.push(Run {
                    rows: cell.row..cell.row + 1,
                    block: cell.block,
                }),
            }
        }
        Ok(runs)
    }
}

/// Wraps a flat column in one level of lists for each side, innermost first.
pub(crate) fn nested(path: &Path, mut column: ArrayRef, shape: &[usize]) -> Result<ArrayRef> {
    for side in shape.iter().rev() {
        let broken = |e: String| Error::corrupt(path, e);
        let length = i32::try_from(*side).map_err(|e| broken(e.to_string()))?;
        let element = Field::new("element", column.data_type().clone(), false);
        let list = FixedSizeListArray::try_new(Arc::new(element), length, column, None);
        column = Arc::new(list.map_err(|e| broken(e.to_string()))?);
    }
    Ok(column)
}
