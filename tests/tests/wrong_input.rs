//! Requests that cannot be carried out: one sentence that names the thing and says what to do, exit
//! code 2, and nothing of the program's innards.

use sinew_datasets::{Codec, DatasetSpec, Recorder, Row};
use sinew_tests::{Arm, Network, Outcome, Running, root, wait_until, write_policy};
use std::path::Path;
use tempfile::TempDir;

/// The request must be refused in one sentence with all of `words`.
#[track_caller]
fn refused(arguments: &[&str], words: &[&str]) {
    Running::to_end(arguments).failed(2, words);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a file in it.
fn with_file(name: &str, contents: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(name), contents).unwrap();
    folder
}

/// A dataset of an SO-101 without cameras: one episode of ten rows.
fn small_dataset() -> TempDir {
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
        extras: vec![],
        codec: Codec::Auto,
    };
    let mut recorder = Recorder::create(&folder.path().join("set"), &spec).unwrap();
    recorder.start_episode("stay").unwrap();
    for _ in 0..10 {
        recorder
            .add(Row {
                state: &[0.0; 6],
                action: &[0.0; 6],
                extra: &[],
                frames: &[],
            })
            .unwrap();
    }
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    folder
}

#[test]
fn robots_that_are_not_there() {
    refused(
        &["teleop", "--robot", "so102", "--teleop", "topic"],
        &["so102", "so101", "robot.toml"],
    );
    let empty = TempDir::new().unwrap();
    refused(
        &["teleop", "--robot", text(empty.path()), "--teleop", "topic"],
        &["no robot named", "a folder that holds robot.toml"],
    );
    refused(
        &["teleop", "--robot", "go2", "--teleop", "topic"],
        &["go2", "sinew sim go2-walk"],
    );
}

#[test]
fn a_robot_toml_with_mistakes() {
    let good = std::fs::read_to_string(root().join("hardware/so101/robot.toml")).unwrap();
    let try_with = |from: &str, to: &str, words: &[&str]| {
        assert!(good.contains(from), "{from}");
        let folder = with_file("robot.toml", &good.replacen(from, to, 1));
        refused(
            &[
                "teleop",
                "--robot",
                text(folder.path()),
                "--teleop",
                "topic",
            ],
            words,
        );
    };
    try_with(
        "baud = 1_000_000",
        "baud = \"fast\"",
        &["robot.toml:25", "`baud`", "expected u32"],
    );
    try_with(
        "watchdog_ms = 300",
        "watchdog = 300",
        &["robot.toml:", "watchdog"],
    );
    try_with(
        "name = \"elbow_flex\"",
        "name = \"shoulder_pan\"",
        &["robot.toml:", "shoulder_pan"],
    );
    try_with("schema = 1", "schema = 99", &["robot.toml:", "schema"]);
    try_with("[links]", "[links", &["robot.toml:"]);
}

#[test]
fn ports_that_are_not_there_or_no_ports() {
    refused(
        &["teleop", "--port", "/dev/ttyNOPE7", "--teleop", "topic"],
        &["/dev/ttyNOPE7", "does not exist", "--port"],
    );
    let file = with_file("port", "");
    let port = file.path().join("port");
    refused(
        &["teleop", "--port", text(&port), "--teleop", "topic"],
        &[text(&port), "not a serial port"],
    );
    refused(
        &["teleop", "--port", "/dev/null", "--teleop", "topic"],
        &["/dev/null", "not a serial port"],
    );
}

#[test]
fn a_port_that_another_process_holds() {
    let arm = Arm::start();
    let mut holder = Running::sinew(&[
        "teleop",
        "--port",
        arm.port(),
        "--teleop",
        "topic",
        "--json",
    ]);
    let speed = sinew_drivers::feetech::registers::ACCELERATION;
    wait_until("the first program has the port", || {
        holder.still_runs();
        arm.registers(&speed).iter().all(|&value| value == 254)
    });
    refused(
        &["teleop", "--port", arm.port(), "--teleop", "topic"],
        &["arm.port", "in use by another program", "close"],
    );
    holder.still_runs();
}

#[test]
fn nothing_that_answers_on_the_port() {
    let arm = Arm::start();
    arm.inject("silent");
    refused(
        &["teleop", "--port", arm.port(), "--teleop", "topic"],
        &["arm.port", "check power"],
    );
    arm.faults().clear();
    arm.inject("silent:4");
    refused(
        &["teleop", "--port", arm.port(), "--teleop", "topic"],
        &["wrist_flex (id 4)", "found 5 of 6"],
    );
}

#[test]
fn no_simulator_for_the_scripted_operator() {
    let arm = Arm::start();
    refused(
        &["teleop", "--port", arm.port(), "--teleop", "scripted"],
        &["sinew sim so101-pick", "--port sim"],
    );
    refused(
        &[
            "teleop",
            "--port",
            arm.port(),
            "--teleop",
            "topic",
            "--seed",
            "1",
        ],
        &["--seed"],
    );
    let folder = TempDir::new().unwrap();
    let runtime = text(folder.path());
    let lost = Running::sinew_with(
        &["teleop", "--port", "sim", "--teleop", "scripted"],
        &[("XDG_RUNTIME_DIR", runtime)],
    );
    lost.wait().failed(2, &["sinew sim so101-pick"]);
}

#[test]
fn the_keyboard_without_a_terminal() {
    let arm = Arm::start();
    refused(
        &["teleop", "--port", arm.port()],
        &["needs a terminal", "--teleop"],
    );
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("set");
    let record = ["record", "--port", arm.port(), "--dataset", text(&set)];
    refused(&record, &["needs a terminal", "--teleop"]);
    assert!(!set.exists(), "nothing is in the way of the next attempt");
    assert!(
        arm.registers(&sinew_drivers::feetech::registers::ACCELERATION)
            .iter()
            .all(|&value| value == 0),
        "the servos were not even configured"
    );
    assert!(arm.is_limp());
}

/// A calibration as LeRobot writes it.
fn calibration(joints: &[&str]) -> String {
    let entry = |(i, name): (usize, &&str)| {
        format!(
            "\"{name}\": {{\"id\": {}, \"drive_mode\": 0, \"homing_offset\": 10, \"range_min\": 800, \"range_max\": 3200}}",
            i + 1
        )
    };
    format!(
        "{{{}}}",
        joints
            .iter()
            .enumerate()
            .map(entry)
            .collect::<Vec<_>>()
            .join(", ")
    )
}

fn with_calibration(contents: &str) -> (TempDir, String) {
    let folder = with_file("mine.json", contents);
    let path = text(&folder.path().join("mine.json")).to_owned();
    (folder, path)
}

#[test]
fn calibrations_that_are_missing_broken_or_of_another_robot() {
    let arm = Arm::start();
    let try_with = |named: &str, words: &[&str]| {
        refused(
            &[
                "teleop",
                "--port",
                arm.port(),
                "--teleop",
                "topic",
                "--calibration",
                named,
            ],
            words,
        );
    };
    try_with(
        "no/such/file.json",
        &["no/such/file.json", "check that the file exists"],
    );
    try_with(
        "never-calibrated",
        &["never-calibrated", "check that the file exists"],
    );
    try_with("bad id!", &["bad id!", "letters"]);
    let (_folder, path) = with_calibration("{\"shoulder_pan\": {\"id\": 1,");
    try_with(&path, &["mine.json:", "lerobot-calibrate"]);
    let (_folder, path) = with_calibration(&calibration(&["shoulder_pan", "elbow_flex"]));
    try_with(&path, &["shoulder_lift", "lerobot-calibrate"]);
    let (_folder, path) = with_calibration(&calibration(&["j1", "j2", "j3", "j4", "j5", "j6"]));
    try_with(&path, &["shoulder_pan", "lerobot-calibrate"]);
    // Of another arm of the same kind: the servos disagree.
    let (_folder, path) = with_calibration(&calibration(&sinew_tests::JOINTS));
    try_with(
        &path,
        &["shoulder_pan", "calibration file says", "calibrate again"],
    );
    assert!(arm.is_limp());
}

#[test]
fn policies_that_are_missing_broken_or_do_not_fit() {
    let arm = Arm::start();
    let try_with = |folder: &Path, words: &[&str]| {
        refused(
            &["run", "--port", arm.port(), "--policy", text(folder)],
            words,
        );
    };
    try_with(
        Path::new("no/such/policy"),
        &["no/such/policy", "check the path"],
    );
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy");
    write_policy(&policy, "five-joints", Network::FiveJoints);
    try_with(&policy, &["five-joints", "does not fit", "policy.toml"]);
    write_policy(&policy, "good", Network::GoTo([0.0; 6]));
    let manifest = std::fs::read_to_string(policy.join("policy.toml")).unwrap();
    let edited = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        std::fs::write(policy.join("policy.toml"), manifest.replacen(from, to, 1)).unwrap();
    };
    edited("rate_hz = 30.0", "rate_hz = -30.0");
    try_with(&policy, &["policy.toml:4", "rate_hz"]);
    edited("kind = \"joint_positions\"", "kind = \"joint_feelings\"");
    try_with(&policy, &["policy.toml:", "joint_feelings"]);
    edited("\"elbow_flex\"", "\"knee\"");
    try_with(&policy, &["knee"]);
    edited("robot = \"so101\"", "robot so101");
    try_with(&policy, &["policy.toml:3"]);
    edited("file = \"model.onnx\"", "file = \"lost.onnx\"");
    try_with(&policy, &["lost.onnx", "check the path"]);
    edited("name", "name");
    std::fs::write(policy.join("model.onnx"), "this is no network").unwrap();
    try_with(&policy, &["model.onnx", "not a usable ONNX model"]);
    assert!(arm.is_limp());
    try_with(
        &root().join("policies/go2"),
        &["made for the robot `go2`", "`so101`", "policy.toml"],
    );
    // A policy that wants to see the simulated task, on an arm without one.
    try_with(
        &root().join("policies/demo/so101-pick"),
        &["so101-pick", "cube.x"],
    );
}

#[test]
fn an_engine_that_is_not_there() {
    let arm = Arm::start();
    let folder = TempDir::new().unwrap();
    write_policy(folder.path(), "good", Network::GoTo([0.0; 6]));
    let run = [
        "run",
        "--port",
        arm.port(),
        "--policy",
        text(folder.path()),
        "--engine",
        "ort",
    ];
    let outcome =
        Running::sinew_with(&run, &[("SINEW_ORT_LIB", "/no/such/libonnxruntime.so")]).wait();
    outcome.failed(2, &["/no/such/libonnxruntime.so", "--engine rten"]);
    let fake = with_file("libonnxruntime.so", "no library");
    let library = fake.path().join("libonnxruntime.so");
    // Also under `auto`: somebody named it.
    for arguments in [&run[..], &run[..run.len() - 2]] {
        let outcome = Running::sinew_with(arguments, &[("SINEW_ORT_LIB", text(&library))]).wait();
        outcome.failed(2, &[text(&library), "--engine rten"]);
    }
}

#[test]
fn datasets_that_are_missing_or_in_the_way() {
    let arm = Arm::start();
    refused(
        &["replay", "--port", arm.port(), "--dataset", "no/such/set"],
        &["no/such/set"],
    );
    let folder = small_dataset();
    let set = folder.path().join("set");
    let replay = |episode: &str, words: &[&str]| {
        refused(
            &[
                "replay",
                "--port",
                arm.port(),
                "--dataset",
                text(&set),
                "--episode",
                episode,
            ],
            words,
        );
    };
    replay("1", &["episode 1"]);
    replay("18446744073709551615", &["episode 18446744073709551615"]);
    let seeded = ["replay", "--port", arm.port(), "--dataset", text(&set)];
    refused(
        &[&seeded[..], &["--seed", "1"]].concat(),
        &["--seed is for simulated tasks"],
    );
    let record = |set: &Path, more: &[&str], words: &[&str]| {
        let mut all = vec![
            "record",
            "--port",
            arm.port(),
            "--teleop",
            "topic",
            "--dataset",
            text(set),
        ];
        all.extend(more);
        refused(&all, words);
    };
    record(&set, &[], &[text(&set), "--resume"]);
    record(&set, &["--resume", "--fps", "15"], &["fps"]);
    record(&set, &["--fps", "0"], &["--fps"]);
    record(&set, &["--resume", "--episodes", "0"], &["--episodes"]);
    record(Path::new("/proc/no/set"), &[], &["/proc/no/set"]);
    let fresh = folder.path().join("fresh");
    record(&fresh, &["--listen", "nonsense"], &["nonsense"]);
    record(&fresh, &["--bus-rate=0"], &["--bus-rate"]);
    assert!(!fresh.exists(), "a refused command leaves no dataset");
    std::fs::write(set.join("meta/info.json"), "{\"fps\": ").unwrap();
    replay("0", &["info.json"]);
    assert!(arm.is_limp());
}

#[test]
fn rates_and_times_that_are_none() {
    let arm = Arm::start();
    let drive = |more: &[&str], words: &[&str]| {
        let mut all = vec!["teleop", "--port", arm.port(), "--teleop", "topic"];
        all.extend(more);
        refused(&all, words);
    };
    for rate in ["-5", "0", "NaN", "inf", "1e300"] {
        drive(&[&format!("--rate={rate}")], &["not a rate in Hz"]);
        drive(
            &[&format!("--bus-rate={rate}")],
            &["--bus-rate", "not a rate in Hz"],
        );
    }
    for seconds in ["-1", "NaN"] {
        drive(&[&format!("--seconds={seconds}")], &["--seconds"]);
    }
    assert!(arm.is_limp());
}

#[test]
fn worlds_and_faults_that_are_none() {
    refused(
        &["sim", "so101-dance"],
        &["so101-dance", "so101-pick, go2-walk"],
    );
    let folder = TempDir::new().unwrap();
    let port = folder.path().join("x.port");
    let fault = |fault: &str, words: &[&str]| {
        refused(
            &[
                "sim",
                "so101-pick",
                "--camera-fps",
                "0",
                "--port-link",
                text(&port),
                "--fault",
                fault,
            ],
            words,
        );
    };
    fault("gremlins", &["gremlins", "silent"]);
    fault("noise:2", &["noise:2", "probability"]);
    fault("silent:300", &["silent:300", "servo id"]);
    fault("delay:1=5", &["delay:1=5", "unit"]);
    refused(&["sim", "go2-walk", "--seconds=-1"], &["--seconds"]);
    refused(&["sim", "go2-walk", "--speed=NaN"], &["--speed"]);
    refused(&["sim", "so101-pick", "--seconds=-1"], &["--seconds"]);
    refused(
        &["sim", "so101-pick", "--port-link", "/no/such/folder/x.port"],
        &["/no/such/folder/x"],
    );
}

#[test]
fn a_mistyped_command_line_shows_how_it_is_meant() {
    let says = |arguments: &[&str], words: &[&str]| {
        let outcome: Outcome = Running::to_end(arguments);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        for word in words {
            assert!(
                outcome.stderr.contains(word),
                "no `{word}`: {}",
                outcome.stderr
            );
        }
    };
    says(&["telop"], &["telop", "teleop"]);
    says(&["teleop", "--teleop", "thought"], &["thought", "keyboard"]);
    says(
        &["run", "--policy", "x", "--engine", "steam"],
        &["steam", "rten"],
    );
    says(&["record", "--dataset", "x", "--fps", "-1"], &["-1"]);
    says(&["replay"], &["--dataset"]);
    says(&[], &["Usage"]);
}
