//! `policy.toml`: what a network takes and gives, in names and units. Models that say it themselves
//! need none: see [`Manifest::from_metadata`] and [`Manifest::read_package`].
//!
//! ```toml
//! name = "so101-pick"                # shown in messages
//! description = "Picks the cube and places it"
//! robot = "so101"                    # blueprint that it was made for
//! rate_hz = 30.0                     # steps of a chunk per second
//! chunk_size = 16                    # steps that the network gives
//! n_action_steps = 8                 # steps used before the network is asked again
//!
//! [model]
//! file = "model.onnx"                # relative to this file
//!
//! [[input]]                          # inputs with the same tensor are joined in file order
//! tensor = "observation"
//! kind = "joint_positions"           # joint_velocities, last_action, environment, command, imu, image, gait_phase
//! joints = ["shoulder_pan", "gripper"]       # left out: the model's own, from its ONNX metadata
//! units = "rad"                      # degrees; lerobot = degrees, and 0..100 for joints in `ranges`
//! ranges = { gripper = [-0.1745, 1.7453] }   # rad at 0 and at 100, only with lerobot
//! normalise = { mean = [0.0], std = [1.0] }  # or { min = …, max = … } to -1..1; one value or one each
//! clip = [-100.0, 100.0]             # after normalisation
//! shape = [1, 4]                     # whole tensor; only where the graph leaves axes open
//!
//! [[input]]
//! tensor = "observation"
//! kind = "environment"
//! names = ["cube.x", "cube.y"]       # bound by name, like joints
//!
//! [[input]]                          # fills its tensor alone; RGB scaled to 0..1 before `normalise`
//! tensor = "image"
//! kind = "image"
//! camera = "front"
//! layout = "chw"                     # or hwc
//!
//! [[input]]                          # a walking policy's clock
//! tensor = "observation"
//! kind = "gait_phase"
//! gait = { wave = "sin", period_s = 1.0, offsets = [0.0, 0.5] }   # a foot: share of the stride at the start
//!
//! [[state]]                          # a recurrent network's memory: zero at first and after a reset
//! input = "hidden_in"
//! output = "hidden_out"
//! shape = [1, 1, 16]                 # only where the graph leaves axes open
//!
//! [[output]]
//! tensor = "actions"                 # [1, chunk_size, joints]
//! kind = "joint_offsets"             # added to the observed positions; joint_targets: absolute
//! joints = ["shoulder_pan", "gripper"]
//! units = "rad"
//! clip = [-100.0, 100.0]             # on the network's raw values
//! scale = [0.25]                     # value = raw * scale + offset, or `normalise` as above, undone
//! offset = [0.0]
//! ```

use crate::engine::{ModelBytes, read_limited};
use crate::error::PolicyError;
use crate::features::Channel;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod gait;
mod isaac;
mod metadata;
mod package;
mod raw;
mod state;

pub use gait::{GaitPhase, Wave};
pub use metadata::Gains;
pub use package::PACKAGE_NAME;
pub use state::StateSpec;

/// Name of the file in a policy's directory.
pub const FILE_NAME: &str = "policy.toml";
/// The longest chunk that a policy may give, steps.
pub const MAX_CHUNK: usize = 4096;

/// A checked `policy.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Where it was read from; for messages and for the model's relative path.
    pub path: PathBuf,
    /// Name shown in messages.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Name of the blueprint that the policy was made for.
    pub robot: String,
    /// Steps of a chunk per second, Hz.
    pub rate_hz: f64,
    /// Steps that the network gives at a time.
    pub chunk_size: usize,
    /// Steps that are used before the network is asked again.
    pub n_action_steps: usize,
    /// The model file, relative to the manifest's folder.
    pub model_file: PathBuf,
    /// Parts of the network's inputs, in file order.
    pub inputs: Vec<InputSpec>,
    /// The network's outputs that move joints.
    pub outputs: Vec<OutputSpec>,
    /// Tensors that the network hands to itself.
    pub states: Vec<StateSpec>,
    /// Stiffness and damping of each joint that the policy was trained with, where the model says so.
    pub gains: Option<Gains>,
}

/// One part of an input tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Line in the manifest, for messages.
    pub line: usize,
    /// Name of the network's input.
    pub tensor: String,
    /// What fills it.
    pub source: Source,
    /// Applied after the conversion to the source's units.
    pub normalise: Normalise,
    /// Lower and upper bound after normalisation.
    pub clip: Option<[f64; 2]>,
    /// Shape of the whole tensor, where the graph leaves axes open.
    pub shape: Option<Vec<usize>>,
}

/// What fills a part of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Measured positions of the named joints; none are named until the model's metadata does it.
    JointPositions(Vec<String>, JointUnits),
    /// Measured velocities of the named joints, per second.
    JointVelocities(Vec<String>, JointUnits),
    /// The network's raw (clipped) output of the last step that was used; zeros at first.
    LastAction,
    /// Named values of a channel, SI units.
    Values(Channel, Vec<String>),
    /// The clock of a gait.
    GaitPhase(GaitPhase),
    /// An RGB image, scaled to 0..1 before normalisation (one value a channel of colour).
    Image {
        /// Name of the camera.
        camera: String,
        /// Order of the axes.
        layout: ImageLayout,
    },
}

/// Order of an image tensor's axes, after a leading batch axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageLayout {
    /// Colour, row, column (PyTorch).
    #[default]
    Chw,
    /// Row, column, colour.
    Hwc,
}

/// The unit of joint values, with the ranges of those that count 0..100.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JointUnits {
    /// The unit.
    pub unit: Unit,
    /// Positions in rad at 0 and at 100, by joint; only with [`Unit::Lerobot`].
    pub ranges: BTreeMap<String, [f64; 2]>,
}

/// A unit for joint values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Radians.
    #[default]
    Rad,
    /// Degrees.
    Degrees,
    /// LeRobot's normalised units: degrees, and 0..100 for the joints that have a range.
    Lerobot,
}

/// How numbers are normalised. Arrays hold one value for all, or one for each element.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Normalise {
    /// Not at all.
    #[default]
    Identity,
    /// `(x − mean) / std`.
    MeanStd {
        /// Means.
        mean: Vec<f64>,
        /// Standard deviations, all above zero.
        std: Vec<f64>,
    },
    /// `2 (x − min) / (max − min) − 1`.
    MinMax {
        /// Values that become −1.
        min: Vec<f64>,
        /// Values that become 1.
        max: Vec<f64>,
    },
}

impl Normalise {
    /// Gain and bias of element `i`: `normalised = x * gain + bias`.
    pub(crate) fn affine(&self, i: usize) -> (f64, f64) {
        let at = |values: &[f64]| values.get(i).or(values.first()).copied().unwrap_or(0.0);
        match self {
            Self::Identity => (1.0, 0.0),
            Self::MeanStd { mean, std } => (1.0 / at(std), -at(mean) / at(std)),
            Self::MinMax { min, max } => {
                let gain = 2.0 / (at(max) - at(min));
                (gain, -1.0 - at(min) * gain)
            }
        }
    }

    /// Lengths of the arrays that are not one value for all.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        let lengths = match self {
            Self::Identity => [1, 1],
            Self::MeanStd { mean, std } => [mean.len(), std.len()],
            Self::MinMax { min, max } => [min.len(), max.len()],
        };
        lengths.into_iter().filter(|&n| n != 1)
    }
}

/// One output tensor that moves joints.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Line in the manifest, for messages.
    pub line: usize,
    /// Name of the network's output.
    pub tensor: String,
    /// Whether values are added to the observed positions.
    pub relative: bool,
    /// The joints, in the order of the tensor's last axis.
    pub joints: Vec<String>,
    /// Unit of the values.
    pub units: JointUnits,
    /// Bounds on the network's raw values.
    pub clip: Option<[f64; 2]>,
    /// What the network's raw values are to physical ones.
    pub transform: OutputTransform,
}

/// From raw output to physical units.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputTransform {
    /// `raw * scale + offset`; one value for all joints, or one for each.
    ScaleOffset {
        /// Scales.
        scale: Vec<f64>,
        /// Offsets.
        offset: Vec<f64>,
    },
    /// The inverse of a normalisation.
    Undo(Normalise),
}

impl OutputTransform {
    /// Gain and bias of element `i`: `physical = raw * gain + bias`.
    pub(crate) fn affine(&self, i: usize) -> (f64, f64) {
        let at = |values: &[f64]| values.get(i).or(values.first()).copied().unwrap_or(0.0);
        match self {
            Self::ScaleOffset { scale, offset } => (at(scale), at(offset)),
            Self::Undo(normalise) => {
                let (gain, bias) = normalise.affine(i);
                (1.0 / gain, -bias / gain)
            }
        }
    }

    /// Lengths of the arrays that are not one value for all.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        match self {
            Self::ScaleOffset { scale, offset } => [scale.len(), offset.len()]
                .into_iter()
                .filter(|&n| n != 1)
                .collect(),
            Self::Undo(normalise) => normalise.lengths().collect(),
        }
    }
}

/// Largest manifest, bytes: normalisation of thousands of values.
const SIZE_LIMIT: u64 = 16 << 20;

/// Which file of a directory says what its policy is, most explicit first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// `policy.toml`.
    Manifest,
    /// `manifest.json`, a policy package.
    Package,
    /// The metadata of the only ONNX file.
    Metadata,
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Manifest => FILE_NAME,
            Self::Package => "policy package (manifest.json)",
            Self::Metadata => "ONNX file with metadata",
        })
    }
}

impl Manifest {
    /// What [`Manifest::read`] would read in a directory, if anything.
    pub fn find(directory: &Path) -> Option<Described> {
        if directory.join(FILE_NAME).exists() {
            return Some(Described::Manifest);
        }
        if directory.join(PACKAGE_NAME).exists() {
            return Some(Described::Package);
        }
        only_model(directory).map(|_| Described::Metadata)
    }

    /// Reads what a policy directory says about itself: `policy.toml`, else an Intel `manifest.json`
    /// policy package, else the metadata of the only ONNX file.
    pub fn read(directory: &Path) -> Result<Self, PolicyError> {
        let path = directory.join(FILE_NAME);
        if !path.exists() {
            if directory.join(PACKAGE_NAME).exists() {
                return Self::read_package(directory);
            }
            if let Some(model) = only_model(directory) {
                let card = ModelBytes::read(&model)?.card()?;
                return Self::from_metadata(&model, &card);
            }
        }
        let bytes = read_limited(&path, SIZE_LIMIT);
        match bytes.and_then(|b| String::from_utf8(b).map_err(std::io::Error::other)) {
            Ok(text) => Self::parse(&path, &text)?.with_joints(directory),
            Err(source) => Err(PolicyError::Read { path, source }),
        }
    }

    /// Asks the model for joints that the manifest leaves to it.
    fn with_joints(self, directory: &Path) -> Result<Self, PolicyError> {
        let unnamed = |input: &InputSpec| match &input.source {
            Source::JointPositions(joints, _) | Source::JointVelocities(joints, _) => {
                joints.is_empty()
            }
            _ => false,
        };
        let outputs = self.outputs.iter().any(|output| output.joints.is_empty());
        if !outputs && !self.inputs.iter().any(unnamed) {
            return Ok(self);
        }
        let model = directory.join(&self.model_file);
        let card = ModelBytes::read(&model)?.card()?;
        self.completed_by(&card)
    }

    /// Parses the text of a manifest; `path` is for messages and relative paths.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let line_of = |offset: usize| {
            1 + text
                .as_bytes()
                .iter()
                .take(offset)
                .filter(|&&b| b == b'\n')
                .count()
        };
        let at = |offset: usize, problem: String| PolicyError::Manifest {
            path: path.to_owned(),
            line: line_of(offset),
            problem,
        };
        let raw: raw::RawManifest = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            at(offset, error.message().trim().replace('\n', "; "))
        })?;
        raw.check(path, &line_of)
            .map_err(|(offset, problem)| at(offset, problem))
    }
}

/// The ONNX file of a folder that holds just one.
fn only_model(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut models = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "onnx"));
    models.next().filter(|_| models.next().is_none())
}
