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
    /// Folder of the dataset, or hub://organisation/name[@revision].
    pub(super) path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Folder of the dataset, or hub://organisation/name[@revision].
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
