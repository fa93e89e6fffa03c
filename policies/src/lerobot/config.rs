//! `config.json`: which network a checkpoint is, and what goes in and out.
//!
//! Three generations are read. Since LeRobot 0.6 diffusion policies have `resize_shape` and other
//! defaults; since 2025 features carry their kind; before, `input_shapes`, `output_shapes` and a
//! normalisation mode a feature said the same, and nothing said the type.

use super::features::{self, ACTION, ENVIRONMENT, Feature, FeatureKind, STATE};
use super::header::shortened;
use super::json::{self, Fields};
use super::normalise::Mode;
use crate::error::PolicyError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

mod act;
mod diffusion;

pub use act::{ActConfig, Activation};
pub use diffusion::{BetaSchedule, DiffusionConfig, Prediction, Scheduler};

/// The file in a checkpoint's folder.
pub const CONFIG_FILE: &str = "config.json";

/// Fields that change nothing about inference.
const IGNORED: [&str; 13] = [
    "device",
    "use_amp",
    "push_to_hub",
    "repo_id",
    "private",
    "tags",
    "license",
    "pretrained_path",
    "pretrained_revision",
    "optimizer_lr",
    "optimizer_weight_decay",
    "_class_name",
    "_diffusers_version",
];

/// A checked `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it was read from.
    pub path: PathBuf,
    /// The network.
    pub architecture: Architecture,
    /// How old the format is.
    pub generation: Generation,
    /// Observations that the network sees at a time, the newest included.
    pub n_obs_steps: usize,
    /// What it takes. Their order is the cameras' order.
    pub inputs: Vec<Feature>,
    /// What it gives.
    pub outputs: Vec<Feature>,
    /// How features are normalised, where no processor file says it: by kind, or (before 2025) by name.
    pub normalisation: Vec<(Of, Mode)>,
    /// Fields that this program does not know, in file order. A warning named them.
    pub unknown: Vec<String>,
}

/// The network, with what its weights mean.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// Action chunking with transformers.
    Act(ActConfig),
    /// Diffusion policy with a one-dimensional U-Net.
    Diffusion(DiffusionConfig),
}

impl Architecture {
    /// LeRobot's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Act(_) => "act",
            Self::Diffusion(_) => "diffusion",
        }
    }

    /// Steps that the network gives at a time.
    pub fn chunk_size(&self) -> usize {
        match self {
            Self::Act(act) => act.chunk_size,
            Self::Diffusion(diffusion) => diffusion.n_action_steps,
        }
    }

    /// Steps that are used before the network is asked again.
    pub fn n_action_steps(&self) -> usize {
        match self {
            Self::Act(act) => act.n_action_steps,
            Self::Diffusion(diffusion) => diffusion.n_action_steps,
        }
    }
}

/// How old a configuration's format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 2024: shapes and normalisation modes by name, no type.
    Shapes,
    /// 2025 until LeRobot 0.5: features with kinds.
    Features,
    /// LeRobot 0.6: the newer defaults of diffusion policies.
    Resize,
}

/// What a normalisation mode is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Every feature of a kind.
    Kind(FeatureKind),
    /// One feature.
    Name(String),
}

impl Config {
    /// Reads `config.json` in the folder `dir`.
    ///
    /// # Errors
    /// When it cannot be read, is no configuration, or describes a policy of another type.
    pub fn read(dir: &Path) -> Result<Self, PolicyError> {
        let path = dir.join(CONFIG_FILE);
        let fields = json::read_object(&path, json::FILE_LIMIT)?;
        Self::from_fields(&path, Fields::new(fields))
    }

    /// Parses the text of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// When it is no configuration, or describes a policy of another type.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, PolicyError> {
        Self::from_fields(path, Fields::new(json::parse_object(path, text)?))
    }

    fn from_fields(path: &Path, mut fields: Fields) -> Result<Self, PolicyError> {
        let kind = kind(path, &mut fields)?;
        if fields.truth("use_peft", false) {
            fields.problem(
                "`use_peft` is true: the folder holds an adapter; merge it into its base policy and save that",
            );
        }
        let generation = generation(&kind, &fields);
        fields.ignore(&IGNORED);
        let (inputs, outputs) = sides(generation, &mut fields);
        let normalisation = normalisation(generation, &mut fields);
        let default_steps = if kind == "diffusion" { 2 } else { 1 };
        let n_obs_steps = fields.size("n_obs_steps", default_steps, 64);
        let architecture = match kind.as_str() {
            "act" => Architecture::Act(ActConfig::take(&mut fields)),
            "diffusion" => Architecture::Diffusion(DiffusionConfig::take(&mut fields, generation)),
            _ => {
                return Err(PolicyError::UnsupportedType {
                    path: path.to_owned(),
                    kind: shortened(&kind),
                });
            }
        };
        let config = Self {
            path: path.to_owned(),
            normalisation: normalisation.unwrap_or_else(|| defaults(&architecture)),
            architecture,
            generation,
            n_obs_steps,
            inputs,
            outputs,
            unknown: fields.left(),
        };
        config.check(&mut fields);
        fields.finish(path)?;
        if !config.unknown.is_empty() {
            tracing::warn!(
                "{}: unknown fields are not used: {}",
                path.display(),
                super::weights::capped(config.unknown.clone()).join(", ")
            );
        }
        Ok(config)
    }

    /// The joints' state, if the policy sees it.
    pub fn state(&self) -> Option<&Feature> {
        let mut states = self.inputs.iter();
        states.find(|f| f.kind == FeatureKind::State && f.name == STATE)
    }

    /// The state of the surroundings, if the policy sees it.
    pub fn environment(&self) -> Option<&Feature> {
        let mut inputs = self.inputs.iter();
        inputs.find(|f| f.kind == FeatureKind::Environment)
    }

    /// The cameras' images, in the order in which the network takes them.
    pub fn images(&self) -> impl Iterator<Item = &Feature> {
        let inputs = self.inputs.iter();
        inputs.filter(|f| f.kind == FeatureKind::Visual)
    }

    /// What the policy gives at each step.
    pub fn action(&self) -> Option<&Feature> {
        let mut outputs = self.outputs.iter();
        outputs.find(|f| f.kind == FeatureKind::Action && f.name == ACTION)
    }

    /// How a feature is normalised where no processor file says it.
    pub fn mode(&self, feature: &Feature) -> Mode {
        let fits = |of: &Of| match of {
            Of::Kind(kind) => *kind == feature.kind,
            Of::Name(name) => *name == feature.name,
        };
        let mut all = self.normalisation.iter();
        all.find(|(of, _)| fits(of))
            .map_or(Mode::Identity, |(_, mode)| *mode)
    }

    fn check(&self, notes: &mut Fields) {
        self.check_pixels(notes);
        notes.require(self.action().is_some(), || {
            "`output_features` must name `action`, of type ACTION".to_owned()
        });
        notes.require(
            self.images().next().is_some() || self.environment().is_some(),
            || {
                format!(
                    "a policy needs an image or `{ENVIRONMENT}` among its inputs, and there is neither"
                )
            },
        );
        for feature in &self.inputs {
            let usable = match feature.kind {
                FeatureKind::State => feature.name == STATE,
                FeatureKind::Visual => true,
                FeatureKind::Environment => feature.name == ENVIRONMENT,
                _ => false,
            };
            if !usable {
                let path = self.path.display();
                tracing::warn!(
                    "{path}: input `{}` of type {} is not used by this kind of policy",
                    feature.name,
                    feature.kind
                );
            }
        }
        match &self.architecture {
            Architecture::Act(act) => act.check(self, notes),
            Architecture::Diffusion(diffusion) => diffusion.check(self, notes),
        }
    }

    /// Each side is bounded alone; memory goes by their products.
    fn check_pixels(&self, notes: &mut Fields) {
        let [one, all] = PIXEL_LIMITS;
        let mut total = 0usize;
        for image in self.images() {
            let sides = image.shape.get(1..).unwrap_or_default();
            total = total.saturating_add(sides.iter().product());
            notes.require(within(sides, one), || {
                format!(
                    "`{}` is {:?}: an image may have {one} pixels at most",
                    image.name, image.shape
                )
            });
        }
        notes.require(total <= all, || {
            format!("all images together have {total} pixels, and {all} are possible")
        });
    }
}

/// Pixels of one image, and of all together.
const PIXEL_LIMITS: [usize; 2] = [1 << 24, 1 << 25];

/// Whether a product of sizes stays within a limit.
fn within(sizes: &[usize], limit: usize) -> bool {
    let product = |product: usize, size: &usize| product.checked_mul(*size);
    sizes
        .iter()
        .try_fold(1usize, product)
        .is_some_and(|product| product <= limit)
}

/// The type. Before 2025 it was in another file, and the fields tell it.
fn kind(path: &Path, fields: &mut Fields) -> Result<String, PolicyError> {
    if let Some(kind) = fields.text("type") {
        return Ok(kind);
    }
    if fields.has("chunk_size") && fields.has("dim_model") {
        return Ok("act".to_owned());
    }
    if fields.has("num_train_timesteps") && fields.has("down_dims") {
        return Ok("diffusion".to_owned());
    }
    Err(PolicyError::Checkpoint {
        path: path.to_owned(),
        problem: "`type`, the kind of policy, is missing, and its fields are not those of act or diffusion; \
                  is it the config.json of a LeRobot policy?"
            .to_owned(),
    })
}

fn generation(kind: &str, fields: &Fields) -> Generation {
    if fields.has("input_shapes") || fields.has("output_shapes") {
        Generation::Shapes
    } else if kind == "diffusion" && !fields.has("resize_shape") {
        Generation::Features
    } else {
        Generation::Resize
    }
}

fn sides(generation: Generation, fields: &mut Fields) -> (Vec<Feature>, Vec<Feature>) {
    let names = match generation {
        Generation::Shapes => ["input_shapes", "output_shapes"],
        _ => ["input_features", "output_features"],
    };
    let [inputs, outputs] = names.map(|field| {
        let map = fields.object(field).unwrap_or_default();
        match generation {
            Generation::Shapes => features::before_2025(&map, field, fields),
            _ => features::current(&map, field, fields),
        }
    });
    (inputs, outputs)
}

fn normalisation(generation: Generation, fields: &mut Fields) -> Option<Vec<(Of, Mode)>> {
    if generation != Generation::Shapes {
        let map = fields.object("normalization_mapping")?;
        return Some(modes_by_kind(&map, "normalization_mapping", fields));
    }
    let mut modes = Vec::new();
    let mut found = false;
    for field in ["input_normalization_modes", "output_normalization_modes"] {
        let Some(map) = fields.object(field) else {
            continue;
        };
        found = true;
        for (name, mode) in &map {
            let mode = mode.as_str().map(str::to_uppercase);
            match mode.as_deref().and_then(Mode::parse) {
                Some(mode) => modes.push((Of::Name(name.clone()), mode)),
                None => fields.problem(format!(
                    "`{field}` of `{}` must be mean_std or min_max",
                    shortened(name)
                )),
            }
        }
    }
    found.then_some(modes)
}

/// `{"STATE": "MEAN_STD", …}`, in configurations and processors.
pub(super) fn modes_by_kind(
    map: &Map<String, Value>,
    field: &str,
    notes: &mut Fields,
) -> Vec<(Of, Mode)> {
    let mut modes = Vec::new();
    for (kind, mode) in map {
        let Some(mode) = mode.as_str().and_then(Mode::parse) else {
            notes.problem(format!(
                "`{field}` of `{}` is {} where {} is needed",
                shortened(kind),
                shortened(&mode.to_string()),
                Mode::names()
            ));
            continue;
        };
        match FeatureKind::parse(kind) {
            Some(kind) => modes.push((Of::Kind(kind), mode)),
            None => notes.problem(format!(
                "`{field}` names the kind `{}`, which is not known",
                shortened(kind)
            )),
        }
    }
    modes
}

fn defaults(architecture: &Architecture) -> Vec<(Of, Mode)> {
    let vectors = match architecture {
        Architecture::Act(_) => Mode::MeanStd,
        Architecture::Diffusion(_) => Mode::MinMax,
    };
    vec![
        (Of::Kind(FeatureKind::Visual), Mode::MeanStd),
        (Of::Kind(FeatureKind::State), vectors),
        (Of::Kind(FeatureKind::Action), vectors),
    ]
}
