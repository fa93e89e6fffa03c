//! Arguments of `sinew dataset`.

use clap::{Args, Subcommand};
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
    /// Make new datasets from old ones: delete, split, merge, rename, relabel, drop, trim, reencode.
    ///
    /// Example: sinew dataset edit delete out/pick --episodes 3,7-9 --out out/pick-clean
    #[command(subcommand)]
    Edit(crate::commands::dataset_edit::EditCommand),
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
    /// Folder of the dataset.
    pub(super) path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Folder of the dataset.
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
