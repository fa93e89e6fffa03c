//! The device thread: owns one robot, reads it, keeps it safe, drives it.
//!
//! Every cycle: read → publish the state → take the newest target → interpolate → safety → write.
//! [`DeviceCore`] is one cycle as a function of time; [`DeviceThread`] runs it in real time, and
//! [`crate::lockstep`] runs it on a stepped clock.
//!
//! | miss | policy |
//! |---|---|
//! | a tick is late | it runs at once, counted; whole periods missed are skipped and counted |
//! | no joint could be read, or goals could not be sent | counted; the cycle goes on; after [`DeviceConfig::max_failures`] in a row the thread ends |
//! | one joint could not be read | counted; after [`DeviceConfig::max_joint_failures`] in a row the thread ends |
//! | the device is gone | the thread ends |
//! | a joint that safety gave up cannot be switched off | as when goals could not be sent |
//! | the thread ends, however | the arm is left as [`DeviceConfig::on_stop`] says |

mod interpolate;
mod report;
mod safe;
mod thread;

pub use interpolate::Interpolation;
pub use report::{
    DeviceCounters, DeviceError, DeviceFailure, DeviceReport, DeviceTelemetry, SafeOutcome,
};
pub use safe::OnStop;
pub use thread::DeviceThread;
pub(crate) use thread::conclude;

use crate::clock::Nanos;
use crate::histogram::Stats;
use crate::joints::{JointCounts, JointFault, JointState, JointTarget, MAX_JOINTS};
use crate::pace::{Arrival, Pace, nanos};
use crate::ring::{RingReader, RingWriter, ring};
use crate::robot::{Robot, RobotError};
use crate::rt::{RtReport, RtRequest};
use crate::safety::{EStop, SafetyConfig, SafetyFilter, Verdict};
use crate::slot::{SlotReader, SlotWriter, slot};
use interpolate::Interpolator;
use std::time::Duration;

/// How often counts and histograms are published.
const TELEMETRY_EVERY: Duration = Duration::from_secs(1);

/// When a target reached the motors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentTarget {
    /// Number of the target.
    pub seq: u64,
    /// When the first goals towards it had been sent.
    pub sent_ns: Nanos,
}

/// How one robot is run.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// Time between cycles.
    pub period: Duration,
    /// Offset of the deadlines from whole periods of the clock, to keep threads apart.
    pub phase: Duration,
    /// Send targets (`true`) or only observe, as with a leader arm.
    pub drive: bool,
    /// How targets of a slower loop are filled in.
    pub interpolation: Interpolation,
    /// Limits and reactions.
    pub safety: SafetyConfig,
    /// Failed reads in a row, or failed writes in a row, after which the thread gives up.
    pub max_failures: u32,
    /// Cycles in a row without one joint's answer after which the thread gives up.
    pub max_joint_failures: u32,
    /// How the arm is left.
    pub on_stop: OnStop,
    /// What the thread asks of the system.
    pub rt: RtRequest,
}

impl DeviceConfig {
    /// Drives at `period` with `safety`; gives up after 20 failed cycles (200 for a single joint)
    /// and then switches torque off.
    pub fn new(period: Duration, safety: SafetyConfig) -> Self {
        Self {
            period,
            phase: Duration::ZERO,
            drive: true,
            interpolation: Interpolation::default(),
            safety,
            max_failures: 20,
            max_joint_failures: 200,
            on_stop: OnStop::Comply,
            rt: RtRequest::DEVICE,
        }
    }

    fn check(&self, robot: &dyn Robot) -> Result<(), DeviceError> {
        let names = robot.joints();
        let fail = |problem| Err(DeviceError::Config { problem });
        if names.is_empty() || names.len() > MAX_JOINTS {
            return fail(format!(
                "{} joints, but 1 to {MAX_JOINTS} are possible",
                names.len()
            ));
        }
        if names.len() != self.safety.limits.len() {
            return fail(format!(
                "{} joints, but limits for {}",
                names.len(),
                self.safety.limits.len()
            ));
        }
        if let Some((joint, problem)) = self.safety.problem() {
            return fail(format!("{}: {problem}", names[joint]));
        }
        if self.period.is_zero() {
            return fail("the period must be longer than zero".to_owned());
        }
        self.on_stop.check(names.len()).or_else(fail)
    }
}

/// One robot's cycle, without a thread.
pub struct DeviceCore {
    robot: Box<dyn Robot>,
    config: DeviceConfig,
    pace: Pace,
    filter: SafetyFilter,
    line: Interpolator,
    targets: SlotReader<JointTarget>,
    states: Vec<SlotWriter<JointState>>,
    taps: Vec<RingWriter<JointState>>,
    sent: Vec<RingWriter<SentTarget>>,
    /// Number of the newest target of which goals were sent, and whether it is still to be told.
    sent_seq: u64,
    sent_now: bool,
    telemetry: Vec<SlotWriter<DeviceTelemetry>>,
    telemetry_due: Nanos,
    state: JointState,
    out: JointTarget,
    torque: Option<bool>,
    /// Joints that were switched off alone.
    released: [bool; MAX_JOINTS],
    read_failures: u32,
    write_failures: u32,
    joint_failures: [u32; MAX_JOINTS],
    stats: Stats,
    counters: DeviceCounters,
    started: Nanos,
    rt: RtReport,
}

impl std::fmt::Debug for DeviceCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceCore")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl DeviceCore {
    /// Takes the robot and returns the slot that takes targets for it. Nothing is sent yet.
    pub fn new(
        robot: Box<dyn Robot>,
        config: DeviceConfig,
    ) -> Result<(Self, SlotWriter<JointTarget>), DeviceError> {
        config.check(robot.as_ref())?;
        let (target_writer, targets) = slot(JointTarget::default());
        let pace = Pace::new(config.period, 0);
        let joints = robot.joints().len();
        let counters = DeviceCounters {
            joint_timeouts: JointCounts::new(joints),
            joint_corrupt: JointCounts::new(joints),
            ..DeviceCounters::default()
        };
        let core = Self {
            line: Interpolator::new(config.interpolation, pace.period_ns()),
            filter: SafetyFilter::new(config.safety.clone(), EStop::new()),
            state: JointState {
                len: joints,
                ..JointState::default()
            },
            robot,
            config,
            pace,
            targets,
            states: Vec::new(),
            taps: Vec::new(),
            sent: Vec::new(),
            sent_seq: 0,
            sent_now: false,
            telemetry: Vec::new(),
            telemetry_due: 0,
            out: JointTarget::default(),
            torque: None,
            released: [false; MAX_JOINTS],
            read_failures: 0,
            write_failures: 0,
            joint_failures: [0; MAX_JOINTS],
            stats: Stats::default(),
            counters,
            started: 0,
            rt: RtReport::default(),
        };
        Ok((core, target_writer))
    }

    /// A slot with the newest state, for one reader.
    pub fn subscribe(&mut self) -> SlotReader<JointState> {
        let (writer, reader) = slot(self.state);
        self.states.push(writer);
        reader
    }

    /// A ring of every state, for one reader that wants them all.
    pub fn tap(&mut self, capacity: usize) -> RingReader<JointState> {
        let (writer, reader) = ring(capacity);
        self.taps.push(writer);
        reader
    }

    /// A ring that tells when the first goals towards each target had been sent, for one reader.
    pub fn sent_targets(&mut self, capacity: usize) -> RingReader<SentTarget> {
        let (writer, reader) = ring(capacity);
        self.sent.push(writer);
        reader
    }

    /// A slot with counts and histograms, renewed about once a second.
    pub fn telemetry(&mut self) -> SlotReader<DeviceTelemetry> {
        let (writer, reader) = slot(DeviceTelemetry::default());
        self.telemetry.push(writer);
        reader
    }

    /// The emergency stop of this robot.
    pub fn estop(&self) -> EStop {
        self.filter.estop().clone()
    }

    /// Sets the first deadline.
    pub fn start(&mut self, now: Nanos) {
        self.pace.align(now, self.config.phase);
        self.telemetry_due = now.saturating_add(nanos(TELEMETRY_EVERY));
    }

    /// When to call [`Self::step`].
    pub fn deadline(&self) -> Nanos {
        self.pace.deadline()
    }

    /// Runs the cycle that starts at `now`. After an error, call [`Self::make_safe`].
    pub fn step(&mut self, now: Nanos) -> Result<(), DeviceError> {
        let arrival = self.pace.arrive(now);
        self.note_arrival(&arrival);
        self.sense(now)?;
        if self.targets.update() {
            self.line.aim(self.targets.get(), self.filter.sent(), now);
        }
        let wanted = self.line.at(now);
        self.drive(&wanted, now)
    }

    /// Notes that the cycle ended at `now`, and publishes what is due.
    pub fn end_step(&mut self, now: Nanos) {
        self.stats.work.record(now.saturating_sub(self.started));
        if std::mem::take(&mut self.sent_now) {
            let target = SentTarget {
                seq: self.sent_seq,
                sent_ns: now,
            };
            self.sent.iter_mut().for_each(|ring| {
                ring.push(target);
            });
        }
        if now >= self.telemetry_due {
            self.telemetry_due = now.saturating_add(nanos(TELEMETRY_EVERY));
            self.publish_telemetry();
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> DeviceCounters {
        DeviceCounters {
            pace: self.pace.counters(),
            safety: *self.filter.counters(),
            ..self.counters
        }
    }

    /// The report, as far as it goes now.
    pub fn report(&self, left: SafeOutcome) -> DeviceReport {
        DeviceReport {
            rt: self.rt.clone(),
            counters: self.counters(),
            stats: self.stats.summary(),
            left,
        }
    }

    fn note_arrival(&mut self, arrival: &Arrival) {
        self.started = arrival.started_ns;
        self.stats.wake_error.record(arrival.wake_error_ns);
        if let Some(period) = arrival.period_ns {
            self.stats.period.record(period);
        }
    }

    /// Reads the robot and publishes what it measured.
    fn sense(&mut self, now: Nanos) -> Result<(), DeviceError> {
        let stamp = self.state.captured_ns;
        if let Err(error) = self.robot.read(&mut self.state) {
            self.counters.read_failures += 1;
            self.counters.bus_timeouts += u64::from(matches!(error, RobotError::Silent { .. }));
            self.read_failures = self.read_failures.saturating_add(1);
            return self.tolerate(error, self.read_failures);
        }
        self.read_failures = 0;
        self.counters.reads += 1;
        self.state.seq = self.counters.reads;
        if self.state.captured_ns == stamp {
            // The robot keeps no time of its own; the start of the cycle is the best guess.
            self.state.captured_ns = now;
        }
        self.note_faults()?;
        for state in &mut self.states {
            state.publish(self.state);
        }
        for tap in &mut self.taps {
            tap.push(self.state);
        }
        Ok(())
    }

    fn note_faults(&mut self) -> Result<(), DeviceError> {
        for joint in 0..self.config.safety.limits.len() {
            let fault = self.state.fault[joint];
            self.counters.joint_timeouts[joint] += u64::from(fault == JointFault::Timeout);
            self.counters.joint_corrupt[joint] += u64::from(fault == JointFault::Corrupt);
            let failures = &mut self.joint_failures[joint];
            *failures = if fault.is_fresh() {
                0
            } else {
                failures.saturating_add(1)
            };
            if *failures > self.config.max_joint_failures {
                let joint = self.robot.joints()[joint].clone();
                return Err(DeviceError::JointLost {
                    joint,
                    cycles: *failures,
                    fault,
                });
            }
        }
        Ok(())
    }

    /// An error when this was one failure in a row too many, or can never get better.
    fn tolerate(&self, source: RobotError, failures: u32) -> Result<(), DeviceError> {
        let hopeless = matches!(
            source,
            RobotError::Disconnected { .. }
                | RobotError::Unusable { .. }
                | RobotError::Simulation { .. }
        );
        if hopeless || failures > self.config.max_failures {
            Err(DeviceError::Robot { source, failures })
        } else {
            Ok(())
        }
    }

    /// Passes `wanted` through safety to the motors.
    fn drive(&mut self, wanted: &JointTarget, now: Nanos) -> Result<(), DeviceError> {
        if !self.config.drive {
            return Ok(());
        }
        match self.filter.apply(wanted, &self.state, now, &mut self.out) {
            Verdict::Wait => self.release_joints().map(drop),
            Verdict::Comply(_) => self.switch_torque(false),
            Verdict::Follow => {
                self.switch_torque(true)?;
                let writes = self.counters.writes;
                self.send()?;
                let target = self.targets.get().seq;
                if self.counters.writes > writes && target != self.sent_seq {
                    (self.sent_seq, self.sent_now) = (target, true);
                }
                Ok(())
            }
            // Only a target to follow switches an arm on.
            Verdict::Hold(_) | Verdict::Yield(_) => self.send(),
        }
    }

    fn switch_torque(&mut self, on: bool) -> Result<(), DeviceError> {
        let mut joints = self.released.iter().zip(self.filter.released());
        let takes_back = on && joints.any(|(is, wanted)| *is && !wanted);
        if self.torque == Some(on) && !takes_back {
            return Ok(());
        }
        match self.robot.set_torque(on) {
            Ok(()) => {
                self.torque = Some(on);
                self.released = [false; MAX_JOINTS];
                self.write_failures = 0;
                Ok(())
            }
            Err(error) => {
                self.counters.torque_failures += 1;
                self.not_sent(error)
            }
        }
    }

    /// Switches off the joints that safety has given up. `false` when one could not be: then the
    /// others get no goals either, so that a bus which fails again and again ends the run.
    fn release_joints(&mut self) -> Result<bool, DeviceError> {
        if self.torque != Some(true) {
            return Ok(true);
        }
        for joint in 0..self.filter.released().len() {
            if self.released[joint] || !self.filter.released()[joint] {
                continue;
            }
            if let Err(error) = self.robot.release(joint) {
                self.counters.torque_failures += 1;
                return self.not_sent(error).map(|()| false);
            }
            self.released[joint] = true;
        }
        Ok(true)
    }

    fn send(&mut self) -> Result<(), DeviceError> {
        if self.torque != Some(true) || !self.release_joints()? {
            return Ok(());
        }
        match self.robot.write(&self.out) {
            Ok(()) => {
                self.counters.writes += 1;
                self.write_failures = 0;
                Ok(())
            }
            Err(error) => {
                self.counters.write_failures += 1;
                self.not_sent(error)
            }
        }
    }

    fn not_sent(&mut self, error: RobotError) -> Result<(), DeviceError> {
        self.filter.not_sent();
        self.write_failures = self.write_failures.saturating_add(1);
        self.tolerate(error, self.write_failures)
    }

    fn publish_telemetry(&mut self) {
        let (counters, released) = (self.counters(), self.released);
        for slot in &mut self.telemetry {
            slot.publish_with(|held| {
                (held.counters, held.released) = (counters, released);
                held.stats.copy_from(&self.stats);
            });
        }
    }
}
