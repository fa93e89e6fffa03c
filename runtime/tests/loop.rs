//! The control loop, alone and in lockstep with a device.

mod common;

use common::{FakeRobot, JOINTS, device_config};
use sinew_runtime::actions::{
    ChunkBuf, Infer, InferenceError, InferenceThread, InlineInference, QueueConfig,
};
use sinew_runtime::control::{
    ActionOutcome, ActionSource, ControlConfig, ControlCore, ControlError, ControlThread, Flow,
    Observation, TickFlags,
};
use sinew_runtime::device::{DeviceCore, DeviceThread};
use sinew_runtime::lockstep::{LockstepError, LockstepReport, run_lockstep};
use sinew_runtime::rt::RtRequest;
use sinew_runtime::slot::slot;
use sinew_runtime::{
    Clock, Frame, JointState, JointTarget, MonotonicClock, SteppedClock, StopCause, StopToken,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MS: u64 = 1_000_000;

fn config(period_ms: u64) -> ControlConfig {
    ControlConfig {
        rt: RtRequest::NONE,
        ..ControlConfig::new(Duration::from_millis(period_ms))
    }
}

/// A loop without a device, whose inputs the test publishes.
fn alone(
    source: impl ActionSource + 'static,
) -> (ControlCore, impl FnMut(u64), impl FnMut() -> JointTarget) {
    let (mut states, state_reader) = slot(JointState::default());
    let (target_writer, mut targets) = slot(JointTarget::default());
    let core = ControlCore::new(config(10), state_reader, target_writer, Box::new(source))
        .expect("sensible");
    let mut seq = 0;
    let measure = move |captured_ns| {
        seq += 1;
        states.publish(JointState {
            seq,
            captured_ns,
            len: JOINTS,
            ..JointState::default()
        });
    };
    (core, measure, move || *targets.latest())
}

fn always_act(observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
    target.position[0] = observation.step as f64;
    ActionOutcome::Act
}

#[test]
fn old_or_missing_states_stop_the_targets() {
    let (mut core, mut measure, mut target) = alone(always_act);
    let mut sink = core.add_sink(8);
    core.start(0);
    core.step(0).expect("no failure");
    assert_eq!(target().seq, 0);
    measure(9 * MS);
    core.step(10 * MS).expect("no failure");
    assert_eq!(
        (target().seq, target().issued_ns, target().position[0]),
        (1, 10 * MS, 1.0)
    );
    core.step(200 * MS).expect("no failure");
    assert_eq!(target().seq, 1, "a state of 191 ms is too old to act on");
    let flags: Vec<_> = std::iter::from_fn(|| sink.pop())
        .map(|record| record.tick.flags)
        .collect();
    assert!(flags[0].contains(TickFlags::NO_STATE) && flags[1].contains(TickFlags::ACTED));
    assert!(flags[2].contains(TickFlags::STALE_STATE) && flags[2].contains(TickFlags::LATE));
    let counters = core.counters();
    assert_eq!(
        (counters.no_state, counters.stale_state, counters.acted),
        (1, 1, 1)
    );
    assert_eq!((counters.pace.ticks, counters.pace.skipped), (3, 18));
}

#[test]
fn frames_are_passed_on_and_their_age_is_judged() {
    let (mut core, mut measure, _target) = alone(always_act);
    let mut camera = core.add_camera().expect("room for one");
    let mut sink = core.add_sink(8);
    core.start(0);
    for now in [0, 10 * MS, 300 * MS] {
        measure(now);
        if now == 10 * MS {
            let mut frame = Frame::new(1, 1, vec![7; 3]);
            (frame.seq, frame.captured_ns) = (1, 5 * MS);
            camera.publish(Some(Arc::new(frame)));
        }
        core.step(now).expect("no failure");
    }
    let records: Vec<_> = std::iter::from_fn(|| sink.pop()).collect();
    assert!(records[0].tick.flags.contains(TickFlags::NO_FRAME));
    assert_eq!(
        records[1].frames[0].as_ref().map(|frame| frame.data[0]),
        Some(7)
    );
    assert_eq!(
        (records[1].tick.frames[0].seq, records[1].tick.age_ns),
        (1, 5 * MS)
    );
    assert!(records[2].tick.flags.contains(TickFlags::STALE_FRAME));
    assert!(
        records[2].tick.flags.contains(TickFlags::ACTED),
        "the source decides with what there is"
    );
    assert_eq!(
        (core.counters().no_frame, core.counters().stale_frame),
        (1, 1)
    );
}

#[test]
fn the_loop_is_never_who_frees_a_frame() {
    let (mut core, mut measure, _target) = alone(always_act);
    let mut camera = core.add_camera().expect("room for one");
    let mut sink = core.add_sink(1);
    core.start(0);
    let mut frames = Vec::new();
    for tick in 0..50 {
        measure(tick * 10 * MS);
        let frame = Arc::new(Frame::new(1, 1, vec![0; 3]));
        frames.push(Arc::downgrade(&frame));
        camera.publish(Some(frame));
        let before = frames
            .iter()
            .filter(|frame| frame.strong_count() > 0)
            .count();
        core.step(tick * 10 * MS).expect("no failure");
        let after = frames
            .iter()
            .filter(|frame| frame.strong_count() > 0)
            .count();
        assert_eq!(before, after);
        sink.pop();
    }
}

#[test]
fn starving_sends_nothing_and_may_end_the_run() {
    let source = |_: &Observation, _: &mut JointTarget| ActionOutcome::Starved;
    let (states, target_writer) = (
        slot(JointState {
            seq: 1,
            ..JointState::default()
        }),
        slot(JointTarget::default()),
    );
    let (mut writer, reader) = states;
    writer.publish(JointState {
        seq: 1,
        len: JOINTS,
        ..JointState::default()
    });
    let limited = ControlConfig {
        max_starved: Some(3),
        ..config(10)
    };
    let mut core =
        ControlCore::new(limited, reader, target_writer.0, Box::new(source)).expect("sensible");
    core.start(0);
    let ends: Vec<bool> = (0..4)
        .map(|tick| core.step(tick * 10 * MS).is_ok())
        .collect();
    assert_eq!(ends, [true, true, true, false]);
    assert_eq!((core.counters().starved, core.counters().acted), (4, 0));
}

#[test]
fn a_source_ends_the_run_as_finished_or_failed() {
    let (mut core, mut measure, _target) =
        alone(|_: &Observation, _: &mut JointTarget| ActionOutcome::Finished);
    measure(0);
    core.start(0);
    assert_eq!(core.step(0).expect("no failure"), Flow::Finished);
    let (mut core, mut measure, _target) = alone(InlineInference::new(
        Box::new(|_, _| Err("the weights are gone".into())),
        QueueConfig::new(JOINTS, 4),
    ));
    measure(0);
    core.start(0);
    let error = core.step(0).expect_err("inference fails");
    assert!(
        matches!(&error, ControlError::Source { problem } if problem == "the weights are gone")
    );
}

/// A policy that moves every joint along a wave that depends on what was measured.
fn wave(
    seen: &[Observation],
    chunk: &mut ChunkBuf,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let observation = seen.last().expect("there is one");
    for ahead in 0..chunk.capacity() as u64 {
        let phase = (observation.step + ahead) as f64 * 0.05;
        let action: [f64; JOINTS] = std::array::from_fn(|joint| {
            phase.sin() * 0.5 + observation.state.position[joint] * 0.01
        });
        assert!(chunk.push(&action));
    }
    Ok(())
}

/// A run of 1 kHz device and 100 Hz loop, its ticks as bytes.
fn lockstep(
    steps: u64,
    break_at: Option<u64>,
) -> (Result<LockstepReport, LockstepError>, Vec<u8>, i32) {
    let clock = SteppedClock::default();
    let (mut robot, knobs) = FakeRobot::new();
    let in_robot = knobs.clone();
    robot.on_read = Box::new(move |read| {
        if Some(read) == break_at {
            in_robot.joint_dead.store(true, Ordering::Relaxed);
        }
    });
    let (mut device, targets) =
        DeviceCore::new(Box::new(robot), device_config()).expect("sensible");
    let source = InlineInference::new(Box::new(wave), QueueConfig::new(JOINTS, 16));
    let mut control = ControlCore::new(config(10), device.subscribe(), targets, Box::new(source))
        .expect("sensible");
    let mut sink = control.add_sink(steps as usize);
    let outcome = run_lockstep(device, control, &clock, &StopToken::new(), steps);
    let mut bytes = Vec::new();
    while let Some(record) = sink.pop() {
        record.tick.encode(&mut bytes);
    }
    (outcome, bytes, knobs.torque.load(Ordering::Relaxed))
}

#[test]
fn a_lockstep_run_repeats_to_the_byte() {
    let (first, first_bytes, torque) = lockstep(3000, None);
    let (second, second_bytes, _) = lockstep(3000, None);
    let report = first.expect("a good run");
    assert_eq!(report, second.expect("a good run"));
    assert!(first_bytes == second_bytes && first_bytes.len() > 3000 * 100);
    assert_eq!(
        (
            report.control.counters.acted,
            report.control.counters.dropped
        ),
        (3000, 0)
    );
    assert_eq!(
        report.control.counters.pace.skipped + report.device.counters.pace.skipped,
        0
    );
    assert_eq!(
        report.control.stats.observation_age.max_us, 0.0,
        "the device goes first"
    );
    assert_eq!(torque, 0, "left limp");
}

#[test]
fn a_broken_lockstep_run_names_the_joint() {
    let (outcome, bytes, torque) = lockstep(3000, Some(500));
    let error = outcome.expect_err("the elbow dies").to_string();
    assert!(error.starts_with("elbow: no good answer"), "{error}");
    assert!(!bytes.is_empty() && torque == 0);
}

/// Device, loop and inference as threads.
fn threads(infer: Infer, stop: &StopToken) -> (DeviceThread, ControlThread, InferenceThread) {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let (robot, _) = FakeRobot::new();
    let (mut device, targets) =
        DeviceCore::new(Box::new(robot), device_config()).expect("sensible");
    let (inference, source) = InferenceThread::spawn(
        infer,
        QueueConfig::new(JOINTS, 20),
        clock.clone(),
        stop.clone(),
    )
    .expect("a thread");
    let control = ControlCore::new(config(2), device.subscribe(), targets, Box::new(source))
        .expect("sensible");
    let device = DeviceThread::spawn(device, clock.clone(), stop.clone()).expect("a thread");
    (
        device,
        ControlThread::spawn(control, clock, stop.clone()).expect("a thread"),
        inference,
    )
}

#[test]
fn a_policy_beside_the_loop_drives_it() {
    let stop = StopToken::new();
    let calls = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = calls.clone();
    let infer: Infer = Box::new(move |seen, chunk| {
        counted.fetch_add(1, Ordering::Relaxed);
        wave(seen, chunk)
    });
    let (device, control, inference) = threads(infer, &stop);
    common::wait_for(|| calls.load(Ordering::Relaxed) > 10);
    stop.request(StopCause::Requested);
    let (device, control) = (device.join().expect("good"), control.join().expect("good"));
    let latency = inference
        .join(Duration::from_secs(10))
        .expect("good")
        .latency;
    let queue = control.counters.queue.expect("there is a queue");
    assert!(
        latency.count > 10 && queue.chunks > 9 && queue.requests >= queue.chunks,
        "{queue:?}"
    );
    assert_eq!(control.counters.acted, queue.executed);
    let counters = control.counters;
    let accounted = counters.acted
        + counters.no_state
        + counters.stale_state
        + counters.waiting
        + counters.starved;
    assert_eq!(accounted, counters.pace.ticks, "each tick has one outcome");
    assert!(device.counters.safety.followed > 0);
}

#[test]
fn a_policy_that_fails_or_panics_ends_the_run() {
    for panics in [false, true] {
        let stop = StopToken::new();
        let mut calls = 0;
        let infer: Infer = Box::new(move |seen, chunk| {
            calls += 1;
            assert!(!(panics && calls == 3), "a defect in the policy");
            if calls == 3 {
                Err("the server closed the connection".into())
            } else {
                wave(seen, chunk)
            }
        });
        let (device, control, inference) = threads(infer, &stop);
        let device = device.join().expect("an orderly end");
        assert_eq!(device.left, sinew_runtime::device::SafeOutcome::Limp);
        assert!(control.join().is_ok());
        let error = inference
            .join(Duration::from_secs(10))
            .expect_err("it failed")
            .to_string();
        let expected = if panics {
            "a defect in the policy"
        } else {
            "the server closed the connection"
        };
        assert!(error.contains(expected), "{error}");
        assert_eq!(stop.cause(), Some(StopCause::Inference));
    }
}

#[test]
fn a_policy_that_hangs_is_left_behind() {
    let stop = StopToken::new();
    let (entered, release) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (inside, freed) = (entered.clone(), release.clone());
    let infer: Infer = Box::new(move |_, _| {
        inside.store(true, Ordering::Relaxed);
        while !freed.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let (device, control, inference) = threads(infer, &stop);
    common::wait_for(|| entered.load(Ordering::Relaxed));
    stop.request(StopCause::Requested);
    assert!(device.join().is_ok() && control.join().is_ok());
    let error = inference
        .join(Duration::from_millis(50))
        .expect_err("it hangs");
    assert!(matches!(error, InferenceError::Hangs { .. }));
    release.store(true, Ordering::Relaxed);
}
