//! `policy.toml` as written, and the check of each key that turns it into a [`Manifest`].

use super::{
    GaitPhase, ImageLayout, InputSpec, JointUnits, MAX_CHUNK, Manifest, Normalise, OutputSpec,
    OutputTransform, Source, StateSpec, Unit, gait, state,
};
use crate::features::Channel;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Offset in the text, and what is wrong there.
type Refusal = (usize, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManifest {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    robot: String,
    rate_hz: Spanned<f64>,
    chunk_size: Spanned<usize>,
    n_action_steps: Spanned<usize>,
    model: Model,
    input: Spanned<Vec<Spanned<Input>>>,
    output: Spanned<Vec<Spanned<Output>>>,
    #[serde(default)]
    state: Vec<Spanned<state::Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    file: PathBuf,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum InputKind {
    JointPositions,
    JointVelocities,
    LastAction,
    Environment,
    Command,
    Imu,
    Image,
    GaitPhase,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    tensor: String,
    kind: InputKind,
    joints: Option<Spanned<Vec<String>>>,
    names: Option<Spanned<Vec<String>>>,
    camera: Option<Spanned<String>>,
    layout: Option<Spanned<ImageLayout>>,
    gait: Option<Spanned<gait::Raw>>,
    units: Option<Spanned<Unit>>,
    ranges: Option<Spanned<BTreeMap<String, [f64; 2]>>>,
    normalise: Option<Spanned<Numbers>>,
    clip: Option<Spanned<[f64; 2]>>,
    shape: Option<Spanned<Vec<usize>>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum OutputKind {
    JointTargets,
    JointOffsets,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    tensor: String,
    kind: OutputKind,
    joints: Option<Spanned<Vec<String>>>,
    units: Option<Spanned<Unit>>,
    ranges: Option<Spanned<BTreeMap<String, [f64; 2]>>>,
    normalise: Option<Spanned<Numbers>>,
    clip: Option<Spanned<[f64; 2]>>,
    scale: Option<Spanned<Vec<f64>>>,
    offset: Option<Spanned<Vec<f64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    min: Option<Vec<f64>>,
    max: Option<Vec<f64>>,
}

impl RawManifest {
    pub(super) fn check(
        self,
        path: &Path,
        line_of: &dyn Fn(usize) -> usize,
    ) -> Result<Manifest, Refusal> {
        require(
            !self.name.get_ref().trim().is_empty(),
            self.name.span().start,
            "`name` must not be empty",
        )?;
        let rate = *self.rate_hz.get_ref();
        require(
            rate > 0.0 && rate <= 10_000.0,
            self.rate_hz.span().start,
            "`rate_hz` must be above 0 and at most 10000",
        )?;
        let chunk = *self.chunk_size.get_ref();
        let chunk_text = format!("`chunk_size` must be 1 to {MAX_CHUNK}");
        require(
            (1..=MAX_CHUNK).contains(&chunk),
            self.chunk_size.span().start,
            &chunk_text,
        )?;
        let steps = *self.n_action_steps.get_ref();
        require(
            (1..=chunk).contains(&steps),
            self.n_action_steps.span().start,
            "`n_action_steps` must be 1 to `chunk_size`",
        )?;
        require(
            !self.input.get_ref().is_empty(),
            self.input.span().start,
            "at least one [[input]] is needed",
        )?;
        require(
            !self.output.get_ref().is_empty(),
            self.output.span().start,
            "at least one [[output]] is needed",
        )?;
        let inputs = self.input.into_inner().into_iter().map(|input| {
            let start = input.span().start;
            input.into_inner().check(start, line_of(start))
        });
        let outputs = self.output.into_inner().into_iter().map(|output| {
            let start = output.span().start;
            output.into_inner().check(start, line_of(start))
        });
        Ok(Manifest {
            path: path.to_owned(),
            name: self.name.into_inner(),
            description: self.description,
            robot: self.robot,
            rate_hz: rate,
            chunk_size: chunk,
            n_action_steps: steps,
            model_file: self.model.file,
            inputs: inputs.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
            states: self
                .state
                .into_iter()
                .map(|state| {
                    let line = line_of(state.span().start);
                    StateSpec::of(state, line)
                })
                .collect(),
            gains: None,
        })
    }
}

impl Input {
    fn check(self, start: usize, line: usize) -> Result<InputSpec, Refusal> {
        match (self.kind, &self.gait) {
            (InputKind::GaitPhase, _) => {
                no_key(&self.normalise, "normalise", "gait_phase")?;
                no_key(&self.clip, "clip", "gait_phase")?;
            }
            (_, gait) => no_key(gait, "gait", "this kind")?,
        }
        let normalise = normalise(self.normalise)?;
        let clip = clip(self.clip)?;
        let shape = self.shape.map(Spanned::into_inner);
        let (joints, names) = (self.joints, self.names);
        let (camera, layout) = (self.camera, self.layout);
        let units = (self.units, self.ranges);
        let source = match self.kind {
            InputKind::JointPositions | InputKind::JointVelocities => {
                no_key(&names, "names", "a joint kind")?;
                no_key(&camera, "camera", "a joint kind")?;
                no_key(&layout, "layout", "a joint kind")?;
                let joints = joints.map_or(Ok(Vec::new()), |joints| {
                    listed(Some(joints), start, "joints")
                })?;
                let units = joint_units(units, &joints)?;
                match self.kind {
                    InputKind::JointPositions => Source::JointPositions(joints, units),
                    _ => Source::JointVelocities(joints, units),
                }
            }
            other => {
                let what = "this kind";
                no_key(&joints, "joints", what)?;
                no_key(&units.0, "units", what)?;
                no_key(&units.1, "ranges", what)?;
                match other {
                    InputKind::GaitPhase => {
                        no_key(&names, "names", what)?;
                        no_key(&camera, "camera", what)?;
                        no_key(&layout, "layout", what)?;
                        let missing = || {
                            (
                                start,
                                "`gait`, its wave, period_s and offsets, is missing".to_owned(),
                            )
                        };
                        Source::GaitPhase(GaitPhase::check(self.gait.ok_or_else(missing)?)?)
                    }
                    other => other_source(other, start, names, camera, layout)?,
                }
            }
        };
        Ok(InputSpec {
            line,
            tensor: self.tensor,
            source,
            normalise,
            clip,
            shape,
        })
    }
}

fn other_source(
    kind: InputKind,
    start: usize,
    names: Option<Spanned<Vec<String>>>,
    camera: Option<Spanned<String>>,
    layout: Option<Spanned<ImageLayout>>,
) -> Result<Source, Refusal> {
    let channel = match kind {
        InputKind::Environment => Some(Channel::Environment),
        InputKind::Command => Some(Channel::Command),
        InputKind::Imu => Some(Channel::Imu),
        _ => None,
    };
    if let InputKind::Image = kind {
        no_key(&names, "names", "an image")?;
        let camera = camera.ok_or_else(|| {
            (
                start,
                "an image input needs `camera`, the camera's name".to_owned(),
            )
        })?;
        let layout = layout.map(Spanned::into_inner).unwrap_or_default();
        return Ok(Source::Image {
            camera: camera.into_inner(),
            layout,
        });
    }
    no_key(&camera, "camera", "this kind")?;
    no_key(&layout, "layout", "this kind")?;
    match channel {
        Some(channel) => Ok(Source::Values(channel, listed(names, start, "names")?)),
        None => {
            no_key(&names, "names", "last_action")?;
            Ok(Source::LastAction)
        }
    }
}

impl Output {
    fn check(self, start: usize, line: usize) -> Result<OutputSpec, Refusal> {
        let joints = self.joints.map_or(Ok(Vec::new()), |joints| {
            listed(Some(joints), start, "joints")
        })?;
        let units = joint_units((self.units, self.ranges), &joints)?;
        let clip = clip(self.clip)?;
        let transform = match (self.normalise, self.scale, self.offset) {
            (None, scale, offset) => OutputTransform::ScaleOffset {
                scale: factors(scale, 1.0, "scale")?,
                offset: factors(offset, 0.0, "offset")?,
            },
            (normal, None, None) => OutputTransform::Undo(normalise(normal)?),
            (Some(normal), ..) => {
                return Err((
                    normal.span().start,
                    "`normalise` excludes `scale` and `offset`; keep one".to_owned(),
                ));
            }
        };
        let relative = self.kind == OutputKind::JointOffsets;
        Ok(OutputSpec {
            line,
            tensor: self.tensor,
            relative,
            joints,
            units,
            clip,
            transform,
        })
    }
}

fn require(holds: bool, offset: usize, problem: &str) -> Result<(), Refusal> {
    if holds {
        Ok(())
    } else {
        Err((offset, problem.to_owned()))
    }
}

fn no_key<T>(key: &Option<Spanned<T>>, name: &str, what: &str) -> Result<(), Refusal> {
    match key {
        None => Ok(()),
        Some(found) => Err((
            found.span().start,
            format!("key `{name}` means nothing for {what}; remove it"),
        )),
    }
}

/// A list of names: there, not empty, each once.
fn listed(
    names: Option<Spanned<Vec<String>>>,
    start: usize,
    key: &str,
) -> Result<Vec<String>, Refusal> {
    let names = names.ok_or_else(|| (start, format!("`{key}`, a list of names, is missing")))?;
    let offset = names.span().start;
    let names = names.into_inner();
    require(
        !names.is_empty(),
        offset,
        &format!("`{key}` must not be empty"),
    )?;
    match names
        .iter()
        .enumerate()
        .find(|(i, name)| names[..*i].contains(name))
    {
        Some((_, twice)) => Err((offset, format!("`{key}` names `{twice}` twice"))),
        None => Ok(names),
    }
}

fn clip(clip: Option<Spanned<[f64; 2]>>) -> Result<Option<[f64; 2]>, Refusal> {
    let Some(clip) = clip else { return Ok(None) };
    let [low, high] = *clip.get_ref();
    require(
        low < high && low.is_finite() && high.is_finite(),
        clip.span().start,
        "`clip` must be [low, high]",
    )?;
    Ok(Some([low, high]))
}

fn factors(
    values: Option<Spanned<Vec<f64>>>,
    default: f64,
    key: &str,
) -> Result<Vec<f64>, Refusal> {
    let Some(values) = values else {
        return Ok(vec![default]);
    };
    let fine = !values.get_ref().is_empty() && values.get_ref().iter().all(|v| v.is_finite());
    require(
        fine,
        values.span().start,
        &format!("`{key}` must hold finite numbers"),
    )?;
    Ok(values.into_inner())
}

type Units = (
    Option<Spanned<Unit>>,
    Option<Spanned<BTreeMap<String, [f64; 2]>>>,
);

fn joint_units((unit, ranges): Units, joints: &[String]) -> Result<JointUnits, Refusal> {
    let unit = unit.map(Spanned::into_inner).unwrap_or_default();
    let Some(ranges) = ranges else {
        return Ok(JointUnits {
            unit,
            ranges: BTreeMap::new(),
        });
    };
    let offset = ranges.span().start;
    require(
        unit == Unit::Lerobot,
        offset,
        "`ranges` is only for units = \"lerobot\"; remove it",
    )?;
    for (joint, [low, high]) in ranges.get_ref() {
        require(
            joints.contains(joint),
            offset,
            &format!("`ranges` names `{joint}`, which is not in `joints`"),
        )?;
        let fine = low != high && low.is_finite() && high.is_finite();
        require(
            fine,
            offset,
            &format!("`ranges` of `{joint}` must be two different numbers, rad"),
        )?;
    }
    Ok(JointUnits {
        unit,
        ranges: ranges.into_inner(),
    })
}

fn normalise(numbers: Option<Spanned<Numbers>>) -> Result<Normalise, Refusal> {
    let Some(numbers) = numbers else {
        return Ok(Normalise::Identity);
    };
    let offset = numbers.span().start;
    let all = |values: &[f64]| !values.is_empty() && values.iter().all(|v| v.is_finite());
    match numbers.into_inner() {
        Numbers {
            mean: Some(mean),
            std: Some(std),
            min: None,
            max: None,
        } => {
            require(
                all(&mean) && all(&std),
                offset,
                "`normalise` must hold finite numbers",
            )?;
            require(
                std.iter().all(|&s| s > 0.0),
                offset,
                "every `std` must be above 0",
            )?;
            Ok(Normalise::MeanStd { mean, std })
        }
        Numbers {
            mean: None,
            std: None,
            min: Some(min),
            max: Some(max),
        } => {
            require(
                all(&min) && all(&max),
                offset,
                "`normalise` must hold finite numbers",
            )?;
            let same_length = min.len() == max.len();
            require(
                same_length,
                offset,
                "`min` and `max` must have the same length",
            )?;
            let ordered = min.iter().zip(&max).all(|(low, high)| low < high);
            require(ordered, offset, "every `min` must be below its `max`")?;
            Ok(Normalise::MinMax { min, max })
        }
        _ => Err((
            offset,
            "`normalise` must be { mean, std } or { min, max }".to_owned(),
        )),
    }
}
