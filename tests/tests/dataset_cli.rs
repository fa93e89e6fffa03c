//! `sinew dataset info | ls | show | doctor`: what they print, their JSON, their exit codes.

use sinew_datasets::{Codec, DatasetSpec, ExtraSpec, ExtraType, ExtraValue, Recorder, Row};
use sinew_tests::{Outcome, Running};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A dataset of an SO-101 without cameras: two episodes of 60 and 45 rows, joints swinging.
fn recorded() -> TempDir {
    let folder = TempDir::new().unwrap();
    let names: Vec<String> = sinew_tests::JOINTS
        .iter()
        .map(|joint| format!("{joint}.pos"))
        .collect();
    let spec = DatasetSpec {
        robot_type: "so_follower".to_owned(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![],
        extras: vec![ExtraSpec::vector("timing", ExtraType::Float64, &["tick_s"])],
        codec: Codec::Auto,
    };
    let mut recorder = Recorder::create(folder.path(), &spec).unwrap();
    let long = "place the red cube on the blue plate and put the lid on top of it, then wave to the camera until it is full";
    for (episode, (task, rows)) in [("stay", 60), (long, 45)].into_iter().enumerate() {
        recorder.start_episode(task).unwrap();
        for row in 0..rows {
            let state: [f32; 6] = std::array::from_fn(|joint| {
                10.0 * (0.1 * row as f32 + joint as f32 + episode as f32).sin()
            });
            recorder
                .add(Row {
                    state: &state,
                    action: &state.map(|v| v + 1.0),
                    extra: &[ExtraValue::F64(&[f64::from(row) / 30.0])],
                    frames: &[],
                })
                .unwrap();
        }
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    folder
}

fn dataset(verb: &str, path: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec!["dataset", verb, path.to_str().unwrap()];
    arguments.extend(more);
    Running::to_end(&arguments)
}

#[test]
fn info_says_what_there_is() {
    let folder = recorded();
    let outcome = dataset("info", folder.path(), &[]);
    outcome.succeeded();
    outcome.prints(&[
        "so_follower",
        "2 episodes, 105 frames, 3.5 s at 30 fps",
        "observation.state",
        "wrist_roll.pos",
        "stay",
    ]);
    let json = dataset("info", folder.path(), &["--json"]).json();
    assert_eq!(
        (
            json["episodes"].as_u64(),
            json["frames"].as_u64(),
            json["fps"].as_u64()
        ),
        (Some(2), Some(105), Some(30))
    );
    assert_eq!(json["features"][0]["shape"], serde_json::json!([6]));
    assert_eq!(json["features"][0]["entries"][5], "gripper.pos");
    assert_eq!(json["tasks"].as_array().unwrap().len(), 2);
    assert!(json["size_bytes"].as_u64().unwrap() > 10_000);
}

#[test]
fn ls_has_a_line_an_episode() {
    let folder = recorded();
    let outcome = dataset("ls", folder.path(), &[]);
    outcome.succeeded();
    outcome.prints(&[
        "      0        60         2.0  stay",
        "      1        45         1.5  place the red",
    ]);
    assert_eq!(outcome.stdout.lines().count(), 3);
    let json = dataset("ls", folder.path(), &["--json"]).json();
    assert_eq!(json[1]["frames"], 45);
    assert_eq!(json[0]["tasks"], serde_json::json!(["stay"]));
}

#[test]
fn show_sums_up_an_episode_or_gives_a_frame() {
    let folder = recorded();
    let outcome = dataset("show", folder.path(), &["1"]);
    outcome.succeeded();
    outcome.prints(&[
        "45 frames",
        "median",
        "shoulder_pan.pos",
        "timing",
        "tick_s",
    ]);
    let json = dataset("show", folder.path(), &["1", "--frame", "7", "--json"]).json();
    let value = |feature: &str, entry: &str| {
        let values = json["values"].as_array().unwrap();
        let found = values
            .iter()
            .find(|v| v["feature"] == feature && v["entry"] == entry);
        found.unwrap()["value"].as_f64().unwrap()
    };
    let expected = f64::from(10.0 * (0.1_f32 * 7.0 + 2.0 + 1.0).sin());
    assert!((value("observation.state", "elbow_flex.pos") - expected).abs() < 1e-5);
    assert!((value("action", "elbow_flex.pos") - expected - 1.0).abs() < 1e-5);
    assert_eq!(value("frame_index", ""), 7.0);
    let outcome = dataset("show", folder.path(), &["1", "--frame", "7"]);
    outcome.prints(&["episode", "frame 7", "elbow_flex.pos"]);
}

#[test]
fn doctor_ends_with_a_code_for_each_severity() {
    let folder = recorded();
    let outcome = dataset("doctor", folder.path(), &[]);
    outcome.succeeded();
    outcome.prints(&[
        "2 episodes, 105 rows in 2 files",
        "0 errors, 0 warnings",
        "tick periods of 33.3 ms",
    ]);
    // A file that nothing names is a warning.
    let data = folder.path().join("data/chunk-000/file-001.parquet");
    std::fs::copy(&data, data.with_file_name("file-009.parquet")).unwrap();
    let outcome = dataset("doctor", folder.path(), &[]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    outcome.prints(&[
        "warning  file-unnamed · data/chunk-000/file-009.parquet",
        "→ no episode refers to it",
    ]);
    // A file that is not there is an error.
    std::fs::remove_file(&data).unwrap();
    let outcome = dataset("doctor", folder.path(), &["--json"]);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(4), ""),
        "{outcome:?}"
    );
    let json = outcome.json();
    let first = &json["findings"][0];
    assert_eq!(
        (&first["code"], &first["severity"]),
        (&"file-missing".into(), &"error".into())
    );
    assert_eq!(
        first["place"],
        serde_json::json!({"file": "data/chunk-000/file-001.parquet", "episode": 1})
    );
    assert!(first["remedy"].as_str().unwrap().len() > 10);
}

#[test]
fn wrong_requests_are_one_sentence() {
    let folder = recorded();
    let empty = TempDir::new().unwrap();
    let nowhere = folder.path().join("nowhere");
    for verb in ["info", "ls", "doctor"] {
        dataset(verb, &nowhere, &[]).failed(2, &["nowhere", "does not exist", "meta/info.json"]);
        dataset(verb, empty.path(), &[]).failed(2, &["holds no dataset", "meta/info.json"]);
        let file = folder.path().join("meta/info.json");
        dataset(verb, &file, &[]).failed(2, &["is no folder"]);
    }
    dataset("show", folder.path(), &["7"]).failed(2, &["episode 7", "episodes 0 to 1"]);
    dataset("show", folder.path(), &["1", "--frame", "45"])
        .failed(2, &["no frame 45", "45 frames"]);
    // A damaged dataset: the reader's first error, and who knows the rest.
    std::fs::write(folder.path().join("meta/tasks.parquet"), "PAR1").unwrap();
    dataset("info", folder.path(), &[]).failed(2, &["tasks.parquet", "sinew dataset doctor"]);
    assert_eq!(dataset("doctor", folder.path(), &[]).code, Some(4));
}

#[test]
fn repair_recovers_what_a_crash_left_and_finds_nothing_twice() {
    let folder = recorded();
    let clean = dataset("repair", folder.path(), &[]);
    clean.succeeded();
    clean.prints(&["nothing to repair", "2 episodes"]);
    let simulator = sinew_tests::Simulator::start(&["--camera-fps", "0"]);
    let set = TempDir::new().unwrap();
    let path = set.path().join("set");
    let client = Running::sinew(&[
        "record",
        "--port",
        simulator.port(),
        "--teleop",
        "scripted",
        "--dataset",
        path.to_str().unwrap(),
    ]);
    let journal = path.join(".recording/rows.journal");
    sinew_tests::wait_until("rows are in the journal", || {
        std::fs::metadata(&journal).is_ok_and(|file| file.len() > 20_000)
    });
    client.signal(libc::SIGKILL);
    assert_eq!(client.wait().code, None);
    let repaired = dataset("repair", &path, &["--json"]);
    repaired.succeeded();
    assert!(repaired.json()["recovered"]["rows"].as_u64().unwrap() > 10);
    assert_eq!(repaired.json()["episodes"], 1);
    dataset("repair", &path, &[]).prints(&["nothing to repair"]);
    dataset("ls", &path, &[]).succeeded();
    assert_eq!(dataset("doctor", &path, &["--json"]).code, Some(0));
}

#[test]
fn edits_make_a_new_dataset_and_wrong_ones_are_refused() {
    let folder = recorded();
    let out = TempDir::new().unwrap();
    let to = out.path().join("one");
    let edit = |arguments: &[&str]| {
        let mut all = vec!["dataset", "edit"];
        all.extend(arguments);
        Running::to_end(&all)
    };
    let from = folder.path().to_str().unwrap();
    let to = to.to_str().unwrap();
    let deleted = edit(&["delete", from, "--episodes", "0", "--out", to, "--json"]);
    deleted.succeeded();
    deleted.json();
    let left = dataset("ls", Path::new(to), &["--json"]).json();
    assert_eq!(
        (left.as_array().unwrap().len(), &left[0]["frames"]),
        (1, &45.into())
    );
    assert_eq!(dataset("doctor", Path::new(to), &[]).code, Some(0));
    let source = dataset("ls", folder.path(), &["--json"]).json();
    assert_eq!(source.as_array().unwrap().len(), 2);
    edit(&["delete", from, "--episodes", "7", "--out", to]).failed(2, &["no episode 7"]);
    edit(&["delete", from, "--episodes", "x", "--in-place"]).failed(2, &["no list of episodes"]);
    edit(&["drop", from, "--feature", "nose", "--in-place"]).failed(2, &["nose"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let folder = recorded();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(sinew_tests::sinew())
        .args(["dataset", "ls", folder.path().to_str().unwrap()])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGPIPE));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
