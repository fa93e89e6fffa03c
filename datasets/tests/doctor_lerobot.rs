//! Datasets that the real lerobot package wrote are sound in the doctor's eyes.
//!
//! Needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

use sinew_datasets::doctor::{Options, Report, Severity, examine};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script that makes a dataset, and examines all of it.
fn examined(script: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    let output = Command::new(peers.join("lerobot/bin/python"))
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../tests/peers")
                .join(script),
        )
        .arg(&root)
        .env("HF_HOME", dir.path().join("hf-cache"))
        .output()
        .expect("run scripts/setup interop first");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
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
