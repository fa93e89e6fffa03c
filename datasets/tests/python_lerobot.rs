//! The Python package `sinew-datasets` in the place of lerobot's own dataset class.
//!
//! Needs PyTorch: `make interop` installs both and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use sinew_datasets::{Codec, Recorder};
use std::path::Path;
use support::{record, spec};

/// Runs a script of `tests/peers` and returns the JSON in its last line.
fn run(script: &str, dir: &Path, arguments: &[&str]) -> Value {
    peer::report(peer::script("lerobot", script, dir).args(arguments))
}

/// Runs one that makes the dataset `dir/dataset`.
fn make(script: &str, dir: &Path, arguments: &[&str]) {
    peer::output(
        peer::script("lerobot", script, dir)
            .arg("dataset")
            .args(arguments),
    );
}

/// Compares everything in the dataset `dir/dataset` as both classes give it.
fn same_as_lerobot(dir: &Path) {
    let compared = run("sinew_dataset.py", dir, &["dataset"]);
    println!("compared: {compared}");
    assert!(compared["items"].as_u64() > Some(20));
    assert!(compared["windows"].as_u64() > Some(10));
    assert!(compared["batches"].as_u64() > Some(10));
}

fn record_here(dir: &Path, codec: Codec) {
    let mut recorder = Recorder::create(&dir.join("dataset"), &spec(codec)).unwrap();
    for (episode, (task, rows)) in [("pick", 14), ("place", 9), ("pick", 2), ("wipe", 12)]
        .iter()
        .enumerate()
    {
        record(&mut recorder, task, episode as u32, *rows);
    }
    recorder.finalize().unwrap();
}

#[test]
fn what_lerobot_made_is_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    make("lerobot_make.py", dir.path(), &[]);
    same_as_lerobot(dir.path());
}

#[test]
fn all_types_and_stored_pictures_are_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    make("lerobot_shapes.py", dir.path(), &["shapes"]);
    same_as_lerobot(dir.path());
}

#[test]
fn depth_is_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    make("lerobot_shapes.py", dir.path(), &["depth"]);
    same_as_lerobot(dir.path());
}

#[test]
fn long_groups_of_pictures_are_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    make("lerobot_shapes.py", dir.path(), &["h264"]);
    same_as_lerobot(dir.path());
}

#[test]
fn h264_recordings_of_sinew_are_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    record_here(dir.path(), Codec::H264);
    same_as_lerobot(dir.path());
}

#[test]
fn av1_recordings_of_sinew_are_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    record_here(dir.path(), Codec::Av1);
    same_as_lerobot(dir.path());
}

#[test]
fn lerobots_training_ends_with_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    record_here(dir.path(), Codec::H264);
    let theirs = run(
        "sinew_train.py",
        dir.path(),
        &["dataset", "theirs", "lerobot"],
    );
    let ours = run("sinew_train.py", dir.path(), &["dataset", "ours", "sinew"]);
    println!("losses: {} {}", theirs["losses"], ours["losses"]);
    // One for all episodes, one for training, one for evaluation.
    assert_eq!((&theirs["opened"], &ours["opened"]), (&0.into(), &3.into()));
    assert!(ours["losses"].as_array().unwrap().len() >= 4);
    assert_eq!(theirs["losses"], ours["losses"]);
    assert_eq!(theirs["weights"], ours["weights"]);
}
