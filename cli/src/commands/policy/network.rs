//! What there is to say about an ONNX network, with or without a `policy.toml`.

use super::checkpoint::unit;
use super::info::{Port, Summary};
use crate::failure::usage;
use anyhow::Result;
use sinew_policies::manifest::{
    Described, InputSpec, Normalise, OutputSpec, OutputTransform, Source, Wave,
};
use sinew_policies::{Engine, EngineChoice, Manifest, ModelBytes, TensorInfo};
use std::path::Path;

/// A policy that a file of its folder describes.
pub(super) fn summary(manifest: &Manifest, described: Described) -> Result<Summary> {
    let folder = manifest.path.parent().unwrap_or(Path::new(""));
    let mut summary = of_file(&folder.join(&manifest.model_file))?;
    let shape = |ports: &[Port], tensor: &str| {
        let found = ports.iter().find(|port| port.name == tensor);
        found.map(|port| port.shape.clone()).unwrap_or_default()
    };
    let inputs = manifest.inputs.iter().map(|input| Port {
        shape: shape(&summary.inputs, &input.tensor),
        ..input_port(input)
    });
    let outputs = manifest.outputs.iter().map(|output| Port {
        shape: shape(&summary.outputs, &output.tensor),
        ..output_port(output)
    });
    (summary.inputs, summary.outputs) = (inputs.collect(), outputs.collect());
    summary.path = folder.to_owned();
    summary.name = manifest.name.clone();
    summary.description = manifest.description.clone();
    summary.format = described.to_string();
    summary.robot = Some(manifest.robot.clone());
    summary.rate_hz = Some(manifest.rate_hz);
    summary.chunk_size = Some(manifest.chunk_size);
    summary.n_action_steps = Some(manifest.n_action_steps);
    Ok(summary)
}

/// A network alone.
pub(super) fn of_file(file: &Path) -> Result<Summary> {
    let size_bytes = std::fs::metadata(file).map(|file| file.len()).unwrap_or(0);
    let engine = open(file)?;
    let ports = |infos: &[TensorInfo]| infos.iter().map(port).collect();
    Ok(Summary {
        path: file.to_owned(),
        name: file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        format: "ONNX file".to_owned(),
        architecture: "network".to_owned(),
        inputs: ports(engine.inputs()),
        outputs: ports(engine.outputs()),
        size_bytes,
        files: vec![file.to_owned()],
        ..Summary::default()
    })
}

/// Opened by the engine that can: inputs and outputs are what it says.
fn open(file: &Path) -> Result<Box<dyn Engine>> {
    let model = || ModelBytes::read(file).map_err(usage);
    match EngineChoice::Rten.open(model()?, 1) {
        Ok(engine) => Ok(engine),
        Err(_) => EngineChoice::Auto.open(model()?, 1).map_err(usage),
    }
}

fn port(info: &TensorInfo) -> Port {
    Port {
        name: info.name.clone(),
        kind: if info.is_f32 {
            "tensor"
        } else {
            "tensor, not f32"
        }
        .to_owned(),
        shape: info.shape.clone(),
        ..Port::default()
    }
}

fn input_port(input: &InputSpec) -> Port {
    let (kind, entries, units) = match &input.source {
        Source::JointPositions(joints, units) => {
            ("joint positions", joints.clone(), unit(units.unit))
        }
        Source::JointVelocities(joints, units) => {
            ("joint velocities", joints.clone(), unit(units.unit))
        }
        Source::LastAction => ("last action", vec!["last action".to_owned()], "raw"),
        Source::Values(channel, names) => (channel.name(), names.clone(), "SI"),
        Source::GaitPhase(gait) => {
            let wave = match gait.wave {
                Wave::Sin => "sine",
                Wave::Cos => "cosine",
            };
            let feet = (1..=gait.offsets.len()).map(|foot| format!("{wave}, foot {foot}"));
            ("gait phase", feet.collect(), "1")
        }
        Source::Image { camera, .. } => ("image", vec![format!("camera {camera}")], "0 to 1"),
    };
    Port {
        name: input.tensor.clone(),
        kind: kind.to_owned(),
        units: Some(units.to_owned()),
        normalisation: normalisation(&input.normalise),
        entries,
        ..Port::default()
    }
}

fn output_port(output: &OutputSpec) -> Port {
    let normalised = match &output.transform {
        OutputTransform::Undo(normalise) => normalisation(normalise),
        OutputTransform::ScaleOffset { .. } => Some("scaled".to_owned()),
    };
    Port {
        name: output.tensor.clone(),
        kind: if output.relative {
            "joint offsets"
        } else {
            "joint targets"
        }
        .to_owned(),
        units: Some(unit(output.units.unit).to_owned()),
        normalisation: normalised,
        entries: output.joints.clone(),
        ..Port::default()
    }
}

fn normalisation(normalise: &Normalise) -> Option<String> {
    match normalise {
        Normalise::Identity => None,
        Normalise::MeanStd { .. } => Some("MEAN_STD".to_owned()),
        Normalise::MinMax { .. } => Some("MIN_MAX".to_owned()),
    }
}
