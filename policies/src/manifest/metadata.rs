//! What a policy's model says about its joints: the notes that exporters leave in ONNX files.
//!
//! Two conventions are read. Holosoma writes JSON (`dof_names`, `kp`, `kd`); Isaac Lab's and mjlab's
//! exporters write comma-separated lists (`joint_names`, `joint_stiffness`, `joint_damping`,
//! `default_joint_pos`).

use super::{Manifest, OutputSpec, Source};
use crate::engines::onnx_card::ModelCard;
use crate::error::PolicyError;
use sinew_runtime::MAX_JOINTS;

/// Joints of a model, in its order: more than a robot may have is refused later, by name.
const MAX_NAMES: usize = 8 * MAX_JOINTS;

/// Springs of the joints that a policy was trained with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gains {
    /// Names of the joints.
    pub joints: Vec<String>,
    /// Stiffness of each, N·m/rad.
    pub stiffness: Vec<f64>,
    /// Damping of each, N·m·s/rad.
    pub damping: Vec<f64>,
}

impl Gains {
    /// Stiffness and damping of a joint.
    pub fn of(&self, joint: &str) -> Option<[f64; 2]> {
        let at = self.joints.iter().position(|name| name == joint)?;
        Some([*self.stiffness.get(at)?, *self.damping.get(at)?])
    }
}

/// Joints by name, with what else is said about them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct JointNotes {
    pub(super) joints: Vec<String>,
    pub(super) gains: Option<Gains>,
}

impl JointNotes {
    /// Reads the notes; `None` where they name no joints.
    pub(super) fn read(card: &ModelCard) -> Result<Option<Self>, String> {
        let (names, stiffness, damping) = if card.notes.contains_key("dof_names") {
            ("dof_names", "kp", "kd")
        } else {
            ("joint_names", "joint_stiffness", "joint_damping")
        };
        let Some(text) = card.notes.get(names) else {
            return Ok(None);
        };
        let joints = strings(names, text)?;
        if joints.is_empty() || joints.len() > MAX_NAMES {
            let count = joints.len();
            return Err(format!(
                "`{names}` names {count} joints; 1 to {MAX_NAMES} are allowed"
            ));
        }
        if let Some(twice) = joints
            .iter()
            .enumerate()
            .find(|(i, n)| joints[..*i].contains(n))
        {
            return Err(format!("`{names}` names `{}` twice", twice.1));
        }
        let per_joint = |key: &str| match card.notes.get(key) {
            None => Ok(None),
            Some(text) => numbers(key, text, joints.len()).map(Some),
        };
        let gains = match (per_joint(stiffness)?, per_joint(damping)?) {
            (Some(kp), Some(kd)) => {
                if let Some(bad) = kp.iter().chain(&kd).find(|gain| **gain < 0.0) {
                    return Err(format!(
                        "`{stiffness}` or `{damping}` holds {bad}; gains are not negative"
                    ));
                }
                Some(Gains {
                    joints: joints.clone(),
                    stiffness: kp,
                    damping: kd,
                })
            }
            _ => None,
        };
        Ok(Some(Self { joints, gains }))
    }
}

/// A list of texts: JSON, or separated by commas.
pub(super) fn strings(key: &str, text: &str) -> Result<Vec<String>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|error| format!("`{key}` is no JSON list of texts: {error}"));
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(text.split(',').map(|part| part.trim().to_owned()).collect())
}

/// One finite number for each of `count` joints: JSON, or separated by commas; a single number
/// stands for all.
pub(super) fn numbers(key: &str, text: &str, count: usize) -> Result<Vec<f64>, String> {
    let values: Vec<f64> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|error| format!("`{key}` is no JSON list of numbers: {error}"))?
    } else {
        let number = |part: &str| {
            let parsed = part.trim().parse::<f64>();
            parsed.map_err(|_| format!("`{key}` holds `{}`, which is no number", shown(part)))
        };
        text.split(',').map(number).collect::<Result<_, _>>()?
    };
    if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!(
            "`{key}` holds {bad}; only finite numbers are allowed"
        ));
    }
    match values.as_slice() {
        [one] => Ok(vec![*one; count]),
        all if all.len() == count => Ok(values),
        all => Err(format!(
            "`{key}` has {} values for {count} joints",
            all.len()
        )),
    }
}

/// At most the start of a text, for messages.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

impl Manifest {
    /// Fills in what the manifest leaves to the model: joints where it lists none, and gains. Refuses
    /// a manifest that lists an output's joints in another order than the model.
    pub fn completed_by(mut self, card: &ModelCard) -> Result<Self, PolicyError> {
        let refused = |line: usize, problem: String| PolicyError::Manifest {
            path: self.path.clone(),
            line,
            problem,
        };
        let notes = JointNotes::read(card).map_err(|problem| {
            refused(
                1,
                format!("the metadata of {}: {problem}", self.model_file.display()),
            )
        })?;
        let Some(notes) = notes else {
            return match self.without_joints() {
                Some(line) => Err(refused(
                    line,
                    "`joints`, a list of names, is missing, and the model's metadata names none"
                        .to_owned(),
                )),
                None => Ok(self),
            };
        };
        if let Some((line, problem)) = self
            .outputs
            .iter()
            .find_map(|output| contradiction(output, &notes))
        {
            return Err(refused(line, problem));
        }
        for input in &mut self.inputs {
            if let Source::JointPositions(joints, _) | Source::JointVelocities(joints, _) =
                &mut input.source
                && joints.is_empty()
            {
                joints.clone_from(&notes.joints);
            }
        }
        for output in &mut self.outputs {
            if output.joints.is_empty() {
                output.joints.clone_from(&notes.joints);
            }
        }
        self.gains = self.gains.take().or(notes.gains);
        Ok(self)
    }
}

impl Manifest {
    /// The line of the first input or output that leaves its joints to the model.
    fn without_joints(&self) -> Option<usize> {
        let input = self.inputs.iter().find_map(|input| match &input.source {
            Source::JointPositions(joints, _) | Source::JointVelocities(joints, _) => {
                joints.is_empty().then_some(input.line)
            }
            _ => None,
        });
        let mut outputs = self.outputs.iter();
        input.or_else(|| Some(outputs.find(|output| output.joints.is_empty())?.line))
    }
}

/// An output that moves the model's joints in another order.
fn contradiction(output: &OutputSpec, notes: &JointNotes) -> Option<(usize, String)> {
    let same = output.joints.len() == notes.joints.len()
        && output
            .joints
            .iter()
            .all(|joint| notes.joints.contains(joint));
    let (at, here) = output
        .joints
        .iter()
        .enumerate()
        .find(|(i, joint)| notes.joints.get(*i) != Some(joint))?;
    let there = notes.joints.get(at)?;
    let problem = format!(
        "`joints` has `{here}` where the model's own metadata has `{there}`; leave `joints` out to use the model's order"
    );
    same.then_some((output.line, problem))
}
