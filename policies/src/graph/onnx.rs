//! From a [`Graph`] to the bytes of an ONNX file (field numbers from onnx.proto3).

use super::encode::{Message, varint_len};
use super::{Attribute, Constant, DataType, Graph, GraphError, Node, OPSET, ValueInfo};

/// What a protobuf message may have.
const FILE_LIMIT: u64 = (2 << 30) - 1;
/// Constants of at most so many bytes are always inside: engines want to see shapes.
const INLINE: usize = 1024;

/// Where the data of a constant lies, for a file that keeps it outside.
#[derive(Debug, Clone)]
pub struct External {
    /// File name beside the model.
    pub location: String,
    /// Bytes from the file's start.
    pub offset: u64,
}

/// Where the constant at a place in the list is kept; `None`: inside.
type Outside<'a> = dyn Fn(usize, &Constant) -> Option<External> + 'a;

/// Everything in one file.
pub(super) fn portable(graph: &Graph) -> Result<Vec<u8>, GraphError> {
    let weights: u64 = graph
        .constants
        .iter()
        .map(|constant| size(graph, constant) as u64)
        .sum();
    if weights > FILE_LIMIT - (64 << 20) {
        return Err(GraphError::TooLarge(weights));
    }
    Ok(model(graph, &|_, _| None))
}

impl Graph {
    /// A model whose large constants are `external`; those for which it answers `None`, and all
    /// small ones, are inside.
    pub(crate) fn to_onnx(&self, external: &Outside<'_>) -> Vec<u8> {
        model(self, external)
    }

    /// The constants that can be kept outside of the file, with their places in the list of all.
    pub(crate) fn large_constants(&self) -> impl Iterator<Item = (usize, &Constant)> {
        let all = self.constants.iter().enumerate();
        all.filter(|(_, constant)| size(self, constant) > INLINE)
    }

    /// Type, shape and name of a constant.
    pub(crate) fn constant_info(&self, constant: &Constant) -> &ValueInfo {
        &self.values[constant.value]
    }
}

fn size(graph: &Graph, constant: &Constant) -> usize {
    let info = &graph.values[constant.value];
    info.shape.iter().product::<usize>() * info.dtype.size()
}

fn model(graph: &Graph, external: &Outside<'_>) -> Vec<u8> {
    // Weights are written once, into a buffer of the final size: messages nest their lengths, so
    // the head and the tail around them are made first.
    let mut body = Message::default();
    for node in &graph.nodes {
        body.message(1, &node_message(graph, node));
    }
    body.text(2, &graph.name);
    let heads: Vec<(Message, Option<&Constant>)> = graph
        .constants
        .iter()
        .enumerate()
        .map(|(index, constant)| tensor_head(graph, index, constant, external))
        .collect();
    let mut tail = Message::default();
    for &id in &graph.inputs {
        tail.message(11, &value_message(&graph.values[id]));
    }
    for &id in &graph.outputs {
        tail.message(12, &value_message(&graph.values[id]));
    }
    let tensor_size = |(head, inline): &(Message, Option<&Constant>)| {
        let data = inline.map_or(0, |constant| {
            let bytes = size(graph, constant);
            1 + varint_len(bytes as u64) + bytes
        });
        head.len() + data
    };
    let tensors: usize = heads
        .iter()
        .map(|head| {
            let bytes = tensor_size(head);
            1 + varint_len(bytes as u64) + bytes
        })
        .sum();
    let mut out = Message::default();
    out.reserve(body.len() + tensors + tail.len() + 4096);
    out.int(1, 8);
    out.text(2, "sinew");
    out.text(3, env!("CARGO_PKG_VERSION"));
    out.varint(7 << 3 | 2);
    out.varint((body.len() + tensors + tail.len()) as u64);
    out.append(&body);
    for head in &heads {
        out.varint(5 << 3 | 2);
        out.varint(tensor_size(head) as u64);
        out.append(&head.0);
        if let Some(constant) = head.1 {
            out.bytes(9, graph.in_place(constant));
        }
    }
    out.append(&tail);
    let mut opset = Message::default();
    opset.int(2, OPSET);
    out.message(8, &opset);
    for (key, value) in &graph.metadata {
        out.message(14, &entry(key, value));
    }
    out.into_bytes()
}

/// A TensorProto without its data, and the constant if the data is to follow.
fn tensor_head<'a>(
    graph: &Graph,
    index: usize,
    constant: &'a Constant,
    external: &Outside<'_>,
) -> (Message, Option<&'a Constant>) {
    let info = &graph.values[constant.value];
    let mut tensor = Message::default();
    for &dim in &info.shape {
        tensor.int(1, dim as i64);
    }
    tensor.int(2, info.dtype.onnx() as i64);
    tensor.text(8, &info.name);
    let large = size(graph, constant) > INLINE;
    let outside = large.then(|| external(index, constant)).flatten();
    let Some(outside) = outside else {
        return (tensor, Some(constant));
    };
    let length = size(graph, constant).to_string();
    for (key, value) in [
        ("location", outside.location.as_str()),
        ("offset", &outside.offset.to_string()),
        ("length", &length),
    ] {
        tensor.message(13, &entry(key, value));
    }
    tensor.int(14, 1);
    (tensor, None)
}

fn entry(key: &str, value: &str) -> Message {
    let mut entry = Message::default();
    entry.text(1, key);
    entry.text(2, value);
    entry
}

fn node_message(graph: &Graph, node: &Node) -> Message {
    let mut message = Message::default();
    for input in &node.inputs {
        message.text(1, input.map_or("", |id| graph.values[id].name.as_str()));
    }
    for &output in &node.outputs {
        message.text(2, &graph.values[output].name);
    }
    message.text(3, &node.name);
    message.text(4, node.op);
    for (name, attribute) in &node.attributes {
        message.message(5, &attribute_message(name, attribute));
    }
    message
}

fn attribute_message(name: &str, attribute: &Attribute) -> Message {
    let mut message = Message::default();
    message.text(1, name);
    let kind = match attribute {
        Attribute::Float(value) => {
            message.float(2, *value);
            1
        }
        Attribute::Int(value) => {
            message.int(3, *value);
            2
        }
        Attribute::Text(value) => {
            message.text(4, value);
            3
        }
        Attribute::Ints(values) => {
            for &value in values {
                message.int(8, value);
            }
            7
        }
    };
    message.int(20, kind);
    message
}

fn value_message(info: &ValueInfo) -> Message {
    let mut shape = Message::default();
    for &dim in &info.shape {
        let mut size = Message::default();
        size.int(1, dim as i64);
        shape.message(1, &size);
    }
    let mut tensor = Message::default();
    tensor.int(1, info.dtype.onnx() as i64);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut value = Message::default();
    value.text(1, &info.name);
    value.message(2, &kind);
    value
}

/// f32 values as the bytes of a constant.
pub(super) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// i64 values as the bytes of a constant.
pub(super) fn i64_bytes(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Whether a type is quantised or an index, for messages.
pub(super) fn type_name(dtype: DataType) -> &'static str {
    match dtype {
        DataType::F32 => "f32",
        DataType::F16 => "f16",
        DataType::U8 => "u8",
        DataType::I8 => "i8",
        DataType::I32 => "i32",
        DataType::I64 => "i64",
    }
}
