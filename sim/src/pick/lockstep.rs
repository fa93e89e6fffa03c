//! The world in lockstep, with cameras: time passes only when it is told to, as fast as the machine
//! allows, and the same seed and targets give the same bytes in every run.
//!
//! Evaluations, recordings and the worlds that [`super::serve`] lends all go through here, so that a policy
//! meets the same world in each: what servos would measure, targets that they would take, and a clock
//! that keeps to the periods that it is told.

use super::error::PickError;
use super::feed::CameraInfo;
use super::pictures::{LockstepCameras, PictureSizes};
use super::scene::{CAMERAS, DOF};
use super::task::{PickTask, TaskState};
use sinew_runtime::control::Frames;
use sinew_runtime::{Frame, Nanos};
use std::sync::Arc;

/// How long the task must stay done to count as a success, s.
pub const DONE_FOR_S: f64 = 0.5;
/// Times that differ by less are the same, s: sums of periods are not exact.
const SAME_TIME_S: f64 = 1e-9;
/// One step of an STS3215's encoder, rad: measurements and targets are rounded to it.
const SERVO_STEP: f64 = std::f64::consts::TAU / 4096.0;

/// What a policy, a recorder or a judge may look at.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Time since the reset as it was told, ns; physics is at the nearest of its steps.
    pub now_ns: Nanos,
    /// Measured joint positions, rad, in whole encoder steps.
    pub positions: [f64; DOF],
    /// Joint velocities, rad/s.
    pub velocities: [f64; DOF],
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
    clock: Clock,
    /// When the task was done for good so far, s.
    done_since_s: Option<f64>,
}

impl LockstepPick {
    /// The world in the episode of `seed`; `camera_size` is the cameras' image size in pixels
    /// (width, height), `None` for no cameras (and no need for a renderer).
    ///
    /// # Errors
    /// [`PickError::Sim`] when the size is out of range, the model does not compile or nothing can be
    /// rendered.
    pub fn new(seed: u64, camera_size: Option<(u32, u32)>) -> Result<Self, PickError> {
        Self::with_pictures(seed, &[camera_size; CAMERAS.len()])
    }

    /// As [`LockstepPick::new`], with a size for each camera.
    ///
    /// # Errors
    /// As [`LockstepPick::new`].
    pub fn with_pictures(seed: u64, sizes: &PictureSizes) -> Result<Self, PickError> {
        let task = PickTask::new(seed)?;
        Ok(Self {
            cameras: LockstepCameras::new(&task, sizes)?,
            task,
            infos: camera_infos(sizes),
            clock: Clock::default(),
            done_since_s: None,
        })
    }

    /// The cameras, in the order of an observation's frames.
    pub fn cameras(&self) -> &[CameraInfo] {
        &self.infos
    }

    /// Starts the episode of `seed`, see [`PickTask::reset`].
    pub fn reset(&mut self, seed: u64) -> Result<(), PickError> {
        self.task.reset(seed)?;
        self.clock = Clock::default();
        self.done_since_s = None;
        self.judge();
        Ok(())
    }

    /// Drives the arm to `targets` (rad), in whole encoder steps, for `dt_s` seconds. Physics goes to the
    /// nearest of its steps, so that periods which are no multiple of one are right on average.
    pub fn advance(&mut self, targets: &[f64; DOF], dt_s: f64) -> Result<(), PickError> {
        let steps = self.clock.advance(dt_s, self.task.world().timestep());
        self.task.drive(&targets.map(rounded), steps)?;
        self.judge();
        Ok(())
    }

    /// How long the task has been done without a break, s; 0 when it is not done. Looks after each
    /// [`LockstepPick::advance`].
    pub fn done_for_s(&self) -> f64 {
        self.done_since_s
            .map_or(0.0, |since| self.clock.told_s - since)
    }

    /// Whether the task has been done for `seconds`.
    pub fn is_done_for(&self, seconds: f64) -> bool {
        self.done_since_s.is_some() && self.done_for_s() >= seconds - SAME_TIME_S
    }

    /// Everything as it is now. Draws one image a camera, which takes some milliseconds.
    pub fn observe(&mut self) -> Result<Observation, PickError> {
        let mut frames = Frames::default();
        self.render(&mut frames)?;
        let (positions, velocities) = self.joints();
        Ok(Observation {
            now_ns: self.now_ns(),
            positions,
            velocities,
            frames: frames.into_iter().flatten().collect(),
            state: self.task.state(),
        })
    }

    /// Time since the reset as it was told, ns.
    pub(super) fn now_ns(&self) -> Nanos {
        (self.clock.told_s * 1e9).round() as Nanos
    }

    /// Measured positions (rad, in whole encoder steps) and velocities (rad/s).
    pub(super) fn joints(&self) -> ([f64; DOF], [f64; DOF]) {
        let world = self.task.world();
        let joints = self.task.scene().joints;
        (
            joints.map(|joint| rounded(world.position(joint))),
            joints.map(|joint| world.velocity(joint)),
        )
    }

    /// One picture of each camera at its place among [`CAMERAS`].
    pub(super) fn render(&mut self, frames: &mut Frames) -> Result<(), PickError> {
        let captured_ns = self.now_ns();
        match &mut self.cameras {
            Some(cameras) => cameras.render(&self.task, captured_ns, frames),
            None => Ok(()),
        }
    }

    /// The task and its physics.
    pub fn task(&self) -> &PickTask {
        &self.task
    }

    fn judge(&mut self) {
        let (done, now_s) = (self.task.state().success, self.clock.told_s);
        self.done_since_s = done.then(|| self.done_since_s.unwrap_or(now_s));
    }
}

/// Turns periods into whole steps of physics without letting their roundings add up.
#[derive(Debug, Default)]
struct Clock {
    /// Sum of all periods, s.
    told_s: f64,
    /// Steps of physics so far.
    steps: u64,
}

impl Clock {
    /// Physics steps of `timestep` seconds in the next period.
    fn advance(&mut self, dt_s: f64, timestep: f64) -> usize {
        self.told_s += dt_s;
        // A period that ends in the middle of a step ends after it, however the sum was rounded.
        let until = ((self.told_s + SAME_TIME_S) / timestep).round() as u64;
        let steps = until.saturating_sub(self.steps);
        self.steps = until.max(self.steps);
        usize::try_from(steps).unwrap_or(usize::MAX)
    }
}

fn rounded(rad: f64) -> f64 {
    (rad / SERVO_STEP).round() * SERVO_STEP
}

/// The cameras that have a size.
pub(super) fn camera_infos(sizes: &PictureSizes) -> Vec<CameraInfo> {
    let wanted = CAMERAS.iter().zip(sizes);
    wanted
        .filter_map(|(name, size)| {
            let (width, height) = (*size)?;
            Some(CameraInfo {
                name: (*name).to_owned(),
                width,
                height,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_that_are_no_multiple_of_a_physics_step_do_not_drift() {
        let mut world = LockstepPick::new(1, None).unwrap();
        for rate in [30.0, 60.0, 200.0, 400.0] {
            world.reset(1).unwrap();
            let home = world.task().scene().home;
            for _ in 0..(10.0 * rate) as u64 {
                world.advance(&home, 1.0 / rate).unwrap();
            }
            let time_s = world.task().state().time_s;
            assert!((time_s - 10.0).abs() < 2e-3, "{rate} Hz: {time_s} s");
            assert_eq!(world.now_ns(), 10_000_000_000);
        }
    }

    #[test]
    fn joints_are_told_and_measured_in_encoder_steps() {
        let whole = |rad: f64| (rad / SERVO_STEP - (rad / SERVO_STEP).round()).abs() < 1e-6;
        let ends = [130.0, 130.3].map(|steps| {
            let mut world = LockstepPick::new(1, None).unwrap();
            let mut targets = world.task().scene().home;
            targets[0] = steps * SERVO_STEP;
            world.advance(&targets, 1.0).unwrap();
            let seen = world.observe().unwrap();
            assert!(seen.positions.into_iter().all(whole), "{seen:?}");
            world.task().positions()
        });
        assert_eq!(ends[0], ends[1], "a third of a step is no other target");
    }
}
