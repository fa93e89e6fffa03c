//! The task: put the cube on the zone, let go of it.

use super::error::PickError;
use super::scene::{CUBE_EDGE, DOF, Scene};
use crate::{Pose, World};
use serde::{Deserialize, Serialize};

/// The cube counts as placed when its centre is this close to the zone's, m.
pub const ZONE_RADIUS: f64 = 0.03;
/// Centre of the ring sector in which cube and zone are placed, m: the shoulder's axis.
pub const PAN_AXIS_X: f64 = 0.0388;
const RING: (f64, f64) = (0.15, 0.24);
const SECTOR: f64 = 0.7;
const APART: f64 = 0.09;
const REST_HEIGHT_SLACK: f64 = 0.004;
const REST_SPEED: f64 = 0.02;

/// What a human at the table would see, and a policy must not: exact poses and the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// Seed of the episode.
    pub seed: u64,
    /// Counts resets, from 1, so that a reader notices one even when the seed is the same.
    pub episode: u64,
    /// Simulated time since the reset, s.
    pub time_s: f64,
    /// Centre of the cube, m, arm base frame.
    pub cube_position: [f64; 3],
    /// Orientation of the cube, w x y z.
    pub cube_quaternion: [f64; 4],
    /// Speed of the cube's centre, m/s.
    pub cube_speed: f64,
    /// Centre of the zone, m, arm base frame.
    pub zone: [f64; 2],
    /// Whether a jaw touches the cube.
    pub touched: bool,
    /// Whether the task is done now.
    pub success: bool,
}

impl TaskState {
    /// Rotation of the cube about the vertical, rad in −π/4…π/4: a cube looks the same after a
    /// quarter turn, whichever face is up.
    pub fn cube_yaw(&self) -> f64 {
        let [w, x, y, z] = self.cube_quaternion;
        let rotation =
            nalgebra::UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(w, x, y, z));
        let matrix = rotation.to_rotation_matrix();
        // The edge that lies flattest gives the yaw.
        let flattest = (0..3)
            .min_by(|&a, &b| matrix[(2, a)].abs().total_cmp(&matrix[(2, b)].abs()))
            .unwrap_or(0);
        let yaw = f64::atan2(matrix[(1, flattest)], matrix[(0, flattest)]);
        let quarter = std::f64::consts::FRAC_PI_2;
        (yaw + quarter / 2.0).rem_euclid(quarter) - quarter / 2.0
    }

    /// Distance of the cube's centre from the zone's on the table, m.
    pub fn distance_to_zone(&self) -> f64 {
        f64::hypot(
            self.cube_position[0] - self.zone[0],
            self.cube_position[1] - self.zone[1],
        )
    }
}

/// The world with its episode.
#[derive(Debug)]
pub struct PickTask {
    world: World,
    scene: Scene,
    seed: u64,
    episode: u64,
    zone: [f64; 2],
    started_s: f64,
}

impl PickTask {
    /// The world in the episode of `seed`.
    ///
    /// # Errors
    /// [`PickError::Sim`] when the model does not compile.
    pub fn new(seed: u64) -> Result<Self, PickError> {
        let (model, scene) = Scene::load()?;
        let mut task = Self {
            world: World::new(model)?,
            scene,
            seed,
            episode: 0,
            zone: [0.0; 2],
            started_s: 0.0,
        };
        task.reset(seed)?;
        Ok(task)
    }

    /// Starts the episode of `seed`: arm at home, at rest; cube and zone where the seed puts them.
    /// The same seed gives the same bytes on every machine of one architecture.
    pub fn reset(&mut self, seed: u64) -> Result<(), PickError> {
        self.world.reset()?;
        let home = self.scene.home;
        self.pose_arm(&home)?;
        self.place(seed)
    }

    /// Puts the arm's joints somewhere (rad), at rest, its actuators holding it there.
    pub fn pose_arm(&mut self, positions: &[f64; DOF]) -> Result<(), PickError> {
        for (joint, position) in self.scene.joints.into_iter().zip(positions) {
            self.world.set_position(joint, *position);
        }
        self.scene.drive(&mut self.world, positions);
        Ok(self.world.forward()?)
    }

    /// Puts cube and zone where `seed` wants them and leaves the arm alone, as a person does
    /// between episodes. With the arm at home this is the same episode as [`PickTask::reset`]'s.
    ///
    /// # Errors
    /// [`PickError::Blocked`] when the arm is where the cube should go; nothing has changed then.
    pub fn rearrange(&mut self, seed: u64) -> Result<(), PickError> {
        let before = self.world.save();
        let (zone, old_seed, episode, started_s) =
            (self.zone, self.seed, self.episode, self.started_s);
        self.place(seed)?;
        if !self.touched() {
            return Ok(());
        }
        self.world.restore(&before)?;
        (self.zone, self.seed, self.episode, self.started_s) = (zone, old_seed, episode, started_s);
        Err(PickError::Blocked { seed })
    }

    fn place(&mut self, seed: u64) -> Result<(), PickError> {
        let layout = Layout::of(seed);
        let [x, y] = layout.cube;
        self.world.place_body(
            self.scene.cube,
            Pose::at([x, y, CUBE_EDGE / 2.0], layout.yaw),
        )?;
        self.scene
            .place_zone(&mut self.world, layout.zone[0], layout.zone[1])?;
        self.zone = layout.zone;
        self.seed = seed;
        self.episode += 1;
        self.started_s = self.world.time();
        Ok(())
    }

    /// Where everything is now.
    pub fn state(&self) -> TaskState {
        let pose = self.world.body_pose(self.scene.cube);
        let mut state = TaskState {
            seed: self.seed,
            episode: self.episode,
            time_s: self.world.time() - self.started_s,
            cube_position: pose.position,
            cube_quaternion: pose.quaternion,
            cube_speed: self.cube_speed(),
            zone: self.zone,
            touched: self.touched(),
            success: false,
        };
        state.success = state.distance_to_zone() <= ZONE_RADIUS
            && (state.cube_position[2] - CUBE_EDGE / 2.0).abs() <= REST_HEIGHT_SLACK
            && state.cube_speed <= REST_SPEED
            && !state.touched;
        state
    }

    /// Drives the arm to `targets` (rad) for `dt_s` seconds, rounded to whole physics steps, at least
    /// one. Over many periods the roundings add up; [`super::LockstepPick`] makes up for them.
    pub fn advance(&mut self, targets: &[f64; DOF], dt_s: f64) -> Result<(), PickError> {
        let steps = (dt_s / self.world.timestep()).round().max(1.0) as usize;
        self.drive(targets, steps)
    }

    /// Drives the arm to `targets` (rad) for so many physics steps.
    pub(super) fn drive(&mut self, targets: &[f64; DOF], steps: usize) -> Result<(), PickError> {
        self.scene.drive(&mut self.world, targets);
        Ok(self.world.step(steps)?)
    }

    /// The physics.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The physics, to step or to disturb.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Handles into the model.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Measured joint positions, rad.
    pub fn positions(&self) -> [f64; DOF] {
        self.scene.positions(&self.world)
    }

    fn cube_speed(&self) -> f64 {
        let Ok(joint) = self.world.model().free_joint(self.scene.cube) else {
            return f64::INFINITY;
        };
        let velocity = self
            .world
            .qvel()
            .get(joint.dof_index()..joint.dof_index() + 3)
            .unwrap_or_default();
        velocity.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    fn touched(&self) -> bool {
        let model = self.world.model();
        self.world.contacts().any(|contact| {
            let (a, b) = contact.geoms;
            let other = if a == self.scene.cube_geom {
                b
            } else if b == self.scene.cube_geom {
                a
            } else {
                return false;
            };
            self.scene.jaws.contains(&model.body_of(other))
        })
    }
}

/// Where a seed puts cube and zone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    cube: [f64; 2],
    yaw: f64,
    zone: [f64; 2],
}

impl Layout {
    fn of(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let cube = random.point();
        let yaw = random.between(-std::f64::consts::PI, std::f64::consts::PI);
        // The area is large enough that a free place turns up within a few draws.
        let zone = std::iter::repeat_with(|| random.point())
            .find(|p| f64::hypot(p[0] - cube[0], p[1] - cube[1]) >= APART)
            .unwrap_or(cube);
        Self { cube, yaw, zone }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): written out because an episode must stay the same when
/// the `rand` crate changes its generators, which it reserves the right to do.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A point of the ring sector that the gripper reaches from above.
    fn point(&mut self) -> [f64; 2] {
        let radius = self.between(RING.0, RING.1);
        let (sin, cos) = self.between(-SECTOR, SECTOR).sin_cos();
        [PAN_AXIS_X + radius * cos, radius * sin]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_keep_cube_and_zone_apart_and_within_reach() {
        for seed in 0..2000 {
            let layout = Layout::of(seed);
            let [cx, cy] = layout.cube;
            let [zx, zy] = layout.zone;
            assert!(f64::hypot(cx - zx, cy - zy) >= APART, "seed {seed}");
            for [x, y] in [layout.cube, layout.zone] {
                let radius = f64::hypot(x - PAN_AXIS_X, y);
                assert!((RING.0..=RING.1).contains(&radius), "seed {seed}");
            }
        }
    }

    #[test]
    fn cube_yaw_ignores_which_face_is_up() {
        let mut state = PickTask::new(1).unwrap().state();
        let turn = |axis: [f64; 3], angle: f64| {
            nalgebra::UnitQuaternion::from_axis_angle(
                &nalgebra::Unit::new_normalize(nalgebra::Vector3::from(axis)),
                angle,
            )
        };
        let yaw = turn([0.0, 0.0, 1.0], 0.3);
        for tip in [0.0, 1.0, 2.0, 3.0] {
            let tipped = yaw * turn([1.0, 0.0, 0.0], tip * std::f64::consts::FRAC_PI_2);
            state.cube_quaternion = [tipped.w, tipped.i, tipped.j, tipped.k];
            assert!((state.cube_yaw() - 0.3).abs() < 1e-9);
        }
    }
}
