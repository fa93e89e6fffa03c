//! The device thread: whatever ends it, the arm is left safe and the reason is named.

mod common;

use common::{FakeRobot, JOINTS, Running, device_config, safety, wait_for};
use sinew_runtime::device::{
    DeviceConfig, DeviceCore, DeviceError, Interpolation, OnStop, SafeOutcome,
};
use sinew_runtime::safety::{EStopReason, OnAlarm, OnEStop, OnStarve, SafetyConfig};
use sinew_runtime::{Clock, JointTarget, RobotError, SteppedClock, StopCause, StopToken};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const MS: u64 = 1_000_000;

fn target(position: f64, issued_ns: u64) -> JointTarget {
    let target = JointTarget::from_positions(&[position; JOINTS]).expect("few joints");
    JointTarget {
        seq: 1,
        issued_ns,
        ..target
    }
}

#[test]
fn an_orderly_stop_leaves_the_arm_limp() {
    let mut run = Running::start(device_config());
    run.drive_to(0.3);
    assert_eq!(run.knobs.torque.load(Ordering::Relaxed), 1);
    run.stop.request(StopCause::Requested);
    let report = run.thread.join().expect("an orderly end");
    assert_eq!(
        (report.left, run.knobs.torque.load(Ordering::Relaxed)),
        (SafeOutcome::Limp, 0)
    );
    assert_eq!(report.counters.reads, report.counters.pace.ticks);
}

#[test]
fn holding_keeps_torque_on() {
    let mut run = Running::start(DeviceConfig {
        on_stop: OnStop::Hold,
        ..device_config()
    });
    run.drive_to(0.3);
    run.stop.request(StopCause::Requested);
    assert_eq!(
        run.thread.join().expect("an orderly end").left,
        SafeOutcome::Holding
    );
    assert_eq!(run.knobs.torque.load(Ordering::Relaxed), 1);
}

#[test]
fn resting_moves_there_first_unless_told_to_hurry() {
    let rest = OnStop::Rest {
        pose: vec![-0.2; JOINTS],
        over: Duration::from_millis(100),
    };
    for immediate in [false, true] {
        let mut run = Running::start(DeviceConfig {
            on_stop: rest.clone(),
            ..device_config()
        });
        run.drive_to(0.3);
        if immediate {
            run.stop.request_immediate(StopCause::Signal);
        } else {
            run.stop.request(StopCause::Signal);
        }
        let report = run.thread.join().expect("an orderly end");
        let at = run.knobs.goals.lock().expect("not poisoned")[0];
        let expected = if immediate {
            (SafeOutcome::Limp, 0.3)
        } else {
            (SafeOutcome::Resting, -0.2)
        };
        assert_eq!(report.left, expected.0);
        assert!((at - expected.1).abs() < 1e-3, "{at}");
        assert_eq!(run.knobs.torque.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn an_unplugged_robot_ends_the_run_with_its_name() {
    let mut run = Running::start(device_config());
    run.drive_to(0.1);
    run.knobs.unplugged.store(true, Ordering::Relaxed);
    let failure = run.thread.join().expect_err("the robot is gone");
    let text = failure.to_string();
    assert!(matches!(
        failure.error,
        DeviceError::Robot {
            source: RobotError::Disconnected { .. },
            ..
        }
    ));
    assert!(
        text.contains("fake: connection lost") && text.contains("cut its power"),
        "{text}"
    );
    assert_eq!(run.stop.cause(), Some(StopCause::Device));
}

#[test]
fn a_short_silence_is_counted_and_survived() {
    let mut run = Running::start(DeviceConfig {
        max_failures: u32::MAX,
        ..device_config()
    });
    run.drive_to(0.1);
    run.knobs.silent.store(true, Ordering::Relaxed);
    let reads = run.knobs.reads.load(Ordering::Relaxed);
    wait_for(|| run.knobs.reads.load(Ordering::Relaxed) > reads + 5);
    run.knobs.silent.store(false, Ordering::Relaxed);
    run.drive_to(0.2);
    run.stop.request(StopCause::Requested);
    let counters = run.thread.join().expect("it recovered").counters;
    assert!(counters.bus_timeouts >= 5);
    assert_eq!(counters.reads + counters.read_failures, counters.pace.ticks);
}

#[test]
fn a_long_silence_ends_the_run() {
    let mut run = Running::start(DeviceConfig {
        max_failures: 7,
        ..device_config()
    });
    run.drive_to(0.1);
    run.knobs.silent.store(true, Ordering::Relaxed);
    let failure = run.thread.join().expect_err("nobody answers");
    assert!(
        failure.to_string().contains("no servo answered"),
        "{failure}"
    );
    assert!(failure.report.counters.bus_timeouts > 0);
}

#[test]
fn goals_that_nobody_takes_end_the_run_though_reads_succeed() {
    let mut run = Running::start(DeviceConfig {
        max_failures: 7,
        ..device_config()
    });
    run.drive_to(0.1);
    run.knobs.deaf.store(true, Ordering::Relaxed);
    let failure = run.thread.join().expect_err("nobody takes goals");
    assert!(
        failure.to_string().contains("8 cycles failed in a row"),
        "{failure}"
    );
    assert_eq!(failure.report.counters.write_failures, 8);
}

#[test]
fn a_dead_joint_is_named() {
    let mut run = Running::start(DeviceConfig {
        max_joint_failures: 10,
        ..device_config()
    });
    run.drive_to(0.1);
    run.knobs.joint_dead.store(true, Ordering::Relaxed);
    let failure = run.thread.join().expect_err("the elbow is dead");
    assert!(
        failure
            .to_string()
            .starts_with("elbow: no good answer for 11 cycles (no reply)"),
        "{failure}"
    );
    assert_eq!(
        failure.report.left,
        SafeOutcome::Limp,
        "the others could still be told"
    );
    assert_eq!(failure.report.counters.joint_timeouts[..3], [0, 11, 0]);
}

#[test]
fn a_panic_leaves_the_arm_limp() {
    let mut run = Running::start(device_config());
    run.drive_to(0.1);
    run.knobs.panics.store(true, Ordering::Relaxed);
    let failure = run.thread.join().expect_err("a defect");
    assert!(
        failure.to_string().contains("a defect in the driver"),
        "{failure}"
    );
    assert_eq!(
        (
            &failure.report.left,
            run.knobs.torque.load(Ordering::Relaxed)
        ),
        (&SafeOutcome::Limp, 0)
    );
    assert_eq!(run.stop.cause(), Some(StopCause::Device));
}

/// A core on a stepped clock, one cycle a millisecond.
struct Stepped {
    core: DeviceCore,
    targets: sinew_runtime::slot::SlotWriter<JointTarget>,
    knobs: Arc<common::Knobs>,
    clock: SteppedClock,
}

impl Stepped {
    fn new(config: DeviceConfig) -> Self {
        let (robot, knobs) = FakeRobot::new();
        let (mut core, targets) =
            DeviceCore::new(Box::new(robot), config).expect("sensible settings");
        let clock = SteppedClock::default();
        core.start(clock.now());
        Self {
            core,
            targets,
            knobs,
            clock,
        }
    }

    fn step(&mut self) -> f64 {
        self.clock.sleep_until(self.core.deadline());
        self.core.step(self.clock.now()).expect("no failure");
        self.core.end_step(self.clock.now());
        self.knobs.goals.lock().expect("not poisoned")[0]
    }

    fn torque(&self) -> i32 {
        self.knobs.torque.load(Ordering::Relaxed)
    }
}

#[test]
fn nothing_is_switched_on_before_the_first_target() {
    let mut run = Stepped::new(device_config());
    (0..1000).for_each(|_| _ = run.step());
    assert_eq!(
        (run.torque(), run.knobs.writes.load(Ordering::Relaxed)),
        (-1, 0)
    );
    let stop = StopToken::new();
    assert_eq!(
        run.core.make_safe(&run.clock, &stop, true),
        SafeOutcome::Limp
    );
}

#[test]
fn an_observed_arm_is_never_touched() {
    let mut run = Stepped::new(DeviceConfig {
        drive: false,
        ..device_config()
    });
    run.targets.publish(target(1.0, 0));
    (0..10).for_each(|_| _ = run.step());
    assert_eq!(
        run.core.make_safe(&run.clock, &StopToken::new(), true),
        SafeOutcome::Untouched
    );
    assert_eq!(
        (run.torque(), run.knobs.writes.load(Ordering::Relaxed)),
        (-1, 0)
    );
}

#[test]
fn an_alarm_releases_its_joint_alone_until_the_operator_takes_it_back() {
    let safety = SafetyConfig {
        on_alarm: OnAlarm::ReleaseJoint,
        alarm_mask: 0x20,
        ..safety()
    };
    let mut run = Stepped::new(DeviceConfig {
        safety,
        on_stop: OnStop::Rest {
            pose: vec![0.0; JOINTS],
            over: Duration::from_millis(50),
        },
        ..device_config()
    });
    let step = |run: &mut Stepped| {
        run.targets.publish(target(0.02, run.clock.now()));
        run.step();
        run.knobs.released.load(Ordering::Relaxed)
    };
    let alarm = |run: &Stepped, bits| run.knobs.alarm.store(bits, Ordering::Relaxed);
    assert_eq!(step(&mut run), 0);
    alarm(&run, 1);
    assert_eq!(step(&mut run), 0, "another alarm is counted only");
    alarm(&run, 0x20);
    assert_eq!((step(&mut run), run.torque()), (0b100, 1));
    alarm(&run, 0);
    assert_eq!(
        step(&mut run),
        0b100,
        "without torque an alarm goes by itself"
    );
    run.core.estop().reset();
    assert_eq!((step(&mut run), run.torque()), (0, 1));
    alarm(&run, 0x20);
    assert_eq!(step(&mut run), 0b100);
    let counters = run.core.counters().safety;
    assert_eq!(
        (counters.releases, &counters.alarms[..]),
        (2, &[0, 0, 2][..])
    );
    assert_eq!(
        run.core.make_safe(&run.clock, &StopToken::new(), true),
        SafeOutcome::Limp,
        "a joint that fell is not at rest"
    );
}

#[test]
fn the_watchdog_holds_then_switches_torque_off() {
    let ms = Duration::from_millis;
    let on_starve = OnStarve::HoldThenComply {
        hold: ms(50),
        ramp: ms(20),
    };
    let safety = SafetyConfig {
        ttl: ms(10),
        on_starve,
        ..safety()
    };
    let mut run = Stepped::new(DeviceConfig {
        safety,
        ..device_config()
    });
    run.targets.publish(target(0.02, 0));
    (0..20).for_each(|_| _ = run.step());
    assert_eq!(run.torque(), 1);
    (0..40).for_each(|_| _ = run.step());
    assert_eq!(
        run.torque(),
        1,
        "60 ms after the last target it still holds"
    );
    (0..25).for_each(|_| _ = run.step());
    assert_eq!(run.torque(), 0);
    let safety = run.core.counters().safety;
    assert_eq!(
        (safety.starvations, safety.held, safety.yielded),
        (1, 50, 20)
    );
    run.targets.publish(target(0.02, run.clock.now()));
    run.step();
    assert_eq!(run.torque(), 0, "a limp arm does not wake by itself");
    run.core.estop().reset();
    run.step();
    assert_eq!(run.torque(), 1);
}

#[test]
fn the_emergency_stop_acts_within_a_cycle() {
    for (on_estop, torque) in [(OnEStop::Hold, 1), (OnEStop::Comply, 0)] {
        let safety = SafetyConfig {
            on_estop,
            ..safety()
        };
        let mut run = Stepped::new(DeviceConfig {
            safety,
            ..device_config()
        });
        run.targets.publish(target(1.0, 0));
        (0..20).for_each(|_| _ = run.step());
        run.core.estop().trip(EStopReason::Key);
        let at = run.knobs.goals.lock().expect("not poisoned")[0];
        assert_eq!((run.step(), run.step()), (at, at));
        assert_eq!(run.torque(), torque);
    }
}

#[test]
fn targets_of_a_slower_loop_become_a_line() {
    let interpolation = Interpolation::Linear(Duration::from_millis(4));
    let mut run = Stepped::new(DeviceConfig {
        interpolation,
        ..device_config()
    });
    run.targets.publish(target(0.0, 0));
    run.step();
    run.targets.publish(target(0.02, 0));
    let path: Vec<i64> = (0..5).map(|_| (run.step() * 1e6).round() as i64).collect();
    assert_eq!(path, [5000, 10_000, 15_000, 20_000, 20_000]);
}

#[test]
fn a_slow_robot_misses_no_tick_uncounted() {
    let clock = Arc::new(SteppedClock::default());
    let (mut robot, _) = FakeRobot::new();
    let slow = clock.clone();
    // 0, 0.37, 0.74 … 5.55 ms of work in a cycle of 1 ms.
    robot.on_read = Box::new(move |read| slow.advance(read % 16 * 370_000));
    let (mut core, _targets) =
        DeviceCore::new(Box::new(robot), device_config()).expect("sensible settings");
    core.start(clock.now());
    for _ in 0..5000 {
        clock.sleep_until(core.deadline());
        core.step(clock.now()).expect("no failure");
        core.end_step(clock.now());
    }
    let pace = core.counters().pace;
    assert_eq!(pace.ticks, 5000);
    assert_eq!(
        pace.ticks + pace.skipped,
        core.deadline() / MS,
        "every deadline is accounted for"
    );
    assert!(pace.late > 1000 && pace.skipped > 1000, "{pace:?}");
    let report = core.report(SafeOutcome::Untouched);
    assert!((report.stats.work.max_us - 5550.0).abs() < 1.0);
}

#[test]
fn senseless_settings_are_refused_by_name() {
    let refuse = |config: DeviceConfig| {
        let (robot, _) = FakeRobot::new();
        DeviceCore::new(Box::new(robot), config)
            .expect_err("senseless")
            .to_string()
    };
    let mut limits = safety();
    limits.limits[2].max_velocity = f64::NAN;
    assert!(
        refuse(DeviceConfig {
            safety: limits,
            ..device_config()
        })
        .contains("wrist: the highest speed")
    );
    let few = SafetyConfig {
        limits: vec![],
        ..safety()
    };
    assert!(
        refuse(DeviceConfig {
            safety: few,
            ..device_config()
        })
        .contains("3 joints, but limits for 0")
    );
    let on_stop = OnStop::Rest {
        pose: vec![0.0],
        over: Duration::ZERO,
    };
    assert!(
        refuse(DeviceConfig {
            on_stop,
            ..device_config()
        })
        .contains("rest pose for 1")
    );
    assert!(
        refuse(DeviceConfig {
            period: Duration::ZERO,
            ..device_config()
        })
        .contains("period")
    );
}

#[test]
fn state_and_telemetry_reach_their_readers() {
    let (robot, _) = FakeRobot::new();
    let (mut core, _targets) =
        DeviceCore::new(Box::new(robot), device_config()).expect("sensible settings");
    let (mut newest, mut every, mut telemetry) = (core.subscribe(), core.tap(8), core.telemetry());
    core.start(0);
    for tick in 0..1001 {
        core.step(tick * MS).expect("no failure");
        core.end_step(tick * MS);
    }
    assert_eq!(
        (newest.latest().seq, newest.latest().captured_ns),
        (1001, 1000 * MS)
    );
    assert_eq!(
        (
            every.len(),
            every.dropped(),
            every.pop().map(|state| state.seq)
        ),
        (8, 993, Some(1))
    );
    assert_eq!(telemetry.latest().counters.reads, 1001);
    assert_eq!(telemetry.get().stats.period.count(), 1000);
}
