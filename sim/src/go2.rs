//! The world `go2-walk`: a Unitree Go2 on flat ground, driven by a walking policy.
//!
//! The policy is a network from 45 observations to 12 joint targets, run 50 times a second. This
//! module owns everything around it: what is observed in which order, how actions become joint
//! targets, the motor drivers (torque PD at 500 Hz), and the command. The network itself is any
//! closure, so that every inference engine can be put to the same test.
//!
//! Facts about the policy (layout, scales, gains, default pose) are those of its training
//! environment, rl_sar's robot_lab, as published with the network.

use crate::lockstep::JointDrive;
use crate::model::{BodyId, GeomId, Joint};
use crate::{Drive, SimError, Viewpoint, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::path::Path;

/// Length of the observation.
pub const OBSERVATION: usize = 45;
/// Number of joints and of actions.
pub const ACTIONS: usize = 12;
/// Time between two runs of the policy, s.
pub const CONTROL_PERIOD: f64 = 0.02;
/// Physics steps between two runs of the policy.
const STEPS_PER_TICK: usize = 10;

/// Joints in the policy's order.
pub const JOINTS: [&str; ACTIONS] = [
    "FR_hip_joint",
    "FR_thigh_joint",
    "FR_calf_joint",
    "FL_hip_joint",
    "FL_thigh_joint",
    "FL_calf_joint",
    "RR_hip_joint",
    "RR_thigh_joint",
    "RR_calf_joint",
    "RL_hip_joint",
    "RL_thigh_joint",
    "RL_calf_joint",
];
/// Hip, thigh, calf of every leg when all actions are zero, rad.
const DEFAULT_POSE: [f64; 3] = [0.0, 0.8, -1.5];
/// What an action of 1 adds to hip, thigh, calf, rad.
const ACTION_SCALE: [f64; 3] = [0.125, 0.25, 0.25];
const ANGULAR_VELOCITY_SCALE: f64 = 0.25;
const JOINT_VELOCITY_SCALE: f64 = 0.05;
/// Observations and actions are clipped to ± this.
const CLIP: f64 = 100.0;
const MOTORS: Drive = Drive::TorquePd { kp: 20.0, kd: 0.5 };
const FEET: [&str; 4] = ["FR", "FL", "RR", "RL"];
/// Largest random offset of each joint at the start, rad.
const START_SPREAD: f64 = 0.03;

const SCENE: &str = r#"<mujoco model="go2-walk">
  <include file="go2.xml"/>
  <option timestep="0.002" integrator="Euler"/>
  <statistic center="0 0 0.3" extent="2"/>
  <visual>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.4 0.4 0.4" specular="0 0 0"/>
    <map znear="0.02" zfar="50"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.75 0.85 0.95" rgb2="0.4 0.55 0.75" width="64" height="384"/>
    <texture name="tiles" type="2d" builtin="checker" rgb1="0.55 0.57 0.6" rgb2="0.45 0.47 0.5" width="128" height="128"/>
    <material name="floor" texture="tiles" texrepeat="1 1" texuniform="true"/>
  </asset>
  <worldbody>
    <light pos="0 0 4" dir="0.2 0.3 -1" directional="true" diffuse="0.6 0.6 0.6" specular="0.1 0.1 0.1"/>
    <geom name="floor" type="plane" size="0 0 0.05" material="floor"/>
  </worldbody>
</mujoco>"#;

/// A Go2 that walks where it is told.
#[derive(Debug)]
pub struct Go2Walk {
    world: World,
    drive: JointDrive,
    base: BodyId,
    root: Joint,
    feet: Vec<GeomId>,
    command: [f64; 3],
    tracker: Tracker,
    last_action: [f64; ACTIONS],
    seed: u64,
}

impl Go2Walk {
    /// Loads `go2.xml` and its meshes from `model_dir` and stands the robot on the ground at the
    /// origin, facing +x. The seed decides small offsets of the joints at the start.
    pub fn new(model_dir: &Path, seed: u64) -> Result<Self, SimError> {
        let files = read_model(model_dir)?;
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let world = World::from_xml("go2-walk", SCENE, &files)?;
        let model = world.model().clone();
        let base = model.body("base")?;
        let mut walk = Self {
            drive: JointDrive::bind(&model, &JOINTS.map(str::to_owned), MOTORS)?,
            root: model.free_joint(base)?,
            feet: FEET
                .iter()
                .map(|foot| model.geom(foot))
                .collect::<Result<_, _>>()?,
            base,
            world,
            command: [0.0; 3],
            tracker: Tracker::default(),
            last_action: [0.0; ACTIONS],
            seed,
        };
        walk.reset(seed)?;
        Ok(walk)
    }

    /// Stands the robot at the origin again, at rest; the command is kept.
    pub fn reset(&mut self, seed: u64) -> Result<(), SimError> {
        self.seed = seed;
        self.world.reset()?;
        let mut random = SmallRng::seed_from_u64(seed);
        let joints: Vec<_> = self.drive.joints().collect();
        for (i, joint) in joints.into_iter().enumerate() {
            let offset = random.random_range(-START_SPREAD..=START_SPREAD);
            self.world.set_position(joint, default_position(i) + offset);
        }
        self.set_base_height(0.5);
        self.world.forward()?;
        let lowest = self
            .feet
            .iter()
            .map(|&foot| self.foot_bottom(foot))
            .fold(f64::INFINITY, f64::min);
        self.set_base_height(0.5 - lowest);
        self.world.forward()?;
        self.drive.hold(&self.world);
        self.tracker = Tracker::default();
        self.last_action = [0.0; ACTIONS];
        Ok(())
    }

    /// Asks for a velocity: forward m/s, left m/s, turn to the left rad/s. Reached gradually.
    pub fn set_command(&mut self, command: [f64; 3]) {
        self.command = command;
    }

    /// What the policy sees: angular velocity (3), direction of gravity in the body frame (3),
    /// command (3), joint positions from the default pose (12), joint velocities (12), the last
    /// action (12); scaled as in training.
    pub fn observe(&self, observation: &mut [f32; OBSERVATION]) {
        let mut next = observation.iter_mut();
        let mut push = |value: f64| {
            if let Some(slot) = next.next() {
                *slot = value.clamp(-CLIP, CLIP) as f32;
            }
        };
        let angular = &self.world.qvel()[self.root.dof_index() + 3..][..3];
        angular
            .iter()
            .for_each(|w| push(w * ANGULAR_VELOCITY_SCALE));
        self.gravity().into_iter().for_each(&mut push);
        self.tracker.output.into_iter().for_each(&mut push);
        for (i, joint) in self.drive.joints().enumerate() {
            push(self.world.position(joint) - default_position(i));
        }
        for joint in self.drive.joints() {
            push(self.world.velocity(joint) * JOINT_VELOCITY_SCALE);
        }
        self.last_action.into_iter().for_each(&mut push);
    }

    /// Acts for one control period (0.02 s): sets joint targets and advances physics.
    pub fn apply(&mut self, action: &[f32; ACTIONS]) -> Result<(), SimError> {
        let clipped = action.map(|a| f64::from(a).clamp(-CLIP, CLIP));
        let goals: [f64; ACTIONS] =
            std::array::from_fn(|i| default_position(i) + clipped[i] * ACTION_SCALE[i % 3]);
        self.drive.set_goals(&self.world, &goals)?;
        self.last_action = clipped;
        let drive = &self.drive;
        self.world
            .step_with(STEPS_PER_TICK, |world| drive.apply(world))?;
        self.tracker.update(self.command, self.velocity());
        Ok(())
    }

    /// Runs `policy` for `seconds` of simulated time. The closure fills the actions from the
    /// observation.
    pub fn run<E: From<SimError>>(
        &mut self,
        seconds: f64,
        mut policy: impl FnMut(&[f32; OBSERVATION], &mut [f32; ACTIONS]) -> Result<(), E>,
    ) -> Result<(), E> {
        let ticks = (seconds / CONTROL_PERIOD).round().max(0.0) as usize;
        let mut observation = [0.0; OBSERVATION];
        let mut action = [0.0; ACTIONS];
        for _ in 0..ticks {
            self.observe(&mut observation);
            policy(&observation, &mut action)?;
            self.apply(&action)?;
        }
        Ok(())
    }

    /// Whether it stands: trunk within 45° of level and off the ground.
    pub fn upright(&self) -> bool {
        let level = -self.gravity()[2];
        level > std::f64::consts::FRAC_1_SQRT_2 && self.base_position()[2] > 0.18
    }

    /// Position of the trunk, m.
    pub fn base_position(&self) -> [f64; 3] {
        self.world.body_pose(self.base).position
    }

    /// Direction the trunk faces, rad, counted from +x towards +y.
    pub fn yaw(&self) -> f64 {
        let [w, x, y, z] = self.world.body_pose(self.base).quaternion;
        (2.0 * (w * z + x * y)).atan2(1.0 - 2.0 * (y * y + z * z))
    }

    /// Velocity as a command means it: forward m/s, left m/s, turn rad/s.
    pub fn velocity(&self) -> [f64; 3] {
        let v = &self.world.qvel()[self.root.dof_index()..][..6];
        let (sin, cos) = self.yaw().sin_cos();
        // The turn rate about the vertical: body angular velocity against gravity's direction.
        let up = self.gravity().map(|g| -g);
        let turn = up[0] * v[3] + up[1] * v[4] + up[2] * v[5];
        [cos * v[0] + sin * v[1], cos * v[1] - sin * v[0], turn]
    }

    /// The world, to render or save.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A viewpoint that follows the robot from its right side.
    pub fn view(&self) -> Viewpoint {
        Viewpoint::Follow {
            body: self.base,
            distance: 1.8,
            azimuth: 2.2,
            elevation: -0.35,
        }
    }

    /// The seed of the present run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Unit vector of gravity in the trunk's frame.
    fn gravity(&self) -> [f64; 3] {
        let [w, x, y, z] = self.world.body_pose(self.base).quaternion;
        [
            2.0 * (w * y - x * z),
            -2.0 * (y * z + w * x),
            2.0 * (x * x + y * y) - 1.0,
        ]
    }

    fn set_base_height(&mut self, height: f64) {
        let index = self.root.qpos_index();
        self.world.qpos_mut()[index + 2] = height;
    }

    fn foot_bottom(&self, foot: GeomId) -> f64 {
        self.world.geom_pose(foot).position[2] - self.world.model().geom_size(foot)[0]
    }
}

fn default_position(joint: usize) -> f64 {
    DEFAULT_POSE[joint % 3]
}

/// Turns the wanted velocity into the command that the policy needs to reach it: limits how fast
/// the command changes and trims it by the integral of what is missing.
#[derive(Debug, Default)]
struct Tracker {
    slewed: [f64; 3],
    measured: [f64; 3],
    trim: [f64; 3],
    output: [f64; 3],
}

impl Tracker {
    /// Largest change of the command in one control period.
    const SLEW: [f64; 3] = [0.05, 0.04, 0.10];
    /// Time constant of the low-pass filter on the measured velocity, s: about one stride.
    const FILTER: f64 = 0.3;
    const GAIN: [f64; 3] = [1.5, 1.5, 2.0];
    const LIMIT: [f64; 3] = [0.4, 0.3, 0.6];

    fn update(&mut self, wanted: [f64; 3], velocity: [f64; 3]) {
        let blend = CONTROL_PERIOD / (Self::FILTER + CONTROL_PERIOD);
        for axis in 0..3 {
            let step =
                (wanted[axis] - self.slewed[axis]).clamp(-Self::SLEW[axis], Self::SLEW[axis]);
            self.slewed[axis] += step;
            self.measured[axis] += blend * (velocity[axis] - self.measured[axis]);
            let missing = self.slewed[axis] - self.measured[axis];
            let trim = self.trim[axis] + Self::GAIN[axis] * missing * CONTROL_PERIOD;
            self.trim[axis] = trim.clamp(-Self::LIMIT[axis], Self::LIMIT[axis]);
            self.output[axis] = self.slewed[axis] + self.trim[axis];
        }
    }
}

/// `go2.xml` and everything in `assets`, as MuJoCo's virtual files.
fn read_model(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, SimError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| SimError::File {
            path: path.to_owned(),
            reason: e.to_string(),
        })
    };
    let mut files = vec![("go2.xml".to_owned(), read(&dir.join("go2.xml"))?)];
    let assets = dir.join("assets");
    let failed = |e: std::io::Error| SimError::File {
        path: assets.clone(),
        reason: e.to_string(),
    };
    for entry in std::fs::read_dir(&assets).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            files.push((format!("assets/{}", name.to_string_lossy()), read(&path)?));
        }
    }
    Ok(files)
}
