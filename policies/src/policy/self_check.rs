//! The network in use beside the same network computed plainly, once, on the first observation.

use crate::engine::EngineOptions;
use crate::error::PolicyError;
use crate::lerobot::model::{ActOptions, Model};
use crate::lerobot::{Checkpoint, load_reference};
use std::sync::Arc;

/// How far both may be apart, as a share of the chunk's range: what the order of sums makes of
/// single precision in deep networks, with room.
const TOLERANCE: f32 = 1e-4;

/// A check that is still to be made.
#[derive(Debug)]
pub(super) struct SelfCheck {
    checkpoint: Arc<Checkpoint>,
    options: EngineOptions,
}

impl SelfCheck {
    pub(super) fn new(checkpoint: &Arc<Checkpoint>, options: &EngineOptions) -> Self {
        Self {
            checkpoint: Arc::clone(checkpoint),
            options: EngineOptions {
                optimise: false,
                ..*options
            },
        }
    }

    /// Computes the chunk of `model` again, on the observation that it has. Returns the reference
    /// model when they differ, with its actions in place of the others.
    pub(super) fn run(
        self,
        model: &mut dyn Model,
        [state, environment]: [&[f32]; 2],
        options: &ActOptions<'_>,
        actions: &mut [f32],
    ) -> Option<Box<dyn Model>> {
        let compared = self.compare(model, [state, environment], options, actions);
        let name = self.checkpoint.name();
        match compared {
            Ok((apart, _)) if apart <= TOLERANCE => {
                tracing::debug!(
                    "policy `{name}`: the plain network agrees to {apart:e} of the range"
                );
                None
            }
            Ok((apart, reference)) => {
                tracing::warn!(
                    "policy `{name}`: the optimised network is {apart:e} of the range away from the plain one on the \
                     first observation; going on with the plain one, which is slower. Please report it"
                );
                Some(reference)
            }
            Err(problem) => {
                tracing::warn!(
                    "policy `{name}`: could not be checked against the plain network: {problem}"
                );
                None
            }
        }
    }

    fn compare(
        &self,
        model: &mut dyn Model,
        [state, environment]: [&[f32]; 2],
        options: &ActOptions<'_>,
        actions: &mut [f32],
    ) -> Result<(f32, Box<dyn Model>), PolicyError> {
        let failed = |problem| PolicyError::Run {
            policy: self.checkpoint.name(),
            engine: "reference",
            problem,
        };
        let mut reference = load_reference(&self.checkpoint, &self.options)?;
        for index in 0..model.images() {
            reference
                .image_mut(index)
                .copy_from_slice(model.image_mut(index));
            reference.encode(index).map_err(failed)?;
        }
        reference.observe(state, environment);
        reference.prefix().map_err(failed)?;
        let found = model.probe(options).map_err(failed)?;
        let plain = reference.probe(options).map_err(failed)?;
        let apart = distance(found, plain);
        if apart.is_nan() || apart > TOLERANCE {
            actions.copy_from_slice(reference.act(options).map_err(failed)?);
        }
        Ok((apart, reference))
    }
}

/// Largest difference as a share of the range; NaN and infinity count as infinitely far.
fn distance(found: &[f32], wanted: &[f32]) -> f32 {
    let low = wanted.iter().copied().fold(f32::INFINITY, f32::min);
    let high = wanted.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let differences = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(
        0.0,
        |a: f32, b| if b.is_nan() { f32::INFINITY } else { a.max(b) },
    );
    if largest == 0.0 {
        0.0
    } else {
        largest / (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn nan_is_far_from_everything() {
        assert_eq!(distance(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert_eq!(distance(&[1.0, 2.5], &[1.0, 2.0]), 0.5);
        assert_eq!(distance(&[1.0, f32::NAN], &[1.0, 2.0]), f32::INFINITY);
    }
}
