//! ACT: action chunking with transformers.
//!
//! Two graphs share the checkpoint's weights. `Network::encode` takes one camera's image to
//! tokens, whenever that camera has a new one; `Network::act` takes all tokens and the newest
//! state to a chunk. `Network::whole` is both in one, for a file that other programs run.
//!
//! The encoder of the variational training (`model.vae_encoder…`) is not part of inference: the
//! latent input is zero.

mod decoder;
mod graph;
mod model;
mod positions;

pub use model::ActModel;

use super::config::{ActConfig, Architecture, Config};
use super::{Checkpoint, Feature};
use crate::error::PolicyError;
use crate::graph::{Computed, Graph};
use crate::lerobot::build::Parts;
use std::sync::Arc;

/// How much of the network is computed when it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algebra {
    /// Batch normalisation is folded into convolutions, and whatever does not depend on the
    /// observation is computed once.
    #[default]
    Folded,
    /// As the network was trained, operator by operator: what the other way is checked against.
    Plain,
}

/// An ACT network of a checkpoint, described and not built yet.
#[derive(Debug, Clone)]
pub struct Network {
    checkpoint: Arc<Checkpoint>,
    act: ActConfig,
    state: Option<usize>,
    environment: Option<usize>,
    action: usize,
    images: Vec<Feature>,
}

impl Network {
    /// Takes the sizes from the configuration.
    ///
    /// # Errors
    /// When the checkpoint is of another architecture.
    pub fn new(checkpoint: &Arc<Checkpoint>) -> Result<Self, PolicyError> {
        let config: &Config = &checkpoint.config;
        let (Architecture::Act(act), Some(action)) = (&config.architecture, config.action()) else {
            return Err(PolicyError::UnsupportedType {
                path: config.path.clone(),
                kind: config.architecture.name().to_owned(),
            });
        };
        Ok(Self {
            act: act.clone(),
            state: config.state().map(Feature::len),
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

    /// All graphs: one encoder for each size of image, and the transformer.
    ///
    /// # Errors
    /// With every tensor that is missing, has another shape, or holds NaN.
    pub fn build(&self, algebra: Algebra) -> Result<(Vec<Graph>, Graph), PolicyError> {
        let mut parts = Parts::new(&self.checkpoint);
        let sizes = self.sizes();
        // The backbone is folded once, whatever sizes of images it is for.
        let computed = Computed::default();
        let encoders = sizes
            .iter()
            .map(|size| parts.add(self.encode(size, algebra, &computed)));
        let encoders: Vec<Option<Graph>> = encoders.collect();
        let act = parts.add(self.act(algebra));
        parts.finish(&|name| name.starts_with("model.vae_encoder"))?;
        match (encoders.into_iter().collect(), act) {
            (Some(encoders), Some(act)) => Ok((encoders, act)),
            // A part that could not be built has failed `finish`.
            _ => Err(self.unbuilt()),
        }
    }

    /// The whole policy as one graph, from pixels and joint values to actions.
    ///
    /// # Errors
    /// As for [`Network::build`].
    pub fn build_whole(&self) -> Result<Graph, PolicyError> {
        let mut parts = Parts::new(&self.checkpoint);
        let whole = parts.add(self.whole());
        parts.finish(&|name| name.starts_with("model.vae_encoder"))?;
        whole.ok_or_else(|| self.unbuilt())
    }

    /// The different shapes of images, in the order in which they first appear.
    pub(crate) fn sizes(&self) -> Vec<Vec<usize>> {
        let mut sizes: Vec<Vec<usize>> = Vec::new();
        for image in &self.images {
            if !sizes.contains(&image.shape) {
                sizes.push(image.shape.clone());
            }
        }
        sizes
    }

    fn unbuilt(&self) -> PolicyError {
        PolicyError::Weights {
            path: self.checkpoint.weights.path().to_owned(),
            problems: vec!["the network could not be built".to_owned()],
        }
    }
}
