//! World `so101-pick`: an SO-101 arm picks a cube from a table and puts it on a marked zone.
//!
//! Two ways to use it:
//!
//! ```text
//! lockstep   ScriptedPick / policy ─► LockstepPick ─► PickTask                 (one thread, no clock)
//! real time  driver ─► pty ─► emulated servos ─► SimPlant ─► PickTask          (world thread)
//!            cameras ◄─ frame slots ◄─ renderer ◄─ snapshot of the state       (render thread)
//! ```
//!
//! [`LockstepPick`] is the first way with cameras and servo steps, decided step by step; on it [`Stage`]
//! plays whole episodes for [`crate::eval`], and [`serve`] lets another process decide.
//!
//! Read [`task`] for the task, [`scripted`] for the operator that solves it, [`realtime`] for the
//! server that makes it look like hardware, and [`link`] for how another process takes part.

mod camera;
pub mod disturbance;
pub mod episode;
pub mod error;
pub mod feed;
pub mod link;
pub mod lockstep;
pub mod observation;
pub mod pictures;
pub mod plant;
pub mod reach;
pub mod realtime;
pub mod scene;
pub mod scripted;
pub mod serve;
pub mod task;

pub use disturbance::Disturbance;
pub use episode::{Episode, Rules, Stage, Surroundings};
pub use error::PickError;
pub use feed::{CameraFeed, CameraInfo};
pub use link::LinkClient;
pub use lockstep::{DONE_FOR_S, LockstepPick, Observation};
pub use observation::ENVIRONMENT;
pub use pictures::{LockstepCameras, PictureSizes};
pub use plant::{SimPlant, TickMap, emulated_servos};
pub use reach::{Aim, Arm};
pub use realtime::{SimConfig, SimServer};
pub use scene::{CAMERA_SIZE, CAMERAS, CUBE_EDGE, DOF, JOINTS, ROBOT, Scene, WORLD};
pub use scripted::{Phase, ScriptedPick};
pub use serve::EpisodeServer;
pub use task::{PickTask, TaskState, ZONE_RADIUS};
