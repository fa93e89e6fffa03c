//! Builds a [`Graph`] operator by operator.

use super::onnx::{f32_bytes, i64_bytes};
use super::weights::as_bytes;
use super::{
    Attribute, Constant, Data, DataType, Graph, GraphError, Node, ValueInfo, WeightSource,
};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Elements that a missing tensor is always replaced with: vectors, of any width that a
/// configuration may have.
const ALWAYS_ZEROS: usize = 1 << 16;

/// A value of a graph that is being built. Cheap to clone; belongs to its builder.
#[derive(Debug, Clone)]
pub struct Value {
    pub(crate) id: usize,
    pub(crate) dtype: DataType,
    pub(crate) shape: Arc<[usize]>,
}

impl Value {
    /// Size of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Size of one axis; panics past the last one, like a slice.
    pub fn dim(&self, axis: usize) -> usize {
        self.shape[axis]
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }
}

/// Collects operators, constants, inputs and outputs.
///
/// Weights are asked for by name and shape. One that is missing or has another shape is noted,
/// and building goes on with the wanted shape, so that [`GraphBuilder::finish`] reports all of
/// them at once.
#[derive(Debug)]
pub struct GraphBuilder {
    pub(super) graph: Graph,
    scopes: Vec<String>,
    names: BTreeSet<String>,
    weights: HashMap<(String, usize, Vec<usize>), Value>,
    used: BTreeSet<String>,
    problems: Vec<String>,
    integers: HashMap<Vec<i64>, Value>,
    computed: Computed,
}

/// Bytes of constants that graphs of one checkpoint have in common, by name.
pub type Computed = Arc<Mutex<HashMap<String, Arc<[u8]>>>>;

impl GraphBuilder {
    /// An empty graph over `weights`; `name` says which network it is, for example `act/encode`.
    pub fn new(name: &str, weights: Arc<dyn WeightSource>) -> Self {
        Self {
            graph: Graph {
                name: name.to_owned(),
                values: Vec::new(),
                nodes: Vec::new(),
                constants: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                metadata: Vec::new(),
                weights,
            },
            scopes: Vec::new(),
            names: BTreeSet::new(),
            weights: HashMap::new(),
            used: BTreeSet::new(),
            problems: Vec::new(),
            integers: HashMap::new(),
            computed: Computed::default(),
        }
    }

    /// Shares what [`GraphBuilder::computed`] made with other builders over the same weights.
    pub fn sharing(mut self, computed: &Computed) -> Self {
        self.computed = Arc::clone(computed);
        self
    }

    /// The checkpoint.
    pub fn source(&self) -> Arc<dyn WeightSource> {
        Arc::clone(&self.graph.weights)
    }

    /// Builds a part of the network under a name that its nodes carry, and messages too.
    pub fn scoped<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(name.to_owned());
        let built = build(self);
        self.scopes.pop();
        built
    }

    /// An input of the graph.
    pub fn input(&mut self, name: &str, dtype: DataType, shape: &[usize]) -> Value {
        let name = self.unique(name.to_owned());
        let value = self.value(name, dtype, shape);
        self.graph.inputs.push(value.id);
        value
    }

    /// Makes a value an output of the graph, under a name.
    pub fn output(&mut self, name: &str, value: &Value) -> Result<(), GraphError> {
        let made = self
            .graph
            .nodes
            .iter()
            .any(|n| n.outputs.contains(&value.id));
        let value = match made && !self.graph.outputs.contains(&value.id) {
            true => value.clone(),
            // Inputs, constants and outputs keep the names that they have.
            false => self.identity(value)?,
        };
        self.graph.values[value.id].name = self.unique(name.to_owned());
        self.graph.outputs.push(value.id);
        Ok(())
    }

    /// A stored tensor, used in place.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> Value {
        self.stored(name, shape, 0..shape.iter().product(), shape)
    }

    /// A stored tensor under another shape with as many elements, used in place: for example a
    /// 1×1 convolution as a matrix.
    pub fn weight_as(&mut self, name: &str, stored: &[usize], shape: &[usize]) -> Value {
        self.stored(name, stored, 0..stored.iter().product(), shape)
    }

    /// Rows `rows` along the first axis of a stored tensor, used in place.
    pub fn weight_rows(&mut self, name: &str, stored: &[usize], rows: Range<usize>) -> Value {
        let row: usize = stored.iter().skip(1).product();
        let mut shape = stored.to_vec();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        self.stored(name, stored, rows.start * row..rows.end * row, &shape)
    }

    /// The elements of a stored tensor, for computations at load. Where it is missing or has another
    /// shape, which is noted: zeros, or nothing at all if so many would take more memory than the
    /// checkpoint has bytes. A configuration of a kilobyte can ask for gigabytes.
    pub fn weight_data(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        if self.check_weight(name, shape) {
            match self.graph.weights.values(name) {
                Some(values) if values.len() == count => return values.into_owned(),
                _ => self
                    .problems
                    .push(format!("tensor `{name}` has not {count} elements")),
            }
        }
        let stored = usize::try_from(self.graph.weights.bytes() / 4).unwrap_or(usize::MAX);
        let given = if count <= stored.max(ALWAYS_ZEROS) {
            count
        } else {
            0
        };
        vec![0.0; given]
    }

    /// Whether the checkpoint has a tensor of that name.
    pub fn has_weight(&self, name: &str) -> bool {
        self.graph.weights.shape(name).is_some()
    }

    /// Says that a stored tensor is known and not needed.
    pub fn ignore_weight(&mut self, name: &str) {
        self.used.insert(name.to_owned());
    }

    /// Notes something else about the checkpoint that [`GraphBuilder::finish`] shall report.
    pub fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// A constant of floats. `shape` and `data` must agree in number, or the first operator that
    /// uses it could not be checked: a mismatch is reported by [`GraphBuilder::finish`].
    pub fn constant(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Value {
        self.raw_constant(name, DataType::F32, shape, f32_bytes(data))
    }

    /// One float.
    pub fn scalar(&mut self, data: f32) -> Value {
        self.constant("scalar", &[], &[data])
    }

    /// A list of integers: a shape, axes, or indices.
    pub fn integers(&mut self, data: &[i64]) -> Value {
        if let Some(value) = self.integers.get(data) {
            return value.clone();
        }
        let value = self.raw_constant("ints", DataType::I64, &[data.len()], i64_bytes(data));
        self.integers.insert(data.to_vec(), value.clone());
        value
    }

    /// A constant of any type, from its little-endian bytes.
    pub fn raw_constant(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Value {
        self.shared_constant(name, dtype, shape, bytes.into())
    }

    fn shared_constant(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[usize],
        bytes: Arc<[u8]>,
    ) -> Value {
        let name = self.unique(self.path(name));
        // Where a tensor is missing, what was to be computed of it is a mismatch too, and no news.
        let size = shape.iter().product::<usize>() * dtype.size();
        if bytes.len() != size && self.problems.is_empty() {
            self.problems.push(format!(
                "constant `{name}` {shape:?} was given {} bytes",
                bytes.len()
            ));
        }
        let value = self.value(name, dtype, shape);
        self.graph.constants.push(Constant {
            value: value.id,
            data: Data::Owned(bytes),
        });
        value
    }

    /// A constant of floats that is computed from stored tensors: once, however many graphs share it.
    /// `name` says what of, and `make` gives its shape's elements.
    pub fn computed(
        &mut self,
        name: &str,
        shape: &[usize],
        make: impl FnOnce(&mut Self) -> Vec<f32>,
    ) -> Value {
        let all = Arc::clone(&self.computed);
        let known = |all: &Computed| {
            let all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(name).map(Arc::clone)
        };
        let bytes = match known(&all) {
            Some(bytes) => bytes,
            None => {
                let bytes: Arc<[u8]> = as_bytes(&make(self)).into();
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(all.entry(name.to_owned()).or_insert(bytes))
            }
        };
        self.shared_constant(name, DataType::F32, shape, bytes)
    }

    /// The finished graph.
    pub fn finish(self) -> Result<Graph, GraphError> {
        self.finish_with_used().map(|(graph, _)| graph)
    }

    /// The finished graph, and the names of all stored tensors that it uses or has been told to
    /// ignore.
    pub fn finish_with_used(self) -> Result<(Graph, BTreeSet<String>), GraphError> {
        let mut problems = self.problems;
        if problems.is_empty() {
            return Ok((self.graph, self.used));
        }
        problems.sort();
        problems.dedup();
        Err(GraphError::Weights { problems })
    }

    /// Adds an operator with one output.
    pub(super) fn node(
        &mut self,
        op: &'static str,
        inputs: &[Option<&Value>],
        attributes: Vec<(&'static str, Attribute)>,
        dtype: DataType,
        shape: &[usize],
    ) -> Value {
        let mut outputs = self.node_many(op, inputs, attributes, &[(dtype, shape.to_vec())]);
        outputs.swap_remove(0)
    }

    /// Adds an operator with one output for each of `outputs`.
    pub(super) fn node_many(
        &mut self,
        op: &'static str,
        inputs: &[Option<&Value>],
        attributes: Vec<(&'static str, Attribute)>,
        outputs: &[(DataType, Vec<usize>)],
    ) -> Vec<Value> {
        let name = self.next_name(op);
        let several = outputs.len() > 1;
        let values: Vec<Value> = outputs
            .iter()
            .enumerate()
            .map(|(i, (dtype, shape))| {
                let own = if several {
                    format!("{name}.{i}")
                } else {
                    name.clone()
                };
                let own = self.unique(own);
                self.value(own, *dtype, shape)
            })
            .collect();
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.iter().map(|v| v.map(|v| v.id)).collect(),
            outputs: values.iter().map(|v| v.id).collect(),
            attributes,
        });
        values
    }

    /// The error for an operator that is about to be added.
    pub(super) fn error(&self, op: &str, problem: impl Into<String>) -> GraphError {
        GraphError::Node {
            node: self.next_name(op),
            problem: problem.into(),
        }
    }

    fn next_name(&self, op: &str) -> String {
        self.path(&format!("{op}_{}", self.graph.nodes.len()))
    }

    fn path(&self, name: &str) -> String {
        let mut path = self.scopes.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        path + name
    }

    fn unique(&mut self, name: String) -> String {
        let mut candidate = name.clone();
        let mut n = 1;
        while !self.names.insert(candidate.clone()) {
            n += 1;
            candidate = format!("{name}.{n}");
        }
        candidate
    }

    fn value(&mut self, name: String, dtype: DataType, shape: &[usize]) -> Value {
        self.graph.values.push(ValueInfo {
            name,
            dtype,
            shape: shape.to_vec(),
        });
        Value {
            id: self.graph.values.len() - 1,
            dtype,
            shape: shape.into(),
        }
    }

    /// Whether a tensor is there with that shape; if not, that is noted.
    fn check_weight(&mut self, name: &str, shape: &[usize]) -> bool {
        let problem = match self.graph.weights.shape(name) {
            None => format!("tensor `{name}` {shape:?} is missing"),
            Some(stored) if stored != shape => {
                format!("tensor `{name}` is {stored:?} where {shape:?} is needed")
            }
            Some(_) => {
                self.used.insert(name.to_owned());
                return true;
            }
        };
        self.problems.push(problem);
        false
    }

    /// Elements `range` of a stored tensor, as a value of `shape`.
    fn stored(
        &mut self,
        name: &str,
        stored: &[usize],
        range: Range<usize>,
        shape: &[usize],
    ) -> Value {
        let key = (name.to_owned(), range.start, shape.to_vec());
        if let Some(value) = self.weights.get(&key) {
            return value.clone();
        }
        let present = self.check_weight(name, stored);
        let own = self.unique(name.to_owned());
        let value = self.value(own, DataType::F32, shape);
        let source = self.source();
        let data = match source.values(name).filter(|_| present) {
            Some(values) if values.get(range.clone()).is_none() => {
                self.problems
                    .push(format!("tensor `{name}` has no elements {range:?}"));
                Data::Owned(Arc::from([]))
            }
            Some(Cow::Borrowed(_)) => Data::Stored {
                tensor: name.to_owned(),
                start: range.start,
                len: range.len(),
            },
            Some(Cow::Owned(values)) => Data::Owned(f32_bytes(&values[range]).into()),
            None => Data::Owned(Arc::from([])),
        };
        self.graph.constants.push(Constant {
            value: value.id,
            data,
        });
        self.weights.insert(key, value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::MemoryWeights;

    #[test]
    fn what_is_computed_is_computed_once_for_all_graphs() {
        let shared = Computed::default();
        let mut made = 0;
        for _ in 0..3 {
            let mut b = GraphBuilder::new("part", Arc::new(MemoryWeights::default()));
            b = b.sharing(&shared);
            b.computed("w", &[2], |_| {
                made += 1;
                vec![0.5, 1.5]
            });
            let Data::Owned(bytes) = &b.graph.constants[0].data else {
                panic!("it is stored");
            };
            assert_eq!(bytes[..], f32_bytes(&[0.5, 1.5])[..]);
            assert_eq!(Arc::strong_count(bytes), 2);
        }
        assert_eq!(made, 1);
    }

    #[test]
    fn zeros_for_a_missing_tensor_take_no_more_than_the_weights() {
        let mut b = GraphBuilder::new("part", Arc::new(MemoryWeights::default()));
        assert_eq!(b.weight_data("bias", &[8]), [0.0; 8]);
        assert!(b.weight_data("weight", &[1 << 14, 1 << 14]).is_empty());
        let error = b.finish().unwrap_err().to_string();
        assert!(
            error.contains("`weight`") && error.contains("missing"),
            "{error}"
        );
    }
}
