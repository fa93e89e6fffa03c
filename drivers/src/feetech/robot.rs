//! A robot made of Feetech servos: ticks on the bus, radians outside.

use super::bus::{BusStats, FeetechBus, Reply, ReplyStatus};
use super::joint::{self, JointSpec, RAD_PER_TICK};
use super::registers::{self as reg, Register};
use super::startup::{self, CalibrationPolicy};
use crate::error::{DriverError, ServoProblem};
use sinew_runtime::{
    Clock, JointFault, JointNames, JointState, JointTarget, MAX_JOINTS, MonotonicClock, Robot,
    RobotError,
};
use std::time::Duration;

/// What is read each cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// Position only: 880 µs a cycle for six servos at 1 Mbit/s. Velocities and efforts are 0.
    Position,
    /// Position, velocity and load in one block: 1,120 µs.
    #[default]
    Full,
}

impl ReadMode {
    /// Bytes read from each servo.
    pub fn bytes(self) -> u8 {
        match self {
            Self::Position => 2,
            Self::Full => 6,
        }
    }
}

/// How a robot is started and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RobotOptions {
    /// What is read each cycle.
    pub read: ReadMode,
    /// The longest that one read may take, retries included.
    pub cycle_budget: Duration,
    /// What to do about servos with another calibration.
    pub calibration: CalibrationPolicy,
    /// Whether to set gains, delays and protection at start.
    pub configure: bool,
}

impl Default for RobotOptions {
    fn default() -> Self {
        Self {
            read: ReadMode::Full,
            cycle_budget: Duration::from_millis(10),
            calibration: CalibrationPolicy::Check,
            configure: true,
        }
    }
}

/// Cycles without an answer after which a servo counts as absent. It is then asked apart from
/// the others, so that it does not cost them their rate.
const ABSENT_AFTER: u32 = 3;
/// Cycles between two attempts to find an absent servo.
const PROBE_EVERY: u64 = 16;
/// Attempts to make all servos take a torque setting.
const TORQUE_ATTEMPTS: usize = 3;

/// A robot on one Feetech bus.
#[derive(Debug)]
pub struct FeetechRobot {
    bus: FeetechBus,
    joints: JointNames,
    specs: Vec<JointSpec>,
    ids: Vec<u8>,
    velocity_unit: Vec<f64>,
    options: RobotOptions,
    last: JointState,
    misses: [u32; MAX_JOINTS],
    /// Joints that were released alone: no goals go to them.
    released: [bool; MAX_JOINTS],
    replies: [Reply; MAX_JOINTS],
}

impl FeetechRobot {
    /// Checks and configures the servos of `specs` and takes the bus over. Torque stays as it is
    /// unless a setting has to change under it.
    pub fn connect(
        mut bus: FeetechBus,
        specs: Vec<JointSpec>,
        options: RobotOptions,
    ) -> Result<Self, DriverError> {
        joint::check(&specs)?;
        bus.set_names(specs.iter().map(|s| (s.id, s.name.as_str())));
        let velocity_unit = startup::run(&mut bus, &specs, options.calibration, options.configure)?;
        let last = JointState {
            len: specs.len(),
            ..JointState::default()
        };
        Ok(Self {
            bus,
            joints: JointNames::new(specs.iter().map(|s| s.name.clone())),
            ids: specs.iter().map(|s| s.id).collect(),
            specs,
            velocity_unit,
            options,
            last,
            misses: [0; MAX_JOINTS],
            released: [false; MAX_JOINTS],
            replies: [Reply::default(); MAX_JOINTS],
        })
    }

    /// The joints, in order.
    pub fn specs(&self) -> &[JointSpec] {
        &self.specs
    }

    /// The bus, for diagnosis between cycles.
    pub fn bus(&mut self) -> &mut FeetechBus {
        &mut self.bus
    }

    /// Counters of the bus.
    pub fn stats(&self) -> BusStats {
        self.bus.stats()
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> FeetechBus {
        self.bus
    }

    /// Reads the joints for which `pick` holds; returns how many answered.
    fn read_some(
        &mut self,
        retries: u32,
        pick: impl Fn(u32) -> bool,
    ) -> Result<usize, DriverError> {
        let mut ids = [0u8; MAX_JOINTS];
        let mut index = [0usize; MAX_JOINTS];
        let mut count = 0;
        for (i, id) in self
            .ids
            .iter()
            .enumerate()
            .filter(|(i, _)| pick(self.misses[*i]))
        {
            (ids[count], index[count]) = (*id, i);
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let (base, size) = (reg::PRESENT_POSITION.addr, self.options.read.bytes());
        let (ids, replies) = (&ids[..count], &mut self.replies[..count]);
        let start = MonotonicClock.now();
        let got = self.bus.sync_read_retrying(
            base,
            size,
            ids,
            replies,
            self.options.cycle_budget,
            retries,
        )?;
        // Servos sample one after the other while the replies come in: the middle is nearest.
        self.last.captured_ns = start + (MonotonicClock.now() - start) / 2;
        for (reply, i) in index[..count].iter().enumerate() {
            self.store(*i, self.replies[reply]);
        }
        Ok(got)
    }

    fn store(&mut self, i: usize, reply: Reply) {
        let base = reg::PRESENT_POSITION.addr;
        self.last.fault[i] = match reply.status {
            ReplyStatus::Ok { alarms: 0 } => JointFault::None,
            ReplyStatus::Ok { alarms } => JointFault::Alarm(alarms),
            ReplyStatus::Timeout => JointFault::Timeout,
            ReplyStatus::Corrupt => JointFault::Corrupt,
        };
        let Some(ticks) = reply.value(&reg::PRESENT_POSITION, base) else {
            self.misses[i] = self.misses[i].saturating_add(1);
            return;
        };
        self.misses[i] = 0;
        self.last.position[i] = self.specs[i].rad(ticks);
        if self.options.read == ReadMode::Full {
            let value = |register| f64::from(reply.value(register, base).unwrap_or(0));
            self.last.velocity[i] =
                value(&reg::PRESENT_VELOCITY) * self.velocity_unit[i] * RAD_PER_TICK;
            // Present_Load counts thousandths of full drive.
            self.last.effort[i] =
                value(&reg::PRESENT_LOAD) / 1000.0 * self.specs[i].stall_torque_nm;
        }
    }

    fn read_all(&mut self) -> Result<usize, DriverError> {
        let retries = self.bus.options().retries;
        let mut got = self.read_some(retries, |misses| misses < ABSENT_AFTER)?;
        if got == 0 || self.last.seq.is_multiple_of(PROBE_EVERY) {
            // With everyone gone there is no rate to protect: ask all, every cycle.
            let captured_ns = self.last.captured_ns;
            let found = self.read_some(0, |misses| misses >= ABSENT_AFTER)?;
            if got > 0 {
                self.last.captured_ns = captured_ns;
            }
            got += found;
        }
        Ok(got)
    }

    /// Reads one small register of all servos; the error names the first that did not answer.
    fn read_register(
        &mut self,
        register: &Register,
        out: &mut [i32; MAX_JOINTS],
    ) -> Result<(), DriverError> {
        let replies = &mut self.replies[..self.ids.len()];
        let patience = self.options.cycle_budget.max(Duration::from_millis(20));
        self.bus
            .sync_read(register.addr, register.size, &self.ids, replies, patience)?;
        for (i, reply) in replies.iter().enumerate() {
            let problem = match reply.status {
                ReplyStatus::Corrupt => ServoProblem::Corrupt,
                _ => ServoProblem::Timeout,
            };
            out[i] = reply
                .value(register, register.addr)
                .ok_or_else(|| self.bus.servo_error(self.ids[i], register, problem))?;
        }
        Ok(())
    }

    fn hold_where_it_is(&mut self) -> Result<(), DriverError> {
        let mut positions = [0; MAX_JOINTS];
        self.read_register(&reg::PRESENT_POSITION, &mut positions)?;
        // A joint pushed past its range goes to the nearest end: its servo would take it there.
        for (position, spec) in positions.iter_mut().zip(&self.specs) {
            *position = (*position).clamp(spec.range_min, spec.range_max);
        }
        self.set_everywhere(&reg::GOAL_POSITION, &positions)
    }

    /// Checks that every servo holds `wanted`; the error names the first that does not.
    fn verify(
        &mut self,
        register: &Register,
        wanted: &[i32; MAX_JOINTS],
    ) -> Result<(), DriverError> {
        let mut held = [0; MAX_JOINTS];
        self.read_register(register, &mut held)?;
        match (0..self.ids.len()).find(|i| held[*i] != wanted[*i]) {
            None => Ok(()),
            Some(i) => {
                let problem = ServoProblem::Mismatch {
                    wrote: wanted[i],
                    read: held[i],
                };
                Err(self.bus.servo_error(self.ids[i], register, problem))
            }
        }
    }

    /// Sets a register of all servos. Sync writes are not acknowledged, so the values are read
    /// back. Those that can take theirs do, whatever the others do; the error names the first
    /// that did not.
    fn set_everywhere(
        &mut self,
        register: &Register,
        wanted: &[i32; MAX_JOINTS],
    ) -> Result<(), DriverError> {
        let mut result = Ok(());
        for _ in 0..TORQUE_ATTEMPTS {
            self.bus
                .sync_write(register, &self.ids, &wanted[..self.ids.len()])?;
            result = self.verify(register, wanted);
            if !matches!(result, Err(DriverError::Servo { .. })) {
                break;
            }
        }
        result
    }

    fn torque(&mut self, on: bool) -> Result<(), DriverError> {
        if on {
            self.hold_where_it_is()?;
        }
        let value = [i32::from(on); MAX_JOINTS];
        let torque = self.set_everywhere(&reg::TORQUE_ENABLE, &value);
        // LeRobot locks the EEPROM of a servo that holds and unlocks that of a limp one.
        let lock = self.set_everywhere(&reg::LOCK, &value);
        torque.and(lock)
    }

    fn goal_ticks(&self, target: &JointTarget) -> Result<[i32; MAX_JOINTS], RobotError> {
        let mut ticks = [0; MAX_JOINTS];
        for (i, spec) in self.specs.iter().enumerate() {
            let rad = target.positions().get(i).copied().unwrap_or(f64::NAN);
            if !rad.is_finite() || target.len != self.specs.len() {
                return Err(RobotError::Joint {
                    device: self.bus.path().to_owned(),
                    joint: spec.name.clone(),
                    id: spec.id,
                    problem: format!(
                        "goal {rad} rad in a target of {} joints for a robot of {}; fix whatever sends targets",
                        target.len,
                        self.specs.len()
                    ),
                });
            }
            ticks[i] = spec.ticks(rad);
        }
        Ok(ticks)
    }
}

impl Robot for FeetechRobot {
    fn joints(&self) -> &JointNames {
        &self.joints
    }

    fn read(&mut self, state: &mut JointState) -> Result<(), RobotError> {
        let got = self.read_all();
        self.last.seq += 1;
        *state = self.last;
        match got {
            Ok(0) => Err(RobotError::Silent {
                device: self.bus.path().to_owned(),
                budget_ms: self.options.cycle_budget.as_millis() as u64,
            }),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into_robot_error(self.bus.path())),
        }
    }

    fn write(&mut self, target: &JointTarget) -> Result<(), RobotError> {
        let ticks = self.goal_ticks(target)?;
        let (mut ids, mut goals, mut count) = ([0u8; MAX_JOINTS], [0; MAX_JOINTS], 0);
        for (i, id) in self.ids.iter().enumerate() {
            // A goal must not wake a servo that was let go.
            if !self.released[i] {
                (ids[count], goals[count]) = (*id, ticks[i]);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(());
        }
        self.bus
            .sync_write(&reg::GOAL_POSITION, &ids[..count], &goals[..count])
            .map_err(|e| e.into_robot_error(self.bus.path()))
    }

    fn set_torque(&mut self, on: bool) -> Result<(), RobotError> {
        self.torque(on)
            .map_err(|e| e.into_robot_error(self.bus.path()))?;
        self.released = [false; MAX_JOINTS];
        Ok(())
    }

    fn release(&mut self, joint: usize) -> Result<(), RobotError> {
        let Some(&id) = self.ids.get(joint) else {
            return Err(RobotError::Unusable {
                device: self.bus.path().to_owned(),
                problem: format!(
                    "joint number {} of {} cannot be released; please report this as a bug",
                    joint + 1,
                    self.ids.len()
                ),
            });
        };
        // No goals from now on, whether or not the servo hears this at the first attempt.
        self.released[joint] = true;
        self.bus
            .set_torque(id, false)
            .map_err(|e| e.into_robot_error(self.bus.path()))
    }
}
