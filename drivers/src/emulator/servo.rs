//! One STS3215: its control table, what it makes of goals, and what its sensors report.

use super::memory::{Image, Memory, factory};
use super::plant::{DriveMode, ServoDrive, ServoMeasurement};
use super::profile::{Limits, Profile, cruise_for};
use super::protection::{CURRENT_UNIT_A, Protection, Thresholds};
use crate::feetech::registers as reg;
use crate::feetech::registers::{Register, TICKS_PER_TURN};
use std::time::Duration;

const TURN: f64 = TICKS_PER_TURN as f64;
/// Ticks/s of one unit of `Maximum_Velocity_Limit`, and of the velocity registers when bit 2 of
/// `Phase` is clear (0.732 rpm); with the bit set their unit is 1 tick/s (0.0146 rpm).
const COARSE_VELOCITY: f64 = 50.0;
const PHASE_FINE_VELOCITY: i32 = 4;
/// Ticks/s² of one unit of the acceleration registers.
const ACCELERATION_UNIT: f64 = 100.0;
/// How far the setpoint may run ahead of a blocked shaft in velocity mode, ticks.
const LEAD: f64 = 256.0;
/// Where `Torque_Enable` = 128 puts the zero: the present position becomes this.
const MIDDLE: i32 = 2048;
/// `Goal_Time` is the signed duty in PWM mode, with the sign at bit 10.
const PWM_DUTY: Register = Register {
    sign_bit: Some(10),
    ..reg::GOAL_TIME
};

/// What one servo is when the chain is built.
#[derive(Debug, Clone, PartialEq)]
pub struct ServoConfig {
    /// Bus id, 0..=252.
    pub id: u8,
    /// Shaft position at power-up, raw encoder ticks.
    pub position_ticks: f64,
    /// Supply, V.
    pub supply_v: f64,
    /// Temperature around it, °C.
    pub ambient_c: f64,
    /// Registers that differ from a new servo's, as kept in the EEPROM.
    pub eeprom: Vec<(Register, i32)>,
}

impl ServoConfig {
    /// A new servo with this id, its shaft in the middle, on a 7.4 V supply at 25 °C.
    pub fn new(id: u8) -> Self {
        Self {
            id,
            position_ticks: f64::from(MIDDLE),
            supply_v: 7.4,
            ambient_c: 25.0,
            eeprom: Vec::new(),
        }
    }
}

/// One emulated servo.
#[derive(Debug, Clone)]
pub struct Servo {
    memory: Memory,
    pending: Option<(u8, Vec<u8>)>,
    profile: Profile,
    protection: Protection,
    shaft: ServoMeasurement,
    /// Raw ticks of the turn in which goals count, so that a goal is never reached backwards
    /// through the seam of the encoder.
    turn: f64,
    /// Target of the step mode, raw ticks.
    step_target: f64,
    /// Cruise speed that meets `Goal_Time`, ticks/s.
    timed_velocity: f64,
    was_on: bool,
}

impl Servo {
    /// Powers up a servo as configured.
    pub fn new(config: &ServoConfig) -> Self {
        let mut memory = Memory::power_up(factory());
        memory.set_stored(&reg::ID, i32::from(config.id));
        for (register, value) in &config.eeprom {
            memory.set_stored(register, *value);
        }
        Self::with_eeprom(config, *memory.stored())
    }

    pub(crate) fn with_eeprom(config: &ServoConfig, stored: Image) -> Self {
        let position_ticks = config.position_ticks;
        let mut servo = Self {
            memory: Memory::power_up(stored),
            pending: None,
            profile: Profile::default(),
            protection: Protection::new(config.supply_v, config.ambient_c),
            shaft: ServoMeasurement {
                position_ticks,
                ..ServoMeasurement::default()
            },
            turn: 0.0,
            step_target: position_ticks,
            timed_velocity: f64::INFINITY,
            was_on: false,
        };
        servo.boot();
        servo
    }

    fn boot(&mut self) {
        let torque = self.get(&reg::MAX_TORQUE_LIMIT);
        self.memory.set(&reg::TORQUE_LIMIT, torque);
        self.protection.acknowledge();
        self.profile.rest_at(self.shaft.position_ticks);
        self.was_on = false;
        self.timed_velocity = f64::INFINITY;
        self.anchor();
        self.report();
        let here = self.get(&reg::PRESENT_POSITION);
        self.memory.set(&reg::GOAL_POSITION, here);
        self.memory.set(&reg::GOAL_POSITION_2, here);
    }

    /// Takes the power away and gives it back: what was not in the EEPROM is gone.
    pub fn power_cycle(&mut self) {
        self.memory = Memory::power_up(*self.memory.stored());
        self.pending = None;
        self.boot();
    }

    /// The id that the servo answers to.
    pub fn id(&self) -> u8 {
        self.get(&reg::ID) as u8
    }

    /// The bit rate that the servo listens at, bit/s.
    pub fn baud(&self) -> u32 {
        reg::baud_from_code(self.get(&reg::BAUD_RATE) as u8).unwrap_or(1_000_000)
    }

    /// Time between a request and the reply, from `Return_Delay_Time` (unit 2 µs).
    pub fn return_delay(&self) -> Duration {
        Duration::from_micros(2 * self.get(&reg::RETURN_DELAY_TIME).unsigned_abs() as u64)
    }

    /// Whether the servo answers writes (`Response_Status_Level` other than 0).
    pub fn acknowledges(&self) -> bool {
        self.get(&reg::RESPONSE_STATUS_LEVEL) != 0
    }

    /// Alarm bits, as in the error byte of every reply.
    pub fn alarms(&self) -> u8 {
        self.protection.alarms()
    }

    /// The decoded value of a register.
    pub fn get(&self, register: &Register) -> i32 {
        self.memory.get(register)
    }

    /// Copies control table bytes; past the table's end there are zeros.
    pub fn read(&self, addr: u8, out: &mut [u8]) {
        self.memory.read(addr, out);
    }

    /// Shaft position, speed and load as last measured.
    pub fn measurement(&self) -> ServoMeasurement {
        self.shaft
    }

    /// Changes the supply, V.
    pub fn set_supply(&mut self, volts: f64) {
        self.protection.set_supply(volts);
    }

    /// Makes the servo that hot, °C.
    pub fn set_temperature(&mut self, celsius: f64) {
        self.protection.set_temperature(celsius);
    }

    pub(crate) fn force_alarms(&mut self, alarms: u8) {
        self.protection.force(alarms);
        self.memory
            .set(&reg::STATUS, i32::from(self.protection.alarms()));
    }

    pub(crate) fn eeprom(&self) -> &Image {
        self.memory.stored()
    }

    pub(crate) fn take_dirty(&mut self) -> bool {
        self.memory.take_dirty()
    }

    /// Performs a write instruction.
    pub fn write(&mut self, addr: u8, data: &[u8]) {
        let torque_before = self.get(&reg::TORQUE_ENABLE);
        let touched = self.memory.write(addr, data);
        if touched.has(&reg::HOMING_OFFSET)
            || touched.has(&reg::OPERATING_MODE)
            || touched.has(&reg::MIN_POSITION_LIMIT)
            || touched.has(&reg::MAX_POSITION_LIMIT)
        {
            self.anchor();
        }
        if touched.has(&reg::TORQUE_ENABLE) {
            self.protection.acknowledge();
            match self.get(&reg::TORQUE_ENABLE) {
                128 => self.set_middle(torque_before),
                1 if torque_before != 1 => self.anchor(),
                _ => {}
            }
        }
        if touched.has(&reg::GOAL_POSITION) || touched.has(&reg::GOAL_TIME) {
            self.new_goal(touched.has(&reg::GOAL_POSITION));
        }
        self.report();
    }

    /// Keeps a write for [`Servo::action`].
    pub fn reg_write(&mut self, addr: u8, data: &[u8]) {
        self.pending = Some((addr, data.to_vec()));
    }

    /// Performs the kept write, if there is one.
    pub fn action(&mut self) {
        if let Some((addr, data)) = self.pending.take() {
            self.write(addr, &data);
        }
    }

    /// Restores factory values; id and baud rate stay.
    pub fn reset(&mut self) {
        self.memory.reset();
        self.pending = None;
        self.boot();
    }

    fn set_middle(&mut self, torque: i32) {
        let raw = self.shaft.position_ticks.round().rem_euclid(TURN) as i32;
        self.memory.set_stored(&reg::HOMING_OFFSET, raw - MIDDLE);
        self.memory.set(&reg::TORQUE_ENABLE, torque);
        self.anchor();
    }

    fn new_goal(&mut self, position_written: bool) {
        let goal = self.get(&reg::GOAL_POSITION);
        self.memory.set(&reg::GOAL_POSITION_2, goal);
        if position_written && self.get(&reg::OPERATING_MODE) == 3 {
            self.step_target += f64::from(goal);
        }
        let distance = self.target() - self.profile_start();
        self.protection.goal_towards(distance);
        let time = f64::from(self.get(&reg::GOAL_TIME)) * 1e-3;
        self.timed_velocity = if time > 0.0 {
            cruise_for(distance.abs(), time, self.limits().acceleration)
        } else {
            f64::INFINITY
        };
    }

    fn profile_start(&self) -> f64 {
        if self.was_on {
            self.profile.position
        } else {
            self.shaft.position_ticks
        }
    }

    /// Counts goals from the turn that the shaft is in now.
    fn anchor(&mut self) {
        let offset = f64::from(self.get(&reg::HOMING_OFFSET));
        let turns = ((self.shaft.position_ticks.round() - offset) / TURN).floor();
        self.turn = if self.multi_turn() { 0.0 } else { turns * TURN };
        self.step_target = self.shaft.position_ticks;
    }

    fn multi_turn(&self) -> bool {
        self.get(&reg::MIN_POSITION_LIMIT) == 0 && self.get(&reg::MAX_POSITION_LIMIT) == 0
    }

    /// Where the shaft should end up, raw ticks.
    fn target(&self) -> f64 {
        if self.get(&reg::OPERATING_MODE) == 3 {
            return self.step_target;
        }
        let (low, high) = (
            self.get(&reg::MIN_POSITION_LIMIT),
            self.get(&reg::MAX_POSITION_LIMIT),
        );
        let goal = self.get(&reg::GOAL_POSITION);
        let goal = if low < high {
            goal.clamp(low, high)
        } else {
            goal
        };
        f64::from(goal) + f64::from(self.get(&reg::HOMING_OFFSET)) + self.turn
    }

    fn velocity_unit(&self) -> f64 {
        let fine = self.get(&reg::PHASE) & PHASE_FINE_VELOCITY != 0;
        let factor = f64::from(self.get(&reg::VELOCITY_UNIT).max(1));
        factor * if fine { 1.0 } else { COARSE_VELOCITY }
    }

    /// Bounds of the setpoint's motion; zero in a register means "as fast as allowed".
    fn limits(&self) -> Limits {
        let fastest = f64::from(self.get(&reg::MAXIMUM_VELOCITY)) * COARSE_VELOCITY;
        let steepest = f64::from(self.get(&reg::MAXIMUM_ACCELERATION))
            * f64::from(self.get(&reg::ACCELERATION_MULTIPLIER).max(1))
            * ACCELERATION_UNIT;
        let unbounded = |limit: f64| if limit > 0.0 { limit } else { f64::INFINITY };
        let wish = f64::from(self.get(&reg::ACCELERATION)) * ACCELERATION_UNIT;
        Limits {
            velocity: unbounded(fastest),
            acceleration: unbounded(wish).min(unbounded(steepest)),
        }
    }

    /// Advances the setpoint by `dt` seconds and says what the motor is asked for.
    pub fn drive(&mut self, dt: f64) -> ServoDrive {
        let mask = self.get(&reg::UNLOADING_CONDITION) as u8;
        let torque_on = self.get(&reg::TORQUE_ENABLE) == 1 && !self.protection.unloads(mask);
        if !torque_on || !self.was_on {
            self.profile.rest_at(self.shaft.position_ticks);
        }
        self.was_on = torque_on;
        let mode = match self.get(&reg::OPERATING_MODE) {
            1 => DriveMode::Velocity,
            2 => DriveMode::Pwm,
            _ => DriveMode::Position,
        };
        if torque_on {
            self.advance(mode, dt);
        }
        ServoDrive {
            torque_on,
            setpoint_ticks: self.profile.position,
            setpoint_velocity: self.profile.velocity,
            torque_limit: self.torque_limit(mask),
            mode,
            duty: f64::from(self.get(&PWM_DUTY)).clamp(-1000.0, 1000.0) / 1000.0,
        }
    }

    fn advance(&mut self, mode: DriveMode, dt: f64) {
        let mut limits = self.limits();
        let speed = f64::from(self.get(&reg::GOAL_VELOCITY)) * self.velocity_unit();
        match mode {
            DriveMode::Position => {
                let wish = if speed == 0.0 {
                    f64::INFINITY
                } else {
                    speed.abs()
                };
                limits.velocity = limits.velocity.min(wish).min(self.timed_velocity);
                self.profile.approach(self.target(), limits, dt);
            }
            DriveMode::Velocity => {
                self.profile.run(speed, limits, dt);
                let here = self.shaft.position_ticks;
                self.profile.position = self.profile.position.clamp(here - LEAD, here + LEAD);
            }
            DriveMode::Pwm => self.profile.rest_at(self.shaft.position_ticks),
        }
    }

    fn torque_limit(&self, mask: u8) -> f64 {
        let register = self
            .get(&reg::TORQUE_LIMIT)
            .min(self.get(&reg::MAX_TORQUE_LIMIT));
        let normal = f64::from(register) / 1000.0;
        let weak = f64::from(self.get(&reg::PROTECTIVE_TORQUE)) / 100.0;
        let limit = if self.protection.weakens(mask) {
            normal.min(weak)
        } else {
            normal
        };
        limit.clamp(0.0, 1.0)
    }

    /// Takes in what the sensors measured after `dt` seconds. Values that are not numbers leave
    /// the old ones.
    pub fn measure(&mut self, dt: f64, new: &ServoMeasurement) {
        let keep = |new: f64, old: f64| if new.is_finite() { new } else { old };
        self.shaft = ServoMeasurement {
            position_ticks: keep(new.position_ticks, self.shaft.position_ticks),
            velocity_ticks_per_s: keep(new.velocity_ticks_per_s, self.shaft.velocity_ticks_per_s),
            load: keep(new.load, self.shaft.load).clamp(-1.0, 1.0),
        };
        let thresholds = self.thresholds();
        self.protection.update(self.shaft.load, &thresholds, dt);
        self.report();
    }

    fn thresholds(&self) -> Thresholds {
        let value = |register| f64::from(self.get(&register));
        Thresholds {
            voltage: (
                value(reg::MIN_VOLTAGE_LIMIT) / 10.0,
                value(reg::MAX_VOLTAGE_LIMIT) / 10.0,
            ),
            temperature: value(reg::MAX_TEMPERATURE_LIMIT),
            overload: (
                value(reg::OVERLOAD_TORQUE) / 100.0,
                value(reg::PROTECTION_TIME) / 100.0,
            ),
            overcurrent: (
                value(reg::PROTECTION_CURRENT) * CURRENT_UNIT_A,
                value(reg::OVERCURRENT_TIME) / 100.0,
            ),
        }
    }

    /// Puts the measured values into the control table.
    fn report(&mut self) {
        let shifted = self.shaft.position_ticks.round() - f64::from(self.get(&reg::HOMING_OFFSET));
        let position = if self.multi_turn() {
            shifted
        } else {
            shifted.rem_euclid(TURN)
        };
        let velocity = self.shaft.velocity_ticks_per_s / self.velocity_unit();
        let threshold = f64::from(self.get(&reg::MOVING_VELOCITY)) * COARSE_VELOCITY;
        let moving = self.shaft.velocity_ticks_per_s.abs() > threshold
            || (self.was_on && self.profile.velocity != 0.0);
        let health = &self.protection;
        let values = [
            (reg::PRESENT_POSITION, position),
            (reg::PRESENT_VELOCITY, velocity),
            (reg::PRESENT_LOAD, self.shaft.load * 1000.0),
            (reg::PRESENT_VOLTAGE, health.voltage_v() * 10.0),
            (reg::PRESENT_TEMPERATURE, health.temperature_c()),
            (reg::PRESENT_CURRENT, health.current_a() / CURRENT_UNIT_A),
            (reg::STATUS, f64::from(health.alarms())),
            (reg::MOVING, f64::from(u8::from(moving))),
        ];
        for (register, value) in values {
            self.memory.set(&register, value.round() as i32);
        }
    }
}

#[cfg(test)]
#[path = "servo_tests.rs"]
mod tests;
