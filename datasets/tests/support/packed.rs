//! Datasets packed as LeRobot packs them: all episodes of a camera in one video file.

use super::edits::BOTH;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sinew_datasets::Dataset;
use sinew_datasets::edit::{self, Target};
use sinew_datasets::video::remux::{Piece, Track, join};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The dataset with all frames of a camera in one file, as LeRobot packs them.
pub(crate) fn pack(dir: &TempDir, source: &Path) -> PathBuf {
    let packed = edit::keep(
        source,
        &[0, 1, 2, 3],
        &Target::Folder(dir.path().join("packed")),
    )
    .unwrap()
    .root;
    let dataset = Dataset::open(&packed).unwrap();
    for (key, _) in BOTH {
        let folder = packed.join(format!("videos/{key}/chunk-000"));
        let tracks: Vec<Track> = (0..4)
            .map(|i| Track::read(&folder.join(format!("file-{i:03}.mp4")), 30).unwrap())
            .collect();
        let pieces: Vec<Piece<'_>> = tracks
            .iter()
            .map(|track| Piece {
                track,
                samples: track.run(0, track.frames()).unwrap(),
            })
            .collect();
        let out = folder.join("joined.mp4");
        join(&pieces, 30, &out).unwrap();
        for i in 1..4 {
            std::fs::remove_file(folder.join(format!("file-{i:03}.mp4"))).unwrap();
        }
        std::fs::rename(out, folder.join("file-000.mp4")).unwrap();
    }
    rewrite_spans(&packed, &dataset);
    packed
}

/// Puts every episode into video file 0, one after the other.
fn rewrite_spans(root: &Path, dataset: &Dataset) {
    let path = root.join("meta/episodes/chunk-000/file-000.parquet");
    let file = std::fs::File::open(&path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let batch = reader.next().unwrap().unwrap();
    let ends: Vec<f64> = dataset
        .episodes()
        .iter()
        .map(|e| e.to_index as f64 / 30.0)
        .collect();
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let array: ArrayRef = match field.name() {
                n if n.starts_with("videos/") && n.ends_with("/file_index") => {
                    Arc::new(Int64Array::from(vec![0; 4]))
                }
                n if n.ends_with("/from_timestamp") => Arc::new(Float64Array::from_iter_values(
                    std::iter::once(0.0).chain(ends[..3].iter().copied()),
                )),
                n if n.ends_with("/to_timestamp") => Arc::new(Float64Array::from(ends.clone())),
                _ => column.clone(),
            };
            array
        });
    let batch = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}
