//! `sinew policy info`: what a policy is.

use super::args::Info;
use super::{Stored, checkpoint, network};
use crate::commands::dataset::text::{bytes, cut, labelled};
use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What is to be known of a policy, whatever its format.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// For people.
    pub(super) description: String,
    /// `LeRobot checkpoint`, `policy.toml`, `ONNX file` and so on.
    pub(super) format: String,
    /// `act`, `diffusion`, or `network`.
    pub(super) architecture: String,
    /// The architecture's settings.
    pub(super) settings: Map<String, Value>,
    pub(super) robot: Option<String>,
    pub(super) rate_hz: Option<f64>,
    pub(super) n_obs_steps: Option<usize>,
    pub(super) chunk_size: Option<usize>,
    pub(super) n_action_steps: Option<usize>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) parameters: Option<u64>,
    /// Parameters by precision.
    pub(super) precisions: Map<String, Value>,
    pub(super) size_bytes: u64,
    pub(super) files: Vec<PathBuf>,
    pub(super) training: Map<String, Value>,
    /// Processor steps before and after the network.
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
    /// What a person should know.
    pub(super) remarks: Vec<String>,
}

/// Something that goes in or out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Port {
    pub(super) name: String,
    /// Joints, an image, surroundings.
    pub(super) kind: String,
    pub(super) shape: Vec<Option<usize>>,
    /// Unit of the values at the robot's side.
    pub(super) units: Option<String>,
    /// How values are normalised.
    pub(super) normalisation: Option<String>,
    /// Joints or values in order, or the camera.
    pub(super) entries: Vec<String>,
}

/// Runs the command.
pub(super) fn info(args: &Info) -> Result<()> {
    let summary = match Stored::open(&args.path)? {
        Stored::Checkpoint(stored) => checkpoint::summary(&stored),
        Stored::Manifest(manifest, described) => network::summary(&manifest, described)?,
        Stored::Onnx(file) => network::of_file(&file)?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print(&summary);
    }
    Ok(())
}

fn print(summary: &Summary) {
    labelled(
        "policy",
        &cut(&format!("{} ({})", summary.name, summary.format), 200),
    );
    if !summary.description.is_empty() {
        labelled("", &cut(&summary.description, 400));
    }
    labelled("network", &architecture(summary));
    labelled(
        "robot",
        &cut(summary.robot.as_deref().unwrap_or("not named"), 80),
    );
    if let Some(steps) = summary.chunk_size {
        labelled("chunk", &chunk(summary, steps));
    }
    labelled("size", &size(summary));
    let training = summary.training.iter();
    let training: Vec<String> = training
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    if !training.is_empty() {
        labelled("training", &cut(&training.join(", "), 400));
    }
    println!(
        "{:<36}{:<14}{:<14}{:<14}entries",
        "input", "shape", "units", "normalised"
    );
    summary.inputs.iter().for_each(port);
    println!(
        "{:<36}{:<14}{:<14}{:<14}entries",
        "output", "shape", "units", "normalised"
    );
    summary.outputs.iter().for_each(port);
    for (label, steps) in [("before", &summary.before), ("after", &summary.after)] {
        if !steps.is_empty() {
            labelled(label, &cut(&steps.join(" → "), 2000));
        }
    }
    for remark in &summary.remarks {
        labelled("remark", &cut(remark, 2000));
    }
}

fn architecture(summary: &Summary) -> String {
    let settings = summary.settings.iter();
    let settings: Vec<String> = settings
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    match settings.is_empty() {
        true => summary.architecture.clone(),
        false => format!(
            "{}: {}",
            summary.architecture,
            cut(&settings.join(", "), 1000)
        ),
    }
}

fn chunk(summary: &Summary, steps: usize) -> String {
    let used = summary.n_action_steps.unwrap_or(steps);
    let mut text = format!("{steps} steps, {used} used");
    match summary.rate_hz {
        Some(rate) => text += &format!(", at {rate} Hz ({:.2} s)", steps as f64 / rate),
        None => text += ", at a rate that nothing says",
    }
    if let Some(seen) = summary.n_obs_steps {
        text += &format!(
            "; sees {seen} observation{}",
            if seen == 1 { "" } else { "s" }
        );
    }
    text
}

fn size(summary: &Summary) -> String {
    let files = summary.files.len();
    let files = format!(
        "{} in {files} file{}",
        bytes(summary.size_bytes),
        if files == 1 { "" } else { "s" }
    );
    let Some(parameters) = summary.parameters else {
        return files;
    };
    let precisions = summary.precisions.keys().cloned().collect::<Vec<_>>();
    format!(
        "{} parameters ({}), {files}",
        count(parameters),
        precisions.join(", ")
    )
}

/// A count in the unit that fits.
fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", number as f64 / 1e6),
        _ => format!("{:.2} G", number as f64 / 1e9),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn port(port: &Port) {
    let size = |size: &Option<usize>| size.map_or("any".to_owned(), |size| size.to_string());
    let shape: Vec<String> = port.shape.iter().map(size).collect();
    let head = format!(
        "{:<36}{:<14}{:<14}{:<14}",
        cut(&port.name, 35),
        cut(&shape.join("×"), 13),
        cut(port.units.as_deref().unwrap_or("-"), 13),
        cut(port.normalisation.as_deref().unwrap_or("-"), 13),
    );
    let entries = cut(&port.entries.join(", "), 2000);
    let lines = crate::commands::dataset::text::wrap(&entries, 78);
    println!("{}{}", head, lines.first().map_or("", String::as_str));
    for line in lines.iter().skip(1) {
        println!("{:78}{line}", "");
    }
}
