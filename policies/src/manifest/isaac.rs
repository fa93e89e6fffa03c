//! A manifest from the notes that Isaac Lab's and mjlab's exporters leave in a policy's ONNX file, so
//! that such a file needs no `policy.toml`.
//!
//! The notes list observation terms in order, with scale, clip and history of each, and for actions
//! their scale and the default pose that they are counted from. They do not say how often the policy
//! decides: both train velocity tasks at 50 Hz, which is taken.

use super::metadata::{JointNotes, numbers, shown, strings};
use super::{InputSpec, JointUnits, Manifest, Normalise, OutputSpec, OutputTransform, Source};
use crate::engines::onnx_card::ModelCard;
use crate::error::PolicyError;
use crate::features::Channel;
use std::path::Path;

/// Decisions a second of a policy whose file does not say.
const RATE_HZ: f64 = 50.0;
/// Observation terms; policies have some ten.
const MAX_TERMS: usize = 64;

/// What the notes say about each observation term.
struct Term {
    name: String,
    scale: Vec<f64>,
    clip: Option<[f64; 2]>,
}

impl Manifest {
    /// The manifest of a model whose metadata describes it; `path` is the model's. `robot` stays
    /// empty: any robot with joints of those names may use it.
    pub fn from_metadata(path: &Path, card: &ModelCard) -> Result<Self, PolicyError> {
        described(path, card).map_err(|problem| PolicyError::Model {
            path: path.to_owned(),
            problem: format!(
                "its metadata does not describe a policy: {problem}; write a policy.toml beside it"
            ),
        })
    }
}

fn described(path: &Path, card: &ModelCard) -> Result<Manifest, String> {
    let notes = JointNotes::read(card)?.ok_or("it names no joints (`joint_names`)")?;
    let joints = &notes.joints;
    let text = |key: &str| card.notes.get(key).ok_or(format!("`{key}` is missing"));
    let defaults = numbers(
        "default_joint_pos",
        text("default_joint_pos")?,
        joints.len(),
    )?;
    let scale = numbers("action_scale", text("action_scale")?, joints.len())?;
    let ([input], [output]) = (card.inputs.as_slice(), card.outputs.as_slice()) else {
        let (inputs, outputs) = (card.inputs.len(), card.outputs.len());
        return Err(format!(
            "the network has {inputs} inputs and {outputs} outputs, and one of each can be bound"
        ));
    };
    let mut inputs = Vec::new();
    for term in terms(card)? {
        inputs.push(bind(&term, input, joints, &defaults)?);
    }
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    Ok(Manifest {
        path: path.to_owned(),
        name: name.unwrap_or_else(|| "policy".to_owned()),
        description: "bound by the notes in its ONNX file".to_owned(),
        robot: String::new(),
        rate_hz: RATE_HZ,
        chunk_size: 1,
        n_action_steps: 1,
        model_file: path.file_name().map(Into::into).unwrap_or_default(),
        inputs,
        outputs: vec![OutputSpec {
            line: 1,
            tensor: output.clone(),
            relative: false,
            joints: joints.clone(),
            units: JointUnits::default(),
            clip: None,
            transform: OutputTransform::ScaleOffset {
                scale,
                offset: defaults,
            },
        }],
        states: Vec::new(),
        gains: notes.gains,
    })
}

fn terms(card: &ModelCard) -> Result<Vec<Term>, String> {
    let text = card.notes.get("observation_names");
    let names = strings(
        "observation_names",
        text.ok_or("`observation_names` is missing")?,
    )?;
    if names.is_empty() || names.len() > MAX_TERMS {
        return Err(format!(
            "`observation_names` must name 1 to {MAX_TERMS} terms"
        ));
    }
    let column = |key: &str| -> Result<Option<Vec<String>>, String> {
        let Some(text) = card.notes.get(key) else {
            return Ok(None);
        };
        let parts = strings(key, text)?;
        if parts.len() == names.len() {
            Ok(Some(parts))
        } else {
            Err(format!(
                "`{key}` has {} entries for {} terms",
                parts.len(),
                names.len()
            ))
        }
    };
    let scales = column("observation_terms_scale")?;
    let clips = column("observation_terms_clip")?;
    let histories = column("observation_terms_history_length")?;
    let of =
        |column: &Option<Vec<String>>, i: usize| column.as_ref().and_then(|c| c.get(i)).cloned();
    let mut terms = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if let Some(history) = of(&histories, i)
            && !matches!(parts("observation_terms_history_length", &history)?.as_slice(), [n] if *n <= 1.0)
        {
            return Err(format!(
                "term `{name}` has a history of {} steps, which cannot be bound",
                shown(&history)
            ));
        }
        let scale = of(&scales, i).map_or(Ok(vec![1.0]), |text| {
            parts("observation_terms_scale", &text)
        })?;
        if scale.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(format!("the scale of term `{name}` is not above 0"));
        }
        let clip = of(&clips, i)
            .map(|text| parts("observation_terms_clip", &text))
            .transpose()?;
        terms.push(Term {
            clip: limits(name, clip)?,
            name: name.clone(),
            scale,
        });
    }
    Ok(terms)
}

/// Numbers of one entry, separated by semicolons.
fn parts(key: &str, text: &str) -> Result<Vec<f64>, String> {
    let number = |part: &str| {
        let parsed = part.trim().parse::<f64>();
        parsed.map_err(|_| format!("`{key}` holds `{}`, which is no number", shown(part)))
    };
    text.split(';').map(number).collect()
}

/// Limits of a term; infinite ones are none.
fn limits(name: &str, clip: Option<Vec<f64>>) -> Result<Option<[f64; 2]>, String> {
    match clip.as_deref() {
        None => Ok(None),
        Some(&[low, high]) if low < high => {
            let finite = low.is_finite() || high.is_finite();
            Ok(finite.then(|| [low.max(f64::MIN), high.min(f64::MAX)]))
        }
        Some(_) => Err(format!(
            "the clip of term `{name}` is not a lower and an upper limit"
        )),
    }
}

/// The input that is a term.
fn bind(
    term: &Term,
    tensor: &str,
    joints: &[String],
    defaults: &[f64],
) -> Result<InputSpec, String> {
    let xyz = |what: &str| {
        ["x", "y", "z"]
            .map(|axis| format!("{what}.{axis}"))
            .to_vec()
    };
    let units = JointUnits::default();
    let (source, mean, width) = match term.name.as_str() {
        "base_ang_vel" | "imu_ang_vel" => (
            Source::Values(Channel::Imu, xyz("angular_velocity")),
            vec![0.0],
            3,
        ),
        "base_lin_vel" | "imu_lin_vel" => (
            Source::Values(Channel::Imu, xyz("linear_velocity")),
            vec![0.0],
            3,
        ),
        "projected_gravity" => (Source::Values(Channel::Imu, xyz("gravity")), vec![0.0], 3),
        "command" | "velocity_commands" | "twist" | "generated_commands" => {
            let names = ["velocity.x", "velocity.y", "yaw_rate"].map(str::to_owned);
            (
                Source::Values(Channel::Command, names.to_vec()),
                vec![0.0],
                3,
            )
        }
        "joint_pos" | "joint_pos_rel" => (
            Source::JointPositions(joints.to_vec(), units),
            defaults.to_vec(),
            joints.len(),
        ),
        "joint_vel" | "joint_vel_rel" => (
            Source::JointVelocities(joints.to_vec(), units),
            vec![0.0],
            joints.len(),
        ),
        "actions" | "last_action" => (Source::LastAction, vec![0.0], joints.len()),
        other => {
            return Err(format!(
                "observation term `{}` is not known (base_ang_vel, base_lin_vel, projected_gravity, command, \
                 joint_pos, joint_vel and actions are)",
                shown(other)
            ));
        }
    };
    if term.scale.len() != 1 && term.scale.len() != width {
        return Err(format!(
            "term `{}` has {width} values and {} scales",
            term.name,
            term.scale.len()
        ));
    }
    // The exporters clip before they scale; here it is done after.
    let clip = match (term.clip, term.scale.as_slice()) {
        (None, _) => None,
        (Some([low, high]), [scale]) => {
            Some([(low * scale).max(f64::MIN), (high * scale).min(f64::MAX)])
        }
        (Some(_), _) => {
            return Err(format!(
                "term `{}` has a clip and several scales, which cannot be bound",
                term.name
            ));
        }
    };
    Ok(InputSpec {
        line: 1,
        tensor: tensor.to_owned(),
        source,
        normalise: Normalise::MeanStd {
            mean,
            std: term.scale.iter().map(|scale| 1.0 / scale).collect(),
        },
        clip,
        shape: None,
    })
}
