//! A structural check of an ONNX file, before any engine sees it.
//!
//! Policies come from strangers. Engines are written for speed and trust their input: graphs
//! nested thousands deep overflow the stack, a shape of 2⁶⁰ asks for memory that ends the
//! process, and external data names files outside the policy's folder. This walk over the
//! protobuf (field numbers from onnx.proto3) refuses those in time linear in the file, without
//! building anything.

use super::onnx_growth::{Growth, Operator};
use super::protobuf::{Field, Fields, Value, broken, varint};
use crate::engine::MAX_ELEMENTS;

/// Graphs inside graphs (If, Loop, Scan) that are allowed.
const MAX_DEPTH: usize = 16;
/// Operators in all graphs together.
const MAX_NODES: usize = 1_000_000;
/// Axes of a tensor.
const MAX_RANK: usize = 16;

/// Checks the bytes of a model; the error says what is wrong and at which byte.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if let Some(text) = text_start(bytes) {
        return Err(text);
    }
    let mut scan = Scan { nodes: 0 };
    let mut graphs = 0;
    for field in Fields::new(bytes, 0) {
        let field = field?;
        match (field.number, field.value) {
            // ModelProto.graph
            (7, Value::Bytes(graph, at)) => {
                graphs += 1;
                scan.graph(graph, at, 1)?;
            }
            // ModelProto.functions: FunctionProto.node
            (25, Value::Bytes(function, at)) => scan.function(function, at)?,
            _ => {}
        }
    }
    match (graphs, scan.nodes) {
        (0, _) => Err("there is no graph in it (is it really an .onnx file?)".to_owned()),
        (1, 0) => Err("its graph has no operators".to_owned()),
        (1, _) => Ok(()),
        _ => Err("there is more than one graph in it".to_owned()),
    }
}

/// Recognises what people put there by mistake: Git LFS pointers and web pages.
fn text_start(bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(b"version https://git-lfs") {
        return Some("it is a Git LFS pointer, not the model (run `git lfs pull`)".to_owned());
    }
    let page = bytes.starts_with(b"<!") || bytes.starts_with(b"<html");
    page.then(|| "it is a web page, not a model (the download went wrong)".to_owned())
}

struct Scan {
    nodes: usize,
}

impl Scan {
    fn graph(&mut self, bytes: &[u8], base: usize, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!(
                "graphs are nested more than {MAX_DEPTH} deep at byte {base}"
            ));
        }
        let (mut growth, mut operators) = (Growth::default(), Vec::new());
        for field in Fields::new(bytes, base) {
            let field = field?;
            let Value::Bytes(inner, at) = field.value else {
                continue;
            };
            match field.number {
                1 => {
                    let (operator, constant) = self.node(inner, at, depth)?;
                    if let Some(constant) = constant {
                        growth.constants.insert(operator.output, constant);
                    }
                    operators.push(operator);
                }
                5 => {
                    let tensor = tensor(inner, at)?;
                    growth.constants.insert(tensor.name, tensor);
                }
                11 => {
                    let (name, size) = value_info(inner, at)?;
                    growth.least.insert(name, size);
                }
                // value_info, output
                12 | 13 => drop(value_info(inner, at)?),
                _ => {}
            }
        }
        growth.check(&operators)
    }

    fn function(&mut self, bytes: &[u8], base: usize) -> Result<(), String> {
        for field in Fields::new(bytes, base) {
            if let Field {
                number: 7,
                value: Value::Bytes(node, at),
            } = field?
            {
                self.node(node, at, 1)?;
            }
        }
        Ok(())
    }

    /// An operator, and the tensor of a `Constant`.
    fn node<'a>(
        &mut self,
        bytes: &'a [u8],
        base: usize,
        depth: usize,
    ) -> Result<(Operator<'a>, Option<Constant<'a>>), String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} operators"));
        }
        let (mut inputs, mut output, mut op) = (Vec::new(), "", "");
        let mut constant = None;
        for field in Fields::new(bytes, base) {
            let field = field?;
            let Value::Bytes(inner, at) = field.value else {
                continue;
            };
            match field.number {
                1 => inputs.push(text(inner, at)?),
                2 if output.is_empty() => output = text(inner, at)?,
                4 => op = text(inner, at)?,
                5 => constant = self.attribute(inner, at, depth)?.or(constant),
                _ => {}
            }
        }
        let operator = Operator { op, inputs, output };
        Ok((operator, constant.filter(|_| op == "Constant")))
    }

    /// The tensor of an attribute, if it is one.
    fn attribute<'a>(
        &mut self,
        bytes: &'a [u8],
        base: usize,
        depth: usize,
    ) -> Result<Option<Constant<'a>>, String> {
        let mut found = None;
        for field in Fields::new(bytes, base) {
            let field = field?;
            let Value::Bytes(inner, at) = field.value else {
                continue;
            };
            match field.number {
                // t, tensors
                5 | 10 => found = Some(tensor(inner, at)?),
                // g, graphs
                6 | 11 => self.graph(inner, at, depth + 1)?,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// A constant tensor, as far as sizes go.
pub(super) struct Constant<'a> {
    pub(super) name: &'a str,
    pub(super) count: usize,
    pub(super) dims: Vec<usize>,
    /// Values, when it is a short int64 tensor such as a shape.
    pub(super) ints: Vec<i64>,
    /// Values, when it is a short f32 tensor such as scales.
    pub(super) floats: Vec<f32>,
}

/// TensorProto: the dimensions must agree with the bytes that are there.
fn tensor(bytes: &[u8], base: usize) -> Result<Constant<'_>, String> {
    let (mut dims, mut name, mut kind) = (Vec::new(), "", 0);
    let mut raw: Option<&[u8]> = None;
    let mut ints = Vec::new();
    let mut listed_bytes = 0usize;
    // float_data, packed.
    let mut listed: Option<&[u8]> = None;
    for field in Fields::new(bytes, base) {
        let field = field?;
        match (field.number, field.value) {
            (1, value) => integers(value, MAX_RANK + 1, &mut dims)?,
            (2, Value::Varint(value)) => kind = value,
            (7, value) => integers(value, usize::MAX, &mut ints)?,
            (4, Value::Bytes(values, _)) => {
                listed = Some(values);
                listed_bytes += values.len().max(1);
            }
            (5 | 6 | 10 | 11, Value::Bytes(values, _)) => listed_bytes += values.len().max(1),
            (4 | 5 | 6 | 10 | 11, _) => listed_bytes += 1,
            (8, Value::Bytes(text_bytes, at)) => name = text(text_bytes, at)?,
            (9, Value::Bytes(data, _)) => raw = Some(data),
            (13, _) | (14, Value::Varint(1)) => {
                return Err(format!(
                    "tensor `{name}` at byte {base} keeps its data in another file; save the model with the data inside"
                ));
            }
            _ => {}
        }
    }
    let count = elements(dims.iter().copied())
        .map_err(|e| format!("tensor `{name}` at byte {base} {e}"))?;
    // Data may be listed in any of the typed fields, each value at least a byte long.
    let available = raw.map_or(ints.len() + listed_bytes, <[u8]>::len);
    let too_short = match (raw, element_bits(kind)) {
        (Some(data), Some(bits)) => (count * bits).div_ceil(8) != data.len(),
        _ => count > available.saturating_mul(2),
    };
    if too_short {
        return Err(format!(
            "tensor `{name}` at byte {base} says {dims:?} but has {available} bytes of data"
        ));
    }
    if let (Some(data), 7, true) = (raw, kind, count <= MAX_RANK) {
        ints = data
            .chunks_exact(8)
            .map(|c| c.iter().rev().fold(0, |v, &b| (v << 8) | i64::from(b)))
            .collect();
    }
    ints.truncate(MAX_RANK + 1);
    let short = raw.or(listed).filter(|_| kind == 1 && count <= MAX_RANK);
    let (floats, _) = short.unwrap_or_default().as_chunks::<4>();
    Ok(Constant {
        name,
        count,
        dims: dims
            .iter()
            .map(|&n| usize::try_from(n).unwrap_or(0))
            .collect(),
        ints,
        floats: floats
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
    })
}

/// Bits of one element of TensorProto.DataType.
fn element_bits(kind: u64) -> Option<usize> {
    Some(match kind {
        1 | 6 | 12 => 32,
        2 | 3 | 9 | 17..=20 => 8,
        4 | 5 | 10 | 16 => 16,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        _ => return None,
    })
}

/// ValueInfoProto.type → TypeProto.tensor_type → shape → dim → dim_value. Other types (sequences,
/// maps, optionals) may nest; their depth is bounded by refusing them outright.
/// Gives the name, and the elements with open axes of one.
fn value_info(bytes: &[u8], base: usize) -> Result<(&str, usize), String> {
    let (mut dims, mut name) = (Vec::new(), "");
    for field in Fields::new(bytes, base) {
        if let Field {
            number: 1,
            value: Value::Bytes(inner, at),
        } = field?
        {
            name = text(inner, at)?;
        }
    }
    descend(bytes, base, &[2, 1, 2, 1], &mut |dim, at| {
        for field in Fields::new(dim, at) {
            if let Field {
                number: 1,
                value: Value::Varint(size),
            } = field?
            {
                dims.push(size as i64);
            }
        }
        Ok(())
    })?;
    descend(bytes, base, &[2], &mut |kind, at| {
        for field in Fields::new(kind, at) {
            if matches!(field?.number, 4 | 5 | 9) {
                return Err(format!(
                    "a value at byte {at} is a sequence, map or optional, which no policy uses"
                ));
            }
        }
        Ok(())
    })?;
    elements(dims.into_iter())
        .map(|count| (name, count))
        .map_err(|e| format!("a tensor declared at byte {base} {e}"))
}

/// Takes a message and its offset in the file.
pub(super) type Visit<'a> = dyn FnMut(&[u8], usize) -> Result<(), String> + 'a;

/// Calls `visit` for every message at the end of a path of field numbers.
pub(super) fn descend(
    bytes: &[u8],
    base: usize,
    path: &[u64],
    visit: &mut Visit<'_>,
) -> Result<(), String> {
    let Some((&first, rest)) = path.split_first() else {
        return visit(bytes, base);
    };
    for field in Fields::new(bytes, base) {
        if let Field {
            number,
            value: Value::Bytes(inner, at),
        } = field?
            && number == first
        {
            descend(inner, at, rest, visit)?;
        }
    }
    Ok(())
}

/// The product of dimensions, if it is sane.
pub(super) fn elements(dims: impl Iterator<Item = i64>) -> Result<usize, String> {
    let mut count = 1usize;
    for (axis, dim) in dims.enumerate() {
        if axis >= MAX_RANK {
            return Err(format!("has more than {MAX_RANK} axes"));
        }
        let dim = usize::try_from(dim).map_err(|_| format!("has an axis of {dim}"))?;
        count = count
            .checked_mul(dim)
            .filter(|&n| n <= MAX_ELEMENTS)
            .ok_or_else(|| format!("has more than {MAX_ELEMENTS} elements"))?;
    }
    Ok(count)
}

/// Repeated int64: packed, or one value at a time.
fn integers(value: Value<'_>, limit: usize, into: &mut Vec<i64>) -> Result<(), String> {
    match value {
        Value::Varint(value) => into.push(value as i64),
        Value::Bytes(mut packed, at) => {
            while !packed.is_empty() && into.len() < limit {
                let (value, rest) = varint(packed).ok_or_else(|| broken(at))?;
                into.push(value as i64);
                packed = rest;
            }
        }
        Value::Fixed(_) => {}
    }
    Ok(())
}

fn text(bytes: &[u8], at: usize) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("a name at byte {at} is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One length-delimited field.
    fn field(number: u8, contents: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = contents.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(contents);
        out
    }

    fn model(graph: &[u8]) -> Vec<u8> {
        field(7, graph)
    }

    #[test]
    fn what_people_put_there_by_mistake_is_named() {
        assert_eq!(check(b"").unwrap_err(), "the file is empty");
        assert!(
            check(b"version https://git-lfs.github.com/spec/v1\noid")
                .unwrap_err()
                .contains("git lfs pull")
        );
        assert!(check(b"<!DOCTYPE html>").unwrap_err().contains("web page"));
        assert!(
            check(&[0xff; 40])
                .unwrap_err()
                .contains("damaged or cut off at byte 0")
        );
        assert!(
            check(&field(2, b"producer"))
                .unwrap_err()
                .contains("no graph")
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut graph = field(1, &field(4, b"Relu"));
        for _ in 0..MAX_DEPTH + 1 {
            // graph ← node ← attribute ← graph
            graph = field(1, &field(5, &field(6, &graph)));
        }
        assert!(check(&model(&graph)).unwrap_err().contains("nested"));
    }

    #[test]
    fn huge_and_lying_tensors_are_refused() {
        let huge = [vec![0x08, 0xff, 0xff, 0xff, 0xff, 0x7f], field(8, b"w")].concat();
        assert!(
            check(&model(&field(5, &huge)))
                .unwrap_err()
                .contains("elements")
        );
        let lying = [vec![0x08, 100, 0x10, 1], field(8, b"w"), field(9, &[0; 8])].concat();
        assert!(
            check(&model(&field(5, &lying)))
                .unwrap_err()
                .contains("8 bytes of data")
        );
        let negative = [vec![0x08], vec![0xff; 9], vec![1], field(8, b"w")].concat();
        assert!(
            check(&model(&field(5, &negative)))
                .unwrap_err()
                .contains("axis of -1")
        );
    }

    #[test]
    fn external_data_is_refused() {
        let tensor = [field(8, b"w"), field(13, b"")].concat();
        assert!(
            check(&model(&field(5, &tensor)))
                .unwrap_err()
                .contains("another file")
        );
    }

    #[test]
    fn a_constant_that_blows_up_is_refused() {
        let shape = [
            vec![0x08, 1, 0x10, 7],
            field(8, b"s"),
            field(9, &(1u64 << 40).to_le_bytes()),
        ]
        .concat();
        let node = [field(1, b"s"), field(2, b"y"), field(4, b"ConstantOfShape")].concat();
        let problem = check(&model(&[field(1, &node), field(5, &shape)].concat())).unwrap_err();
        assert!(problem.contains("ConstantOfShape"), "{problem}");
    }

    fn node(op: &[u8], inputs: &[&[u8]], output: &[u8]) -> Vec<u8> {
        let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(1, name)).collect();
        field(1, &[inputs, field(2, output), field(4, op)].concat())
    }

    #[test]
    fn a_value_that_doubles_in_every_operator_is_refused_in_any_order() {
        let names: Vec<String> = (0..46).map(|i| format!("v{i}")).collect();
        let join = |pair: &[String]| {
            let (from, to) = (pair[0].as_bytes(), pair[1].as_bytes());
            node(b"Concat", &[from, from], to)
        };
        let doubling: Vec<Vec<u8>> = names.windows(2).map(join).collect();
        let reversed: Vec<Vec<u8>> = doubling.iter().rev().cloned().collect();
        for graph in [doubling.concat(), reversed.concat()] {
            let problem = check(&model(&graph)).unwrap_err();
            assert!(problem.contains("Concat"), "{problem}");
        }
        assert_eq!(check(&model(&doubling[..20].concat())), Ok(()));
        let circle = [node(b"Relu", &[b"a"], b"b"), node(b"Relu", &[b"b"], b"a")];
        assert_eq!(check(&model(&circle.concat())), Ok(()));
    }

    #[test]
    fn one_operator_that_grows_without_measure_is_refused() {
        let ints = |values: &[u64]| {
            let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let head = vec![0x08, values.len() as u8, 0x10, 7];
            field(5, &[head, field(8, b"n"), field(9, &data)].concat())
        };
        let large = 1 << 20;
        for (op, inputs, values) in [
            (
                &b"Tile"[..],
                [&b"x"[..], b"n"].as_slice(),
                vec![large, large],
            ),
            (b"Expand", &[b"x", b"n"], vec![large, large]),
            (b"Pad", &[b"x", b"n"], vec![large, large, 0, 0]),
            (b"Resize", &[b"x", b"", b"", b"n"], vec![large, large]),
        ] {
            let graph = [node(op, inputs, b"y"), ints(&values)].concat();
            let problem = check(&model(&graph)).unwrap_err();
            assert!(problem.contains("elements"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = check(&bytes);
            let _ = check(&model(&bytes));
            let _ = check(&model(&field(5, &bytes)));
        }
    }
}
