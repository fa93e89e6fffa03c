//! Datasets that the real lerobot package wrote are sound in the doctor's eyes.
//!
//! Needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/peer.rs"]
mod peer;

use sinew_datasets::doctor::{Options, Report, Severity, examine};

/// Runs a script that makes a dataset, and examines all of it.
fn examined(script: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    peer::run(script, &root);
    examine(&root, &Options::thorough())
}

#[track_caller]
fn is_sound(report: &Report) {
    let serious: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.severity > Severity::Note)
        .collect();
    assert!(serious.is_empty(), "{serious:#?}");
}

#[test]
fn two_short_episodes_with_two_cameras() {
    let report = examined("lerobot_make.py");
    is_sound(&report);
    assert_eq!((report.checked.rows, report.checked.pictures), (24, 48));
}

#[test]
fn several_tasks_types_shapes_and_files() {
    let report = examined("lerobot_varied.py");
    is_sound(&report);
    assert_eq!((report.checked.episodes, report.checked.rows), (6, 810));
    assert!(report.checked.data_files > 1 && report.checked.video_files > 1);
    assert_eq!(report.checked.pictures, 810);
}
