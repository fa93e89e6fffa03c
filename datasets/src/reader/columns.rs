//! Columns of the data files, read in blocks and kept while there is room.
//!
//! A block is a run of rows of one column within one row group. Blocks have at most a few MB, so that
//! one picture stored in a parquet file does not cost the decoding of its episode's others.

use super::cache::ByteCache;
use crate::error::{Error, Result};
use crate::files::{Files, ReadAt};
use crate::info::{FileIndex, Info};
use crate::table::pages::{Footer, Pages};
use crate::table::{self, guarded};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use lru::LruCache;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Data files whose table of contents is kept.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Aimed size of a block, bytes.
const BLOCK_BYTES: u64 = 4 << 20;
/// Most rows of a block.
const BLOCK_ROWS: u64 = 1 << 16;
/// Most pieces in which the rows of one file may count up: a real one has one for each episode.
const RUN_LIMIT: usize = 1 << 20;
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
    file: Arc<dyn ReadAt>,
    metadata: ArrowReaderMetadata,
    /// First row of each row group, and after the last.
    groups: Vec<u64>,
    /// Where rows of consecutive dataset-wide numbers are: (first number, first row, rows).
    runs: Vec<(u64, u64, u64)>,
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
        let file = Arc::new(guarded(&path.clone(), || DataFile::open(path, at, file))?);
        lock().push(at, file.clone());
        Ok(file)
    }

    /// The cell of `column` in the row of the file.
    pub(crate) fn cell(&self, file: &DataFile, column: usize, row: u64) -> Result<Cell> {
        let group = file.group_of(row)?;
        let start = file.groups[group];
        let rows = file.block_rows(group, column);
        let number = (row - start) / rows;
        let key = (file.at, group, column, number);
        let block = match self.blocks.get(&key) {
            Some(block) => block,
            None => {
                let first = number * rows;
                let count = rows.min(file.groups[group + 1] - start - first);
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
        let metadata = ArrowReaderMetadata::load(&Footer(file.clone()), table::reader_options())
            .map_err(|e| Error::corrupt(&path, e.to_string()))?;
        table::check_sizes(&path, metadata.metadata(), size)?;
        let mut groups = vec![0_u64];
        for group in metadata.metadata().row_groups() {
            let end = groups.last().copied().unwrap_or(0);
            groups.push(end + group.num_rows() as u64);
        }
        let mut opened = Self {
            path,
            at,
            file,
            metadata,
            groups,
            runs: Vec::new(),
        };
        opened.runs = opened.find_runs()?;
        Ok(opened)
    }

    /// Number of the column `name`.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        let fields = self.metadata.schema().fields();
        fields
            .iter()
            .position(|f| f.name() == name)
            .ok_or_else(|| Error::corrupt(&self.path, format!("column {name} is missing")))
    }

    /// The row that holds the frame with the dataset-wide number `index`.
    ///
    /// Files of other tools may hold rows of no episode, so that a row's place does not follow from
    /// the episode table alone.
    pub(crate) fn row_of(&self, index: u64) -> Result<u64> {
        let after = self.runs.partition_point(|(first, ..)| *first <= index);
        let run = after.checked_sub(1).map(|run| self.runs[run]);
        run.filter(|(first, _, rows)| index - first < *rows)
            .map(|(first, row, _)| row + (index - first))
            .ok_or_else(|| {
                Error::corrupt(
                    &self.path,
                    format!(
                        "the row with index {index} is missing, which the episode table places here"
                    ),
                )
            })
    }

    fn find_runs(&self) -> Result<Vec<(u64, u64, u64)>> {
        let column = self.column("index")?;
        let mut runs: Vec<(u64, u64, u64)> = Vec::new();
        let total = self.groups.last().copied().unwrap_or(0);
        let mut row = 0_u64;
        let pages = Pages::of(self.file.clone());
        let reader = self
            .builder(pages.clone(), column)
            .with_batch_size(BLOCK_ROWS as usize)
            .build()
            .map_err(|e| Error::corrupt(&self.path, e.to_string()))?;
        for batch in reader {
            let batch = batch.map_err(|e| Error::corrupt(&self.path, e.to_string()))?;
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
                    Some((first, _, rows)) if first.checked_add(*rows) == Some(number) => {
                        *rows += 1
                    }
                    _ => runs.push((number, row, 1)),
                }
                row += 1;
            }
            if runs.len() > RUN_LIMIT || row > total {
                return Err(Error::corrupt(
                    &self.path,
                    "column index does not count the rows, or there are more than the file says",
                ));
            }
        }
        if row != total {
            return Err(Error::corrupt(
                &self.path,
                format!("{row} rows are there, but the file claims {total}"),
            ));
        }
        runs.sort_unstable();
        runs.shrink_to_fit();
        Ok(runs)
    }

    fn group_of(&self, row: u64) -> Result<usize> {
        let after = self.groups.partition_point(|first| *first <= row);
        if after == 0 || after >= self.groups.len() {
            return Err(Error::corrupt(&self.path, format!("row {row} is missing")));
        }
        Ok(after - 1)
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
        let broken = |e: &dyn std::fmt::Display| Error::corrupt(&self.path, e.to_string());
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
