//! A graph in 16-bit floats.

use super::{Attribute, Data, DataType, Graph, Node};
use half::f16;
use std::sync::Arc;

/// The same network with 16-bit weights and activations; what goes in and out stays in 32 bits.
/// Weights beyond ±65504 become the largest 16-bit float.
pub fn to_half(graph: &Graph) -> Graph {
    let mut half = graph.clone();
    half.name = format!("{}.fp16", graph.name);
    let is_input = |id: usize| graph.inputs.contains(&id);
    let is_output = |id: usize| graph.outputs.contains(&id);
    for (id, value) in half.values.iter_mut().enumerate() {
        if value.dtype == DataType::F32 && !is_input(id) {
            value.dtype = DataType::F16;
        }
    }
    for constant in &mut half.constants {
        if let Some(floats) = graph.floats(constant.value) {
            let bytes = floats.iter().flat_map(|&x| {
                let bounded = x.clamp(-65504.0, 65504.0);
                f16::from_f32(bounded).to_le_bytes()
            });
            constant.data = Data::Owned(Arc::from(bytes.collect::<Vec<u8>>()));
        }
    }
    for node in &mut half.nodes {
        for (name, attribute) in &mut node.attributes {
            if *name == "to" && *attribute == Attribute::Int(DataType::F32.onnx() as i64) {
                *attribute = Attribute::Int(DataType::F16.onnx() as i64);
            }
        }
    }
    let mut before = Vec::new();
    for &id in graph
        .inputs
        .iter()
        .filter(|&&id| graph.values[id].dtype == DataType::F32)
    {
        let info = &graph.values[id];
        let cast = half.push_value(format!("{}.fp16", info.name), DataType::F16, &info.shape);
        for slot in half
            .nodes
            .iter_mut()
            .flat_map(|node| node.inputs.iter_mut())
        {
            if *slot == Some(id) {
                *slot = Some(cast);
            }
        }
        before.push(cast_node(
            format!("{}.cast", info.name),
            id,
            cast,
            DataType::F16,
        ));
    }
    let mut after = Vec::new();
    for slot in 0..half.outputs.len() {
        let id = half.outputs[slot];
        if !is_output(id) || graph.values[id].dtype != DataType::F32 {
            continue;
        }
        // The output keeps its name, and what computes it gets another.
        let name = half.values[id].name.clone();
        half.values[id].name = format!("{name}.fp16");
        let shape = half.values[id].shape.clone();
        let wide = half.push_value(name.clone(), DataType::F32, &shape);
        half.outputs[slot] = wide;
        after.push(cast_node(format!("{name}.cast"), id, wide, DataType::F32));
    }
    half.nodes = before.into_iter().chain(half.nodes).chain(after).collect();
    half
}

fn cast_node(name: String, from: usize, to: usize, dtype: DataType) -> Node {
    Node {
        name,
        op: "Cast",
        inputs: vec![Some(from)],
        outputs: vec![to],
        attributes: vec![("to", Attribute::Int(dtype.onnx() as i64))],
    }
}
