//! Servo ticks ⇄ rad ⇄ LeRobot's units: the only place where they meet.
//!
//! LeRobot's formulas, with m and M the ends of the calibrated range and b the position in ticks,
//! clamped to m..M for the `range_*` units:
//!
//! - degrees: (raw − (m+M)/2) · 360/4095
//! - range_0_100: (b−m)/(M−m) · 100, and 100 − that with drive mode 1
//! - range_m100_100: (b−m)/(M−m) · 200 − 100, and its negative with drive mode 1
//!
//! Sinew's rad is `center_rad + (raw − (m+M)/2) · 2π/4095`. `center_rad` is 0 but for joints whose
//! model does not count from the middle of the range: with it the SO-101's gripper is −0.17 rad
//! closed and 1.75 rad open as in its MJCF, and 0 and 100 in LeRobot's units.

use crate::blueprint::{Blueprint, Joint, Norm};
use crate::calibration::{Calibration, JointCalibration, RAD_PER_TICK, TICKS_PER_TURN};
use crate::error::HardwareError;

/// The units of one joint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointUnits {
    norm: Norm,
    center_rad: f64,
    half_range_rad: f64,
    middle_ticks: f64,
    flipped: bool,
}

impl JointUnits {
    /// The units of a calibrated joint.
    pub fn new(joint: &Joint, calibration: &JointCalibration) -> Self {
        Self {
            norm: joint.norm,
            center_rad: joint.center_rad,
            half_range_rad: calibration.half_range_rad(),
            middle_ticks: calibration.middle(),
            flipped: calibration.drive_mode == 1,
        }
    }

    /// The units of a joint without ticks (simulation only): its limits stand for the range.
    pub fn uncalibrated(joint: &Joint) -> Self {
        let [low, high] = joint.limits_rad;
        let center_rad = match joint.norm {
            Norm::Range0To100 | Norm::RangeM100To100 => (low + high) / 2.0,
            Norm::Degrees | Norm::Radians => joint.center_rad,
        };
        Self {
            norm: joint.norm,
            center_rad,
            half_range_rad: (high - low) / 2.0,
            middle_ticks: f64::from(TICKS_PER_TURN - 1) / 2.0,
            flipped: false,
        }
    }

    /// Position of a servo, in ticks as it reports them, to rad.
    pub fn rad_from_raw(&self, ticks: i32) -> f64 {
        self.center_rad + (f64::from(ticks) - self.middle_ticks) * RAD_PER_TICK
    }

    /// Rad to the nearest tick, within one turn (0..=4095). NaN gives the middle of the range.
    ///
    /// LeRobot truncates where this rounds, so the two may differ by one tick.
    pub fn raw_from_rad(&self, rad: f64) -> i32 {
        let ticks = self.middle_ticks + (rad - self.center_rad) / RAD_PER_TICK;
        let ticks = if ticks.is_nan() {
            self.middle_ticks
        } else {
            ticks
        };
        ticks.round().clamp(0.0, f64::from(TICKS_PER_TURN - 1)) as i32
    }

    /// Rad/s to ticks/s.
    pub fn ticks_per_second(&self, rad_per_second: f64) -> f64 {
        rad_per_second / RAD_PER_TICK
    }

    /// Ticks/s to rad/s.
    pub fn rad_per_second(&self, ticks_per_second: f64) -> f64 {
        ticks_per_second * RAD_PER_TICK
    }

    /// Rad to LeRobot's unit for this joint.
    pub fn to_lerobot(&self, rad: f64) -> f64 {
        let from_center = rad - self.center_rad;
        match self.norm {
            Norm::Radians => rad,
            Norm::Degrees => from_center.to_degrees(),
            Norm::Range0To100 => 50.0 + 50.0 * self.share(from_center),
            Norm::RangeM100To100 => 100.0 * self.share(from_center),
        }
    }

    /// LeRobot's unit for this joint to rad.
    pub fn from_lerobot(&self, value: f64) -> f64 {
        let sign = if self.flipped { -1.0 } else { 1.0 };
        match self.norm {
            Norm::Radians => value,
            Norm::Degrees => self.center_rad + value.to_radians(),
            Norm::Range0To100 => {
                self.center_rad
                    + sign * (value.clamp(0.0, 100.0) / 50.0 - 1.0) * self.half_range_rad
            }
            Norm::RangeM100To100 => {
                self.center_rad + sign * value.clamp(-100.0, 100.0) / 100.0 * self.half_range_rad
            }
        }
    }

    /// Place in the range: −1 at one end, 1 at the other, clamped.
    fn share(&self, from_center: f64) -> f64 {
        let share = (from_center / self.half_range_rad).clamp(-1.0, 1.0);
        if self.flipped { -share } else { share }
    }
}

/// The units of a whole robot, in blueprint order.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    joints: Vec<JointUnits>,
    names: Vec<String>,
}

impl Units {
    /// The units of a calibrated robot.
    ///
    /// # Errors
    /// [`HardwareError::Calibration`] if the calibration is not one of this robot.
    pub fn new(blueprint: &Blueprint, calibration: &Calibration) -> Result<Self, HardwareError> {
        calibration.check(blueprint)?;
        let joints = blueprint.joints.iter();
        let joints =
            joints.filter_map(|joint| Some(JointUnits::new(joint, calibration.get(&joint.name)?)));
        Ok(Self {
            joints: joints.collect(),
            names: feature_names(blueprint),
        })
    }

    /// The units of a robot without servos: each joint's limits stand for its range.
    pub fn uncalibrated(blueprint: &Blueprint) -> Self {
        let joints = blueprint
            .joints
            .iter()
            .map(JointUnits::uncalibrated)
            .collect();
        Self {
            joints,
            names: feature_names(blueprint),
        }
    }

    /// The units that the blueprint's own calibration gives; by limits for a robot that has none.
    ///
    /// # Errors
    /// [`HardwareError::Calibration`] if the blueprint's calibration contradicts itself.
    pub fn default_of(blueprint: &Blueprint) -> Result<Self, HardwareError> {
        match Calibration::from_blueprint(blueprint) {
            Ok(calibration) => Self::new(blueprint, &calibration),
            Err(HardwareError::MissingSection { .. }) => Ok(Self::uncalibrated(blueprint)),
            Err(error) => Err(error),
        }
    }

    /// LeRobot's names of the values: `<joint>.pos`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Units joint by joint.
    pub fn joints(&self) -> &[JointUnits] {
        &self.joints
    }

    /// Rad to LeRobot's units, as datasets and checkpoints hold them. Never allocates.
    ///
    /// Slices are in blueprint order; entries past the shortest are left alone.
    pub fn to_lerobot(&self, rad: &[f64], out: &mut [f32]) {
        for ((units, rad), out) in self.joints.iter().zip(rad).zip(out) {
            *out = units.to_lerobot(*rad) as f32;
        }
    }

    /// LeRobot's units to rad. Never allocates.
    ///
    /// Slices are in blueprint order; entries past the shortest are left alone.
    pub fn from_lerobot(&self, values: &[f32], out: &mut [f64]) {
        for ((units, value), out) in self.joints.iter().zip(values).zip(out) {
            *out = units.from_lerobot(f64::from(*value));
        }
    }
}

fn feature_names(blueprint: &Blueprint) -> Vec<String> {
    blueprint
        .joints
        .iter()
        .map(|joint| format!("{}.pos", joint.name))
        .collect()
}

#[cfg(test)]
mod tests;
