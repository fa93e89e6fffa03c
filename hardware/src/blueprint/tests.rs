//! What the loader accepts, and that its errors point at the right line and key.

use super::*;
use crate::error::HardwareError;
use proptest::prelude::*;
use std::path::Path;

const SO101: &str = include_str!("../../so101/robot.toml");

fn parse(text: &str) -> Result<Blueprint, HardwareError> {
    Blueprint::parse(text, "robot.toml", Origin::BuiltIn)
}

/// Breaks the SO-101's file once and checks that the error names the broken line and `words`.
fn breaks(from: &str, to: &str, words: &[&str]) {
    let offset = SO101
        .find(from)
        .unwrap_or_else(|| panic!("{from:?} is not in the file"));
    let line = SO101[..offset].matches('\n').count() + 1;
    let error = parse(&SO101.replacen(from, to, 1)).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with(&format!("robot.toml:{line}:")),
        "line {line}, but: {message}"
    );
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn built_in_robots_load() {
    assert_eq!(Blueprint::built_in_names(), ["so101", "go2"]);
    let arm = Blueprint::load("so101").unwrap();
    let names = [
        "shoulder_pan",
        "shoulder_lift",
        "elbow_flex",
        "wrist_flex",
        "wrist_roll",
        "gripper",
    ];
    assert_eq!(&*arm.joint_names(), names);
    assert_eq!(
        arm.joints
            .iter()
            .filter_map(|joint| joint.id)
            .collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6]
    );
    assert_eq!(arm.buses[0].kind, BusKind::Feetech);
    assert_eq!(
        arm.safety.on_watchdog,
        OnWatchdog::HoldThenComply {
            hold_ms: 2000,
            ramp_ms: 1500
        }
    );

    let dog = Blueprint::load("go2").unwrap();
    assert_eq!(dog.joints.len(), 12);
    assert_eq!(dog.buses[0].control, Control::Torque);
    assert_eq!(dog.home(), [0.0, 0.8, -1.5].repeat(4));
    assert!(
        dog.joints
            .iter()
            .all(|joint| joint.kp == Some(20.0) && joint.kd == Some(0.5))
    );
}

#[test]
fn the_arms_model_has_its_joints_tools_and_limits() {
    let arm = Blueprint::load("so101").unwrap();
    let ModelSource::Xml(xml) = arm.model_source().unwrap() else {
        panic!("so101's model is compiled in")
    };
    for joint in &arm.joints {
        let [low, high] = joint.limits_rad;
        let element = format!("<joint name=\"{}\" range=\"{low} {high}\"/>", joint.name);
        assert!(xml.contains(&element), "no {element}");
    }
    for tool in arm.kinematics.unwrap().tools {
        assert!(
            xml.contains(&format!("<site name=\"{}\"", tool.name)),
            "{}",
            tool.name
        );
    }
}

#[test]
fn a_robot_is_found_by_folder_and_by_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("so101");
    for path in [folder.clone(), folder.join("robot.toml")] {
        let arm = Blueprint::load(&path).unwrap();
        assert_eq!(arm.origin, Origin::Folder(folder.clone()));
        assert_eq!(
            arm.model_source().unwrap(),
            ModelSource::File(folder.join("so101.xml"))
        );
    }
}

#[test]
fn an_unknown_robot_lists_the_known_ones() {
    for name in ["so102", "no/such/folder", "nothing.toml", "", ".."] {
        let message = Blueprint::load(name).unwrap_err().to_string();
        assert!(message.contains("so101, go2"), "{message}");
    }
}

#[test]
fn a_missing_model_says_how_to_get_it() {
    let mut dog = Blueprint::load("go2").unwrap();
    dog.model.as_mut().unwrap().file = "nowhere/go2.xml".to_owned();
    let message = dog.model_source().unwrap_err().to_string();
    assert!(
        message.contains("nowhere/go2.xml") && message.contains("scripts/setup"),
        "{message}"
    );
}

#[test]
fn text_that_is_not_toml_names_the_line() {
    breaks("id = 3", "id = = 3", &[]);
    breaks("name = \"elbow_flex\"", "name = \"elbow_flex", &[]);
}

#[test]
fn unknown_keys_are_errors() {
    breaks(
        "max_step_rad = 0.4",
        "max_stepp_rad = 0.4",
        &["max_stepp_rad", "max_step_rad"],
    );
    breaks("watchdog_ms = 300", "watch_ms = 300", &["watch_ms"]);
    breaks(
        "port = \"/dev/ttyACM*\"",
        "prot = \"/dev/ttyACM*\"",
        &["prot"],
    );
    breaks("title = ", "titel = ", &["titel"]);
}

#[test]
fn wrong_kinds_and_words_are_errors() {
    breaks("id = 4", "id = \"four\"", &["u8"]);
    breaks(
        "norm = \"range_0_100\"",
        "norm = \"percent\"",
        &["percent", "range_0_100"],
    );
    breaks(
        "on_exit = \"rest\"",
        "on_exit = \"sleep\"",
        &["sleep", "comply"],
    );
}

#[test]
fn duplicates_are_errors() {
    let second_joint = SO101.replacen("name = \"shoulder_lift\"", "name = \"shoulder_pan\"", 1);
    let message = parse(&second_joint).unwrap_err().to_string();
    assert!(
        message.contains("two joints") && message.contains("shoulder_pan"),
        "{message}"
    );
    breaks("id = 3", "id = 2", &["joints.elbow_flex.id", "taken"]);
    breaks("{ key = \"d\"", "{ key = \"a\"", &["bound twice"]);
    let second_camera = SO101.replacen("name = \"wrist\"", "name = \"front\"", 1);
    assert!(
        parse(&second_camera)
            .unwrap_err()
            .to_string()
            .contains("two cameras")
    );
}

#[test]
fn keys_that_mean_something_else_are_refused() {
    for key in ["n", "r", "q", "A", "+", " ", "", "ab"] {
        let (place, binding) = (
            format!("teleop.keyboard.{key}.key"),
            format!("{{ key = \"{key}\""),
        );
        breaks(
            "{ key = \"a\"",
            &binding,
            &[&place, "other than n, r and q"],
        );
    }
}

#[test]
fn limits_must_rise_and_hold_home_and_rest() {
    breaks(
        "limits_rad = [-1.69, 1.69]",
        "limits_rad = [1.69, -1.69]",
        &["joints.elbow_flex.limits_rad", "lowest"],
    );
    breaks(
        "limits_rad = [-1.69, 1.69]",
        "limits_rad = [nan, 1.69]",
        &["joints.elbow_flex.limits_rad"],
    );
    breaks(
        "home_rad = 1.3",
        "home_rad = 2.6",
        &["joints.elbow_flex.home_rad", "outside"],
    );
    breaks(
        "rest_rad = 1.48",
        "rest_rad = -1.7",
        &["joints.elbow_flex.rest_rad", "outside"],
    );
    breaks(
        "max_velocity_rad_s = 4.7",
        "max_velocity_rad_s = 0.0",
        &["max_velocity_rad_s"],
    );
}

#[test]
fn references_must_lead_somewhere() {
    breaks("bus = \"arm\"", "bus = \"leg\"", &["no bus is named `leg`"]);
    breaks(
        "{ key = \"g\", joint = \"wrist_roll\"",
        "{ key = \"g\", joint = \"wrist\"",
        &["no joint is named `wrist`"],
    );
    let chain = SO101.replacen("joint = \"elbow_flex\"\npos", "joint = \"elbow\"\npos", 1);
    let message = parse(&chain).unwrap_err().to_string();
    assert!(
        message.contains("kinematics.links.elbow.joint"),
        "{message}"
    );
}

#[test]
fn a_wired_joint_needs_its_wiring() {
    for (cut, key) in [("id = 1\n", "id"), ("model = \"sts3215\"\n", "model")] {
        let message = parse(&SO101.replacen(cut, "", 1)).unwrap_err().to_string();
        assert!(
            message.contains(&format!("joints.shoulder_pan.{key}")),
            "{message}"
        );
    }
    let message = parse(&SO101.replacen("baud = 1_000_000\n", "", 1))
        .unwrap_err()
        .to_string();
    assert!(message.contains("buses.arm.baud"), "{message}");
    let torque = SO101.replacen(
        "kind = \"feetech\"",
        "kind = \"feetech\"\ncontrol = \"torque\"",
        1,
    );
    let message = parse(&torque).unwrap_err().to_string();
    assert!(message.contains("joints.shoulder_pan.kp"), "{message}");
}

#[test]
fn a_range_outside_the_encoder_is_an_error() {
    breaks(
        "calibration = { homing_offset = 0, range_min = 945, range_max = 3149 }",
        "calibration = { homing_offset = 0, range_min = 945, range_max = 4096 }",
        &["joints.elbow_flex.calibration", "4095"],
    );
}

#[test]
fn a_newer_schema_is_refused() {
    breaks("schema = 1", "schema = 2", &["version 2"]);
}

#[test]
fn a_kind_that_we_do_not_know_still_loads() {
    let arm = parse(&SO101.replacen("kind = \"feetech\"", "kind = \"can_bus\"", 1)).unwrap();
    assert_eq!(arm.buses[0].kind, BusKind::Other("can_bus".to_owned()));
    assert_eq!(arm.buses[0].kind.to_string(), "can_bus");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_files_never_panic(at in 0..SO101.len(), byte in any::<u8>(), cut in 0..SO101.len()) {
        let mut bytes = SO101.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = parse(&String::from_utf8_lossy(&bytes));
        bytes.truncate(cut);
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn foreign_text_never_panics(text in ".{0,200}") {
        let _ = parse(&text);
    }
}
