//! Networks as graphs of ONNX operators over weights that stay where they are.
//!
//! An architecture is a function that takes a [`GraphBuilder`] and calls its methods in the order
//! of the forward pass; each method checks types and shapes at once, so that a contradiction
//! names the node where it appears. The result, a [`Graph`], is what engines open: its large
//! tensors are ranges of a memory-mapped checkpoint ([`WeightSource`]) that are never copied.
//! [`Graph::to_portable`] writes the same graph as one self-contained `.onnx` file.
//!
//! ```text
//! WeightSource (mmap) ─┐
//! architecture(builder)┴─► Graph ─┬─► engines (weights referred to in place)
//!                                 └─► portable .onnx (weights inside)
//! ```
//!
//! Read [`builder`] first, then [`ops`].

pub mod builder;
pub mod half;
pub mod ops;
pub mod quantize;
pub mod weights;

mod encode;
mod onnx;
mod rewrite;
mod shape;

pub use builder::{Computed, GraphBuilder, Value};
pub use onnx::External;
pub use ops::{ConvOptions, GemmOptions, PoolOptions};
pub use weights::{MemoryWeights, WeightSource};

use crate::engine::TensorInfo;
use std::borrow::Cow;
use std::sync::Arc;
use thiserror::Error;

/// Operator set of `ai.onnx` that graphs are written in: the newest that both engines and every
/// ONNX Runtime since 1.12 know in full.
pub const OPSET: i64 = 17;

/// Element types of values in a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Unsigned byte: pixels, quantised activations.
    U8,
    /// Signed byte: quantised weights.
    I8,
    /// 32-bit integer: biases of quantised layers.
    I32,
    /// 64-bit integer: shapes and indices.
    I64,
}

impl DataType {
    /// Number in TensorProto.DataType.
    pub(crate) fn onnx(self) -> u64 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::F16 => 10,
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// Why a graph could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// An operator does not fit its operands.
    #[error("{node}: {problem}")]
    Node {
        /// Scope and operator, for example `encoder/layer_0/Gemm_3`.
        node: String,
        /// What does not fit, with the operands' shapes.
        problem: String,
    },
    /// Tensors of the checkpoint that are missing or have another shape; all of them.
    #[error("{}", problems.join("; "))]
    Weights {
        /// One clause a tensor.
        problems: Vec<String>,
    },
    /// The graph is too large for one file.
    #[error("the model has {0} bytes of weights, and one .onnx file may have at most 2 GB")]
    TooLarge(u64),
}

/// An attribute of an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// One integer.
    Int(i64),
    /// One float.
    Float(f32),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A word.
    Text(String),
}

/// One operator, with its operands as indices into [`Graph::values`].
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op: &'static str,
    /// `None`: an optional operand that is left out.
    pub(crate) inputs: Vec<Option<usize>>,
    pub(crate) outputs: Vec<usize>,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
}

/// Name, type and shape of a value.
#[derive(Debug, Clone)]
pub(crate) struct ValueInfo {
    pub(crate) name: String,
    pub(crate) dtype: DataType,
    pub(crate) shape: Vec<usize>,
}

/// Where a constant's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// Computed while building.
    Owned(Arc<[u8]>),
    /// Elements `start..start + len` of a stored f32 tensor.
    Stored {
        tensor: String,
        start: usize,
        len: usize,
    },
}

/// A constant of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    pub(crate) value: usize,
    pub(crate) data: Data,
}

/// A finished graph: operators in the order of execution, constants, inputs and outputs.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) values: Vec<ValueInfo>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) weights: Arc<dyn WeightSource>,
}

impl Graph {
    /// What the graph takes, in the order in which [`GraphBuilder::input`] was called.
    pub fn inputs(&self) -> Vec<TensorInfo> {
        self.inputs.iter().map(|&id| self.info(id)).collect()
    }

    /// What it gives, in the order in which [`GraphBuilder::output`] was called.
    pub fn outputs(&self) -> Vec<TensorInfo> {
        self.outputs.iter().map(|&id| self.info(id)).collect()
    }

    /// Name of the graph: architecture and phase.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of operators.
    pub fn operators(&self) -> usize {
        self.nodes.len()
    }

    /// Number of weights (elements of f32 constants).
    pub fn parameters(&self) -> usize {
        let floats = self
            .constants
            .iter()
            .map(|constant| &self.values[constant.value])
            .filter(|info| info.dtype == DataType::F32);
        floats
            .map(|info| info.shape.iter().product::<usize>())
            .sum()
    }

    /// Adds a line to the file's metadata (`metadata_props`).
    pub fn with_metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The whole model as one `.onnx` file, weights inside.
    pub fn to_portable(&self) -> Result<Vec<u8>, GraphError> {
        onnx::portable(self)
    }

    fn info(&self, id: usize) -> TensorInfo {
        let value = &self.values[id];
        TensorInfo {
            name: value.name.clone(),
            is_f32: value.dtype == DataType::F32,
            shape: value.shape.iter().copied().map(Some).collect(),
        }
    }

    /// The bytes of a constant, little-endian, where they lie for the graph's life.
    pub(crate) fn in_place<'a>(&'a self, constant: &'a Constant) -> &'a [u8] {
        match &constant.data {
            Data::Owned(bytes) => bytes,
            Data::Stored { tensor, start, len } => match self.weights.values(tensor) {
                Some(Cow::Borrowed(values)) => weights::as_bytes(&values[*start..start + len]),
                // The builder refers to a stored tensor only where its values are borrowed.
                _ => &[],
            },
        }
    }
}
