//! `sinew dataset convert` and independent readers and writers of bags: rosbags, and the mcap package.

use serde_json::Value;
use sinew_datasets::{
    CameraSpec, Codec, Dataset, DatasetSpec, ExtraSpec, ExtraType, ExtraValue, Recorder, Row,
};
use sinew_runtime::frame::Frame;
use sinew_tests::{Outcome, Running, run_peer};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const PEER: &str = "bag_peers.py";
const ROWS: [u32; 2] = [12, 7];

fn state(episode: usize, row: u32) -> [f32; 6] {
    std::array::from_fn(|joint| (10 * episode) as f32 + row as f32 + joint as f32 / 8.0)
}

/// Two episodes of an SO-101 with a camera and true capture times.
fn recorded() -> TempDir {
    let folder = TempDir::new().unwrap();
    let names: Vec<String> = sinew_tests::JOINTS
        .iter()
        .map(|j| format!("{j}.pos"))
        .collect();
    let spec = DatasetSpec {
        robot_type: "so_follower".to_owned(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![CameraSpec::rgb("front", 64, 48)],
        extras: vec![ExtraSpec::vector(
            "timing",
            ExtraType::Float64,
            &["tick_s", "state_capture_s", "front_capture_s"],
        )],
        codec: Codec::H264,
    };
    let mut recorder = Recorder::create(&folder.path().join("set"), &spec).unwrap();
    for (episode, rows) in ROWS.into_iter().enumerate() {
        recorder.start_episode(["pick", "place"][episode]).unwrap();
        for row in 0..rows {
            let frame = Frame::new(64, 48, vec![row as u8 * 20; 3 * 64 * 48]);
            let tick = f64::from(row) / 30.0;
            recorder
                .add(Row {
                    state: &state(episode, row),
                    action: &state(episode, row).map(|v| -v),
                    extra: &[ExtraValue::F64(&[tick, tick - 0.002, tick - 0.010])],
                    frames: &[Arc::new(frame)],
                })
                .unwrap();
        }
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    folder
}

fn convert(from: &Path, to: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec![
        "dataset",
        "convert",
        from.to_str().unwrap(),
        to.to_str().unwrap(),
    ];
    arguments.extend(more);
    Running::to_end(&arguments)
}

/// The topics that a peer read are those of [`recorded`], with its values in SI units.
fn check_topics(report: &Value) {
    let topics = &report["topics"];
    let of = |name: &str| &topics[format!("/so_follower/{name}")];
    assert_eq!(of("joint_states")["type"], "sensor_msgs/msg/JointState");
    assert_eq!(
        of("front/video")["type"],
        "foxglove_msgs/msg/CompressedVideo"
    );
    assert_eq!(of("task")["messages"], serde_json::json!(["pick", "place"]));
    let rows: Vec<(usize, u32)> = (0..2)
        .flat_map(|e| (0..ROWS[e]).map(move |r| (e, r)))
        .collect();
    for (i, (episode, row)) in rows.into_iter().enumerate() {
        let message = &of("joint_states")["messages"][i];
        assert_eq!(message["name"][5], "gripper");
        for (joint, value) in state(episode, row).into_iter().enumerate() {
            let value = f64::from(value);
            let si = if joint == 5 {
                value / 100.0
            } else {
                value.to_radians()
            };
            let found = message["position"][joint].as_f64().unwrap();
            assert!((found - si).abs() < 1e-12, "{found} {si}");
        }
        let timing = &of("timing")["messages"][i];
        assert!((timing[2].as_f64().unwrap() - (f64::from(row) / 30.0 - 0.010)).abs() < 1e-12);
        let times = |name: &str| of(name)["times"][i].as_i64().unwrap();
        let start = times("joint_target") - (f64::from(row) / 30.0 * 1e9).round() as i64;
        assert_eq!(
            start % 1_000_000_000,
            if episode == 0 { 0 } else { 400_000_000 }
        );
        assert!((times("joint_target") - times("joint_states") - 2_000_000).abs() <= 1);
        assert!((times("joint_target") - times("front/video") - 10_000_000).abs() <= 1);
        let frame = &of("front/video")["messages"][i];
        assert_eq!(frame["format"], "h264");
        if row % 2 == 0 {
            // Perhaps behind the mark that a frame begins.
            let head = frame["head"].as_str().unwrap();
            assert!(
                head.contains("0000000167"),
                "key frames begin with their parameters: {head}"
            );
        }
    }
}

#[test]
fn rosbags_reads_the_bag_folders_that_we_write() {
    let folder = recorded();
    let bag = folder.path().join("bag");
    let outcome = convert(&folder.path().join("set"), &bag, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("/so_follower/joint_states"),
        "{}",
        outcome.stdout
    );
    let report = run_peer("light", PEER, &["read", bag.to_str().unwrap()]);
    check_topics(&report);
    let hashes = report["hashes"].as_object().unwrap();
    assert!(
        hashes.len() == 5 && hashes.values().all(|pair| pair[0] == pair[1]),
        "{hashes:?}"
    );
    for (topic, count) in report["declared"].as_object().unwrap() {
        let read = report["topics"][topic]["messages"]
            .as_array()
            .unwrap()
            .len();
        assert_eq!(count.as_u64(), Some(read as u64), "{topic}");
    }
    assert_eq!(report["total"], 4 * 19 + 2);
}

#[test]
fn the_mcap_package_reads_the_files_that_we_write() {
    let folder = recorded();
    let file = folder.path().join("set.mcap");
    let outcome = convert(&folder.path().join("set"), &file, &["--json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["frames"], 19);
    let report = run_peer("light", PEER, &["mcap", file.to_str().unwrap()]);
    check_topics(&report);
    assert_eq!(report["profile"], "ros2");
    assert_eq!(
        report["metadata"],
        serde_json::json!(["sinew.dataset", "sinew.episode", "sinew.episode"])
    );

    let back = folder.path().join("back");
    let outcome = convert(&file, &back, &[]);
    assert!(
        outcome.stdout.contains("restored as it was"),
        "{}",
        outcome.stdout
    );
    let (before, after) = (
        Dataset::open(&folder.path().join("set")).unwrap(),
        Dataset::open(&back).unwrap(),
    );
    for episode in 0..2 {
        assert_eq!(
            before.record_batch(episode).unwrap(),
            after.record_batch(episode).unwrap()
        );
    }
}

#[test]
fn bag_that_rosbags_wrote_becomes_a_dataset() {
    let folder = TempDir::new().unwrap();
    let bag = folder.path().join("robot");
    run_peer("light", PEER, &["write", bag.to_str().unwrap(), "2"]);
    let out = folder.path().join("set");
    let outcome = convert(
        &bag,
        &out,
        &["--task", "wave", "--unit", "radians", "--json"],
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&report["fps"], &report["restored"]),
        (&Value::from(20), &Value::from(false))
    );

    let topics = report["topics"].as_array().unwrap();
    let camera = topics
        .iter()
        .find(|t| t["feature"] == "observation.images.front")
        .unwrap();
    assert_eq!(camera["topic"], "/cam/front/image_raw/compressed");
    assert_eq!(camera["max_age_ms"], 200.0, "four pictures are missing");
    assert_eq!(camera["stale_rows"], 2, "older than two periods");
    let dataset = Dataset::open(&out).unwrap();
    assert_eq!(
        (dataset.len(), dataset.tasks()),
        (40, &["wave".to_owned()][..])
    );
    let (states, actions) = (dataset.states(0).unwrap(), dataset.actions(0).unwrap());
    assert_eq!(states.names, ["a.pos", "b.pos", "c.pos"]);
    for row in 0..40 {
        for joint in 0..3 {
            let wanted = (row as f64 / 20.0 + joint as f64).sin();
            assert!((states.row(row).unwrap()[joint] - wanted).abs() < 1e-6);
            // Commands come every 20 ms; a row is at most that late.
            assert!((actions.row(row).unwrap()[joint] + wanted).abs() < 0.02);
        }
    }
    let outcome = Running::to_end(&["dataset", "doctor", out.to_str().unwrap()]);
    assert!(outcome.code != Some(4), "{}", outcome.stdout);
}

#[test]
fn wrong_requests_say_what_to_do() {
    let folder = recorded();
    let set = folder.path().join("set");
    let out = folder.path().join("out");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let text = folder.path().join("text.mcap");
    std::fs::write(&text, "this is no bag").unwrap();
    let cases: [(&Path, &[&str], &str); 6] = [
        (&folder.path().join("none"), &[], "does not exist"),
        (&empty, &[], "holds no MCAP files"),
        (&text, &[], "does not begin like an MCAP file"),
        (&set, &["--fps", "10"], "--fps has no meaning"),
        (&set, &["--to", "lerobot"], "--to mcap or rosbag2"),
        (&set, &["--episodes", "7"], "no episode 7"),
    ];
    for (input, more, words) in cases {
        let outcome = convert(input, &out, more);
        assert_eq!(outcome.code, Some(2), "{more:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(words),
            "{more:?}: {}",
            outcome.stderr
        );
        assert!(!out.exists());
    }
}
