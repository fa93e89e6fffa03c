//! The step timeline: which action belongs to which period of the loop.

mod merge;
#[cfg(test)]
mod tests;

pub use merge::{Blend, Merge};

use super::ChunkBuf;
use crate::control::Observation;
use crate::joints::MAX_JOINTS;
use merge::Merger;
use serde::{Deserialize, Serialize};

/// Where the first action of a chunk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkStart {
    /// To the step whose observation it was computed from. What inference took is discarded from
    /// the front, so that motion stays in time with what the policy saw.
    #[default]
    AtObservation,
    /// To the first step without an action when the chunk arrives. Nothing is discarded, and the
    /// arm waits for inference: LeRobot's synchronous way.
    AtArrival,
}

/// How a queue works. A [`super::Strategy`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Number of joints.
    pub joints: usize,
    /// The most actions that one chunk has.
    pub chunk: usize,
    /// How many of them are used; the rest is left out.
    pub used: usize,
    /// Inference is asked for when at most this many actions are left, the current step's included.
    pub refill_at: usize,
    /// What happens where chunks overlap.
    pub merge: Merge,
    /// Where the first action of a chunk goes.
    pub start: ChunkStart,
    /// How many steps in a row a dry queue holds the last target while a chunk is computed. After
    /// that, and at once where it is 0, steps without an action are starved.
    pub hold: u64,
    /// Cameras that the policy looks at, bit `i` for the camera that was added as number `i`. It is not
    /// asked on an observation that lacks a fresh picture of one of them.
    pub cameras: u8,
    /// How many observations of consecutive steps the policy looks at, the newest included; 1 for most.
    pub window: usize,
}

impl QueueConfig {
    /// A queue for chunks of `chunk` actions that asks for the next one when half of it is left, and
    /// needs no camera.
    pub fn new(joints: usize, chunk: usize) -> Self {
        Self {
            joints,
            chunk,
            used: chunk,
            refill_at: chunk / 2,
            merge: Merge::default(),
            start: ChunkStart::default(),
            hold: 0,
            cameras: 0,
            window: 1,
        }
    }
}

/// What a queue counts. Each action of each chunk (of those that are used) ends up in one of
/// `executed`, `expired`, `skipped`, `merged`, `dropped` and `too_far`, or is still queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueCounters {
    /// Inferences asked for.
    pub requests: u64,
    /// Chunks that arrived.
    pub chunks: u64,
    /// Actions that were executed.
    pub executed: u64,
    /// Actions that arrived after their step.
    pub expired: u64,
    /// Actions that were there, but whose step the loop skipped.
    pub skipped: u64,
    /// Actions that were merged with, or gave way to, one of an overlapping chunk.
    pub merged: u64,
    /// Actions that were dropped because a newer chunk ends before them, or all were forgotten.
    pub dropped: u64,
    /// Actions too far ahead for the queue.
    pub too_far: u64,
    /// Chunks for another number of joints.
    pub wrong_joints: u64,
    /// Steps that held the last target while a chunk was computed, as the strategy wants it.
    pub held: u64,
    /// Steps without an action, after the first chunk.
    pub starved: u64,
    /// Chunks that arrived after the queue had starved.
    pub overruns: u64,
    /// Steps at which the policy was due but not asked, for want of a fresh picture.
    pub stale: u64,
    /// Observations that a policy which looks back did not get to see, because it was too slow.
    pub unseen: u64,
}

/// What a step without an action means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dry {
    /// No chunk has arrived yet.
    NotBegun,
    /// Send the last target again: a chunk is being computed, and the strategy waits for it.
    Hold,
    /// There should be an action.
    Starved,
}

/// An action and the step it is for; `step` is one more, so that 0 means "none".
#[derive(Debug, Clone, Copy)]
struct Entry {
    step_plus_one: u64,
    /// How many predictions it was made of.
    count: u32,
    action: [f64; MAX_JOINTS],
}

const NONE: Entry = Entry {
    step_plus_one: 0,
    count: 0,
    action: [0.0; MAX_JOINTS],
};

/// Actions on the timeline. Allocates only in [`Self::new`].
#[derive(Debug)]
pub struct ActionQueue {
    config: QueueConfig,
    merger: Merger,
    entries: Vec<Entry>,
    // Steps before this one are past.
    next: u64,
    // No step from this one on has an action.
    end: u64,
    // Steps in a row without an action.
    dry: u64,
    counters: QueueCounters,
}

impl ActionQueue {
    /// An empty queue with room for two chunks.
    pub fn new(config: QueueConfig) -> Self {
        let entries = vec![NONE; (2 * config.chunk).max(1)];
        Self {
            merger: Merger::new(config.merge, config.chunk),
            config,
            entries,
            next: 0,
            end: 0,
            dry: 0,
            counters: QueueCounters::default(),
        }
    }

    /// What the queue was made with.
    pub fn config(&self) -> &QueueConfig {
        &self.config
    }

    /// Puts a chunk on the timeline, when the loop is at `now_step`. A chunk that is wholly late changes
    /// nothing.
    pub fn push(&mut self, chunk: &ChunkBuf, now_step: u64) {
        self.counters.chunks += 1;
        if chunk.joints() != self.config.joints {
            self.counters.wrong_joints += 1;
            return;
        }
        self.forget_until(now_step);
        self.next = self.next.max(now_step);
        let start = match self.config.start {
            ChunkStart::AtObservation => chunk.start_step(),
            ChunkStart::AtArrival => self.end.max(self.next),
        };
        let len = chunk.len().min(self.config.used) as u64;
        let end = start.saturating_add(len);
        if end <= self.next {
            self.counters.expired += len;
            return;
        }
        for (step, action) in (start..end).zip(chunk.rows()) {
            self.place(step, action);
        }
        self.set_end(end.min(self.next + self.entries.len() as u64));
    }

    /// Takes the action of `step`, which becomes the past. `None` if there is none; [`Self::dry`] then
    /// says what that means.
    pub fn pop(&mut self, step: u64) -> Option<&[f64]> {
        self.forget_until(step);
        self.next = self.next.max(step.saturating_add(1));
        let index = self.index(step);
        let entry = &mut self.entries[index];
        if entry.step_plus_one != step.saturating_add(1) {
            return None;
        }
        entry.step_plus_one = 0;
        self.dry = 0;
        self.counters.executed += 1;
        Some(&self.entries[index].action[..self.config.joints])
    }

    /// Judges and counts a step for which [`Self::pop`] gave nothing. `awaited` says that a chunk is
    /// being computed.
    pub fn dry(&mut self, awaited: bool) -> Dry {
        // Without a picture nothing was promised, but whoever waits for the first chunk must give up
        // at some time.
        let begun = self.counters.chunks > 0 || (self.counters.stale > 0 && !awaited);
        if !begun {
            return Dry::NotBegun;
        }
        self.dry = self.dry.saturating_add(1);
        if awaited && self.dry <= self.config.hold {
            self.counters.held += 1;
            return Dry::Hold;
        }
        self.counters.starved += 1;
        Dry::Starved
    }

    /// How many steps from `step` on, that one included, lie before the end of the newest chunk.
    pub fn remaining(&self, step: u64) -> usize {
        usize::try_from(self.end.saturating_sub(step)).unwrap_or(usize::MAX)
    }

    /// Whether it is time to ask for the next chunk.
    pub fn wants_refill(&self, step: u64) -> bool {
        self.remaining(step) <= self.config.refill_at
    }

    /// Whether to ask on this observation: it is time to, and every picture that the policy looks at is
    /// fresh. Counts where one is not.
    pub(super) fn is_due(&mut self, observation: &Observation) -> bool {
        if !self.wants_refill(observation.step) {
            return false;
        }
        let fresh = self.is_fresh(observation);
        self.counters.stale += u64::from(!fresh);
        fresh
    }

    /// Whether no camera that the policy looks at is stale.
    pub(super) fn is_fresh(&self, observation: &Observation) -> bool {
        observation.stale_cameras & self.config.cameras == 0
    }

    /// Forgets all actions, for instance when the task changes.
    pub fn clear(&mut self) {
        let queued = self.entries.iter().filter(|e| e.step_plus_one > 0).count();
        self.counters.dropped += queued as u64;
        self.entries.fill(NONE);
        self.end = self.next;
    }

    /// Counts so far.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    pub(super) fn counters_mut(&mut self) -> &mut QueueCounters {
        &mut self.counters
    }

    fn index(&self, step: u64) -> usize {
        (step % self.entries.len() as u64) as usize
    }

    fn place(&mut self, step: u64, action: &[f64; MAX_JOINTS]) {
        if step < self.next {
            self.counters.expired += 1;
            return;
        }
        if step - self.next >= self.entries.len() as u64 {
            self.counters.too_far += 1;
            return;
        }
        let index = self.index(step);
        let entry = &mut self.entries[index];
        if entry.step_plus_one == step + 1 {
            self.counters.merged += 1;
            self.merger.join(&mut entry.action, entry.count, action);
            entry.count = entry.count.saturating_add(1);
        } else {
            *entry = Entry {
                step_plus_one: step + 1,
                count: 1,
                action: *action,
            };
        }
    }

    /// Moves the end, dropping what an older chunk had after it.
    fn set_end(&mut self, end: u64) {
        if end >= self.end || !self.merger.drops_the_tail() {
            self.end = self.end.max(end);
            return;
        }
        for step in end..self.end.min(end + self.entries.len() as u64) {
            let index = self.index(step);
            if self.entries[index].step_plus_one == step + 1 {
                self.entries[index].step_plus_one = 0;
                self.counters.dropped += 1;
            }
        }
        self.end = end;
    }

    /// Drops actions of steps that were never asked for, because the loop skipped them.
    fn forget_until(&mut self, step: u64) {
        for past in self.next..step.min(self.next + self.entries.len() as u64) {
            let index = self.index(past);
            if self.entries[index].step_plus_one == past + 1 {
                self.entries[index].step_plus_one = 0;
                self.counters.skipped += 1;
            }
        }
    }
}
