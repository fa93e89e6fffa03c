//! After start-up, neither real-time thread touches the heap.

mod common;

use common::{FakeRobot, JOINTS, device_config};
use sinew_runtime::actions::{InferenceThread, QueueConfig};
use sinew_runtime::control::{
    ActionOutcome, ActionSource, ControlConfig, ControlCore, ControlThread, Observation,
};
use sinew_runtime::device::{DeviceCore, DeviceThread};
use sinew_runtime::rt::RtRequest;
use sinew_runtime::{Clock, FramePool, JointTarget, MonotonicClock, StopCause, StopToken};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Ticks before counting begins, and the tick at which it ends.
const WARM: u64 = 200;
const ENOUGH: u64 = 5000;

static TOUCHES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without a destructor, so that looking at it allocates nothing.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Counts allocations and releases of the threads that are watched.
struct Counting;

fn note() {
    if WATCHED.get() {
        TOUCHES.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Watches the calling thread from tick [`WARM`] to tick [`ENOUGH`].
fn watch(tick: u64) {
    WATCHED.set((WARM..ENOUGH).contains(&tick));
}

/// Watches the loop thread from inside.
struct Watched<S>(S, Arc<AtomicU64>);

impl<S: ActionSource> ActionSource for Watched<S> {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        watch(self.1.fetch_add(1, Ordering::Relaxed));
        self.0.act(observation, target)
    }
}

#[test]
fn steady_state_never_touches_the_heap() {
    // The counter itself works.
    WATCHED.set(true);
    drop(std::hint::black_box(Box::new(1u8)));
    WATCHED.set(false);
    assert_eq!(TOUCHES.swap(0, Ordering::Relaxed), 2);

    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let stop = StopToken::new();
    let (mut robot, knobs) = FakeRobot::new();
    robot.on_read = Box::new(watch);
    let (mut device, targets) =
        DeviceCore::new(Box::new(robot), device_config()).expect("sensible settings");
    let (_tap, _telemetry) = (device.tap(64), device.telemetry());
    let infer = Box::new(
        |seen: &[Observation], chunk: &mut sinew_runtime::actions::ChunkBuf| {
            let wave = (seen[seen.len() - 1].step as f64 * 0.01).sin() * 0.2;
            (0..chunk.capacity()).for_each(|_| _ = chunk.push(&[wave; JOINTS]));
            Ok(())
        },
    );
    let (inference, source) = InferenceThread::spawn(
        infer,
        QueueConfig::new(JOINTS, 50),
        clock.clone(),
        stop.clone(),
    )
    .expect("a thread");
    let ticks = Arc::new(AtomicU64::new(0));
    let config = ControlConfig {
        rt: RtRequest::NONE,
        ..ControlConfig::new(Duration::from_millis(1))
    };
    let source = Box::new(Watched(source, ticks.clone()));
    let mut control =
        ControlCore::new(config, device.subscribe(), targets, source).expect("sensible settings");
    let mut camera = control.add_camera().expect("room for one");
    // One reader that keeps up, one that is always full, and the counts.
    let (mut sink, _full, _telemetry) = (
        control.add_sink(64),
        control.add_sink(4),
        control.telemetry(),
    );

    let device = DeviceThread::spawn(device, clock.clone(), stop.clone()).expect("a thread");
    let control = ControlThread::spawn(control, clock.clone(), stop.clone()).expect("a thread");
    let pool = FramePool::new(32, 24, 4);
    let mut seq = 0;
    let done =
        || ticks.load(Ordering::Relaxed) > ENOUGH && knobs.reads.load(Ordering::Relaxed) > ENOUGH;
    while !done() && !stop.is_set() {
        seq += 1;
        camera.publish(Some(Arc::new(pool.take(seq, clock.now()))));
        while sink.pop().is_some() {}
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.request(StopCause::Finished);
    let report = control.join().expect("a good run");
    device.join().expect("a good run");
    inference.join(Duration::from_secs(10)).expect("a good run");
    assert!(
        report.counters.acted > ENOUGH / 10 && report.counters.dropped > 0,
        "{:?}",
        report.counters
    );
    assert!(seq > 0 && report.counters.no_frame < ENOUGH);
    assert_eq!(
        TOUCHES.load(Ordering::Relaxed),
        0,
        "allocations and releases in steady state"
    );
}
