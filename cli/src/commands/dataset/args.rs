//! Arguments of `sinew dataset`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct DatasetArgs {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say what a dataset holds: robot, rate, features, totals, codecs, size.
    ///
    /// Example: sinew dataset info out/pick
    Info(Common),
    /// List the episodes, one a line: length, seconds, tasks.
    ///
    /// Example: sinew dataset ls out/pick
    Ls(Common),
    /// Show an episode: statistics of each value, or the values of one frame.
    ///
    /// Example: sinew dataset show out/pick 3 --frame 17
    Show(Show),
    /// Find everything that is wrong with a dataset, with place and remedy.
    ///
    /// Exit code: 0 nothing or notes only, 3 warnings, 4 errors; 2 if there is no dataset.
    ///
    /// Example: sinew dataset doctor out/pick
    Doctor(Doctor),
    /// Print the statistics of a dataset; compare them with its data, or compute them anew.
    ///
    /// Exit code of --check: 0 the stored values are those of the data, 1 some are wrong.
    ///
    /// Example: sinew dataset stats out/pick --check
    Stats(Stats),
    /// Say in what two datasets differ: head, tasks, episodes, rows, videos, statistics.
    ///
    /// Episodes are matched by what they hold, so one that was inserted or deleted is seen as such.
    ///
    /// Exit code: 0 the same, 1 different, 2 one of them cannot be read.
    ///
    /// Example: sinew dataset diff out/pick out/pick-clean
    Diff(Diff),
    /// Make a page to look at: pictures, joints, timing, findings, statistics; or a Rerun recording.
    ///
    /// Example: sinew dataset view out/pick --out pick.html
    View(View),
    /// Recover what a crashed recording left: the episode that was running becomes one of the dataset.
    ///
    /// Example: sinew dataset repair out/pick
    Repair(Repair),
    /// Join the files of a dataset, one an episode, into few large ones; nothing is re-encoded.
    ///
    /// Example: sinew dataset pack out/pick --in-place
    Pack(Pack),
    /// Convert from LeRobot v2.0 and v2.1, and from and to MCAP files and rosbag2 folders.
    ///
    /// What IN is decides: an old dataset becomes a v3.0 dataset, a v3.0 dataset an .mcap file or a
    /// rosbag2 folder, a bag a v3.0 dataset. Bags that came from here are restored bit for bit; of
    /// others, topics are put onto a grid of rows, each with the newest value (see --map).
    ///
    /// Example: sinew dataset convert out/pick pick.mcap
    Convert(Box<Convert>),
    /// Make new datasets from old ones: delete, split, merge, rename, relabel, drop, trim, reencode.
    ///
    /// Example: sinew dataset edit delete out/pick --episodes 3,7-9 --out out/pick-clean
    #[command(subcommand)]
    Edit(crate::commands::dataset_edit::EditCommand),
}

#[derive(Debug, Args)]
pub(super) struct Pack {
    /// Folder of the dataset.
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) result: crate::commands::dataset_edit::Outcome,
}

/// Formats that a conversion starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FromFormat {
    /// A LeRobot v2.0 or v2.1 dataset.
    LerobotV2,
    /// A LeRobot v3.0 dataset.
    LerobotV3,
    /// An MCAP file, a rosbag2 folder with MCAP files, or a folder of these.
    Mcap,
}

/// Formats that a conversion ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ToFormat {
    /// A LeRobot v3.0 dataset.
    Lerobot,
    /// One MCAP file.
    Mcap,
    /// A rosbag2 folder, one MCAP file an episode.
    Rosbag2,
}

/// What becomes of videos in a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Pictures {
    /// The encoded frames as they are, as foxglove_msgs/CompressedVideo.
    #[default]
    Video,
    /// Every frame decoded, as PNG in sensor_msgs/CompressedImage: large, and no way back.
    Png,
    /// Left out.
    None,
}

/// Units of joint positions in a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Unit {
    /// Degrees; in a dataset that is exported, grippers in percent.
    Degrees,
    /// Radians, or anything else that is to be taken over as it is.
    Radians,
    /// Percent of each joint's range.
    Percent,
}

/// Which time of a message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Time {
    /// When it was recorded.
    Log,
    /// The stamp in its header.
    Header,
}

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Dataset, MCAP file, rosbag2 folder, or folder of bags.
    #[arg(value_name = "IN")]
    pub(super) input: PathBuf,
    /// New file or folder.
    pub(super) out: PathBuf,
    /// What IN is, if that is not to be found out.
    #[arg(long, value_enum)]
    pub(super) from: Option<FromFormat>,
    /// What OUT is to be. Default for datasets: an MCAP file if it ends in .mcap, else a rosbag2 folder.
    #[arg(long, value_enum)]
    pub(super) to: Option<ToFormat>,
    /// Unit of joint positions in the dataset; ROS has radians.
    #[arg(long, value_enum)]
    pub(super) unit: Option<Unit>,
    #[command(flatten)]
    pub(super) export: Export,
    #[command(flatten)]
    pub(super) import: Import,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "To a bag")]
pub(super) struct Export {
    /// Episodes to convert, such as 3,7-9 (both ends included).
    #[arg(long)]
    pub(super) episodes: Option<String>,
    /// What becomes of videos [default: video].
    #[arg(long, value_enum)]
    pub(super) pictures: Option<Pictures>,
    /// Time of the first row, Unix seconds; a dataset has no dates [default: 1].
    #[arg(long, value_name = "SECONDS")]
    pub(super) start: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "From a robot's bag")]
pub(super) struct Import {
    /// TOML file with what the options below say: state, action, task, task_topic, fps, robot, unit,
    /// time, and the tables cameras (NAME = TOPIC) and units (JOINT = UNIT). Options win.
    #[arg(long, value_name = "FILE")]
    pub(super) map: Option<PathBuf>,
    /// Topic of the joints' state: JointState, Float64MultiArray or Float32MultiArray.
    #[arg(long, value_name = "TOPIC")]
    pub(super) state: Option<String>,
    /// Topic of the commanded joints, or next-state: the state of the next row.
    #[arg(long, value_name = "TOPIC")]
    pub(super) action: Option<String>,
    /// Camera and its topic: Image, CompressedImage or CompressedVideo; repeatable. Default: all.
    #[arg(long, value_name = "NAME=TOPIC")]
    pub(super) camera: Vec<String>,
    /// Rows a second. Default: the rate of the slowest camera.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) fps: Option<u32>,
    /// The task of all episodes.
    #[arg(long)]
    pub(super) task: Option<String>,
    /// Topic of task sentences (String), each of which begins an episode. Default: one that ends in /task.
    #[arg(long, value_name = "TOPIC")]
    pub(super) task_topic: Option<String>,
    /// LeRobot's name of the robot.
    #[arg(long)]
    pub(super) robot: Option<String>,
    /// Which time of a message counts [default: log].
    #[arg(long, value_enum)]
    pub(super) time: Option<Time>,
}

#[derive(Debug, Args)]
pub(super) struct Repair {
    /// Folder of the dataset.
    pub(super) path: PathBuf,
    /// Throw the running episode away instead.
    #[arg(long)]
    pub(super) discard: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Folder of the dataset, or `hub://organisation/name[@revision]`.
    pub(super) path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Folder of the dataset, or `hub://organisation/name[@revision]`.
    pub(super) path: PathBuf,
    /// Episode number, from 0.
    pub(super) episode: u64,
    /// Show the values of this frame (row of the episode, from 0).
    #[arg(long)]
    pub(super) frame: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Folder of the dataset.
    pub(super) path: PathBuf,
    /// Decode every picture of every video, instead of some of some.
    #[arg(long, conflicts_with = "no_pictures")]
    pub(super) deep: bool,
    /// Decode no pictures.
    #[arg(long)]
    pub(super) no_pictures: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Folder of the dataset.
    pub(super) path: PathBuf,
    /// Compare the stored values, of the dataset and of each episode, with those of the data.
    #[arg(long, conflicts_with = "write")]
    pub(super) check: bool,
    /// Compute all values from the data, exactly, and replace the stored ones.
    #[arg(long)]
    pub(super) write: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Folder of one dataset.
    pub(super) a: PathBuf,
    /// Folder of the other.
    pub(super) b: PathBuf,
    /// Do not decode pictures: videos whose files and encoded frames differ are only said to.
    #[arg(long)]
    pub(super) no_pictures: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct View {
    /// Folder of the dataset.
    pub(super) path: PathBuf,
    /// The page to write. Default: the dataset's name with .html, in this folder.
    #[arg(long, value_name = "FILE", conflicts_with = "rerun")]
    pub(super) out: Option<PathBuf>,
    /// Make a Rerun recording instead: a file that ends with .rrd, or `spawn` for the viewer.
    #[arg(long, value_name = "FILE|spawn")]
    pub(super) rerun: Option<String>,
    /// Episodes to show, such as 3,7-9 (both ends included); repeatable. Default: all, as far as the
    /// page has room.
    #[arg(long, value_name = "EPISODES")]
    pub(super) episode: Vec<String>,
    /// Most megabytes that the page may have.
    #[arg(
        long,
        value_name = "MB",
        default_value_t = 24,
        conflicts_with = "rerun"
    )]
    pub(super) max_mb: u32,
    /// Print what was made as JSON.
    #[arg(long)]
    pub(super) json: bool,
}
