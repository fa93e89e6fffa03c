//! Calibration files: what LeRobot writes is read, what we write LeRobot reads, damage is named.

use super::*;
use proptest::prelude::*;

const LEROBOT: &str = "{
    \"shoulder_pan\": {
        \"id\": 1,
        \"drive_mode\": 0,
        \"homing_offset\": -1470,
        \"range_min\": 758,
        \"range_max\": 3292
    },
    \"gripper\": {
        \"id\": 6,
        \"drive_mode\": 1,
        \"homing_offset\": 12,
        \"range_min\": 2028,
        \"range_max\": 3475
    }
}";

fn so101() -> Blueprint {
    Blueprint::load("so101").unwrap()
}

#[test]
fn lerobots_file_comes_back_byte_for_byte() {
    let calibration = Calibration::parse(LEROBOT, "arm.json").unwrap();
    assert_eq!(
        calibration.get("shoulder_pan").unwrap().homing_offset,
        -1470
    );
    assert_eq!(calibration.to_json(), LEROBOT);
}

#[test]
fn errors_name_file_line_and_field() {
    let unknown = LEROBOT.replacen("drive_mode", "drive_mood", 1);
    let message = Calibration::parse(&unknown, "arm.json")
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("arm.json:4:") && message.contains("drive_mood"),
        "{message}"
    );

    let cut = &LEROBOT[..LEROBOT.len() / 2];
    let message = Calibration::parse(cut, "arm.json").unwrap_err().to_string();
    assert!(message.starts_with("arm.json:"), "{message}");

    let empty_range = LEROBOT.replace("3292", "758");
    let message = Calibration::parse(&empty_range, "arm.json")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("shoulder_pan") && message.contains("range_min"),
        "{message}"
    );
}

#[test]
fn a_joint_or_id_that_occurs_twice_is_refused() {
    for twice in [
        LEROBOT.replace("gripper", "shoulder_pan"),
        LEROBOT.replace("\"id\": 6", "\"id\": 1"),
    ] {
        let error = Calibration::parse(&twice, "arm.json").unwrap_err();
        assert!(
            matches!(error, HardwareError::Calibration { .. }),
            "{error}"
        );
    }
}

#[test]
fn another_robots_file_is_refused_by_joint() {
    let error = Calibration::parse(LEROBOT, "arm.json")
        .unwrap()
        .check(&so101())
        .unwrap_err();
    assert!(error.to_string().contains("shoulder_lift"), "{error}");

    let mut joints = Calibration::from_blueprint(&so101()).unwrap().joints;
    joints.push((
        "tail".to_owned(),
        JointCalibration {
            id: 9,
            ..joints[0].1
        },
    ));
    let error = Calibration::new(joints)
        .unwrap()
        .check(&so101())
        .unwrap_err();
    assert!(error.to_string().contains("tail"), "{error}");
}

#[test]
fn a_homing_offset_that_the_register_cannot_hold_is_refused() {
    let mut joints = Calibration::from_blueprint(&so101()).unwrap().joints;
    joints[2].1.homing_offset = 2114;
    let error = Calibration::new(joints)
        .unwrap()
        .check(&so101())
        .unwrap_err();
    assert!(
        error.to_string().contains("elbow_flex") && error.to_string().contains("2114"),
        "{error}"
    );
}

#[test]
fn writing_makes_folders_replaces_whole_and_leaves_no_litter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("robots/so_follower/left.json");
    let first = Calibration::parse(LEROBOT, "arm.json").unwrap();
    first.write(&path).unwrap();
    let second = Calibration::from_blueprint(&so101()).unwrap();
    second.write(&path).unwrap();
    assert_eq!(Calibration::read(&path).unwrap(), second);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn a_write_that_fails_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("occupied");
    std::fs::create_dir_all(path.join("by a folder")).unwrap();
    let error = Calibration::parse(LEROBOT, "arm.json")
        .unwrap()
        .write(&path)
        .unwrap_err();
    assert!(matches!(error, HardwareError::Write { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn files_live_where_lerobot_puts_them() {
    let path = |set: &[(&str, &str)]| {
        let set: Vec<_> = set
            .iter()
            .map(|(k, v)| ((*k).to_owned(), OsString::from(v)))
            .collect();
        default_path_in("so_follower", "left", |name| {
            set.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        })
        .map(|path| path.display().to_string())
    };
    let file = "robots/so_follower/left.json";
    assert_eq!(
        path(&[("HOME", "/h")]).unwrap(),
        format!("/h/.cache/huggingface/lerobot/calibration/{file}")
    );
    assert_eq!(
        path(&[("HOME", "/h"), ("HF_HOME", "/hf")]).unwrap(),
        format!("/hf/lerobot/calibration/{file}")
    );
    assert_eq!(
        path(&[("HF_LEROBOT_HOME", "/l"), ("HOME", "/h")]).unwrap(),
        format!("/l/calibration/{file}")
    );
    assert_eq!(
        path(&[("HF_LEROBOT_CALIBRATION", "/c"), ("HOME", "/h")]).unwrap(),
        format!("/c/{file}")
    );
    assert!(matches!(path(&[]), Err(HardwareError::NoHome)));
}

#[test]
fn an_id_cannot_leave_the_folder() {
    for id in ["../evil", "a/b", "", ".hidden", "..", "a\0b"] {
        assert!(
            matches!(
                Calibration::default_path("so_follower", id),
                Err(HardwareError::BadId { .. })
            ),
            "{id:?}"
        );
    }
}

fn any_joint() -> impl Strategy<Value = JointCalibration> {
    (0..=1, -2047..=2047, 0..4095).prop_flat_map(|(drive_mode, homing_offset, range_min)| {
        (range_min + 1..4096).prop_map(move |range_max| JointCalibration {
            id: 0,
            drive_mode,
            homing_offset,
            range_min,
            range_max,
        })
    })
}

proptest! {
    #[test]
    fn any_calibration_survives_its_file(joints in proptest::collection::vec(any_joint(), 0..20)) {
        let named = joints.into_iter().enumerate().map(|(i, joint)| {
            (format!("joint \"{i}\" ü"), JointCalibration { id: i as u8, ..joint })
        });
        let calibration = Calibration::new(named.collect()).unwrap();
        prop_assert_eq!(Calibration::parse(&calibration.to_json(), "x").unwrap(), calibration);
    }

    #[test]
    fn damaged_files_never_panic(at in 0..LEROBOT.len(), byte in any::<u8>(), cut in 0..LEROBOT.len()) {
        let mut bytes = LEROBOT.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = Calibration::parse(&String::from_utf8_lossy(&bytes), "x");
        bytes.truncate(cut);
        let _ = Calibration::parse(&String::from_utf8_lossy(&bytes), "x");
    }

    #[test]
    fn foreign_text_never_panics(text in ".{0,200}") {
        let _ = Calibration::parse(&text, "x");
    }
}
