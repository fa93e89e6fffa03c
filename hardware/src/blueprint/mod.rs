//! One robot's `robot.toml`, as types. Unknown keys are errors, so a typing slip cannot silently
//! switch a limit off.

mod check;
mod load;
mod model;
mod schema;

pub use model::ModelSource;

use serde::Deserialize;
use sinew_runtime::JointNames;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything about a robot that software needs. Made by [`Blueprint::load`], checked whole.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// Folder name, e.g. `so101`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Who designed or sells it.
    pub maker: String,
    /// SPDX licence of the hardware design.
    pub licence: String,
    /// LeRobot's robot type, e.g. `so_follower`: recorded in datasets, and the calibration folder.
    pub robot_type: String,
    /// Pages about it, by what they are.
    pub links: BTreeMap<String, String>,
    /// Buses, in file order.
    pub buses: Vec<Bus>,
    /// Joints; this order is the order of every array.
    pub joints: Vec<Joint>,
    /// Cameras, in file order.
    pub cameras: Vec<Camera>,
    /// How people drive it by hand.
    pub teleop: Teleop,
    /// What to do when things go wrong.
    pub safety: Safety,
    /// MuJoCo model, if there is one.
    pub model: Option<Model>,
    /// Link chain to the tool, if there is one.
    pub kinematics: Option<Kinematics>,
    /// Where this came from.
    pub origin: Origin,
}

/// Where a blueprint was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Compiled into the binary.
    BuiltIn,
    /// A folder on disk.
    Folder(PathBuf),
}

/// A wire (or simulated wire) with servos on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Name that joints refer to.
    pub name: String,
    /// What speaks on it.
    pub kind: BusKind,
    /// Bits per second.
    pub baud: Option<u32>,
    /// Device paths to try, as a shell pattern, e.g. `/dev/ttyACM*`.
    pub port: Option<String>,
    /// What a command to a joint on this bus means.
    #[serde(default)]
    pub control: Control,
}

/// The protocol of a bus. Open: a blueprint may name a kind that only a newer driver knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum BusKind {
    /// Feetech STS/SMS serial servos.
    Feetech,
    /// Dynamixel protocol 2.0 servos.
    Dynamixel,
    /// No wire: only a simulation serves it.
    Sim,
    /// Some other driver's name.
    Other(String),
}

impl From<String> for BusKind {
    fn from(kind: String) -> Self {
        match kind.as_str() {
            "feetech" => Self::Feetech,
            "dynamixel" => Self::Dynamixel,
            "sim" => Self::Sim,
            _ => Self::Other(kind),
        }
    }
}

impl std::fmt::Display for BusKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Feetech => "feetech",
            Self::Dynamixel => "dynamixel",
            Self::Sim => "sim",
            Self::Other(kind) => kind,
        })
    }
}

/// What a command means to the joints of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The servo closes the position loop.
    #[default]
    Position,
    /// We do: torque = kp·(target − position) − kd·velocity, clipped to the joint's torque limit.
    Torque,
}

/// How LeRobot writes a joint's position in datasets and checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Degrees from the middle of the calibrated range, unclamped.
    Degrees,
    /// 0 at one end of the calibrated range, 100 at the other, clamped.
    #[serde(rename = "range_0_100")]
    Range0To100,
    /// −100 at one end of the calibrated range, 100 at the other, clamped.
    #[serde(rename = "range_m100_100")]
    RangeM100To100,
    /// Radians, as they are inside Sinew (robots that LeRobot does not calibrate).
    Radians,
}

/// One joint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// LeRobot's name, or the model's where LeRobot has none.
    pub name: String,
    /// The bus it is on.
    pub bus: String,
    /// Bus id; needed on a servo bus.
    pub id: Option<u8>,
    /// Servo model, e.g. `sts3215`; needed on a servo bus.
    pub model: Option<String>,
    /// How LeRobot writes its position.
    pub norm: Norm,
    /// Lowest and highest position, rad.
    pub limits_rad: [f64; 2],
    /// Fastest that the goal may move, rad/s.
    pub max_velocity_rad_s: f64,
    /// Farthest that the goal may move in one bus cycle, rad, however long the cycle before it is
    /// ago: after a stall the speed alone would allow a leap.
    pub max_step_rad: f64,
    /// Where work starts, rad.
    pub home_rad: f64,
    /// Where it may go limp without falling, rad.
    pub rest_rad: f64,
    /// The joint's angle at the middle of its calibrated range, rad. Not 0 where the range is
    /// lopsided, such as a gripper that counts from closed.
    #[serde(default)]
    pub center_rad: f64,
    /// Stiffness under torque control, N·m/rad.
    pub kp: Option<f64>,
    /// Damping under torque control, N·m·s/rad.
    pub kd: Option<f64>,
    /// Most torque, N·m.
    pub max_torque_nm: Option<f64>,
    /// Calibration to use when there is no file: exact for the emulator, a guess for a real arm.
    pub calibration: Option<DefaultCalibration>,
}

/// A joint's calibration in the blueprint, in servo ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultCalibration {
    /// Ticks that the servo subtracts from what its encoder says.
    pub homing_offset: i32,
    /// Lowest position, ticks.
    pub range_min: i32,
    /// Highest position, ticks.
    pub range_max: i32,
    /// 1 flips the direction of the `range_*` units.
    #[serde(default)]
    pub drive_mode: i32,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Name, as in `observation.images.<name>`; also the model's camera, if it has one.
    pub name: String,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
}

/// How people drive the robot by hand.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teleop {
    /// Keys, in the order in which help shows them.
    #[serde(default)]
    pub keyboard: Vec<KeyBinding>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyBinding {
    /// A lower-case letter or a digit; `n`, `r` and `q` are taken (next, redo, quit).
    pub key: String,
    /// The joint that it moves.
    pub joint: String,
    /// How far one press moves it, rad; the sign is the direction.
    pub step_rad: f64,
}

/// What to do when things go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Safety {
    /// Longest time without a new target before the watchdog bites, ms.
    pub watchdog_ms: u32,
    /// What it does then.
    pub on_watchdog: OnWatchdog,
    /// What happens when the program ends.
    pub on_exit: OnExit,
    /// What happens when a servo reports overload.
    pub on_overload: OnOverload,
}

/// What the watchdog does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnWatchdog {
    /// Hold the pose, for good.
    Hold,
    /// Hold for `hold_ms`, then let torque fade over `ramp_ms`.
    HoldThenComply {
        /// Time held, ms.
        hold_ms: u32,
        /// Time of the fade, ms.
        ramp_ms: u32,
    },
}

/// What happens when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExit {
    /// Torque off at once; an arm in the air drops.
    Comply,
    /// Torque stays on.
    Hold,
    /// Go to the rest pose, then torque off.
    Rest,
}

/// What happens when a servo reports that it is overloaded: too much torque, current or heat.
/// Other alarms are reported only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOverload {
    /// Report it and go on; the servo protects itself.
    Report,
    /// Torque off at that joint until the operator releases the stop; the others go on.
    ReleaseJoint,
    /// Torque off everywhere until the operator releases the stop.
    ReleaseAll,
}

/// A MuJoCo model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Path of the MJCF, relative to the blueprint's folder or to a folder above the program.
    pub file: String,
    /// How to get it where it does not come with the blueprint.
    pub hint: Option<String>,
}

/// The chain from the robot's base to its tools.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinematics {
    /// Moving links, base first.
    pub links: Vec<Link>,
    /// Frames fixed to the last link.
    pub tools: Vec<Tool>,
}

/// A link that turns about one joint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The joint that turns it.
    pub joint: String,
    /// Origin in the link before, m.
    pub pos: [f64; 3],
    /// Orientation in the link before at joint angle 0: w, x, y, z. Normalised when used.
    pub quat: [f64; 4],
    /// Joint axis in the link's own frame.
    pub axis: [f64; 3],
}

/// A frame fixed to the last link.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name; the same as the model's site.
    pub name: String,
    /// Origin in the last link, m.
    pub pos: [f64; 3],
    /// Orientation in the last link: w, x, y, z. Normalised when used.
    pub quat: [f64; 4],
    /// The direction in which the tool points, in its own frame.
    pub approach: [f64; 3],
}

impl Blueprint {
    /// Names of the joints, in the order of every array.
    pub fn joint_names(&self) -> JointNames {
        JointNames::new(self.joints.iter().map(|joint| joint.name.as_str()))
    }

    /// The bus that is called `name`.
    pub fn bus(&self, name: &str) -> Option<&Bus> {
        self.buses.iter().find(|bus| bus.name == name)
    }

    /// The joint that is called `name`.
    pub fn joint(&self, name: &str) -> Option<&Joint> {
        self.joints.iter().find(|joint| joint.name == name)
    }

    /// Where work starts, rad.
    pub fn home(&self) -> Vec<f64> {
        self.joints.iter().map(|joint| joint.home_rad).collect()
    }

    /// Where the robot may go limp, rad.
    pub fn rest(&self) -> Vec<f64> {
        self.joints.iter().map(|joint| joint.rest_rad).collect()
    }
}

#[cfg(test)]
mod tests;
