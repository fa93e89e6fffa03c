//! Makes the corpus that fuzzing starts from: files of small datasets that our recorder writes, and
//! one data file with every type of column. `scripts/fuzz` runs it:
//!
//! `cargo run -p sinew-datasets --features gstreamer --example fuzz_seeds -- <folder>`
#![allow(missing_docs, reason = "an example")]

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use image::{ExtendedColorType, ImageFormat};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use sinew_datasets::convert::{Container, ExportOptions, export};
use sinew_datasets::{CameraSpec, Codec, DatasetSpec, Recorder, Row};
use sinew_runtime::frame::Frame;
use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Side of the pictures, pixels: the least that every encoder takes.
const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;
/// Rows of an episode.
const ROWS: u32 = 5;

fn main() -> Outcome {
    let out = PathBuf::from(
        std::env::args()
            .nth(1)
            .ok_or("name the folder for the seeds")?,
    );
    let work = out.join("recordings");
    for (name, codec) in [("h264", Codec::H264), ("av1", Codec::Av1)] {
        let root = work.join(name);
        let mut recorder = Recorder::create(&root, &spec(codec, &["front"]))?;
        for task in ["pick the cube", "drop it"] {
            film(&mut recorder, task)?;
            recorder.save_episode()?;
        }
        recorder.finalize()?;
        seed_dataset(&out, &root, name)?;
        let video = root.join("videos/observation.images.front/chunk-000/file-000.mp4");
        for target in ["mp4", "decode"] {
            keep(&out, target, name, &std::fs::read(&video)?)?;
        }
        let bag = work.join(name).with_extension("mcap");
        let options = ExportOptions::default();
        export(&root, &bag, Container::File, &options, &mut |_| {})?;
        keep(&out, "mcap", name, &std::fs::read(&bag)?)?;
    }
    for (i, cameras) in [&["front", "wrist"][..], &[]].into_iter().enumerate() {
        keep(
            &out,
            "journal",
            &format!("{i}"),
            &crashed(&work, i, cameras)?,
        )?;
    }
    let bare = work.join("bare");
    let mut recorder = Recorder::create(&bare, &spec(Codec::Auto, &[]))?;
    film(&mut recorder, "pick")?;
    recorder.save_episode()?;
    recorder.finalize()?;
    seed_dataset(&out, &bare, "bare")?;
    for (name, bytes) in [
        ("plain", table(Compression::UNCOMPRESSED)?),
        ("snappy", table(Compression::SNAPPY)?),
    ] {
        keep(&out, "rows", name, &bytes)?;
    }
    for (name, bytes) in pictures()? {
        keep(&out, "picture", name, &bytes)?;
    }
    std::fs::remove_dir_all(&work)?;
    Ok(())
}

fn keep(out: &Path, target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder = out.join(target);
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(name), bytes)?)
}

/// Each file alone, and behind the byte by which the target `dataset` chooses it.
fn seed_dataset(out: &Path, root: &Path, name: &str) -> Outcome {
    let files = [
        ("info", "meta/info.json"),
        ("stats", "meta/stats.json"),
        ("tasks", "meta/tasks.parquet"),
        ("episodes", "meta/episodes/chunk-000/file-000.parquet"),
        ("rows", "data/chunk-000/file-000.parquet"),
    ];
    for (number, (target, file)) in (0_u8..).zip(files) {
        let bytes = std::fs::read(root.join(file))?;
        let variants = if file.ends_with("parquet") {
            vec![("", bytes.clone()), ("-plain", uncompressed(bytes)?)]
        } else {
            vec![("", bytes)]
        };
        for (kind, bytes) in variants {
            if target != "stats" {
                keep(out, target, &format!("{name}{kind}"), &bytes)?;
            }
            let chosen = [&[number], &bytes[..]].concat();
            keep(out, "dataset", &format!("{name}-{target}{kind}"), &chosen)?;
        }
    }
    Ok(())
}

fn spec(codec: Codec, cameras: &[&str]) -> DatasetSpec {
    let names = vec!["a.pos".to_owned(), "b.pos".to_owned()];
    let camera = |name: &&str| CameraSpec::rgb(name, WIDTH, HEIGHT);
    DatasetSpec {
        robot_type: "arm".into(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: cameras.iter().map(camera).collect(),
        extras: Vec::new(),
        codec,
    }
}

fn film(recorder: &mut Recorder, task: &str) -> Outcome {
    recorder.start_episode(task)?;
    let cameras = recorder.spec().cameras.len();
    for row in 0..ROWS {
        let pixels =
            (0..WIDTH * HEIGHT).flat_map(|p| [p as u8, (p / WIDTH * 5) as u8, (row * 40) as u8]);
        let frame = Arc::new(Frame::new(WIDTH, HEIGHT, pixels.collect()));
        let values = [row as f32 / 10.0, 0.5];
        recorder.add(Row {
            state: &values,
            action: &values,
            extra: &[],
            frames: &vec![frame; cameras],
        })?;
    }
    Ok(())
}

/// The journal of an episode whose recorder never came to its end.
fn crashed(work: &Path, number: usize, cameras: &[&str]) -> Outcome<Vec<u8>> {
    let root = work.join(format!("crashed-{number}"));
    let mut recorder = Recorder::create(&root, &spec(Codec::H264, cameras))?;
    film(&mut recorder, "pick")?;
    let mut waited = 0;
    // The encoder keeps the last frames until it is told to end.
    while recorder.durable_rows().unwrap_or(0) + 2 < u64::from(ROWS) && waited < 100 {
        std::thread::sleep(Duration::from_millis(100));
        waited += 1;
    }
    let journal = std::fs::read(root.join(".recording/rows.journal"))?;
    recorder.discard_episode()?;
    Ok(journal)
}

/// The same table without compression, in which a changed byte is a changed value.
fn uncompressed(bytes: Vec<u8>) -> Outcome<Vec<u8>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))?;
    let (schema, batches) = (reader.schema().clone(), reader.build()?);
    let properties = WriterProperties::builder().set_compression(Compression::UNCOMPRESSED);
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties.build()))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    Ok(writer.into_inner()?)
}

/// Two episodes with a column of every type.
fn table(compression: Compression) -> Outcome<Vec<u8>> {
    let rows = 2 * ROWS as usize;
    let png = encoded(ImageFormat::Png, ExtendedColorType::Rgb8, &[7; 48])?;
    let depth = encoded(ImageFormat::Png, ExtendedColorType::L16, &[1; 32])?;
    let text = |word: &str| -> ArrayRef { Arc::new(StringArray::from(vec![word; rows])) };
    let numbers = |modulo: usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            (0..rows).map(|i| (i % modulo) as i64),
        ))
    };
    let reals = |width: usize| (0..rows * width).map(|i| i as f64 / 8.0);
    let picture = |bytes: &[u8]| -> ArrayRef {
        let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..rows).map(|_| bytes)));
        structs(vec![("bytes", bytes), ("path", text("x.png"))])
    };
    let styles = structs(vec![
        ("role", text("user")),
        ("content", text("lift")),
        ("timestamp", Arc::new(Float32Array::from(vec![0.1; rows]))),
    ]);
    let single = reals(1).map(|v| v as f32).collect::<Float32Array>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "action",
            lists(
                Arc::new(reals(2).map(|v| v as f32).collect::<Float32Array>()),
                2,
            )?,
        ),
        (
            "force",
            lists(lists(Arc::new(reals(6).collect::<Float64Array>()), 3)?, 2)?,
        ),
        ("grasped", Arc::new(BooleanArray::from(vec![true; rows]))),
        ("note", text("slowly")),
        ("language_persistent", lists(styles, 1)?),
        ("camera", picture(&png)),
        ("depth", picture(&depth)),
        ("timestamp", Arc::new(single)),
        ("frame_index", numbers(ROWS as usize)),
        (
            "episode_index",
            Arc::new(Int64Array::from_iter_values(
                (0..rows).map(|i| i as i64 / i64::from(ROWS)),
            )),
        ),
        ("index", numbers(rows)),
        ("task_index", numbers(1)),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, a)| Field::new(*n, a.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, a)| a).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn structs(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let field = |(name, array): (&str, ArrayRef)| {
        (
            Arc::new(Field::new(name, array.data_type().clone(), true)),
            array,
        )
    };
    Arc::new(StructArray::from(
        columns.into_iter().map(field).collect::<Vec<_>>(),
    ))
}

fn lists(values: ArrayRef, length: i32) -> Outcome<ArrayRef> {
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    let fixed = FixedSizeListArray::try_new(element, length, values, None)?;
    Ok(Arc::new(ListArray::from(fixed)))
}

/// A 4×4 picture as a file.
fn encoded(format: ImageFormat, colours: ExtendedColorType, pixels: &[u8]) -> Outcome<Vec<u8>> {
    let mut out = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut out, pixels, 4, 4, colours, format)?;
    Ok(out.into_inner())
}

/// Pictures behind the byte that says how the target `picture` reads them.
fn pictures() -> Outcome<Vec<(&'static str, Vec<u8>)>> {
    let with = |kind: u8, bytes: Vec<u8>| [&[kind], &bytes[..]].concat();
    Ok(vec![
        (
            "png",
            with(
                0,
                encoded(ImageFormat::Png, ExtendedColorType::Rgb8, &[9; 48])?,
            ),
        ),
        (
            "jpeg",
            with(
                0,
                encoded(ImageFormat::Jpeg, ExtendedColorType::Rgb8, &[9; 48])?,
            ),
        ),
        (
            "png-depth",
            with(
                1,
                encoded(ImageFormat::Png, ExtendedColorType::L16, &[9; 32])?,
            ),
        ),
        ("tiff-depth", with(1, tiff()?)),
    ])
}

fn tiff() -> Outcome<Vec<u8>> {
    let mut out = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut out)?;
    encoder.write_image::<tiff::encoder::colortype::Gray16>(4, 4, &[1000; 16])?;
    Ok(out.into_inner())
}
