//! One episode of the task in lockstep, with whoever decides, and how it ended.

use super::error::PickError;
use super::lockstep::{DONE_FOR_S, LockstepPick};
use super::observation::ENVIRONMENT;
use super::pictures::PictureSizes;
use super::scene::{CAMERAS, DOF};
use super::task::TaskState;
use serde::{Deserialize, Serialize};
use sinew_runtime::actions::QueueCounters;
use sinew_runtime::control::{ActionOutcome, ActionSource, Observation};
use sinew_runtime::{JointState, JointTarget};
use std::sync::{Arc, Mutex, PoisonError};

/// What makes an episode of the task, and a success.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Decisions a second.
    pub rate_hz: f64,
    /// Longest episode, s of simulated time.
    pub limit_s: f64,
    /// How long the task must stay done to count as a success, s.
    pub done_for_s: f64,
    /// Which cameras are rendered at every decision.
    pub pictures: PictureSizes,
}

impl Rules {
    /// Episodes of at most 25 s, a success when the task was done for [`DONE_FOR_S`], no pictures.
    ///
    /// # Errors
    /// [`PickError::Config`] for a rate that is not from 1 Hz to 250 Hz: physics runs at 500 Hz.
    pub fn new(rate_hz: f64) -> Result<Self, PickError> {
        if !(1.0..=250.0).contains(&rate_hz) {
            return Err(PickError::Config {
                field: "rate_hz",
                value: rate_hz.to_string(),
                problem: "is not a rate for this task; choose 1 to 250 Hz",
            });
        }
        Ok(Self {
            rate_hz,
            limit_s: 25.0,
            done_for_s: DONE_FOR_S,
            pictures: [None; CAMERAS.len()],
        })
    }

    fn ticks(&self, seconds: f64) -> u64 {
        (seconds * self.rate_hz).ceil() as u64
    }
}

/// What a policy may know of the surroundings beside joints and pictures: the values of
/// [`ENVIRONMENT`] at the present decision. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Surroundings(Arc<Mutex<[f64; ENVIRONMENT.len()]>>);

impl Surroundings {
    /// The values, in the order of [`ENVIRONMENT`].
    pub fn values(&self) -> [f64; ENVIRONMENT.len()] {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the values of the next decision.
    pub fn set(&self, values: [f64; ENVIRONMENT.len()]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }
}

/// How an episode ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Seed of the episode.
    pub seed: u64,
    /// Whether the task was done.
    pub success: bool,
    /// When it was done, s of simulated time from the start.
    pub time_s: Option<f64>,
    /// Distance of the cube from the middle of the zone at the end, m.
    pub distance_m: f64,
    /// Decisions made.
    pub steps: u64,
    /// What the action queue counted.
    pub actions: Option<QueueCounters>,
    /// A hash (FNV-1a, 64 bits) of every measurement, target and pose of the cube, bit by bit: equal
    /// episodes have equal ones.
    pub trace: String,
}

/// The world of one worker: task, cameras, and what is known of the surroundings.
#[derive(Debug)]
pub struct Stage {
    world: LockstepPick,
    surroundings: Surroundings,
    rules: Rules,
}

impl Stage {
    /// A world for episodes by these rules, on this thread.
    pub fn new(rules: Rules) -> Result<Self, PickError> {
        Ok(Self {
            world: LockstepPick::with_pictures(0, &rules.pictures)?,
            surroundings: Surroundings::default(),
            rules,
        })
    }

    /// What is known of the surroundings during a decision.
    pub fn surroundings(&self) -> Surroundings {
        self.surroundings.clone()
    }

    /// Plays the episode of `seed` from the home pose. Every decision of `source` is a target that holds
    /// for one period; a step without one keeps the last. `going_on` is asked before each step.
    ///
    /// # Errors
    /// [`PickError::Sim`] when physics or rendering fails, and [`PickError::Decision`] when the source
    /// does.
    pub fn play(
        &mut self,
        seed: u64,
        source: &mut dyn ActionSource,
        going_on: &dyn Fn() -> bool,
    ) -> Result<Option<Episode>, PickError> {
        self.world.reset(seed)?;
        let mut target = JointTarget {
            len: DOF,
            ..JointTarget::default()
        };
        target.position[..DOF].copy_from_slice(&self.world.task().scene().home);
        let limit = self.rules.ticks(self.rules.limit_s);
        let mut trace = Trace::default();
        let mut observation = Observation {
            cameras: CAMERAS.len(),
            ..Observation::default()
        };
        let mut step = 0;
        let state = loop {
            let state = self.world.task().state();
            if self.is_success() || step >= limit {
                break state;
            }
            if !going_on() {
                return Ok(None);
            }
            self.observe(step, &state, &mut observation)?;
            if !decide(source, &observation, &mut target, seed)? {
                break state;
            }
            trace.add(&observation.state, &target, &state);
            let goals = std::array::from_fn(|joint| target.position[joint]);
            self.world.advance(&goals, 1.0 / self.rules.rate_hz)?;
            step += 1;
        };
        let success = self.is_success();
        let done_for = (self.world.done_for_s() * self.rules.rate_hz).round();
        Ok(Some(Episode {
            seed,
            success,
            time_s: success.then(|| (step as f64 - done_for) / self.rules.rate_hz),
            distance_m: state.distance_to_zone(),
            steps: step,
            actions: source.queue_counters(),
            trace: trace.text(),
        }))
    }

    fn is_success(&self) -> bool {
        self.world.is_done_for(self.rules.done_for_s)
    }

    fn observe(
        &mut self,
        step: u64,
        state: &TaskState,
        observation: &mut Observation,
    ) -> Result<(), PickError> {
        let now_ns = self.world.now_ns();
        self.surroundings.set(state.environment());
        let mut joints = JointState {
            seq: step + 1,
            captured_ns: now_ns,
            len: DOF,
            ..JointState::default()
        };
        let (positions, velocities) = self.world.joints();
        joints.position[..DOF].copy_from_slice(&positions);
        joints.velocity[..DOF].copy_from_slice(&velocities);
        (observation.step, observation.now_ns, observation.state) = (step, now_ns, joints);
        self.world.render(&mut observation.frames)
    }
}

/// Asks for one decision; `false` when there will be no more.
fn decide(
    source: &mut dyn ActionSource,
    observation: &Observation,
    target: &mut JointTarget,
    seed: u64,
) -> Result<bool, PickError> {
    let failed = |problem: String| PickError::Decision { seed, problem };
    match source.act(observation, target) {
        ActionOutcome::Failed => {
            let problem = source.failure();
            Err(failed(
                problem.unwrap_or_else(|| "the source gave no reason".to_owned()),
            ))
        }
        ActionOutcome::Finished => Ok(false),
        _ if target.len != DOF => {
            let joints = target.len;
            Err(failed(format!(
                "targets are for {joints} joints, not {DOF}"
            )))
        }
        _ => Ok(true),
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
#[derive(Debug)]
struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    fn add(&mut self, joints: &JointState, target: &JointTarget, task: &TaskState) {
        let numbers = joints.positions().iter().chain(target.positions());
        for number in numbers
            .chain(&task.cube_position)
            .chain(&task.cube_quaternion)
        {
            for byte in number.to_bits().to_le_bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}
