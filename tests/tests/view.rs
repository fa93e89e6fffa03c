//! The Rerun recording of a run is judged by Rerun's own tool. `make interop` runs this, with a
//! `sinew` that has the feature `view`.

use sinew_tests::{Running, Simulator, peer_python};
use std::path::Path;
use std::process::Command;
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
