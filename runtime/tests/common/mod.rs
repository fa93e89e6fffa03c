//! A robot without hardware whose faults a test can choose, and settings for it.

#![allow(dead_code, reason = "each test file uses a part")]

use sinew_runtime::device::{DeviceConfig, DeviceCore, DeviceThread};
use sinew_runtime::rt::RtRequest;
use sinew_runtime::safety::{JointLimits, SafetyConfig};
use sinew_runtime::slot::SlotWriter;
use sinew_runtime::{
    Clock, JointFault, JointNames, JointState, JointTarget, MonotonicClock, Robot, RobotError,
    StopToken,
};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Number of joints of [`FakeRobot`].
pub(crate) const JOINTS: usize = 3;

/// What a test sees and sets while the robot is owned by its thread.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    /// Reads so far.
    pub(crate) reads: AtomicU64,
    /// Writes so far.
    pub(crate) writes: AtomicU64,
    /// Torque: -1 never switched, 0 off, 1 on.
    pub(crate) torque: AtomicI32,
    /// Joints that were switched off alone since torque was last switched, a bit each.
    pub(crate) released: AtomicU64,
    /// Servo 2 reports this alarm.
    pub(crate) alarm: AtomicU8,
    /// The device is gone.
    pub(crate) unplugged: AtomicBool,
    /// No servo answers.
    pub(crate) silent: AtomicBool,
    /// Servos answer, but take no goals.
    pub(crate) deaf: AtomicBool,
    /// The next read panics.
    pub(crate) panics: AtomicBool,
    /// Servo 1 is dead.
    pub(crate) joint_dead: AtomicBool,
    /// Positions last written.
    pub(crate) goals: Mutex<[f64; JOINTS]>,
}

/// Each joint is at once where it is told to be.
pub(crate) struct FakeRobot {
    names: JointNames,
    knobs: Arc<Knobs>,
    /// Called in each read with its number: to be slow, or to count allocations.
    pub(crate) on_read: Box<dyn FnMut(u64) + Send>,
}

impl FakeRobot {
    /// A robot and its knobs.
    pub(crate) fn new() -> (Self, Arc<Knobs>) {
        let knobs = Arc::new(Knobs {
            torque: AtomicI32::new(-1),
            ..Knobs::default()
        });
        let names = JointNames::new(["base", "elbow", "wrist"]);
        (
            Self {
                names,
                knobs: knobs.clone(),
                on_read: Box::new(|_| {}),
            },
            knobs,
        )
    }

    fn check(&self) -> Result<(), RobotError> {
        let device = || "fake".to_owned();
        if self.knobs.unplugged.load(Ordering::Relaxed) {
            return Err(RobotError::Disconnected {
                device: device(),
                reason: "unplugged".to_owned(),
            });
        }
        if self.knobs.silent.load(Ordering::Relaxed) {
            return Err(RobotError::Silent {
                device: device(),
                budget_ms: 1,
            });
        }
        Ok(())
    }
}

impl Robot for FakeRobot {
    fn joints(&self) -> &JointNames {
        &self.names
    }

    fn read(&mut self, state: &mut JointState) -> Result<(), RobotError> {
        let read = self.knobs.reads.fetch_add(1, Ordering::Relaxed) + 1;
        (self.on_read)(read);
        assert!(
            !self.knobs.panics.load(Ordering::Relaxed),
            "a defect in the driver"
        );
        self.check()?;
        state.len = JOINTS;
        state.position[..JOINTS].copy_from_slice(&*self.knobs.goals.lock().expect("not poisoned"));
        let dead = self.knobs.joint_dead.load(Ordering::Relaxed);
        state.fault[1] = if dead {
            JointFault::Timeout
        } else {
            JointFault::None
        };
        state.fault[2] = match self.knobs.alarm.load(Ordering::Relaxed) {
            0 => JointFault::None,
            bits => JointFault::Alarm(bits),
        };
        Ok(())
    }

    fn write(&mut self, target: &JointTarget) -> Result<(), RobotError> {
        self.check()?;
        if self.knobs.deaf.load(Ordering::Relaxed) {
            return Err(RobotError::Silent {
                device: "fake".to_owned(),
                budget_ms: 1,
            });
        }
        self.knobs.writes.fetch_add(1, Ordering::Relaxed);
        self.knobs
            .goals
            .lock()
            .expect("not poisoned")
            .copy_from_slice(&target.position[..JOINTS]);
        Ok(())
    }

    fn set_torque(&mut self, on: bool) -> Result<(), RobotError> {
        self.check()?;
        self.knobs.torque.store(i32::from(on), Ordering::Relaxed);
        self.knobs.released.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn release(&mut self, joint: usize) -> Result<(), RobotError> {
        self.check()?;
        self.knobs.released.fetch_or(1 << joint, Ordering::Relaxed);
        Ok(())
    }
}

/// ±2 rad, 10 rad/s.
pub(crate) fn safety() -> SafetyConfig {
    let limits = JointLimits {
        min_rad: -2.0,
        max_rad: 2.0,
        max_velocity: 10.0,
        max_step_rad: 0.5,
    };
    SafetyConfig::holding(vec![limits; JOINTS])
}

/// An ordinary thread at 1 kHz: tests must not take the machine's real-time priority.
pub(crate) fn device_config() -> DeviceConfig {
    DeviceConfig {
        rt: RtRequest::NONE,
        ..DeviceConfig::new(Duration::from_millis(1), safety())
    }
}

/// A device thread with a fake robot.
pub(crate) struct Running {
    pub(crate) thread: DeviceThread,
    pub(crate) targets: SlotWriter<JointTarget>,
    pub(crate) knobs: Arc<Knobs>,
    pub(crate) stop: StopToken,
}

impl Running {
    /// Starts the thread.
    pub(crate) fn start(config: DeviceConfig) -> Self {
        let (robot, knobs) = FakeRobot::new();
        let (core, targets) = DeviceCore::new(Box::new(robot), config).expect("sensible settings");
        let stop = StopToken::new();
        let thread =
            DeviceThread::spawn(core, Arc::new(MonotonicClock), stop.clone()).expect("a thread");
        Self {
            thread,
            targets,
            knobs,
            stop,
        }
    }

    /// Sends a target, all joints at `position`, and waits until the robot has it.
    pub(crate) fn drive_to(&mut self, position: f64) {
        wait_for(|| {
            // Again and again, so that it stays fresh however slow the machine is.
            self.targets.publish(fresh_target(position));
            (self.knobs.goals.lock().expect("not poisoned")[0] - position).abs() < 1e-9
        });
    }
}

fn fresh_target(position: f64) -> JointTarget {
    let mut target = JointTarget::from_positions(&[position; JOINTS]).expect("few joints");
    target.seq = 1;
    target.issued_ns = MonotonicClock.now();
    target
}

/// Waits until `done`. The bound only keeps a failing test from hanging.
pub(crate) fn wait_for(mut done: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it never happened");
}
