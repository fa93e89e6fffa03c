//! Runs small fully connected networks, such as walking policies, without a general engine.
//!
//! What a general engine spends on such a network is mostly not arithmetic: it allocates, looks up
//! and dispatches. Here the graph becomes a list of steps over buffers that are there beforehand
//! (`plan`), with weights laid out for one straight read (`kernels`). Networks with any other
//! operator, open axes or more than one row are not taken.
//!
//! The result is used only after it has been compared with the general engine's (`checked`).

mod checked;
mod graph;
mod kernels;
mod plan;

pub use checked::Checked;
pub use kernels::Weights;

use crate::engine::{Engine, Tensor, TensorInfo};
use kernels::Isa;
use plan::{Plan, Step};

/// The engine's name.
pub const NAME: &str = "direct";

/// The largest model that is tried, bytes: larger ones are no small networks.
const MAX_BYTES: usize = 8 << 20;

/// A copy of a model that this engine may be able to run, for [`with_fast_path`].
pub(crate) fn candidate(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes.len() <= MAX_BYTES).then(|| bytes.to_vec())
}

/// The direct engine on the model, checked against the general one on the first observations; the general
/// one where the direct engine does not take the model.
pub(crate) fn with_fast_path(
    general: Box<dyn Engine>,
    weights: Weights,
    model: &[u8],
) -> Result<Box<dyn Engine>, Box<dyn Engine>> {
    match DirectEngine::load(model, weights, general.inputs(), general.outputs()) {
        Some(fast) => Ok(Box::new(Checked::new(
            general,
            Box::new(fast),
            tolerance(weights),
        ))),
        None => Err(general),
    }
}

/// How far answers may be from a general engine's, as a share of the largest value of a tensor (at least 1).
/// Engines that add in different orders are apart by a few millionths, rounded weights by some thousandths.
fn tolerance(weights: Weights) -> f32 {
    match weights {
        Weights::F32 => 2e-5,
        Weights::Bf16 => 2e-2,
    }
}

/// A network that is a list of steps over vectors. Running it allocates nothing.
#[derive(Debug)]
pub struct DirectEngine {
    plan: Plan,
    isa: Isa,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
}

impl DirectEngine {
    /// Takes a checked ONNX model whose inputs and outputs a general engine gave, or `None` when it
    /// is not of the kind that this engine runs.
    pub fn load(
        bytes: &[u8],
        weights: Weights,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> Option<Self> {
        let isa = Isa::detect();
        let plan = Plan::of((isa, weights), graph::Graph::read(bytes)?, inputs, outputs)?;
        Some(Self {
            plan,
            isa,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        })
    }

    fn step(&mut self, index: usize) {
        let Plan {
            steps,
            values,
            lengths,
            ..
        } = &mut self.plan;
        let to = match &steps[index] {
            Step::Linear { to, .. }
            | Step::Unary { to, .. }
            | Step::Binary { to, .. }
            | Step::Mean { to, .. }
            | Step::Slice { to, .. }
            | Step::Concat { to, .. } => *to,
        };
        // Each value has one writer, which does not read it.
        let mut out = std::mem::take(&mut values[to]);
        let value = |index: usize| &values[index][..lengths[index]];
        match &steps[index] {
            Step::Linear { layer, from, .. } => layer.apply(self.isa, value(*from), &mut out),
            Step::Unary { function, from, .. } => {
                out.copy_from_slice(value(*from));
                function.apply(self.isa, &mut out);
            }
            Step::Binary {
                operation, a, b, ..
            } => {
                operation.apply(self.isa, value(*a), value(*b), &mut out);
            }
            Step::Mean { from, .. } => out.fill(kernels::mean(value(*from))),
            Step::Slice { from, start, .. } => {
                let length = out.len();
                out.copy_from_slice(&value(*from)[*start..*start + length]);
            }
            Step::Concat { parts, .. } => {
                let mut start = 0;
                for part in parts {
                    let part = value(*part);
                    out[start..start + part.len()].copy_from_slice(part);
                    start += part.len();
                }
            }
        }
        values[to] = out;
    }
}

impl Engine for DirectEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        for (i, &value) in self.plan.inputs.iter().enumerate() {
            let length = self.plan.lengths[value];
            let given = inputs
                .get(i)
                .map_or(&[][..], |tensor| tensor.data.as_slice());
            if given.len() != length {
                let (info, got) = (&self.inputs[i], given.len());
                return Err(format!("input {info} was given {got} values, not {length}"));
            }
            self.plan.values[value].copy_from_slice(given);
        }
        for index in 0..self.plan.steps.len() {
            self.step(index);
        }
        for (output, (&value, info)) in outputs
            .iter_mut()
            .zip(self.plan.outputs.iter().zip(&self.outputs))
        {
            output.shape.clear();
            output
                .shape
                .extend(info.shape.iter().map(|dim| dim.unwrap_or(1)));
            output.data.clear();
            output
                .data
                .extend_from_slice(&self.plan.values[value][..self.plan.lengths[value]]);
        }
        Ok(())
    }
}
