//! The seam between policies and whatever runs their networks.

use crate::engines::{onnx_scan, ort, rten};
use crate::error::PolicyError;
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
    /// ONNX Runtime when its library is found, else RTen. A library that the environment names must
    /// load.
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

    /// Where the bytes came from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A whole file of at most `limit` bytes; a larger one is an error before it fills the memory.
pub(crate) fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
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
    /// Opens the model with the chosen engine on `threads` threads (at least one).
    pub fn open(self, model: ModelBytes, threads: usize) -> Result<Box<dyn Engine>, PolicyError> {
        let threads = threads.max(1);
        match self {
            Self::Rten => open_rten(model, threads),
            Self::Ort => open_ort(&model, &ort::find_library()?, threads),
            Self::Auto => match ort::find_library() {
                Ok(library) => match open_ort(&model, &library, threads) {
                    // An explicit choice is obeyed or refused, never passed over.
                    Err(error @ PolicyError::OrtLibrary { .. }) if !ort::is_named() => {
                        tracing::warn!("{error}; going on with rten");
                        open_rten(model, threads)
                    }
                    other => other,
                },
                Err(PolicyError::NoOrtLibrary { .. }) => open_rten(model, threads),
                Err(other) => Err(other),
            },
        }
    }
}

fn open_rten(model: ModelBytes, threads: usize) -> Result<Box<dyn Engine>, PolicyError> {
    let ModelBytes { path, bytes } = model;
    let opened = guarded(|| rten::RtenEngine::load(bytes, threads));
    match opened {
        Ok(engine) => Ok(Box::new(engine)),
        Err(problem) => Err(PolicyError::Unsupported {
            engine: rten::NAME,
            other: ort::NAME,
            path,
            problem,
        }),
    }
}

fn open_ort(
    model: &ModelBytes,
    library: &Path,
    threads: usize,
) -> Result<Box<dyn Engine>, PolicyError> {
    let environment = ort::environment(library)?;
    let opened = guarded(|| ort::OrtEngine::load(&environment, &model.bytes, threads));
    match opened {
        Ok(engine) => Ok(Box::new(engine)),
        Err(problem) => Err(PolicyError::Unsupported {
            engine: ort::NAME,
            other: rten::NAME,
            path: model.path.clone(),
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

    #[test]
    fn a_panicking_engine_becomes_an_error() {
        let result: Result<(), String> = guarded(|| panic!("index out of bounds"));
        assert_eq!(
            result.unwrap_err(),
            "the engine broke on it (index out of bounds)"
        );
    }
}
