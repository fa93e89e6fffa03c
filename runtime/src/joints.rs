//! Joint state and joint target: fixed-size, `Copy`, so that passing them never allocates.

use crate::clock::Nanos;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The most joints that one robot may have. A G1 humanoid has 29.
pub const MAX_JOINTS: usize = 32;

/// What a joint reported besides its value, or why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JointFault {
    /// Fresh value, no alarm.
    #[default]
    None,
    /// No reply within the cycle's budget; the value is the last good one.
    Timeout,
    /// A reply arrived damaged, retries included; the value is the last good one.
    Corrupt,
    /// Fresh value, but the servo reports alarm bits (device specific).
    Alarm(u8),
}

impl JointFault {
    /// Whether the value beside this is from this cycle.
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::None | Self::Alarm(_))
    }
}

/// Measured state of all joints of one robot at one instant.
///
/// Arrays are in blueprint order; entries at and past `len` are zero. Positions in rad,
/// velocities in rad/s, efforts in N·m where known, else 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointState {
    /// Counts reads, from 1.
    pub seq: u64,
    /// When the values were measured.
    pub captured_ns: Nanos,
    /// Number of joints.
    pub len: usize,
    /// Positions, rad.
    pub position: [f64; MAX_JOINTS],
    /// Velocities, rad/s.
    pub velocity: [f64; MAX_JOINTS],
    /// Efforts, N·m.
    pub effort: [f64; MAX_JOINTS],
    /// Health of each joint's reading.
    pub fault: [JointFault; MAX_JOINTS],
}

impl Default for JointState {
    fn default() -> Self {
        Self {
            seq: 0,
            captured_ns: 0,
            len: 0,
            position: [0.0; MAX_JOINTS],
            velocity: [0.0; MAX_JOINTS],
            effort: [0.0; MAX_JOINTS],
            fault: [JointFault::None; MAX_JOINTS],
        }
    }
}

impl JointState {
    /// The measured positions, rad.
    pub fn positions(&self) -> &[f64] {
        &self.position[..self.len]
    }
}

/// Where all joints should go. Positions in rad, blueprint order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointTarget {
    /// Counts targets, from 1; 0 means "no target yet".
    pub seq: u64,
    /// When the target was decided.
    pub issued_ns: Nanos,
    /// Number of joints.
    pub len: usize,
    /// Goal positions, rad.
    pub position: [f64; MAX_JOINTS],
}

impl Default for JointTarget {
    fn default() -> Self {
        Self {
            seq: 0,
            issued_ns: 0,
            len: 0,
            position: [0.0; MAX_JOINTS],
        }
    }
}

impl JointTarget {
    /// A target from a slice. `None` if it has more than [`MAX_JOINTS`] entries.
    pub fn from_positions(positions: &[f64]) -> Option<Self> {
        let mut target = Self {
            len: positions.len(),
            ..Self::default()
        };
        target
            .position
            .get_mut(..positions.len())?
            .copy_from_slice(positions);
        Some(target)
    }

    /// The goal positions, rad.
    pub fn positions(&self) -> &[f64] {
        &self.position[..self.len]
    }
}

/// A count for each joint of a robot. `Copy`, so that threads which must not allocate can publish
/// it; it serialises as a list of as many numbers as the robot has joints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JointCounts {
    len: usize,
    counts: [u64; MAX_JOINTS],
}

impl JointCounts {
    /// Zeros for `joints` joints, [`MAX_JOINTS`] at most.
    pub fn new(joints: usize) -> Self {
        Self {
            len: joints.min(MAX_JOINTS),
            counts: [0; MAX_JOINTS],
        }
    }
}

impl Deref for JointCounts {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        &self.counts[..self.len]
    }
}

impl DerefMut for JointCounts {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.counts[..self.len]
    }
}

impl Serialize for JointCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for JointCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Vec::<u64>::deserialize(deserializer)?;
        if given.len() > MAX_JOINTS {
            let problem = format!("{} joints, but {MAX_JOINTS} are possible", given.len());
            return Err(D::Error::custom(problem));
        }
        let mut counts = Self::new(given.len());
        counts.copy_from_slice(&given);
        Ok(counts)
    }
}

/// Joint names in blueprint order, shared by everything that binds by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JointNames(Arc<[String]>);

impl JointNames {
    /// Names in blueprint order.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Index of `name`, if the robot has such a joint.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|n| n == name)
    }

    /// For each of `wanted`, its index here; the error lists every name that is missing.
    pub fn bind<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<usize>, Vec<String>> {
        let mut indices = Vec::new();
        let mut missing = Vec::new();
        for name in wanted {
            match self.index_of(name) {
                Some(i) => indices.push(i),
                None => missing.push(name.to_owned()),
            }
        }
        if missing.is_empty() {
            Ok(indices)
        } else {
            Err(missing)
        }
    }
}

impl Deref for JointNames {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binding_lists_all_missing_names() {
        let names = JointNames::new(["a", "b", "c"]);
        assert_eq!(names.bind(["c", "a"]), Ok(vec![2, 0]));
        assert_eq!(
            names.bind(["x", "a", "y"]),
            Err(vec!["x".to_owned(), "y".to_owned()])
        );
    }

    #[test]
    fn target_refuses_too_many_joints() {
        assert!(JointTarget::from_positions(&[0.0; MAX_JOINTS + 1]).is_none());
    }
}
