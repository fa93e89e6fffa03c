//! The committed demo policy fits the SO-101 and answers alike on both engines.

mod support;

use sinew_policies::{Channel, EngineChoice, Features, Policy, PolicyError, PolicyInput};
use sinew_runtime::{JointNames, JointState};
use std::path::Path;
use support::with_ort_library;

const JOINTS: [&str; 6] = [
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
];
const TABLE: [&str; 7] = [
    "cube.x",
    "cube.y",
    "cube.z",
    "cube.yaw_cos4",
    "cube.yaw_sin4",
    "zone.x",
    "zone.y",
];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/so101-pick"))
}

fn robot() -> Features {
    Features::new(&JointNames::new(JOINTS)).with_values(Channel::Environment, TABLE)
}

#[test]
fn both_engines_agree_on_the_demo_policy() {
    with_ort_library();
    let mut rten = Policy::load(folder(), EngineChoice::Rten, robot()).unwrap();
    let mut ort = Policy::load(folder(), EngineChoice::Ort, robot()).unwrap();
    let (mut by_rten, mut by_ort) = (Vec::new(), Vec::new());
    let mut largest = 0.0f64;
    for step in 0..300 {
        let wave = |i: usize| (0.37 * (step * 13 + i) as f64).sin();
        let mut state = JointState {
            len: 6,
            ..JointState::default()
        };
        for i in 0..6 {
            state.position[i] = wave(i);
        }
        let table = [
            0.21 + 0.03 * wave(6),
            0.1 * wave(7),
            0.015,
            wave(8),
            wave(9),
            0.21,
            0.1 * wave(10),
        ];
        let input = PolicyInput {
            environment: &table,
            ..PolicyInput::new(&state)
        };
        rten.infer(&input, &mut by_rten).unwrap();
        ort.infer(&input, &mut by_ort).unwrap();
        assert_eq!((by_rten.len(), by_ort.len()), (16, 16));
        for (a, b) in by_rten.iter().zip(&by_ort) {
            for (a, b) in a.positions().iter().zip(b.positions()) {
                largest = largest.max((a - b).abs());
            }
        }
    }
    println!("largest difference of a joint target: {largest:e} rad");
    assert!(largest < 1e-5);
}

#[test]
fn the_demo_policy_stays_small() {
    let bytes = std::fs::metadata(folder().join("model.onnx"))
        .unwrap()
        .len();
    assert!(bytes <= 1 << 20, "{bytes}");
}

#[test]
fn a_robot_that_sees_no_cube_is_told_what_is_missing() {
    let joints = JointNames::new(JOINTS);
    let error = Policy::load(folder(), EngineChoice::Rten, &joints).unwrap_err();
    assert!(matches!(error, PolicyError::DoesNotFit { .. }));
    assert!(
        error
            .to_string()
            .contains("no environment value `cube.x`, `cube.y`"),
        "{error}"
    );
}
