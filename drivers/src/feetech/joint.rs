//! What the driver must know about one joint, and how ticks become radians.

use super::registers::{MODEL_STS3215, TICKS_PER_TURN};
use crate::error::DriverError;
use sinew_runtime::MAX_JOINTS;

/// Radians of one tick. LeRobot spreads a turn over 4095 ticks, and so do we, so that angles
/// equal those in its datasets.
pub const RAD_PER_TICK: f64 = std::f64::consts::TAU / (TICKS_PER_TURN as f64 - 1.0);

/// Protection that is tighter than the factory's, for joints that squeeze things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// `Max_Torque_Limit` and `Torque_Limit`, 0.1 % of stall torque.
    pub max_torque: u16,
    /// `Protection_Current`, 6.5 mA.
    pub current: u16,
    /// `Overload_Torque`, % of stall torque once overload was detected.
    pub overload_torque: u8,
}

impl Protection {
    /// What LeRobot gives the gripper of an SO-101.
    pub const GRIPPER: Self = Self {
        max_torque: 500,
        current: 250,
        overload_torque: 25,
    };
}

/// One joint: which servo drives it and how it is calibrated.
#[derive(Debug, Clone, PartialEq)]
pub struct JointSpec {
    /// Joint name, as in the blueprint.
    pub name: String,
    /// Bus id, 0..=252.
    pub id: u8,
    /// Model number that the servo must report.
    pub model: u16,
    /// `Homing_Offset`, ticks; the servo subtracts it from what it measures.
    pub homing_offset: i32,
    /// Lower end of the calibrated range, ticks.
    pub range_min: i32,
    /// Upper end of the calibrated range, ticks.
    pub range_max: i32,
    /// LeRobot's `drive_mode`. It turns around normalised ranges (0..100, −100..100) and not
    /// angles, so nothing in this crate changes with it; it travels along for whoever normalises.
    pub drive_mode: bool,
    /// The joint's angle at the middle of its calibrated range, rad: 0 but for joints whose model
    /// counts from elsewhere, such as a gripper that counts from closed.
    pub center_rad: f64,
    /// Tighter protection, for grippers.
    pub protection: Option<Protection>,
    /// Stall torque, N·m, which scales `Present_Load` to efforts; 0 where it is not known.
    pub stall_torque_nm: f64,
}

impl JointSpec {
    /// An uncalibrated STS3215 (full turn, angle 0 in the middle).
    pub fn new(name: impl Into<String>, id: u8) -> Self {
        Self {
            name: name.into(),
            id,
            model: MODEL_STS3215,
            homing_offset: 0,
            range_min: 0,
            range_max: i32::from(TICKS_PER_TURN) - 1,
            drive_mode: false,
            center_rad: 0.0,
            protection: None,
            stall_torque_nm: 0.0,
        }
    }

    /// The six joints of an SO-101, uncalibrated, gripper protected.
    pub fn so101() -> Vec<Self> {
        let names = [
            "shoulder_pan",
            "shoulder_lift",
            "elbow_flex",
            "wrist_flex",
            "wrist_roll",
            "gripper",
        ];
        let mut joints: Vec<_> = names
            .into_iter()
            .zip(1..)
            .map(|(name, id)| Self::new(name, id))
            .collect();
        if let Some(gripper) = joints.last_mut() {
            gripper.protection = Some(Protection::GRIPPER);
        }
        joints
    }

    /// Angle of a tick count, rad; the middle of the calibrated range is [`Self::center_rad`].
    pub fn rad(&self, ticks: i32) -> f64 {
        self.center_rad + (f64::from(ticks) - self.middle()) * RAD_PER_TICK
    }

    /// Nearest tick count of an angle in rad, held inside the calibrated range. NaN gives the
    /// middle; callers refuse it first.
    pub fn ticks(&self, rad: f64) -> i32 {
        let ticks = ((rad - self.center_rad) / RAD_PER_TICK + self.middle()).round();
        let ticks = if ticks.is_nan() { self.middle() } else { ticks };
        ticks.clamp(f64::from(self.range_min), f64::from(self.range_max)) as i32
    }

    fn middle(&self) -> f64 {
        f64::from(self.range_min + self.range_max) / 2.0
    }

    fn problem(&self) -> Option<String> {
        let limit = i32::from(TICKS_PER_TURN) - 1;
        if self.id > super::packet::MAX_ID {
            return Some(format!("id {} is above {}", self.id, super::packet::MAX_ID));
        }
        if !(0 <= self.range_min && self.range_min < self.range_max && self.range_max <= limit) {
            return Some(format!(
                "range {}..{} does not lie within 0..{limit}",
                self.range_min, self.range_max
            ));
        }
        if self.homing_offset.abs() > 2047 {
            return Some(format!(
                "homing offset {} does not lie within -2047..2047",
                self.homing_offset
            ));
        }
        (!(self.stall_torque_nm.is_finite() && self.center_rad.is_finite()))
            .then(|| "stall torque or centre angle is not a number".to_owned())
    }
}

/// Refuses joint lists that no bus can carry.
pub(super) fn check(specs: &[JointSpec]) -> Result<(), DriverError> {
    if specs.is_empty() || specs.len() > MAX_JOINTS {
        return Err(DriverError::Count {
            what: "joints of one robot",
            got: specs.len(),
            expected: MAX_JOINTS,
        });
    }
    for (i, spec) in specs.iter().enumerate() {
        let twin = specs[..i]
            .iter()
            .find(|s| s.id == spec.id || s.name == spec.name);
        let problem = spec
            .problem()
            .or_else(|| twin.map(|t| format!("shares its name or id with {}", t.name)));
        if let Some(problem) = problem {
            return Err(DriverError::JointSpec {
                joint: spec.name.clone(),
                problem,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn angles_equal_lerobots_degrees() {
        let spec = JointSpec {
            range_min: 758,
            range_max: 3292,
            ..JointSpec::new("shoulder_pan", 1)
        };
        assert_eq!(spec.rad(2025), 0.0);
        let degrees = (3000.0 - 2025.0) * 360.0 / 4095.0;
        assert!((spec.rad(3000).to_degrees() - degrees).abs() < 1e-12);
    }

    #[test]
    fn impossible_lists_are_refused_by_name() {
        let mut specs = JointSpec::so101();
        assert_eq!(check(&specs), Ok(()));
        specs[5].id = 1;
        let message = check(&specs).unwrap_err().to_string();
        assert!(
            message.contains("gripper") && message.contains("shoulder_pan"),
            "{message}"
        );
        specs[5] = JointSpec {
            range_min: 100,
            range_max: 100,
            ..JointSpec::new("gripper", 6)
        };
        assert!(check(&specs).is_err());
        assert!(check(&[]).is_err());
    }

    proptest! {
        #[test]
        fn ticks_round_trip(min in 0i32..2000, span in 1i32..2000, at in 0.0f64..=1.0) {
            let spec = JointSpec { range_min: min, range_max: min + span, ..JointSpec::new("j", 1) };
            let ticks = min + (f64::from(span) * at) as i32;
            prop_assert_eq!(spec.ticks(spec.rad(ticks)), ticks);
        }

        #[test]
        fn no_angle_leaves_the_range(rad: f64) {
            let spec = JointSpec { range_min: 758, range_max: 3292, ..JointSpec::new("j", 1) };
            prop_assert!((758..=3292).contains(&spec.ticks(rad)));
        }
    }
}
