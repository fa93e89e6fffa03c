//! Simulated worlds: MuJoCo physics, virtual cameras, and robots that a loop cannot tell from
//! real ones.
//!
//! The path that data takes, all on one thread and one stepped clock:
//!
//! ```text
//! LockstepRobot::write ─► drive (position actuators or torque PD) ─► World::step ─┐
//! LockstepRobot::read  ◄─ joint positions and velocities ◄─ mjData ◄──────────────┤
//! Frame                ◄─ Renderer::render (EGL, off screen) ◄─ mjvScene ◄────────┘
//! ```
//!
//! Read [`world`] first, then [`lockstep`]; [`render`] and [`go2`] stand on them. A run is
//! deterministic: the same model, seed and targets give the same state bytes and the same pixels.

pub mod error;
mod ffi;
pub mod go2;
pub mod lockstep;
pub mod model;
pub mod pick;
pub mod render;
pub mod state;
pub mod world;

pub use error::SimError;
pub use lockstep::{Drive, LockstepConfig, LockstepRobot, SharedWorld};
pub use model::mujoco_version;
pub use model::{ActuatorId, BodyId, CameraId, GeomId, Joint, JointKind, Model, SiteId};
pub use render::{RenderOptions, Renderer, Viewpoint};
pub use state::{Contact, Pose, State};
pub use world::World;
