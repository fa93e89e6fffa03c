//! From a checkpoint to a network that runs.

use super::act::{ActModel, Algebra, Network};
use super::diffusion::{self, DiffusionModel, Lowering};
use super::model::Model;
use super::{Architecture, Checkpoint, Weights};
use crate::engine::{Engine, EngineOptions};
use crate::error::PolicyError;
use crate::graph::Graph;
use crate::graph::half::to_half;
use crate::graph::quantize::{
    Calibration, Recorder, RecordingEngine, WeightRange, observed, quantize, without_range,
};
use crate::policy::Precision;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ranges of a checkpoint's activations, beside its `config.json`.
pub const CALIBRATION_FILE: &str = "sinew-int8.json";
/// Its largest size, bytes.
const CALIBRATION_LIMIT: u64 = 16 << 20;

/// How graphs become engines: precision, and whether ranges are recorded.
#[derive(Debug, Default, Clone)]
pub struct Opening {
    /// How the engine runs them.
    pub engine: EngineOptions,
    /// What they compute with.
    pub precision: Precision,
    /// Ranges, for [`Precision::Int8`].
    pub calibration: Option<Arc<Calibration>>,
    /// Where ranges are noted. Then the network runs in floats.
    pub recorder: Option<Recorder>,
}

impl Opening {
    /// Opens a graph.
    ///
    /// # Errors
    /// When the engine does not take it.
    pub fn open(&self, graph: Graph) -> Result<Box<dyn Engine>, PolicyError> {
        if let Some(recorder) = &self.recorder {
            let (watched, names) = observed(&graph);
            let engine = self.engine.open(watched)?;
            let recorder = Arc::clone(recorder);
            return Ok(Box::new(RecordingEngine::new(
                engine,
                graph.name(),
                names,
                recorder,
            )));
        }
        match (self.precision, &self.calibration) {
            (Precision::Int8, None) => Err(no_integers(&graph, "it was given no ranges")),
            (Precision::Int8, Some(calibration)) => {
                let (needed, missing) = without_range(&graph, calibration);
                if missing > 0 {
                    let problem = format!("{missing} of {needed} ranges are missing");
                    return Err(no_integers(&graph, &problem));
                }
                let integers = quantize(&graph, calibration, WeightRange::of_this_machine());
                drop(graph);
                let options = EngineOptions {
                    prepack: true,
                    ..self.engine
                };
                options.open(integers)
            }
            (Precision::Fp16, _) => self.engine.open(to_half(&graph)),
            _ => self.engine.open(graph),
        }
    }
}

/// Never floats under the name of integers.
fn no_integers(graph: &Graph, problem: &str) -> PolicyError {
    PolicyError::Checkpoint {
        path: PathBuf::from(graph.name()),
        problem: format!(
            "{problem} in {CALIBRATION_FILE}, which int8 needs; run `sinew policy quantize` again"
        ),
    }
}

impl Calibration {
    /// Reads the ranges that were measured with the weights of `checkpoint`.
    ///
    /// # Errors
    /// Those of [`Calibration::read`], and when they were measured with other weights.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, PolicyError> {
        let found = Self::read(&checkpoint.dir)?;
        if found.weights == checkpoint.weights.fingerprint() {
            return Ok(found);
        }
        Err(PolicyError::Checkpoint {
            path: checkpoint.dir.join(CALIBRATION_FILE),
            problem: "its ranges were measured with other weights than those beside it; \
                      run `sinew policy quantize` again"
                .to_owned(),
        })
    }

    /// Reads the ranges of the checkpoint in `dir`.
    ///
    /// # Errors
    /// When there are none, with what makes them, or when the file is damaged.
    pub fn read(dir: &Path) -> Result<Self, PolicyError> {
        let path = dir.join(CALIBRATION_FILE);
        let bad = |problem: String| PolicyError::Checkpoint {
            path: path.clone(),
            problem,
        };
        if !path.exists() {
            return Err(bad(
                "it is missing; `sinew policy quantize` measures the ranges that int8 needs"
                    .to_owned(),
            ));
        }
        let bytes = crate::engine::read_limited(&path, CALIBRATION_LIMIT);
        let bytes = bytes.map_err(|source| PolicyError::Read {
            path: path.clone(),
            source,
        })?;
        let found: Self = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let mut ranges = found.ranges.values().flat_map(|values| values.iter());
        let wrong = ranges.find(|(_, [low, high])| !(low <= high && (high - low).is_finite()));
        match wrong {
            Some((name, range)) => Err(bad(format!(
                "the range of `{name}` is {range:?}; run `sinew policy quantize` again"
            ))),
            None => Ok(found),
        }
    }

    /// Writes the ranges beside the checkpoint in `dir`, as those of its weights.
    ///
    /// # Errors
    /// When the weights cannot be read or the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), PolicyError> {
        let path = dir.join(CALIBRATION_FILE);
        let named = Self {
            weights: Weights::open(dir)?.fingerprint(),
            ..self.clone()
        };
        let written = serde_json::to_vec(&named)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&path, text));
        written.map_err(|source| PolicyError::Write { path, source })
    }
}

/// Opens a checkpoint's network on an engine.
///
/// # Errors
/// When weights do not fit or the engine cannot be used; in less than single precision also when
/// that was not prepared.
pub fn load(
    checkpoint: &Arc<Checkpoint>,
    opening: &Opening,
) -> Result<Box<dyn Model>, PolicyError> {
    match &checkpoint.config.architecture {
        Architecture::Act(_) => {
            let mut opening = opening.clone();
            if opening.precision == Precision::Int8 && opening.calibration.is_none() {
                opening.calibration = Some(Arc::new(Calibration::of(checkpoint)?));
            }
            let network = Network::new(checkpoint)?;
            Ok(Box::new(ActModel::new(
                &network,
                Algebra::Folded,
                &opening,
            )?))
        }
        Architecture::Diffusion(_) => {
            let network = diffusion::Network::new(checkpoint)?;
            let lowering = match opening.precision {
                Precision::Int8 => Lowering::Int8,
                _ => Lowering::default(),
            };
            let mut opening = opening.clone();
            opening.engine.prepack = lowering != Lowering::Convolution;
            if opening.precision == Precision::Int8 {
                // The lowering makes integers of the weights; what is left computes in floats.
                opening.precision = Precision::Fp32;
            }
            let model = DiffusionModel::new(&network, Algebra::Folded, lowering, &opening)?;
            Ok(Box::new(model))
        }
    }
}

/// Opens the same network without anything computed beforehand: what the other is checked against.
///
/// # Errors
/// When weights do not fit or the engine cannot be used.
pub fn load_reference(
    checkpoint: &Arc<Checkpoint>,
    options: &EngineOptions,
) -> Result<Box<dyn Model>, PolicyError> {
    let opening = Opening {
        engine: *options,
        ..Opening::default()
    };
    match &checkpoint.config.architecture {
        Architecture::Act(_) => {
            let network = Network::new(checkpoint)?;
            Ok(Box::new(ActModel::new(&network, Algebra::Plain, &opening)?))
        }
        Architecture::Diffusion(_) => {
            let network = diffusion::Network::new(checkpoint)?;
            let lowering = Lowering::default();
            let model = DiffusionModel::new(&network, Algebra::Plain, lowering, &opening)?;
            Ok(Box::new(model))
        }
    }
}
