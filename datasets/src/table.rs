//! Parquet in and out: durable writing, and reading that bears damaged and hostile files.

pub(crate) mod pages;

use crate::error::{Error, Result};
use crate::files::{LocalFile, ReadAt};
use crate::parts::Parts;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use pages::Pages;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ConvertedType, Encoding, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetStatisticsPolicy};
use parquet::file::properties::{CdcOptions, WriterProperties};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A column's page has at least this many bytes before encoding …
const SMALLEST_PAGE_BYTES: usize = 32 << 10;
/// … and at most this many: chunks of the Hugging Face hub have 64 KiB on average.
const LARGEST_PAGE_BYTES: usize = 128 << 10;
/// Rows decoded at a time.
const BATCH_ROWS: usize = 4096;
/// Largest parquet file that is opened. LeRobot starts a new one at 100 MiB.
const FILE_LIMIT_BYTES: u64 = 4 << 30;
/// Largest column chunk that is decoded, before compression.
const CHUNK_LIMIT_BYTES: i64 = 1 << 30;
/// Most rows for each byte of a file: real rows differ, and cost some bytes each.
const ROWS_PER_BYTE: u64 = 8;
/// As many rows as a file of any size may have.
const FEWEST_ROWS: u64 = 1 << 16;

/// Writes one table as one row group and flushes it to the disk.
pub(crate) fn write(path: &Path, batch: &RecordBatch, metadata: &[(&str, String)]) -> Result<()> {
    let mut writer = TableWriter::create(path, batch.schema(), metadata)?;
    writer.write(batch)?;
    writer.finish()
}

/// How parquet files are written: so that an edited dataset shares most of its bytes with the one
/// before on a hub that stores by content. Pages end where their contents say, so that what follows
/// a cut falls into the same pages again. Numbers and pictures have no dictionary, because its order
/// and every reference into it change with any cut; counted columns are stored as differences, which
/// makes the renumbered ones tiny.
fn properties(
    schema: &SchemaRef,
    metadata: &[(&str, String)],
) -> std::result::Result<WriterProperties, ParquetError> {
    let pairs = metadata
        .iter()
        .map(|(k, v)| KeyValue::new((*k).to_owned(), v.clone()))
        .collect::<Vec<_>>();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(None)
        .set_content_defined_chunking(Some(CdcOptions {
            min_chunk_size: SMALLEST_PAGE_BYTES,
            max_chunk_size: LARGEST_PAGE_BYTES,
            ..CdcOptions::default()
        }))
        .set_key_value_metadata((!pairs.is_empty()).then_some(pairs));
    for column in ArrowSchemaConverter::new().convert(schema)?.columns() {
        let path = column.path().clone();
        match column.physical_type() {
            PhysicalType::INT64 | PhysicalType::INT32 => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            PhysicalType::FLOAT | PhysicalType::DOUBLE => {
                builder = builder.set_column_dictionary_enabled(path, false);
            }
            PhysicalType::BYTE_ARRAY if column.converted_type() == ConvertedType::NONE => {
                builder = builder.set_column_dictionary_enabled(path, false);
            }
            _ => {}
        }
    }
    Ok(builder.build())
}

/// A parquet file that grows batch by batch.
pub(crate) struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
}

impl TableWriter {
    pub(crate) fn create(
        path: &Path,
        schema: SchemaRef,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let properties = properties(&schema, metadata).map_err(broken_write(path))?;
        let file = File::create(path).map_err(Error::io("create", path))?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(broken_write(path))?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            writer,
        })
    }

    /// Appends a batch of this file's schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(broken_write(&self.path))
    }

    /// Columns as a batch of this file's schema; different types are the fault of `source`.
    pub(crate) fn batch(&self, source: &Path, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|e| Error::corrupt(source, format!("columns change their type: {e}")))
    }

    /// Memory taken by the row group in progress, bytes.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// Size of the row groups that ended, bytes.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Ends the row group in progress.
    pub(crate) fn end_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(broken_write(&self.path))
    }

    /// Writes the footer and flushes the file to the disk.
    pub(crate) fn finish(self) -> Result<()> {
        let file = self.writer.into_inner().map_err(broken_write(&self.path))?;
        file.sync_all().map_err(Error::io("flush", &self.path))
    }
}

fn broken_write(path: &Path) -> impl Fn(ParquetError) -> Error {
    move |e| Error::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other(e),
    }
}

/// A table from named columns.
pub(crate) fn batch(path: &Path, schema: Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|e| Error::corrupt(path, format!("columns do not form a table: {e}")))
}

/// Reads the columns whose names `wanted` accepts and gives each batch to `take`.
///
/// Types follow the parquet schema alone (lists and plain values); the embedded Arrow schema is
/// ignored, because it is a second description that may contradict the first.
pub(crate) fn read(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
    take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let file = LocalFile::open(path).map_err(Error::io("open", path))?;
    read_from(path, Arc::new(file), wanted, take)
}

/// As [`read`], from a file that is open. `path` is for messages.
pub(crate) fn read_from(
    path: &Path,
    file: Arc<dyn ReadAt>,
    wanted: impl Fn(&str) -> bool,
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let bytes = file.size();
    if bytes > FILE_LIMIT_BYTES {
        return Err(Error::corrupt(
            path,
            format!("{bytes} bytes are more than the {FILE_LIMIT_BYTES} that are read"),
        ));
    }
    let file = Parts::new(file);
    guarded(path, || decode(path, file, bytes, &wanted, &mut take))
}

/// Runs the parquet decoder, which is foreign code over foreign bytes: it returns errors for
/// damage that it foresees, and for the rest a panic inside it must not become ours.
pub(crate) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|_| Err(Error::corrupt(path, "the parquet decoder gave up on it")))
}

fn decode(
    path: &Path,
    file: Parts,
    bytes: u64,
    wanted: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let broken = |e: &dyn std::fmt::Display| file.explain(path, e);
    let metadata = ArrowReaderMetadata::load(&file, reader_options()).map_err(|e| broken(&e))?;
    let claimed = check_sizes(path, metadata.metadata(), bytes)?;
    let pages = Pages::of(file.clone());
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(pages.clone(), metadata);
    let roots: Vec<usize> = builder
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, f)| wanted(f.name()))
        .map(|(i, _)| i)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|e| broken(&e))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|e| broken(&e))?;
        rows += batch.num_rows() as u64;
        if rows > claimed {
            return Err(broken(&"it holds more rows than it says"));
        }
        take(&batch)?;
        pages.refill();
    }
    Ok(())
}

/// How parquet files are opened. Their own statistics are skipped: nobody here asks for them, and in
/// an episode table they are most of the footer (thousands of row groups of a hundred columns).
pub(crate) fn reader_options() -> ArrowReaderOptions {
    ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
}

/// How data files are opened: with the statistics, which say where each frame's row is.
pub(crate) fn data_options() -> ArrowReaderOptions {
    reader_options().with_column_stats_policy(ParquetStatisticsPolicy::KeepAll)
}

/// Refuses files whose own table of contents is impossible, before anything is allocated for it.
/// Gives the number of rows.
pub(crate) fn check_sizes(path: &Path, metadata: &ParquetMetaData, bytes: u64) -> Result<u64> {
    let most = bytes.saturating_mul(ROWS_PER_BYTE).max(FEWEST_ROWS);
    let mut rows = 0_u64;
    for group in metadata.row_groups() {
        let more = u64::try_from(group.num_rows()).ok();
        rows = more
            .and_then(|more| rows.checked_add(more))
            .filter(|rows| *rows <= most)
            .ok_or_else(|| {
                let problem = format!(
                    "{bytes} bytes cannot hold {rows} and {} rows",
                    group.num_rows()
                );
                Error::corrupt(path, problem)
            })?;
        for column in group.columns() {
            let (start, length) = (
                column
                    .dictionary_page_offset()
                    .unwrap_or(column.data_page_offset()),
                column.compressed_size(),
            );
            let inside = start >= 0
                && length >= 0
                && (start as u64)
                    .checked_add(length as u64)
                    .is_some_and(|end| end <= bytes);
            if !inside {
                return Err(Error::corrupt(
                    path,
                    format!("column {} lies outside the file", column.column_path()),
                ));
            }
            if !(0..=CHUNK_LIMIT_BYTES).contains(&column.uncompressed_size()) {
                return Err(Error::corrupt(
                    path,
                    format!(
                        "column {} claims {} bytes",
                        column.column_path(),
                        column.uncompressed_size()
                    ),
                ));
            }
        }
    }
    Ok(rows)
}

/// The column `name` of a batch.
pub(crate) fn column<'a>(path: &Path, batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::corrupt(path, format!("column {name} is missing")))
}

/// A column of whole numbers without nulls.
pub(crate) fn integers(path: &Path, batch: &RecordBatch, name: &str) -> Result<Vec<i64>> {
    let array = column(path, batch, name)?;
    if array.null_count() > 0 {
        return Err(Error::corrupt(
            path,
            format!("column {name} has empty cells"),
        ));
    }
    match array.data_type() {
        DataType::Int64 => Ok(array.as_primitive::<Int64Type>().values().to_vec()),
        DataType::Int32 => Ok(array
            .as_primitive::<Int32Type>()
            .values()
            .iter()
            .map(|v| i64::from(*v))
            .collect()),
        other => Err(Error::corrupt(
            path,
            format!("column {name} has type {other} instead of int64"),
        )),
    }
}

/// A column of whole numbers that cannot be negative.
pub(crate) fn counts(path: &Path, batch: &RecordBatch, name: &str) -> Result<Vec<u64>> {
    integers(path, batch, name)?
        .into_iter()
        .map(|v| {
            u64::try_from(v).map_err(|_| Error::corrupt(path, format!("column {name} holds {v}")))
        })
        .collect()
}

/// The text in one cell.
pub(crate) fn text(path: &Path, array: &ArrayRef, row: usize) -> Result<String> {
    match array.data_type() {
        DataType::Utf8 if array.is_valid(row) => Ok(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 if array.is_valid(row) => {
            Ok(array.as_string::<i64>().value(row).to_owned())
        }
        DataType::Utf8 | DataType::LargeUtf8 => {
            Err(Error::corrupt(path, "empty cell where text should be"))
        }
        other => Err(Error::corrupt(
            path,
            format!("type {other} where text should be"),
        )),
    }
}

/// The array inside one list cell; `None` if the array is no list or the cell is empty.
pub(crate) fn cell(array: &ArrayRef, row: usize) -> Option<ArrayRef> {
    if !array.is_valid(row) {
        return None;
    }
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().value(row)),
        _ => None,
    }
}

/// Appends the numbers in cell `row`, however deep the lists, to `out`.
pub(crate) fn numbers(path: &Path, array: &ArrayRef, row: usize, out: &mut Vec<f64>) -> Result<()> {
    if let Some(inner) = cell(array, row) {
        out.extend(flat_numbers(path, &inner)?);
        return Ok(());
    }
    if !array.is_valid(row) {
        return Err(Error::corrupt(path, "empty cell where a number should be"));
    }
    out.extend(values(path, &array.slice(row, 1))?);
    Ok(())
}

/// All numbers of a column without empty cells, whose lists may be nested: those of the first row,
/// then those of the second …
pub(crate) fn flat_numbers(path: &Path, array: &ArrayRef) -> Result<Vec<f64>> {
    if array.null_count() > 0 {
        return Err(Error::corrupt(path, "empty cell where a number should be"));
    }
    let inner = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            span(list.values(), list.offsets())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            span(list.values(), list.offsets())
        }
        DataType::FixedSizeList(_, length) => {
            let list = array.as_fixed_size_list();
            let length = usize::try_from(*length).unwrap_or(0);
            list.values()
                .slice(list.offset() * length, list.len() * length)
        }
        _ => return values(path, array),
    };
    flat_numbers(path, &inner)
}

/// The values between the first and the last of the offsets.
fn span<O: arrow_array::OffsetSizeTrait>(values: &ArrayRef, offsets: &[O]) -> ArrayRef {
    let start = offsets.first().map_or(0, |o| o.as_usize());
    let end = offsets.last().map_or(0, |o| o.as_usize());
    values.slice(start, end - start)
}

/// The numbers of a plain column.
fn values(path: &Path, array: &ArrayRef) -> Result<Vec<f64>> {
    macro_rules! each {
        ($kind:ty, $convert:expr) => {
            array
                .as_primitive::<$kind>()
                .values()
                .iter()
                .map($convert)
                .collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Float16 => each!(Float16Type, |v| f64::from(*v)),
        DataType::Float32 => each!(Float32Type, |v| f64::from(*v)),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().to_vec(),
        DataType::Int8 => each!(Int8Type, |v| f64::from(*v)),
        DataType::Int16 => each!(Int16Type, |v| f64::from(*v)),
        DataType::Int32 => each!(Int32Type, |v| f64::from(*v)),
        DataType::Int64 => each!(Int64Type, |v| *v as f64),
        DataType::UInt8 => each!(UInt8Type, |v| f64::from(*v)),
        DataType::UInt16 => each!(UInt16Type, |v| f64::from(*v)),
        DataType::UInt32 => each!(UInt32Type, |v| f64::from(*v)),
        DataType::UInt64 => each!(UInt64Type, |v| *v as f64),
        DataType::Boolean => array
            .as_boolean()
            .values()
            .iter()
            .map(|v| f64::from(u8::from(v)))
            .collect(),
        other => {
            return Err(Error::corrupt(
                path,
                format!("type {other} where numbers should be"),
            ));
        }
    })
}
