//! Arguments of `sinew policy`.

use crate::args::Computing;
use clap::{Args, Subcommand};
use sinew_policies::{EngineChoice, Precision, Provider};
use std::path::PathBuf;

/// Arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say what a policy is: network, inputs, outputs, units, size, training, processor steps.
    ///
    /// Example: sinew policy info out/train/checkpoints/last/pretrained_model
    Info(Info),
    /// Say whether a policy fits a robot: names, shapes, units, cameras, rate. All that does not fit is
    /// listed at once.
    ///
    /// Exit code: 0 it fits, 3 it fits with reservations, 4 it does not fit; 2 if it cannot be read.
    ///
    /// Example: sinew policy check out/pick --robot so101 --rename top=front
    Check(Check),
    /// Write a checkpoint's network as one portable .onnx file, with its normalisation inside.
    ///
    /// Example: sinew policy export out/pick --onnx pick.onnx
    Export(Export),
    /// Measure a policy: cold start, latency of a chunk, memory, beside the time that a chunk lasts.
    ///
    /// Example: sinew policy bench policies/demo/so101-pick --seconds 3
    Bench(Bench),
    /// Say how far apart the actions of two policies are on recorded observations, or those of one
    /// policy on two engines or in two precisions.
    ///
    /// Example: sinew policy compare out/pick --dataset out/demo --engine rten --engine-b ort
    Compare(Compare),
    /// Measure on recorded observations what 8-bit integers need to know of a checkpoint, keep it beside
    /// the checkpoint, and say what it costs: then --precision int8 runs it.
    ///
    /// Example: sinew policy quantize out/pick --dataset out/demo
    Quantize(Quantize),
}

impl Verb {
    /// The policies that are only read, which may lie on a hub.
    pub(super) fn policies(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Info(args) => vec![&mut args.path],
            Self::Check(args) => vec![&mut args.path],
            Self::Export(args) => vec![&mut args.path],
            Self::Bench(args) => vec![&mut args.path],
            Self::Compare(args) => std::iter::once(&mut args.a).chain(&mut args.b).collect(),
            // What it measures is kept beside the policy.
            Self::Quantize(_) => vec![],
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Info {
    /// Folder of a LeRobot checkpoint or of a policy.toml, an .onnx file, or org/name on a hub.
    pub(super) path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Folder of a LeRobot checkpoint or of a policy.toml, or org/name on a hub.
    pub(super) path: PathBuf,
    /// The robot: a built-in name or a folder with robot.toml.
    #[arg(long, default_value = "so101")]
    pub(super) robot: PathBuf,
    /// A simulated task, whose cameras and surroundings count instead: so101-pick.
    #[arg(long)]
    pub(super) task: Option<String>,
    /// A name of the policy (joint, camera or value) and the robot's name for the same; may be
    /// repeated.
    #[arg(long, value_name = "POLICY=ROBOT", value_parser = pair)]
    pub(super) rename: Vec<(String, String)>,
    /// Rate at which the policy is to run, Hz. Default: its own.
    #[arg(long, value_name = "HZ")]
    pub(super) fps: Option<f64>,
    /// Inference engine that it is to run on: auto, rten or ort.
    #[arg(long, default_value = "auto")]
    pub(super) engine: EngineChoice,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Folder of a LeRobot checkpoint, or org/name on a hub.
    pub(super) path: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(super) onnx: PathBuf,
    /// Replace a file that exists.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Folder of a LeRobot checkpoint or of a policy.toml, or org/name on a hub.
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) computing: Computing,
    /// How long to measure, s.
    #[arg(long, default_value_t = 5.0)]
    pub(super) seconds: f64,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Folder of a policy, or org/name on a hub.
    pub(super) a: PathBuf,
    /// Folder of the other policy. Default: the same.
    pub(super) b: Option<PathBuf>,
    /// Dataset whose observations both get.
    #[arg(long)]
    pub(super) dataset: PathBuf,
    /// The robot: a built-in name or a folder with robot.toml.
    #[arg(long, default_value = "so101")]
    pub(super) robot: PathBuf,
    #[command(flatten)]
    pub(super) computing: Computing,
    /// Engine of the other, where it is another.
    #[arg(long, value_name = "ENGINE")]
    pub(super) engine_b: Option<EngineChoice>,
    /// Provider of the other, where it is another.
    #[arg(long, value_name = "PROVIDER")]
    pub(super) provider_b: Option<Provider>,
    /// Precision of the other, where it is another.
    #[arg(long, value_name = "PRECISION")]
    pub(super) precision_b: Option<Precision>,
    /// Frames to compare, spread evenly over the dataset.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) frames: u64,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Quantize {
    /// Folder of a LeRobot checkpoint.
    pub(super) path: PathBuf,
    /// Dataset whose observations are used.
    #[arg(long)]
    pub(super) dataset: PathBuf,
    /// The robot: a built-in name or a folder with robot.toml.
    #[arg(long, default_value = "so101")]
    pub(super) robot: PathBuf,
    /// Inference engine: auto, rten or ort.
    #[arg(long, default_value = "auto")]
    pub(super) engine: EngineChoice,
    /// Threads that one inference may use; 0 is what suits the network.
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Frames to measure, and as many others to compare afterwards.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) frames: u64,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((policy, robot)) if !policy.is_empty() && !robot.is_empty() => {
            Ok((policy.to_owned(), robot.to_owned()))
        }
        _ => Err("write it as POLICY=ROBOT, such as top=front".to_owned()),
    }
}
