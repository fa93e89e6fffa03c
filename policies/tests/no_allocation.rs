//! After warm-up, everything that a policy does around its engine allocates nothing.

mod support;

use sinew_policies::lerobot::model::ActOptions;
use sinew_policies::lerobot::{Checkpoint, Opening, load};
use sinew_policies::{Channel, EngineChoice, EngineOptions, LoadOptions, Policy, PolicyInput};
use sinew_runtime::{Frame, JointState};
use std::cell::Cell;
use std::sync::Arc;
use support::counting::{COUNT, Counting};
use support::tiny_act::tiny_act;
use support::{Fake, features, info, manifest};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const EVERYTHING: &str = r#"
name = "everything"
robot = "test"
rate_hz = 30.0
chunk_size = 4
n_action_steps = 2
[model]
file = "model.onnx"
[[input]]
tensor = "state"
kind = "joint_positions"
joints = ["b", "a"]
units = "lerobot"
ranges = { b = [0.0, 1.0] }
normalise = { min = [0.0, -90.0], max = [100.0, 90.0] }
[[input]]
tensor = "state"
kind = "joint_velocities"
joints = ["a"]
[[input]]
tensor = "state"
kind = "environment"
names = ["cube.y"]
[[input]]
tensor = "state"
kind = "last_action"
[[input]]
tensor = "image"
kind = "image"
camera = "front"
normalise = { mean = [0.5], std = [0.5] }
[[output]]
tensor = "actions"
kind = "joint_offsets"
joints = ["a", "b"]
units = "degrees"
"#;

#[test]
fn inference_around_the_engine_allocates_nothing() {
    let offered = features(&["a", "b"])
        .with_values(Channel::Environment, ["cube.x", "cube.y"])
        .with_cameras(["front"]);
    let inputs = vec![info("state", &[1, 6]), info("image", &[1, 3, 8, 16])];
    let fake = Fake::new(inputs, info("actions", &[1, 4, 2]), &[0.5; 8]);
    let mut policy = Policy::with_engine(manifest(EVERYTHING), Box::new(fake), offered).unwrap();
    let state = JointState {
        len: 2,
        ..JointState::default()
    };
    let frame = Frame::new(16, 8, vec![7; 3 * 16 * 8]);
    let images = [&frame];
    let input = PolicyInput {
        environment: &[0.1, 0.2],
        images: &images,
        ..PolicyInput::new(&state)
    };
    let mut chunk = Vec::new();
    policy.infer(&input, &mut chunk).unwrap();

    let before = COUNT.with(Cell::get);
    for _ in 0..1000 {
        policy.infer(&input, &mut chunk).unwrap();
        policy.reset();
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
    assert_eq!(chunk.len(), 4);
}

/// A checkpoint's policy allocates what its network's engines do, and nothing besides.
#[test]
fn a_checkpoint_allocates_no_more_than_its_engines() {
    let folder = tiny_act(false).write();
    let options = LoadOptions {
        engine: EngineChoice::Rten,
        threads: 1,
        self_check: false,
        ..LoadOptions::default()
    };
    let cameras = features(&["a", "b"]).with_cameras(["front", "wrist"]);
    let mut policy = Policy::load(folder.path(), options, cameras).unwrap();
    let frames = [32, 37].map(|height| Frame::new(48, height, vec![9; 3 * 48 * height as usize]));
    let images = [&frames[0], &frames[1]];
    let mut chunk = Vec::new();
    let mut state = JointState {
        len: 2,
        ..JointState::default()
    };
    let mut infer = || {
        state.seq += 1;
        let input = PolicyInput {
            images: &images,
            ..PolicyInput::new(&state)
        };
        policy.infer(&input, &mut chunk).unwrap();
    };
    let by_policy = counted(&mut infer);

    let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
    let opening = Opening {
        engine: EngineOptions {
            engine: EngineChoice::Rten,
            ..EngineOptions::default()
        },
        ..Opening::default()
    };
    let mut model = load(&checkpoint, &opening).unwrap();
    let mut run = || {
        for image in 0..2 {
            model.encode(image).unwrap();
        }
        model.observe(&[0.0; 2], &[]);
        model.prefix().unwrap();
        model.act(&ActOptions::default()).unwrap();
    };
    let by_model = counted(&mut run);
    assert!(by_model > 0, "the engine's allocations are not seen");
    assert_eq!(by_policy, by_model);
}

/// Allocations of ten runs, after two to warm up.
fn counted(run: &mut dyn FnMut()) -> usize {
    (0..2).for_each(|_| run());
    let before = COUNT.with(Cell::get);
    (0..10).for_each(|_| run());
    COUNT.with(Cell::get) - before
}
