//! Diffusion policy: actions found by taking noise away, step by step.
//!
//! Four graphs share the checkpoint's weights:
//!
//! ```text
//! encode    image ─► features                       at camera rate, one row of them an observation
//! condition observations ─► FiLM terms              once a chunk
//! steps     time codes ─► FiLM terms                once, when the policy is loaded
//! unet      sample, FiLM terms ─► prediction        once a denoising step
//! ```
//!
//! LeRobot concatenates the code of the time step and the observations, applies Mish, and gives the
//! result to a linear layer in each block. Mish works on each element, so the layer's output is a
//! sum: one part depends on the time step only and is computed at load for every step that is used,
//! the other on the observations only and is computed once a chunk. What each denoising step needs
//! is their sum.
//!
//! Read [`graph`](self) top down: `unet.rs` for the network, `convolution.rs` for how convolutions
//! over a few time steps are computed, `schedule.rs` for the sampler, `model.rs` for the order of it
//! all.

mod convolution;
mod encoder;
mod film;
mod history;
mod model;
mod noise;
mod quantise;
mod schedule;
mod unet;
mod whole;

pub use convolution::Lowering;
pub use model::DiffusionModel;
pub use noise::Normal;
pub use schedule::Schedule;
pub use whole::NOISE;

use super::act::Algebra;
use super::build::Parts;
use super::config::{Architecture, Config, DiffusionConfig};
use super::{Checkpoint, Feature};
use crate::error::PolicyError;
use crate::graph::{Graph, GraphBuilder, WeightSource};
use std::sync::Arc;

/// A diffusion policy of a checkpoint, described and not built yet.
#[derive(Debug, Clone)]
pub struct Network {
    checkpoint: Arc<Checkpoint>,
    config: DiffusionConfig,
    schedule: Schedule,
    n_obs_steps: usize,
    state: usize,
    environment: Option<usize>,
    action: usize,
    images: Vec<Feature>,
}

/// The graphs of a policy.
#[derive(Debug)]
pub struct Graphs {
    /// From an image to its features: one for each camera, or one for all.
    pub encoders: Vec<Graph>,
    /// From observations to FiLM terms; not there in [`Algebra::Plain`].
    pub condition: Option<Graph>,
    /// From time codes to FiLM terms; not there in [`Algebra::Plain`].
    pub steps: Option<Graph>,
    /// One prediction.
    pub unet: Graph,
}

impl Network {
    /// Takes the sizes from the configuration.
    ///
    /// # Errors
    /// When the checkpoint is of another architecture, or its schedule of noise is not usable.
    pub fn new(checkpoint: &Arc<Checkpoint>) -> Result<Self, PolicyError> {
        let config: &Config = &checkpoint.config;
        let parts = (&config.architecture, config.action(), config.state());
        let (Architecture::Diffusion(diffusion), Some(action), Some(state)) = parts else {
            return Err(PolicyError::UnsupportedType {
                path: config.path.clone(),
                kind: config.architecture.name().to_owned(),
            });
        };
        let schedule = Schedule::new(diffusion).map_err(|problem| PolicyError::Checkpoint {
            path: config.path.clone(),
            problem,
        })?;
        Ok(Self {
            config: diffusion.clone(),
            schedule,
            n_obs_steps: config.n_obs_steps,
            state: state.len(),
            environment: config.environment().map(Feature::len),
            action: action.len(),
            images: config.images().cloned().collect(),
            checkpoint: Arc::clone(checkpoint),
        })
    }

    /// The cameras' images, in the order in which the network takes them.
    pub fn images(&self) -> &[Feature] {
        &self.images
    }

    /// How actions are sampled.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// All graphs.
    ///
    /// # Errors
    /// With every tensor that is missing, has another shape, or holds NaN.
    pub fn build(&self, algebra: Algebra, lowering: Lowering) -> Result<Graphs, PolicyError> {
        let mut parts = Parts::new(&self.checkpoint);
        let encoders =
            (0..self.encoder_count()).map(|index| parts.add(self.encode(index, algebra)));
        let encoders: Vec<Option<Graph>> = encoders.collect();
        let folded = algebra == Algebra::Folded;
        let condition = folded.then(|| parts.add(self.condition()));
        let steps = folded.then(|| parts.add(self.steps()));
        let unet = parts.add(self.unet(algebra, lowering));
        parts.finish(&|_| false)?;
        let built = (|| {
            Some(Graphs {
                encoders: encoders.into_iter().collect::<Option<_>>()?,
                condition: match condition {
                    Some(graph) => Some(graph?),
                    None => None,
                },
                steps: match steps {
                    Some(graph) => Some(graph?),
                    None => None,
                },
                unet: unet?,
            })
        })();
        // A part that could not be built has failed `finish`.
        built.ok_or_else(|| self.unbuilt())
    }

    fn unbuilt(&self) -> PolicyError {
        PolicyError::Weights {
            path: self.checkpoint.weights.path().to_owned(),
            problems: vec!["the network could not be built".to_owned()],
        }
    }

    /// Which encoder camera `camera` uses.
    fn encoder_of(&self, camera: usize) -> usize {
        match self.config.use_separate_rgb_encoder_per_camera {
            true => camera,
            false => 0,
        }
    }

    fn encoder_count(&self) -> usize {
        match self.config.use_separate_rgb_encoder_per_camera {
            true => self.images.len(),
            false => self.images.len().min(1),
        }
    }

    /// Features of one image.
    fn features(&self) -> usize {
        2 * self.config.spatial_softmax_num_keypoints
    }

    /// Values of one observation: state, each camera's features, environment.
    fn observation(&self) -> usize {
        self.state + self.images.len() * self.features() + self.environment.unwrap_or(0)
    }

    /// Values that the network is conditioned on beside the time step.
    fn conditioning(&self) -> usize {
        self.n_obs_steps * self.observation()
    }

    fn builder(&self, name: &str) -> GraphBuilder {
        let checkpoint = Arc::clone(&self.checkpoint);
        GraphBuilder::new(name, checkpoint as Arc<dyn WeightSource>)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Architecture, Config};
    use super::DiffusionConfig;
    use std::path::Path;

    /// LeRobot's defaults.
    pub(super) fn config() -> DiffusionConfig {
        let text = br#"{"type": "diffusion", "resize_shape": null,
            "input_features": {"observation.state": {"type": "STATE", "shape": [2]},
                               "observation.environment_state": {"type": "ENV", "shape": [3]}},
            "output_features": {"action": {"type": "ACTION", "shape": [2]}}}"#;
        let config = Config::parse(Path::new("config.json"), text).unwrap();
        match config.architecture {
            Architecture::Diffusion(diffusion) => diffusion,
            other => panic!("{other:?}"),
        }
    }
}
