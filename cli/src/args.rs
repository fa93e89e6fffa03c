//! Every command and option. What they mean is in the commands' own files.

use clap::{Args, Parser, Subcommand, ValueEnum};
use sinew_datasets::video::{PixFmt, Quality};
use sinew_policies::{EngineChoice, LoadOptions, Precision, Provider};
use sinew_runtime::actions::{Blend, StrategyKind, StrategyWish};
use std::path::PathBuf;

/// Drive, record, simulate and run policies on robots.
#[derive(Debug, Parser)]
#[command(
    name = "sinew",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Simulate an SO-101, record it, replay it, run a policy on it, push what was recorded to a hub and pull it back:
    /// the whole path, no hardware.
    ///
    /// Example: sinew demo --out out/demo
    Demo(Demo),
    /// Run a simulated world behind an emulated servo bus.
    ///
    /// Example: sinew sim so101-pick      (then, elsewhere: sinew teleop --port sim --teleop keyboard)
    Sim(Sim),
    /// Drive a robot by hand, script or topic.
    ///
    /// Example: sinew teleop --robot so101 --port /dev/ttyACM0 --teleop keyboard
    Teleop(Teleop),
    /// Record episodes into a LeRobot v3.0 dataset.
    ///
    /// Example: sinew record --port sim --teleop scripted --dataset out/pick --episodes 5
    Record(Record),
    /// Send a recorded episode's actions to the robot.
    ///
    /// Example: sinew replay --port sim --dataset out/pick --episode 0
    Replay(Replay),
    /// Run a policy on the robot.
    ///
    /// Example: sinew run --port sim --policy policies/demo/so101-pick
    Run(Run),
    /// Let a policy play many seeded episodes of a simulated task, and say how often it succeeds.
    ///
    /// Example: sinew eval so101-pick --policy policies/demo/so101-pick --episodes 50
    Eval(Eval),
    /// Look into datasets and check them.
    ///
    /// Example: sinew dataset doctor out/pick
    Dataset(crate::commands::dataset::args::DatasetArgs),
    /// Look into policies, and say whether they fit a robot.
    ///
    /// Example: sinew policy info policies/demo/so101-pick
    Policy(crate::commands::policy::args::PolicyArgs),
    /// Run a hub for datasets and policies, or move them to and from one.
    ///
    /// Example: sinew hub push out/pick robots/pick
    #[cfg(feature = "hub")]
    Hub(sinew_hub::command::Hub),
    /// Measure the control loop or the servo bus on this machine.
    ///
    /// Example: sinew bench loop --rate 1000
    Bench(Bench),
    /// Say what is installed, what is missing, and what to type.
    ///
    /// Example: sinew doctor
    Doctor(Doctor),
}

/// Which robot, and how to reach it.
#[derive(Debug, Clone, Args)]
pub(crate) struct RobotArgs {
    /// Blueprint: a built-in name, or a folder with a robot.toml.
    #[arg(long, default_value = "so101")]
    pub(crate) robot: String,
    /// Serial port; `sim` for the world that `sinew sim` runs. Default: the only port that matches the blueprint.
    #[arg(long)]
    pub(crate) port: Option<String>,
    /// Calibration file (LeRobot's JSON), or the id of one in LeRobot's calibration folder.
    #[arg(long)]
    pub(crate) calibration: Option<String>,
    /// Servo bus cycles a second.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) bus_rate: f64,
    /// Socket of a simulated world, for its cameras and task state. Found by itself with `--port sim`.
    #[arg(long)]
    pub(crate) sim: Option<PathBuf>,
}

/// What a run shows and tells.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// No live panel, even in a terminal.
    #[arg(long)]
    pub(crate) no_panel: bool,
    /// Save a Rerun recording to this file, or `spawn` to open the viewer.
    #[arg(long, value_name = "FILE|spawn")]
    pub(crate) view: Option<String>,
    /// Publish ROS 2 topics (joint states, images, diagnostics) over zenoh.
    #[arg(long)]
    pub(crate) topics: bool,
    /// zenoh endpoint to connect to, such as tcp/192.168.1.5:7447; repeatable. Implies --topics.
    #[arg(long)]
    pub(crate) connect: Vec<String>,
    /// zenoh endpoint to listen on; repeatable. Implies --topics.
    #[arg(long)]
    pub(crate) listen: Vec<String>,
    /// ROS domain id.
    #[arg(long, default_value_t = 0)]
    pub(crate) domain: u32,
    /// ROS node, such as /operator/station, that must be there from the start: when it goes away,
    /// the emergency stop trips. Implies --topics.
    #[arg(long, value_name = "NODE")]
    pub(crate) supervisor: Option<String>,
}

impl OutputArgs {
    pub(crate) fn wants_topics(&self) -> bool {
        let endpoints = !self.connect.is_empty() || !self.listen.is_empty();
        self.topics || endpoints || self.supervisor.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder for everything that the demo makes. Emptied first, if an earlier demo made it.
    #[arg(long, default_value = "out/demo")]
    pub(crate) out: PathBuf,
    /// Episodes to record.
    #[arg(long, default_value_t = 5)]
    pub(crate) episodes: u64,
    /// Seed of the first episode.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder of the policy, or org/name on a hub.
    #[arg(long, default_value = "policies/trained/so101-pick-act")]
    pub(crate) policy: PathBuf,
    /// Inference engine: auto, rten or ort.
    #[arg(long, default_value = "auto")]
    pub(crate) engine: EngineChoice,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// The world: so101-pick, go2-walk or g1-walk.
    pub(crate) world: String,
    /// Seed of the world.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// so101-pick: bytes on the bus take no time.
    #[arg(long)]
    pub(crate) no_wire_timing: bool,
    /// so101-pick: frames a second of each camera; 0 for none.
    #[arg(long, default_value_t = 30)]
    pub(crate) camera_fps: u32,
    /// so101-pick: size of the cameras' pictures.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "320x240", value_parser = picture_size)]
    pub(crate) camera_size: (u32, u32),
    /// so101-pick: bus fault, such as silent:3, noise=0.01, overload:6, unplug; repeatable.
    #[arg(long)]
    pub(crate) fault: Vec<String>,
    /// so101-pick: no bus and no clock, but worlds that wait for every step, one a connection to this
    /// socket; the LeRobot plugin lerobot_env_sinew uses it.
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["fault", "port_link", "eeprom", "no_wire_timing"])]
    pub(crate) serve: Option<PathBuf>,
    /// so101-pick: name of the port (a link to the pseudo-terminal).
    #[arg(long)]
    pub(crate) port_link: Option<PathBuf>,
    /// so101-pick: file that keeps the servos' EEPROM.
    #[arg(long)]
    pub(crate) eeprom: Option<PathBuf>,
    /// Stop after this long, seconds. Of a walk: simulated time, 10 unless given.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// go2-walk, g1-walk: commanded forward speed, m/s.
    #[arg(long, default_value_t = 0.6)]
    pub(crate) speed: f64,
    /// g1-walk: the trained policy: ppo or fastsac.
    #[arg(long, value_name = "NAME", default_value = "fastsac")]
    pub(crate) policy: String,
    /// go2-walk, g1-walk: inference engine: auto, rten or ort.
    #[arg(long, default_value = "auto")]
    pub(crate) engine: EngineChoice,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operator {
    /// Keys in this terminal.
    Keyboard,
    /// The scripted operator of a simulated task.
    Scripted,
    /// Joint commands from a ROS 2 topic (`joint_command`).
    Topic,
}

#[derive(Debug, Args)]
pub(crate) struct Teleop {
    #[command(flatten)]
    pub(crate) robot: RobotArgs,
    /// Who drives.
    #[arg(long, value_enum, default_value = "keyboard")]
    pub(crate) teleop: Operator,
    /// Loop ticks a second.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) rate: f64,
    /// Stop after this long, seconds.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Simulated task: start the episode of this seed first.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    pub(crate) robot: RobotArgs,
    /// Who drives.
    #[arg(long, value_enum, default_value = "keyboard")]
    pub(crate) teleop: Operator,
    /// Folder of the dataset.
    #[arg(long)]
    pub(crate) dataset: PathBuf,
    /// Append to the dataset if it exists.
    #[arg(long)]
    pub(crate) resume: bool,
    /// What the robot does, in words. Repeatable: episodes take the tasks in turn, and the key t goes
    /// on to the next one within an episode.
    #[arg(
        long,
        default_value = "Pick up the cube and place it in the target zone."
    )]
    pub(crate) task: Vec<String>,
    /// Episodes to record.
    #[arg(long, default_value_t = 5)]
    pub(crate) episodes: u64,
    /// Longest episode, seconds.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) episode_time: f64,
    /// Time between episodes to put things back, seconds (no wait in simulation).
    #[arg(long, default_value_t = 5.0)]
    pub(crate) reset_time: f64,
    /// Rows and frames a second.
    #[arg(long, default_value_t = 30)]
    pub(crate) fps: u32,
    /// Video codec.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) codec: CodecArg,
    /// Constant quality of the video; higher is coarser.
    #[arg(long, default_value_t = Quality::default().crf)]
    pub(crate) crf: u32,
    /// Frames from one key frame of the video to the next.
    #[arg(long, default_value_t = Quality::default().gop)]
    pub(crate) gop: u32,
    /// How the video keeps colours: yuv420p or yuv444p (x264 and x265 only).
    #[arg(long, default_value = PixFmt::default().name())]
    pub(crate) pix_fmt: PixFmt,
    /// Keep every picture without loss in the parquet file instead of a video.
    #[arg(long, conflicts_with_all = ["codec", "crf", "gop", "pix_fmt"])]
    pub(crate) images: bool,
    /// A camera that gives no new frame for this long is lost and ends the episode, seconds; 0 to go
    /// on with the old frame.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) camera_timeout: f64,
    /// Simulated task: seed of the first episode; each one after it adds one.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Push the dataset to this repository on a hub when the recording is done (HF_ENDPOINT, or the last
    /// sinew hub login). The login is checked before the recording.
    #[arg(long, value_name = "ORG/NAME")]
    pub(crate) push: Option<String>,
    #[command(flatten)]
    pub(crate) lockstep: LockstepArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Recording in simulated time.
#[derive(Debug, Clone, Args)]
pub(crate) struct LockstepArgs {
    /// Simulate so101-pick in this process as fast as the machine allows, with the scripted operator.
    /// Episodes that fail are left out. What a bus, a clock or another process is needed for does not go
    /// with it.
    #[arg(long, conflicts_with_all = [
        "port", "sim", "calibration", "bus_rate", "camera_timeout",
        "view", "topics", "connect", "listen", "domain", "supervisor",
    ])]
    pub(crate) lockstep: bool,
    /// With --lockstep: size of the cameras' pictures.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "320x240", requires = "lockstep", value_parser = picture_size)]
    pub(crate) camera_size: (u32, u32),
    /// With --lockstep: standard deviation of noise on what the arm is told, rad; the recorded actions
    /// stay what the operator wanted, so that a policy learns to come back from errors.
    #[arg(
        long,
        default_value_t = 0.0,
        requires = "lockstep",
        allow_negative_numbers = true
    )]
    pub(crate) noise: f64,
    /// With --lockstep: let this policy play each episode for some seconds, then take over. Recorded is what
    /// the operator does from there, so that the policy learns to get out of its own mistakes.
    #[arg(long, value_name = "POLICY", requires = "lockstep")]
    pub(crate) take_over: Option<PathBuf>,
}

impl LockstepArgs {
    /// Recording in real time.
    pub(crate) const OFF: Self = Self {
        lockstep: false,
        camera_size: (320, 240),
        noise: 0.0,
        take_over: None,
    };
}

/// Video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecArg {
    /// The first that keeps up with the cameras: a hardware encoder, AV1, H.264.
    Auto,
    /// H.264.
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
}

impl From<CodecArg> for sinew_datasets::Codec {
    fn from(codec: CodecArg) -> Self {
        match codec {
            CodecArg::Auto => Self::Auto,
            CodecArg::H264 => Self::H264,
            CodecArg::Hevc => Self::Hevc,
            CodecArg::Av1 => Self::Av1,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) robot: RobotArgs,
    /// Folder of the dataset, or `hub://organisation/name[@revision]`.
    #[arg(long)]
    pub(crate) dataset: PathBuf,
    /// Episode to replay.
    #[arg(long, default_value_t = 0)]
    pub(crate) episode: u64,
    /// Simulated task: start the episode of this seed first.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) robot: RobotArgs,
    /// Folder of a LeRobot checkpoint, of a policy package, or of an .onnx file and its policy.toml; or
    /// `org/name` or `org/name@revision` on a hub, from which it is fetched once (HF_ENDPOINT, or the last sinew hub login).
    #[arg(long)]
    pub(crate) policy: PathBuf,
    #[command(flatten)]
    pub(crate) computing: Computing,
    /// Stop after this long, seconds.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Simulated task: start the episode of this seed first, and stop at success.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) strategy: StrategyArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// On what a policy computes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Computing {
    /// Inference engine: auto, rten or ort.
    #[arg(long, default_value = "auto")]
    pub(crate) engine: EngineChoice,
    /// Where it computes: cpu, cuda or tensorrt.
    #[arg(long, default_value = "cpu")]
    pub(crate) provider: Provider,
    /// What it computes with: fp32, fp16 or int8.
    #[arg(long, default_value = "fp32")]
    pub(crate) precision: Precision,
    /// Threads that one inference may use; 0 is what suits the network.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
}

impl Computing {
    /// How to load a policy that is to compute so.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            threads: self.threads,
            provider: self.provider,
            precision: self.precision,
            ..LoadOptions::from(self.engine)
        }
    }
}

/// How a policy's chunks of actions are played. What is left out follows from the policy.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StrategyArgs {
    /// When the policy is asked: sync (play a chunk, hold while the next one is computed), async (ask
    /// ahead and blend) or ensemble (ask at every step, mean of all predictions). Default: ensemble
    /// where the policy was made for it, otherwise async.
    #[arg(long)]
    strategy: Option<StrategyKind>,
    /// async: share of a chunk that is left when the next one is asked for, 0 to 1. Default: 0.5, or
    /// more if the policy says that less of a chunk should be used.
    #[arg(long, value_name = "SHARE", conflicts_with = "n_action_steps")]
    refill: Option<f64>,
    /// async: how overlapping chunks are joined: weighted_average (0.3 old, 0.7 new), latest_only,
    /// average or conservative (0.7 old, 0.3 new). Default: weighted_average.
    #[arg(long)]
    blend: Option<Blend>,
    /// ensemble: how fast weights fall from the oldest prediction to the newest. Default: the
    /// policy's, or 0.01.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    ensemble_coeff: Option<f64>,
    /// sync and async: actions of a chunk that are played before the policy is asked again. Default:
    /// the policy's.
    #[arg(long, value_name = "N")]
    n_action_steps: Option<usize>,
}

impl StrategyArgs {
    pub(crate) fn wish(&self) -> StrategyWish {
        StrategyWish {
            kind: self.strategy,
            refill: self.refill,
            blend: self.blend,
            coeff: self.ensemble_coeff,
            n_action_steps: self.n_action_steps,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// The task: so101-pick.
    #[arg(default_value = "so101-pick")]
    pub(crate) task: String,
    /// Folder of a LeRobot checkpoint, of a policy package, or of an .onnx file and its policy.toml; or
    /// `org/name` or `org/name@revision` on a hub, from which it is fetched once (HF_ENDPOINT, or the last sinew hub login).
    #[arg(long)]
    pub(crate) policy: PathBuf,
    #[command(flatten)]
    pub(crate) computing: Computing,
    /// Episodes to play.
    #[arg(long, default_value_t = 50)]
    pub(crate) episodes: u64,
    /// Seed of the first episode; each one after it adds one.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The seeds, from the first up to, but without, the last: 1000..1100.
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["episodes", "seed"], value_parser = seed_range)]
    pub(crate) seeds: Option<std::ops::Range<u64>>,
    #[command(flatten)]
    pub(crate) strategy: StrategyArgs,
    /// Time that an inference is taken to need, ms of simulated time.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) latency_ms: f64,
    /// Size of the pictures of all cameras, such as 128x96. Default: what the policy takes.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = picture_size)]
    pub(crate) camera_size: Option<(u32, u32)>,
    /// Longest episode, seconds of simulated time.
    #[arg(long, default_value_t = 25.0)]
    pub(crate) episode_time: f64,
    /// Episodes to play at a time. Default: one for each core. The results do not depend on it.
    #[arg(long)]
    pub(crate) workers: Option<usize>,
    /// Print JSON, with the result of every seed.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seed_range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let numbers = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    numbers
        .filter(|seeds: &std::ops::Range<u64>| !seeds.is_empty())
        .ok_or_else(|| "write it as FROM..TO with TO above FROM, such as 1000..1100".to_owned())
}

fn picture_size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=4096).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| "write it as WIDTHxHEIGHT in pixels, such as 128x96".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) what: BenchWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchWhat {
    /// The control loop and a device thread on an emulated bus: wake-up error, work time, ages.
    Loop {
        /// Loop and bus cycles a second.
        #[arg(long, default_value_t = 1000.0)]
        rate: f64,
        /// How long, seconds.
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sync read and sync write of a robot, back to back.
    Bus {
        #[command(flatten)]
        robot: RobotArgs,
        /// Measure on an emulated bus with wire timing instead of a real port.
        #[arg(long)]
        emulated: bool,
        /// Cycles.
        #[arg(long, default_value_t = 2000)]
        cycles: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
