//! Brings manifest, network and robot together, and lists everything that does not fit.

use crate::decode::Decoder;
use crate::encode::{Affine, Bound, Part};
use crate::engine::{MAX_ELEMENTS, Tensor, TensorInfo};
use crate::features::Features;
use crate::manifest::{
    ImageLayout, InputSpec, JointUnits, Manifest, OutputSpec, Source, StateSpec, Unit,
};
use crate::memory::{GaitPart, Memory, StateLink};
use sinew_runtime::MAX_JOINTS;

/// Everything that inference needs, resolved to indices.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<Part>,
    pub(crate) decoders: Vec<Decoder>,
    /// The engine's inputs, zeroed.
    pub(crate) tensors: Vec<Tensor>,
    /// Values of one step over all outputs.
    pub(crate) action_width: usize,
    pub(crate) memory: Memory,
}

/// Resolves the manifest against the network's and the robot's names.
pub(crate) fn plan(
    manifest: &Manifest,
    features: &Features,
    inputs: &[TensorInfo],
    outputs: &[TensorInfo],
) -> Result<Plan, Vec<String>> {
    let mut fit = Fit {
        features,
        problems: Vec::new(),
        memory: Memory {
            step_s: manifest.n_action_steps as f64 / manifest.rate_hz,
            ..Memory::default()
        },
    };
    if features.joints().len() > MAX_JOINTS {
        fit.problems
            .push(format!("the robot has more than {MAX_JOINTS} joints"));
    }
    let action_width = manifest
        .outputs
        .iter()
        .map(|output| output.joints.len())
        .sum();
    let (parts, tensors) = fit.inputs(manifest, inputs, action_width);
    let decoders = fit.outputs(manifest, outputs);
    fit.states(manifest, inputs, outputs);
    if fit.problems.is_empty() {
        Ok(Plan {
            parts,
            decoders,
            tensors,
            action_width,
            memory: fit.memory,
        })
    } else {
        Err(fit.problems)
    }
}

struct Fit<'a> {
    features: &'a Features,
    problems: Vec<String>,
    memory: Memory,
}

impl Fit<'_> {
    fn inputs(
        &mut self,
        manifest: &Manifest,
        infos: &[TensorInfo],
        width: usize,
    ) -> (Vec<Part>, Vec<Tensor>) {
        let mut parts = Vec::new();
        for spec in &manifest.inputs {
            if !infos.iter().any(|info| info.name == spec.tensor) {
                let problem = format!(
                    "the network has no input `{}`, only {}",
                    spec.tensor,
                    all(infos)
                );
                self.at(spec.line, &problem);
            }
        }
        let mut tensors = Vec::new();
        for (index, info) in infos.iter().enumerate() {
            let specs: Vec<&InputSpec> = manifest
                .inputs
                .iter()
                .filter(|spec| spec.tensor == info.name)
                .collect();
            if !info.is_f32 {
                self.problems.push(format!(
                    "the network's input {info} is not of 32-bit floats; export it as float32"
                ));
            }
            let state = manifest
                .states
                .iter()
                .find(|state| state.input == info.name);
            match (specs.first(), state) {
                (None, Some(state)) => tensors.extend(self.state(state, info)),
                (Some(spec), Some(_)) => self.at(
                    spec.line,
                    &format!(
                        "the network's input {info} is filled by an [[input]] and by a [[state]]"
                    ),
                ),
                (None, None) => self.problems.push(format!(
                    "the network's input {info} is filled by no [[input]]"
                )),
                (Some(_), None) => {
                    tensors.extend(self.input(index, info, &specs, width, &mut parts))
                }
            }
        }
        (parts, tensors)
    }

    /// The tensor of a state, zeroed.
    fn state(&mut self, spec: &StateSpec, info: &TensorInfo) -> Option<Tensor> {
        let shape = self.given_shape(info, spec.shape.as_ref().map(|s| (spec.line, s)))?;
        let known: Option<Vec<usize>> = shape.into_iter().collect();
        let Some(shape) = known else {
            self.at(
                spec.line,
                &format!("the network's input {info} leaves axes open; give the state's `shape`"),
            );
            return None;
        };
        let count = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        if count.is_none_or(|n| n > MAX_ELEMENTS) {
            self.at(
                spec.line,
                &format!("the network's input {info} is too large"),
            );
            return None;
        }
        Some(Tensor::zeros(&shape))
    }

    /// Where each state comes from and goes to.
    fn states(&mut self, manifest: &Manifest, inputs: &[TensorInfo], outputs: &[TensorInfo]) {
        for spec in &manifest.states {
            let input = inputs.iter().position(|info| info.name == spec.input);
            let output = outputs.iter().position(|info| info.name == spec.output);
            let (Some(input), Some(output)) = (input, output) else {
                let (side, name, there) = if input.is_none() {
                    ("input", &spec.input, inputs)
                } else {
                    ("output", &spec.output, outputs)
                };
                self.at(
                    spec.line,
                    &format!("the network has no {side} `{name}`, only {}", all(there)),
                );
                continue;
            };
            if !outputs[output].is_f32 {
                let info = &outputs[output];
                self.at(
                    spec.line,
                    &format!(
                        "the network's output {info} is not of 32-bit floats; export it as float32"
                    ),
                );
            }
            let twice = |link: &StateLink| link.input == input || link.output == output;
            if self.memory.states.iter().any(twice) {
                self.at(
                    spec.line,
                    "the input or output is another [[state]]'s already",
                );
                continue;
            }
            if manifest
                .outputs
                .iter()
                .any(|other| other.tensor == spec.output)
            {
                self.at(
                    spec.line,
                    &format!("`{}` moves joints, so it cannot be a state", spec.output),
                );
            }
            self.memory.states.push(StateLink { input, output });
        }
    }

    /// The shape in the manifest, if it agrees with the graph's; else the graph's.
    fn given_shape(
        &mut self,
        info: &TensorInfo,
        given: Option<(usize, &Vec<usize>)>,
    ) -> Option<Vec<Option<usize>>> {
        let Some((line, shape)) = given else {
            return Some(info.shape.clone());
        };
        let agrees = shape.len() == info.shape.len()
            && shape
                .iter()
                .zip(&info.shape)
                .all(|(&dim, known)| known.is_none_or(|k| k == dim));
        if agrees {
            return Some(shape.iter().copied().map(Some).collect());
        }
        self.at(
            line,
            &format!("shape {shape:?} is not the network's {info}"),
        );
        None
    }

    /// All parts of one input tensor, and the tensor.
    fn input(
        &mut self,
        index: usize,
        info: &TensorInfo,
        specs: &[&InputSpec],
        width: usize,
        parts: &mut Vec<Part>,
    ) -> Option<Tensor> {
        let given = specs
            .iter()
            .find_map(|spec| Some((spec.line, spec.shape.as_ref()?)));
        let shape = self.given_shape(info, given)?;
        let (mut start, mut complete) = (0, true);
        for spec in specs {
            match self.part(index, start, spec, &shape, width) {
                Some(part) => {
                    if let Source::GaitPhase(gait) = &spec.source {
                        self.memory.gaits.push(GaitPart {
                            tensor: index,
                            start,
                            gait: gait.clone(),
                        });
                    }
                    start += part.bound.len();
                    parts.push(part);
                }
                None => complete = false,
            }
        }
        let last = shape.len().saturating_sub(1);
        // A lone open last axis takes what the manifest gives; other open axes are batches of one.
        let shape: Vec<usize> = shape
            .iter()
            .enumerate()
            .map(|(i, dim)| dim.unwrap_or(if i == last { start } else { 1 }))
            .collect();
        let count = shape
            .iter()
            .try_fold(1usize, |n, &dim| n.checked_mul(dim))
            .filter(|&n| n <= MAX_ELEMENTS);
        let Some(count) = count else {
            self.problems
                .push(format!("the network's input {info} is too large"));
            return None;
        };
        if complete && count != start {
            let lines: Vec<String> = specs.iter().map(|spec| spec.line.to_string()).collect();
            let lines = lines.join(", ");
            self.problems.push(format!(
                "the network's input {info} takes {count} values, but the [[input]] of line {lines} give {start}"
            ));
        }
        (complete && count == start).then(|| Tensor::zeros(&shape))
    }

    fn part(
        &mut self,
        tensor: usize,
        start: usize,
        spec: &InputSpec,
        shape: &[Option<usize>],
        width: usize,
    ) -> Option<Part> {
        let bound = self.bind(spec, shape, width)?;
        let numbers = if let Bound::Image { .. } = bound {
            3
        } else {
            bound.len()
        };
        self.lengths(spec.line, "normalise", spec.normalise.lengths(), numbers)?;
        let units = match &spec.source {
            Source::JointPositions(joints, units) => from_rad(joints, units),
            // A velocity has no zero point: only the slope of the unit counts.
            Source::JointVelocities(joints, units) => slopes(from_rad(joints, units)),
            _ => vec![
                Affine {
                    gain: 1.0,
                    bias: 0.0
                };
                numbers
            ],
        };
        let affine = units
            .into_iter()
            .enumerate()
            .map(|(i, unit)| unit.then(spec.normalise.affine(i)))
            .collect();
        Some(Part {
            tensor,
            start,
            bound,
            affine,
            clip: spec.clip,
        })
    }

    fn bind(&mut self, spec: &InputSpec, shape: &[Option<usize>], width: usize) -> Option<Bound> {
        let joints = self.features.joints();
        match &spec.source {
            Source::JointPositions(names, _) => self
                .names(spec.line, "joint", names, joints)
                .map(Bound::Positions),
            Source::JointVelocities(names, _) => self
                .names(spec.line, "joint", names, joints)
                .map(Bound::Velocities),
            Source::LastAction => Some(Bound::LastAction(width)),
            Source::GaitPhase(gait) => Some(Bound::Gait(gait.offsets.len())),
            Source::Values(channel, names) => {
                let what = format!("{} value", channel.name());
                let indices =
                    self.names(spec.line, &what, names, self.features.values(*channel))?;
                Some(Bound::Values(*channel, indices))
            }
            Source::Image { camera, layout } => {
                let found = self.names(
                    spec.line,
                    "camera",
                    std::slice::from_ref(camera),
                    self.features.cameras(),
                );
                let size = self.image_size(spec.line, *layout, shape);
                let (width, height) = size?;
                Some(Bound::Image {
                    camera: found?.first().copied()?,
                    layout: *layout,
                    width,
                    height,
                })
            }
        }
    }

    /// Width and height of an image tensor of shape [1, 3, h, w] or [1, h, w, 3], batch optional.
    fn image_size(
        &mut self,
        line: usize,
        layout: ImageLayout,
        shape: &[Option<usize>],
    ) -> Option<(usize, usize)> {
        let axes = match shape {
            [batch, axes @ ..] if axes.len() == 3 && batch.is_none_or(|n| n == 1) => axes,
            axes => axes,
        };
        let (colour, height, width) = match (layout, axes) {
            (ImageLayout::Chw, &[c, h, w]) | (ImageLayout::Hwc, &[h, w, c]) => (c, h, w),
            _ => (None, None, None),
        };
        let size = match (colour, height, width) {
            (None | Some(3), Some(height), Some(width)) => Some((width, height)),
            _ => None,
        };
        if size.is_none() {
            let order = if layout == ImageLayout::Chw {
                "[1, 3, height, width]"
            } else {
                "[1, height, width, 3]"
            };
            self.at(
                line,
                &format!("an image needs a tensor of shape {order}; set `shape` or `layout`"),
            );
        }
        size
    }

    fn outputs(&mut self, manifest: &Manifest, infos: &[TensorInfo]) -> Vec<Decoder> {
        let decoders: Vec<Decoder> = manifest
            .outputs
            .iter()
            .filter_map(|spec| self.output(spec, manifest.chunk_size, infos))
            .collect();
        let mut drivers = vec![0usize; self.features.joints().len()];
        for output in &manifest.outputs {
            for index in output
                .joints
                .iter()
                .filter_map(|joint| self.features.joints().index_of(joint))
            {
                drivers[index] += 1;
            }
        }
        let named = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
            let joints = self.features.joints().iter().zip(&drivers);
            joints
                .filter(|(_, n)| wanted(**n))
                .map(|(joint, _)| format!("`{joint}`"))
                .collect()
        };
        let (idle, contested) = (named(&|n| n == 0), named(&|n| n > 1));
        if !idle.is_empty() {
            self.problems.push(format!(
                "no [[output]] drives the robot's {}",
                idle.join(", ")
            ));
        }
        if !contested.is_empty() {
            self.problems.push(format!(
                "more than one [[output]] drives {}",
                contested.join(", ")
            ));
        }
        decoders
    }

    fn output(&mut self, spec: &OutputSpec, chunk: usize, infos: &[TensorInfo]) -> Option<Decoder> {
        let joints = self.names(spec.line, "joint", &spec.joints, self.features.joints());
        let lengths = self.lengths(
            spec.line,
            "scale, offset or normalise",
            spec.transform.lengths(),
            spec.joints.len(),
        );
        let Some(tensor) = infos.iter().position(|info| info.name == spec.tensor) else {
            self.at(
                spec.line,
                &format!(
                    "the network has no output `{}`, only {}",
                    spec.tensor,
                    all(infos)
                ),
            );
            return None;
        };
        let info = &infos[tensor];
        if !info.is_f32 {
            self.at(
                spec.line,
                &format!(
                    "the network's output {info} is not of 32-bit floats; export it as float32"
                ),
            );
            return None;
        }
        if !holds(&info.shape, chunk, spec.joints.len()) {
            let count = spec.joints.len();
            self.at(
                spec.line,
                &format!("the network's output {info} does not hold {chunk} steps (chunk_size) of {count} joints"),
            );
            return None;
        }
        lengths?;
        let units = from_rad(&spec.joints, &spec.units);
        let units = if spec.relative { slopes(units) } else { units };
        let affine = units.into_iter().enumerate().map(|(i, unit)| {
            let (gain, bias) = spec.transform.affine(i);
            // rad = (physical − unit.bias) / unit.gain
            Affine { gain, bias }.then((1.0 / unit.gain, -unit.bias / unit.gain))
        });
        Some(Decoder {
            tensor,
            relative: spec.relative,
            joints: joints?,
            affine: affine.collect(),
            clip: spec.clip,
        })
    }

    /// Index of each wanted name; what is missing becomes one problem.
    fn names(
        &mut self,
        line: usize,
        what: &str,
        wanted: &[String],
        offered: &[String],
    ) -> Option<Vec<usize>> {
        if wanted.is_empty() {
            self.at(line, "names no joints, and the model's metadata names none either (`dof_names` or `joint_names`)");
            return None;
        }
        let index = |name: &String| offered.iter().position(|o| o == name);
        let missing: Vec<String> = wanted
            .iter()
            .filter(|n| index(n).is_none())
            .map(|n| format!("`{n}`"))
            .collect();
        if missing.is_empty() {
            return Some(wanted.iter().filter_map(index).collect());
        }
        let there = if offered.is_empty() {
            "none".to_owned()
        } else {
            offered.join(", ")
        };
        self.at(
            line,
            &format!(
                "the robot has no {what} {} (it has: {there})",
                missing.join(", ")
            ),
        );
        None
    }

    fn lengths(
        &mut self,
        line: usize,
        keys: &str,
        lengths: impl IntoIterator<Item = usize>,
        wanted: usize,
    ) -> Option<()> {
        let Some(wrong) = lengths.into_iter().find(|&n| n != wanted) else {
            return Some(());
        };
        self.at(
            line,
            &format!("{keys} has {wrong} values where 1 or {wanted} are needed"),
        );
        None
    }

    fn at(&mut self, line: usize, problem: &str) {
        self.problems.push(format!("line {line}: {problem}"));
    }
}

/// Whether a tensor can be `chunk` rows of `joints` values, row after row.
fn holds(shape: &[Option<usize>], chunk: usize, joints: usize) -> bool {
    let rows = chunk * joints;
    let last_fits = shape
        .last()
        .is_some_and(|last| last.is_none_or(|n| n == joints || n == rows));
    let known: Option<usize> = shape
        .iter()
        .try_fold(1usize, |n, dim| n.checked_mul(dim.unwrap_or(1)));
    let open = shape.iter().any(Option::is_none);
    last_fits && known.is_some_and(|n| n == rows || (open && n > 0 && rows.is_multiple_of(n)))
}

/// From rad to the unit, for each joint.
pub(crate) fn from_rad(joints: &[String], units: &JointUnits) -> Vec<Affine> {
    let degrees = Affine {
        gain: 180.0 / std::f64::consts::PI,
        bias: 0.0,
    };
    let of = |joint: &String| match (units.unit, units.ranges.get(joint)) {
        (Unit::Rad, _) => Affine {
            gain: 1.0,
            bias: 0.0,
        },
        (Unit::Lerobot, Some([low, high])) => {
            let gain = 100.0 / (high - low);
            Affine {
                gain,
                bias: -low * gain,
            }
        }
        _ => degrees,
    };
    joints.iter().map(of).collect()
}

fn slopes(units: Vec<Affine>) -> Vec<Affine> {
    units
        .into_iter()
        .map(|unit| Affine { bias: 0.0, ..unit })
        .collect()
}

fn all(infos: &[TensorInfo]) -> String {
    let names: Vec<String> = infos.iter().map(TensorInfo::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
