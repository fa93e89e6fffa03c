//! A loaded policy: observation in, chunk of joint targets out.
//!
//! It runs in phases, which may be called at rates of their own:
//!
//! ```text
//! encode(camera, frame)   when a camera has a new image
//! observe(input)          at every step, for networks that look back
//! prefix()                when what was encoded has changed (nothing to do for most networks)
//! act(input, …)           newest state and noise to a chunk
//! ```
//!
//! [`Policy::infer`] is all of them in one.

use crate::engine::{Engine, EngineChoice, EngineOptions, Provider};
use crate::error::PolicyError;
use crate::features::{Channel, Features, PolicyInput};
use crate::graph::quantize::Recorder;
use crate::lerobot::Checkpoint;
use crate::lerobot::model::ActOptions;
use crate::manifest::{FILE_NAME, Manifest};
use checkpoint::CheckpointPolicy;
use network::NetworkPolicy;
use sinew_runtime::{Frame, JointState, JointTarget};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

mod checkpoint;
mod network;
mod pixels;
mod self_check;

/// What a network computes with: the value of `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats, as it was trained.
    #[default]
    Fp32,
    /// 16-bit floats: for GPUs, and for small networks of an ONNX file, whose weights (bfloat16) then fit into
    /// a processor's own cache. For a checkpoint on a processor they only save memory.
    Fp16,
    /// 8-bit integers where they lose little; needs what `sinew policy quantize` measured.
    Int8,
}

impl FromStr for Precision {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "fp32" => Ok(Self::Fp32),
            "fp16" => Ok(Self::Fp16),
            "int8" => Ok(Self::Int8),
            other => Err(PolicyError::UnknownPrecision(other.to_owned())),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        })
    }
}

/// How to load a policy.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Which engine runs the network.
    pub engine: EngineChoice,
    /// A model file to use instead of the manifest's.
    pub model_file: Option<PathBuf>,
    /// Threads that one inference may use. Zero: one for networks of `policy.toml`, which are
    /// small, and all cores for checkpoints.
    pub threads: usize,
    /// Where the engine computes.
    pub provider: Provider,
    /// What it computes with. Integers are only for checkpoints.
    pub precision: Precision,
    /// Whether a checkpoint's network is compared with its plain form on the first observation.
    pub self_check: bool,
    /// Steps of a chunk per second, where the policy does not say it or is to run at another rate.
    pub rate_hz: Option<f64>,
    /// Start of the noise of networks that need some.
    pub seed: u64,
    /// Notes the ranges of a checkpoint's activations while it runs in single precision: what
    /// `Precision::Int8` needs. Give it some hundred observations, then write the calibration.
    pub recorder: Option<Recorder>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            model_file: None,
            threads: 0,
            provider: Provider::Cpu,
            precision: Precision::Fp32,
            self_check: true,
            rate_hz: None,
            seed: 0,
            recorder: None,
        }
    }
}

impl LoadOptions {
    fn engine_options(&self, threads: usize) -> EngineOptions {
        EngineOptions {
            engine: self.engine,
            threads,
            provider: self.provider,
            ..EngineOptions::default()
        }
    }
}

impl From<EngineChoice> for LoadOptions {
    fn from(engine: EngineChoice) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }
}

/// A picture that a policy looks at, and the size that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureUse {
    /// Place of the camera among [`Features::cameras`].
    pub camera: usize,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
}

/// What is to be known of a policy before it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyInfo {
    /// Name shown in messages.
    pub name: String,
    /// One sentence for people; may be empty.
    pub description: String,
    /// `act`, `diffusion`, or `network` for an ONNX file with `policy.toml`.
    pub architecture: String,
    /// The blueprint that it was made for, if it says so.
    pub robot: Option<String>,
    /// Steps of a chunk per second, Hz.
    pub rate_hz: f64,
    /// Steps that the network gives at a time.
    pub chunk_size: usize,
    /// Steps that are used before the network is asked again.
    pub n_action_steps: usize,
    /// Observations of consecutive steps that it looks at, the newest included.
    pub n_obs_steps: usize,
    /// Coefficient of temporal ensembling, where the policy's author wants it.
    pub ensemble_coeff: Option<f64>,
}

/// A policy that is bound to a robot and ready to run.
#[derive(Debug)]
pub struct Policy {
    info: PolicyInfo,
    features: Features,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Network(Box<NetworkPolicy>),
    Checkpoint(Box<CheckpointPolicy>),
}

impl Policy {
    /// Loads a policy directory and binds it to what the robot offers: one with `policy.toml`, or
    /// a LeRobot checkpoint (`config.json`).
    ///
    /// Fails with [`PolicyError::OtherRobot`] when it was made for another robot than `features`
    /// are of, and with [`PolicyError::DoesNotFit`] when policy, network and robot contradict one
    /// another; that error lists every contradiction. A network that loads but cannot run shows
    /// here too, because one inference on zeros is made (for checkpoints by [`Policy::warmup`]).
    pub fn load(
        directory: &Path,
        options: impl Into<LoadOptions>,
        features: impl Into<Features>,
    ) -> Result<Self, PolicyError> {
        let (options, features) = (options.into(), features.into());
        let network = directory.join(FILE_NAME).is_file();
        if !network && Checkpoint::find(directory).is_some() {
            let policy = CheckpointPolicy::load(directory, &options, &features)?;
            return Ok(Self {
                info: policy.info().clone(),
                features,
                kind: Kind::Checkpoint(Box::new(policy)),
            });
        }
        let rate = options.rate_hz;
        let policy = NetworkPolicy::load(directory, options, &features)?;
        let mut policy = Self::of_network(policy, features);
        policy.info.rate_hz = rate.unwrap_or(policy.info.rate_hz);
        Ok(policy)
    }

    /// Binds an engine that is already open.
    pub fn with_engine(
        manifest: Manifest,
        engine: Box<dyn Engine>,
        features: impl Into<Features>,
    ) -> Result<Self, PolicyError> {
        let features = features.into();
        let policy = NetworkPolicy::new(manifest, engine, &features)?;
        Ok(Self::of_network(policy, features))
    }

    fn of_network(policy: NetworkPolicy, features: Features) -> Self {
        Self {
            info: policy.info(),
            features,
            kind: Kind::Network(Box::new(policy)),
        }
    }

    /// Name, rate and length of chunks.
    pub fn info(&self) -> &PolicyInfo {
        &self.info
    }

    /// What the policy was bound to; the order of every slice in [`PolicyInput`].
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The pictures that the network looks at, in the order of its inputs.
    pub fn pictures(&self) -> Vec<PictureUse> {
        match &self.kind {
            Kind::Network(policy) => policy.pictures(),
            Kind::Checkpoint(policy) => policy.pictures(),
        }
    }

    /// Coefficient of temporal ensembling, where the policy's author wants it.
    pub fn ensemble_coeff(&self) -> Option<f64> {
        self.info.ensemble_coeff
    }

    /// Name of the engine that runs the network.
    pub fn engine_name(&self) -> &'static str {
        match &self.kind {
            Kind::Network(policy) => policy.engine_name(),
            Kind::Checkpoint(policy) => policy.engine_name(),
        }
    }

    /// Time from one step of a chunk to the next, ns.
    pub fn period_ns(&self) -> u64 {
        (1e9 / self.info.rate_hz).round() as u64
    }

    /// Forgets the past: call before each episode.
    pub fn reset(&mut self) {
        match &mut self.kind {
            Kind::Network(policy) => policy.reset(),
            Kind::Checkpoint(policy) => policy.reset(),
        }
    }

    /// Starts the noise anew: the same seed and observations give the same chunks.
    pub fn seed(&mut self, seed: u64) {
        if let Kind::Checkpoint(policy) = &mut self.kind {
            policy.seed(seed);
        }
    }

    /// Runs the network once on zeros, so that the first real answer is as fast as all others. It
    /// forgets the past, like [`Policy::reset`].
    pub fn warmup(&mut self) -> Result<(), PolicyError> {
        self.reset();
        match &mut self.kind {
            Kind::Network(policy) => policy.run(),
            Kind::Checkpoint(policy) => policy.warmup(),
        }
    }

    /// Waits for the comparison with the plain network that the first chunk started, see
    /// [`LoadOptions::self_check`].
    pub fn finish_check(&mut self) {
        if let Kind::Checkpoint(policy) = &mut self.kind {
            policy.finish_check();
        }
    }

    /// Takes a new image of a camera (by its place in [`Features::cameras`]). Cameras that the policy
    /// does not look at cost nothing.
    pub fn encode(&mut self, camera: usize, frame: &Frame) -> Result<(), PolicyError> {
        match &mut self.kind {
            Kind::Network(policy) => policy.encode(&self.features, camera, frame),
            Kind::Checkpoint(policy) => policy.encode(&self.features, camera, frame),
        }
    }

    /// Takes the vectors of an observation, with the images that were encoded last, into the past
    /// of networks that look back. Others need it not: [`Policy::act`] takes its own.
    pub fn observe(&mut self, input: &PolicyInput<'_>) -> Result<(), PolicyError> {
        self.check_sizes(input, false)?;
        match &mut self.kind {
            Kind::Network(_) => Ok(()),
            Kind::Checkpoint(policy) => policy.observe(&self.features, input),
        }
    }

    /// Computes what depends on images (and later on language) alone.
    pub fn prefix(&mut self) -> Result<(), PolicyError> {
        match &mut self.kind {
            Kind::Network(_) => Ok(()),
            Kind::Checkpoint(policy) => policy.prefix(),
        }
    }

    /// Asks the network for its next chunk from the newest vectors and the images that were encoded
    /// last; images in `input` are not looked at. Otherwise as [`Policy::infer`].
    pub fn act(
        &mut self,
        input: &PolicyInput<'_>,
        options: &ActOptions<'_>,
        chunk: &mut Vec<JointTarget>,
    ) -> Result<(), PolicyError> {
        chunk.clear();
        self.check_sizes(input, false)?;
        match &mut self.kind {
            Kind::Network(policy) => policy.act(&self.features, input, chunk),
            Kind::Checkpoint(policy) => policy.act(&self.features, input, options, chunk),
        }
    }

    /// Asks the network for its next `chunk_size` steps, `1 / rate_hz` apart, the first one for
    /// now. Targets are in rad, blueprint order, counted from 1, issued at the time when the
    /// joints were measured.
    ///
    /// On any error `chunk` is empty: a NaN never reaches a joint. After the first call nothing
    /// outside the engine allocates.
    pub fn infer(
        &mut self,
        input: &PolicyInput<'_>,
        chunk: &mut Vec<JointTarget>,
    ) -> Result<(), PolicyError> {
        chunk.clear();
        self.check_sizes(input, true)?;
        for (camera, frame) in input.images.iter().enumerate() {
            self.encode(camera, frame)?;
        }
        self.prefix()?;
        self.act(input, &ActOptions::default(), chunk)
    }

    fn check_sizes(&self, input: &PolicyInput<'_>, images: bool) -> Result<(), PolicyError> {
        let sized = |what, got, expected| {
            if got == expected {
                return Ok(());
            }
            Err(PolicyError::InputSize {
                policy: self.info.name.clone(),
                what,
                got,
                expected,
            })
        };
        sized(
            "the joint state",
            input.joints.len,
            self.features.joints().len(),
        )?;
        for channel in Channel::ALL {
            sized(
                channel.name(),
                input.values(channel).len(),
                self.features.values(channel).len(),
            )?;
        }
        match images {
            true => sized(
                "the list of images",
                input.images.len(),
                self.features.cameras().len(),
            ),
            false => Ok(()),
        }
    }
}

/// Fills `chunk` with `steps` targets without positions, issued when the joints were measured.
fn start_chunk(chunk: &mut Vec<JointTarget>, steps: usize, joints: &JointState) {
    chunk.reserve(steps);
    for seq in 1..=steps as u64 {
        chunk.push(JointTarget {
            seq,
            issued_ns: joints.captured_ns,
            len: joints.len,
            ..JointTarget::default()
        });
    }
}

fn does_not_fit(policy: &str, path: &Path, problems: Vec<String>) -> PolicyError {
    PolicyError::DoesNotFit {
        policy: policy.to_owned(),
        path: path.to_owned(),
        problems,
    }
}
