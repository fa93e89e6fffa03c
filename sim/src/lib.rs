//! Simulated worlds: MuJoCo physics, virtual cameras, and robots that a loop cannot tell from
//! real ones.
//!
//! There are two paths, and both step a [`World`]. In lockstep everything is on one thread, and a run
//! is deterministic: the same model, seed and targets give the same state bytes and the same pixels.
//!
//! ```text
//! LockstepRobot::write ─► drive (position actuators or torque PD) ─► World::step ─┐
//! LockstepRobot::read  ◄─ joint positions and velocities ◄─ mjData ◄──────────────┤
//! Frame                ◄─ Renderer::render (EGL, off screen) ◄─ mjvScene ◄────────┘
//! ```
//!
//! [`pick::PickTask`] and [`legged::LeggedWalk`] step their worlds the same way, without a robot between.
//! At wall time, [`pick::SimServer`] runs the world in a thread of its own behind emulated servos on
//! a pseudo-terminal, and that is not deterministic:
//!
//! ```text
//! driver ◄─ bytes ─► sinew_drivers::emulator ◄─ drives, measurements ─► pick::SimPlant ─► World::step
//! pick::CameraFeed ◄─ Renderer::render (a thread of its own) ◄─ snapshot of the state ◄───────┘
//! ```
//!
//! Read [`world`] first, then [`lockstep`] and [`pick`]; [`render`] and [`legged`] stand on them, and
//! [`eval`] plays many episodes and counts.

pub mod error;
pub mod eval;
mod ffi;
pub mod g1;
pub mod go2;
pub mod legged;
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
