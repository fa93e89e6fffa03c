//! The robot on top of the bus: start-up checks, units, torque, and joints that come and go.

mod feetech_support;

use feetech_support::FakeBus;
use sinew_drivers::DriverError;
use sinew_drivers::feetech::registers::{self as reg, Register};
use sinew_drivers::feetech::{
    BusOptions, CalibrationPolicy, FeetechBus, FeetechRobot, JointSpec, ReadMode, RobotOptions,
};
use sinew_runtime::{JointFault, JointState, JointTarget, Robot, RobotError};
use std::time::Duration;

/// A healthy servo never makes the driver wait this long, so patience costs nothing and a starved
/// test machine is not taken for a silent bus.
const PATIENT: BusOptions = BusOptions {
    baud: 1_000_000,
    reply_margin: Duration::from_secs(2),
    op_timeout: Duration::from_secs(2),
    retries: 1,
    look: Duration::ZERO,
};
/// For tests in which servos are silent.
const QUICK: BusOptions = BusOptions {
    reply_margin: Duration::from_millis(100),
    op_timeout: Duration::from_millis(100),
    ..PATIENT
};

fn options() -> RobotOptions {
    RobotOptions {
        cycle_budget: Duration::from_secs(4),
        ..RobotOptions::default()
    }
}

fn try_connect(
    fake: &FakeBus,
    specs: Vec<JointSpec>,
    options: RobotOptions,
) -> Result<FeetechRobot, DriverError> {
    FeetechRobot::connect(
        FeetechBus::open(&fake.path, PATIENT).unwrap(),
        specs,
        options,
    )
}

fn connect(fake: &FakeBus) -> FeetechRobot {
    try_connect(fake, JointSpec::so101(), options()).unwrap()
}

fn connect_quick(fake: &FakeBus) -> FeetechRobot {
    let bus = FeetechBus::open(&fake.path, QUICK).unwrap();
    FeetechRobot::connect(bus, JointSpec::so101(), options()).unwrap()
}

fn read(robot: &mut FeetechRobot) -> JointState {
    let mut state = JointState::default();
    robot.read(&mut state).unwrap();
    state
}

#[test]
fn start_up_configures_like_lerobot_and_only_once() {
    let fake = FakeBus::new(6);
    drop(connect(&fake));
    for id in 1..=6 {
        let expected: [(&Register, i32); 8] = [
            (&reg::RETURN_DELAY_TIME, 0),
            (&reg::P_COEFFICIENT, 16),
            (&reg::I_COEFFICIENT, 0),
            (&reg::D_COEFFICIENT, 32),
            (&reg::OPERATING_MODE, 0),
            (&reg::ACCELERATION, 254),
            (&reg::MAXIMUM_ACCELERATION, 254),
            (&reg::MAX_TORQUE_LIMIT, if id == 6 { 500 } else { 1000 }),
        ];
        for (register, value) in expected {
            assert_eq!(
                fake.get(id, register),
                value,
                "{} of servo {id}",
                register.name
            );
        }
    }
    assert_eq!(
        (
            fake.get(6, &reg::PROTECTION_CURRENT),
            fake.get(6, &reg::OVERLOAD_TORQUE)
        ),
        (250, 25)
    );
    let before = fake.state.lock().unwrap().requests;
    drop(connect(&fake));
    // One echo probe, six pings, six tables, and two or three registers behind the table each.
    assert_eq!(
        fake.state.lock().unwrap().requests - before,
        1 + 6 + 6 + 6 * 2 + 1
    );
}

#[test]
fn missing_servos_are_all_named() {
    let fake = FakeBus::new(4);
    let bus = FeetechBus::open(&fake.path, QUICK).unwrap();
    let error = FeetechRobot::connect(bus, JointSpec::so101(), options())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("wrist_roll (id 5), gripper (id 6)") && error.contains("found 4 of 6"),
        "{error}"
    );
}

#[test]
fn a_foreign_model_is_refused() {
    let fake = FakeBus::new(6);
    fake.set(3, &reg::MODEL_NUMBER, 2825);
    let error = try_connect(&fake, JointSpec::so101(), options())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("elbow_flex (id 3)") && error.contains("2825") && error.contains("777"),
        "{error}"
    );
}

#[test]
fn mixed_firmware_is_refused() {
    let fake = FakeBus::new(6);
    fake.set(2, &reg::FIRMWARE_MINOR, 9);
    let error = try_connect(&fake, JointSpec::so101(), options())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("shoulder_lift 3.9") && error.contains("gripper 3.10"),
        "{error}"
    );
}

#[test]
fn another_calibration_is_refused_written_or_ignored_as_asked() {
    let fake = FakeBus::new(6);
    let mut specs = JointSpec::so101();
    (
        specs[0].homing_offset,
        specs[0].range_min,
        specs[0].range_max,
    ) = (-1470, 758, 3292);
    let error = try_connect(&fake, specs.clone(), options())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("shoulder_pan (id 1)") && error.contains("Homing_Offset"),
        "{error}"
    );
    let ignore = RobotOptions {
        calibration: CalibrationPolicy::Ignore,
        ..options()
    };
    drop(try_connect(&fake, specs.clone(), ignore).unwrap());
    assert_eq!(fake.get(1, &reg::HOMING_OFFSET), 0);
    let write = RobotOptions {
        calibration: CalibrationPolicy::Write,
        ..options()
    };
    drop(try_connect(&fake, specs.clone(), write).unwrap());
    assert_eq!(
        (
            fake.get(1, &reg::HOMING_OFFSET),
            fake.get(1, &reg::MAX_POSITION_LIMIT)
        ),
        (-1470, 3292)
    );
    try_connect(&fake, specs, options()).unwrap();
}

#[test]
fn state_is_in_radians_and_newton_metres() {
    let fake = FakeBus::new(6);
    let mut specs = JointSpec::so101();
    specs[1].stall_torque_nm = 2.0;
    fake.set(2, &reg::PRESENT_VELOCITY, -100);
    fake.set(2, &reg::PRESENT_LOAD, -250);
    let mut robot = try_connect(&fake, specs.clone(), options()).unwrap();
    let state = read(&mut robot);
    assert_eq!((state.seq, state.len), (1, 6));
    assert!(state.captured_ns > 0);
    for (i, spec) in specs.iter().enumerate() {
        assert_eq!(state.position[i], spec.rad(2001 + i as i32));
        assert_eq!(state.fault[i], JointFault::None);
    }
    let unit = std::f64::consts::TAU / 4095.0;
    assert!((state.velocity[1] + 100.0 * unit).abs() < 1e-12);
    assert_eq!(state.effort[1], -0.5);
}

#[test]
fn position_only_reads_two_bytes_a_servo() {
    let fake = FakeBus::new(6);
    let mut robot = try_connect(
        &fake,
        JointSpec::so101(),
        RobotOptions {
            read: ReadMode::Position,
            ..options()
        },
    )
    .unwrap();
    let before = robot.stats().rx_bytes;
    let state = read(&mut robot);
    assert_eq!(robot.stats().rx_bytes - before, 48);
    assert_eq!(state.position[5], JointSpec::new("gripper", 6).rad(2006));
}

#[test]
fn goals_are_written_and_held_inside_the_range() {
    let fake = FakeBus::new(6);
    let mut robot = connect(&fake);
    let target = JointTarget::from_positions(&[0.1, -0.1, 0.0, 99.0, -99.0, 0.5]).unwrap();
    robot.write(&target).unwrap();
    read(&mut robot); // the fake serves in order, so the write has arrived
    let goals: Vec<_> = (1..=6)
        .map(|id| fake.get(id, &reg::GOAL_POSITION))
        .collect();
    let spec = JointSpec::new("j", 1);
    assert_eq!(
        goals,
        [
            spec.ticks(0.1),
            spec.ticks(-0.1),
            spec.ticks(0.0),
            4095,
            0,
            spec.ticks(0.5)
        ]
    );
}

#[test]
fn a_target_that_is_not_a_number_is_refused_by_name() {
    let fake = FakeBus::new(6);
    let mut robot = connect(&fake);
    let target = JointTarget::from_positions(&[0.0, f64::NAN, 0.0, 0.0, 0.0, 0.0]).unwrap();
    let error = robot.write(&target).unwrap_err();
    assert!(
        matches!(&error, RobotError::Joint { joint, id: 2, .. } if joint == "shoulder_lift"),
        "{error}"
    );
    assert!(
        robot
            .write(&JointTarget::from_positions(&[0.0; 5]).unwrap())
            .is_err()
    );
}

#[test]
fn torque_on_holds_where_the_joints_are() {
    let fake = FakeBus::new(6);
    let mut robot = connect(&fake);
    for id in 1..=6 {
        fake.set(id, &reg::GOAL_POSITION, 100);
    }
    robot.set_torque(true).unwrap();
    for id in 1..=6u8 {
        assert_eq!(fake.get(id, &reg::GOAL_POSITION), 2000 + i32::from(id));
        assert_eq!(
            (fake.get(id, &reg::TORQUE_ENABLE), fake.get(id, &reg::LOCK)),
            (1, 1)
        );
    }
    robot.set_torque(false).unwrap();
    assert!(
        (1..=6).all(|id| fake.get(id, &reg::TORQUE_ENABLE) == 0 && fake.get(id, &reg::LOCK) == 0)
    );
}

#[test]
fn torque_off_reaches_the_others_when_one_is_silent() {
    let fake = FakeBus::new(6);
    let mut robot = connect_quick(&fake);
    robot.set_torque(true).unwrap();
    fake.sabotage(|id, _, reply| if id == 2 { vec![] } else { reply });
    let error = robot.set_torque(false).unwrap_err();
    assert!(
        matches!(&error, RobotError::Joint { joint, .. } if joint == "shoulder_lift"),
        "{error}"
    );
    assert!(
        [1, 3, 4, 5, 6]
            .iter()
            .all(|id| fake.get(*id, &reg::TORQUE_ENABLE) == 0)
    );
}

#[test]
fn alarms_surface_beside_fresh_values() {
    let fake = FakeBus::new(6);
    let mut robot = connect(&fake);
    fake.state.lock().unwrap().alarms.insert(4, 32);
    let state = read(&mut robot);
    assert_eq!(state.fault[3], JointFault::Alarm(32));
    assert!(state.fault[3].is_fresh());
}

#[test]
fn a_released_joint_is_off_alone_and_takes_no_goals() {
    let fake = FakeBus::new(6);
    let mut robot = connect(&fake);
    robot.set_torque(true).unwrap();
    let mut target = JointTarget::from_positions(&[0.0; 6]).unwrap();
    robot.write(&target).unwrap();
    robot.release(2).unwrap();
    let before = fake.get(3, &reg::GOAL_POSITION);
    let torque = |id| fake.get(id, &reg::TORQUE_ENABLE);
    assert_eq!([1, 2, 3, 4, 5, 6].map(torque), [1, 1, 0, 1, 1, 1]);
    target.position[..6].fill(0.2);
    robot.write(&target).unwrap();
    // Goals are not acknowledged; once a read is answered, they have arrived.
    read(&mut robot);
    assert_eq!(fake.get(3, &reg::GOAL_POSITION), before);
    assert_ne!(fake.get(4, &reg::GOAL_POSITION), before);
    robot.set_torque(true).unwrap();
    robot.write(&target).unwrap();
    read(&mut robot);
    assert_eq!(torque(3), 1);
    assert_ne!(fake.get(3, &reg::GOAL_POSITION), before);
    assert!(robot.release(6).is_err());
}

#[test]
fn an_absent_servo_keeps_its_last_value_and_comes_back() {
    let fake = FakeBus::new(6);
    let mut robot = connect_quick(&fake);
    let first = read(&mut robot);
    fake.sabotage(|id, _, reply| if id == 3 { vec![] } else { reply });
    fake.set(3, &reg::PRESENT_POSITION, 3000);
    for _ in 0..20 {
        let state = read(&mut robot);
        assert_eq!(
            (state.fault[2], state.position[2]),
            (JointFault::Timeout, first.position[2])
        );
        assert!(
            state
                .fault
                .iter()
                .enumerate()
                .all(|(i, fault)| i == 2 || *fault == JointFault::None)
        );
    }
    // Three full cycles with one retry each, then one probe in sixteen cycles.
    assert!(robot.stats().timeouts <= 3 * 2 + 2, "{:?}", robot.stats());
    fake.sabotage(|_, _, reply| reply);
    let back = (0..17)
        .map(|_| read(&mut robot))
        .find(|state| state.fault[2].is_fresh());
    assert_eq!(back.unwrap().position[2], JointSpec::new("j", 3).rad(3000));
}

#[test]
fn a_silent_bus_is_an_error_and_recovers() {
    let fake = FakeBus::new(6);
    let mut robot = connect_quick(&fake);
    fake.sabotage(|_, _, _| vec![]);
    let mut state = JointState::default();
    for _ in 0..5 {
        assert!(matches!(
            robot.read(&mut state),
            Err(RobotError::Silent { .. })
        ));
    }
    fake.sabotage(|_, _, reply| reply);
    assert!(
        read(&mut robot).fault[..6]
            .iter()
            .all(|fault| *fault == JointFault::None)
    );
}

#[test]
fn an_unplugged_robot_says_so() {
    let mut fake = FakeBus::new(6);
    let mut robot = connect(&fake);
    fake.unplug();
    let mut state = JointState::default();
    assert!(matches!(
        robot.read(&mut state),
        Err(RobotError::Disconnected { .. })
    ));
    assert!(matches!(
        robot.write(&JointTarget::from_positions(&[0.0; 6]).unwrap()),
        Err(RobotError::Disconnected { .. })
    ));
}
