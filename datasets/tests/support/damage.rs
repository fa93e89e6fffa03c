//! Damages datasets: in exactly one place.
#![allow(dead_code, reason = "each test program uses its own part")]

use super::support::{record, spec};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sinew_datasets::{Codec, Recorder};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Three episodes of 40, 50 and 45 rows with two cameras and two tasks, made once.
pub(crate) fn sound() -> &'static Path {
    static SOUND: OnceLock<TempDir> = OnceLock::new();
    SOUND
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
            record(&mut recorder, "pick", 0, 40);
            record(&mut recorder, "place", 1, 50);
            record(&mut recorder, "pick", 2, 45);
            recorder.finalize().unwrap();
            dir
        })
        .path()
}

pub(crate) fn copy(from: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_into(from, dir.path());
    dir
}

fn copy_into(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Replaces the only occurrence of `from` in a text file.
pub(crate) fn patch_text(root: &Path, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(root.join(file)).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(root.join(file), text.replacen(from, to, 1)).unwrap();
}

pub(crate) fn read(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches: Vec<RecordBatch> = builder
        .with_batch_size(1 << 20)
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(batches.len(), 1);
    batches[0].clone()
}

pub(crate) fn write(path: &Path, batch: &RecordBatch) {
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Rewrites one column of a parquet file.
fn change(path: &Path, column: &str, change: impl FnOnce(&ArrayRef) -> ArrayRef) {
    let batch = read(path);
    let at = batch.schema().index_of(column).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = change(&columns[at]);
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone())
        .collect();
    fields[at] = Field::new(column, columns[at].data_type().clone(), true);
    let schema = Arc::new(Schema::new(fields));
    write(path, &RecordBatch::try_new(schema, columns).unwrap());
}

/// Sets one cell of a plain column.
pub(crate) fn set(path: &Path, column: &str, row: usize, value: f64) {
    change(path, column, |array| with(array, row, |_| value));
}

/// The same numbers with one of them changed.
fn with(array: &ArrayRef, at: usize, new: impl Fn(f64) -> f64) -> ArrayRef {
    let pick = |i: usize, v: f64| if i == at { new(v) } else { v };
    assert!(at < array.len());
    match array.data_type() {
        DataType::Int64 => {
            let old = array
                .as_primitive::<arrow_array::types::Int64Type>()
                .values();
            let new = old
                .iter()
                .enumerate()
                .map(|(i, v)| pick(i, *v as f64) as i64);
            Arc::new(Int64Array::from_iter_values(new))
        }
        DataType::Float32 => {
            let old = array
                .as_primitive::<arrow_array::types::Float32Type>()
                .values();
            let new = old
                .iter()
                .enumerate()
                .map(|(i, v)| pick(i, f64::from(*v)) as f32);
            Arc::new(Float32Array::from_iter_values(new))
        }
        _ => {
            let old = array.as_primitive::<Float64Type>().values();
            let new = old.iter().enumerate().map(|(i, v)| pick(i, *v));
            Arc::new(Float64Array::from_iter_values(new))
        }
    }
}

/// Sets the value number `at` in a column of fixed-size lists, counted through all rows.
pub(crate) fn set_list(path: &Path, column: &str, at: usize, value: f64) {
    change(path, column, |array| {
        let list = array.as_fixed_size_list();
        let values = with(list.values(), at, |_| value);
        let field = Arc::new(Field::new("element", values.data_type().clone(), true));
        Arc::new(FixedSizeListArray::new(
            field,
            list.value_length(),
            values,
            None,
        ))
    });
}

/// Adds to the value number `at` in the only row of a list column.
pub(crate) fn add_to_list(path: &Path, column: &str, at: usize, more: f64) {
    change(path, column, |array| {
        let list = array.as_list::<i32>();
        let values = with(list.values(), at, |v| v + more);
        let field = Arc::new(Field::new("element", values.data_type().clone(), true));
        Arc::new(ListArray::new(field, list.offsets().clone(), values, None))
    });
}

/// Replaces the only row of a list of text.
pub(crate) fn set_text_list(path: &Path, column: &str, text: &str) {
    change(path, column, |array| {
        let values: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let field = Arc::new(Field::new("element", DataType::Utf8, true));
        let offsets = array.as_list::<i32>().offsets().clone();
        Arc::new(ListArray::new(field, offsets, values, None))
    });
}

/// Takes the last entry away from every row of a vector.
pub(crate) fn narrow(path: &Path, column: &str) {
    change(path, column, |array| {
        let list = array.as_fixed_size_list();
        let width = list.value_length() as usize;
        let values = list
            .values()
            .as_primitive::<arrow_array::types::Float32Type>();
        let kept = values
            .values()
            .chunks(width)
            .flat_map(|row| row[..width - 1].to_vec());
        let kept: ArrayRef = Arc::new(Float32Array::from_iter_values(kept));
        let field = Arc::new(Field::new("element", DataType::Float32, true));
        Arc::new(FixedSizeListArray::new(field, width as i32 - 1, kept, None))
    });
}

pub(crate) fn drop_column(path: &Path, column: &str) {
    let mut batch = read(path);
    batch.remove_column(batch.schema().index_of(column).unwrap());
    write(path, &batch);
}

/// Takes rows from the end of a file.
pub(crate) fn drop_rows(path: &Path, rows: Range<usize>) {
    let batch = read(path);
    assert_eq!(rows.end, batch.num_rows());
    write(path, &batch.slice(0, rows.start));
}

/// Adds to a value in `meta/stats.json`.
pub(crate) fn add_to_json(root: &Path, feature: &str, value: &str, at: usize, more: f64) {
    let path = root.join("meta/stats.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let slot = &mut json[feature][value][at];
    *slot = serde_json::json!(slot.as_f64().unwrap() + more);
    std::fs::write(path, json.to_string()).unwrap();
}

/// Changes how long all frames of an MP4 file last, in ticks of its clock.
pub(crate) fn patch_tick(path: &Path, from: u32, to: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"stts").unwrap();
    let entries = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    let mut changed = 0;
    for entry in 0..entries {
        let ticks = at + 12 + 8 * entry + 4;
        if bytes[ticks..ticks + 4] == from.to_be_bytes() {
            bytes[ticks..ticks + 4].copy_from_slice(&to.to_be_bytes());
            changed += 1;
        }
    }
    assert!(changed > 0);
    std::fs::write(path, bytes).unwrap();
}

/// Changes the picture size in an MP4 file's index.
pub(crate) fn patch_size(path: &Path, from: (u16, u16), to: (u16, u16)) {
    let both = |(w, h): (u16, u16)| [w.to_be_bytes(), h.to_be_bytes()].concat();
    let mut bytes = std::fs::read(path).unwrap();
    let start = bytes.windows(4).position(|w| w == b"stsd").unwrap();
    let at = start
        + bytes[start..]
            .windows(4)
            .position(|w| w == both(from))
            .unwrap();
    bytes[at..at + 4].copy_from_slice(&both(to));
    std::fs::write(path, bytes).unwrap();
}
