//! A policy run inside the tick, for lockstep simulation.

use super::inference::{Infer, Window, act_on};
use super::{ActionQueue, ChunkBuf, QueueConfig, QueueCounters};
use crate::control::{ActionOutcome, ActionSource, Observation};
use crate::joints::JointTarget;

/// A policy run inside the tick, for lockstep simulation: inference takes as many steps as it is said
/// to take, however long it really takes, so the same run gives the same actions.
pub struct InlineInference {
    queue: ActionQueue,
    chunk: ChunkBuf,
    infer: Infer,
    window: Window,
    latency_steps: u64,
    /// The step at which the chunk that is being computed is there.
    due: Option<u64>,
    ran_dry: bool,
    failure: Option<String>,
}

impl std::fmt::Debug for InlineInference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineInference")
            .field("queue", &self.queue)
            .field("latency_steps", &self.latency_steps)
            .finish_non_exhaustive()
    }
}

impl InlineInference {
    /// Runs `infer` whenever the queue asks for a chunk.
    pub fn new(infer: Infer, config: QueueConfig) -> Self {
        Self {
            queue: ActionQueue::new(config),
            chunk: ChunkBuf::new(config.chunk, config.joints),
            infer,
            window: Window::new(config.window),
            latency_steps: 0,
            due: None,
            ran_dry: false,
            failure: None,
        }
    }

    /// Withholds each chunk for so many steps after its observation.
    pub fn with_latency(mut self, steps: u64) -> Self {
        self.latency_steps = steps;
        self
    }

    /// Forgets everything that came before, counts included: call before each episode.
    pub fn reset(&mut self) {
        self.queue = ActionQueue::new(*self.queue.config());
        self.window.clear();
        (self.due, self.ran_dry, self.failure) = (None, false, None);
    }

    fn deliver(&mut self, step: u64) {
        if self.due.is_some_and(|due| step >= due) {
            self.due = None;
            self.queue.counters_mut().overruns += u64::from(self.ran_dry);
            self.ran_dry = false;
            self.queue.push(&self.chunk, step);
        }
    }

    fn ask(&mut self, observation: &Observation) -> Result<(), ActionOutcome> {
        let step = observation.step;
        if self.queue.is_fresh(observation) {
            self.window.push(observation.clone());
        }
        if self.due.is_some() || !self.queue.is_due(observation) {
            return Ok(());
        }
        self.queue.counters_mut().requests += 1;
        self.chunk.restart(step);
        (self.infer)(self.window.slice(), &mut self.chunk).map_err(|error| {
            self.failure = Some(error.to_string());
            ActionOutcome::Failed
        })?;
        self.due = Some(step.saturating_add(self.latency_steps));
        Ok(())
    }
}

impl ActionSource for InlineInference {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        let step = observation.step;
        self.deliver(step);
        if let Err(failed) = self.ask(observation) {
            return failed;
        }
        self.deliver(step);
        let outcome = act_on(&mut self.queue, step, self.due.is_some(), target);
        self.ran_dry |= outcome == ActionOutcome::Starved;
        outcome
    }

    fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    fn queue_counters(&self) -> Option<QueueCounters> {
        Some(*self.queue.counters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::QueueConfig;
    use std::sync::{Arc, Mutex, PoisonError};

    #[test]
    fn observations_without_a_picture_are_no_past() {
        let seen: Arc<Mutex<Vec<Vec<u64>>>> = Arc::default();
        let steps = Arc::clone(&seen);
        let infer: Infer = Box::new(move |window, chunk| {
            let numbers = window.iter().map(|observation| observation.step).collect();
            let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.push(numbers);
            chunk.push(&[0.0]);
            Ok(())
        });
        let config = QueueConfig {
            window: 2,
            cameras: 0b1,
            ..QueueConfig::new(1, 1)
        };
        let mut source = InlineInference::new(infer, config);
        for step in 0..4 {
            let observation = Observation {
                step,
                stale_cameras: u8::from(step < 2),
                ..Observation::default()
            };
            source.act(&observation, &mut JointTarget::default());
        }
        let seen = seen.lock().unwrap();
        assert_eq!(*seen, [vec![2], vec![2, 3]]);
    }
}
