//! From a checkpoint to a network that runs.

use super::act::{ActModel, Algebra, Network};
use super::model::Model;
use super::{Architecture, Checkpoint};
use crate::engine::EngineOptions;
use crate::error::PolicyError;
use crate::policy::Precision;
use std::sync::Arc;

/// Opens a checkpoint's network on an engine.
///
/// # Errors
/// When weights do not fit or the engine cannot be used; in less than single precision also when
/// that was not prepared or the engine does not have it.
pub fn load(
    checkpoint: &Arc<Checkpoint>,
    _precision: Precision,
    options: &EngineOptions,
) -> Result<Box<dyn Model>, PolicyError> {
    match &checkpoint.config.architecture {
        Architecture::Act(_) => {
            let network = Network::new(checkpoint)?;
            let (encoders, transformer) = network.build(Algebra::Folded)?;
            let model = ActModel::with_graphs(&network, encoders, transformer, options)?;
            Ok(Box::new(model))
        }
        other => Err(unsupported(checkpoint, other)),
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
    match &checkpoint.config.architecture {
        Architecture::Act(_) => {
            let network = Network::new(checkpoint)?;
            let model = ActModel::new(&network, Algebra::Plain, options)?;
            Ok(Box::new(model))
        }
        other => Err(unsupported(checkpoint, other)),
    }
}

fn unsupported(checkpoint: &Checkpoint, architecture: &Architecture) -> PolicyError {
    PolicyError::UnsupportedType {
        path: checkpoint.config.path.clone(),
        kind: architecture.name().to_owned(),
    }
}
