//! The real lerobot package opens what is written here, and the other way round.
//!
//! Needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;

use peer::run;
use serde_json::Value;
use sinew_datasets::{Codec, Dataset, Info, Recorder};
use std::path::Path;
use support::{counter, record, spec, state};

/// Opens `root` with lerobot and checks every row of `episodes` (task, number of rows).
fn lerobot_reads(root: &Path, episodes: &[(&str, u32)]) {
    let text = run("lerobot_open.py", root);
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["lerobot"], "0.6.1");
    assert_eq!(report["total_episodes"], episodes.len());
    let total: u32 = episodes.iter().map(|(_, rows)| rows).sum();
    assert_eq!(report["total_frames"], total);
    assert_eq!(report["robot_type"], "so101_follower");
    assert_eq!(report["window_shape"], serde_json::json!([3, 6]));
    assert_eq!(report["stats_keys"].as_array().unwrap().len(), 11);
    assert!(
        report["stats_difference"].as_f64().unwrap() < 1.0,
        "{}",
        report["stats_difference"]
    );
    let backends = report["backends"].as_object().unwrap();
    assert!(backends.contains_key("pyav"));
    println!("backends: {:?}", backends.keys().collect::<Vec<_>>());
    for (backend, rows) in backends {
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), total as usize, "{backend}");
        let expected = episodes
            .iter()
            .enumerate()
            .flat_map(|(e, (task, rows))| (0..*rows).map(move |f| (e as u32, *task, f)));
        for (index, ((episode, task, frame), row)) in expected.zip(rows).enumerate() {
            let place = format!("{backend}: {row}");
            assert_eq!(
                (row[0].as_u64(), row[1].as_u64()),
                (Some(episode.into()), Some(frame.into())),
                "{place}"
            );
            assert_eq!(row[2], index, "{place}");
            assert!(
                (row[3].as_f64().unwrap() - f64::from(frame) / 30.0).abs() < 1e-4,
                "{place}"
            );
            assert_eq!(row[4], task, "{place}");
            // JSON's decimal numbers may differ in the last digit of a double, not of a float.
            let read: Vec<f32> = numbers(&row[5]).iter().map(|v| *v as f32).collect();
            assert_eq!(read, state(episode, frame), "{place}");
            let extras = numbers(&row[6]);
            assert!(
                (extras[0] - f64::from(frame) / 30.0 - 0.001).abs() < 1e-6 && extras.len() == 3,
                "{place}"
            );
            assert_eq!(
                row[7]["observation.images.front"],
                counter(episode, 0, frame),
                "{place}"
            );
            assert_eq!(
                row[7]["observation.images.wrist"],
                counter(episode, 1, frame),
                "{place}"
            );
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn recorded_dataset_opens(codec: Codec) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &spec(codec)).unwrap();
    let episodes = [
        ("pick the cube", 60),
        ("place the cube", 35),
        ("pick the cube", 2),
    ];
    for (episode, (task, rows)) in episodes.iter().enumerate() {
        record(&mut recorder, task, episode as u32, *rows);
    }
    recorder.finalize().unwrap();
    lerobot_reads(&root, &episodes);
}

#[test]
fn lerobot_opens_h264_recordings() {
    recorded_dataset_opens(Codec::H264);
}

#[test]
fn lerobot_opens_av1_recordings() {
    recorded_dataset_opens(Codec::Av1);
}

#[test]
fn lerobot_opens_what_a_crash_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &spec(Codec::H264)).unwrap();
    record(&mut recorder, "pick the cube", 0, 20);
    let committed = std::fs::read(Info::path(&root)).unwrap();
    record(&mut recorder, "another task", 1, 20);
    drop(recorder);
    // The state just before the last step of the second commit: all its files, the old head.
    std::fs::write(Info::path(&root), committed).unwrap();
    lerobot_reads(&root, &[("pick the cube", 20)]);
}

#[test]
fn lerobots_dataset_is_read_and_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    run("lerobot_make.py", &root);
    let dataset = Dataset::open(&root).unwrap();
    assert_eq!(dataset.tasks(), ["pick the cube"]);
    let actions = dataset.actions(1).unwrap();
    assert_eq!(actions.len(), 12);
    assert_eq!(
        actions.row(11),
        Some(&state(1, 11).map(|v| f64::from(-v))[..])
    );

    let mut recorder = Recorder::resume(&root, &spec(Codec::Auto)).unwrap();
    record(&mut recorder, "place the cube", 2, 15);
    recorder.finalize().unwrap();
    lerobot_reads(
        &root,
        &[
            ("pick the cube", 12),
            ("pick the cube", 12),
            ("place the cube", 15),
        ],
    );
}
