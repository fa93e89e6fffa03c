//! What a policy remembers from one inference to the next beside its last action: the clock of its
//! gait, and the state of a recurrent network.

use crate::engine::Tensor;
use crate::features::PolicyInput;
use crate::manifest::{GaitPhase, Wave};
use std::f64::consts::TAU;

/// Below this size of the commanded velocity a walker stands, m/s and rad/s together.
const STANDING: f64 = 0.01;

/// One gait input: which run of which tensor it fills.
#[derive(Debug)]
pub(crate) struct GaitPart {
    pub(crate) tensor: usize,
    pub(crate) start: usize,
    pub(crate) gait: GaitPhase,
}

/// One state: from which output to which input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateLink {
    pub(crate) input: usize,
    pub(crate) output: usize,
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) gaits: Vec<GaitPart>,
    pub(crate) states: Vec<StateLink>,
    /// Time since it started to walk, s; `None` while it stands.
    pub(crate) walking: Option<f64>,
    /// Time from one inference to the next, s.
    pub(crate) step_s: f64,
}

impl Memory {
    /// Before an inference: moves the clock and fills in the phases.
    pub(crate) fn before(&mut self, input: &PolicyInput<'_>, tensors: &mut [Tensor]) {
        if self.gaits.is_empty() {
            return;
        }
        let speed = input.command.iter().map(|v| v * v).sum::<f64>().sqrt();
        self.walking = match self.walking {
            _ if speed < STANDING => None,
            None => Some(0.0),
            Some(time) => Some(time + self.step_s),
        };
        for part in &self.gaits {
            let run = &mut tensors[part.tensor].data[part.start..];
            for (slot, &offset) in run.iter_mut().zip(&part.gait.offsets) {
                let strides = match self.walking {
                    Some(time) => time / part.gait.period_s + offset,
                    None => 0.5,
                };
                let angle = TAU * strides.fract();
                *slot = match part.gait.wave {
                    Wave::Sin => angle.sin() as f32,
                    Wave::Cos => angle.cos() as f32,
                };
            }
        }
    }

    /// After an inference: the states that came out are the next ones to go in. The buffers change
    /// places, so nothing is copied.
    pub(crate) fn after(&self, inputs: &mut [Tensor], outputs: &mut [Tensor]) {
        for link in &self.states {
            let (input, output) = (&mut inputs[link.input], &mut outputs[link.output]);
            std::mem::swap(&mut input.data, &mut output.data);
        }
    }

    /// Forgets all.
    pub(crate) fn reset(&mut self, inputs: &mut [Tensor]) {
        self.walking = None;
        for link in &self.states {
            inputs[link.input].data.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_runtime::JointState;

    #[test]
    fn the_clock_starts_with_the_first_command_and_stops_with_the_last() {
        let gait = |wave| GaitPart {
            tensor: 0,
            start: if wave == Wave::Cos { 0 } else { 2 },
            gait: GaitPhase {
                wave,
                period_s: 1.0,
                offsets: vec![0.0, 0.5],
            },
        };
        let mut memory = Memory {
            gaits: vec![gait(Wave::Cos), gait(Wave::Sin)],
            step_s: 0.25,
            ..Memory::default()
        };
        let joints = JointState::default();
        let mut tensors = [Tensor::zeros(&[1, 4])];
        let mut phases = |memory: &mut Memory, speed: f64| {
            let command = [0.0, speed, 0.0];
            let input = PolicyInput {
                command: &command,
                ..PolicyInput::new(&joints)
            };
            memory.before(&input, &mut tensors);
            let data = &tensors[0].data;
            [0, 1, 2, 3].map(|i| data[i].round() as i32)
        };
        assert_eq!(phases(&mut memory, 0.0), [-1, -1, 0, 0]);
        assert_eq!(phases(&mut memory, 0.5), [1, -1, 0, 0]);
        assert_eq!(phases(&mut memory, 0.5), [0, 0, 1, -1]);
        assert_eq!(phases(&mut memory, 0.5), [-1, 1, 0, 0]);
        assert_eq!(phases(&mut memory, 0.0), [-1, -1, 0, 0]);
        assert_eq!(phases(&mut memory, 0.5), [1, -1, 0, 0]);
    }
}
