//! What lerobot 0.6.1 writes is read here as lerobot reads it: numbers to the bit, pictures to the
//! last bit of every pixel.
//!
//! Needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/peer.rs"]
mod peer;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use sinew_datasets::{Dataset, Image, Numbers, Pixels, ReaderOptions, Tensor};
use std::path::Path;

/// Lets lerobot write a dataset of this kind, and returns what it reads from it.
fn written(root: &Path, kind: &str) -> Json {
    let dir = root.parent().unwrap();
    peer::report(
        peer::script("lerobot", "lerobot_shapes.py", dir)
            .arg(root)
            .arg(kind),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn hash(image: &Image) -> String {
    hex(&match &image.pixels {
        Pixels::Rgb(rgb) => Sha256::digest(rgb),
        Pixels::Depth(values) => Sha256::digest(Numbers::F32(values.clone()).to_le_bytes()),
    })
}

fn packed(tensor: &Tensor) -> String {
    hex(&tensor.numbers.to_le_bytes())
}

fn reads_identically(kind: &str) -> Json {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let report = written(&root, kind);
    let dataset = Dataset::open(&root).unwrap();
    let reader = dataset.reader(&ReaderOptions::default()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((dataset.len(), rows.len()), (125, 125));
    let torchcodec = report["torchcodec"].as_array();
    println!("torchcodec compared: {}", torchcodec.is_some());
    let mut compared = 0;
    for (index, row) in rows.iter().enumerate() {
        let item = reader.get(index as u64).unwrap();
        let place = |name: &str| format!("{kind}: frame {index}, {name}");
        assert_eq!(row["task"], item.task);
        for (name, numbers) in row["numbers"].as_object().unwrap() {
            let tensor = item.get(name).unwrap().tensor().unwrap();
            assert_eq!(numbers[0], tensor.numbers.dtype(), "{}", place(name));
            assert_eq!(
                numbers[1],
                serde_json::json!(tensor.shape),
                "{}",
                place(name)
            );
            assert_eq!(numbers[2], packed(tensor), "{}", place(name));
            compared += 1;
        }
        for (name, text) in row["texts"].as_object().unwrap() {
            assert_eq!(
                item.get(name).unwrap().text(),
                text.as_str(),
                "{}",
                place(name)
            );
        }
        for (name, expected) in row["pictures"].as_object().unwrap() {
            let found = hash(item.get(name).unwrap().image().unwrap());
            assert_eq!(*expected, found, "{}", place(name));
            if let Some(rows) = torchcodec {
                assert_eq!(rows[index][name], found, "torchcodec, {}", place(name));
            }
            compared += 1;
        }
        let read = row["numbers"].as_object().unwrap().len()
            + row["texts"].as_object().unwrap().len()
            + row["pictures"].as_object().unwrap().len();
        assert_eq!(item.values.len(), read, "no feature is left out");
    }
    println!("{kind}: {compared} values and pictures are identical");
    windows_read_identically(&dataset, &report["windows"]);
    report
}

fn windows_read_identically(dataset: &Dataset, expected: &Json) {
    let deltas = expected["deltas"].as_object().unwrap().iter();
    let delta_timestamps = deltas.map(|(name, offsets)| {
        let offsets = offsets.as_array().unwrap().iter();
        (name.clone(), offsets.map(|o| o.as_f64().unwrap()).collect())
    });
    let options = ReaderOptions {
        delta_timestamps: delta_timestamps.collect(),
        ..ReaderOptions::default()
    };
    let reader = dataset.reader(&options).unwrap();
    for window in expected["items"].as_array().unwrap() {
        let item = reader.get(window["index"].as_u64().unwrap()).unwrap();
        for (name, flags) in window["pads"].as_object().unwrap() {
            assert_eq!(*flags, serde_json::json!(item.pad(name).unwrap()), "{name}");
        }
        for (name, numbers) in window["numbers"].as_object().unwrap() {
            let tensor = item.get(name).unwrap().tensor().unwrap();
            assert_eq!(numbers[0], serde_json::json!(tensor.shape), "{name}");
            assert_eq!(numbers[1], packed(tensor), "{name}");
        }
        let images = item.get("observation.images.front").unwrap().images();
        let found: Vec<String> = images.iter().map(|image| hash(image)).collect();
        assert_eq!(window["pictures"], serde_json::json!(found));
    }
}

#[test]
fn all_types_and_shapes_over_several_files() {
    let report = reads_identically("shapes");
    assert!(
        report["data_files"].as_u64() > Some(1),
        "several data files"
    );
    assert!(
        report["video_files"].as_u64() > Some(1),
        "several video files"
    );
}

#[test]
fn depth_in_videos_and_in_parquet() {
    reads_identically("depth");
}

#[test]
fn h264_with_long_groups_of_pictures() {
    reads_identically("h264");
}
