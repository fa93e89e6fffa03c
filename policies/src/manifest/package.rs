//! A manifest from an Intel `manifest.json` policy package (`format: policy_package`, version 1).
//!
//! Such a package holds a network as ONNX, statistics as safetensors, and the joints of the robot by
//! name. What is read: one robot, cameras, the steps `normalize`, `denormalize`, `to_float_tensor`
//! and `action_chunk_trimmer`, and the runner `single_pass`. Any other step is an error that names it.
//! Joint values are in LeRobot's units. The package does not say at what rate its actions follow one
//! another; LeRobot's usual 30 Hz are taken.

use super::{
    ImageLayout, InputSpec, JointUnits, MAX_CHUNK, Manifest, Normalise, OutputSpec,
    OutputTransform, Source, Unit,
};
use crate::engine::{ModelBytes, read_limited};
use crate::engines::onnx_card::ModelCard;
use crate::error::PolicyError;
use crate::lerobot::Weights;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Component as PathPart, Path, PathBuf};

/// Name of the file.
pub const PACKAGE_NAME: &str = "manifest.json";
/// Steps a second.
const RATE_HZ: f64 = 30.0;
const SIZE_LIMIT: u64 = 4 << 20;
/// What the package's own code adds to a divisor.
const EPSILON: f64 = 1e-8;

#[derive(Deserialize)]
struct Package {
    #[serde(default = "expected_format")]
    format: String,
    #[serde(default = "expected_version")]
    version: String,
    #[serde(default)]
    policy: Identity,
    #[serde(default)]
    model: Model,
    #[serde(default)]
    hardware: Hardware,
}

#[derive(Deserialize, Default)]
struct Identity {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize, Default)]
struct Model {
    n_obs_steps: Option<usize>,
    runner: Option<Component>,
    #[serde(default)]
    artifacts: BTreeMap<String, PathBuf>,
    #[serde(default)]
    preprocessors: Vec<Component>,
    #[serde(default)]
    postprocessors: Vec<Component>,
}

/// A step: a short name with its parameters beside it, or a class path with `init_args`.
#[derive(Deserialize, Default)]
struct Component {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    class_path: String,
    #[serde(default)]
    init_args: Map<String, Value>,
    #[serde(flatten)]
    flat: Map<String, Value>,
}

#[derive(Deserialize, Default)]
struct Hardware {
    #[serde(default)]
    robots: Vec<Robot>,
    #[serde(default)]
    cameras: Vec<Camera>,
}

#[derive(Deserialize)]
struct Robot {
    state: Option<Ordered>,
    action: Option<Ordered>,
}

#[derive(Deserialize)]
struct Ordered {
    #[serde(default)]
    order: Vec<String>,
}

#[derive(Deserialize)]
struct Camera {
    name: String,
    #[serde(default)]
    shape: Vec<usize>,
}

fn expected_format() -> String {
    "policy_package".to_owned()
}

fn expected_version() -> String {
    "1.0".to_owned()
}

impl Component {
    /// The short name.
    fn name(&self) -> &str {
        match self
            .class_path
            .rsplit('.')
            .next()
            .filter(|class| !class.is_empty())
        {
            None => &self.kind,
            Some("SinglePass") => "single_pass",
            Some("StatsNormalizer") => "normalize",
            Some("StatsDenormalizer") => "denormalize",
            Some("ToFloatTensorPreprocessor") => "to_float_tensor",
            Some("ActionChunkTrimmer") => "action_chunk_trimmer",
            Some(_) => &self.class_path,
        }
    }

    fn parameter(&self, key: &str) -> Option<&Value> {
        self.init_args.get(key).or_else(|| self.flat.get(key))
    }

    fn count(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.parameter(key) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match count.filter(|n| (1..=MAX_CHUNK).contains(n)) {
            Some(count) => Ok(Some(count)),
            None => Err(format!(
                "`{key}` of `{}` must be 1 to {MAX_CHUNK}",
                self.name()
            )),
        }
    }
}

/// A step that scales, with its statistics.
struct Scaling {
    mode: String,
    features: Vec<String>,
    stats: Weights,
}

impl Manifest {
    /// Reads `manifest.json` of a policy package and the names in its model.
    pub fn read_package(directory: &Path) -> Result<Self, PolicyError> {
        let path = directory.join(PACKAGE_NAME);
        let bytes = read_limited(&path, SIZE_LIMIT).map_err(|source| PolicyError::Read {
            path: path.clone(),
            source,
        })?;
        let refused = |(line, problem): (usize, String)| PolicyError::Manifest {
            path: path.clone(),
            line,
            problem,
        };
        let package = Package::parse(&bytes).map_err(refused)?;
        let model = package
            .model_file()
            .map_err(|problem| refused((1, problem)))?;
        let card = ModelBytes::read(&directory.join(&model))?.card()?;
        package
            .manifest(&path, model, &card)
            .map_err(|problem| refused((1, problem)))
    }

    /// Parses the text of a package's manifest and binds it to a model's names, without opening any
    /// other file: for fuzzing. The error holds a line.
    #[doc(hidden)]
    pub fn parse_package(bytes: &[u8], card: &ModelCard) -> Result<Self, (usize, String)> {
        let package = Package::parse(bytes)?;
        let nowhere = Path::new("no/such/folder");
        let model = package.model_file().map_err(|problem| (1, problem))?;
        package
            .manifest(&nowhere.join(PACKAGE_NAME), model, card)
            .map_err(|problem| (1, problem))
    }
}

impl Package {
    fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let package: Self = serde_json::from_slice(bytes)
            .map_err(|error| (error.line().max(1), format!("no policy package: {error}")))?;
        if package.format != expected_format() {
            let problem = format!(
                "`format` is `{}`, not `policy_package`",
                short(&package.format)
            );
            return Err((1, problem));
        }
        if package.version.split('.').next() != Some("1") {
            let problem = format!(
                "`version` is `{}`; version 1 can be read",
                short(&package.version)
            );
            return Err((1, problem));
        }
        Ok(package)
    }

    /// The ONNX file among the artifacts.
    fn model_file(&self) -> Result<PathBuf, String> {
        let onnx = |path: &&PathBuf| path.extension().is_some_and(|end| end == "onnx");
        let named = self.model.artifacts.get("model").filter(onnx);
        let file = named.or_else(|| self.model.artifacts.values().find(onnx)).ok_or(
            "`artifacts` names no .onnx file; export the package for ONNX (OpenVINO files cannot be run)",
        )?;
        inside(Path::new(""), file)
    }

    fn manifest(
        &self,
        path: &Path,
        model_file: PathBuf,
        card: &ModelCard,
    ) -> Result<Manifest, String> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let (state, action) = self.joints()?;
        if self.model.n_obs_steps.is_some_and(|steps| steps != 1) {
            return Err(
                "`n_obs_steps` is not 1; policies that look back cannot be bound".to_owned(),
            );
        }
        let chunk = match &self.model.runner {
            None => None,
            Some(runner) if runner.name() == "single_pass" => runner.count("chunk_size")?,
            Some(runner) => return Err(unknown("runner", runner, "single_pass")),
        };
        let (mut before, mut after, mut steps) = (Vec::new(), Vec::new(), None);
        for step in &self.model.preprocessors {
            match step.name() {
                "normalize" => before.extend(scaling(step, directory)?),
                "to_float_tensor" => {}
                _ => {
                    return Err(unknown(
                        "preprocessor",
                        step,
                        "normalize and to_float_tensor",
                    ));
                }
            }
        }
        for step in &self.model.postprocessors {
            match step.name() {
                "denormalize" => after.extend(scaling(step, directory)?),
                "action_chunk_trimmer" => steps = step.count("n_action_steps")?,
                _ => {
                    return Err(unknown(
                        "postprocessor",
                        step,
                        "denormalize and action_chunk_trimmer",
                    ));
                }
            }
        }
        let mut inputs = Vec::new();
        for tensor in &card.inputs {
            inputs.push(self.input(tensor, &state, &before)?);
        }
        let [tensor] = card.outputs.as_slice() else {
            return Err(format!(
                "the network has {} outputs, and one can be bound",
                card.outputs.len()
            ));
        };
        // The trimmer says how many steps are used, not how many there are.
        let chunk_size = match chunk {
            Some(chunk) => chunk,
            None => chunk_of(card.output_shapes.get(tensor), action.len()).ok_or_else(|| {
                format!(
                    "the runner says no `chunk_size`, and the network's output `{}` leaves it open",
                    short(tensor)
                )
            })?,
        };
        let name = if self.policy.name.trim().is_empty() {
            "policy"
        } else {
            &self.policy.name
        };
        Ok(Manifest {
            path: path.to_owned(),
            name: short(name),
            description: "from a policy package".to_owned(),
            robot: String::new(),
            rate_hz: RATE_HZ,
            chunk_size,
            n_action_steps: steps.unwrap_or(chunk_size).min(chunk_size),
            model_file,
            inputs,
            outputs: vec![OutputSpec {
                line: 1,
                tensor: tensor.clone(),
                relative: false,
                joints: action,
                units: lerobot_units(),
                clip: None,
                transform: OutputTransform::Undo(normalise(&["action", tensor], &after)?),
            }],
            states: Vec::new(),
            gains: None,
        })
    }

    /// Joints of state and action, in order.
    fn joints(&self) -> Result<(Vec<String>, Vec<String>), String> {
        let [robot] = self.hardware.robots.as_slice() else {
            let count = self.hardware.robots.len();
            return Err(format!(
                "`hardware.robots` has {count} entries, and one can be bound"
            ));
        };
        let names = |ordered: &Option<Ordered>, what: &str| {
            let order = ordered
                .as_ref()
                .map(|o| o.order.as_slice())
                .unwrap_or_default();
            let names: Vec<String> = order
                .iter()
                .map(|name| name.strip_suffix(".pos").unwrap_or(name).to_owned())
                .collect();
            if names.is_empty()
                || names
                    .iter()
                    .enumerate()
                    .any(|(i, n)| names[..i].contains(n))
            {
                return Err(format!(
                    "`{what}.order` of the robot must name its joints, each once"
                ));
            }
            Ok(names)
        };
        Ok((
            names(&robot.state, "state")?,
            names(&robot.action, "action")?,
        ))
    }

    /// What fills one of the network's inputs.
    fn input(
        &self,
        tensor: &str,
        state: &[String],
        scalings: &[Scaling],
    ) -> Result<InputSpec, String> {
        let plain = tensor.strip_prefix("observation.").unwrap_or(tensor);
        let picture = plain
            .strip_prefix("images.")
            .or_else(|| plain.strip_prefix("image."));
        let camera = picture.and_then(|name| self.hardware.cameras.iter().find(|c| c.name == name));
        let (source, shape) = match (plain, camera) {
            ("state", _) => (
                Source::JointPositions(state.to_vec(), lerobot_units()),
                None,
            ),
            (_, Some(camera)) => {
                let source = Source::Image {
                    camera: camera.name.clone(),
                    layout: ImageLayout::Chw,
                };
                let shape = match camera.shape.as_slice() {
                    [] => None,
                    &[c, h, w] => Some(vec![1, c, h, w]),
                    _ => {
                        return Err(format!(
                            "`shape` of camera `{}` must have three entries",
                            short(&camera.name)
                        ));
                    }
                };
                (source, shape)
            }
            _ => {
                return Err(format!(
                    "the network's input `{}` is neither the state nor a camera of `hardware.cameras`",
                    short(tensor)
                ));
            }
        };
        Ok(InputSpec {
            line: 1,
            tensor: tensor.to_owned(),
            source,
            normalise: normalise(&[tensor, &format!("observation.{plain}")], scalings)?,
            clip: None,
            shape,
        })
    }
}

/// Steps of so many joints in an output. An open first axis is the batch; without a shape there is
/// one step.
fn chunk_of(shape: Option<&Vec<Option<usize>>>, joints: usize) -> Option<usize> {
    let Some(shape) = shape.filter(|shape| !shape.is_empty()) else {
        return Some(1);
    };
    let batch = |(axis, dim): (usize, &Option<usize>)| dim.or((axis == 0).then_some(1));
    let mut sizes = shape.iter().enumerate().map(batch);
    let values = sizes.try_fold(1usize, |values, size| values.checked_mul(size?))?;
    let steps = values.checked_div(joints)?;
    let fits = (1..=MAX_CHUNK).contains(&steps) && values.is_multiple_of(joints);
    fits.then_some(steps)
}

fn lerobot_units() -> JointUnits {
    JointUnits {
        unit: Unit::Lerobot,
        ..JointUnits::default()
    }
}

/// A step that scales; `None` for the mode `identity`.
fn scaling(step: &Component, directory: &Path) -> Result<Option<Scaling>, String> {
    let text = |key: &str| step.parameter(key).and_then(Value::as_str);
    let mode = text("mode").unwrap_or("mean_std");
    if mode == "identity" {
        return Ok(None);
    }
    if !matches!(mode, "mean_std" | "min_max" | "quantiles") {
        return Err(format!(
            "`mode` of `{}` is `{}`, which is not known",
            step.name(),
            short(mode)
        ));
    }
    let file = text("stats_path").or_else(|| text("artifact"));
    let file =
        file.ok_or_else(|| format!("`{}` names no file of statistics (`artifact`)", step.name()))?;
    let file = inside(directory, Path::new(file))?;
    let listed = step.parameter("features").and_then(Value::as_array);
    let features = listed.into_iter().flatten().filter_map(Value::as_str);
    Ok(Some(Scaling {
        mode: mode.to_owned(),
        features: features.map(str::to_owned).collect(),
        stats: Weights::open_file(&file).map_err(|error| error.to_string())?,
    }))
}

/// The normalisation of a feature that goes by one of these names.
fn normalise(names: &[&str], scalings: &[Scaling]) -> Result<Normalise, String> {
    for Scaling {
        mode,
        features,
        stats,
    } in scalings
    {
        let applies = |name: &&&str| {
            let listed = features.is_empty() || features.iter().any(|feature| feature == *name);
            let first = if mode == "mean_std" {
                "mean"
            } else if mode == "min_max" {
                "min"
            } else {
                "q01"
            };
            listed && stats.get(&format!("{name}/{first}")).is_some()
        };
        let Some(name) = names.iter().find(applies) else {
            continue;
        };
        let column = |stat: &str| -> Result<Vec<f64>, String> {
            let key = format!("{name}/{stat}");
            let weight = stats
                .get(&key)
                .ok_or_else(|| format!("the statistics lack `{key}`"))?;
            let values: Vec<f64> = weight.to_f32().iter().map(|&v| f64::from(v)).collect();
            if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
                return Err(format!(
                    "the statistics `{key}` hold no numbers, or one that is not finite"
                ));
            }
            Ok(values)
        };
        let limits = |low: &str, high: &str| -> Result<Normalise, String> {
            let (min, mut max) = (column(low)?, column(high)?);
            for (low, high) in min.iter().zip(&mut max) {
                *high += EPSILON;
                if *high <= *low {
                    return Err(format!(
                        "the statistics of `{name}` have a highest value below the lowest"
                    ));
                }
            }
            Ok(Normalise::MinMax { min, max })
        };
        return match mode.as_str() {
            "min_max" => limits("min", "max"),
            "quantiles" => limits("q01", "q99"),
            _ => {
                let std: Vec<f64> = column("std")?.iter().map(|s| s + EPSILON).collect();
                if std.iter().any(|s| *s <= 0.0) {
                    return Err(format!(
                        "the statistics of `{name}` have a negative deviation"
                    ));
                }
                Ok(Normalise::MeanStd {
                    mean: column("mean")?,
                    std,
                })
            }
        };
    }
    Ok(Normalise::Identity)
}

/// A file of the package: below its folder, whatever a stranger wrote.
fn inside(directory: &Path, file: &Path) -> Result<PathBuf, String> {
    let plain = file
        .components()
        .all(|part| matches!(part, PathPart::Normal(_)));
    if plain && file.file_name().is_some() {
        Ok(directory.join(file))
    } else {
        let file = short(&file.to_string_lossy());
        Err(format!("`{file}` is not a file inside the package"))
    }
}

fn unknown(what: &str, step: &Component, known: &str) -> String {
    format!(
        "the {what} `{}` is not known ({known} can be run)",
        short(step.name())
    )
}

/// At most the start of a text, for messages.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_is_as_long_as_the_networks_output() {
        for (shape, steps) in [
            (vec![Some(1), Some(100), Some(6)], Some(100)),
            (vec![None, Some(100), Some(6)], Some(100)),
            (vec![Some(1), None, Some(6)], None),
            (vec![Some(1), Some(6)], Some(1)),
            (vec![Some(1), Some(600)], Some(100)),
            (vec![Some(1), Some(1 << 20), Some(6)], None),
        ] {
            assert_eq!(chunk_of(Some(&shape), 6), steps, "{shape:?}");
        }
    }
}
