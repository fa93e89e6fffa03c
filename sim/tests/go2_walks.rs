//! The real Unitree Go2 model and its trained policy: does it still walk?

use rten::{Model, Value};
use sinew_runtime::{JointNames, JointState, JointTarget, Robot, SteppedClock};
use sinew_sim::go2::{ACTIONS, Go2Walk, JOINTS, OBSERVATION};
use sinew_sim::{Drive, LockstepConfig, LockstepRobot, RenderOptions, Renderer, SimError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn model_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../third_party/models/go2");
    assert!(
        dir.join("go2.xml").exists(),
        "the Go2 model is missing: run scripts/setup"
    );
    dir
}

/// The trained network, as a closure from observation to action.
fn network() -> impl FnMut(&[f32; OBSERVATION], &mut [f32; ACTIONS]) -> Result<(), SimError> {
    let model = Model::load_file(model_dir().join("policy/policy.onnx")).unwrap();
    move |observation, action| {
        let input = Value::from_shape([1, OBSERVATION], observation.to_vec()).unwrap();
        let output = model.run_one(input.into(), None).unwrap();
        let ([batch, len], values) = output.into_shape_vec::<f32, 2>().unwrap();
        assert_eq!((batch, len), (1, ACTIONS));
        action.copy_from_slice(&values);
        Ok(())
    }
}

fn walk(seed: u64, command: [f64; 3], seconds: f64) -> Go2Walk {
    let mut walk = Go2Walk::new(&model_dir(), seed).unwrap();
    walk.set_command(command);
    walk.run(seconds, network()).unwrap();
    walk
}

fn distance(walk: &Go2Walk) -> f64 {
    let [x, y, _] = walk.base_position();
    x.hypot(y)
}

/// Set SINEW_SIM_PICTURES to a folder to see what the tests see.
fn keep_picture(walk: &Go2Walk, name: &str) -> Vec<u8> {
    let (width, height) = (320, 240);
    let mut renderer = Renderer::new(walk.world().model(), RenderOptions::default()).unwrap();
    let mut pixels = vec![0; 3 * 320 * 240];
    renderer
        .render(walk.world(), walk.view(), width, height, &mut pixels)
        .unwrap();
    if let Some(dir) = std::env::var_os("SINEW_SIM_PICTURES") {
        let image = image::RgbImage::from_raw(width, height, pixels.clone()).unwrap();
        image
            .save(Path::new(&dir).join(format!("{name}.png")))
            .unwrap();
    }
    pixels
}

#[test]
fn ten_seconds_at_0_6_m_per_s_end_upright_and_far_away() {
    let walk = walk(1, [0.6, 0.0, 0.0], 10.0);
    let position = walk.base_position();
    println!(
        "walked {:.2} m to ({:.2}, {:.2}, {:.3}), yaw {:.3} rad, velocity {:.2?}",
        distance(&walk),
        position[0],
        position[1],
        position[2],
        walk.yaw(),
        walk.velocity()
    );
    assert!(walk.upright(), "fell: {position:?}");
    assert!(distance(&walk) >= 3.0, "only {:.2} m", distance(&walk));
    assert!(
        position[0] > 4.5 && position[1].abs() < 1.0,
        "it walks ahead: {position:?}"
    );
    let pixels = keep_picture(&walk, "go2_after_10_s");
    assert!(pixels.iter().any(|&p| p > 50), "the picture is not black");
}

#[test]
fn it_stands_without_a_command_and_turns_on_command() {
    let standing = walk(2, [0.0; 3], 4.0);
    assert!(
        standing.upright() && distance(&standing) < 0.3,
        "{:?}",
        standing.base_position()
    );
    let turning = walk(2, [0.0, 0.0, 0.6], 4.0);
    assert!(turning.upright(), "{:?}", turning.base_position());
    assert!(
        (1.4..3.0).contains(&turning.yaw()),
        "turned by {} rad",
        turning.yaw()
    );
}

#[test]
fn a_seed_decides_everything() {
    let state = |seed| walk(seed, [0.6, 0.0, 0.0], 1.0).world().save().to_bytes();
    let first = state(5);
    assert!(first == state(5), "same seed, same bytes");
    assert!(first != state(6), "another seed, another start");
}

#[test]
fn without_a_policy_it_does_not_stay_up() {
    let mut walk = Go2Walk::new(&model_dir(), 3).unwrap();
    let mut limp = |_: &[f32; OBSERVATION], action: &mut [f32; ACTIONS]| {
        // Calves folded as far as they go: there is nothing left to stand on.
        *action = std::array::from_fn(|i| if i % 3 == 2 { -6.0 } else { 4.0 });
        Ok::<(), SimError>(())
    };
    walk.run(2.0, &mut limp).unwrap();
    assert!(
        !walk.upright(),
        "the check must be able to fail: {:?}",
        walk.base_position()
    );
}

#[test]
fn it_stands_as_a_lockstep_robot_too() {
    let world = Arc::new(Mutex::new(
        Go2Walk::new(&model_dir(), 4)
            .unwrap()
            .world()
            .fork()
            .unwrap(),
    ));
    let clock = Arc::new(SteppedClock::default());
    let config = LockstepConfig {
        joints: JointNames::new(JOINTS),
        drive: Drive::TorquePd { kp: 40.0, kd: 1.0 },
        position_noise: 0.0,
        seed: 0,
    };
    let mut robot = LockstepRobot::new(world, clock, config).unwrap();
    let goal: [f64; ACTIONS] = std::array::from_fn(|i| [0.0, 0.8, -1.5][i % 3]);
    robot
        .write(&JointTarget::from_positions(&goal).unwrap())
        .unwrap();
    robot.advance(2_000_000_000).unwrap();
    let mut state = JointState::default();
    robot.read(&mut state).unwrap();
    for (joint, (is, wanted)) in JOINTS.iter().zip(state.positions().iter().zip(goal)) {
        assert!((is - wanted).abs() < 0.25, "{joint} at {is}, goal {wanted}");
    }
    let world = robot.world().lock().unwrap();
    let height = world
        .body_pose(world.model().body("base").unwrap())
        .position[2];
    assert!(height > 0.22, "trunk at {height} m");
}

#[test]
fn a_missing_model_says_what_to_run() {
    let error = Go2Walk::new(Path::new("no/such/folder"), 0)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("scripts/setup") && error.contains("go2.xml"),
        "{error}"
    );
}
