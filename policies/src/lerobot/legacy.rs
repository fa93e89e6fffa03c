//! Checkpoints before LeRobot 0.4: statistics are among the weights, and no file says what to do
//! with them.

use super::config::Config;
use super::features::{Feature, FeatureKind};
use super::normalise::{self, Mode, Scaling};
use super::processors::{Processors, Step};
use super::weights::{Weights, capped};
use crate::error::PolicyError;

/// What LeRobot adds to deviations, and takes for a distance of 0.
const EPS: f32 = 1e-8;
/// Where the statistics of observations are.
const INPUTS: [&str; 1] = ["normalize_inputs"];
/// Where the statistics of actions are: the first is what undid the normalisation.
const OUTPUTS: [&str; 2] = ["unnormalize_outputs", "normalize_targets"];

/// Whether a tensor holds statistics and no weights.
pub fn is_statistic(name: &str) -> bool {
    let prefix = name.split('.').next().unwrap_or(name);
    INPUTS.contains(&prefix) || OUTPUTS.contains(&prefix)
}

/// The steps that these checkpoints took without saying so.
pub(super) fn processors(config: &Config, weights: &Weights) -> Result<Processors, PolicyError> {
    let mut problems = Vec::new();
    let mut side = |features: &[Feature], prefixes: &[&str]| -> Vec<Scaling> {
        let used = features.iter().filter(|f| f.kind != FeatureKind::Language);
        used.filter_map(|feature| {
            scaling(feature, config.mode(feature), prefixes, weights).unwrap_or_else(|problem| {
                problems.push(problem);
                None
            })
        })
        .collect()
    };
    let pre = vec![
        Step::ToBatch,
        Step::Normalise(side(&config.inputs, &INPUTS)),
    ];
    let post = vec![Step::Unnormalise(side(&config.outputs, &OUTPUTS))];
    if problems.is_empty() {
        return Ok(Processors {
            pre,
            post,
            legacy: true,
        });
    }
    Err(PolicyError::Checkpoint {
        path: weights.path().to_owned(),
        problem: format!(
            "there is no policy_preprocessor.json beside it, and among its weights {}; fetch the policy again, with its \
             processor files",
            capped(problems).join("; ")
        ),
    })
}

fn scaling(
    feature: &Feature,
    mode: Mode,
    prefixes: &[&str],
    weights: &Weights,
) -> Result<Option<Scaling>, String> {
    if mode == Mode::Identity {
        return Ok(None);
    }
    let buffer = feature.name.replace('.', "_");
    for prefix in prefixes {
        let statistic = |name: &str| weights.get(&format!("{prefix}.buffer_{buffer}.{name}"));
        if let Some(scaling) = normalise::scaling(feature, mode, EPS, statistic)? {
            return Ok(Some(scaling));
        }
    }
    Err(format!(
        "there are no statistics of `{}` for {} (`{}.buffer_{buffer}`)",
        feature.name,
        mode.name(),
        prefixes[0]
    ))
}
