//! A compiled MuJoCo model: immutable, shared between worlds, looked up by name.

use crate::SimError;
use crate::ffi::{ErrorText, Vfs, c_string, owned_text, quiet_log_file, slice};
use mujoco_rs::mujoco_c::{self as mj, mjModel, mjtJoint, mjtObj};
use std::ffi::{CString, c_int};
use std::path::Path;
use std::ptr::NonNull;

/// What kind of motion a joint allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JointKind {
    /// Six degrees of freedom: position and quaternion.
    Free,
    /// Three rotations, as a quaternion.
    Ball,
    /// One translation, m.
    Slide,
    /// One rotation, rad.
    Hinge,
}

/// A joint, with the addresses of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joint {
    pub(crate) id: usize,
    pub(crate) qpos: usize,
    pub(crate) dof: usize,
    pub(crate) kind: JointKind,
}

impl Joint {
    /// What motion it allows.
    pub fn kind(self) -> JointKind {
        self.kind
    }

    /// Index of its first value in [`crate::World::qpos`].
    pub fn qpos_index(self) -> usize {
        self.qpos
    }

    /// Index of its first value in [`crate::World::qvel`].
    pub fn dof_index(self) -> usize {
        self.dof
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) usize);
        impl $name {
            /// The element's number in the model.
            pub fn index(self) -> usize {
                self.0
            }
        }
    )*};
}

ids! {
    /// A rigid body.
    BodyId,
    /// A marked point of a body.
    SiteId,
    /// A collision or visual shape.
    GeomId,
    /// A fixed camera of the model.
    CameraId,
    /// An actuator: one entry of the control vector.
    ActuatorId,
}

/// A compiled model. Shared by the worlds forked from one another.
pub struct Model {
    name: String,
    ptr: NonNull<mjModel>,
}

// SAFETY: the compiled model is never written after construction, so threads may share it.
unsafe impl Send for Model {}
// SAFETY: as above; MuJoCo takes `const mjModel*` everywhere it is used.
unsafe impl Sync for Model {}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from mj_compile and is freed once.
        unsafe { mj::mj_deleteModel(self.ptr.as_ptr()) };
    }
}

impl Model {
    /// Compiles an MJCF text. `files` are what the text refers to (includes, meshes, textures),
    /// by the relative path it uses; nothing is read from disk.
    pub fn from_xml(name: &str, xml: &str, files: &[(&str, &[u8])]) -> Result<Self, SimError> {
        quiet_log_file();
        let mut vfs = Vfs::new();
        for (path, bytes) in files {
            vfs.add(name, path, bytes)?;
        }
        let text = c_string(name, "model text", xml)?;
        let mut error = ErrorText::new();
        // SAFETY: all pointers are valid for the call; the error buffer's size is passed along.
        let spec =
            unsafe { mj::mj_parseXMLString(text.as_ptr(), vfs.as_ptr(), error.ptr(), error.len()) };
        Self::compile(name, spec, &vfs, &error)
    }

    /// Compiles an MJCF file; files that it refers to are found relative to it.
    pub fn from_path(name: &str, path: &Path) -> Result<Self, SimError> {
        quiet_log_file();
        if let Err(e) = std::fs::metadata(path) {
            return Err(SimError::File {
                path: path.to_owned(),
                reason: e.to_string(),
            });
        }
        let vfs = Vfs::new();
        let file = c_string(name, "model path", &path.to_string_lossy())?;
        let mut error = ErrorText::new();
        // SAFETY: as in `from_xml`.
        let spec =
            unsafe { mj::mj_parseXML(file.as_ptr(), vfs.as_ptr(), error.ptr(), error.len()) };
        Self::compile(name, spec, &vfs, &error)
    }

    fn compile(
        name: &str,
        spec: *mut mj::mjSpec,
        vfs: &Vfs,
        error: &ErrorText,
    ) -> Result<Self, SimError> {
        let failed = |reason| SimError::Model {
            world: name.to_owned(),
            reason,
        };
        if spec.is_null() {
            return Err(failed(error.text()));
        }
        // SAFETY: `spec` is a valid specification, deleted exactly once below; the error text that
        // it owns is copied before that.
        let (model, message) = unsafe {
            let model = mj::mj_compile(spec, vfs.as_ptr());
            let message = owned_text(mj::mjs_getError(spec));
            mj::mj_deleteSpec(spec);
            (NonNull::new(model), message)
        };
        let ptr = model.ok_or_else(|| failed(message.clone()))?;
        if !message.is_empty() {
            tracing::warn!(world = name, "MuJoCo: {message}");
        }
        Ok(Self {
            name: name.to_owned(),
            ptr,
        })
    }

    /// The world's name, as error messages give it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's own physics timestep, s.
    pub fn timestep(&self) -> f64 {
        self.raw().opt.timestep
    }

    /// A joint by name.
    pub fn joint(&self, name: &str) -> Result<Joint, SimError> {
        let id = self.find(mjtObj::mjOBJ_JOINT, "joint", name)?;
        Ok(self.joint_at(id))
    }

    /// A body by name.
    pub fn body(&self, name: &str) -> Result<BodyId, SimError> {
        self.find(mjtObj::mjOBJ_BODY, "body", name).map(BodyId)
    }

    /// A site by name.
    pub fn site(&self, name: &str) -> Result<SiteId, SimError> {
        self.find(mjtObj::mjOBJ_SITE, "site", name).map(SiteId)
    }

    /// A geom by name.
    pub fn geom(&self, name: &str) -> Result<GeomId, SimError> {
        self.find(mjtObj::mjOBJ_GEOM, "geom", name).map(GeomId)
    }

    /// A camera by name.
    pub fn camera(&self, name: &str) -> Result<CameraId, SimError> {
        self.find(mjtObj::mjOBJ_CAMERA, "camera", name)
            .map(CameraId)
    }

    /// An actuator by name.
    pub fn actuator(&self, name: &str) -> Result<ActuatorId, SimError> {
        self.find(mjtObj::mjOBJ_ACTUATOR, "actuator", name)
            .map(ActuatorId)
    }

    /// The first actuator that drives `joint`.
    pub fn actuator_of(&self, joint: Joint) -> Result<ActuatorId, SimError> {
        let raw = self.raw();
        // SAFETY: MuJoCo allocates these arrays with `nu` (times two) entries.
        let (kinds, targets) = unsafe {
            (
                slice(raw.actuator_trntype, raw.nu as usize),
                slice(raw.actuator_trnid, 2 * raw.nu as usize),
            )
        };
        let drives = |&i: &usize| {
            kinds[i] == mj::mjtTrn::mjTRN_JOINT as c_int && targets[2 * i] as usize == joint.id
        };
        (0..kinds.len())
            .find(drives)
            .map(ActuatorId)
            .ok_or_else(|| SimError::Unsuitable {
                world: self.name.clone(),
                kind: "joint",
                name: self.name_of(mjtObj::mjOBJ_JOINT, joint.id),
                problem: "has no actuator; add one under <actuator> in the model".into(),
            })
    }

    /// Whether an actuator takes a position (its force falls with the position) and not a force.
    pub(crate) fn is_position_servo(&self, actuator: ActuatorId) -> bool {
        let raw = self.raw();
        // SAFETY: one entry an actuator.
        let kinds = unsafe { slice(raw.actuator_biastype, raw.nu as usize) };
        kinds[actuator.0] == mj::mjtBias::mjBIAS_AFFINE as c_int
    }

    /// The control range of an actuator (lowest, highest), or `None` if it has no limit.
    pub fn control_range(&self, actuator: ActuatorId) -> Option<(f64, f64)> {
        let raw = self.raw();
        // SAFETY: `nu` entries, two numbers an entry for the range.
        let (limited, range) = unsafe {
            (
                slice(raw.actuator_ctrllimited, raw.nu as usize),
                slice(raw.actuator_ctrlrange, 2 * raw.nu as usize),
            )
        };
        limited[actuator.0].then(|| (range[2 * actuator.0], range[2 * actuator.0 + 1]))
    }

    /// The limits of a hinge (rad) or slide (m) joint, or `None` if it turns freely.
    pub fn joint_range(&self, joint: Joint) -> Option<(f64, f64)> {
        let raw = self.raw();
        // SAFETY: `njnt` entries, two numbers an entry for the range.
        let (limited, range) = unsafe {
            (
                slice(raw.jnt_limited, raw.njnt as usize),
                slice(raw.jnt_range, 2 * raw.njnt as usize),
            )
        };
        limited[joint.id].then(|| (range[2 * joint.id], range[2 * joint.id + 1]))
    }

    /// The three size parameters of a geom, m (meaning depends on its type).
    pub fn geom_size(&self, geom: GeomId) -> [f64; 3] {
        let raw = self.raw();
        // SAFETY: three numbers a geom.
        let sizes = unsafe { slice(raw.geom_size, 3 * raw.ngeom as usize) };
        [
            sizes[3 * geom.0],
            sizes[3 * geom.0 + 1],
            sizes[3 * geom.0 + 2],
        ]
    }

    /// The body that a geom belongs to.
    pub fn body_of(&self, geom: GeomId) -> BodyId {
        let raw = self.raw();
        // SAFETY: one entry a geom.
        BodyId(unsafe { slice(raw.geom_bodyid, raw.ngeom as usize) }[geom.0] as usize)
    }

    /// The free joint of a body, which lets it be placed anywhere.
    pub fn free_joint(&self, body: BodyId) -> Result<Joint, SimError> {
        let raw = self.raw();
        // SAFETY: one entry a body.
        let (first, count) = unsafe {
            (
                slice(raw.body_jntadr, raw.nbody as usize),
                slice(raw.body_jntnum, raw.nbody as usize),
            )
        };
        let joint = (count[body.0] == 1).then(|| self.joint_at(first[body.0] as usize));
        joint
            .filter(|j| j.kind == JointKind::Free)
            .ok_or_else(|| SimError::Unsuitable {
                world: self.name.clone(),
                kind: "body",
                name: self.name_of(mjtObj::mjOBJ_BODY, body.0),
                problem: "has no free joint, so it cannot be placed; add <freejoint/> to it".into(),
            })
    }

    /// Names of the model's cameras, in order.
    pub fn camera_names(&self) -> Vec<String> {
        (0..self.raw().ncam as usize)
            .map(|id| self.name_of(mjtObj::mjOBJ_CAMERA, id))
            .collect()
    }

    /// Name of a geom; empty if it has none.
    pub fn geom_name(&self, geom: GeomId) -> String {
        self.name_of(mjtObj::mjOBJ_GEOM, geom.0)
    }

    /// Name of a body; empty if it has none.
    pub fn body_name(&self, body: BodyId) -> String {
        self.name_of(mjtObj::mjOBJ_BODY, body.0)
    }

    /// The joint that owns velocity number `dof`, by name.
    pub(crate) fn joint_of_dof(&self, dof: usize) -> Option<String> {
        let raw = self.raw();
        // SAFETY: one entry a degree of freedom.
        let owners = unsafe { slice(raw.dof_jntid, raw.nv as usize) };
        owners
            .get(dof)
            .map(|&id| self.name_of(mjtObj::mjOBJ_JOINT, id as usize))
    }

    pub(crate) fn raw(&self) -> &mjModel {
        // SAFETY: the pointer is valid while `self` lives, and nobody writes through it.
        unsafe { self.ptr.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> *const mjModel {
        self.ptr.as_ptr()
    }

    fn joint_at(&self, id: usize) -> Joint {
        let raw = self.raw();
        let n = raw.njnt as usize;
        // SAFETY: one entry a joint.
        let (kinds, qpos, dof) = unsafe {
            (
                slice(raw.jnt_type, n),
                slice(raw.jnt_qposadr, n),
                slice(raw.jnt_dofadr, n),
            )
        };
        let kind = match kinds[id] {
            k if k == mjtJoint::mjJNT_FREE as c_int => JointKind::Free,
            k if k == mjtJoint::mjJNT_BALL as c_int => JointKind::Ball,
            k if k == mjtJoint::mjJNT_SLIDE as c_int => JointKind::Slide,
            _ => JointKind::Hinge,
        };
        Joint {
            id,
            qpos: qpos[id] as usize,
            dof: dof[id] as usize,
            kind,
        }
    }

    fn find(&self, object: mjtObj, kind: &'static str, name: &str) -> Result<usize, SimError> {
        let missing = || SimError::Unknown {
            world: self.name.clone(),
            kind,
            name: name.to_owned(),
            available: self.names_of(object),
        };
        let text = CString::new(name).map_err(|_| missing())?;
        // SAFETY: a valid model and a NUL-terminated name.
        let id = unsafe { mj::mj_name2id(self.as_ptr(), object as c_int, text.as_ptr()) };
        usize::try_from(id).map_err(|_| missing())
    }

    fn names_of(&self, object: mjtObj) -> String {
        let raw = self.raw();
        let count = match object {
            mjtObj::mjOBJ_JOINT => raw.njnt,
            mjtObj::mjOBJ_BODY => raw.nbody,
            mjtObj::mjOBJ_SITE => raw.nsite,
            mjtObj::mjOBJ_GEOM => raw.ngeom,
            mjtObj::mjOBJ_CAMERA => raw.ncam,
            mjtObj::mjOBJ_ACTUATOR => raw.nu,
            _ => 0,
        };
        let names: Vec<_> = (0..count as usize)
            .map(|id| self.name_of(object, id))
            .filter(|n| !n.is_empty())
            .collect();
        if names.is_empty() {
            "none with a name".into()
        } else {
            names.join(", ")
        }
    }

    fn name_of(&self, object: mjtObj, id: usize) -> String {
        // SAFETY: MuJoCo checks the number and answers null for one that does not exist.
        unsafe { owned_text(mj::mj_id2name(self.as_ptr(), object as c_int, id as c_int)) }
    }
}

/// Version of the MuJoCo library that is loaded.
pub fn mujoco_version() -> String {
    // SAFETY: no preconditions; the returned string is static.
    let version = unsafe { std::ffi::CStr::from_ptr(mujoco_rs::mujoco_c::mj_versionString()) };
    version.to_string_lossy().into_owned()
}
