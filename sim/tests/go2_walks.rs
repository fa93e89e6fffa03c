//! The real Unitree Go2 model and its trained policy: does it still walk?

mod support;

use sinew_runtime::{JointNames, JointState, JointTarget, Robot, SteppedClock};
use sinew_sim::legged::LeggedWalk;
use sinew_sim::{Drive, LockstepConfig, LockstepRobot, SimError, go2};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use support::{distance, fetched, keep_picture, policy, steps};

fn model_dir() -> PathBuf {
    fetched("models/go2/go2.xml").with_file_name("")
}

fn new(seed: u64) -> LeggedWalk {
    go2::walk(&model_dir(), seed).unwrap()
}

fn walk(seed: u64, command: [f64; 3], seconds: f64) -> LeggedWalk {
    walk_on("rten", seed, command, seconds)
}

fn walk_on(engine: &str, seed: u64, command: [f64; 3], seconds: f64) -> LeggedWalk {
    let mut walk = new(seed);
    let mut policy = policy("go2", engine, "go2", walk.joint_names());
    walk.set_command(command);
    walk.run(seconds, steps(&mut policy)).unwrap();
    walk
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
fn sixteen_bit_weights_walk_as_far() {
    let walk = walk_on("fp16", 1, [0.6, 0.0, 0.0], 10.0);
    let [x, y, _] = walk.base_position();
    println!("walked to ({x:.2}, {y:.2})");
    assert!(walk.upright() && x > 4.5 && y.abs() < 1.0, "({x}, {y})");
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
fn all_engines_decide_alike_along_a_walk() {
    let mut walk = new(0);
    let names = walk.joint_names().clone();
    let mut by_rten = policy("go2", "rten", "go2", &names);
    let mut others = ["ort", "auto"].map(|engine| policy("go2", engine, "go2", &names));
    walk.set_command([0.6, 0.0, 0.0]);
    let mut largest = [0.0f64; 2];
    walk.run(10.0, |seen| {
        let target = steps(&mut by_rten)(seen)?;
        for (other, largest) in others.iter_mut().zip(&mut largest) {
            let there = steps(other)(seen)?;
            for (a, b) in target.positions().iter().zip(there.positions()) {
                *largest = largest.max((a - b).abs());
            }
        }
        Ok::<_, SimError>(target)
    })
    .unwrap();
    println!("joint targets are at most {largest:?} rad apart");
    assert_eq!(others.map(|policy| policy.engine_name()), ["ort", "direct"]);
    // Each policy is told its own last action, so that roundings grow along the walk; a step of the
    // servos' encoders is fifteen times what is allowed here.
    assert!(
        walk.upright() && largest.iter().all(|apart| *apart < 1e-4),
        "{largest:?}"
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
    let mut walk = new(3);
    // Calves folded as far as they go: there is nothing left to stand on.
    let folded: Vec<f64> = (0..12).map(|i| [0.5, 1.8, -3.0][i % 3]).collect();
    let folded = JointTarget::from_positions(&folded).unwrap();
    walk.run(2.0, |_| Ok::<_, SimError>(folded)).unwrap();
    assert!(
        !walk.upright(),
        "the check must be able to fail: {:?}",
        walk.base_position()
    );
}

#[test]
fn it_stands_as_a_lockstep_robot_too() {
    let standing = new(4);
    let names: JointNames = standing.joint_names().clone();
    let world = Arc::new(Mutex::new(standing.world().fork().unwrap()));
    let clock = Arc::new(SteppedClock::default());
    let config = LockstepConfig {
        joints: names.clone(),
        drive: Drive::TorquePd { kp: 40.0, kd: 1.0 },
        position_noise: 0.0,
        seed: 0,
    };
    let mut robot = LockstepRobot::new(world, clock, config).unwrap();
    let goal: [f64; 12] = std::array::from_fn(|i| [0.0, 0.8, -1.5][i % 3]);
    robot
        .write(&JointTarget::from_positions(&goal).unwrap())
        .unwrap();
    robot.advance(2_000_000_000).unwrap();
    let mut state = JointState::default();
    robot.read(&mut state).unwrap();
    for (joint, (is, wanted)) in names.iter().zip(state.positions().iter().zip(goal)) {
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
    let error = go2::walk(Path::new("no/such/folder"), 0)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("scripts/setup") && error.contains("go2.xml"),
        "{error}"
    );
}
