//! Names, units, normalisation, chunks, and what is said when they do not fit.

mod support;

use sinew_policies::engines::onnx_card::ModelCard;
use sinew_policies::{Channel, Manifest, Policy, PolicyError, PolicyInput};
use sinew_runtime::{Frame, JointState};
use std::path::Path;
use support::{Fake, TWO_JOINTS, features, info, manifest};

fn state(positions: &[f64]) -> JointState {
    let mut state = JointState {
        len: positions.len(),
        captured_ns: 42,
        ..JointState::default()
    };
    state.position[..positions.len()].copy_from_slice(positions);
    state
}

#[test]
fn joints_are_bound_by_name_not_by_index() {
    let fake = Fake::new(vec![info("x", &[1, 2])], info("y", &[1, 2]), &[10.0, 20.0]);
    let seen = fake.seen.clone();
    let robot = features(&["b", "c", "a"]);
    let text = TWO_JOINTS.replace(
        r#"kind = "joint_targets"
joints = ["a", "b"]"#,
        r#"kind = "joint_targets"
joints = ["a", "c", "b"]"#,
    );
    let fake = Fake {
        outputs: vec![info("y", &[1, 3])],
        answer: vec![1.0, 2.0, 3.0],
        ..fake
    };
    let mut policy = Policy::with_engine(manifest(&text), Box::new(fake), robot).unwrap();
    let mut chunk = Vec::new();
    policy
        .infer(&PolicyInput::new(&state(&[0.2, 0.3, 0.1])), &mut chunk)
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), [0.1, 0.2]);
    assert_eq!(chunk[0].positions(), [3.0, 2.0, 1.0]);
    assert_eq!((chunk[0].seq, chunk[0].issued_ns), (1, 42));
}

const UNITS: &str = r#"
name = "units"
robot = "test"
rate_hz = 30.0
chunk_size = 2
n_action_steps = 1
[model]
file = "model.onnx"
[[input]]
tensor = "x"
kind = "joint_positions"
joints = ["arm", "gripper"]
units = "lerobot"
ranges = { gripper = [-0.5, 1.5] }
normalise = { mean = [90.0, 50.0], std = [10.0, 25.0] }
[[input]]
tensor = "x"
kind = "last_action"
[[output]]
tensor = "y"
kind = "joint_targets"
joints = ["arm", "gripper"]
units = "lerobot"
ranges = { gripper = [-0.5, 1.5] }
normalise = { min = [-180.0, 0.0], max = [180.0, 100.0] }
clip = [-1.0, 1.0]
"#;

#[test]
fn units_and_normalisation_go_there_and_back() {
    let fake = Fake::new(
        vec![info("x", &[1, 4])],
        info("y", &[1, 2, 2]),
        &[0.5, 0.0, 7.0, -7.0],
    );
    let seen = fake.seen.clone();
    let mut policy = Policy::with_engine(
        manifest(UNITS),
        Box::new(fake),
        features(&["arm", "gripper"]),
    )
    .unwrap();
    let present = state(&[std::f64::consts::FRAC_PI_2, 0.5]);
    let mut chunk = Vec::new();
    policy
        .infer(&PolicyInput::new(&present), &mut chunk)
        .unwrap();
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    // 90° and 50 of 100 are the means.
    for value in seen.lock().unwrap().iter() {
        near(f64::from(*value), 0.0);
    }
    near(chunk[0].position[0], std::f64::consts::FRAC_PI_2);
    near(chunk[0].position[1], 0.5);
    // Clipped to ±1 before the normalisation is undone.
    near(chunk[1].position[0], std::f64::consts::PI);
    near(chunk[1].position[1], -0.5);
    // The network sees the raw values of the last step that is used (n_action_steps = 1).
    policy
        .infer(&PolicyInput::new(&present), &mut chunk)
        .unwrap();
    assert_eq!(seen.lock().unwrap()[2..], [0.5, 0.0]);
    policy.reset();
    policy
        .infer(&PolicyInput::new(&present), &mut chunk)
        .unwrap();
    assert_eq!(seen.lock().unwrap()[2..], [0.0, 0.0]);
}

#[test]
fn offsets_are_added_to_the_observed_positions() {
    let text = TWO_JOINTS.replace("joint_targets", "joint_offsets")
        + "units = \"degrees\"\nscale = [2.0]\n";
    let fake = Fake::new(vec![info("x", &[1, 2])], info("y", &[1, 2]), &[45.0, 0.0]);
    let mut policy =
        Policy::with_engine(manifest(&text), Box::new(fake), features(&["a", "b"])).unwrap();
    let mut chunk = Vec::new();
    policy
        .infer(&PolicyInput::new(&state(&[1.0, 2.0])), &mut chunk)
        .unwrap();
    assert!((chunk[0].position[0] - (1.0 + std::f64::consts::FRAC_PI_2)).abs() < 1e-12);
    assert_eq!(chunk[0].position[1], 2.0);
}

#[test]
fn images_are_scaled_and_laid_out() {
    let image = "[[input]]\ntensor = \"image\"\nkind = \"image\"\ncamera = \"wrist\"\n[[output]]";
    for (layout, shape, expected) in [
        ("chw", [1, 3, 1, 2], [0.0, 0.6, 0.2, 0.8, 0.4, 1.0]),
        ("hwc", [1, 1, 2, 3], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ] {
        let image = image.replace("[[output]]", &format!("layout = \"{layout}\"\n[[output]]"));
        let text = TWO_JOINTS.replace("[[output]]", &image);
        let fake = Fake::new(
            vec![info("x", &[1, 2]), info("image", &shape)],
            info("y", &[1, 2]),
            &[0.0; 2],
        );
        let seen = fake.seen.clone();
        let robot = features(&["a", "b"]).with_cameras(["front", "wrist"]);
        let mut policy = Policy::with_engine(manifest(&text), Box::new(fake), robot).unwrap();
        let frame = Frame::new(2, 1, vec![0, 51, 102, 153, 204, 255]);
        let other = Frame::new(9, 9, vec![0; 243]);
        let joints = state(&[0.0, 0.0]);
        let mut chunk = Vec::new();
        let images = [&other, &frame];
        policy
            .infer(
                &PolicyInput {
                    images: &images,
                    ..PolicyInput::new(&joints)
                },
                &mut chunk,
            )
            .unwrap();
        assert_eq!(seen.lock().unwrap()[2..], expected);
        let images = [&frame, &other];
        let input = PolicyInput {
            images: &images,
            ..PolicyInput::new(&joints)
        };
        let error = policy.infer(&input, &mut chunk).unwrap_err().to_string();
        assert!(
            error.contains("camera `wrist` gives 9×9 where the network takes 2×1"),
            "{error}"
        );
    }
}

#[test]
fn everything_that_does_not_fit_is_said_at_once() {
    let text = TWO_JOINTS.replace(
        "[\"a\", \"b\"]\n[[output]]",
        "[\"a\", \"elbow\"]\n[[output]]",
    );
    let text = text.replace("tensor = \"y\"", "tensor = \"actions\"");
    let fake = Fake::new(
        vec![info("x", &[1, 2]), info("z", &[1, 1])],
        info("y", &[1, 2]),
        &[0.0; 2],
    );
    let error = Policy::with_engine(manifest(&text), Box::new(fake), features(&["a", "b", "c"]))
        .unwrap_err();
    let PolicyError::DoesNotFit { problems, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(problems.len(), 4, "{error}");
    let message = error.to_string();
    for part in [
        "policy `two` does not fit",
        "line 9: the robot has no joint `elbow` (it has: a, b, c)",
        "the network's input `z` [1, 1] is filled by no [[input]]",
        "the network has no output `actions`, only `y` [1, 2]",
        "no [[output]] drives the robot's `c`",
        "edit policy.toml",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn wrong_sizes_are_named() {
    let refuse = |input: &[usize], output: &[usize], part: &str| {
        let fake = Fake::new(vec![info("x", input)], info("y", output), &[0.0; 2]);
        let error =
            Policy::with_engine(manifest(TWO_JOINTS), Box::new(fake), features(&["a", "b"]))
                .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    refuse(
        &[1, 3],
        &[1, 2],
        "takes 3 values, but the [[input]] of line 9 give 2",
    );
    refuse(
        &[1, 2],
        &[1, 3],
        "does not hold 1 steps (chunk_size) of 2 joints",
    );
    refuse(&[1 << 20, 1 << 20], &[1, 2], "too large");
}

#[test]
fn an_output_that_is_not_what_the_graph_said_is_refused() {
    let fake = Fake::new(vec![info("x", &[1, 2])], info("y", &[1, 2]), &[0.0; 3]);
    let error = Policy::with_engine(manifest(TWO_JOINTS), Box::new(fake), features(&["a", "b"]))
        .unwrap_err();
    assert!(error.to_string().contains("not as 2 values"), "{error}");
}

#[test]
fn not_a_number_never_reaches_a_joint() {
    for (answer, joint) in [([f32::NAN, 0.0], "a"), ([0.0, f32::INFINITY], "b")] {
        let fake = Fake::new(vec![info("x", &[1, 2])], info("y", &[1, 2]), &answer);
        let mut policy =
            Policy::with_engine(manifest(TWO_JOINTS), Box::new(fake), features(&["a", "b"]))
                .unwrap();
        let mut chunk = vec![Default::default(); 3];
        let error = policy
            .infer(&PolicyInput::new(&state(&[0.0, 0.0])), &mut chunk)
            .unwrap_err();
        assert!(chunk.is_empty());
        assert!(
            error
                .to_string()
                .contains(&format!("joint `{joint}` at step 0")),
            "{error}"
        );
    }
    let fake = Fake::new(vec![info("x", &[1, 2])], info("y", &[1, 2]), &[0.0; 2]);
    let mut policy =
        Policy::with_engine(manifest(TWO_JOINTS), Box::new(fake), features(&["a", "b"])).unwrap();
    let error = policy
        .infer(&PolicyInput::new(&state(&[0.0, f64::NAN])), &mut Vec::new())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("position of joint `b` is not a finite number"),
        "{error}"
    );
}

#[test]
fn an_observation_of_the_wrong_size_is_refused() {
    let fake = Fake::new(vec![info("x", &[1, 2])], info("y", &[1, 2]), &[0.0; 2]);
    let robot = features(&["a", "b"]).with_values(Channel::Command, ["speed"]);
    let mut policy = Policy::with_engine(manifest(TWO_JOINTS), Box::new(fake), robot).unwrap();
    let error = policy
        .infer(&PolicyInput::new(&state(&[0.0; 3])), &mut Vec::new())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the joint state has 3 values where 2"),
        "{error}"
    );
    let error = policy
        .infer(&PolicyInput::new(&state(&[0.0; 2])), &mut Vec::new())
        .unwrap_err();
    assert!(
        error.to_string().contains("command has 0 values where 1"),
        "{error}"
    );
}

#[test]
fn joints_that_neither_the_manifest_nor_the_model_names_are_asked_for() {
    let text = TWO_JOINTS.replacen("joints = [\"a\", \"b\"]", "units = \"rad\"", 1);
    let manifest = Manifest::parse(Path::new("p/policy.toml"), &text).unwrap();
    let error = manifest.completed_by(&ModelCard::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("p/policy.toml:9: `joints`, a list of names, is missing"),
        "{message}"
    );
}

#[test]
fn bad_manifests_name_line_and_key() {
    let refuse = |from: &str, to: &str, line: usize, part: &str| {
        assert!(TWO_JOINTS.contains(from));
        let error = Manifest::parse(
            Path::new("p/policy.toml"),
            &TWO_JOINTS.replacen(from, to, 1),
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("p/policy.toml:{line}: ")),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
    };
    refuse(
        "robot = \"test\"",
        "robot = \"test\"\nspeed = 3",
        4,
        "unknown field `speed`",
    );
    refuse(
        "joints = [\"a\", \"b\"]",
        "joint = [\"a\", \"b\"]",
        12,
        "unknown field `joint`",
    );
    refuse("rate_hz = 50.0", "rate_hz = \"fast\"", 4, "invalid type");
    refuse("rate_hz = 50.0", "rate_hz = nan", 4, "`rate_hz` must be");
    refuse(
        "chunk_size = 1",
        "chunk_size = 0",
        5,
        "`chunk_size` must be",
    );
    refuse(
        "n_action_steps = 1",
        "n_action_steps = 2",
        6,
        "`n_action_steps` must be",
    );
    refuse(
        "\"joint_positions\"",
        "\"positions\"",
        11,
        "unknown variant `positions`",
    );
    refuse(
        "joints = [\"a\", \"b\"]",
        "joints = [\"a\", \"a\"]",
        12,
        "names `a` twice",
    );
    refuse(
        "joints = [\"a\", \"b\"]",
        "joints = [\"a\", \"b\"]\ncamera = \"front\"",
        13,
        "`camera` means nothing",
    );
    refuse(
        "joints = [\"a\", \"b\"]",
        "joints = [\"a\", \"b\"]\nclip = [1.0, 0.0]",
        13,
        "`clip`",
    );
    refuse(
        "joints = [\"a\", \"b\"]",
        "joints = [\"a\", \"b\"]\nnormalise = { mean = [0.0], std = [0.0] }",
        13,
        "above 0",
    );
    refuse(
        "joints = [\"a\", \"b\"]",
        "joints = [\"a\", \"b\"]\nranges = { a = [0.0, 1.0] }",
        13,
        "only for units",
    );
    refuse("[model]", "[model", 7, "");
}
