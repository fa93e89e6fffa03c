//! The world in lockstep, with cameras: time passes only when it is told to, as fast as the machine
//! allows, and the same seed and targets give the same bytes in every run.

use super::error::PickError;
use super::feed::CameraInfo;
use super::pictures::LockstepCameras;
use super::scene::{CAMERAS, DOF};
use super::task::{PickTask, TaskState};
use sinew_runtime::Frame;
use sinew_runtime::control::Frames;
use std::sync::Arc;

/// What a policy, a recorder or a judge may look at.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Measured joint positions, rad.
    pub positions: [f64; DOF],
    /// One image a camera, in the order of [`LockstepPick::cameras`]; none without cameras.
    pub frames: Vec<Arc<Frame>>,
    /// The privileged task state.
    pub state: TaskState,
}

/// A [`PickTask`] and its cameras. Stays on the thread that made it, as renderers do.
#[derive(Debug)]
pub struct LockstepPick {
    task: PickTask,
    cameras: Option<LockstepCameras>,
    infos: Vec<CameraInfo>,
}

impl LockstepPick {
    /// The world in the episode of `seed`; `camera_size` is the cameras' image size in pixels
    /// (width, height), `None` for no cameras (and no need for a renderer).
    ///
    /// # Errors
    /// [`PickError::Sim`] when the size is out of range, the model does not compile or nothing can be
    /// rendered.
    pub fn new(seed: u64, camera_size: Option<(u32, u32)>) -> Result<Self, PickError> {
        let task = PickTask::new(seed)?;
        let cameras = LockstepCameras::new(&task, &[camera_size; CAMERAS.len()])?;
        let infos = camera_size.map_or_else(Vec::new, camera_infos);
        Ok(Self {
            task,
            cameras,
            infos,
        })
    }

    /// The cameras, in the order of an observation's frames.
    pub fn cameras(&self) -> &[CameraInfo] {
        &self.infos
    }

    /// Starts the episode of `seed`, see [`PickTask::reset`].
    pub fn reset(&mut self, seed: u64) -> Result<(), PickError> {
        self.task.reset(seed)
    }

    /// Drives the arm to `targets` (rad) for `dt_s` seconds, see [`PickTask::advance`].
    pub fn advance(&mut self, targets: &[f64; DOF], dt_s: f64) -> Result<(), PickError> {
        self.task.advance(targets, dt_s)
    }

    /// Everything as it is now. Draws one image a camera, which takes some milliseconds.
    pub fn observe(&mut self) -> Result<Observation, PickError> {
        let state = self.task.state();
        let captured_ns = (state.time_s.max(0.0) * 1e9).round() as u64;
        let mut frames = Frames::default();
        if let Some(cameras) = &mut self.cameras {
            cameras.render(&self.task, captured_ns, &mut frames)?;
        }
        Ok(Observation {
            positions: self.task.positions(),
            frames: frames.into_iter().flatten().collect(),
            state,
        })
    }

    /// The task and its physics.
    pub fn task(&self) -> &PickTask {
        &self.task
    }
}

/// The world's cameras with images of `size` pixels (width, height).
pub(super) fn camera_infos((width, height): (u32, u32)) -> Vec<CameraInfo> {
    let info = |name: &str| CameraInfo {
        name: name.to_owned(),
        width,
        height,
    };
    CAMERAS.map(info).into()
}
