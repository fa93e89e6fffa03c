//! Columns of the data files, read in blocks and kept while there is room.
//!
//! A block is a run of rows of one column within one row group. Blocks have at most a few MB, so that
//! one picture stored in a parquet file does not cost the decoding of its episode's others.

use super::cache::ByteCache;
use super::groups::{Groups, Run};
use crate::error::{Error, Result};
use crate::files::{Files, ReadAt};
use crate::info::{FileIndex, Info};
use crate::parts::Parts;
use crate::table::pages::Pages;
use crate::table::{self, guarded};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use lru::LruCache;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Data files whose table of contents is kept.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Aimed size of a block, bytes.
const BLOCK_BYTES: u64 = 4 << 20;
/// Most rows of a block.
const BLOCK_ROWS: u64 = 1 << 16;
/// Most pieces in which the rows of one row group may count up: a real one has one for each episode.
const RUN_LIMIT: usize = 1 << 20;
/// Column chunks up to this size are read at once: what is not needed of them now is needed soon.
const PREPARE_BYTES: u64 = 8 << 20;
/// Most bytes that a damaged block may claim by repeating its largest value.
const BLOCK_CLAIM_BYTES: u64 = 1 << 30;

/// The columns of a dataset.
#[derive(Debug)]
pub(crate) struct Columns {
    files: Arc<dyn Files>,
    open: Mutex<LruCache<FileIndex, Arc<DataFile>>>,
    blocks: ByteCache<(FileIndex, usize, usize, u64), Arc<Block>>,
}

/// Rows of one column: those of the file from `first` on.
#[derive(Debug)]
pub(crate) struct Block {
    first: u64,
    pub(crate) array: ArrayRef,
}

/// One row of one column.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) block: Arc<Block>,
    pub(crate) row: usize,
}

/// An open data file.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Inside the dataset.
    pub(crate) path: PathBuf,
    at: FileIndex,
    file: Parts,
    metadata: ArrowReaderMetadata,
    /// The column `index`.
    index: usize,
    groups: Groups,
}

impl Columns {
    pub(crate) fn new(files: Arc<dyn Files>, cache_bytes: u64) -> Self {
        Self {
            files,
            open: Mutex::new(LruCache::new(OPEN_FILES)),
            blocks: ByteCache::new(cache_bytes),
        }
    }

    /// Opens a data file, or finds it open.
    pub(crate) fn file(&self, info: &Info, at: FileIndex) -> Result<Arc<DataFile>> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = lock().get(&at) {
            return Ok(file.clone());
        }
        let path = info.data_file(at)?;
        let file = self.files.open(&path).map_err(Error::io("open", &path))?;
        let file = guarded(&path.clone(), || DataFile::open(path, at, file))?;
        let file = Arc::new(file);
        lock().push(at, file.clone());
        Ok(file)
    }

    /// The cell of `column` in the row of the file.
    pub(crate) fn cell(&self, file: &DataFile, column: usize, row: u64) -> Result<Cell> {
        let group = file.group_of(row)?;
        let (start, end) = file.groups.rows(group);
        let rows = file.block_rows(group, column);
        let number = (row - start) / rows;
        let key = (file.at, group, column, number);
        let block = match self.blocks.get(&key) {
            Some(block) => block,
            None => {
                let first = number * rows;
                let count = rows.min(end - start - first);
                let array = guarded(&file.path, || file.read(group, column, first, count))?;
                let bytes = array.get_array_memory_size() as u64;
                let block = Arc::new(Block {
                    first: start + first,
                    array,
                });
                self.blocks.put(key, block.clone(), bytes);
                block
            }
        };
        let row = (row - block.first) as usize;
        Ok(Cell { block, row })
    }
}

impl DataFile {
    fn open(path: PathBuf, at: FileIndex, file: Arc<dyn ReadAt>) -> Result<Self> {
        let size = file.size();
        let file = Parts::new(file);
        let metadata = ArrowReaderMetadata::load(&file, table::data_options())
            .map_err(|e| file.explain(&path, &e))?;
        table::check_sizes(&path, metadata.metadata(), size)?;
        let index = position(&path, &metadata, "index")?;
        let groups = Groups::new(metadata.metadata(), index)
            .ok_or_else(|| Error::corrupt(&path, "too many rows"))?;
        Ok(Self {
            path,
            at,
            file,
            metadata,
            index,
            groups,
        })
    }

    /// Number of the column `name`.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        position(&self.path, &self.metadata, name)
    }

    /// The row that holds the frame with the dataset-wide number `index`.
    ///
    /// Files of other tools may hold rows of no episode, so that a row's place does not follow from
    /// the episode table alone.
    pub(crate) fn row_of(&self, index: u64) -> Result<u64> {
        for group in self.groups.holding(index) {
            let runs = self
                .groups
                .runs(group, || guarded(&self.path, || self.find_runs(group)))?;
            let after = runs.partition_point(|run| run.number <= index);
            let run = after.checked_sub(1).map(|run| runs[run]);
            if let Some(run) = run.filter(|run| index - run.number < run.rows) {
                return Ok(run.row + (index - run.number));
            }
        }
        Err(Error::corrupt(
            &self.path,
            format!("the row with index {index} is missing, which the episode table places here"),
        ))
    }

    /// The consecutive numbers in a row group's column `index`, in their order.
    fn find_runs(&self, group: usize) -> Result<Vec<Run>> {
        let broken = |e: &dyn std::fmt::Display| self.file.explain(&self.path, e);
        self.prepare(group, self.index);
        let mut runs: Vec<Run> = Vec::new();
        let (start, end) = self.groups.rows(group);
        let mut row = start;
        let pages = Pages::of(self.file.clone());
        let reader = self
            .builder(pages.clone(), self.index)
            .with_row_groups(vec![group])
            .with_batch_size(BLOCK_ROWS as usize)
            .build()
            .map_err(|e| broken(&e))?;
        for batch in reader {
            let batch = batch.map_err(|e| broken(&e))?;
            pages.refill();
            let numbers = batch.column(0).as_primitive_opt::<Int64Type>();
            let numbers = numbers
                .filter(|n| n.null_count() == 0)
                .ok_or_else(|| Error::corrupt(&self.path, "column index holds no whole numbers"))?;
            for number in numbers.values() {
                let number = u64::try_from(*number).map_err(|_| {
                    Error::corrupt(&self.path, format!("column index holds {number}"))
                })?;
                match runs.last_mut() {
                    Some(run) if run.number.checked_add(run.rows) == Some(number) => run.rows += 1,
                    _ => runs.push(Run {
                        number,
                        row,
                        rows: 1,
                    }),
                }
                row += 1;
            }
            if runs.len() > RUN_LIMIT || row > end {
                return Err(Error::corrupt(
                    &self.path,
                    "column index does not count the rows, or there are more than the file says",
                ));
            }
        }
        if row != end {
            return Err(Error::corrupt(
                &self.path,
                format!(
                    "{} rows are there, but the file claims {}",
                    row - start,
                    end - start
                ),
            ));
        }
        runs.sort_unstable();
        runs.shrink_to_fit();
        Ok(runs)
    }

    fn group_of(&self, row: u64) -> Result<usize> {
        let found = self.groups.of_row(row);
        found.ok_or_else(|| Error::corrupt(&self.path, format!("row {row} is missing")))
    }

    /// Says that a column of a row group is read next.
    fn prepare(&self, group: usize, column: usize) {
        let chunks = self.metadata.metadata().row_group(group).columns();
        let roots = self.metadata.parquet_schema();
        for (leaf, chunk) in chunks.iter().enumerate() {
            let (offset, length) = chunk.byte_range();
            if roots.get_column_root_idx(leaf) == column && length <= PREPARE_BYTES {
                self.file.prepare(offset, length);
            }
        }
    }

    /// Rows of one block of `column` in a row group.
    fn block_rows(&self, group: usize, column: usize) -> u64 {
        let group = self.metadata.metadata().row_group(group);
        let rows = (group.num_rows() as u64).max(1);
        let roots = self.metadata.parquet_schema();
        let bytes: u64 = (0..group.num_columns())
            .filter(|leaf| roots.get_column_root_idx(*leaf) == column)
            .map(|leaf| group.column(leaf).uncompressed_size().max(0) as u64)
            .sum();
        let aimed = BLOCK_BYTES * rows / bytes.max(1);
        let claimable = BLOCK_CLAIM_BYTES / bytes.max(1);
        aimed.min(claimable).clamp(1, BLOCK_ROWS.min(rows))
    }

    fn builder(&self, pages: Pages, column: usize) -> ParquetRecordBatchReaderBuilder<Pages> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), [column]);
        ParquetRecordBatchReaderBuilder::new_with_metadata(pages, self.metadata.clone())
            .with_projection(mask)
    }

    /// `count` rows of a column, from row `first` of the row group on.
    fn read(&self, group: usize, column: usize, first: u64, count: u64) -> Result<ArrayRef> {
        let broken = |e: &dyn std::fmt::Display| self.file.explain(&self.path, e);
        self.prepare(group, column);
        let mut reader = self
            .builder(Pages::of(self.file.clone()), column)
            .with_row_groups(vec![group])
            .with_offset(first as usize)
            .with_limit(count as usize)
            .with_batch_size(count as usize)
            .build()
            .map_err(|e| broken(&e))?;
        let batch = reader.next().transpose().map_err(|e| broken(&e))?;
        batch
            .filter(|batch| batch.num_rows() as u64 == count)
            .map(|batch| batch.column(0).clone())
            .ok_or_else(|| broken(&"a column is shorter than its row group"))
    }
}

/// Number of the column `name`.
fn position(path: &Path, metadata: &ArrowReaderMetadata, name: &str) -> Result<usize> {
    let fields = metadata.schema().fields();
    let found = fields.iter().position(|f| f.name() == name);
    found.ok_or_else(|| Error::corrupt(path, format!("column {name} is missing")))
}
