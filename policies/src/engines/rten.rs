//! RTen: pure Rust, no library to find, the embedded default.

use crate::engine::{Engine, EngineOptions, Tensor, TensorInfo, guarded};
use crate::graph::{External, Graph};
use rten::{
    DataType, Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueType, ValueView,
};
use rten_tensor::Layout;
use std::sync::Arc;

/// The engine's name.
pub const NAME: &str = "rten";

/// A network loaded by RTen.
#[derive(Debug)]
pub struct RtenEngine {
    model: Model,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    input_ids: Vec<NodeId>,
    output_ids: Vec<NodeId>,
    options: RunOptions,
    /// What the model's weights lie in. Declared after `model`, so dropped after it.
    _graph: Option<Box<Graph>>,
}

impl RtenEngine {
    /// Parses an ONNX model; it will run on `threads` threads. The error is RTen's own message.
    pub fn load(bytes: Vec<u8>, threads: usize) -> Result<Self, String> {
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options.load(bytes).map_err(|e| e.to_string())?;
        Ok(Self::with_model(model, threads, None))
    }

    /// Takes a graph, whose large weights stay where they are.
    pub fn load_graph(graph: Graph, how: &EngineOptions) -> Result<Self, String> {
        let graph = Box::new(graph);
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(how.optimise);
        options.prepack_weights(how.prepack);
        let bytes = graph.to_onnx(&|index, _| {
            Some(External {
                location: external_name(index),
                offset: 0,
            })
        });
        for (index, constant) in graph.large_constants() {
            let data: &[u8] = graph.in_place(constant);
            // SAFETY: the bytes are a mapped file's or an `Arc`'s, neither of which moves; `graph`
            // keeps both, and lives in the engine beside the model, which is dropped first.
            let data: &'static [u8] = unsafe { std::mem::transmute(data) };
            options.external_data_static(&external_name(index), data);
        }
        let model = options.load(bytes).map_err(|e| e.to_string())?;
        Ok(Self::with_model(model, how.threads, Some(graph)))
    }

    fn with_model(model: Model, threads: usize, graph: Option<Box<Graph>>) -> Self {
        let (input_ids, output_ids) = (model.input_ids().to_vec(), model.output_ids().to_vec());
        let inputs = input_ids.iter().map(|&id| info(&model, id)).collect();
        let outputs = output_ids.iter().map(|&id| info(&model, id)).collect();
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        let options = RunOptions::default().with_thread_pool(Some(pool));
        Self {
            model,
            inputs,
            outputs,
            input_ids,
            output_ids,
            options,
            _graph: graph,
        }
    }

    fn run_unguarded(&self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        let mut values = Vec::with_capacity(inputs.len());
        for (&id, tensor) in self.input_ids.iter().zip(inputs) {
            let view = ValueView::from_shape::<f32>(&tensor.shape, &tensor.data)
                .map_err(|e| e.to_string())?;
            values.push((id, view.into()));
        }
        let results = self
            .model
            .run(values, &self.output_ids, Some(self.options.clone()))
            .map_err(|e| e.to_string())?;
        for ((result, output), info) in results.iter().zip(outputs).zip(&self.outputs) {
            let ValueView::FloatTensor(view) = result.as_view() else {
                return Err(format!("output {info} is not f32"));
            };
            output.shape.clear();
            output.shape.extend(shape_of(&view));
            output.data.clear();
            match view.data() {
                Some(data) => output.data.extend_from_slice(data),
                None => output.data.extend(view.iter().copied()),
            }
        }
        Ok(())
    }
}

/// RTen takes only names that end like those of files of weights.
fn external_name(index: usize) -> String {
    format!("{index}.data")
}

/// The axes of a tensor view, through the one trait method that gives them.
fn shape_of(view: &impl Layout) -> impl Iterator<Item = usize> {
    (0..view.ndim()).map(|axis| view.size(axis))
}

fn info(model: &Model, id: NodeId) -> TensorInfo {
    let node = model.node_info(id);
    let shape = node.as_ref().and_then(|n| n.shape()).unwrap_or_default();
    TensorInfo {
        name: node
            .as_ref()
            .and_then(|n| n.name())
            .unwrap_or_default()
            .to_owned(),
        // A graph may leave the type out; the first run then shows it.
        is_f32: node
            .and_then(|n| n.dtype())
            .is_none_or(|t| t == ValueType::Tensor(DataType::Float)),
        shape: shape
            .into_iter()
            .map(|dim| match dim {
                Dimension::Fixed(size) => Some(size),
                Dimension::Symbolic(_) => None,
            })
            .collect(),
    }
}

impl Engine for RtenEngine {
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
        guarded(|| self.run_unguarded(inputs, outputs))
    }
}
