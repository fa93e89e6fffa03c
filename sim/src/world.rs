//! A simulated world: a shared [`Model`] and its own state.
//!
//! Poses and camera positions are kept in step with joint positions: every call that moves the
//! world also refreshes them, so that what is read (or rendered) belongs to [`World::time`].
//!
//! Handles ([`Joint`], [`BodyId`], …) belong to the model that they were looked up in. Using one
//! with another model either panics (index out of range) or names another element.

use crate::SimError;
use crate::ffi::{owned_text, slice, slice_mut};
use crate::model::{ActuatorId, BodyId, CameraId, GeomId, Joint, JointKind, Model, SiteId};
use crate::state::{Contact, Pose, State, quaternion_of, take};
use mujoco_rs::mujoco_c::{self as mj, mjData, mjtState, mjtWarning};
use std::ffi::c_int;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

const STATE: c_int = mjtState::mjSTATE_INTEGRATION as c_int;

/// A world that can be stepped. One thread at a time uses it; it may move between threads.
pub struct World {
    model: Arc<Model>,
    data: NonNull<mjData>,
}

// SAFETY: `data` is owned, and MuJoCo keeps no thread-local state about it.
unsafe impl Send for World {}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("name", &self.name())
            .field("time", &self.time())
            .finish_non_exhaustive()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: `data` came from mj_makeData and is freed once.
        unsafe { mj::mj_deleteData(self.data.as_ptr()) };
    }
}

impl World {
    /// A world from an MJCF text and the files it refers to (see [`Model::from_xml`]).
    pub fn from_xml(name: &str, xml: &str, files: &[(&str, &[u8])]) -> Result<Self, SimError> {
        Self::new(Arc::new(Model::from_xml(name, xml, files)?))
    }

    /// A world from an MJCF file on disk.
    pub fn from_path(name: &str, path: &Path) -> Result<Self, SimError> {
        Self::new(Arc::new(Model::from_path(name, path)?))
    }

    /// A world in the model's initial state.
    pub fn new(model: Arc<Model>) -> Result<Self, SimError> {
        // SAFETY: a valid model; MuJoCo allocates and initialises the data.
        let data = NonNull::new(unsafe { mj::mj_makeData(model.as_ptr()) }).ok_or_else(|| {
            SimError::OutOfMemory {
                world: model.name().to_owned(),
                action: "allocate its state",
            }
        })?;
        let mut world = Self { model, data };
        world.forward()?;
        Ok(world)
    }

    /// A second world with the same model and the same state; from here on they are independent.
    pub fn fork(&self) -> Result<Self, SimError> {
        let mut twin = Self::new(self.model.clone())?;
        twin.restore(&self.save())?;
        Ok(twin)
    }

    /// The compiled model, for lookups by name.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The world's name.
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Simulated time, s.
    pub fn time(&self) -> f64 {
        self.raw().time
    }

    /// Length of one physics step, s.
    pub fn timestep(&self) -> f64 {
        self.model.timestep()
    }

    /// Advances physics by `steps` timesteps under constant control.
    pub fn step(&mut self, steps: usize) -> Result<(), SimError> {
        self.step_with(steps, |_| {})
    }

    /// Advances physics by `steps` timesteps and calls `control` before each.
    pub fn step_with(
        &mut self,
        steps: usize,
        mut control: impl FnMut(&mut Self),
    ) -> Result<(), SimError> {
        for _ in 0..steps {
            control(self);
            // SAFETY: model and data belong together.
            unsafe { mj::mj_step(self.model.as_ptr(), self.data.as_ptr()) };
        }
        self.check()?;
        self.refresh();
        Ok(())
    }

    /// Recomputes everything that follows from positions, velocities and controls (contacts and
    /// forces included), without advancing time. Needed after setting positions by hand and
    /// before asking for contacts.
    pub fn forward(&mut self) -> Result<(), SimError> {
        // SAFETY: model and data belong together.
        unsafe { mj::mj_forward(self.model.as_ptr(), self.data.as_ptr()) };
        self.check()
    }

    /// Back to the model's initial state, failures forgotten.
    pub fn reset(&mut self) -> Result<(), SimError> {
        // SAFETY: model and data belong together.
        unsafe { mj::mj_resetData(self.model.as_ptr(), self.data.as_ptr()) };
        self.forward()
    }

    /// All generalised positions (m, rad, quaternions).
    pub fn qpos(&self) -> &[f64] {
        // SAFETY: `nq` numbers; borrowed like `self`.
        unsafe { slice(self.raw().qpos, self.model.raw().nq as usize) }
    }

    /// All generalised velocities (m/s, rad/s).
    pub fn qvel(&self) -> &[f64] {
        // SAFETY: `nv` numbers; borrowed like `self`.
        unsafe { slice(self.raw().qvel, self.model.raw().nv as usize) }
    }

    /// Position of a hinge (rad) or slide (m) joint.
    pub fn position(&self, joint: Joint) -> f64 {
        self.qpos()[joint.qpos]
    }

    /// Velocity of a hinge (rad/s) or slide (m/s) joint.
    pub fn velocity(&self, joint: Joint) -> f64 {
        self.qvel()[joint.dof]
    }

    /// Force that actuators put on a hinge (N·m) or slide (N) joint in the last step.
    pub fn effort(&self, joint: Joint) -> f64 {
        // SAFETY: `nv` numbers; borrowed like `self`.
        let efforts = unsafe { slice(self.raw().qfrc_actuator, self.model.raw().nv as usize) };
        efforts[joint.dof]
    }

    /// Puts a hinge (rad) or slide (m) joint somewhere, at rest. Call [`World::forward`] when all
    /// joints are placed.
    pub fn set_position(&mut self, joint: Joint, position: f64) {
        self.qpos_mut()[joint.qpos] = position;
        self.qvel_mut()[joint.dof] = 0.0;
    }

    /// Sets one entry of the control vector (unit of the actuator).
    pub fn set_control(&mut self, actuator: ActuatorId, value: f64) {
        // SAFETY: `nu` numbers; `self` is borrowed mutably.
        let controls =
            unsafe { slice_mut((*self.data.as_ptr()).ctrl, self.model.raw().nu as usize) };
        controls[actuator.0] = value;
    }

    /// One entry of the control vector.
    pub fn control(&self, actuator: ActuatorId) -> f64 {
        // SAFETY: `nu` numbers; borrowed like `self`.
        let controls = unsafe { slice(self.raw().ctrl, self.model.raw().nu as usize) };
        controls[actuator.0]
    }

    /// Places a free body at rest and refreshes all that follows from it. The quaternion is
    /// normalised; one of zero length is refused.
    pub fn place_body(&mut self, body: BodyId, pose: Pose) -> Result<(), SimError> {
        let joint = self.model.free_joint(body)?;
        let norm = pose.quaternion.iter().map(|q| q * q).sum::<f64>().sqrt();
        if !(norm > 1e-9 && norm.is_finite() && pose.position.iter().all(|p| p.is_finite())) {
            return Err(SimError::Value {
                world: self.name().to_owned(),
                what: format!("pose of body `{}`", self.model.body_name(body)),
                problem: "is not finite or has a zero quaternion".into(),
            });
        }
        self.qpos_mut()[joint.qpos..][..3].copy_from_slice(&pose.position);
        for (value, q) in self.qpos_mut()[joint.qpos + 3..][..4]
            .iter_mut()
            .zip(pose.quaternion)
        {
            *value = q / norm;
        }
        self.qvel_mut()[joint.dof..][..6].fill(0.0);
        self.forward()
    }

    /// Pose of a body's frame.
    pub fn body_pose(&self, body: BodyId) -> Pose {
        let n = self.model.raw().nbody as usize;
        // SAFETY: three and four numbers a body; borrowed like `self`.
        let (positions, turns) = unsafe {
            (
                slice(self.raw().xpos, 3 * n),
                slice(self.raw().xquat, 4 * n),
            )
        };
        Pose {
            position: take(positions, body.0),
            quaternion: take(turns, body.0),
        }
    }

    /// Pose of a site.
    pub fn site_pose(&self, site: SiteId) -> Pose {
        let n = self.model.raw().nsite as usize;
        // SAFETY: three and nine numbers a site; borrowed like `self`.
        let (positions, turns) = unsafe {
            (
                slice(self.raw().site_xpos, 3 * n),
                slice(self.raw().site_xmat, 9 * n),
            )
        };
        Pose {
            position: take(positions, site.0),
            quaternion: quaternion_of(&take(turns, site.0)),
        }
    }

    /// Pose of a geom's centre.
    pub fn geom_pose(&self, geom: GeomId) -> Pose {
        let n = self.model.raw().ngeom as usize;
        // SAFETY: three and nine numbers a geom; borrowed like `self`.
        let (positions, turns) = unsafe {
            (
                slice(self.raw().geom_xpos, 3 * n),
                slice(self.raw().geom_xmat, 9 * n),
            )
        };
        Pose {
            position: take(positions, geom.0),
            quaternion: quaternion_of(&take(turns, geom.0)),
        }
    }

    /// Pose of a camera (it looks along its −z, y up).
    pub fn camera_pose(&self, camera: CameraId) -> Pose {
        let n = self.model.raw().ncam as usize;
        // SAFETY: three and nine numbers a camera; borrowed like `self`.
        let (positions, turns) = unsafe {
            (
                slice(self.raw().cam_xpos, 3 * n),
                slice(self.raw().cam_xmat, 9 * n),
            )
        };
        Pose {
            position: take(positions, camera.0),
            quaternion: quaternion_of(&take(turns, camera.0)),
        }
    }

    /// Jacobian of a site's position and orientation with respect to one-axis joints: for each
    /// joint, what 1 rad/s (or 1 m/s) of it does to the site: m/s in x, y, z, then rad/s about
    /// x, y, z, world frame.
    pub fn site_jacobian(&mut self, site: SiteId, joints: &[Joint]) -> Vec<[f64; 6]> {
        let nv = self.model.raw().nv as usize;
        let mut linear = vec![0.0; 3 * nv];
        let mut angular = vec![0.0; 3 * nv];
        assert!(
            site.0 < self.model.raw().nsite as usize,
            "site of another model"
        );
        // SAFETY: both buffers hold 3·nv numbers and the site exists.
        unsafe {
            mj::mj_jacSite(
                self.model.as_ptr(),
                self.data.as_ptr(),
                linear.as_mut_ptr(),
                angular.as_mut_ptr(),
                site.0 as c_int,
            );
        }
        let column = |j: &Joint| {
            let at = |m: &[f64], row: usize| m[row * nv + j.dof];
            [
                at(&linear, 0),
                at(&linear, 1),
                at(&linear, 2),
                at(&angular, 0),
                at(&angular, 1),
                at(&angular, 2),
            ]
        };
        joints.iter().map(column).collect()
    }

    /// All contacts of the last step (or [`World::forward`]).
    pub fn contacts(&self) -> impl Iterator<Item = Contact> + '_ {
        // SAFETY: `ncon` contacts, valid until the next step, which needs `&mut self`.
        let contacts = unsafe { slice(self.raw().contact, self.raw().ncon as usize) };
        contacts.iter().enumerate().filter_map(|(i, c)| {
            let (a, b) = (
                usize::try_from(c.geom[0]).ok()?,
                usize::try_from(c.geom[1]).ok()?,
            );
            Some(Contact {
                geoms: (GeomId(a.min(b)), GeomId(a.max(b))),
                distance: c.dist,
                position: c.pos,
                normal_force: self.contact_force(i),
            })
        })
    }

    /// Force with which two geoms press on each other, N, summed over their contact points;
    /// `None` when they do not touch.
    pub fn touch_force(&self, a: GeomId, b: GeomId) -> Option<f64> {
        let pair = (a.min(b), a.max(b));
        self.sum_forces(|c| c.geoms == pair)
    }

    /// Force with which two bodies press on each other, N; `None` when they do not touch.
    pub fn body_touch_force(&self, a: BodyId, b: BodyId) -> Option<f64> {
        self.sum_forces(|c| {
            let bodies = (self.model.body_of(c.geoms.0), self.model.body_of(c.geoms.1));
            bodies == (a, b) || bodies == (b, a)
        })
    }

    /// Shortest distance between two geoms, m, negative when they overlap; at most `limit`.
    pub fn geom_distance(&mut self, a: GeomId, b: GeomId, limit: f64) -> f64 {
        let n = self.model.raw().ngeom as usize;
        assert!(a.0 < n && b.0 < n, "geom of another model");
        // SAFETY: both geoms exist; the segment output may be null.
        unsafe {
            mj::mj_geomDistance(
                self.model.as_ptr(),
                self.data.as_ptr(),
                a.0 as c_int,
                b.0 as c_int,
                limit,
                std::ptr::null_mut(),
            )
        }
    }

    /// Everything that determines the future.
    pub fn save(&self) -> State {
        let mut state = State::default();
        self.save_into(&mut state);
        state
    }

    /// As [`World::save`], into a buffer that is reused.
    pub fn save_into(&self, state: &mut State) {
        state.0.resize(self.state_len(), 0.0);
        // SAFETY: the buffer has as many numbers as MuJoCo says it needs.
        unsafe {
            mj::mj_getState(
                self.model.as_ptr(),
                self.data.as_ptr(),
                state.0.as_mut_ptr(),
                STATE,
            )
        };
    }

    /// Returns to a saved state; what follows is the same to the bit as what followed then.
    pub fn restore(&mut self, state: &State) -> Result<(), SimError> {
        let wanted = self.state_len();
        if state.0.len() != wanted {
            return Err(SimError::Value {
                world: self.name().to_owned(),
                what: "saved state".into(),
                problem: format!(
                    "has {} numbers, this model's has {wanted}; it is of another model",
                    state.0.len()
                ),
            });
        }
        if let Some(i) = state.0.iter().position(|v| !v.is_finite()) {
            return Err(SimError::Value {
                world: self.name().to_owned(),
                what: "saved state".into(),
                problem: format!("is damaged: its number {i} is {}", state.0[i]),
            });
        }
        // SAFETY: the buffer has as many numbers as MuJoCo reads; model and data belong together.
        unsafe {
            mj::mj_resetData(self.model.as_ptr(), self.data.as_ptr());
            mj::mj_setState(
                self.model.as_ptr(),
                self.data.as_ptr(),
                state.0.as_ptr(),
                STATE,
            );
        }
        self.forward()?;
        // The solver's warm start is part of the state, and `forward` has just moved it on.
        // SAFETY: as above.
        unsafe {
            mj::mj_setState(
                self.model.as_ptr(),
                self.data.as_ptr(),
                state.0.as_ptr(),
                STATE,
            )
        };
        Ok(())
    }

    pub(crate) fn data_ptr(&self) -> *mut mjData {
        self.data.as_ptr()
    }

    fn raw(&self) -> &mjData {
        // SAFETY: valid while `self` lives; writers need `&mut self`.
        unsafe { self.data.as_ref() }
    }

    /// All generalised positions, to write. Call [`World::forward`] afterwards.
    pub fn qpos_mut(&mut self) -> &mut [f64] {
        // SAFETY: `nq` numbers; `self` is borrowed mutably.
        unsafe { slice_mut((*self.data.as_ptr()).qpos, self.model.raw().nq as usize) }
    }

    /// All generalised velocities, to write. Call [`World::forward`] afterwards.
    pub fn qvel_mut(&mut self) -> &mut [f64] {
        // SAFETY: `nv` numbers; `self` is borrowed mutably.
        unsafe { slice_mut((*self.data.as_ptr()).qvel, self.model.raw().nv as usize) }
    }

    /// Brings poses and cameras up to the positions after a step.
    fn refresh(&mut self) {
        // SAFETY: model and data belong together.
        unsafe {
            mj::mj_kinematics(self.model.as_ptr(), self.data.as_ptr());
            mj::mj_comPos(self.model.as_ptr(), self.data.as_ptr());
            mj::mj_camlight(self.model.as_ptr(), self.data.as_ptr());
        }
    }

    fn state_len(&self) -> usize {
        // SAFETY: a valid model.
        unsafe { mj::mj_stateSize(self.model.as_ptr(), STATE) as usize }
    }

    fn sum_forces(&self, wanted: impl Fn(&Contact) -> bool) -> Option<f64> {
        self.contacts()
            .filter(wanted)
            .map(|c| c.normal_force)
            .reduce(|a, b| a + b)
    }

    fn contact_force(&self, index: usize) -> f64 {
        let mut wrench = [0.0; 6];
        // SAFETY: the contact exists; the first number of the result is the normal force.
        unsafe {
            mj::mj_contactForce(
                self.model.as_ptr(),
                self.data.as_ptr(),
                index as c_int,
                &mut wrench,
            )
        };
        wrench[0]
    }

    /// Turns MuJoCo's warning counters into an error. They stay set until a reset, so a world
    /// that failed keeps saying so.
    fn check(&self) -> Result<(), SimError> {
        const INERTIA: usize = mjtWarning::mjWARN_INERTIA as usize;
        let warnings = &self.raw().warning;
        let Some(kind) = (0..warnings.len()).find(|&w| w != INERTIA && warnings[w].number > 0)
        else {
            return Ok(());
        };
        let info = usize::try_from(warnings[kind].lastinfo).unwrap_or(0);
        // SAFETY: MuJoCo answers any of its own warning numbers with a static text.
        let mut problem = unsafe { owned_text(mj::mju_warningText(kind as c_int, info)) };
        const VELOCITY: usize = mjtWarning::mjWARN_BADQVEL as usize;
        const ACCELERATION: usize = mjtWarning::mjWARN_BADQACC as usize;
        if matches!(kind, VELOCITY | ACCELERATION)
            && let Some(joint) = self.model.joint_of_dof(info)
        {
            problem = format!("{problem} (joint `{joint}`)");
        }
        Err(SimError::Unstable {
            world: self.name().to_owned(),
            time_s: self.time(),
            problem,
        })
    }
}

/// Whether a joint has exactly one position value.
pub(crate) fn is_one_axis(joint: Joint) -> bool {
    matches!(joint.kind, JointKind::Hinge | JointKind::Slide)
}
