//! Reads what the direct engine needs of an ONNX file: operators in order, and small attributes.
//!
//! The file has passed [`onnx_scan`](super::super::onnx_scan) before. Whatever is not plain (other
//! types, other files, other operator sets, subgraphs) makes the answer `None`, and the network goes
//! to a general engine.

use super::super::protobuf::{Field, Fields, Value, varint};
use std::collections::HashMap;

/// More than a small network has; what is larger is not worth this engine.
const MAX_NODES: usize = 512;

/// A constant tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) data: Numbers,
}

/// Values of a constant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

/// One operator.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) op: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    attributes: HashMap<&'a str, Attribute>,
}

#[cfg(test)]
impl<'a> Node<'a> {
    /// An operator for tests, with its axis.
    pub(super) fn along(op: &'a str, inputs: Vec<&'a str>, output: &'a str, axis: i64) -> Self {
        Self {
            op,
            inputs,
            outputs: vec![output],
            attributes: HashMap::from([("axis", Attribute::Int(axis))]),
        }
    }
}

#[derive(Debug, Clone)]
enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Tensor(Constant),
    Other,
}

impl Node<'_> {
    /// A float attribute, or its default; `None` when it has another type.
    pub(super) fn float(&self, name: &str, default: f32) -> Option<f32> {
        match self.attributes.get(name) {
            None => Some(default),
            Some(Attribute::Float(value)) => Some(*value),
            Some(_) => None,
        }
    }

    /// An integer attribute, or its default; `None` when it has another type.
    pub(super) fn int(&self, name: &str, default: i64) -> Option<i64> {
        match self.attributes.get(name) {
            None => Some(default),
            Some(Attribute::Int(value)) => Some(*value),
            Some(_) => None,
        }
    }

    /// A list of integers, if there is one of that name.
    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// A tensor attribute.
    pub(super) fn tensor(&self, name: &str) -> Option<&Constant> {
        match self.attributes.get(name) {
            Some(Attribute::Tensor(constant)) => Some(constant),
            _ => None,
        }
    }
}

/// The graph of a model.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) constants: HashMap<&'a str, Constant>,
}

impl<'a> Graph<'a> {
    /// Reads the graph, or gives `None` when anything in it is out of the ordinary.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut graph = None;
        for (number, value) in messages(bytes)? {
            match number {
                7 if graph.is_none() => graph = Some(Self::of(value)?),
                // A second graph, or functions.
                7 | 25 => return None,
                _ => {}
            }
        }
        graph
    }

    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut graph = Self::default();
        for (number, value) in messages(bytes)? {
            match number {
                1 => graph.nodes.push(node(value)?),
                5 => {
                    let (name, constant) = tensor(value)?;
                    graph.constants.insert(name, constant);
                }
                // Sparse constants.
                15 => return None,
                _ => {}
            }
        }
        (graph.nodes.len() <= MAX_NODES).then_some(graph)
    }
}

/// The length-delimited fields of a message.
fn messages(bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut all = Vec::new();
    for field in Fields::new(bytes, 0) {
        if let Field {
            number,
            value: Value::Bytes(inner, _),
        } = field.ok()?
        {
            all.push((number, inner));
        }
    }
    Some(all)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn node(bytes: &[u8]) -> Option<Node<'_>> {
    let mut node = Node::default();
    for (number, value) in messages(bytes)? {
        match number {
            1 => node.inputs.push(text(value)?),
            2 => node.outputs.push(text(value)?),
            4 => node.op = text(value)?,
            5 => {
                let (name, value) = attribute(value)?;
                node.attributes.insert(name, value);
            }
            // Operators of another domain than ONNX's own.
            7 if !value.is_empty() && value != b"ai.onnx" => return None,
            _ => {}
        }
    }
    Some(node)
}

fn attribute(bytes: &[u8]) -> Option<(&str, Attribute)> {
    let (mut name, mut found, mut ints) = ("", Attribute::Other, Vec::new());
    for field in Fields::new(bytes, 0) {
        let Field { number, value } = field.ok()?;
        match (number, value) {
            (1, Value::Bytes(text_bytes, _)) => name = text(text_bytes)?,
            (2, Value::Fixed(bytes)) => {
                found = Attribute::Float(f32::from_le_bytes(bytes.try_into().ok()?))
            }
            (3, Value::Varint(value)) => found = Attribute::Int(value as i64),
            (5, Value::Bytes(inner, _)) => found = Attribute::Tensor(tensor(inner)?.1),
            (8, value) => integers(value, &mut ints)?,
            _ => {}
        }
    }
    if !ints.is_empty() {
        found = Attribute::Ints(ints);
    }
    Some((name, found))
}

fn tensor(bytes: &[u8]) -> Option<(&str, Constant)> {
    let (mut name, mut kind, mut dims) = ("", 0, Vec::new());
    let (mut floats, mut ints, mut raw) = (Vec::new(), Vec::new(), None);
    for field in Fields::new(bytes, 0) {
        let Field { number, value } = field.ok()?;
        match (number, value) {
            (1, value) => integers(value, &mut dims)?,
            (2, Value::Varint(value)) => kind = value,
            (4, Value::Bytes(packed, _)) => floats.extend(f32s(packed)),
            (4, Value::Fixed(bytes)) => floats.extend(f32s(bytes)),
            (7, value) => integers(value, &mut ints)?,
            (8, Value::Bytes(text_bytes, _)) => name = text(text_bytes)?,
            (9, Value::Bytes(data, _)) => raw = Some(data),
            _ => {}
        }
    }
    let data = match (kind, raw) {
        (1, Some(raw)) => Numbers::Floats(f32s(raw).collect()),
        (1, None) => Numbers::Floats(floats),
        (7, Some(raw)) => Numbers::Ints(i64s(raw).collect()),
        (7, None) => Numbers::Ints(ints),
        // Another type: keeps its name, and no operator here takes it.
        _ => Numbers::Ints(Vec::new()),
    };
    let dims: Vec<usize> = dims
        .into_iter()
        .map(|dim| usize::try_from(dim).ok())
        .collect::<Option<_>>()?;
    let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    let there = match &data {
        Numbers::Floats(values) => values.len(),
        Numbers::Ints(values) => values.len(),
    };
    let other = !matches!(kind, 1 | 7);
    (other || there == count).then_some((name, Constant { dims, data }))
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
}

fn i64s(bytes: &[u8]) -> impl Iterator<Item = i64> + '_ {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| i64::from_le_bytes(*b))
}

/// Repeated int64: packed, or one value at a time.
fn integers(value: Value<'_>, into: &mut Vec<i64>) -> Option<()> {
    match value {
        Value::Varint(value) => into.push(value as i64),
        Value::Bytes(mut packed, _) => {
            while !packed.is_empty() {
                let (value, rest) = varint(packed)?;
                into.push(value as i64);
                packed = rest;
            }
        }
        Value::Fixed(_) => return None,
    }
    Some(())
}
