//! What happens to an observation before the network and to its answer after it:
//! `policy_preprocessor.json`, `policy_postprocessor.json` and the statistics that they name.

use super::config::{Config, Of, modes_by_kind};
use super::features::{self, ACTION, Feature, FeatureKind};
use super::header::shortened;
use super::json::{self, Fields, texts};
use super::legacy;
use super::normalise::{self, Mode, Scaling};
use super::weights::Weights;
use crate::error::PolicyError;
use serde_json::{Map, Value};
use std::path::Path;

mod pipeline;

/// The file with what happens to an observation.
pub const PRE_FILE: &str = "policy_preprocessor.json";
/// The file with what happens to the network's answer.
pub const POST_FILE: &str = "policy_postprocessor.json";
/// Most steps of a processor.
const STEP_LIMIT: usize = 64;

/// One step, as the file has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Observations get other names: from, to.
    Rename(Vec<(String, String)>),
    /// A batch axis is added. Engines do that.
    ToBatch,
    /// Values move to a device. Engines do that.
    Device {
        /// For example `cuda`.
        device: String,
        /// Precision of the floats, if they are converted.
        float_dtype: Option<String>,
    },
    /// Values are normalised; features that are not listed stay as they are.
    Normalise(Vec<Scaling>),
    /// The normalisation of the network's answer is undone.
    Unnormalise(Vec<Scaling>),
    /// The network works on actions that are relative to the state. For inference it says which.
    RelativeActions(Relative),
    /// The state is added to the network's answer.
    AbsoluteActions {
        /// Whether it happens.
        enabled: bool,
    },
}

impl Step {
    /// LeRobot's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rename(_) => "rename_observations_processor",
            Self::ToBatch => "to_batch_processor",
            Self::Device { .. } => "device_processor",
            Self::Normalise(_) => "normalizer_processor",
            Self::Unnormalise(_) => "unnormalizer_processor",
            Self::RelativeActions(_) => "relative_actions_processor",
            Self::AbsoluteActions { .. } => "absolute_actions_processor",
        }
    }
}

/// Which values of an action are relative to the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relative {
    /// Whether any is.
    pub enabled: bool,
    /// Parts of names; actions with such a name are absolute.
    pub exclude_joints: Vec<String>,
    /// Names of the action's values, if the file has them.
    pub action_names: Option<Vec<String>>,
}

impl Relative {
    /// For each of `size` values whether it is relative.
    pub fn mask(&self, size: usize) -> Vec<bool> {
        let excluded: Vec<String> = self
            .exclude_joints
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| name.to_lowercase())
            .collect();
        let names = self.action_names.as_deref().unwrap_or_default();
        let relative = |i: usize| {
            let Some(name) = names.get(i) else {
                return self.enabled;
            };
            let name = name.to_lowercase();
            self.enabled && !excluded.iter().any(|part| name.contains(part.as_str()))
        };
        (0..size).map(relative).collect()
    }
}

/// Both pipelines, checked: no step is unknown, and their order means what it says here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Processors {
    /// Before the network, in order.
    pub pre: Vec<Step>,
    /// After the network, in order.
    pub post: Vec<Step>,
    /// Whether the statistics were among the weights (before LeRobot 0.4).
    pub legacy: bool,
}

impl Processors {
    /// Reads the processors of the checkpoint in `dir`. `config` and `weights` stand in for the files
    /// that checkpoints before LeRobot 0.4 do not have.
    ///
    /// # Errors
    /// When a file is damaged, a step is unknown, or statistics are missing or do not fit.
    pub fn read(dir: &Path, config: &Config, weights: &Weights) -> Result<Self, PolicyError> {
        let (pre, post) = (dir.join(PRE_FILE), dir.join(POST_FILE));
        match (pre.exists(), post.exists()) {
            (true, true) => {
                let read = |path: &Path| -> Result<Vec<Step>, PolicyError> {
                    let fields = json::read_object(path, json::FILE_LIMIT)?;
                    pipeline::steps(path, fields, &|file| Weights::open_file(&dir.join(file)))
                };
                let processors = Self {
                    pre: read(&pre)?,
                    post: read(&post)?,
                    legacy: false,
                };
                processors.check(&pre, &post, config)?;
                Ok(processors)
            }
            (false, false) => legacy::processors(config, weights),
            (has_pre, _) => Err(PolicyError::Checkpoint {
                path: dir.to_owned(),
                problem: format!(
                    "{} is there and {} is missing; fetch the policy again",
                    if has_pre { PRE_FILE } else { POST_FILE },
                    if has_pre { POST_FILE } else { PRE_FILE }
                ),
            }),
        }
    }

    /// Parses the text of a processor file without the statistics that it names: what fuzzing and a
    /// look at a file need. `path` is for messages.
    ///
    /// # Errors
    /// When it is no processor, or a step is unknown.
    pub fn parse_steps(path: &Path, text: &[u8]) -> Result<Vec<Step>, PolicyError> {
        pipeline::steps(path, json::parse_object(path, text)?, &|_| {
            Ok(Weights::none())
        })
    }

    /// How the policy's input `name` is normalised; `None`: not at all.
    pub fn input(&self, name: &str) -> Option<&Scaling> {
        let mut all = self.pre.iter().filter_map(|step| match step {
            Step::Normalise(scalings) => Some(scalings),
            _ => None,
        });
        all.find_map(|scalings| scalings.iter().find(|s| s.feature.name == name))
    }

    /// How the network's answer becomes an action; `None`: it is one.
    pub fn action(&self) -> Option<&Scaling> {
        let mut all = self.post.iter().filter_map(|step| match step {
            Step::Unnormalise(scalings) => Some(scalings),
            _ => None,
        });
        all.find_map(|scalings| scalings.iter().find(|s| s.feature.name == ACTION))
    }

    /// The name under which a robot offers what the policy calls `name`, after the file's renaming.
    pub fn robot_name<'a>(&'a self, name: &'a str) -> &'a str {
        let renames = self.pre.iter().filter_map(|step| match step {
            Step::Rename(map) => Some(map),
            _ => None,
        });
        renames.rev().fold(name, |name, map| {
            let mut found = map.iter().filter(|(_, to)| to == name);
            found.next().map_or(name, |(from, _)| from)
        })
    }

    /// For each of the action's `size` values whether the state is to be added to it.
    pub fn relative(&self, size: usize) -> Vec<bool> {
        let enabled = |step: &Step| matches!(step, Step::AbsoluteActions { enabled: true });
        let relative = self.pre.iter().find_map(|step| match step {
            Step::RelativeActions(relative) => Some(relative),
            _ => None,
        });
        match relative {
            Some(relative) if self.post.iter().any(enabled) => Relative {
                enabled: true,
                ..relative.clone()
            }
            .mask(size),
            _ => vec![false; size],
        }
    }

    /// Refuses an order that would mean something else than the methods above say.
    fn check(&self, pre: &Path, post: &Path, config: &Config) -> Result<(), PolicyError> {
        let bad = |path: &Path, problem: String| {
            Err(PolicyError::Checkpoint {
                path: path.to_owned(),
                problem,
            })
        };
        let place = |steps: &[Step], is: fn(&Step) -> bool| steps.iter().position(is);
        let count = |steps: &[Step], is: fn(&Step) -> bool| steps.iter().filter(|s| is(s)).count();
        let normalises: fn(&Step) -> bool = |s| matches!(s, Step::Normalise(_));
        let undoes: fn(&Step) -> bool = |s| matches!(s, Step::Unnormalise(_));
        let relative: fn(&Step) -> bool = |s| matches!(s, Step::RelativeActions(_));
        let absolute: fn(&Step) -> bool = |s| matches!(s, Step::AbsoluteActions { enabled: true });
        if count(&self.pre, undoes) + count(&self.post, normalises) > 0 {
            return bad(
                pre,
                "normalisation is undone before the network, or done after it".to_owned(),
            );
        }
        if count(&self.pre, normalises) > 1 || count(&self.post, undoes) > 1 {
            return bad(
                pre,
                "there is more than one step of normalisation on one side".to_owned(),
            );
        }
        if count(&self.pre, relative) > 1 || count(&self.post, absolute) > 1 {
            return bad(
                pre,
                "there is more than one step of relative actions on one side".to_owned(),
            );
        }
        if let Some(adds) = place(&self.post, absolute) {
            let Some(relative) = place(&self.pre, relative) else {
                return bad(
                    post,
                    "`absolute_actions_processor` has no `relative_actions_processor` to belong to"
                        .to_owned(),
                );
            };
            let after = place(&self.post, undoes).is_none_or(|undoes| undoes < adds);
            let before = place(&self.pre, normalises).is_none_or(|done| relative < done);
            if !(after && before) {
                return bad(
                    post,
                    "the state is added to actions while one of them is normalised".to_owned(),
                );
            }
        }
        for feature in config.inputs.iter().chain(&config.outputs) {
            let scaling = match feature.kind {
                FeatureKind::Action => self.action(),
                _ => self.input(&feature.name),
            };
            let Some(scaling) = scaling else { continue };
            if scaling.channels() != feature.channels() {
                return bad(
                    pre,
                    format!(
                        "`{}` is {:?} here and {:?} in config.json",
                        shortened(&feature.name),
                        scaling.feature.shape,
                        feature.shape
                    ),
                );
            }
        }
        Ok(())
    }
}
