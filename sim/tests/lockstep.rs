//! Worlds and lockstep robots: time, determinism, drives, refusals, failures.

use proptest::prelude::*;
use sinew_runtime::{Clock, JointNames, JointState, JointTarget, Robot, SteppedClock};
use sinew_sim::{
    Drive, LockstepConfig, LockstepRobot, Pose, RenderOptions, Renderer, SimError, State,
    Viewpoint, World,
};
use std::sync::{Arc, Mutex};

/// A two-joint arm above a table, with a loose ball. `ACTUATORS` is replaced.
const ARM: &str = r#"<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <light pos="0 0 2"/>
    <camera name="side" pos="0.3 -1.2 0.4" xyaxes="1 0 0 0 0.2 1"/>
    <geom name="table" type="plane" size="1 1 0.1"/>
    <body name="ball" pos="0.6 0 0.05"><freejoint/><geom name="ball" type="sphere" size="0.05" mass="0.1"/></body>
    <body name="upper" pos="0 0 0.5">
      <joint name="shoulder" axis="0 1 0" damping="0.3" armature="0.02"/>
      <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.2"/>
      <body name="lower" pos="0.2 0 0">
        <joint name="elbow" axis="0 1 0" damping="0.3" armature="0.02"/>
        <geom name="hand" type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.1"/>
        <site name="tip" pos="0.2 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>ACTUATORS</actuator>
</mujoco>"#;

const SERVOS: &str =
    r#"<position joint="elbow" kp="20" kv="1"/><position joint="shoulder" kp="30" kv="1"/>"#;
const MOTORS: &str = r#"<motor joint="shoulder"/><motor joint="elbow"/>"#;
const PERIOD: u64 = 20_000_000;

fn world(actuators: &str) -> World {
    World::from_xml("arm", &ARM.replace("ACTUATORS", actuators), &[]).unwrap()
}

fn config(drive: Drive) -> LockstepConfig {
    LockstepConfig {
        joints: JointNames::new(["shoulder", "elbow"]),
        drive,
        position_noise: 0.0,
        seed: 0,
    }
}

fn robot(actuators: &str, config: LockstepConfig) -> (LockstepRobot, Arc<SteppedClock>) {
    let clock = Arc::new(SteppedClock::default());
    let world = Arc::new(Mutex::new(world(actuators)));
    (
        LockstepRobot::new(world, clock.clone(), config).unwrap(),
        clock,
    )
}

/// One run of 100 ticks after a moving target: state bytes, last reading, picture.
fn run(config: LockstepConfig) -> (Vec<u8>, JointState, Vec<u8>) {
    let (mut robot, clock) = robot(SERVOS, config);
    let mut state = JointState::default();
    for tick in 0..100 {
        clock.sleep_until(tick * PERIOD);
        robot.read(&mut state).unwrap();
        let phase = tick as f64 * 0.1;
        robot
            .write(&JointTarget::from_positions(&[phase.sin() * 0.5, phase.cos() * 0.5]).unwrap())
            .unwrap();
    }
    let world = robot.world().lock().unwrap();
    let mut renderer = Renderer::new(world.model(), RenderOptions::default()).unwrap();
    let mut pixels = vec![0; 3 * 160 * 120];
    let view = Viewpoint::Camera(world.model().camera("side").unwrap());
    renderer
        .render(&world, view, 160, 120, &mut pixels)
        .unwrap();
    (world.save().to_bytes(), state, pixels)
}

#[test]
fn two_runs_give_the_same_bytes_and_pixels() {
    let noisy = |seed| LockstepConfig {
        position_noise: 0.01,
        seed,
        ..config(Drive::Position)
    };
    let (bytes, state, pixels) = run(noisy(3));
    let (bytes_again, state_again, pixels_again) = run(noisy(3));
    assert!(bytes == bytes_again && state == state_again && pixels == pixels_again);
    assert!(pixels.iter().any(|&p| p > 0));
    let (_, other, _) = run(noisy(4));
    assert_ne!(
        state.positions(),
        other.positions(),
        "the seed decides the noise"
    );
}

#[test]
fn the_world_follows_the_clock_and_nothing_else() {
    let (mut robot, clock) = robot(SERVOS, config(Drive::Position));
    let mut state = JointState::default();
    clock.sleep_until(PERIOD);
    robot.read(&mut state).unwrap();
    robot.read(&mut state).unwrap();
    assert_eq!((state.seq, state.captured_ns, state.len), (2, PERIOD, 2));
    assert!((robot.world().lock().unwrap().time() - 0.02).abs() < 1e-12);
    clock.advance(3_000_000);
    robot.read(&mut state).unwrap();
    assert_eq!(
        state.captured_ns,
        PERIOD + 2_000_000,
        "whole physics steps only"
    );
}

#[test]
fn both_drives_reach_their_goal_by_joint_name() {
    // The servos are listed elbow first: binding by index would swap them.
    for (actuators, drive) in [
        (SERVOS, Drive::Position),
        (MOTORS, Drive::TorquePd { kp: 60.0, kd: 2.0 }),
    ] {
        let (mut robot, _) = robot(actuators, config(drive));
        robot
            .write(&JointTarget::from_positions(&[-0.4, 0.7]).unwrap())
            .unwrap();
        robot.advance(3_000_000_000).unwrap();
        let mut state = JointState::default();
        robot.read(&mut state).unwrap();
        assert!(
            (state.position[0] + 0.4).abs() < 0.06,
            "{drive:?}: {:?}",
            state.positions()
        );
        assert!(
            (state.position[1] - 0.7).abs() < 0.06,
            "{drive:?}: {:?}",
            state.positions()
        );
        assert!(
            state.velocity[0].abs() < 0.01 && state.effort[0].abs() > 0.1,
            "holds against gravity"
        );
    }
}

#[test]
fn without_torque_it_falls_and_with_torque_it_stays() {
    for (actuators, drive) in [
        (SERVOS, Drive::Position),
        (MOTORS, Drive::TorquePd { kp: 60.0, kd: 2.0 }),
    ] {
        let (mut robot, _) = robot(actuators, config(drive));
        let mut state = JointState::default();
        robot.set_torque(false).unwrap();
        robot.advance(300_000_000).unwrap();
        robot.read(&mut state).unwrap();
        let fallen = state.position[0];
        assert!(fallen > 0.1, "{drive:?} shoulder at {fallen}");
        robot.set_torque(true).unwrap();
        robot.advance(2_000_000_000).unwrap();
        robot.read(&mut state).unwrap();
        assert!(
            (state.position[0] - fallen).abs() < 0.1,
            "holds where it was caught, no jump"
        );
    }
}

#[test]
fn bad_targets_are_refused_and_the_old_one_stays() {
    let (mut robot, _) = robot(SERVOS, config(Drive::Position));
    robot
        .write(&JointTarget::from_positions(&[0.2, 0.2]).unwrap())
        .unwrap();
    let wrong = robot
        .write(&JointTarget::from_positions(&[0.0]).unwrap())
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("1 positions for 2 joints"), "{wrong}");
    let nan = robot
        .write(&JointTarget::from_positions(&[0.0, f64::NAN]).unwrap())
        .unwrap_err()
        .to_string();
    assert!(nan.contains("NaN"), "{nan}");
    robot.advance(2_000_000_000).unwrap();
    let mut state = JointState::default();
    robot.read(&mut state).unwrap();
    assert!((state.position[1] - 0.2).abs() < 0.06);
}

#[test]
fn wrong_names_and_wrong_actuators_say_what_there_is() {
    let clock = Arc::new(SteppedClock::default());
    let refused = |actuators: &str, config: LockstepConfig| {
        let world = Arc::new(Mutex::new(world(actuators)));
        LockstepRobot::new(world, clock.clone(), config)
            .unwrap_err()
            .to_string()
    };
    let mut unknown = config(Drive::Position);
    unknown.joints = JointNames::new(["shoulder", "wrist"]);
    let message = refused(SERVOS, unknown);
    assert!(
        message.contains("`wrist`") && message.contains("shoulder, elbow"),
        "{message}"
    );
    assert!(refused(MOTORS, config(Drive::Position)).contains("<position>"));
    assert!(refused(SERVOS, config(Drive::TorquePd { kp: 1.0, kd: 0.0 })).contains("<motor>"));
    assert!(refused("", config(Drive::Position)).contains("no actuator"));
}

#[test]
fn models_that_do_not_compile_name_the_line() {
    let broken = World::from_xml(
        "bad",
        "<mujoco><worldbody>\n<geom sice='1'/></worldbody></mujoco>",
        &[],
    );
    let message = broken.unwrap_err().to_string();
    assert!(
        message.contains("bad") && message.contains("line 2"),
        "{message}"
    );
    let missing = World::from_path("none", "no/such/model.xml".as_ref()).unwrap_err();
    assert!(matches!(missing, SimError::File { .. }));
}

#[test]
fn virtual_files_serve_includes() {
    let part = br#"<mujocoinclude><body name="part"><geom size="0.1"/></body></mujocoinclude>"#;
    let xml = r#"<mujoco><worldbody><include file="part.xml"/></worldbody></mujoco>"#;
    let world = World::from_xml("parts", xml, &[("part.xml", part)]).unwrap();
    assert!(world.model().body("part").is_ok());
    assert!(World::from_xml("parts", xml, &[]).is_err());
}

#[test]
fn a_diverging_world_says_so_until_it_is_reset() {
    let mut world = world(MOTORS);
    let elbow = world.model().joint("elbow").unwrap();
    let motor = world.model().actuator_of(elbow).unwrap();
    world.set_control(motor, 1e14);
    let error = world.step(100).unwrap_err();
    assert!(
        matches!(&error, SimError::Unstable { world, .. } if world == "arm"),
        "{error}"
    );
    assert!(
        world.step(1).is_err(),
        "it does not go on as if nothing had happened"
    );
    world.reset().unwrap();
    world.step(100).unwrap();
}

#[test]
fn a_restored_state_has_the_same_future() {
    let mut world = world(SERVOS);
    world.step(150).unwrap();
    let saved = State::from_bytes(&world.save().to_bytes()).unwrap();
    let mut twin = world.fork().unwrap();
    world.step(200).unwrap();
    twin.step(200).unwrap();
    assert_eq!(world.save(), twin.save(), "a fork goes the same way");
    let future = world.save();
    world.restore(&saved).unwrap();
    world.step(200).unwrap();
    assert_eq!(world.save(), future);
}

#[test]
fn bodies_can_be_placed_and_contacts_weighed() {
    let mut world = world(SERVOS);
    let model = world.model().clone();
    let (ball, table) = (model.geom("ball").unwrap(), model.geom("table").unwrap());
    let body = model.body("ball").unwrap();
    world
        .place_body(body, Pose::at([0.7, 0.2, 0.3], 1.0))
        .unwrap();
    assert_eq!(world.touch_force(ball, table), None);
    assert!((world.geom_distance(ball, table, 1.0) - 0.25).abs() < 1e-6);
    world.step(1000).unwrap();
    let weight = world.touch_force(table, ball).unwrap();
    assert!(
        (weight - 0.981).abs() < 0.01,
        "a 0.1 kg ball presses with {weight} N"
    );
    let upper = model.body("upper").unwrap();
    assert!(
        world.place_body(upper, Pose::at([0.0; 3], 0.0)).is_err(),
        "it has no free joint"
    );
    let twisted = Pose {
        position: [0.0; 3],
        quaternion: [0.0; 4],
    };
    assert!(world.place_body(body, twisted).is_err());
}

#[test]
fn the_site_jacobian_is_the_derivative_of_its_position() {
    let mut world = world(SERVOS);
    let model = world.model().clone();
    let joints = [
        model.joint("shoulder").unwrap(),
        model.joint("elbow").unwrap(),
    ];
    let tip = model.site("tip").unwrap();
    let jacobian = world.site_jacobian(tip, &joints);
    let before = world.site_pose(tip).position;
    world.set_position(joints[1], 1e-6);
    world.forward().unwrap();
    let after = world.site_pose(tip).position;
    for axis in 0..3 {
        let slope = (after[axis] - before[axis]) / 1e-6;
        assert!(
            (slope - jacobian[1][axis]).abs() < 1e-5,
            "axis {axis}: {slope} {:?}",
            jacobian[1]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A saved state may come from a file: any bytes are either refused or lead to a world that
    /// still answers, never to a crash.
    #[test]
    fn any_state_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), right_size: bool) {
        let mut world = world(SERVOS);
        if right_size {
            bytes.resize(world.save().to_bytes().len(), 0);
        }
        if let Some(state) = State::from_bytes(&bytes) {
            let _ = world.restore(&state).and_then(|()| world.step(2));
        }
        world.reset().unwrap();
        world.step(2).unwrap();
    }
}
