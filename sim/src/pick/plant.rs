//! The arm's joints behind emulated servos: ticks on one side, physics on the other.

use super::error::PickError;
use super::scene::{DOF, JOINTS};
use super::task::PickTask;
use crate::{SimError, World};
use sinew_drivers::emulator::{
    DriveMode, EmulatedChain, Plant, ServoConfig, ServoDrive, ServoMeasurement,
};
use sinew_drivers::feetech::registers as reg;
use sinew_hardware::Blueprint;
use std::f64::consts::TAU;

/// Most physics that one call makes up for, s. A machine that stalls longer lets the world fall
/// behind wall time rather than stall it further.
const LONGEST_CATCH_UP_S: f64 = 0.1;

/// How raw encoder ticks and joint angles belong together.
///
/// LeRobot counts 4095 ticks a turn in its calibration formula, and the driver follows it; the
/// emulated arm must be read with the same number, or it would seem 0.02 % too long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TickMap {
    /// Raw ticks of each joint at 0 rad.
    pub zero_ticks: [f64; DOF],
    /// Ticks a rad.
    pub ticks_per_rad: f64,
}

impl TickMap {
    /// The map under which the blueprint's default calibration is exact.
    ///
    /// # Errors
    /// [`PickError::Config`] when the blueprint lacks a joint or its calibration.
    pub fn from_blueprint(blueprint: &Blueprint) -> Result<Self, PickError> {
        let ticks_per_rad = 4095.0 / TAU;
        let mut zero_ticks = [0.0; DOF];
        for (zero, name) in zero_ticks.iter_mut().zip(JOINTS) {
            let joint = blueprint.joints.iter().find(|j| j.name == name);
            let calibrated = joint.and_then(|j| Some((j.center_rad, j.calibration?)));
            let (center_rad, calibration) = calibrated.ok_or_else(|| PickError::Config {
                field: "blueprint",
                value: blueprint.name.clone(),
                problem: "lacks a joint of the SO-101, or its default calibration; use blueprint so101",
            })?;
            let middle = f64::from(calibration.range_min + calibration.range_max) / 2.0;
            *zero = f64::from(calibration.homing_offset) + middle - center_rad * ticks_per_rad;
        }
        Ok(Self {
            zero_ticks,
            ticks_per_rad,
        })
    }

    /// Raw ticks of joint number `joint` at `rad`.
    pub fn ticks(&self, joint: usize, rad: f64) -> f64 {
        self.zero_ticks[joint] + rad * self.ticks_per_rad
    }

    /// Angle of joint number `joint` at `ticks`, rad.
    pub fn rad(&self, joint: usize, ticks: f64) -> f64 {
        (ticks - self.zero_ticks[joint]) / self.ticks_per_rad
    }
}

/// Six servos that are calibrated as the blueprint says, powered up with the arm at `positions`
/// (rad).
///
/// # Errors
/// [`PickError::Bus`] when the blueprint gives a joint no id or no calibration.
pub fn emulated_servos(
    blueprint: &Blueprint,
    map: &TickMap,
    positions: &[f64; DOF],
) -> Result<EmulatedChain, PickError> {
    let mut configs = Vec::with_capacity(DOF);
    for (i, name) in JOINTS.into_iter().enumerate() {
        let joint = blueprint.joints.iter().find(|j| j.name == name);
        let (id, calibration) = joint
            .and_then(|j| Some((j.id?, j.calibration?)))
            .ok_or_else(|| {
                let reason = format!(
                    "blueprint {} gives joint {name} no id or calibration",
                    blueprint.name
                );
                PickError::Bus { reason }
            })?;
        configs.push(ServoConfig {
            position_ticks: map.ticks(i, positions[i]),
            eeprom: vec![
                (reg::HOMING_OFFSET, calibration.homing_offset),
                (reg::MIN_POSITION_LIMIT, calibration.range_min),
                (reg::MAX_POSITION_LIMIT, calibration.range_max),
            ],
            ..ServoConfig::new(id)
        });
    }
    EmulatedChain::new(&configs).map_err(|e| PickError::Bus {
        reason: e.to_string(),
    })
}

/// The world of a [`PickTask`] as the plant behind six servos in joint order.
#[derive(Debug)]
pub struct SimPlant {
    task: PickTask,
    map: TickMap,
    /// Time that did not fill a physics step yet, s.
    pending_s: f64,
    dropped_s: f64,
    failure: Option<SimError>,
}

impl SimPlant {
    /// A plant over `task`.
    pub fn new(task: PickTask, map: TickMap) -> Self {
        Self {
            task,
            map,
            pending_s: 0.0,
            dropped_s: 0.0,
            failure: None,
        }
    }

    /// The task.
    pub fn task(&self) -> &PickTask {
        &self.task
    }

    /// The task, to reset it.
    pub fn task_mut(&mut self) -> &mut PickTask {
        &mut self.task
    }

    /// How ticks and angles belong together.
    pub fn map(&self) -> &TickMap {
        &self.map
    }

    /// Time that was asked for and not simulated, because too much was asked at once, s.
    pub fn dropped_s(&self) -> f64 {
        self.dropped_s
    }

    /// The error that stopped the physics, once. After it the plant stands still.
    pub fn take_failure(&mut self) -> Option<SimError> {
        self.failure.take()
    }

    /// Sensor values for the present state.
    pub fn measure(&self, measured: &mut [ServoMeasurement]) {
        let scene = self.task.scene();
        let world = self.task.world();
        for (i, servo) in measured.iter_mut().enumerate().take(DOF) {
            let joint = scene.joints[i];
            *servo = ServoMeasurement {
                position_ticks: self.map.ticks(i, world.position(joint)),
                velocity_ticks_per_s: world.velocity(joint) * self.map.ticks_per_rad,
                load: (world.effort(joint) / scene.torque[i]).clamp(-1.0, 1.0),
            };
        }
    }

    fn simulate(&mut self, steps: usize, drives: &[ServoDrive]) -> Result<(), SimError> {
        let scene = *self.task.scene();
        let map = self.map;
        self.task.world_mut().step_with(steps, |world: &mut World| {
            for (i, drive) in drives.iter().enumerate().take(DOF) {
                let position = world.position(scene.joints[i]);
                let lead = lead(
                    drive,
                    map.rad(i, drive.setpoint_ticks) - position,
                    scene.torque[i] / scene.stiffness[i],
                );
                world.set_control(scene.actuators[i], position + lead);
            }
        })
    }
}

/// How far ahead of the joint its position actuator must aim, rad, so that its spring gives the
/// torque that the servo would: none when limp, and never more than the torque limit.
/// `full` is the lead of full torque.
fn lead(drive: &ServoDrive, error: f64, full: f64) -> f64 {
    let limit = drive.torque_limit.clamp(0.0, 1.0) * full;
    match drive.mode {
        _ if !drive.torque_on || !error.is_finite() => 0.0,
        DriveMode::Position | DriveMode::Velocity => error.clamp(-limit, limit),
        DriveMode::Pwm => (drive.duty * full).clamp(-limit, limit),
    }
}

impl Plant for SimPlant {
    fn step(&mut self, dt_s: f64, drives: &[ServoDrive], measured: &mut [ServoMeasurement]) {
        let timestep = self.task.world().timestep();
        let wanted = self.pending_s + dt_s;
        let taken = wanted.min(LONGEST_CATCH_UP_S);
        self.dropped_s += wanted - taken;
        let steps = (taken / timestep) as usize;
        self.pending_s = taken - steps as f64 * timestep;
        if self.failure.is_none()
            && steps > 0
            && let Err(e) = self.simulate(steps, drives)
        {
            self.failure = Some(e);
        }
        self.measure(measured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant() -> SimPlant {
        let map = TickMap {
            zero_ticks: [2047.5; DOF],
            ticks_per_rad: 4095.0 / TAU,
        };
        SimPlant::new(PickTask::new(1).unwrap(), map)
    }

    fn hold(map: &TickMap, torque_limit: f64) -> [ServoDrive; DOF] {
        let home = PickTask::new(1).unwrap().scene().home;
        std::array::from_fn(|i| ServoDrive {
            torque_on: true,
            setpoint_ticks: map.ticks(i, home[i]),
            torque_limit,
            ..ServoDrive::default()
        })
    }

    fn run(plant: &mut SimPlant, drives: &[ServoDrive], seconds: f64) -> [ServoMeasurement; DOF] {
        let mut measured = [ServoMeasurement::default(); DOF];
        for _ in 0..(seconds / 0.005) as usize {
            plant.step(0.005, drives, &mut measured);
        }
        measured
    }

    #[test]
    fn held_joints_stay_and_limp_joints_fall() {
        let mut plant = plant();
        let map = *plant.map();
        // Stretched out, where gravity has a long lever.
        let stretched = [0.0, 0.0, 0.0, 0.5, 0.0, 0.1];
        plant.task_mut().pose_arm(&stretched).unwrap();
        let mut drives = hold(&map, 1.0);
        for (i, drive) in drives.iter_mut().enumerate() {
            drive.setpoint_ticks = map.ticks(i, stretched[i]);
        }
        let held = run(&mut plant, &drives, 1.0);
        for (i, servo) in held.iter().enumerate() {
            assert!(
                (map.rad(i, servo.position_ticks) - stretched[i]).abs() < 0.15,
                "{}",
                JOINTS[i]
            );
        }
        let limp = run(&mut plant, &[ServoDrive::default(); DOF], 1.0);
        let fell = (0..DOF)
            .map(|i| (limp[i].position_ticks - held[i].position_ticks).abs())
            .fold(0.0, f64::max);
        assert!(fell > 100.0, "the unpowered arm moved only {fell} ticks");
        assert!(limp.iter().all(|servo| servo.load.abs() < 1e-9));
    }

    #[test]
    fn torque_limit_bounds_the_load() {
        let mut plant = plant();
        let map = *plant.map();
        let mut drives = hold(&map, 0.2);
        drives[0].setpoint_ticks += 1000.0;
        let mut measured = [ServoMeasurement::default(); DOF];
        for _ in 0..50 {
            plant.step(0.002, &drives, &mut measured);
            assert!(measured[0].load <= 0.2 + 1e-6, "{}", measured[0].load);
        }
        assert!(measured[0].position_ticks > map.ticks(0, 0.0) + 1.0);
    }

    #[test]
    fn a_stall_is_made_up_for_only_in_part() {
        let mut plant = plant();
        let drives = hold(&plant.map().clone(), 1.0);
        plant.step(3.0, &drives, &mut [ServoMeasurement::default(); DOF]);
        assert!((plant.task().world().time() - LONGEST_CATCH_UP_S).abs() < 0.003);
        assert!((plant.dropped_s() - 2.9).abs() < 1e-9);
    }

    #[test]
    fn ticks_and_angles_are_inverse() {
        let map = *plant().map();
        for rad in [-1.7, 0.0, 0.9] {
            assert!((map.rad(2, map.ticks(2, rad)) - rad).abs() < 1e-12);
        }
    }
}
