//! What a robot (and its surroundings) offers to a policy, by name, and one observation of it.

use sinew_runtime::{Frame, JointNames, JointState};
use std::collections::BTreeMap;

/// A vector of named numbers that a policy may observe beside joints and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// State of the surroundings that a simulator or a perception program knows (LeRobot's
    /// `observation.environment_state`), for example `cube.x` in m.
    Environment,
    /// What an operator or a planner asks for, for example `velocity.x` in m/s.
    Command,
    /// Inertial unit of the base: `angular_velocity.{x,y,z}` in rad/s and `gravity.{x,y,z}`, the
    /// unit vector along gravity, both in the base's frame.
    Imu,
}

impl Channel {
    /// All channels, in the order of [`Channel::index`].
    pub const ALL: [Self; 3] = [Self::Environment, Self::Command, Self::Imu];

    /// The name in `policy.toml` and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Command => "command",
            Self::Imu => "imu",
        }
    }

    /// Position in arrays that hold one entry a channel.
    pub fn index(self) -> usize {
        match self {
            Self::Environment => 0,
            Self::Command => 1,
            Self::Imu => 2,
        }
    }
}

/// Names of everything that can be observed and driven. Policies bind to these names, never to
/// positions in an array.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    robot: Option<String>,
    joints: JointNames,
    values: [Vec<String>; Channel::ALL.len()],
    cameras: Vec<String>,
    ranges: BTreeMap<String, [f64; 2]>,
}

impl Features {
    /// A robot that offers its joints alone.
    pub fn new(joints: &JointNames) -> Self {
        Self {
            robot: None,
            joints: joints.clone(),
            values: Default::default(),
            cameras: Vec::new(),
            ranges: BTreeMap::new(),
        }
    }

    /// Says which robot this is, by the name of its blueprint. Policies for another one are then
    /// refused.
    pub fn of_robot(mut self, name: impl Into<String>) -> Self {
        self.robot = Some(name.into());
        self
    }

    /// The blueprint's name, where it was said.
    pub fn robot(&self) -> Option<&str> {
        self.robot.as_deref()
    }

    /// Adds the names of a channel, in the order in which [`PolicyInput`] will carry them.
    pub fn with_values(
        mut self,
        channel: Channel,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.values[channel.index()] = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the cameras' names, in the order of [`PolicyInput::images`].
    pub fn with_cameras(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.cameras = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the joints that LeRobot's units count from 0 to 100 (grippers), with their positions in
    /// rad at 0 and at 100. Policies that bring ranges of their own do not need them.
    pub fn with_ranges(
        mut self,
        ranges: impl IntoIterator<Item = (impl Into<String>, [f64; 2])>,
    ) -> Self {
        let ranges = ranges.into_iter();
        self.ranges = ranges.map(|(joint, range)| (joint.into(), range)).collect();
        self
    }

    /// Positions in rad at 0 and at 100 of the joints that LeRobot's units count so.
    pub fn ranges(&self) -> &BTreeMap<String, [f64; 2]> {
        &self.ranges
    }

    /// Joint names in blueprint order.
    pub fn joints(&self) -> &JointNames {
        &self.joints
    }

    /// Names of one channel's values.
    pub fn values(&self, channel: Channel) -> &[String] {
        &self.values[channel.index()]
    }

    /// Names of the cameras.
    pub fn cameras(&self) -> &[String] {
        &self.cameras
    }
}

impl From<&JointNames> for Features {
    fn from(joints: &JointNames) -> Self {
        Self::new(joints)
    }
}

/// One observation. Slices are in the order of the [`Features`] that the policy was loaded with.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// Place on the step timeline, which tells observations apart where the joints have not been measured
    /// anew.
    pub step: u64,
    /// Joint positions in rad and velocities in rad/s.
    pub joints: &'a JointState,
    /// Values of [`Channel::Environment`], SI units.
    pub environment: &'a [f64],
    /// Values of [`Channel::Command`], SI units.
    pub command: &'a [f64],
    /// Values of [`Channel::Imu`], SI units.
    pub imu: &'a [f64],
    /// Newest image of each camera.
    pub images: &'a [&'a Frame],
}

impl<'a> PolicyInput<'a> {
    /// An observation of joints alone.
    pub fn new(joints: &'a JointState) -> Self {
        Self {
            step: 0,
            joints,
            environment: &[],
            command: &[],
            imu: &[],
            images: &[],
        }
    }

    /// The values of one channel.
    pub fn values(&self, channel: Channel) -> &'a [f64] {
        match channel {
            Channel::Environment => self.environment,
            Channel::Command => self.command,
            Channel::Imu => self.imu,
        }
    }
}
