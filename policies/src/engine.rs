//! The seam between policies and whatever runs their networks.

use crate::engines::onnx_card::ModelCard;
use crate::engines::{direct, onnx_scan, ort, rten};
use crate::error::PolicyError;
use crate::graph::Graph;
use std::fmt;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The largest tensor that a policy's network may take or give, elements (1 GiB of f32).
pub const MAX_ELEMENTS: usize = 1 << 28;

/// Largest model file, bytes: what a protobuf message may have.
const MODEL_LIMIT: u64 = 2 << 30;

/// A dense f32 tensor, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensor {
    /// Size of each axis.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            data: vec![0.0; shape.iter().product()],
        }
    }
}

/// Name, type and shape of a network's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Whether the elements are 32-bit floats, the only type that policies exchange.
    pub is_f32: bool,
    /// Size of each axis; `None` where the graph leaves it open.
    pub shape: Vec<Option<usize>>,
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` [", self.name)?;
        for (i, dim) in self.shape.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            match dim {
                Some(dim) => write!(f, "{comma}{dim}")?,
                None => write!(f, "{comma}any")?,
            }
        }
        f.write_str("]")
    }
}

/// Runs one loaded network. Owned by one inference thread.
pub trait Engine: Send + fmt::Debug {
    /// `"rten"`, `"ort"`, …
    fn name(&self) -> &'static str;

    /// The network's inputs, in the order that [`Engine::run`] takes them.
    fn inputs(&self) -> &[TensorInfo];

    /// The network's outputs, in the order that [`Engine::run`] gives them.
    fn outputs(&self) -> &[TensorInfo];

    /// Runs the network. `inputs` are in the order of [`Engine::inputs`]; `outputs` has one entry
    /// for each of [`Engine::outputs`] and is resized to what the network gives, so buffers that
    /// already fit are reused. The error is the engine's own message.
    fn run(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String>;
}

/// Which engine to use: the value of `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// ONNX Runtime when its library is found, else RTen; small fully connected networks go over to
    /// [`direct`] once it has given the same answers. A library that the environment names must load.
    #[default]
    Auto,
    /// RTen: pure Rust, always there.
    Rten,
    /// ONNX Runtime, loaded at run time.
    Ort,
}

impl FromStr for EngineChoice {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "auto" => Ok(Self::Auto),
            "rten" => Ok(Self::Rten),
            "ort" => Ok(Self::Ort),
            other => Err(PolicyError::UnknownEngine(other.to_owned())),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Rten => "rten",
            Self::Ort => "ort",
        })
    }
}

/// Where ONNX Runtime computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA: needs ONNX Runtime's GPU library and the CUDA libraries. It
    /// multiplies in full 32 bits (no TF32). Operators that CUDA does not have run on the processor.
    Cuda,
    /// An NVIDIA GPU through TensorRT, with CUDA for what it does not take and the processor for what
    /// neither has. Needs the TensorRT libraries too; its engine is built at every load, which takes
    /// seconds to minutes.
    TensorRt,
}

impl FromStr for Provider {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "tensorrt" => Ok(Self::TensorRt),
            other => Err(PolicyError::UnknownProvider(other.to_owned())),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        })
    }
}

/// How an engine runs graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Which engine.
    pub engine: EngineChoice,
    /// Threads of one inference, at least one.
    pub threads: usize,
    /// Where it computes. Only ONNX Runtime has anything but the processor; a provider that cannot
    /// be had is an error, never passed over.
    pub provider: Provider,
    /// Whether the engine may rewrite the graph (fuse, fold, lay out weights anew). Without, it
    /// computes operator by operator: slow, and what fast paths are checked against.
    pub optimise: bool,
    /// Whether weights of matrix products may be laid out anew at load. Faster for products with few
    /// rows, at the price of a second copy of those weights.
    pub prepack: bool,
    /// How the [`direct`] engine keeps weights. [`Weights::Bf16`](direct::Weights::Bf16) is an error for a
    /// model file that this engine does not take: others have no such numbers.
    pub weights: direct::Weights,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            threads: 1,
            provider: Provider::Cpu,
            optimise: true,
            prepack: false,
            weights: direct::Weights::F32,
        }
    }
}

impl EngineOptions {
    /// Opens a graph. Its large weights are used where they are, and stay mapped for the engine's
    /// life.
    ///
    /// # Errors
    /// When the engine, its library or its provider cannot be had, or does not take the graph.
    pub fn open(&self, graph: Graph) -> Result<Box<dyn Engine>, PolicyError> {
        let path = PathBuf::from(graph.name());
        match self.resolve()? {
            None if self.provider != Provider::Cpu => Err(self.only_ort()),
            None => opened_rten(path, || rten::RtenEngine::load_graph(graph, self)),
            Some(environment) => opened_ort(&path, self.provider, || {
                ort::OrtEngine::load_graph(&environment, graph, self)
            }),
        }
    }

    /// Opens a model file.
    ///
    /// # Errors
    /// When the engine, its library or its provider cannot be had, or does not take the model.
    pub fn open_model(&self, model: ModelBytes) -> Result<Box<dyn Engine>, PolicyError> {
        let ModelBytes { path, bytes } = model;
        // An explicit choice is obeyed; only `auto` on the processor may go over to the fast path.
        let copy = match (self.engine, self.provider) {
            (EngineChoice::Auto, Provider::Cpu) => direct::candidate(&bytes),
            _ => None,
        };
        let general = match self.resolve()? {
            None if self.provider != Provider::Cpu => return Err(self.only_ort()),
            None => opened_rten(path.clone(), || rten::RtenEngine::load(bytes, self.threads)),
            Some(environment) => opened_ort(&path, self.provider, || {
                ort::OrtEngine::load(&environment, &bytes, self)
            }),
        }?;
        let taken = match copy {
            Some(model) => direct::with_fast_path(general, self.weights, &model),
            None => Err(general),
        };
        match (taken, self.weights) {
            (Ok(engine), _) | (Err(engine), direct::Weights::F32) => Ok(engine),
            (Err(_), direct::Weights::Bf16) => Err(PolicyError::Model {
                path,
                problem: "only small fully connected networks can be brought to fp16, on the processor and with \
                          the engine auto; use fp32"
                    .to_owned(),
            }),
        }
    }

    /// RTen knows no provider.
    fn only_ort(&self) -> PolicyError {
        PolicyError::Provider {
            provider: self.provider.to_string(),
            problem: "the engine rten computes on the processor; use `--engine ort`".to_owned(),
        }
    }

    /// ONNX Runtime's environment, or `None` for RTen.
    fn resolve(&self) -> Result<Option<::ort::environment::Environment>, PolicyError> {
        match self.engine {
            EngineChoice::Rten => Ok(None),
            EngineChoice::Ort => ort::environment(&ort::find_library()?).map(Some),
            EngineChoice::Auto => match ort::find_library() {
                Ok(library) => match ort::environment(&library) {
                    Err(error @ PolicyError::OrtLibrary { .. }) if !ort::is_named() => {
                        tracing::warn!("{error}; going on with rten");
                        Ok(None)
                    }
                    other => other.map(Some),
                },
                Err(PolicyError::NoOrtLibrary { .. }) => Ok(None),
                Err(other) => Err(other),
            },
        }
    }
}

/// A model file in memory, already checked for structure (see [`onnx_scan`]).
#[derive(Debug)]
pub struct ModelBytes {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ModelBytes {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let bytes = read_limited(path, MODEL_LIMIT).map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::new(path, bytes)
    }

    /// Checks bytes that came from elsewhere; `path` is for messages.
    pub fn new(path: &Path, bytes: Vec<u8>) -> Result<Self, PolicyError> {
        match onnx_scan::check(&bytes) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                bytes,
            }),
            Err(problem) => Err(PolicyError::Model {
                path: path.to_owned(),
                problem,
            }),
        }
    }

    /// Names of inputs and outputs, and what the exporter noted about the model.
    pub fn card(&self) -> Result<ModelCard, PolicyError> {
        ModelCard::read(&self.bytes).map_err(|problem| PolicyError::Model {
            path: self.path.clone(),
            problem,
        })
    }

    /// Where the bytes came from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A whole file of at most `limit` bytes; a larger one is an error before it fills the memory.
pub(crate) fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a pipe waits until somebody writes to it, for ever if nobody does.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let file = std::fs::File::open(path)?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!(
            "it has more than {limit} bytes"
        )));
    }
    Ok(bytes)
}

impl EngineChoice {
    /// Opens the model with the chosen engine on `threads` threads (at least one) of the processor.
    pub fn open(self, model: ModelBytes, threads: usize) -> Result<Box<dyn Engine>, PolicyError> {
        let options = EngineOptions {
            engine: self,
            threads: threads.max(1),
            ..EngineOptions::default()
        };
        options.open_model(model)
    }
}

fn opened_rten(
    path: PathBuf,
    load: impl FnOnce() -> Result<rten::RtenEngine, String>,
) -> Result<Box<dyn Engine>, PolicyError> {
    match guarded(load) {
        Ok(engine) => Ok(Box::new(engine)),
        Err(problem) => Err(PolicyError::Unsupported {
            engine: rten::NAME,
            other: ort::NAME,
            path,
            problem,
        }),
    }
}

fn opened_ort(
    path: &Path,
    provider: Provider,
    load: impl FnOnce() -> Result<ort::OrtEngine, String>,
) -> Result<Box<dyn Engine>, PolicyError> {
    match guarded(load) {
        Ok(engine) => Ok(Box::new(engine)),
        Err(problem) if provider != Provider::Cpu => Err(PolicyError::Provider {
            provider: provider.to_string(),
            problem,
        }),
        Err(problem) => Err(PolicyError::Unsupported {
            engine: ort::NAME,
            other: rten::NAME,
            path: path.to_owned(),
            problem,
        }),
    }
}

/// Turns a panic inside an engine into its error message: models come from strangers, and a
/// loader's bug must not take the robot's process down.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(format!("the engine broke on it ({words})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_names_parse_and_print() {
        for choice in [EngineChoice::Auto, EngineChoice::Rten, EngineChoice::Ort] {
            assert_eq!(choice.to_string().parse::<EngineChoice>().unwrap(), choice);
        }
        let message = "tpu".parse::<EngineChoice>().unwrap_err().to_string();
        assert_eq!(message, "unknown engine `tpu`; use auto, rten or ort");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("model.onnx");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), Path::new("/dev/zero"), folder.path()] {
            let error = read_limited(path, 10).unwrap_err().to_string();
            assert!(error.contains("no regular file"), "{error}");
        }
    }

    #[test]
    fn a_panicking_engine_becomes_an_error() {
        let result: Result<(), String> = guarded(|| panic!("index out of bounds"));
        assert_eq!(
            result.unwrap_err(),
            "the engine broke on it (index out of bounds)"
        );
    }
}
