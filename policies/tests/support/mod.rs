//! What the tests share: where the fetched models are, a tiny ONNX writer, and a fake engine.

#![allow(dead_code)] // Each test file uses its own part.

pub(crate) mod checkpoint;
pub(crate) mod counting;
pub(crate) mod golden;
pub(crate) mod tiny_act;
pub(crate) mod tiny_diffusion;

use sinew_policies::{Engine, Features, Manifest, Tensor, TensorInfo};
use sinew_runtime::JointNames;
use std::path::{Path, PathBuf};

/// A file that `scripts/setup` fetched.
pub(crate) fn fetched(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../third_party")
        .join(path);
    assert!(
        path.exists(),
        "{} is missing; run scripts/setup",
        path.display()
    );
    path
}

/// The ONNX Runtime library that `scripts/setup` fetched, set as the one to use.
pub(crate) fn with_ort_library() {
    let library = fetched("lib/libonnxruntime.so");
    // SAFETY: nextest gives each test a process; under plain `cargo test` every test of a binary
    // sets the same value, before any engine reads it.
    unsafe { std::env::set_var("SINEW_ORT_LIB", library) };
}

/// Robot with joints `a`, `b`, …
pub(crate) fn features(joints: &[&str]) -> Features {
    Features::new(&JointNames::new(joints.iter().copied()))
}

/// Parses a manifest that must be valid.
pub(crate) fn manifest(text: &str) -> Manifest {
    Manifest::parse(Path::new("policy.toml"), text).unwrap()
}

/// A manifest for joints `a`, `b` and a network `x` [1, 2] → `y` [1, 2].
pub(crate) const TWO_JOINTS: &str = r#"
name = "two"
robot = "test"
rate_hz = 50.0
chunk_size = 1
n_action_steps = 1
[model]
file = "model.onnx"
[[input]]
tensor = "x"
kind = "joint_positions"
joints = ["a", "b"]
[[output]]
tensor = "y"
kind = "joint_targets"
joints = ["a", "b"]
"#;

/// Answers a constant, whatever it is asked, and keeps what it was given.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) inputs: Vec<TensorInfo>,
    pub(crate) outputs: Vec<TensorInfo>,
    pub(crate) answer: Vec<f32>,
    pub(crate) seen: std::sync::Arc<std::sync::Mutex<Vec<f32>>>,
}

/// An f32 tensor of a graph.
pub(crate) fn info(name: &str, shape: &[usize]) -> TensorInfo {
    TensorInfo {
        name: name.to_owned(),
        is_f32: true,
        shape: shape.iter().copied().map(Some).collect(),
    }
}

impl Fake {
    pub(crate) fn new(inputs: Vec<TensorInfo>, output: TensorInfo, answer: &[f32]) -> Self {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::with_capacity(4096)));
        Self {
            inputs,
            outputs: vec![output],
            answer: answer.to_vec(),
            seen,
        }
    }
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        let mut seen = self.seen.lock().map_err(|e| e.to_string())?;
        seen.clear();
        inputs
            .iter()
            .for_each(|tensor| seen.extend_from_slice(&tensor.data));
        for output in outputs {
            output.data.clear();
            output.data.extend_from_slice(&self.answer);
        }
        Ok(())
    }
}

/// `y = x · weight` as an ONNX file: `weight` is row-major, `rows` × `columns`.
pub(crate) fn matmul_model(weight: &[f32], rows: u8, columns: u8) -> Vec<u8> {
    let value = |name: &[u8], width: u8| {
        let dim = |n: u8| field(1, &[0x08, n]);
        let shape = [dim(1), dim(width)].concat();
        let tensor = [vec![0x08, 1], field(2, &shape)].concat();
        [field(1, name), field(2, &field(1, &tensor))].concat()
    };
    let data: Vec<u8> = weight.iter().flat_map(|w| w.to_le_bytes()).collect();
    let initializer = [
        vec![0x08, rows, 0x08, columns, 0x10, 1],
        field(8, b"w"),
        field(9, &data),
    ]
    .concat();
    let node = [
        field(1, b"x"),
        field(1, b"w"),
        field(2, b"y"),
        field(4, b"MatMul"),
    ]
    .concat();
    let graph = [
        field(1, &node),
        field(2, b"g"),
        field(5, &initializer),
        field(11, &value(b"x", rows)),
        field(12, &value(b"y", columns)),
    ]
    .concat();
    // IR version 8, graph, operator set 13.
    [
        vec![0x08, 8],
        field(7, &graph),
        field(8, &[0x0a, 0, 0x10, 13]),
    ]
    .concat()
}

/// One length-delimited protobuf field.
pub(crate) fn field(number: u8, contents: &[u8]) -> Vec<u8> {
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
