//! The real lerobot package opens what repair recovered, and bears the marks of Sinew's episodes.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use sinew_datasets::{Codec, EpisodeMarks, Recorder, RepairOptions, Row, repair};
use std::path::Path;
use std::sync::Arc;
use support::{counter, counter_frame, record, spec, state, times};

fn lerobot_report(root: &Path) -> Value {
    peer::report(peer::script("lerobot", "lerobot_open.py", root.parent().unwrap()).arg(root))
}

/// Leaves an episode of 50 rows as a crash would, with rows missing in one place.
fn crash(recorder: &mut Recorder, episode: u32) {
    recorder.start_episode("place the cube").unwrap();
    for row in 0..50 {
        if row == 10 {
            recorder.note_dropped(3);
        }
        let frame = |camera| Arc::new(counter_frame(320, 240, counter(episode, camera, row)));
        let state = state(episode, row);
        recorder
            .add(Row {
                state: &state,
                action: &state,
                extra: &times(&[f64::from(row)], &[0.01, 0.02]),
                frames: &[frame(0), frame(1)],
            })
            .unwrap();
    }
    while recorder.durable_rows() < Some(50) {
        std::thread::yield_now();
    }
}

fn recovered_recording_opens(codec: Codec) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &spec(codec)).unwrap();
    record(&mut recorder, "pick the cube", 0, 20);
    crash(&mut recorder, 1);
    drop(recorder);
    let recovered = repair(&root, RepairOptions::default()).unwrap().recovered;
    let rows = recovered.unwrap().rows;
    assert_eq!(rows, 50);
    let marks = EpisodeMarks::read(&root).unwrap();
    assert_eq!(marks.episodes[&1].gaps[0].before_row, 10);
    let mut recorder = Recorder::resume(&root, &spec(codec)).unwrap();
    record(&mut recorder, "pick the cube", 2, 10);
    recorder.finalize().unwrap();

    let report = lerobot_report(&root);
    assert_eq!(
        (&report["total_episodes"], &report["total_frames"]),
        (&3.into(), &80.into())
    );
    let expected: Vec<(u32, u32)> = [(0, 20), (1, 50), (2, 10)]
        .into_iter()
        .flat_map(|(episode, rows)| (0..rows).map(move |row| (episode, row)))
        .collect();
    let backends = report["backends"].as_object().unwrap();
    assert!(backends.contains_key("pyav"));
    for (backend, read) in backends {
        let read = read.as_array().unwrap();
        assert_eq!(read.len(), expected.len(), "{backend}");
        for (item, (episode, row)) in read.iter().zip(&expected) {
            let place = format!("{backend}: {item}");
            assert_eq!(
                (&item[0], &item[1]),
                (&(*episode).into(), &(*row).into()),
                "{place}"
            );
            for (camera, name) in ["front", "wrist"].iter().enumerate() {
                let number = counter(*episode, camera as u32, *row);
                assert_eq!(
                    item[7][format!("observation.images.{name}")],
                    number,
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn lerobot_opens_recovered_h264_recordings() {
    recovered_recording_opens(Codec::H264);
}

#[test]
fn lerobot_opens_recovered_av1_recordings() {
    recovered_recording_opens(Codec::Av1);
}
