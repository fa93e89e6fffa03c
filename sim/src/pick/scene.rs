//! The model of the `so101-pick` world, and where its parts are.

use super::error::PickError;
use crate::{ActuatorId, BodyId, GeomId, Joint, Model, SimError, World};
use sinew_hardware::{Blueprint, blueprint};
use std::sync::Arc;

/// Name of the world.
pub const WORLD: &str = "so101-pick";
/// Name of the arm's blueprint.
pub const ROBOT: &str = "so101";
/// Joint names in blueprint order.
pub const JOINTS: [&str; 6] = [
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
];
/// Number of joints, gripper included.
pub const DOF: usize = JOINTS.len();
/// Edge of the cube, m.
pub const CUBE_EDGE: f64 = 0.03;
/// The cameras of the world.
pub const CAMERAS: [&str; 2] = ["front", "wrist"];
/// Size of the cameras' images, pixels: width, height.
pub const CAMERA_SIZE: (u32, u32) = (320, 240);

const SCENE_XML: &str = include_str!("../../assets/so101_pick.xml");
const ARM_XML: &str = include_str!("../../../hardware/so101/so101.xml");
/// The path by which the scene's file refers to the arm's.
const ARM_PATH: &str = "../../hardware/so101/so101.xml";
/// The name under which MuJoCo finds the arm's text in memory, where folders mean nothing.
const ARM_NAME: &str = "so101.xml";

/// Handles into the compiled model. Cheap to copy; valid for every world forked from it.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// The arm's joints, in the order of [`JOINTS`].
    pub joints: [Joint; DOF],
    /// Their position actuators.
    pub actuators: [ActuatorId; DOF],
    /// Stiffness of each actuator, N·m/rad.
    pub stiffness: [f64; DOF],
    /// The most torque of each actuator, N·m.
    pub torque: [f64; DOF],
    /// Each joint's range, rad.
    pub range: [(f64, f64); DOF],
    /// Where the arm waits between episodes, rad, as the blueprint says: folded back, so that it
    /// hides little of the table, and low, so that it sinks to [`Self::rest`] without touching the
    /// cube when its power goes.
    pub home: [f64; DOF],
    /// Where the unpowered arm lies, rad, as the blueprint says.
    pub rest: [f64; DOF],
    /// The cube.
    pub cube: BodyId,
    /// The cube's only shape.
    pub cube_geom: GeomId,
    /// The target zone.
    pub zone: BodyId,
    /// The two bodies that can hold the cube: gripper (with the fixed jaw) and moving jaw.
    pub jaws: [BodyId; 2],
}

impl Scene {
    /// Compiles the world's model and looks its parts up.
    ///
    /// # Errors
    /// [`PickError::Sim`] when the model does not compile or misses a part, and
    /// [`PickError::Blueprint`] or [`PickError::Config`] when the SO-101's blueprint does not fit it.
    pub fn load() -> Result<(Arc<Model>, Self), PickError> {
        let xml = SCENE_XML.replace(ARM_PATH, ARM_NAME);
        let model = Arc::new(Model::from_xml(
            WORLD,
            &xml,
            &[(ARM_NAME, ARM_XML.as_bytes())],
        )?);
        let scene = Self::find(&model, &blueprint()?)?;
        Ok((model, scene))
    }

    fn find(model: &Model, blueprint: &Blueprint) -> Result<Self, PickError> {
        let mut joints = Vec::with_capacity(DOF);
        for name in JOINTS {
            joints.push(model.joint(name)?);
        }
        let joints: [Joint; DOF] = joints
            .try_into()
            .map_err(|_| unsuitable("arm", "does not have six joints"))?;
        let mut actuators = [model.actuator_of(joints[0])?; DOF];
        let mut range = [(0.0, 0.0); DOF];
        for i in 0..DOF {
            actuators[i] = model.actuator_of(joints[i])?;
            range[i] = model
                .joint_range(joints[i])
                .ok_or_else(|| unsuitable(JOINTS[i], "has no range"))?;
        }
        let cube_geom = model.geom("cube")?;
        Ok(Self {
            joints,
            actuators,
            stiffness: actuators.map(|a| gain(model, a)),
            torque: actuators.map(|a| force_limit(model, a)),
            range,
            home: pose(blueprint, |joint| joint.home_rad)?,
            rest: pose(blueprint, |joint| joint.rest_rad)?,
            cube: model.body("cube")?,
            cube_geom,
            zone: model.body("zone")?,
            jaws: [model.body("gripper")?, model.body("moving_jaw_so101_v1")?],
        })
    }

    /// Measured joint positions, rad.
    pub fn positions(&self, world: &World) -> [f64; DOF] {
        self.joints.map(|j| world.position(j))
    }

    /// Measured joint velocities, rad/s.
    pub fn velocities(&self, world: &World) -> [f64; DOF] {
        self.joints.map(|j| world.velocity(j))
    }

    /// Sends goal positions to the actuators, rad, clamped to the joints' ranges.
    pub fn drive(&self, world: &mut World, targets: &[f64; DOF]) {
        for (i, target) in targets.iter().enumerate() {
            let (low, high) = self.range[i];
            world.set_control(self.actuators[i], target.clamp(low, high));
        }
    }

    /// Moves the target zone's centre to (x, y) m on the table.
    pub fn place_zone(&self, world: &mut World, x: f64, y: f64) -> Result<(), SimError> {
        let model = world.model().clone();
        // SAFETY: `nbody` numbers, one a body.
        let ids =
            unsafe { crate::ffi::slice(model.raw().body_mocapid, model.raw().nbody as usize) };
        let slot = ids
            .get(self.zone.index())
            .and_then(|&id| usize::try_from(id).ok());
        let slot = slot.ok_or_else(|| unsuitable("zone", "is not a mocap body"))?;
        // SAFETY: `nmocap` triples, and `slot < nmocap`; the world is borrowed mutably.
        unsafe {
            let position = (*world.data_ptr()).mocap_pos.add(3 * slot);
            *position.cast::<[f64; 3]>() = [x, y, 0.0];
        }
        world.forward()
    }
}

/// The blueprint of the arm in this world.
pub(super) fn blueprint() -> Result<Blueprint, PickError> {
    Ok(Blueprint::load(ROBOT)?)
}

/// One of the blueprint's poses, in the order of [`JOINTS`].
fn pose(
    blueprint: &Blueprint,
    angle: impl Fn(&blueprint::Joint) -> f64,
) -> Result<[f64; DOF], PickError> {
    let mut pose = [0.0; DOF];
    for (angle_rad, name) in pose.iter_mut().zip(JOINTS) {
        let joint = blueprint.joints.iter().find(|joint| joint.name == name);
        *angle_rad = joint.map(&angle).ok_or_else(|| PickError::Config {
            field: "blueprint",
            value: blueprint.name.clone(),
            problem: "lacks a joint of the SO-101; use blueprint so101",
        })?;
    }
    Ok(pose)
}

fn unsuitable(name: &str, problem: &str) -> SimError {
    SimError::Unsuitable {
        world: WORLD.into(),
        kind: "element",
        name: name.into(),
        problem: problem.into(),
    }
}

/// Proportional gain of a position actuator, N·m/rad.
fn gain(model: &Model, actuator: ActuatorId) -> f64 {
    let raw = model.raw();
    // SAFETY: mjNGAIN (10) numbers an actuator; borrowed like `model`.
    let gains =
        unsafe { crate::ffi::slice(raw.actuator_gainprm.cast::<[f64; 10]>(), raw.nu as usize) };
    gains.get(actuator.index()).map_or(0.0, |g| g[0])
}

/// The most torque that an actuator gives, N·m; infinite when the model sets no limit.
fn force_limit(model: &Model, actuator: ActuatorId) -> f64 {
    let raw = model.raw();
    // SAFETY: two numbers an actuator; borrowed like `model`.
    let ranges =
        unsafe { crate::ffi::slice(raw.actuator_forcerange.cast::<[f64; 2]>(), raw.nu as usize) };
    ranges
        .get(actuator.index())
        .filter(|r| r[1] > r[0])
        .map_or(f64::INFINITY, |r| r[1])
}
