//! Units of joint values: LeRobot's in datasets, SI in ROS messages.

use serde::{Deserialize, Serialize};

/// In which unit a dataset has its joint positions. LeRobot does not write it down; its robots use
/// degrees, with grippers from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JointUnit {
    /// Degrees; grippers in percent of their range.
    #[default]
    Degrees,
    /// Radians, or whatever else is to be taken over as it is.
    Radians,
    /// Percent of each joint's range (LeRobot's `range_m100_100`).
    Percent,
}

/// The unit of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// rad in ROS.
    Degrees,
    /// A fraction in ROS: a range without a known length has no SI unit.
    Percent,
    /// As it is.
    Plain,
}

impl Unit {
    /// The unit of the entry `name` of a joint vector.
    pub(crate) fn of(name: &str, joints: JointUnit) -> Self {
        // LeRobot's names of joint positions; `ee.x` and the like are none.
        if !name.ends_with(".pos") {
            return Self::Plain;
        }
        match joints {
            JointUnit::Radians => Self::Plain,
            JointUnit::Percent => Self::Percent,
            JointUnit::Degrees if name.contains("gripper") => Self::Percent,
            JointUnit::Degrees => Self::Degrees,
        }
    }

    /// The name in channel metadata.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Degrees => "degree",
            Self::Percent => "percent",
            Self::Plain => "as is",
        }
    }

    /// The unit called `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Degrees, Self::Percent, Self::Plain]
            .into_iter()
            .find(|unit| unit.name() == name)
    }

    pub(crate) fn to_si(self, value: f64) -> f64 {
        match self {
            Self::Degrees => value.to_radians(),
            Self::Percent => value / 100.0,
            Self::Plain => value,
        }
    }

    /// Undoes [`Self::to_si`]: what was single precision comes back bit for bit.
    pub(crate) fn of_si(self, value: f64) -> f64 {
        match self {
            Self::Degrees => value.to_degrees(),
            Self::Percent => value * 100.0,
            Self::Plain => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lerobots_names_have_lerobots_units() {
        let of = |name| Unit::of(name, JointUnit::Degrees);
        assert_eq!(of("elbow_flex.pos"), Unit::Degrees);
        assert_eq!(of("left_gripper.pos"), Unit::Percent);
        assert_eq!(of("ee.x"), Unit::Plain);
        assert_eq!(Unit::of("a.pos", JointUnit::Radians), Unit::Plain);
    }

    proptest! {
        #[test]
        fn single_precision_survives_the_way_to_si_and_back(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            for unit in [Unit::Degrees, Unit::Percent, Unit::Plain] {
                let back = unit.of_si(unit.to_si(f64::from(value))) as f32;
                // Near the largest and the smallest numbers the double would overflow or lose bits
                // only beyond single precision, so nothing is excluded but NaN's payload.
                prop_assert!(back.to_bits() == value.to_bits() || value.is_nan() && back.is_nan());
            }
        }
    }
}
