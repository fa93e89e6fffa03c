//! The real lerobot package reads depth, images, texts, truths and several tasks in an episode as they
//! were recorded, and as a crash left them.
//!
//! It needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/kinds.rs"]
mod kinds;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;

use serde_json::{Value, json};
use sinew_datasets::{Recorder, RepairOptions, repair};
use std::path::Path;
use support::counter;

fn record(recorder: &mut Recorder, episode: u32, rows: u32) {
    recorder.start_episode(kinds::task(episode, 0)).unwrap();
    (0..rows).for_each(|row| kinds::add(recorder, episode, row).unwrap());
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes().chunks_exact(2);
    digits
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn words(hex: &Value) -> Vec<u16> {
    let bytes = bytes(hex);
    let pairs = bytes.chunks_exact(2);
    pairs.map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

/// Compares every value of every row with what was recorded, and returns the last line.
fn lerobot_reads(root: &Path, episodes: &[u32]) -> Value {
    let text = peer::run("lerobot_kinds.py", root);
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let total: u32 = episodes.iter().sum();
    assert_eq!(lines.len() as u32, total + 1);
    let expected = (0..)
        .zip(episodes)
        .flat_map(|(episode, rows)| (0..*rows).map(move |row| (episode, row)));
    for ((episode, row), found) in expected.zip(&lines) {
        check_values(found, episode, row);
        check_pictures(found, episode, row);
    }
    lines[total as usize].clone()
}

/// The value with its numbers in single precision: JSON is not read to the last digit.
fn single(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap() as f32),
        Value::Array(list) => list.iter().map(single).collect(),
        other => other.clone(),
    }
}

fn check_values(found: &Value, episode: u32, row: u32) {
    let expected = kinds::extras(episode, row);
    let number = counter(episode, 0, row) as f32;
    assert_eq!(found["episode_index"], episode);
    assert_eq!(found["frame_index"], row);
    let [first, second] = [0, 1].map(|i| {
        let values = &expected.environment[3 * i..3 * i + 3];
        values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
    });
    for (name, wanted) in [
        ("task", json!(kinds::task(episode, row))),
        ("observation.state", json!([number, -number])),
        ("next.reward", json!(f64::from(expected.reward[0]))),
        ("next.done", json!(expected.done[0])),
        ("observation.environment_state", json!([first, second])),
        ("complementary_info.step", json!(expected.step[0])),
        ("contacts", json!(expected.contacts)),
        ("remark", json!(expected.remark)),
    ] {
        let (found, wanted) = (single(&found[name]), single(&wanted));
        assert_eq!(found, wanted, "{name} of episode {episode} row {row}");
    }
    // lerobot makes single precision of what is stored in double.
    for (found, wanted) in found["timing"]
        .as_array()
        .unwrap()
        .iter()
        .zip(expected.times)
    {
        assert!((found.as_f64().unwrap() - wanted).abs() < 1e-6);
    }
}

fn check_pictures(found: &Value, episode: u32, row: u32) {
    let camera = |name: &str| &found[format!("observation.images.{name}")];
    assert_eq!(*camera("front"), counter(episode, 0, row));
    assert_eq!(bytes(camera("wrist")), kinds::colours(episode, row));
    assert_eq!(
        words(camera("wrist_depth")),
        kinds::distances(episode, 3, row)
    );
    let given = kinds::distances(episode, 1, row);
    for (found, mm) in words(camera("front_depth")).into_iter().zip(given) {
        let (expected, tolerance) = kinds::depth_in_video(mm);
        let off = (f32::from(found) - expected).abs();
        assert!(off <= tolerance, "{mm} mm gave {found} mm");
    }
}

#[test]
fn lerobot_reads_every_kind_of_value_and_picture() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &kinds::spec()).unwrap();
    for (episode, rows) in [(0, 20), (1, 9)] {
        record(&mut recorder, episode, rows);
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    let report = lerobot_reads(&root, &[20, 9]);
    let shape = |name: &str| &report["shapes"][name];
    assert_eq!(*shape("observation.images.front"), json!([3, 1, 1]));
    assert_eq!(*shape("observation.images.front_depth"), json!([1, 1, 1]));
    assert_eq!(*shape("next.done"), json!([1]));
    assert_eq!(*shape("remark"), Value::Null, "texts have no statistics");
    assert_eq!(report["depth"]["min"], 0.0, "distances stay in mm");
    assert_eq!(report["depth"]["max"], 65_535.0);
    assert_eq!(
        report["depth_keys"],
        json!([
            "observation.images.front_depth",
            "observation.images.wrist_depth"
        ])
    );
    assert_eq!(
        report["tasks"],
        json!([
            ["pick the cube", "place the cube", "wipe"],
            ["place the cube", "wipe"]
        ])
    );
}

#[test]
fn depth_is_coded_as_lerobot_codes_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &kinds::spec()).unwrap();
    record(&mut recorder, 0, 1);
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    let theirs = words(&lerobot_reads(&root, &[1])["codes"]);
    let ours = sinew_datasets::video::depth_codes();
    assert_eq!(ours.len(), theirs.len());
    // Their logarithm may differ in the last bit from one processor to the next.
    let off = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    assert!(off <= 20, "{off} distances have another code");
    assert!(ours.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn lerobot_reads_what_a_crash_left_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &kinds::spec()).unwrap();
    record(&mut recorder, 0, 8);
    recorder.save_episode().unwrap();
    record(&mut recorder, 1, 17);
    while recorder.durable_rows() < Some(17) {
        std::thread::yield_now();
    }
    drop(recorder);
    let report = repair(&root, RepairOptions::default()).unwrap();
    assert_eq!(report.recovered.unwrap().rows, 17);
    lerobot_reads(&root, &[8, 17]);
}
