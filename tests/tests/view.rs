//! The Rerun recording of a run is judged by Rerun's own tool. `make interop` runs this, with a
//! `sinew` that has the feature `view`.

#[path = "support/recorded.rs"]
mod support;

use sinew_tests::{Running, Simulator, peer_python};
use std::path::Path;
use std::process::Command;
use support::{CAMERAS, ROWS, recorded};
use tempfile::TempDir;

/// What Rerun's tool prints about a recording.
fn rerun(verb: &str, recording: &Path) -> String {
    let output = Command::new(peer_python("light").with_file_name("rerun"))
        .args(["rrd", verb])
        .arg(recording)
        .output()
        .expect("rerun starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rerun rrd {verb}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_saved_recording_holds_joints_targets_images_and_the_arm() {
    let folder = TempDir::new().unwrap();
    let recording = folder.path().join("run.rrd");
    let simulator = Simulator::start(&[]);
    Running::to_end(&[
        "teleop",
        "--teleop",
        "scripted",
        "--seconds",
        "3",
        "--port",
        simulator.port(),
        "--view",
        recording.to_str().unwrap(),
    ])
    .succeeded();
    rerun("verify", &recording);
    let held = rerun("print", &recording);
    for entity in [
        "/joints/shoulder_pan/measured",
        "/joints/gripper/target",
        "/cameras/front",
        "/cameras/wrist",
        "/arm/measured/links",
        "/arm/target/joints",
        "/loop/wake_error_us",
    ] {
        assert!(held.contains(entity), "no {entity} in:\n{held}");
    }
}

#[test]
fn a_dataset_becomes_a_recording_with_its_videos() {
    let (folder, root) = recorded();
    let recording = folder.path().join("set.rrd");
    let (root, to) = (root.to_str().unwrap(), recording.to_str().unwrap());
    let view = |more: &[&str]| {
        let mut all = vec!["dataset", "view", root, "--rerun"];
        all.extend(more);
        Running::to_end(&all)
    };
    view(&[to, "--episode", "0,2"]).succeeded();
    rerun("verify", &recording);
    let held = rerun("print", &recording);
    for entity in [
        "/episode/0/task",
        "/episode/2/joints/gripper.pos/state",
        "/episode/2/joints/shoulder_pan.pos/action",
        "/episode/0/timing/tick_s",
    ] {
        assert!(held.contains(entity), "no {entity} in:\n{held}");
    }
    assert!(!held.contains("/episode/1/"));
    for camera in CAMERAS {
        for episode in [0, 2] {
            let entity = format!("/episode/{episode}/cameras/{camera} ");
            let rows = format!("with {} rows", ROWS[episode]);
            let frames = held.lines().any(|line| {
                line.contains(&entity) && line.contains(&rows) && line.contains("timestamp")
            });
            assert!(frames, "no frames of {entity} in:\n{held}");
        }
    }
    assert_eq!(held.matches("AssetVideo:blob").count(), 4);
    view(&[to, "--episode", "7"]).failed(2, &["episode 7"]);
    view(&["picture.png"]).failed(2, &[".rrd", "spawn"]);
}
