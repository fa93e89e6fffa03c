//! Legged robots on flat ground, driven by a walking policy fifty times a second.
//!
//! A robot is data ([`Legged`]): its model, its joints with the springs that drive them, its feet.
//! What is observed is offered by name ([`Seen`], [`IMU`], [`COMMAND`]) and what comes back is joint
//! targets, so nothing here knows a network's layout: `policy.toml` does. The motor drivers are torque
//! springs, computed at every physics step. [`go2`](crate::go2) and [`g1`](crate::g1) are such robots.

mod tracker;

use crate::lockstep::JointDrive;
use crate::model::{BodyId, GeomId, Joint};
use crate::{Drive, SimError, Viewpoint, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sinew_runtime::{JointNames, JointState, JointTarget, MAX_JOINTS};
use std::path::Path;
use tracker::Tracker;

/// Time between two decisions of the policy, s.
pub const CONTROL_PERIOD: f64 = 0.02;

/// Names of the inertial unit's values: turn rates of the base, rad/s, and the unit vector along
/// gravity, both in the base's frame.
pub const IMU: [&str; 6] = [
    "angular_velocity.x",
    "angular_velocity.y",
    "angular_velocity.z",
    "gravity.x",
    "gravity.y",
    "gravity.z",
];
/// Names of the command's values: forward m/s, left m/s, turn to the left rad/s.
pub const COMMAND: [&str; 3] = ["velocity.x", "velocity.y", "yaw_rate"];

/// Largest random offset of each joint at the start, rad.
const START_SPREAD: f64 = 0.03;

/// One joint and the spring that drives it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeggedJoint {
    /// Name in the model.
    pub name: String,
    /// Where it stands at the start, rad.
    pub home: f64,
    /// Stiffness, N·m/rad.
    pub kp: f64,
    /// Damping, N·m·s/rad.
    pub kd: f64,
}

/// A legged robot as data.
#[derive(Debug, Clone)]
pub struct Legged {
    /// Name of the world, for messages.
    pub world: &'static str,
    /// MJCF of the scene.
    pub scene: String,
    /// Files that the scene includes, by their path in it.
    pub files: Vec<(String, Vec<u8>)>,
    /// Body with the free joint and the inertial unit.
    pub base: &'static str,
    /// Geoms that stand on the ground; their first size is the distance from their middle line to it.
    pub feet: Vec<String>,
    /// Joints in the order of states and targets.
    pub joints: Vec<LeggedJoint>,
    /// Below this height of the base it has fallen, m.
    pub fallen_below: f64,
    /// How far the camera that follows it is away, m.
    pub view_distance: f64,
}

/// What a policy can see. Joints are in the order of [`LeggedWalk::joint_names`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Positions, rad, and velocities, rad/s.
    pub joints: JointState,
    /// Values of [`IMU`].
    pub imu: [f64; 6],
    /// Values of [`COMMAND`].
    pub command: [f64; 3],
}

/// A robot that walks where it is told.
#[derive(Debug)]
pub struct LeggedWalk {
    world: World,
    robot: Legged,
    names: JointNames,
    drive: JointDrive,
    steps_per_tick: usize,
    base: BodyId,
    root: Joint,
    feet: Vec<GeomId>,
    command: [f64; 3],
    tracker: Tracker,
    tick: u64,
    seed: u64,
}

impl LeggedWalk {
    /// Stands the robot on the ground at the origin, facing +x. The seed decides small offsets of
    /// the joints at the start.
    pub fn new(robot: Legged, seed: u64) -> Result<Self, SimError> {
        let files: Vec<_> = robot
            .files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let world = World::from_xml(robot.world, &robot.scene, &files)?;
        let model = world.model().clone();
        let base = model.body(robot.base)?;
        let feet = robot.feet.iter().map(|foot| model.geom(foot));
        if robot.joints.len() > MAX_JOINTS {
            return Err(SimError::Value {
                world: robot.world.to_owned(),
                what: "the list of joints".into(),
                problem: format!("has more than {MAX_JOINTS} entries"),
            });
        }
        let springs: Vec<_> = robot
            .joints
            .iter()
            .map(
                |&LeggedJoint {
                     ref name, kp, kd, ..
                 }| (name.as_str(), Drive::TorquePd { kp, kd }),
            )
            .collect();
        let mut walk = Self {
            drive: JointDrive::bind_each(&model, &springs)?,
            names: JointNames::new(robot.joints.iter().map(|joint| joint.name.as_str())),
            steps_per_tick: (CONTROL_PERIOD / model.timestep()).round().max(1.0) as usize,
            root: model.free_joint(base)?,
            feet: feet.collect::<Result<_, _>>()?,
            base,
            world,
            robot,
            command: [0.0; 3],
            tracker: Tracker::default(),
            tick: 0,
            seed,
        };
        walk.reset(seed)?;
        Ok(walk)
    }

    /// Stands the robot at the origin again, at rest; the wanted velocity is kept.
    pub fn reset(&mut self, seed: u64) -> Result<(), SimError> {
        self.seed = seed;
        self.world.reset()?;
        let mut random = SmallRng::seed_from_u64(seed);
        let joints: Vec<_> = self.drive.joints().collect();
        for (joint, spec) in joints.into_iter().zip(&self.robot.joints) {
            let offset = random.random_range(-START_SPREAD..=START_SPREAD);
            self.world.set_position(joint, spec.home + offset);
        }
        self.set_base_height(1.0);
        self.world.forward()?;
        let bottoms = self.feet.iter().map(|&foot| self.foot_bottom(foot));
        let lowest = bottoms.fold(f64::INFINITY, f64::min);
        self.set_base_height(1.0 - lowest);
        self.world.forward()?;
        self.drive.hold(&self.world);
        self.tracker = Tracker::default();
        self.tick = 0;
        Ok(())
    }

    /// Asks for a velocity: forward m/s, left m/s, turn to the left rad/s. Reached gradually.
    pub fn set_command(&mut self, command: [f64; 3]) {
        self.command = command;
    }

    /// Names of the joints, in the order of states and targets.
    pub fn joint_names(&self) -> &JointNames {
        &self.names
    }

    /// What the policy sees now.
    pub fn observe(&self) -> Seen {
        let mut joints = JointState {
            seq: self.tick + 1,
            captured_ns: (self.world.time() * 1e9).round() as u64,
            len: self.names.len(),
            ..JointState::default()
        };
        let states = joints.position.iter_mut().zip(&mut joints.velocity);
        for (joint, (position, velocity)) in self.drive.joints().zip(states) {
            *position = self.world.position(joint);
            *velocity = self.world.velocity(joint);
        }
        let turn = &self.world.qvel()[self.root.dof_index() + 3..][..3];
        let gravity = self.gravity();
        Seen {
            joints,
            imu: std::array::from_fn(|i| if i < 3 { turn[i] } else { gravity[i - 3] }),
            command: self.tracker.output,
        }
    }

    /// Drives the joints to a target for one control period (0.02 s).
    pub fn apply(&mut self, target: &JointTarget) -> Result<(), SimError> {
        self.drive.set_goals(&self.world, target.positions())?;
        let drive = &self.drive;
        self.world
            .step_with(self.steps_per_tick, |world| drive.apply(world))?;
        self.tick += 1;
        self.tracker.update(self.command, self.velocity());
        Ok(())
    }

    /// Runs `policy` for `seconds` of simulated time.
    pub fn run<E: From<SimError>>(
        &mut self,
        seconds: f64,
        mut policy: impl FnMut(&Seen) -> Result<JointTarget, E>,
    ) -> Result<(), E> {
        let ticks = (seconds / CONTROL_PERIOD).round().max(0.0) as usize;
        for _ in 0..ticks {
            let target = policy(&self.observe())?;
            self.apply(&target)?;
        }
        Ok(())
    }

    /// Whether it stands: base within 45° of level and high enough.
    pub fn upright(&self) -> bool {
        let level = -self.gravity()[2];
        level > std::f64::consts::FRAC_1_SQRT_2 && self.base_position()[2] > self.robot.fallen_below
    }

    /// Position of the base, m.
    pub fn base_position(&self) -> [f64; 3] {
        self.world.body_pose(self.base).position
    }

    /// Direction the base faces, rad, counted from +x towards +y.
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
            distance: self.robot.view_distance,
            azimuth: 2.2,
            elevation: -0.35,
        }
    }

    /// The seed of the present run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Unit vector of gravity in the base's frame.
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

/// The scene around a robot's own file: ground, light, sky, and what is to be added to the model.
pub(crate) fn scene(world: &str, file: &str, added: &str) -> String {
    format!(
        r#"<mujoco model="{world}">
  <include file="{file}"/>
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
  {added}
</mujoco>"#
    )
}

/// A model's file and everything in `assets` beside it, as MuJoCo's virtual files.
pub(crate) fn read_model(dir: &Path, file: &str) -> Result<Vec<(String, Vec<u8>)>, SimError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| SimError::File {
            path: path.to_owned(),
            reason: e.to_string(),
        })
    };
    let mut files = vec![(file.to_owned(), read(&dir.join(file))?)];
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
