use super::*;
use proptest::prelude::*;

const MS: Nanos = 1_000_000;

fn limits(joints: usize) -> SafetyLimits {
    vec![
        JointLimits {
            min_rad: -1.0,
            max_rad: 2.0,
            max_velocity: 3.0,
            max_step_rad: 0.05
        };
        joints
    ]
}

fn comply_config() -> SafetyConfig {
    let ms = Duration::from_millis;
    SafetyConfig {
        ttl: ms(20),
        on_starve: OnStarve::HoldThenComply {
            hold: ms(50),
            ramp: ms(100),
        },
        ..SafetyConfig::holding(limits(2))
    }
}

fn state(positions: &[f64]) -> JointState {
    let mut state = JointState {
        seq: 1,
        len: positions.len(),
        ..JointState::default()
    };
    state.position[..positions.len()].copy_from_slice(positions);
    state
}

fn target(positions: &[f64], issued_ns: Nanos) -> JointTarget {
    let target = JointTarget::from_positions(positions).expect("few joints");
    JointTarget {
        seq: 1,
        issued_ns,
        ..target
    }
}

/// A filter and its output, stepped by hand.
struct Rig {
    filter: SafetyFilter,
    estop: EStop,
    out: JointTarget,
}

impl Rig {
    fn new(config: SafetyConfig) -> Self {
        let estop = EStop::new();
        Self {
            filter: SafetyFilter::new(config, estop.clone()),
            estop,
            out: JointTarget::default(),
        }
    }

    fn step(&mut self, target: &JointTarget, state: &JointState, now: Nanos) -> Verdict {
        self.filter.apply(target, state, now, &mut self.out)
    }
}

#[test]
fn motion_starts_where_the_arm_is_and_keeps_to_the_speed() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.5, 0.0]);
    assert_eq!(
        rig.step(&target(&[1.0, 0.0], 0), &measured, 0),
        Verdict::Follow
    );
    assert_eq!(rig.out.positions(), [0.5, 0.0]);
    rig.step(&target(&[1.0, 0.0], 10 * MS), &measured, 10 * MS);
    assert!(
        (rig.out.position[0] - 0.53).abs() < 1e-12,
        "3 rad/s for 10 ms is 0.03 rad"
    );
    assert_eq!(rig.filter.counters().velocity_limited, 2);
}

#[test]
fn a_stall_is_not_followed_by_a_leap() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.0, 0.0]);
    rig.step(&target(&[2.0, 0.0], 0), &measured, 0);
    rig.step(&target(&[2.0, 0.0], 5000 * MS), &measured, 5000 * MS);
    assert_eq!(rig.out.position[0], 0.05);
    assert_eq!(rig.filter.counters().step_limited, 1);
}

#[test]
fn nothing_is_sent_before_there_is_a_state() {
    let mut rig = Rig::new(comply_config());
    assert_eq!(
        rig.step(&target(&[1.0, 1.0], 0), &JointState::default(), 0),
        Verdict::Wait
    );
}

#[test]
fn an_arm_that_reports_nonsense_is_not_driven() {
    let mut rig = Rig::new(comply_config());
    for nonsense in [f64::NAN, f64::INFINITY, f64::MAX, -100.0] {
        let verdict = rig.step(&target(&[0.0, 0.0], 0), &state(&[0.0, nonsense]), 0);
        assert_eq!(verdict, Verdict::Wait);
    }
    assert_eq!(rig.filter.counters().no_anchor, 4);
}

#[test]
fn starving_holds_then_yields_then_complies_and_stays_so() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.5, 0.0]);
    let last = target(&[0.6, 0.0], 0);
    rig.step(&last, &measured, 0);
    rig.step(&last, &measured, 20 * MS);
    let held = rig.out.position[0];
    // The target expires after 20 ms; the watchdog runs from the first cycle that sees it expired.
    assert_eq!(
        rig.step(&last, &measured, 21 * MS),
        Verdict::Hold(SafetyCause::Starved)
    );
    assert_eq!(
        rig.step(&last, &measured, 70 * MS),
        Verdict::Hold(SafetyCause::Starved)
    );
    assert_eq!(rig.out.position[0], held);
    assert_eq!(
        rig.step(&last, &measured, 121 * MS),
        Verdict::Yield(SafetyCause::Starved)
    );
    assert!(rig.out.position[0] < held && rig.out.position[0] > 0.5);
    assert_eq!(
        rig.step(&last, &measured, 171 * MS),
        Verdict::Comply(SafetyCause::Starved)
    );
    let fresh = target(&[0.6, 0.0], 180 * MS);
    assert_eq!(
        rig.step(&fresh, &measured, 180 * MS),
        Verdict::Comply(SafetyCause::Starved)
    );
    rig.estop.reset();
    let moved = state(&[-0.9, 0.1]);
    assert_eq!(rig.step(&fresh, &moved, 181 * MS), Verdict::Follow);
    assert_eq!(
        rig.out.positions(),
        [-0.9, 0.1],
        "it goes on from where it is now"
    );
    assert_eq!(rig.filter.counters().starvations, 1);
}

#[test]
fn a_fresh_target_ends_the_hold() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.0, 0.0]);
    rig.step(&target(&[0.0, 0.0], 0), &measured, 0);
    assert_eq!(
        rig.step(&target(&[0.0, 0.0], 0), &measured, 40 * MS),
        Verdict::Hold(SafetyCause::Starved)
    );
    assert_eq!(
        rig.step(&target(&[0.0, 0.0], 41 * MS), &measured, 41 * MS),
        Verdict::Follow
    );
}

#[test]
fn refused_targets_count_as_none() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.0, 0.0]);
    let bad = [
        target(&[f64::NAN, 0.0], MS),
        target(&[0.0, f64::INFINITY], MS),
        target(&[0.0], MS),
        target(&[0.0, 0.0], u64::MAX),
    ];
    for bad in bad {
        assert_eq!(
            rig.step(&bad, &measured, MS),
            Verdict::Hold(SafetyCause::Starved)
        );
        assert_eq!(rig.out.positions(), [0.0, 0.0]);
    }
    let counters = rig.filter.counters();
    assert_eq!(
        (
            counters.not_finite,
            counters.wrong_length,
            counters.from_future
        ),
        (2, 1, 1)
    );
}

#[test]
fn estop_holds_until_reset() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.0, 0.0]);
    rig.step(&target(&[0.0, 0.0], 0), &measured, 0);
    rig.estop.trip(EStopReason::Key);
    for ms in [1, 2, 500] {
        let fresh = target(&[1.0, 1.0], ms * MS);
        assert_eq!(
            rig.step(&fresh, &measured, ms * MS),
            Verdict::Hold(SafetyCause::EStop)
        );
        assert_eq!(rig.out.positions(), [0.0, 0.0]);
    }
    rig.estop.reset();
    assert_eq!(
        rig.step(&target(&[1.0, 1.0], 501 * MS), &measured, 501 * MS),
        Verdict::Follow
    );
    assert_eq!(rig.filter.counters().estops, 1);
}

#[test]
fn estop_may_switch_torque_off() {
    let mut rig = Rig::new(SafetyConfig {
        on_estop: OnEStop::Comply,
        ..comply_config()
    });
    rig.estop.trip(EStopReason::Topic);
    let verdict = rig.step(&JointTarget::default(), &JointState::default(), 0);
    assert_eq!(
        verdict,
        Verdict::Comply(SafetyCause::EStop),
        "even before the first state"
    );
}

fn alarmed(joint: usize) -> JointState {
    let mut state = state(&[0.0, 0.0]);
    state.fault[joint] = JointFault::Alarm(0x20);
    state
}

#[test]
fn an_alarm_holds_its_joint_only() {
    let mut rig = Rig::new(comply_config());
    rig.step(&target(&[0.0, 0.0], 0), &state(&[0.0, 0.0]), 0);
    let mut silent = alarmed(1);
    assert_eq!(
        rig.step(&target(&[0.01, 0.01], 10 * MS), &silent, 10 * MS),
        Verdict::Follow
    );
    assert_eq!(rig.out.positions(), [0.01, 0.0]);
    silent.fault[1] = JointFault::Timeout;
    rig.step(&target(&[0.02, 0.01], 20 * MS), &silent, 20 * MS);
    assert_eq!(
        rig.out.positions(),
        [0.02, 0.0],
        "silence does not end an alarm"
    );
    rig.step(
        &target(&[0.02, 0.01], 30 * MS),
        &state(&[0.0, 0.0]),
        30 * MS,
    );
    assert_eq!(rig.out.positions(), [0.02, 0.01]);
    assert_eq!(rig.filter.counters().alarms[..2], [0, 1]);
}

#[test]
fn an_alarm_may_hold_or_release_the_arm() {
    for (on_alarm, expected) in [
        (OnAlarm::Report, Verdict::Follow),
        (OnAlarm::HoldAll, Verdict::Hold(SafetyCause::Alarm)),
        (OnAlarm::Comply, Verdict::Comply(SafetyCause::Alarm)),
    ] {
        let mut rig = Rig::new(SafetyConfig {
            on_alarm,
            ..comply_config()
        });
        assert_eq!(rig.step(&target(&[0.0, 0.0], 0), &alarmed(0), 0), expected);
        let after = rig.step(&target(&[0.0, 0.0], MS), &state(&[0.0, 0.0]), MS);
        let latched = on_alarm == OnAlarm::Comply;
        assert_eq!(after, if latched { expected } else { Verdict::Follow });
    }
}

#[test]
fn a_failed_write_does_not_move_the_anchor() {
    let mut rig = Rig::new(comply_config());
    let measured = state(&[0.0, 0.0]);
    rig.step(&target(&[0.0, 0.0], 0), &measured, 0);
    rig.step(&target(&[1.0, 0.0], 10 * MS), &measured, 10 * MS);
    rig.filter.not_sent();
    assert_eq!(rig.filter.sent(), Some(&[0.0, 0.0][..]));
}

#[test]
fn a_joint_outside_its_limits_is_led_back() {
    let mut rig = Rig::new(comply_config());
    let outside = state(&[2.5, 0.0]);
    let mut last = f64::INFINITY;
    for cycle in 0..40 {
        let now = cycle * 10 * MS;
        rig.step(&target(&[3.0, 0.0], now), &outside, now);
        assert!(rig.out.position[0] <= last);
        last = rig.out.position[0];
    }
    assert_eq!(last, 2.0);
}

#[test]
fn senseless_limits_are_named() {
    for (min_rad, max_rad, max_velocity, max_step_rad) in [
        (1.0, 0.0, 1.0, 1.0),
        (f64::NAN, 0.0, 1.0, 1.0),
        (0.0, 1.0, 0.0, 1.0),
        (0.0, 1.0, 1.0, f64::INFINITY),
    ] {
        let mut limits = limits(3);
        limits[2] = JointLimits {
            min_rad,
            max_rad,
            max_velocity,
            max_step_rad,
        };
        assert_eq!(
            SafetyConfig::holding(limits)
                .problem()
                .map(|(joint, _)| joint),
            Some(2)
        );
    }
    assert_eq!(SafetyConfig::holding(limits(3)).problem(), None);
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -3.0..3.0f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MAX)
    ]
}

fn any_fault() -> impl Strategy<Value = JointFault> {
    prop_oneof![
        4 => Just(JointFault::None),
        1 => Just(JointFault::Timeout),
        1 => any::<u8>().prop_map(JointFault::Alarm)
    ]
}

/// One cycle's inputs: goals, measurement, fault, length, time step, target age, e-stop action.
type Cycle = ([f64; 2], [f64; 2], JointFault, usize, u64, u64, u8);

fn any_cycle() -> impl Strategy<Value = Cycle> {
    let goal = [anything(), anything()];
    let measured = [anything(), anything()];
    (
        goal,
        measured,
        any_fault(),
        0usize..4,
        0u64..60_000_000,
        0u64..40_000_000,
        0u8..20,
    )
}

fn any_config() -> impl Strategy<Value = SafetyConfig> {
    let starve = prop_oneof![Just(OnStarve::Hold), Just(comply_config().on_starve)];
    let alarm = prop_oneof![
        Just(OnAlarm::Report),
        Just(OnAlarm::HoldJoint),
        Just(OnAlarm::HoldAll),
        Just(OnAlarm::ReleaseJoint)
    ];
    (starve, alarm).prop_map(|(on_starve, on_alarm)| SafetyConfig {
        on_starve,
        on_alarm,
        ..comply_config()
    })
}

proptest! {
    #[test]
    fn output_is_finite_inside_limits_and_within_speed(
        config in any_config(),
        start in -1.5..2.5f64,
        cycles in prop::collection::vec(any_cycle(), 1..80),
    ) {
        let mut rig = Rig::new(config);
        let mut now = 0;
        rig.step(&JointTarget::default(), &state(&[start, start]), now);
        let mut last = Some((rig.out, now));
        for (goal, measured, fault, len, dt, age, action) in cycles {
            now += dt;
            match action {
                0 => rig.estop.trip(EStopReason::Program),
                1 => rig.estop.reset(),
                _ => {}
            }
            let wanted = JointTarget { len: len.min(3), ..target(&goal, now.saturating_sub(age)) };
            let mut seen = state(&measured);
            seen.fault[0] = fault;
            let verdict = rig.step(&wanted, &seen, now);
            prop_assert!(rig.out.position.iter().all(|p| p.is_finite()));
            let sent = !matches!(verdict, Verdict::Wait | Verdict::Comply(_));
            if let (true, Some((before, then))) = (sent && action != 1, last) {
                let seconds = (now - then) as f64 * 1e-9;
                for joint in 0..2 {
                    let (before, after) = (before.position[joint], rig.out.position[joint]);
                    let step = (after - before).abs();
                    prop_assert!(after >= before.min(-1.0) && after <= before.max(2.0), "{before} -> {after}");
                    prop_assert!(step <= (3.0 * seconds).min(0.05) + 1e-12, "{step} in {seconds} s");
                }
            }
            last = sent.then_some((rig.out, now));
        }
    }
}
