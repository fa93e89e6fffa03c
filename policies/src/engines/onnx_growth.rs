//! How large the values of a graph become at least, before an engine makes them.
//!
//! A file of a kilobyte can join a value with itself forty times. Engines allocate what they are
//! asked for, and memory that cannot be had ends the process. What is computed here never exceeds the
//! real sizes, so that no sound model is refused: sizes are followed through operators that keep or
//! multiply them, and start again at one elsewhere (convolutions, reductions).

use super::onnx_scan::{Constant, elements};
use crate::engine::MAX_ELEMENTS;
use std::collections::HashMap;

/// An operator, as far as sizes go.
pub(super) struct Operator<'a> {
    pub(super) op: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) output: &'a str,
}

/// How far an operator has been followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Begun,
    Done,
}

/// The least sizes of a graph's values.
#[derive(Default)]
pub(super) struct Growth<'a> {
    /// Elements of inputs, constants, and results that are known by now.
    pub(super) least: HashMap<&'a str, usize>,
    pub(super) constants: HashMap<&'a str, Constant<'a>>,
}

impl<'a> Growth<'a> {
    /// Follows the sizes through all operators, in whatever order they are listed.
    pub(super) fn check(mut self, operators: &[Operator<'a>]) -> Result<(), String> {
        for (name, constant) in &self.constants {
            self.least.insert(name, constant.count);
        }
        let makers: HashMap<&str, usize> = operators
            .iter()
            .enumerate()
            .map(|(index, operator)| (operator.output, index))
            .collect();
        let mut states = vec![State::New; operators.len()];
        for first in 0..operators.len() {
            let mut open = vec![first];
            while let Some(&index) = open.last() {
                let operator = &operators[index];
                if states[index] == State::New {
                    // What it takes comes first. In a circle, which engines refuse, nothing is known.
                    states[index] = State::Begun;
                    let makers = operator.inputs.iter().filter_map(|name| makers.get(name));
                    open.extend(makers.filter(|&&maker| states[maker] == State::New));
                    continue;
                }
                if states[index] == State::Begun {
                    states[index] = State::Done;
                    let size = self.result(operator)?;
                    self.least.insert(operator.output, size);
                }
                open.pop();
            }
        }
        Ok(())
    }

    fn of(&self, name: Option<&&str>) -> usize {
        let known = name.and_then(|name| self.least.get(*name));
        known.copied().unwrap_or(1)
    }

    fn constant(&self, name: Option<&&str>) -> Option<&Constant<'a>> {
        self.constants.get(*name?)
    }

    /// The least size of a result.
    fn result(&self, operator: &Operator<'a>) -> Result<usize, String> {
        let inputs = operator.inputs.as_slice();
        let first = self.of(inputs.first());
        let second = self.constant(inputs.get(1));
        let size = match operator.op {
            "Concat" => inputs
                .iter()
                .fold(0usize, |sum, name| sum.saturating_add(self.of(Some(name)))),
            "Constant" => self
                .constant(Some(&operator.output))
                .map_or(1, |constant| constant.count),
            "ConstantOfShape" => self.shape(operator, inputs.first())?.unwrap_or(1),
            "Expand" => first.max(self.shape(operator, inputs.get(1))?.unwrap_or(1)),
            "Tile" => first.saturating_mul(self.shape(operator, inputs.get(1))?.unwrap_or(1)),
            "Pad" => first.max(second.map_or(1, |pads| padded(&pads.ints))),
            "Resize" | "Upsample" => match self.shape(operator, inputs.get(3))? {
                Some(size) => size,
                None => {
                    let scales = inputs.iter().skip(1).filter_map(|i| self.constant(Some(i)));
                    let factor = scales.map(|scales| stretched(&scales.floats)).max();
                    first.saturating_mul(factor.unwrap_or(1))
                }
            },
            "MatMul" | "Gemm" => match second.map(|weight| (weight, weight.dims.as_slice())) {
                Some((_, &[rows, columns])) if operator.op == "MatMul" => {
                    (first / rows.max(1)).saturating_mul(columns)
                }
                Some((_, &[a, b])) => (first / a.max(b).max(1)).saturating_mul(a.min(b)),
                _ => 1,
            },
            op if BROADCAST.contains(&op) => {
                let sizes = inputs.iter().map(|name| self.of(Some(name)));
                sizes.max().unwrap_or(1)
            }
            op if KEPT.contains(&op) => first,
            _ => 1,
        };
        if size > MAX_ELEMENTS {
            let op = operator.op;
            return Err(format!(
                "operator {op} makes a tensor that has more than {MAX_ELEMENTS} elements"
            ));
        }
        Ok(size)
    }

    /// The product of a constant list of sizes.
    fn shape(&self, operator: &Operator<'a>, name: Option<&&str>) -> Result<Option<usize>, String> {
        let Some(constant) = self.constant(name).filter(|c| !c.ints.is_empty()) else {
            return Ok(None);
        };
        let op = operator.op;
        let product = elements(constant.ints.iter().copied());
        let product = product.map_err(|e| format!("operator {op} makes a tensor that {e}"))?;
        Ok(Some(product))
    }
}

/// Operators whose result is at least as large as the largest operand.
const BROADCAST: [&str; 10] = [
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where",
];

/// Operators whose result is as large as the first operand.
const KEPT: [&str; 34] = [
    "Abs",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Cos",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Gelu",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Neg",
    "QuantizeLinear",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Sin",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Squeeze",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

/// Elements around a single one: `pads` lists what comes before along each axis, then after.
fn padded(pads: &[i64]) -> usize {
    let (before, after) = pads.split_at(pads.len() / 2);
    let axes = before.iter().zip(after).map(|(&before, &after)| {
        let added = before.saturating_add(after).max(0);
        usize::try_from(added)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    });
    axes.fold(1, usize::saturating_mul)
}

/// By how much at least an image grows; one where some axis shrinks.
fn stretched(scales: &[f32]) -> usize {
    if !scales.iter().all(|scale| *scale >= 1.0) {
        return 1;
    }
    // `as` saturates.
    let whole = scales.iter().map(|scale| scale.floor() as usize);
    whole.fold(1, usize::saturating_mul)
}
