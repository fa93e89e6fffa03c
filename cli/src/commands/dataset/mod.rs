//! `sinew dataset`: what a dataset holds, and what is wrong with it. One file a verb.

pub(crate) mod args;
mod convert;
mod diff;
mod doctor;
mod info;
mod ls;
mod pack;
pub(super) mod progress;
mod repair;
mod rerun;
mod show;
mod stats;
pub(super) mod text;
mod view;

use crate::failure::usage;
use anyhow::Result;
use args::{DatasetArgs, Verb};
use sinew_datasets::{Dataset, HubName};
use std::path::Path;

/// Runs the command.
pub(crate) fn dataset(args: &DatasetArgs) -> Result<()> {
    match &args.verb {
        Verb::Info(args) => info::info(args),
        Verb::Ls(args) => ls::ls(args),
        Verb::Show(args) => show::show(args),
        Verb::Doctor(args) => doctor::doctor(args),
        Verb::Stats(args) => stats::stats(args),
        Verb::Diff(args) => diff::diff(args),
        Verb::View(args) => view::view(args),
        Verb::Repair(args) => repair::run(args),
        Verb::Pack(args) => pack::run(args),
        Verb::Convert(args) => convert::run(args),
        Verb::Edit(command) => super::dataset_edit::run(command),
    }
}

/// Refuses paths that hold no dataset at all, damaged or not.
fn check_folder(path: &Path) -> Result<()> {
    if HubName::is_meant(path) {
        return Err(usage(format!(
            "{} is on a hub, and this needs the files in a folder; download it first: sinew hub pull --type dataset NAME FOLDER",
            path.display()
        )));
    }
    if !path.is_dir() {
        let what = if path.exists() {
            "is no folder"
        } else {
            "does not exist"
        };
        return Err(usage(format!(
            "{} {what}; give the folder of a dataset, the one that holds meta/info.json",
            path.display()
        )));
    }
    if !path.join("meta").is_dir() {
        return Err(usage(format!(
            "{} holds no dataset (there is no folder meta in it); give the folder that holds meta/info.json",
            path.display()
        )));
    }
    Ok(())
}

/// Opens a dataset in a folder or on a hub; of a damaged folder it says who knows more.
fn open(path: &Path) -> Result<Dataset> {
    if HubName::is_meant(path) {
        return crate::hub::dataset(path);
    }
    check_folder(path)?;
    Dataset::open(path).map_err(|e| ask_doctor(path, &e))
}

/// The error, and the command that finds all that is wrong.
fn ask_doctor(path: &Path, error: &sinew_datasets::Error) -> anyhow::Error {
    if HubName::is_meant(path) {
        return usage(error);
    }
    usage(format!(
        "{error}; `sinew dataset doctor {}` says all that is wrong with it",
        path.display()
    ))
}

/// Length of `rows` at the dataset's rate, s.
fn seconds(dataset: &Dataset, rows: u64) -> f64 {
    rows as f64 / f64::from(dataset.info().fps)
}
