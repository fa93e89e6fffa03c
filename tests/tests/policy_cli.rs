//! `sinew policy info | check | export | bench | compare`: what they print, their JSON, their exit codes.

#[path = "support/act.rs"]
mod act;

use serde_json::Value;
use sinew_datasets::{Codec, DatasetSpec, ExtraSpec, ExtraType, ExtraValue, Recorder, Row};
use sinew_tests::{JOINTS, Network, Outcome, Running, root, write_policy};
use std::path::Path;
use tempfile::TempDir;

/// What a checkpoint does not say, for the SO-101 and its task.
const NAMES: &str = r#"
robot = "so101"
rate_hz = 30.0
state = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
action = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
environment = ["cube.x", "cube.y", "cube.z", "cube.yaw_cos4", "cube.yaw_sin4", "zone.x", "zone.y"]
"#;

fn policy(verb: &str, path: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec!["policy", verb, path.to_str().unwrap()];
    arguments.extend(more);
    Running::to_end(&arguments)
}

fn checkpoint(joints: usize, mean: f32, names: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    act::write(folder.path(), joints, mean);
    if !names.is_empty() {
        std::fs::write(folder.path().join("sinew.toml"), names).unwrap();
    }
    folder
}

fn checked(path: &Path, more: &[&str], code: i32) -> Value {
    let outcome = policy("check", path, &[more, &["--json"]].concat());
    assert_eq!(
        outcome.code,
        Some(code),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    outcome.json()
}

/// All texts of a list, in one.
fn texts(list: &Value) -> String {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn info_says_what_a_checkpoint_is() {
    let folder = checkpoint(6, 5.0, NAMES);
    let outcome = policy("info", folder.path(), &[]);
    outcome.succeeded();
    for line in outcome.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    says(
        &outcome.stdout,
        &[
            "LeRobot checkpoint",
            "act: backbone resnet18",
            "so101",
            "10 steps, 10 used, at 30 Hz",
            "parameters (F32)",
            "dataset someone/picks",
            "steps 1234",
            "observation.environment_state",
            "MEAN_STD",
            "shoulder_pan",
            "cube.yaw_cos4",
            "normalise (observation.state MEAN_STD",
        ],
    );
    let json = policy("info", folder.path(), &["--json"]).json();
    assert_eq!(json["architecture"], "act");
    assert_eq!(json["inputs"][0]["shape"], serde_json::json!([6]));
    assert_eq!(json["outputs"][0]["entries"][5], "gripper");
    assert_eq!(json["training"]["batch"], 8);
    let parameters = json["parameters"].as_u64().unwrap();
    assert!(4 * parameters < json["size_bytes"].as_u64().unwrap());
}

#[test]
fn info_knows_networks_with_and_without_a_manifest() {
    let demo = root().join("policies/demo/so101-pick");
    let json = policy("info", &demo, &["--json"]).json();
    assert_eq!(json["format"], "policy.toml");
    assert_eq!(json["chunk_size"], 16);
    assert_eq!(json["inputs"][1]["entries"][0], "cube.x");
    let json = policy("info", &demo.join("model.onnx"), &["--json"]).json();
    assert_eq!(json["format"], "ONNX file");
    assert_eq!(json["inputs"][0]["name"], "observation");
}

#[test]
fn info_says_what_is_no_policy() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.bin");
    std::fs::write(&file, "x").unwrap();
    for (path, words) in [
        (folder.path(), "there is no config.json"),
        (file.as_path(), "is no policy"),
        (Path::new("/nowhere/at/all"), "does not exist"),
    ] {
        let outcome = policy("info", path, &[]);
        assert_eq!(outcome.code, Some(2));
        says(&outcome.stderr, &[words]);
    }
    let folder = checkpoint(6, 5.0, "");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    std::fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
    says(
        &policy("info", folder.path(), &[]).stderr,
        &["pytorch_model.bin", "not opened"],
    );
}

#[test]
fn a_policy_that_fits_is_said_to_fit() {
    let demo = root().join("policies/demo/so101-pick");
    let report = checked(&demo, &["--task", "so101-pick"], 0);
    assert_eq!(
        (&report["fits"], &report["robot"]),
        (&Value::Bool(true), &Value::from("so101"))
    );
    let folder = checkpoint(6, 5.0, NAMES);
    let report = checked(folder.path(), &["--task", "so101-pick"], 0);
    assert_eq!(report["warnings"], serde_json::json!([]));
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let demo = root().join("policies/demo/so101-pick");
    let report = checked(&demo, &["--robot", "go2"], 4);
    says(
        &texts(&report["problems"]),
        &["was made for the robot `so101`", "shoulder_pan", "cube.x"],
    );
    let folder = TempDir::new().unwrap();
    write_policy(folder.path(), "five", Network::FiveJoints);
    says(
        &texts(&checked(folder.path(), &[], 4)["problems"]),
        &["`y`"],
    );
    let folder = checkpoint(4, 5.0, "");
    let report = checked(folder.path(), &[], 4);
    says(
        &texts(&report["problems"]),
        &[
            "`observation.state` has 4 values",
            "`action` has 4 values",
            "`observation.environment_state` has 7 values",
        ],
    );
    let shown = policy("check", folder.path(), &[]);
    assert_eq!(shown.code, Some(4));
    says(&shown.stdout, &["does not fit the robot so101", "problem"]);
}

#[test]
fn weights_that_are_not_numbers_are_named() {
    let folder = checkpoint(6, 5.0, NAMES);
    let file = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let report = checked(folder.path(), &["--task", "so101-pick"], 4);
    says(
        &texts(&report["problems"]),
        &["`model.decoder_pos_embed.weight`", "NaN"],
    );
}

#[test]
fn what_is_assumed_or_odd_is_a_warning() {
    let folder = checkpoint(6, 5.0, "");
    let task = ["--task", "so101-pick"];
    let report = checked(folder.path(), &task, 3);
    says(
        &texts(&report["warnings"]),
        &["steps a second", "nothing names the joints of `action`"],
    );
    // A mean of 500 degrees: trained in servo ticks, perhaps.
    let folder = checkpoint(6, 500.0, NAMES);
    let report = checked(folder.path(), &task, 3);
    says(
        &texts(&report["warnings"]),
        &["`observation.state`: the values of `shoulder_pan` lie around 500.0"],
    );
    let report = checked(folder.path(), &["--task", "so101-pick", "--fps", "50"], 3);
    says(
        &texts(&report["warnings"]),
        &["trained at 30 steps a second and is to run at 50"],
    );
}

#[test]
fn names_can_be_mapped() {
    let task = ["--task", "so101-pick"];
    let folder = checkpoint(6, 5.0, &NAMES.replace("gripper", "jaw"));
    let report = checked(folder.path(), &task, 4);
    says(&texts(&report["problems"]), &["the joints jaw"]);
    let renamed = [&task[..], &["--rename", "jaw=gripper"]].concat();
    assert_eq!(
        checked(folder.path(), &renamed, 0)["problems"],
        serde_json::json!([])
    );
    let wrong = [&task[..], &["--rename", "jaw=claw"]].concat();
    says(
        &texts(&checked(folder.path(), &wrong, 4)["problems"]),
        &["the robot has no `claw`"],
    );
    assert_eq!(
        policy("check", folder.path(), &["--rename", "jaw"]).code,
        Some(2)
    );
}

#[test]
fn a_checkpoint_is_exported_as_one_file() {
    let folder = checkpoint(6, 5.0, NAMES);
    let file = folder.path().join("act.onnx");
    let onnx = ["--onnx", file.to_str().unwrap()];
    let outcome = policy("export", folder.path(), &onnx);
    outcome.succeeded();
    says(
        &outcome.stdout,
        &["`observation.state` [6]", "`action` [10, 6]"],
    );
    let json = policy("info", &file, &["--json"]).json();
    assert_eq!(
        json["outputs"][0]["shape"],
        serde_json::json!([act::CHUNK, 6])
    );
    let again = policy("export", folder.path(), &onnx);
    assert_eq!(again.code, Some(2));
    says(&again.stderr, &["--force"]);
    policy("export", folder.path(), &[&onnx[..], &["--force"]].concat()).succeeded();
    let demo = root().join("policies/demo/so101-pick");
    says(
        &policy("export", &demo, &["--onnx", "x.onnx"]).stderr,
        &["is an ONNX file already"],
    );
}

#[test]
fn bench_measures_policies_of_both_kinds() {
    let folder = checkpoint(6, 5.0, NAMES);
    for path in [folder.path(), &root().join("policies/demo/so101-pick")] {
        let arguments = ["--seconds", "0.2", "--engine", "rten", "--json"];
        let report = policy("bench", path, &arguments).json();
        let figure = |name: &str| {
            report[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {report}"))
        };
        assert!(figure("inferences") >= 1.0 && figure("load_ms") > 0.0 && figure("first_ms") > 0.0);
        assert!(figure("p50_us") <= figure("p95_us") && figure("p99_us") <= figure("max_us"));
        assert!((figure("period_ms") - 1e3 / 30.0).abs() < 1e-9);
        assert!(figure("memory_peak_bytes") > figure("files_bytes"));
    }
    let outcome = policy(
        "bench",
        folder.path(),
        &["--seconds", "0", "--engine", "rten"],
    );
    says(&outcome.stdout, &["cold start", "latency", "budget"]);
    assert_eq!(
        policy("bench", folder.path(), &["--seconds", "-1"]).code,
        Some(2)
    );
}

#[test]
fn quantize_measures_what_int8_needs_and_what_it_costs() {
    let names = NAMES
        .lines()
        .filter(|line| !line.starts_with("environment"));
    let folder = checkpoint(6, 5.0, &names.collect::<Vec<_>>().join("\n"));
    let data = recorded();
    let dataset = data.path().to_str().unwrap();
    let int8 = ["--precision", "int8", "--seconds", "0.1", "--json"];
    let outcome = policy("bench", folder.path(), &int8);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("sinew policy quantize"),
        "{}",
        outcome.stderr
    );
    let arguments = ["--dataset", dataset, "--frames", "6", "--json"];
    let report = policy("quantize", folder.path(), &arguments).json();
    assert_eq!(report["observations"], 6, "{report}");
    assert!(report["max_percent"].as_f64().unwrap() < 1.0, "{report}");
    assert!(folder.path().join("sinew-int8.json").is_file());
    let report = policy("bench", folder.path(), &int8).json();
    assert_eq!(report["precision"], "int8");
    let none = policy(
        "quantize",
        folder.path(),
        &["--dataset", dataset, "--frames", "0"],
    );
    assert_eq!(none.code, Some(2), "{}", none.stderr);
}

#[test]
fn compare_says_how_far_apart_actions_are() {
    let names = NAMES
        .lines()
        .filter(|line| !line.starts_with("environment"));
    let names = names.collect::<Vec<_>>().join("\n");
    let near = checkpoint(6, 5.0, &names);
    let far = checkpoint(6, 7.0, &names);
    let data = recorded();
    let arguments = |other: &'static [&'static str]| {
        [
            &[
                "--dataset",
                data.path().to_str().unwrap(),
                "--engine",
                "rten",
                "--frames",
                "5",
                "--json",
            ],
            other,
        ]
        .concat()
    };
    let same = policy("compare", near.path(), &arguments(&[])).json();
    assert_eq!(
        (&same["frames"], &same["steps"]),
        (&Value::from(5), &Value::from(50))
    );
    assert_eq!(same["max_percent"], 0.0);
    let both = [&[far.path().to_str().unwrap()], &arguments(&[])[..]].concat();
    let report = policy("compare", near.path(), &both).json();
    let pan = &report["joints"][0];
    assert_eq!(
        (&pan["joint"], &pan["unit"]),
        (&Value::from("shoulder_pan"), &Value::from("degrees"))
    );
    // All weights are zero, so that the actions differ by what the means do.
    assert!(
        (pan["mean"].as_f64().unwrap() - 2.0).abs() < 1e-3,
        "{report}"
    );
    assert!(
        (pan["max"].as_f64().unwrap() - 2.0).abs() < 1e-3,
        "{report}"
    );
}

/// A dataset of an SO-101 without cameras, with the surroundings that the checkpoint asks for.
fn recorded() -> TempDir {
    let folder = TempDir::new().unwrap();
    let names: Vec<String> = JOINTS.iter().map(|joint| format!("{joint}.pos")).collect();
    let surroundings: Vec<String> = (0..act::SURROUNDINGS)
        .map(|i| format!("value.{i}"))
        .collect();
    let surroundings: Vec<&str> = surroundings.iter().map(String::as_str).collect();
    let environment = ExtraSpec::vector(
        "observation.environment_state",
        ExtraType::Float32,
        &surroundings,
    )
    .for_policies();
    let spec = DatasetSpec {
        robot_type: "so_follower".to_owned(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![],
        extras: vec![environment],
        codec: Codec::Auto,
    };
    let mut recorder = Recorder::create(folder.path(), &spec).unwrap();
    recorder.start_episode("stay").unwrap();
    for row in 0..20 {
        let state: [f32; 6] = std::array::from_fn(|joint| (row + joint) as f32);
        let row = Row {
            state: &state,
            action: &state,
            extra: &[ExtraValue::F32(&[0.1; act::SURROUNDINGS])],
            frames: &[],
        };
        recorder.add(row).unwrap();
    }
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    folder
}
