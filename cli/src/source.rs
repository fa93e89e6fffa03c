//! Who decides the next action: operators beside the loop, or a recorded episode. Policies are in
//! [`crate::player`].

use crate::failure::usage;
#[cfg(feature = "sim")]
use crate::world::World;
use anyhow::{Context, Result};
use sinew_runtime::control::{ActionOutcome, ActionSource, Observation};
use sinew_runtime::pace::{nanos, period_of};
use sinew_runtime::slot::{SlotReader, SlotWriter, slot};
use sinew_runtime::stop::{StopCause, StopToken};
use sinew_runtime::{Clock, JointState, JointTarget, MAX_JOINTS, MonotonicClock, Nanos};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Decides where the robot should go, on a thread of its own beside the loop.
pub(crate) trait Operate: Send {
    /// Writes goals (rad) for `now_s`, given where the joints are. `false` when there is nothing to
    /// send yet.
    fn tick(&mut self, now_s: f64, state: &JointState, target: &mut JointTarget) -> Result<bool>;
    /// Begins a new episode.
    fn restart(&mut self) {}
    /// Whether the episode's work is done.
    fn is_done(&self) -> bool {
        false
    }
}

/// What the main thread and an operator's thread tell each other.
#[derive(Debug, Default)]
pub(crate) struct OperatorControl {
    restarts: AtomicU64,
    done: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl OperatorControl {
    /// Begins a new episode.
    pub(crate) fn restart(&self) {
        self.done.store(false, Ordering::Release);
        self.restarts.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the episode's work is done.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Why the operator gave up, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().ok().and_then(|f| f.clone())
    }
}

/// The loop's end of an operator: the newest target, as long as it is fresh.
#[derive(Debug)]
pub(crate) struct NewestTarget {
    targets: SlotReader<JointTarget>,
    max_age: Nanos,
    began: bool,
}

impl NewestTarget {
    /// The slot that takes targets, and the source that sends them on while they are at most
    /// `max_age` old.
    pub(crate) fn new(max_age: Duration) -> (SlotWriter<JointTarget>, Self) {
        let (writer, targets) = slot(JointTarget::default());
        (
            writer,
            Self {
                targets,
                max_age: nanos(max_age),
                began: false,
            },
        )
    }
}

impl ActionSource for NewestTarget {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        let newest = *self.targets.latest();
        if newest.len == 0 {
            return ActionOutcome::Waiting;
        }
        if observation.now_ns.saturating_sub(newest.issued_ns) > self.max_age {
            return if self.began {
                ActionOutcome::Starved
            } else {
                ActionOutcome::Waiting
            };
        }
        self.began = true;
        target.len = newest.len;
        target.position = newest.position;
        ActionOutcome::Act
    }
}

/// Runs `operator` at `rate_hz` and returns what the loop acts on.
pub(crate) fn spawn_operator(
    mut operator: Box<dyn Operate>,
    mut states: SlotReader<JointState>,
    rate_hz: f64,
    stop: StopToken,
) -> Result<(NewestTarget, Arc<OperatorControl>, JoinHandle<()>)> {
    let period =
        period_of(rate_hz).ok_or_else(|| usage(format!("{rate_hz} is not a rate in Hz")))?;
    let (mut targets, source) = NewestTarget::new(5 * period);
    let control = Arc::new(OperatorControl::default());
    let shared = control.clone();
    let thread = std::thread::Builder::new()
        .name("operator".into())
        .spawn(move || {
            let clock = MonotonicClock;
            let (mut due, mut restarts) = (clock.now(), 0);
            while !stop.is_set() {
                due = (due + nanos(period)).max(clock.now());
                clock.sleep_until(due);
                let state = *states.latest();
                if states.seq() == 0 {
                    continue;
                }
                let asked = shared.restarts.load(Ordering::Acquire);
                if asked != restarts {
                    restarts = asked;
                    operator.restart();
                }
                let now = clock.now();
                let mut target = JointTarget {
                    len: state.len,
                    issued_ns: now,
                    ..JointTarget::default()
                };
                match operator.tick(now as f64 * 1e-9, &state, &mut target) {
                    Ok(true) => {
                        targets.publish(target);
                    }
                    Ok(false) => {}
                    Err(error) => {
                        if let Ok(mut failure) = shared.failure.lock() {
                            *failure = Some(format!("{error:#}"));
                        }
                        stop.request(StopCause::Control);
                    }
                }
                if asked == shared.restarts.load(Ordering::Acquire) {
                    shared.done.store(operator.is_done(), Ordering::Release);
                }
            }
        });
    Ok((
        source,
        control,
        thread.context("cannot start the operator's thread")?,
    ))
}

/// The scripted operator of the simulated task.
#[cfg(feature = "sim")]
#[derive(Debug)]
pub(crate) struct Scripted {
    script: sinew_sim::pick::ScriptedPick,
    world: World,
}

#[cfg(feature = "sim")]
impl Scripted {
    pub(crate) fn new(world: &World) -> Result<Self> {
        Ok(Self {
            script: world.operator()?,
            world: world.clone(),
        })
    }
}

#[cfg(feature = "sim")]
impl Operate for Scripted {
    fn tick(&mut self, now_s: f64, state: &JointState, target: &mut JointTarget) -> Result<bool> {
        let Some(task) = self.world.task_state()? else {
            return Ok(false);
        };
        let mut measured = [0.0; sinew_sim::pick::DOF];
        measured.copy_from_slice(&state.position[..sinew_sim::pick::DOF]);
        let goal = self.script.tick(now_s, &measured, &task)?;
        target.position[..goal.len()].copy_from_slice(&goal);
        Ok(true)
    }

    fn restart(&mut self) {
        self.script.restart();
    }

    fn is_done(&self) -> bool {
        self.script.is_done()
    }
}

/// A recorded episode. Moves to its first row at walking pace, then sends one row a tick.
#[derive(Debug)]
pub(crate) struct Replayed {
    rows: Vec<Vec<f64>>,
    tick_s: f64,
    /// Where the robot was at the first tick.
    from: Option<[f64; MAX_JOINTS]>,
    /// Ticks of the way to the first row, done and in all.
    approach: (usize, usize),
    next: usize,
}

/// Fastest joint on the way to the first row, rad/s.
const APPROACH_RAD_S: f64 = 0.8;

impl Replayed {
    /// Rows of goals in rad, one a tick of `tick_s` seconds.
    pub(crate) fn new(rows: Vec<Vec<f64>>, tick_s: f64) -> Self {
        Self {
            rows,
            tick_s,
            from: None,
            approach: (0, 0),
            next: 0,
        }
    }

    fn approach_ticks(&self, from: &[f64]) -> usize {
        let far = from
            .iter()
            .zip(&self.rows[0])
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        // A minimum-jerk motion peaks at 1.875 times its mean speed.
        ((1.875 * far / APPROACH_RAD_S).max(0.2) / self.tick_s).ceil() as usize
    }
}

impl ActionSource for Replayed {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        if self.next >= self.rows.len() {
            return ActionOutcome::Finished;
        }
        target.len = self.rows[0].len();
        let Some(from) = &self.from else {
            let here = observation.state.position;
            self.approach = (0, self.approach_ticks(observation.state.positions()));
            self.from = Some(here);
            target.position = here;
            return ActionOutcome::Act;
        };
        let (done, ticks) = self.approach;
        if done < ticks {
            self.approach.0 += 1;
            let t = self.approach.0 as f64 / ticks as f64;
            let share = t * t * t * (10.0 + t * (6.0 * t - 15.0));
            for ((goal, from), to) in target.position.iter_mut().zip(from).zip(&self.rows[0]) {
                *goal = *from + (to - *from) * share;
            }
        } else {
            target.position[..target.len].copy_from_slice(&self.rows[self.next]);
            self.next += 1;
        }
        ActionOutcome::Act
    }
}
