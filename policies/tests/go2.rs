//! The Go2 manifest builds the observation that the trained network expects, and both engines
//! answer it alike through the whole path.

mod support;

use sinew_policies::{Channel, EngineChoice, Features, Policy, PolicyInput};
use sinew_runtime::{JointNames, JointState};
use std::path::Path;
use support::{Fake, fetched, info, with_ort_library};

/// Joint order of the MJCF, which is not the network's.
const LEGS: [&str; 4] = ["FL", "FR", "RL", "RR"];

fn robot() -> Features {
    let joints = LEGS
        .iter()
        .flat_map(|leg| ["hip", "thigh", "calf"].map(|part| format!("{leg}_{part}_joint")));
    let xyz = |name: &str| ["x", "y", "z"].map(|axis| format!("{name}.{axis}"));
    Features::new(&JointNames::new(joints))
        .with_values(
            Channel::Imu,
            [xyz("gravity"), xyz("angular_velocity")].concat(),
        )
        .with_values(Channel::Command, ["velocity.x", "velocity.y", "yaw_rate"])
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/go2"))
}

fn state(seed: u64) -> JointState {
    let mut state = JointState {
        len: 12,
        ..JointState::default()
    };
    for i in 0..12 {
        let phase = (seed * 12 + i as u64) as f64;
        state.position[i] = [0.0, 0.8, -1.5][i % 3] + 0.2 * (1.7 * phase).sin();
        state.velocity[i] = 3.0 * (0.9 * phase).cos();
    }
    state
}

#[test]
fn the_observation_has_the_network_s_layout() {
    let manifest = sinew_policies::Manifest::read(folder()).unwrap();
    let fake = Fake::new(
        vec![info("obs", &[1, 45])],
        info("actions", &[1, 12]),
        &[1.0; 12],
    );
    let seen = fake.seen.clone();
    let mut policy = Policy::with_engine(manifest, Box::new(fake), robot()).unwrap();
    let state = state(3);
    let input = PolicyInput {
        imu: &[0.1, 0.2, -0.9, 4.0, 8.0, 12.0],
        command: &[0.6, 0.0, 0.5],
        ..PolicyInput::new(&state)
    };
    let mut chunk = Vec::new();
    policy.infer(&input, &mut chunk).unwrap();
    let obs = seen.lock().unwrap().clone();
    assert_eq!(obs[..9], [1.0, 2.0, 3.0, 0.1, 0.2, -0.9, 0.6, 0.0, 0.5]);
    // The network's first leg is FR, the robot's second.
    for part in 0..3 {
        let standing = [0.0, 0.8, -1.5][part];
        assert_eq!(obs[9 + part], (state.position[3 + part] - standing) as f32);
        assert_eq!(obs[21 + part], (state.velocity[3 + part] * 0.05) as f32);
        assert_eq!(
            chunk[0].position[3 + part],
            standing + [0.125, 0.25, 0.25][part]
        );
    }
    assert_eq!(obs[33..], [0.0; 12]);
    policy.infer(&input, &mut chunk).unwrap();
    assert_eq!(seen.lock().unwrap()[33..], [1.0; 12]);
}

#[test]
fn both_engines_drive_the_joints_alike() {
    with_ort_library();
    fetched("models/go2/policy/policy.onnx");
    let load = |engine| Policy::load(folder(), engine, robot()).unwrap();
    let (mut rten, mut ort) = (load(EngineChoice::Rten), load(EngineChoice::Ort));
    let (mut by_rten, mut by_ort) = (Vec::new(), Vec::new());
    let mut largest = 0.0f64;
    // Each engine sees its own last action, so differences would grow over the 500 steps.
    for step in 0..500 {
        let state = state(step);
        let input = PolicyInput {
            imu: &[0.0, 0.0, -1.0, 0.1, 0.0, 0.2],
            command: &[0.6, 0.0, 0.0],
            ..PolicyInput::new(&state)
        };
        rten.infer(&input, &mut by_rten).unwrap();
        ort.infer(&input, &mut by_ort).unwrap();
        for (a, b) in by_rten[0].positions().iter().zip(by_ort[0].positions()) {
            largest = largest.max((a - b).abs());
        }
    }
    println!("largest difference of a joint target: {largest:e} rad");
    assert!(largest < 1e-5);
}
