//! Everything that can go wrong between a policy directory and a joint target.

use std::path::PathBuf;
use thiserror::Error;

/// Why a policy could not be loaded or run. Messages say what, where and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file of the policy could not be read.
    #[error("cannot read {}: {source}; check the path, or fetch the policy again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file beside the policy could not be written.
    #[error("cannot write {}: {source}; is there room, and may you write there?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// `policy.toml` is not valid.
    #[error("{}:{line}: {problem}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with which key, and what is allowed.
        problem: String,
    },
    /// The manifest, the network and the robot contradict one another. Everything that does not
    /// fit is listed at once.
    #[error(
        "policy `{policy}` does not fit: {}; edit {} or choose the robot and model that it was made for",
        listed(problems),
        path.display()
    )]
    DoesNotFit {
        /// Name of the policy.
        policy: String,
        /// Its manifest.
        path: PathBuf,
        /// One clause for each thing that does not fit.
        problems: Vec<String>,
    },
    /// The policy was made for another robot.
    #[error(
        "policy `{policy}` was made for the robot `{made_for}`, and this is `{robot}`; choose another --policy or \
         --robot, or correct `robot` in {} if it fits both",
        path.display()
    )]
    OtherRobot {
        /// Name of the policy.
        policy: String,
        /// Its manifest.
        path: PathBuf,
        /// The blueprint that the manifest names.
        made_for: String,
        /// The blueprint of this robot.
        robot: String,
    },
    /// A file of a LeRobot checkpoint is damaged, hostile, or contradicts another one.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file, or the folder where one is missing.
        path: PathBuf,
        /// What is wrong, where in the file, and what to do.
        problem: String,
    },
    /// The weights do not fit the configuration. Everything is listed at once.
    #[error(
        "the weights in {} do not fit: {}; fetch the policy again, or take the weights and the config.json of one training",
        path.display(),
        listed(problems)
    )]
    Weights {
        /// The file of the weights.
        path: PathBuf,
        /// One clause for each tensor.
        problems: Vec<String>,
    },
    /// The weights are a Python pickle.
    #[error(
        "{} holds its weights as a Python pickle ({found}), which runs any code that its maker put into it, so it is not \
         opened; load it with the program that wrote it, and save it again as model.safetensors",
        path.display()
    )]
    OnlyPickle {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The pickle's name.
        found: String,
    },
    /// A checkpoint of an architecture that is not written yet.
    #[error("{}: policies of type `{kind}` are not supported yet; act and diffusion are", path.display())]
    UnsupportedType {
        /// The checkpoint's config.json.
        path: PathBuf,
        /// The type that it names.
        kind: String,
    },
    /// A processor has a step that is not known.
    #[error(
        "{}: step {step}, `{name}`, is not known, and without it the policy would get other numbers than in its training; \
         use a newer version of this program",
        path.display()
    )]
    UnknownStep {
        /// The processor's file.
        path: PathBuf,
        /// Number of the step, from 0.
        step: usize,
        /// Its name in the file.
        name: String,
    },
    /// The model file is damaged, hostile, or not ONNX.
    #[error("{} is not a usable ONNX model: {problem}; export or fetch it again", path.display())]
    Model {
        /// The model file.
        path: PathBuf,
        /// What is wrong, where in the file.
        problem: String,
    },
    /// An engine cannot take this model.
    #[error(
        "engine {engine} cannot load {}: {problem}; try `--engine {other}`",
        path.display()
    )]
    Unsupported {
        /// The engine's name.
        engine: &'static str,
        /// The other engine's name.
        other: &'static str,
        /// The model file.
        path: PathBuf,
        /// The engine's own words.
        problem: String,
    },
    /// ONNX Runtime was asked for but there is no library.
    #[error(
        "engine ort needs the ONNX Runtime library, and none was found (looked at {}); run `scripts/setup`, or set \
         SINEW_ORT_LIB to a libonnxruntime.so of version 1.22 or newer, or use `--engine rten`",
        looked.join(", ")
    )]
    NoOrtLibrary {
        /// The places that were looked at.
        looked: Vec<String>,
    },
    /// The ONNX Runtime library is there but unusable.
    #[error(
        "cannot use the ONNX Runtime library {}: {problem}; run `scripts/setup` again, set SINEW_ORT_LIB to another \
         libonnxruntime.so, or use `--engine rten`",
        path.display()
    )]
    OrtLibrary {
        /// The library.
        path: PathBuf,
        /// The loader's own words.
        problem: String,
    },
    /// `--provider` names no provider.
    #[error("unknown provider `{0}`; use cpu, cuda or tensorrt")]
    UnknownProvider(String),
    /// `--precision` names no precision.
    #[error("unknown precision `{0}`; use fp32, fp16 or int8")]
    UnknownPrecision(String),
    /// ONNX Runtime cannot compute where it was told to.
    #[error(
        "provider {provider} cannot be used: {problem}; it needs an NVIDIA GPU, an onnxruntime library that was built \
         for it (set SINEW_ORT_LIB) and the CUDA libraries that this one wants; or use `--provider cpu`"
    )]
    Provider {
        /// The provider's name.
        provider: String,
        /// The engine's own words.
        problem: String,
    },
    /// A network could not be built.
    #[error("the network cannot be built: {0}")]
    Graph(#[from] crate::graph::GraphError),
    /// `--engine` names no engine.
    #[error("unknown engine `{0}`; use auto, rten or ort")]
    UnknownEngine(String),
    /// The network failed while running.
    #[error(
        "policy `{policy}`: engine {engine} failed: {problem}; the run ends and the arm is left as `on_exit` of its \
         robot.toml says; try another --engine, or export the model again"
    )]
    Run {
        /// Name of the policy.
        policy: String,
        /// The engine's name.
        engine: &'static str,
        /// The engine's own words.
        problem: String,
    },
    /// An observation does not have the agreed size.
    #[error(
        "policy `{policy}`: {what} has {got} values where {expected} were agreed on at load; pass all of them, in order"
    )]
    InputSize {
        /// Name of the policy.
        policy: String,
        /// Which part of the observation.
        what: &'static str,
        /// Values given.
        got: usize,
        /// Values expected.
        expected: usize,
    },
    /// A camera image does not have the size that the network takes.
    #[error(
        "policy `{policy}`: camera `{camera}` gives {got_width}×{got_height} where the network takes {width}×{height}; \
         set the camera to that size"
    )]
    ImageSize {
        /// Name of the policy.
        policy: String,
        /// Name of the camera.
        camera: String,
        /// Width given, pixels.
        got_width: u32,
        /// Height given, pixels.
        got_height: u32,
        /// Width expected, pixels.
        width: usize,
        /// Height expected, pixels.
        height: usize,
    },
    /// A NaN or an infinity reached the network's input.
    #[error(
        "policy `{policy}`: {what} is not a finite number; check the sensor or simulator that it comes from"
    )]
    InputNotFinite {
        /// Name of the policy.
        policy: String,
        /// Which part of the observation, by name.
        what: String,
    },
    /// The network answered NaN or an infinity. Nothing of that chunk is used.
    #[error(
        "policy `{policy}`: the network's value for joint `{joint}` at step {step} is not a finite number; the whole \
         chunk was thrown away; check the normalisation in policy.toml and the model's training"
    )]
    OutputNotFinite {
        /// Name of the policy.
        policy: String,
        /// The joint.
        joint: String,
        /// Step in the chunk, from 0.
        step: usize,
    },
}

fn listed(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        many => {
            let numbered: Vec<String> = many
                .iter()
                .enumerate()
                .map(|(i, p)| format!("({}) {p}", i + 1))
                .collect();
            numbered.join("; ")
        }
    }
}
