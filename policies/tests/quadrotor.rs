//! A recurrent policy: the network of foundation-policy gives the sequences that its checkpoint
//! holds, with its hidden state handed on by the policy.

mod support;

use sinew_policies::{Channel, EngineChoice, Features, Manifest, ModelBytes, Policy, PolicyInput};
use sinew_runtime::{JointNames, JointState};
use std::path::Path;
use support::{features, fetched, manifest, with_ort_library};

const STEPS: usize = 500;
/// Two sequences side by side.
const BATCH: usize = 2;
const OBSERVED: usize = 22;
const MOTORS: usize = 4;

fn numbers(file: &str) -> Vec<f32> {
    let bytes = std::fs::read(fetched(&format!("models/quadrotor/{file}"))).unwrap();
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The recorded observations are any numbers, so every one is a value of its own here.
fn plain(engine: EngineChoice) -> Policy {
    let names: Vec<String> = (0..OBSERVED).map(|i| format!("o{i}")).collect();
    let motors = ["m0", "m1", "m2", "m3"];
    let text = format!(
        r#"
name = "golden"
robot = "quadrotor"
rate_hz = 100.0
chunk_size = 1
n_action_steps = 1
[model]
file = "policy.onnx"
[[input]]
tensor = "observation"
kind = "environment"
names = {names:?}
[[state]]
input = "hidden_in"
output = "hidden_out"
[[output]]
tensor = "motors"
kind = "joint_targets"
joints = {motors:?}
"#
    );
    let model = ModelBytes::read(&fetched("models/quadrotor/policy.onnx")).unwrap();
    let offered = features(&motors).with_values(Channel::Environment, names);
    Policy::with_engine(manifest(&text), engine.open(model, 1).unwrap(), offered).unwrap()
}

fn golden(engine: EngineChoice) {
    with_ort_library();
    let (inputs, outputs) = (numbers("input.f32"), numbers("output.f32"));
    assert_eq!(
        (inputs.len(), outputs.len()),
        (STEPS * BATCH * OBSERVED, STEPS * BATCH * MOTORS)
    );
    let mut policy = plain(engine);
    let state = JointState {
        len: MOTORS,
        ..JointState::default()
    };
    let (mut largest, mut chunk) = (0.0f64, Vec::new());
    for sequence in 0..BATCH {
        policy.reset();
        for step in 0..STEPS {
            let row = step * BATCH + sequence;
            let seen = &inputs[row * OBSERVED..][..OBSERVED];
            let seen: Vec<f64> = seen.iter().map(|&x| f64::from(x)).collect();
            let input = PolicyInput {
                environment: &seen,
                ..PolicyInput::new(&state)
            };
            policy.infer(&input, &mut chunk).unwrap();
            let wanted = &outputs[row * MOTORS..][..MOTORS];
            for (a, b) in chunk[0].positions().iter().zip(wanted) {
                largest = largest.max((a - f64::from(*b)).abs());
            }
        }
    }
    println!("{engine}: at most {largest:e} from the recorded sequences");
    assert!(largest <= 1e-6, "{largest:e}");
}

#[test]
fn rten_gives_the_recorded_sequences() {
    golden(EngineChoice::Rten);
}

#[test]
fn onnx_runtime_gives_the_recorded_sequences() {
    golden(EngineChoice::Ort);
}

#[test]
fn the_manifest_fits_and_a_reset_forgets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("quadrotor");
    let manifest = Manifest::read(&folder).unwrap();
    fetched("models/quadrotor/policy.onnx");
    let sinew_policies::manifest::Source::Values(_, names) = &manifest.inputs[0].source else {
        panic!("the first input is of values");
    };
    let offered = Features::new(&JointNames::new(manifest.outputs[0].joints.clone()))
        .of_robot("quadrotor")
        .with_values(Channel::Environment, names.clone())
        .with_values(
            Channel::Imu,
            ["x", "y", "z"].map(|axis| format!("angular_velocity.{axis}")),
        );
    let mut policy = Policy::load(&folder, EngineChoice::Rten, offered).unwrap();
    let joints = JointState {
        len: MOTORS,
        ..JointState::default()
    };
    let mut chunk = Vec::new();
    let mut fly = |policy: &mut Policy| -> Vec<[f64; 4]> {
        let mut environment = [0.0; 15];
        [
            environment[0],
            environment[3],
            environment[7],
            environment[11],
        ] = [0.5, 1.0, 1.0, 1.0];
        let input = PolicyInput {
            environment: &environment,
            imu: &[0.1, 0.0, -0.1],
            ..PolicyInput::new(&joints)
        };
        let step = |_| {
            policy.infer(&input, &mut chunk).unwrap();
            chunk[0].positions().try_into().unwrap()
        };
        (0..20).map(step).collect()
    };
    let first = fly(&mut policy);
    assert_ne!(first[0], first[1], "what it has seen changes what it does");
    assert_ne!(first, fly(&mut policy), "the state goes on");
    policy.reset();
    assert_eq!(first, fly(&mut policy), "the same bits after a reset");
}

#[test]
fn states_that_do_not_fit_are_named() {
    let refused = |from: &str, to: &str| {
        let text = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("quadrotor/policy.toml"),
        )
        .unwrap();
        let text = text.replace(from, to);
        let model = ModelBytes::read(&fetched("models/quadrotor/policy.onnx")).unwrap();
        let engine = EngineChoice::Rten.open(model, 1).unwrap();
        let error = Policy::with_engine(manifest(&text), engine, features(&["front_right"]));
        error.unwrap_err().to_string()
    };
    let missing = refused("hidden_out", "hidden");
    assert!(missing.contains("no output `hidden`"), "{missing}");
    let missing = refused("hidden_in", "memory");
    assert!(missing.contains("no input `memory`"), "{missing}");
    assert!(missing.contains("filled by no [[input]]"), "{missing}");
    let shape = refused(
        "output = \"hidden_out\"",
        "output = \"hidden_out\"\nshape = [1, 8]",
    );
    assert!(shape.contains("shape [1, 8] is not"), "{shape}");
    let moved = refused("output = \"hidden_out\"", "output = \"motors\"");
    assert!(moved.contains("moves joints"), "{moved}");
}
