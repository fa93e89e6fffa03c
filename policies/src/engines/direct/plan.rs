//! From a graph to a list of steps over vectors, where the graph is one.
//!
//! Every value of such a network is one row: all axes but the last have size 1. Constants that only
//! steer (axes, shapes) are resolved here; what changes only the shape is an alias of its input.

use super::graph::{Constant, Graph, Node, Numbers};
use super::kernels::{Binary, Isa, Linear, Unary, Weights};
use crate::engine::TensorInfo;
use std::collections::HashMap;

/// Floats of all values together, and of all packed weights together, 16 MiB each: more than any
/// network has that this engine is faster on. A short file can ask for far more.
const MAX_FLOATS: usize = 4 << 20;

/// Work on the values of a network, by their number.
#[derive(Debug)]
pub(super) enum Step {
    /// A layer.
    Linear {
        layer: Linear,
        from: usize,
        to: usize,
    },
    /// A function of each element.
    Unary {
        function: Unary,
        from: usize,
        to: usize,
    },
    /// An operation on two values.
    Binary {
        operation: Binary,
        a: usize,
        b: usize,
        to: usize,
    },
    /// The mean of a value.
    Mean { from: usize, to: usize },
    /// A part of a value.
    Slice {
        from: usize,
        start: usize,
        to: usize,
    },
    /// Values one after the other.
    Concat { parts: Vec<usize>, to: usize },
}

/// Everything that running takes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// One buffer for each value; constants hold their numbers.
    pub(super) values: Vec<Vec<f32>>,
    /// Length of each value; its buffer may be longer by padding.
    pub(super) lengths: Vec<usize>,
    /// Which value each input of the network fills.
    pub(super) inputs: Vec<usize>,
    /// Which value each output of the network is.
    pub(super) outputs: Vec<usize>,
}

/// What a name in the graph stands for.
#[derive(Debug, Clone)]
enum Named {
    Value { index: usize, rank: usize },
    Constant(Constant),
}

impl Plan {
    /// A plan for the graph, or `None` when it needs a general engine.
    pub(super) fn of(
        (isa, weights): (Isa, Weights),
        graph: Graph<'_>,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> Option<Self> {
        let mut builder = Builder {
            isa,
            weights,
            plan: Self::default(),
            names: HashMap::new(),
            values_left: MAX_FLOATS,
            weights_left: MAX_FLOATS,
        };
        for (name, constant) in graph.constants {
            builder
                .names
                .insert(name.to_owned(), Named::Constant(constant));
        }
        for input in inputs {
            let index = builder.value(row_length(input)?)?;
            builder.plan.inputs.push(index);
            let rank = input.shape.len();
            builder
                .names
                .insert(input.name.clone(), Named::Value { index, rank });
        }
        for node in &graph.nodes {
            builder.node(node)?;
        }
        for output in outputs {
            let (index, _) = builder.find(&output.name)?;
            // Shapes that the graph leaves open are a general engine's business.
            (row_length(output)? == builder.plan.lengths[index]).then_some(())?;
            builder.plan.outputs.push(index);
        }
        let layers = builder
            .plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Linear { .. }));
        layers.then_some(builder.plan)
    }
}

/// Length of a tensor that is one row of 32-bit floats.
fn row_length(info: &TensorInfo) -> Option<usize> {
    let (last, batch) = info.shape.split_last()?;
    let row = info.is_f32 && batch.iter().all(|dim| *dim == Some(1));
    row.then_some((*last)?)
}

struct Builder {
    isa: Isa,
    weights: Weights,
    plan: Plan,
    names: HashMap<String, Named>,
    /// Floats that values may still take.
    values_left: usize,
    /// Floats that packed weights may still take.
    weights_left: usize,
}

impl Builder {
    /// A new value, or `None` when all of them would take too much memory.
    fn value(&mut self, length: usize) -> Option<usize> {
        self.values_left = self.values_left.checked_sub(length)?;
        self.plan.values.push(vec![0.0; length]);
        self.plan.lengths.push(length);
        Some(self.plan.values.len() - 1)
    }

    fn find(&self, name: &str) -> Option<(usize, usize)> {
        match self.names.get(name)? {
            Named::Value { index, rank } => Some((*index, *rank)),
            Named::Constant(_) => None,
        }
    }

    fn constant(&self, name: &str) -> Option<&Constant> {
        match self.names.get(name)? {
            Named::Constant(constant) => Some(constant),
            Named::Value { .. } => None,
        }
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        match &self.constant(name)?.data {
            Numbers::Ints(values) => Some(values),
            Numbers::Floats(_) => None,
        }
    }

    /// The one number of a constant.
    fn scalar(&self, name: &str) -> Option<f32> {
        match &self.constant(name)?.data {
            Numbers::Floats(values) if values.len() == 1 => values.first().copied(),
            _ => None,
        }
    }

    /// A value, or a constant row made one.
    fn operand(&mut self, name: &str) -> Option<(usize, usize)> {
        if let Some(found) = self.find(name) {
            return Some(found);
        }
        let Constant { dims, data } = self.constant(name)?;
        let Numbers::Floats(values) = data else {
            return None;
        };
        let row = dims
            .split_last()
            .is_none_or(|(_, batch)| batch.iter().all(|&n| n == 1));
        // Each use is a copy, and counts.
        (row && values.len() <= self.values_left).then_some(())?;
        let (values, rank) = (values.clone(), dims.len());
        let index = self.value(values.len())?;
        self.plan.values[index] = values;
        Some((index, rank))
    }

    fn define(&mut self, node: &Node<'_>, index: usize, rank: usize) -> Option<()> {
        let [name] = node.outputs.as_slice() else {
            return None;
        };
        self.names
            .insert((*name).to_owned(), Named::Value { index, rank });
        Some(())
    }

    fn node(&mut self, node: &Node<'_>) -> Option<()> {
        match node.op {
            "Constant" => {
                let constant = node.tensor("value")?.clone();
                let [name] = node.outputs.as_slice() else {
                    return None;
                };
                self.names
                    .insert((*name).to_owned(), Named::Constant(constant));
                Some(())
            }
            "Gemm" | "MatMul" => self.layer(node),
            "Add" => self.binary(node, Binary::Add),
            "Sub" => self.binary(node, Binary::Sub),
            "Mul" => self.binary(node, Binary::Mul),
            "Div" => self.binary(node, Binary::Div),
            "Relu" => self.unary(node, Unary::Relu),
            "Elu" => self.unary(node, Unary::Elu(node.float("alpha", 1.0)?)),
            "LeakyRelu" => self.unary(node, Unary::LeakyRelu(node.float("alpha", 0.01)?)),
            "Tanh" => self.unary(node, Unary::Tanh),
            "Sigmoid" => self.unary(node, Unary::Sigmoid),
            "Sqrt" => self.unary(node, Unary::Sqrt),
            "Clip" => self.clip(node),
            "Pow" => {
                let exponent = self.scalar(node.inputs.get(1)?)?;
                (exponent == 2.0).then_some(())?;
                self.unary(node, Unary::Square)
            }
            "ReduceMean" => self.mean(node),
            "Slice" => self.slice(node),
            "Concat" => self.concat(node),
            "Identity" => {
                let (index, rank) = self.find(node.inputs.first()?)?;
                self.define(node, index, rank)
            }
            _ => None,
        }
    }

    /// Gemm with constant weights, or MatMul by a constant.
    fn layer(&mut self, node: &Node<'_>) -> Option<()> {
        let (from, rank) = self.find(node.inputs.first()?)?;
        let weight = self.constant(node.inputs.get(1)?)?;
        let (&[rows, columns], Numbers::Floats(data)) = (weight.dims.as_slice(), &weight.data)
        else {
            return None;
        };
        let gemm = node.op == "Gemm";
        let transposed = gemm && node.int("transB", 0)? != 0;
        if gemm && (node.int("transA", 0)? != 0 || rank != 2) {
            return None;
        }
        let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
        let (inputs, outputs) = if transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        if inputs == 0 || outputs == 0 || self.plan.lengths[from] != inputs {
            return None;
        }
        // Before anything is taken for them: one constant may be the weights of many layers.
        let weights_left = self
            .weights_left
            .checked_sub(Linear::packed(inputs, outputs)?)?;
        let bias = match node.inputs.get(2).filter(|name| gemm && !name.is_empty()) {
            Some(name) => self.bias(name, outputs, beta)?,
            None => vec![0.0; outputs],
        };
        let at = |output: usize, input: usize| {
            let index = if transposed {
                output * columns + input
            } else {
                input * columns + output
            };
            alpha * data[index]
        };
        let layer = Linear::pack(self.isa, self.weights, inputs, &bias, at);
        self.weights_left = weights_left;
        let to = self.value(outputs)?;
        self.plan.values[to].resize(layer.padded(), 0.0);
        self.plan.steps.push(Step::Linear { layer, from, to });
        self.define(node, to, rank)
    }

    fn bias(&self, name: &str, outputs: usize, beta: f32) -> Option<Vec<f32>> {
        let constant = self.constant(name)?;
        let Numbers::Floats(values) = &constant.data else {
            return None;
        };
        match values.as_slice() {
            [one] => Some(vec![beta * one; outputs]),
            all if all.len() == outputs && constant.dims.last() == Some(&outputs) => {
                Some(all.iter().map(|value| beta * value).collect())
            }
            _ => None,
        }
    }

    fn unary(&mut self, node: &Node<'_>, function: Unary) -> Option<()> {
        let (from, rank) = self.find(node.inputs.first()?)?;
        let to = self.value(self.plan.lengths[from])?;
        self.plan.steps.push(Step::Unary { function, from, to });
        self.define(node, to, rank)
    }

    fn clip(&mut self, node: &Node<'_>) -> Option<()> {
        let mut limits = [
            node.float("min", f32::NEG_INFINITY)?,
            node.float("max", f32::INFINITY)?,
        ];
        for (limit, name) in limits.iter_mut().zip(node.inputs.iter().skip(1)) {
            if !name.is_empty() {
                *limit = self.scalar(name)?;
            }
        }
        self.unary(node, Unary::Clip(limits[0], limits[1]))
    }

    fn binary(&mut self, node: &Node<'_>, operation: Binary) -> Option<()> {
        let [a, b] = node.inputs.as_slice() else {
            return None;
        };
        let (a, a_rank) = self.operand(a)?;
        let (b, b_rank) = self.operand(b)?;
        let (n, m) = (self.plan.lengths[a], self.plan.lengths[b]);
        (n == m || n == 1 || m == 1).then_some(())?;
        let to = self.value(n.max(m))?;
        self.plan.steps.push(Step::Binary {
            operation,
            a,
            b,
            to,
        });
        self.define(node, to, a_rank.max(b_rank))
    }

    /// The mean over the last axis, kept as an axis of one.
    fn mean(&mut self, node: &Node<'_>) -> Option<()> {
        let (from, rank) = self.find(node.inputs.first()?)?;
        let axes = match node.inputs.get(1) {
            Some(name) => self.ints(name)?,
            None => node.ints("axes")?,
        };
        let &[axis] = axes else { return None };
        (is_last(axis, rank) && node.int("keepdims", 1)? == 1).then_some(())?;
        let to = self.value(1)?;
        self.plan.steps.push(Step::Mean { from, to });
        self.define(node, to, rank)
    }

    /// A run of the last axis.
    fn slice(&mut self, node: &Node<'_>) -> Option<()> {
        let (from, rank) = self.find(node.inputs.first()?)?;
        let one = |at: usize, default: i64| match node.inputs.get(at) {
            None | Some(&"") => Some(default),
            Some(name) => match self.ints(name)? {
                &[value] => Some(value),
                _ => None,
            },
        };
        let (start, end, axis, step) = (one(1, 0)?, one(2, i64::MAX)?, one(3, 0)?, one(4, 1)?);
        (node.inputs.len() > 3 && is_last(axis, rank) && step == 1).then_some(())?;
        let length = i64::try_from(self.plan.lengths[from]).ok()?;
        let place = |at: i64| {
            if at < 0 {
                at.saturating_add(length).max(0)
            } else {
                at.min(length)
            }
        };
        let (start, end) = (place(start), place(end));
        (start < end).then_some(())?;
        let to = self.value(usize::try_from(end - start).ok()?)?;
        let start = usize::try_from(start).ok()?;
        self.plan.steps.push(Step::Slice { from, start, to });
        self.define(node, to, rank)
    }

    /// Rows one after the other.
    fn concat(&mut self, node: &Node<'_>) -> Option<()> {
        let (mut parts, mut length, mut rank) = (Vec::new(), 0usize, 0);
        for name in &node.inputs {
            let (index, its_rank) = self.operand(name)?;
            length = length.checked_add(self.plan.lengths[index])?;
            parts.push(index);
            rank = its_rank;
        }
        is_last(node.int("axis", i64::MIN)?, rank).then_some(())?;
        let to = self.value(length)?;
        self.plan.steps.push(Step::Concat { parts, to });
        self.define(node, to, rank)
    }
}

fn is_last(axis: i64, rank: usize) -> bool {
    axis == -1 || usize::try_from(axis).is_ok_and(|axis| axis + 1 == rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, width: usize) -> TensorInfo {
        TensorInfo {
            name: name.to_owned(),
            is_f32: true,
            shape: vec![Some(1), Some(width)],
        }
    }

    fn constant(rows: usize, columns: usize) -> Constant {
        Constant {
            dims: vec![rows, columns],
            data: Numbers::Floats(vec![0.5; rows * columns]),
        }
    }

    fn plan(graph: Graph<'_>, input: usize, output: &TensorInfo) -> Option<Plan> {
        let how = (Isa::Portable, Weights::F32);
        Plan::of(
            how,
            graph,
            &[info("v0", input)],
            std::slice::from_ref(output),
        )
    }

    /// Joined with itself so many times, then one number of it all.
    fn doubled(times: u32) -> Option<Plan> {
        let names: Vec<String> = (0..=times).map(|i| format!("v{i}")).collect();
        let mut graph = Graph::default();
        for pair in names.windows(2) {
            let inputs = vec![pair[0].as_str(); 2];
            graph.nodes.push(Node::along("Concat", inputs, &pair[1], 1));
        }
        let last = names[times as usize].as_str();
        graph
            .nodes
            .push(Node::along("MatMul", vec![last, "w"], "y", 0));
        graph.constants.insert("w", constant(1 << times.min(10), 1));
        plan(graph, 1, &info("y", 1))
    }

    #[test]
    fn values_beyond_any_memory_are_left_to_others() {
        assert!(doubled(10).is_some());
        assert!(doubled(45).is_none());
        assert!(doubled(70).is_none());
    }

    #[test]
    fn one_constant_is_not_packed_over_and_over() {
        let layers = |count: usize| {
            let names: Vec<String> = (0..count).map(|i| format!("y{i}")).collect();
            let mut graph = Graph::default();
            graph.constants.insert("w", constant(64, 4096));
            for name in &names {
                graph
                    .nodes
                    .push(Node::along("MatMul", vec!["v0", "w"], name, 0));
            }
            plan(graph, 64, &info("y0", 4096))
        };
        assert!(layers(16).is_some());
        assert!(layers(17).is_none());
    }
}
