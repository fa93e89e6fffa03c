//! A processor file, step by step.

use super::{
    ACTION, Feature, FeatureKind, Fields, Map, Mode, Of, Path, PolicyError, Relative, STEP_LIMIT,
    Scaling, Step, Value, Weights, features, modes_by_kind, normalise, shortened, texts,
};

/// Opens a step's statistics, given the plain name of a file beside the processor's.
pub(super) type OpenState<'a> = &'a dyn Fn(&str) -> Result<Weights, PolicyError>;

/// LeRobot's names of steps, and the classes that stand for them where a step has no name.
const NAMES: [(&str, &str); 7] = [
    (
        "rename_observations_processor",
        "RenameObservationsProcessorStep",
    ),
    ("to_batch_processor", "AddBatchDimensionProcessorStep"),
    ("device_processor", "DeviceProcessorStep"),
    ("normalizer_processor", "NormalizerProcessorStep"),
    ("unnormalizer_processor", "UnnormalizerProcessorStep"),
    ("relative_actions_processor", "RelativeActionsProcessorStep"),
    ("absolute_actions_processor", "AbsoluteActionsProcessorStep"),
];

/// All steps of a processor.
pub(super) fn steps(
    path: &Path,
    mut file: Map<String, Value>,
    open: OpenState<'_>,
) -> Result<Vec<Step>, PolicyError> {
    let Some(Value::Array(list)) = file.remove("steps") else {
        return Err(bad(path, "`steps`, a list, is missing"));
    };
    if list.len() > STEP_LIMIT {
        return Err(bad(
            path,
            format!(
                "it has {} steps where at most {STEP_LIMIT} are possible",
                list.len()
            ),
        ));
    }
    let steps = list.into_iter().enumerate();
    steps
        .map(|(number, step)| one(path, number, step, open))
        .collect()
}

fn one(path: &Path, number: usize, step: Value, open: OpenState<'_>) -> Result<Step, PolicyError> {
    let Value::Object(step) = step else {
        return Err(bad(path, format!("step {number} is no object")));
    };
    let mut step = Fields::new(step);
    let given = step.text("registry_name").or_else(|| step.text("class"));
    let Some(given) = given else {
        return Err(bad(
            path,
            format!("step {number} has neither `registry_name` nor `class`"),
        ));
    };
    let class = given.rsplit('.').next();
    let known = NAMES
        .iter()
        .find(|(name, c)| *name == given || Some(*c) == class);
    let Some((name, _)) = known else {
        return Err(PolicyError::UnknownStep {
            path: path.to_owned(),
            step: number,
            name: shortened(&given),
        });
    };
    let mut config = Fields::new(step.object("config").unwrap_or_default());
    let parsed = match *name {
        "rename_observations_processor" => Step::Rename(rename(&mut config)),
        "to_batch_processor" => Step::ToBatch,
        "device_processor" => device(&mut config),
        "relative_actions_processor" => Step::RelativeActions(relative(&mut config)),
        "absolute_actions_processor" => Step::AbsoluteActions {
            enabled: config.truth("enabled", false),
        },
        name => {
            let state = match step.text("state_file") {
                Some(file) => open(plain(path, number, &file)?)?,
                None => Weights::none(),
            };
            let scalings = scalings(path, &mut config, &state);
            match name {
                "normalizer_processor" => Step::Normalise(scalings),
                _ => Step::Unnormalise(scalings),
            }
        }
    };
    let left = config.left();
    if !left.is_empty() {
        let left = crate::lerobot::weights::capped(left).join(", ");
        tracing::warn!(
            "{}: fields of `{name}` are not used: {left}",
            path.display()
        );
    }
    step.finish(path)?;
    config.finish(path)?;
    Ok(parsed)
}

fn bad(path: &Path, problem: impl Into<String>) -> PolicyError {
    PolicyError::Checkpoint {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

/// The name of a file in the same folder.
fn plain<'a>(path: &Path, step: usize, file: &'a str) -> Result<&'a str, PolicyError> {
    if file.ends_with(".safetensors") && !file.contains(['/', '\\', '\0']) {
        return Ok(file);
    }
    Err(bad(
        path,
        format!(
            "`state_file` of step {step} must name a .safetensors file in the same folder, and it is `{}`",
            shortened(file)
        ),
    ))
}

fn rename(config: &mut Fields) -> Vec<(String, String)> {
    let map = config.object("rename_map").unwrap_or_default();
    let mut pairs = Vec::new();
    for (from, to) in &map {
        match to.as_str() {
            Some(to) => pairs.push((from.clone(), to.to_owned())),
            None => config.problem(format!(
                "`rename_map` of `{}` must be a text",
                shortened(from)
            )),
        }
    }
    pairs
}

fn device(config: &mut Fields) -> Step {
    let device = config.text("device").unwrap_or_else(|| "cpu".to_owned());
    let float_dtype = config.text("float_dtype");
    if let Some(dtype) = &float_dtype {
        let known = [
            "float16", "float32", "float64", "bfloat16", "half", "float", "double",
        ];
        config.require(known.contains(&dtype.as_str()), || {
            format!("`float_dtype` must be one of {}", known.join(", "))
        });
        if !["float32", "float"].contains(&dtype.as_str()) {
            tracing::warn!(
                "observations are not converted to {}, as a processor asks: the engine's precision counts",
                shortened(dtype)
            );
        }
    }
    Step::Device {
        device,
        float_dtype,
    }
}

fn relative(config: &mut Fields) -> Relative {
    let mut list = |name: &str| {
        let value = config.take(name)?;
        let names = texts(&value);
        config.require(names.is_some(), || {
            format!("`{name}` must be a list of texts")
        });
        names
    };
    let exclude_joints = list("exclude_joints").unwrap_or_default();
    let action_names = list("action_names");
    Relative {
        enabled: config.truth("enabled", false),
        exclude_joints,
        action_names,
    }
}

/// The scalings of all features that a step normalises.
fn scalings(path: &Path, config: &mut Fields, state: &Weights) -> Vec<Scaling> {
    let eps = config.number("eps", 1e-8) as f32;
    let map = config.object("features").unwrap_or_default();
    let features = features::current(&map, "features", config);
    let map = config.object("norm_map").unwrap_or_default();
    let modes = modes_by_kind(&map, "norm_map", config);
    let only = config.take("normalize_observation_keys");
    let only = only.and_then(|value| texts(&value));
    let mode = |feature: &Feature| {
        let mut all = modes.iter();
        let found = all.find(|(of, _)| *of == Of::Kind(feature.kind));
        found.map_or(Mode::Identity, |(_, mode)| *mode)
    };
    let mut scalings = Vec::new();
    for feature in &features {
        let left_out = only
            .as_ref()
            .is_some_and(|keys| !keys.contains(&feature.name));
        // LeRobot takes the statistics of `action` for whatever is an action.
        let action = feature.kind == FeatureKind::Action;
        if (left_out && !action) || (action && feature.name != ACTION) {
            continue;
        }
        let mode = mode(feature);
        let statistic = |name: &str| state.get(&format!("{}.{name}", feature.name));
        match normalise::scaling(feature, mode, eps, statistic) {
            Ok(Some(scaling)) => scalings.push(scaling),
            Ok(None) => warn_without(path, feature, mode, state),
            Err(problem) => config.problem(problem),
        }
    }
    scalings
}

/// LeRobot leaves features without statistics as they are, and says nothing.
fn warn_without(path: &Path, feature: &Feature, mode: Mode, state: &Weights) {
    let looked_for = mode != Mode::Identity && state.files().next().is_some();
    if looked_for {
        tracing::warn!(
            "{}: `{}` has no statistics for {} and stays as it is, as in LeRobot",
            path.display(),
            shortened(&feature.name),
            mode.name()
        );
    }
}
