//! One answer of a policy.

use crate::joints::MAX_JOINTS;

/// A chunk of actions: goals of all joints, rad, blueprint order, one row a step. Of fixed capacity, so
/// that filling it never allocates.
#[derive(Debug)]
pub struct ChunkBuf {
    start_step: u64,
    joints: usize,
    rows: Vec<[f64; MAX_JOINTS]>,
    capacity: usize,
}

impl ChunkBuf {
    /// An empty chunk with room for `capacity` actions of `joints` joints (at most [`MAX_JOINTS`]).
    pub fn new(capacity: usize, joints: usize) -> Self {
        Self {
            start_step: 0,
            joints: joints.min(MAX_JOINTS),
            rows: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// Empties the chunk and sets the step of its first action.
    pub fn restart(&mut self, start_step: u64) {
        self.start_step = start_step;
        self.rows.clear();
    }

    /// Appends the action of the next step. `false`, and nothing appended, if the chunk is full or
    /// `action` is not one number for each joint.
    pub fn push(&mut self, action: &[f64]) -> bool {
        if action.len() != self.joints || self.rows.len() == self.capacity {
            return false;
        }
        let mut row = [0.0; MAX_JOINTS];
        row[..action.len()].copy_from_slice(action);
        self.rows.push(row);
        true
    }

    /// Step of the first action.
    pub fn start_step(&self) -> u64 {
        self.start_step
    }

    /// Number of joints in each action.
    pub fn joints(&self) -> usize {
        self.joints
    }

    /// Number of actions.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no action.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of actions that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The actions, one for each step from [`Self::start_step`]; entries past [`Self::joints`] are zero.
    pub fn rows(&self) -> &[[f64; MAX_JOINTS]] {
        &self.rows
    }
}
