//! The step timeline: which action belongs to which period of the loop.

use super::ChunkBuf;
use crate::joints::MAX_JOINTS;
use serde::{Deserialize, Serialize};

/// What happens where a new chunk overlaps an older one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// The new chunk wins; what the old one had after its end is dropped.
    #[default]
    Replace,
    /// `old * old_action + new * new_action` where both have an action; else like `Replace`.
    /// LeRobot's asynchronous client uses 0.3 and 0.7.
    Weighted {
        /// Weight of the queued action.
        old: f64,
        /// Weight of the new action.
        new: f64,
    },
    /// The old chunk wins; the new one continues after it.
    KeepOld,
}

impl Merge {
    /// LeRobot's `weighted_average`.
    pub const LEROBOT: Self = Self::Weighted { old: 0.3, new: 0.7 };
}

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

/// How a queue works.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Number of joints.
    pub joints: usize,
    /// The most actions that one chunk has.
    pub chunk: usize,
    /// Inference is asked for when at most this many actions are left, the current step's included.
    pub refill_at: usize,
    /// What happens where chunks overlap.
    pub merge: Merge,
    /// Where the first action of a chunk goes.
    pub start: ChunkStart,
}

impl QueueConfig {
    /// A queue for chunks of `chunk` actions that asks for the next one when half of it is left.
    pub fn new(joints: usize, chunk: usize) -> Self {
        Self {
            joints,
            chunk,
            refill_at: chunk / 2,
            merge: Merge::default(),
            start: ChunkStart::default(),
        }
    }
}

/// What a queue counts.
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
    /// Actions too far ahead for the queue.
    pub too_far: u64,
    /// Chunks for another number of joints.
    pub wrong_joints: u64,
    /// Steps without an action, after the first chunk.
    pub starved: u64,
    /// Chunks that arrived after the queue had run dry.
    pub overruns: u64,
}

/// An action and the step it is for; `step` is one more, so that 0 means "none".
#[derive(Debug, Clone, Copy)]
struct Entry {
    step_plus_one: u64,
    action: [f64; MAX_JOINTS],
}

const NONE: Entry = Entry {
    step_plus_one: 0,
    action: [0.0; MAX_JOINTS],
};

/// Actions on the timeline. Allocates only in [`Self::new`].
#[derive(Debug)]
pub struct ActionQueue {
    config: QueueConfig,
    entries: Vec<Entry>,
    // Steps before this one are past.
    next: u64,
    // No step from this one on has an action.
    end: u64,
    counters: QueueCounters,
}

impl ActionQueue {
    /// An empty queue with room for two chunks.
    pub fn new(config: QueueConfig) -> Self {
        let entries = vec![NONE; (2 * config.chunk).max(1)];
        Self {
            config,
            entries,
            next: 0,
            end: 0,
            counters: QueueCounters::default(),
        }
    }

    /// Puts a chunk on the timeline, when the loop is at `now_step`.
    pub fn push(&mut self, chunk: &ChunkBuf, now_step: u64) {
        self.counters.chunks += 1;
        if chunk.joints() != self.config.joints {
            self.counters.wrong_joints += 1;
            return;
        }
        self.next = self.next.max(now_step);
        let start = match self.config.start {
            ChunkStart::AtObservation => chunk.start_step(),
            ChunkStart::AtArrival => self.end.max(self.next),
        };
        let end = start.saturating_add(chunk.len() as u64);
        if end <= self.next {
            self.counters.expired += chunk.len() as u64;
            return;
        }
        for (step, action) in (start..end).zip(chunk.rows()) {
            self.place(step, action);
        }
        self.set_end(end.min(self.next + self.entries.len() as u64));
    }

    /// Takes the action of `step`, which becomes the past. `None` if there is none.
    pub fn pop(&mut self, step: u64) -> Option<&[f64]> {
        self.forget_until(step);
        self.next = self.next.max(step.saturating_add(1));
        let index = self.index(step);
        let entry = &mut self.entries[index];
        if entry.step_plus_one != step.saturating_add(1) {
            self.counters.starved += u64::from(self.counters.chunks > 0);
            return None;
        }
        entry.step_plus_one = 0;
        self.counters.executed += 1;
        Some(&self.entries[index].action[..self.config.joints])
    }

    /// How many steps from `step` on, that one included, lie before the end of the newest chunk.
    pub fn remaining(&self, step: u64) -> usize {
        usize::try_from(self.end.saturating_sub(step)).unwrap_or(usize::MAX)
    }

    /// Whether it is time to ask for the next chunk.
    pub fn wants_refill(&self, step: u64) -> bool {
        self.remaining(step) <= self.config.refill_at
    }

    /// Forgets all actions, for instance when the task changes.
    pub fn clear(&mut self) {
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
        let occupied = entry.step_plus_one == step + 1;
        self.counters.merged += u64::from(occupied);
        match self.config.merge {
            Merge::KeepOld if occupied => return,
            Merge::Weighted { old, new } if occupied => {
                entry
                    .action
                    .iter_mut()
                    .zip(action)
                    .for_each(|(held, fresh)| *held = old * *held + new * fresh);
            }
            _ => entry.action = *action,
        }
        entry.step_plus_one = step + 1;
    }

    /// Moves the end, dropping what an older chunk had after it.
    fn set_end(&mut self, end: u64) {
        if end >= self.end || self.config.merge == Merge::KeepOld {
            self.end = self.end.max(end);
            return;
        }
        for step in end..self.end.min(end + self.entries.len() as u64) {
            let index = self.index(step);
            if self.entries[index].step_plus_one == step + 1 {
                self.entries[index].step_plus_one = 0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(start: u64, values: &[f64]) -> ChunkBuf {
        let mut chunk = ChunkBuf::new(values.len(), 1);
        chunk.restart(start);
        values
            .iter()
            .for_each(|&value| assert!(chunk.push(&[value])));
        chunk
    }

    fn queue(merge: Merge, start: ChunkStart) -> ActionQueue {
        ActionQueue::new(QueueConfig {
            merge,
            start,
            ..QueueConfig::new(1, 8)
        })
    }

    fn take(queue: &mut ActionQueue, steps: std::ops::Range<u64>) -> Vec<Option<f64>> {
        steps
            .map(|step| queue.pop(step).map(|action| action[0]))
            .collect()
    }

    #[test]
    fn late_actions_are_discarded_from_the_front() {
        let mut queue = queue(Merge::Replace, ChunkStart::AtObservation);
        queue.push(&chunk(10, &[1.0, 2.0, 3.0, 4.0]), 12);
        assert_eq!(take(&mut queue, 12..15), [Some(3.0), Some(4.0), None]);
        let counters = queue.counters();
        assert_eq!(
            (counters.expired, counters.executed, counters.starved),
            (2, 2, 1)
        );
    }

    #[test]
    fn a_wholly_late_chunk_changes_nothing() {
        let mut queue = queue(Merge::Replace, ChunkStart::AtObservation);
        queue.push(&chunk(10, &[1.0; 4]), 10);
        queue.push(&chunk(0, &[9.0; 4]), 10);
        assert_eq!(take(&mut queue, 10..14), [Some(1.0); 4]);
    }

    #[test]
    fn overlap_follows_the_merge_policy() {
        for (merge, expected) in [
            (Merge::Replace, [Some(1.0), Some(10.0), Some(10.0), None]),
            (Merge::LEROBOT, [Some(1.0), Some(7.3), Some(7.3), None]),
            (Merge::KeepOld, [Some(1.0), Some(1.0), Some(1.0), Some(1.0)]),
        ] {
            let mut queue = queue(merge, ChunkStart::AtObservation);
            queue.push(&chunk(0, &[1.0; 4]), 0);
            queue.push(&chunk(1, &[10.0; 2]), 0);
            assert_eq!(take(&mut queue, 0..4), expected, "{merge:?}");
            assert_eq!(queue.counters().merged, 2);
        }
    }

    #[test]
    fn arrival_mode_appends() {
        let mut queue = queue(Merge::Replace, ChunkStart::AtArrival);
        queue.push(&chunk(0, &[1.0, 2.0]), 5);
        queue.push(&chunk(0, &[3.0]), 5);
        assert_eq!(
            take(&mut queue, 5..9),
            [Some(1.0), Some(2.0), Some(3.0), None]
        );
    }

    #[test]
    fn skipped_steps_are_counted() {
        let mut queue = queue(Merge::Replace, ChunkStart::AtObservation);
        queue.push(&chunk(0, &[1.0, 2.0, 3.0, 4.0]), 0);
        assert_eq!(take(&mut queue, 0..1), [Some(1.0)]);
        assert_eq!(take(&mut queue, 3..4), [Some(4.0)]);
        assert_eq!(queue.counters().skipped, 2);
    }

    #[test]
    fn refill_is_wanted_at_the_threshold() {
        let mut queue = queue(Merge::Replace, ChunkStart::AtObservation);
        assert!(queue.wants_refill(0));
        queue.push(&chunk(0, &[0.0; 8]), 0);
        assert!(!queue.wants_refill(3) && queue.wants_refill(4));
        queue.clear();
        assert_eq!(queue.remaining(0), 0);
    }

    #[test]
    fn a_chunk_for_another_robot_is_refused() {
        let mut queue = ActionQueue::new(QueueConfig::new(2, 4));
        queue.push(&chunk(0, &[1.0]), 0);
        assert_eq!(
            (queue.counters().wrong_joints, queue.pop(0).is_none()),
            (1, true)
        );
    }

    proptest! {
        /// Against a map from step to action, with everything that Replace means.
        #[test]
        fn replace_behaves_like_a_map(
            operations in prop::collection::vec((0u64..6, 0u64..12, 0usize..9), 1..200)
        ) {
            let mut queue = queue(Merge::Replace, ChunkStart::AtObservation);
            let mut model = std::collections::BTreeMap::new();
            let mut now = 10u64;
            for (n, (ahead, back, len)) in operations.into_iter().enumerate() {
                now += ahead;
                let start = now.saturating_sub(back) + 4;
                let end = start + len as u64;
                queue.push(&chunk(start, &vec![n as f64; len]), now);
                if end > now {
                    model.retain(|&step, _| step < end);
                    (start.max(now)..end.min(now + 16)).for_each(|step| _ = model.insert(step, n as f64));
                }
                prop_assert_eq!(queue.pop(now).map(|a| a[0]), model.get(&now).copied());
                now += 1;
                model.retain(|&step, _| step >= now);
            }
        }

        #[test]
        fn no_sequence_of_steps_panics(
            operations in prop::collection::vec((any::<u64>(), any::<u64>(), 0usize..9, any::<bool>()), 1..60),
            merge in prop_oneof![Just(Merge::Replace), Just(Merge::LEROBOT), Just(Merge::KeepOld)],
            start in prop_oneof![Just(ChunkStart::AtArrival), Just(ChunkStart::AtObservation)],
        ) {
            let mut queue = queue(merge, start);
            for (step, now, len, pop) in operations {
                // Half the range of u64 is 290 years at 1 GHz: no real step comes near it.
                let (step, now) = (step >> 1, now >> 1);
                queue.push(&chunk(step, &vec![0.5; len]), now);
                if pop {
                    queue.pop(now);
                }
            }
        }
    }
}
