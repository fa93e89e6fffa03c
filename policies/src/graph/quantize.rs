//! Static quantisation to 8 bits.
//!
//! Convolutions and linear layers whose weights are constants take activations of u8 (one scale and
//! zero point a tensor, from ranges that were seen on real observations) and weights of i8 (one scale
//! an output, no zero point). It is written as pairs of QuantizeLinear and DequantizeLinear around the
//! float operators, which engines replace by their integer kernels; one that does not computes in
//! floats, with the same rounding.
//!
//! Everything else (attention, normalisation, residual sums of the transformer) stays in floats.

use super::onnx::f32_bytes;
use super::{Attribute, DataType, Graph, Node};
use crate::engine::{Engine, Tensor, TensorInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Steps of an activation.
const LEVELS: f32 = 255.0;

/// How far the integers of weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightRange {
    /// ±127: all of 8 bits. On processors without integer dot products (VNNI) this needs the slower
    /// of the exact kernels.
    Full,
    /// ±63: products of two neighbours with activations of 8 bits then fit into the 16 bits of the
    /// fast kernels that every processor has, and stay exact.
    #[default]
    Reduced,
}

impl WeightRange {
    /// All of 8 bits where the processor sums integer products in 32 bits at once.
    pub fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        let wide = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
        #[cfg(not(target_arch = "x86_64"))]
        let wide = true;
        if wide { Self::Full } else { Self::Reduced }
    }

    fn largest(self) -> f32 {
        match self {
            Self::Full => 127.0,
            Self::Reduced => 63.0,
        }
    }
}

/// Smallest and largest element that each activation has had, by graph and value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Observations that were seen.
    pub observations: usize,
    /// Which weights they were seen with: [`Weights::fingerprint`](crate::lerobot::Weights::fingerprint).
    #[serde(default)]
    pub weights: String,
    /// By graph, by value.
    pub ranges: BTreeMap<String, BTreeMap<String, [f32; 2]>>,
}

/// Shared by the engines of one policy while they are calibrated.
pub type Recorder = Arc<Mutex<Calibration>>;

/// The values of `graph` that [`quantize`] needs ranges of.
pub fn activations(graph: &Graph) -> Vec<usize> {
    let consumers = graph.consumers();
    let constants: Vec<usize> = graph.constants.iter().map(|c| c.value).collect();
    let mut wanted = vec![false; graph.values.len()];
    let mut ends = vec![false; graph.values.len()];
    // A value whose only use is an activation function is not stored: the function's result is.
    let end = |value: usize| match consumers[value].as_slice() {
        &[only] if graph.nodes[only].op == "Relu" => graph.nodes[only].outputs[0],
        _ => value,
    };
    for node in &graph.nodes {
        let image = graph.values[node.outputs[0]].shape.len() == 4;
        match node.op {
            "Conv" | "Gemm" if is_layer(node, &constants) => {
                node.inputs[0].into_iter().for_each(|id| wanted[id] = true);
                if node.op == "Conv" {
                    ends[end(node.outputs[0])] = true;
                }
            }
            "Add" if image => ends[end(node.outputs[0])] = true,
            "MaxPool" => ends[node.outputs[0]] = true,
            _ => {}
        }
    }
    (0..graph.values.len())
        .filter(|&id| (wanted[id] || ends[id]) && !constants.contains(&id))
        .collect()
}

/// How many values of `graph` need a range, and how many of those have none.
pub(crate) fn without_range(graph: &Graph, calibration: &Calibration) -> (usize, usize) {
    let ranges = calibration.ranges.get(graph.name());
    let needed = activations(graph).into_iter();
    // What the graph gives stays in floats.
    let needed: Vec<usize> = needed.filter(|id| !graph.outputs.contains(id)).collect();
    let known = |id: &&usize| ranges.is_some_and(|r| r.contains_key(&graph.values[**id].name));
    (
        needed.len(),
        needed.len() - needed.iter().filter(known).count(),
    )
}

fn is_layer(node: &Node, constants: &[usize]) -> bool {
    let constant = |place: usize| node.inputs.get(place).copied().flatten();
    constant(1).is_some_and(|id| constants.contains(&id))
        && constant(2).is_none_or(|id| constants.contains(&id))
}

/// The graph with integer layers. Values without a range in `calibration` stay floats: see
/// `without_range`.
pub fn quantize(graph: &Graph, calibration: &Calibration, weights: WeightRange) -> Graph {
    let empty = BTreeMap::new();
    let ranges = calibration.ranges.get(graph.name()).unwrap_or(&empty);
    let mut pass = Pass {
        scales: vec![None; graph.values.len()],
        out: graph.clone(),
        nodes: Vec::new(),
        weights,
    };
    let constants: Vec<usize> = graph.constants.iter().map(|c| c.value).collect();
    let mut stored: BTreeMap<usize, [f32; 2]> = activations(graph)
        .into_iter()
        .filter_map(|id| Some((id, *ranges.get(&graph.values[id].name)?)))
        .collect();
    // The largest of some values lies within their range: one scale for both sides of the pool.
    for node in graph.nodes.iter().filter(|node| node.op == "MaxPool") {
        let range = node.inputs[0].and_then(|id| stored.get(&id).copied());
        if let Some(range) = range {
            stored.insert(node.outputs[0], range);
        }
    }
    let mut replaced: BTreeMap<usize, usize> = BTreeMap::new();
    for &id in &graph.inputs {
        if let Some(range) = stored.get(&id) {
            replaced.insert(id, pass.activation(id, *range));
        }
    }
    for node in &graph.nodes {
        let mut node = node.clone();
        let source = node.inputs[0];
        for slot in node.inputs.iter_mut().flatten() {
            *slot = replaced.get(slot).copied().unwrap_or(*slot);
        }
        let scale = source.and_then(|id| pass.scales[id]);
        if let Some(scale) = scale
            && is_layer(&node, &constants)
            && matches!(node.op, "Conv" | "Gemm")
        {
            pass.layer(&mut node, scale);
        }
        let outputs = node.outputs.clone();
        pass.nodes.push(node);
        for id in outputs {
            // What other programs read stays as it was computed.
            if let Some(range) = stored.get(&id)
                && !graph.outputs.contains(&id)
            {
                replaced.insert(id, pass.activation(id, *range));
            }
        }
    }
    pass.out.nodes = pass.nodes;
    pass.out.name = format!("{}.int8", graph.name);
    pass.out.drop_unused_constants();
    pass.out
}

struct Pass {
    /// Scale of each value that is stored in 8 bits.
    scales: Vec<Option<f32>>,
    out: Graph,
    nodes: Vec<Node>,
    weights: WeightRange,
}

impl Pass {
    /// Rounds a value to 8 bits and gives what stands for it from now on.
    fn activation(&mut self, id: usize, [low, high]: [f32; 2]) -> usize {
        // Zero must be exact: it is what padding and activation functions give.
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / LEVELS).max(f32::MIN_POSITIVE);
        let zero = (-low / scale).round().clamp(0.0, LEVELS) as u8;
        self.scales[id] = Some(scale);
        let (name, shape) = (
            self.out.values[id].name.clone(),
            self.out.values[id].shape.clone(),
        );
        let scale = self.out.push_constant(
            format!("{name}.scale"),
            DataType::F32,
            &[],
            f32_bytes(&[scale]),
        );
        let zero = self
            .out
            .push_constant(format!("{name}.zero"), DataType::U8, &[], vec![zero]);
        let integers = self
            .out
            .push_value(format!("{name}.q"), DataType::U8, &shape);
        let floats = self
            .out
            .push_value(format!("{name}.dq"), DataType::F32, &shape);
        for (op, from, to) in [
            ("QuantizeLinear", id, integers),
            ("DequantizeLinear", integers, floats),
        ] {
            self.nodes.push(Node {
                name: format!("{name}/{op}"),
                op,
                inputs: vec![Some(from), Some(scale), Some(zero)],
                outputs: vec![to],
                attributes: Vec::new(),
            });
        }
        floats
    }

    /// Brings a layer's weights to 8 bits and its bias to 32, scaled for integer sums.
    fn layer(&mut self, node: &mut Node, scale: f32) {
        let Some(weight) = node.inputs[1] else { return };
        let shape = self.out.values[weight].shape.clone();
        let transposed = attribute(node, "transB") == Some(&Attribute::Int(1));
        // Outputs must be rows of the stored weight.
        let rows = node.op == "Conv" || transposed;
        let (Some(mut data), Some(&outputs), true) = (self.out.floats(weight), shape.first(), rows)
        else {
            return;
        };
        let factor = |node: &mut Node, name: &str| match node
            .attributes
            .iter_mut()
            .find(|(own, _)| *own == name)
        {
            Some((_, Attribute::Float(value))) => std::mem::replace(value, 1.0),
            _ => 1.0,
        };
        // Integer kernels know no factors: they go into weights and bias.
        let (alpha, beta) = match node.op {
            "Gemm" => (factor(node, "alpha"), factor(node, "beta")),
            _ => (1.0, 1.0),
        };
        data.iter_mut().for_each(|w| *w *= alpha);
        let row = (data.len() / outputs.max(1)).max(1);
        let (scales, integers): (Vec<f32>, Vec<Vec<u8>>) = data
            .chunks(row)
            .map(|row| rounded(row, self.weights.largest()))
            .unzip();
        let name = format!("{}/weight", node.name);
        node.inputs[1] =
            Some(self.dequantised(&name, DataType::I8, &shape, integers.concat(), &scales));
        let bias = node.inputs.get(2).copied().flatten();
        if let Some(values) = bias.and_then(|id| self.out.floats(id)) {
            let scales: Vec<f32> = scales.iter().map(|s| s * scale).collect();
            let integers = values.iter().zip(&scales).flat_map(|(&bias, &scale)| {
                ((f64::from(bias * beta) / f64::from(scale)).round() as i32).to_le_bytes()
            });
            let integers = integers.collect();
            let name = format!("{}/bias", node.name);
            let shape = [values.len()];
            node.inputs[2] =
                Some(self.dequantised(&name, DataType::I32, &shape, integers, &scales));
        }
    }

    /// A constant of integers as the floats that they stand for, one scale a row.
    fn dequantised(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[usize],
        integers: Vec<u8>,
        scales: &[f32],
    ) -> usize {
        let count = [scales.len()];
        let out = &mut self.out;
        let zeros = vec![0; scales.len() * dtype.size()];
        let integers = out.push_constant(format!("{name}.q"), dtype, shape, integers);
        let scale = out.push_constant(
            format!("{name}.scale"),
            DataType::F32,
            &count,
            f32_bytes(scales),
        );
        let zero = out.push_constant(format!("{name}.zero"), dtype, &count, zeros);
        let floats = out.push_value(format!("{name}.dq"), DataType::F32, shape);
        self.nodes.push(Node {
            name: format!("{name}/DequantizeLinear"),
            op: "DequantizeLinear",
            inputs: vec![Some(integers), Some(scale), Some(zero)],
            outputs: vec![floats],
            attributes: vec![("axis", Attribute::Int(0))],
        });
        floats
    }
}

/// A row's scale, and its integers as bytes.
fn rounded(row: &[f32], largest: f32) -> (f32, Vec<u8>) {
    let peak = row.iter().fold(0.0f32, |peak, w| peak.max(w.abs()));
    let scale = if peak > 0.0 { peak / largest } else { 1.0 };
    let integers = row.iter().map(|w| (w / scale).round() as i8 as u8);
    (scale, integers.collect())
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    let mut found = node.attributes.iter().filter(|(own, _)| *own == name);
    found.next().map(|(_, attribute)| attribute)
}

/// A graph that also gives its activations, and the names of those.
pub(crate) fn observed(graph: &Graph) -> (Graph, Vec<String>) {
    let mut out = graph.clone();
    let mut names = Vec::new();
    for id in activations(graph) {
        // Inputs are seen before the engine runs, and outputs are given anyway.
        if !graph.inputs.contains(&id) && !graph.outputs.contains(&id) {
            out.outputs.push(id);
            names.push(graph.values[id].name.clone());
        }
    }
    (out, names)
}

/// Runs a graph in floats and notes the ranges of its activations.
#[derive(Debug)]
pub(crate) struct RecordingEngine {
    engine: Box<dyn Engine>,
    graph: String,
    /// How many of the engine's outputs are the graph's own.
    own: usize,
    outputs: Vec<Tensor>,
    names: Vec<String>,
    recorder: Recorder,
}

impl RecordingEngine {
    /// `engine` runs what [`observed`] gave for the graph of that name.
    pub(crate) fn new(
        engine: Box<dyn Engine>,
        graph: &str,
        names: Vec<String>,
        recorder: Recorder,
    ) -> Self {
        let own = engine.outputs().len() - names.len();
        Self {
            outputs: vec![Tensor::default(); engine.outputs().len()],
            graph: graph.to_owned(),
            engine,
            own,
            names,
            recorder,
        }
    }
}

impl Engine for RecordingEngine {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn inputs(&self) -> &[TensorInfo] {
        self.engine.inputs()
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.engine.outputs()[..self.own]
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        self.engine.run(inputs, &mut self.outputs)?;
        let mut calibration = self.recorder.lock().map_err(|e| e.to_string())?;
        let ranges = calibration.ranges.entry(self.graph.clone()).or_default();
        let infos = self.engine.inputs().iter().map(|info| &info.name);
        let seen = infos.zip(inputs);
        for (name, tensor) in seen.chain(self.names.iter().zip(&self.outputs[self.own..])) {
            let bounds = ranges
                .entry(name.clone())
                .or_insert([f32::INFINITY, f32::NEG_INFINITY]);
            for &x in tensor.data.iter().filter(|x| x.is_finite()) {
                *bounds = [bounds[0].min(x), bounds[1].max(x)];
            }
        }
        for (given, output) in self.outputs.iter_mut().zip(outputs) {
            std::mem::swap(given, output);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_to_their_own_scale() {
        let (scale, integers) = rounded(&[0.5, -1.0, 0.0], 127.0);
        assert_eq!(scale, 1.0 / 127.0);
        assert_eq!(integers, [64, -127i8 as u8, 0]);
        assert_eq!(rounded(&[0.0; 2], 63.0), (1.0, vec![0, 0]));
    }
}
