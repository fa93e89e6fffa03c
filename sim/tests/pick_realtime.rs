//! The simulated hardware as a driver and another process see it: servo bus on a
//! pseudo-terminal, cameras, link. Runs at wall time, but asserts none.

use sinew_drivers::feetech::bus::{BusOptions, FeetechBus};
use sinew_drivers::feetech::joint::{JointSpec, Protection};
use sinew_drivers::feetech::robot::{FeetechRobot, RobotOptions};
use sinew_hardware::{Blueprint, Calibration};
use sinew_runtime::{Clock, JointState, JointTarget, MonotonicClock, Robot};
use sinew_sim::pick::{
    CAMERAS, DOF, LinkClient, PickError, ScriptedPick, SimConfig, SimServer, TaskState,
};
use std::path::Path;
use std::time::Duration;

const CONTROL_PERIOD_NS: u64 = 33_333_333;
/// Far more than an episode needs; only a hang gets there.
const MOST_TICKS: usize = 3000;

/// The driver, and what each joint's angle is off by from the model's (a driver that does not
/// know the blueprint's centres counts from the middle of the range).
struct Arm {
    robot: FeetechRobot,
    offset: [f64; DOF],
    last: JointState,
    /// Cycles without any answer, for example because the machine ran something else.
    silent: u32,
}

impl Arm {
    fn connect(device: &Path) -> Self {
        let blueprint = Blueprint::load("so101").unwrap();
        let calibration = Calibration::from_blueprint(&blueprint).unwrap();
        let specs: Vec<_> = blueprint
            .joints
            .iter()
            .map(|joint| {
                let c = calibration.get(&joint.name).unwrap();
                JointSpec {
                    homing_offset: c.homing_offset,
                    range_min: c.range_min,
                    range_max: c.range_max,
                    protection: (joint.name == "gripper").then_some(Protection::GRIPPER),
                    ..JointSpec::new(joint.name.clone(), c.id)
                }
            })
            .collect();
        let offset = std::array::from_fn(|i| {
            let spec = &specs[i];
            blueprint.joints[i].center_rad
                - (spec.rad(spec.range_min) + spec.rad(spec.range_max)) / 2.0
        });
        let bus = FeetechBus::open(device.to_str().unwrap(), BusOptions::default()).unwrap();
        let options = RobotOptions {
            cycle_budget: Duration::from_millis(50),
            ..RobotOptions::default()
        };
        let robot = FeetechRobot::connect(bus, specs, options).unwrap();
        let mut arm = Self {
            robot,
            offset,
            last: JointState::default(),
            silent: 0,
        };
        // What comes later may fall back on this first measurement.
        arm.robot.read(&mut arm.last).unwrap();
        arm
    }

    fn read(&mut self) -> [f64; DOF] {
        if self.robot.read(&mut self.last).is_err() {
            self.silent += 1;
        }
        std::array::from_fn(|i| self.last.position[i] + self.offset[i])
    }

    fn write(&mut self, target: &[f64; DOF]) {
        let goal: [f64; DOF] = std::array::from_fn(|i| target[i] - self.offset[i]);
        self.robot
            .write(&JointTarget::from_positions(&goal).unwrap())
            .unwrap();
    }
}

/// One episode at 30 Hz of wall time (`speed` times faster in the simulation).
fn episode(
    arm: &mut Arm,
    mut operator: ScriptedPick,
    speed: f64,
    state: impl Fn() -> TaskState,
) -> u32 {
    let clock = MonotonicClock;
    let start = clock.now();
    let mut due = start;
    for _ in 0..MOST_TICKS {
        let now_s = (clock.now() - start) as f64 * 1e-9 * speed;
        let target = operator.tick(now_s, &arm.read(), &state()).unwrap();
        if operator.is_done() {
            return operator.attempts();
        }
        arm.write(&target);
        due += CONTROL_PERIOD_NS;
        clock.sleep_until(due);
    }
    panic!(
        "the operator never finished; last seen in {:?}",
        operator.phase()
    );
}

#[test]
fn an_episode_succeeds_through_the_emulated_bus() {
    let server = SimServer::start(&SimConfig {
        seed: 4,
        ..SimConfig::default()
    })
    .unwrap();
    let mut arm = Arm::connect(&server.device());
    arm.robot.set_torque(true).unwrap();
    assert!(!server.success().unwrap());
    let attempts = episode(&mut arm, server.operator(), 1.0, || {
        server.task_state().unwrap()
    });
    let state = server.task_state().unwrap();
    println!(
        "{} silent cycles, {:?}; attempts {attempts}, simulated {:.2} s, {:.1} mm from the zone",
        arm.silent,
        arm.robot.stats(),
        state.time_s,
        1e3 * state.distance_to_zone()
    );
    for camera in server.cameras() {
        let frame = camera.latest().unwrap();
        println!("{}: {} frames", camera.info().name, frame.seq);
        assert!(
            frame.data.iter().any(|p| *p != frame.data[0]),
            "{} shows nothing",
            camera.info().name
        );
    }
    assert!(state.success, "{state:?}");

    // The next episode starts without moving the arm.
    let before = arm.read();
    let next = server.reset(5).unwrap();
    assert_eq!((next.seed, next.success), (5, false));
    for (a, b) in arm.read().iter().zip(before) {
        assert!((a - b).abs() < 0.02);
    }
    server.stop().unwrap();
}

#[test]
fn another_process_sees_frames_and_state_and_can_reset() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("pick.link");
    let port = dir.path().join("arm");
    let config = SimConfig {
        seed: 1,
        socket: Some(socket.clone()),
        port_link: Some(port.clone()),
        ..SimConfig::default()
    };
    let server = SimServer::start(&config).unwrap();
    assert!(
        SimServer::start(&config).is_err(),
        "a second simulator took the first one's socket"
    );
    let client = LinkClient::connect(&socket).unwrap();
    assert_eq!(client.device(), port);
    let names: Vec<_> = client
        .cameras()
        .iter()
        .map(|c| c.info().name.clone())
        .collect();
    assert_eq!(names, CAMERAS);
    wait(|| {
        client.cameras().iter().all(|c| c.latest().is_some())
            && client.task_state().unwrap().is_some()
    });
    let frame = client.cameras()[0].latest().unwrap();
    assert_eq!(frame.data.len() as u32, 3 * frame.width * frame.height);
    client.reset(9).unwrap();
    wait(|| client.task_state().unwrap().is_some_and(|s| s.seed == 9));
    server.stop().unwrap();
    wait(|| client.check().is_err());
    assert!(matches!(client.reset(1), Err(PickError::Link { .. })));
    assert!(!socket.exists() && !port.exists());
}

#[test]
fn values_out_of_range_are_refused() {
    for config in [
        SimConfig {
            speed: 0.0,
            ..SimConfig::default()
        },
        SimConfig {
            speed: f64::NAN,
            ..SimConfig::default()
        },
        SimConfig {
            camera_fps: 1000,
            ..SimConfig::default()
        },
    ] {
        assert!(matches!(
            SimServer::start(&config),
            Err(PickError::Config { .. })
        ));
    }
}

/// Waits for something that happens soon; only a failure takes long.
fn wait(mut ready: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never happened");
}
