//! No cycle allocates: a counting allocator watches the thread that drives the bus.

mod feetech_support;

use feetech_support::FakeBus;
use sinew_drivers::feetech::{BusOptions, FeetechBus, FeetechRobot, JointSpec, RobotOptions};
use sinew_runtime::{JointState, JointTarget, Robot};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counter is a plain cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get().map(|n| n + 1)));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(work: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    work();
    COUNT.take().unwrap()
}

#[test]
fn a_thousand_cycles_allocate_nothing() {
    let fake = FakeBus::new(6);
    let patient = BusOptions {
        reply_margin: Duration::from_secs(2),
        ..BusOptions::default()
    };
    let bus = FeetechBus::open(&fake.path, patient).unwrap();
    let options = RobotOptions {
        cycle_budget: Duration::from_secs(4),
        ..RobotOptions::default()
    };
    let mut robot = FeetechRobot::connect(bus, JointSpec::so101(), options).unwrap();
    let mut state = JointState::default();
    let target = JointTarget::from_positions(&[0.1; 6]).unwrap();
    robot.read(&mut state).unwrap();
    let allocations = counted(|| {
        for _ in 0..1000 {
            robot.read(&mut state).unwrap();
            robot.write(&target).unwrap();
        }
        robot.set_torque(true).unwrap();
        robot.set_torque(false).unwrap();
    });
    assert_eq!(allocations, 0);
    assert_eq!(state.seq, 1001);
    assert!(counted(|| drop(vec![1u8; 10])) > 0, "the counter counts");
}

#[test]
fn cycles_with_faults_allocate_nothing_either() {
    let fake = FakeBus::new(6);
    let quick = BusOptions {
        reply_margin: Duration::from_millis(20),
        ..BusOptions::default()
    };
    let bus = FeetechBus::open(&fake.path, quick).unwrap();
    let options = RobotOptions {
        cycle_budget: Duration::from_millis(200),
        ..RobotOptions::default()
    };
    let mut robot = FeetechRobot::connect(bus, JointSpec::so101(), options).unwrap();
    let mut state = JointState::default();
    robot.read(&mut state).unwrap();
    fake.sabotage(|id, n, mut reply| match (id, n % 7) {
        (3, _) => vec![],
        (_, 0) => reply[..4].to_vec(),
        (_, 3) => [&[0xFF, 0xFF, 1, 8][..], &reply].concat(),
        (_, 5) => {
            reply[5] ^= 1;
            reply
        }
        _ => reply,
    });
    let mut allocations = 0;
    for _ in 0..60 {
        // An error may allocate, and a starved test machine may cause one; readings may not.
        let mut result = Ok(());
        let count = counted(|| result = robot.read(&mut state));
        allocations += if result.is_ok() { count } else { 0 };
    }
    assert_eq!(allocations, 0);
    assert!(!state.fault[2].is_fresh());
}
