//! `sinew dataset repair`: the running episode of a session that crashed.

use super::args::Repair;
use super::check_folder;
use crate::failure::usage;
use anyhow::Result;
use sinew_datasets::{Error, RepairOptions, repair};

/// Runs the command.
pub(super) fn run(args: &Repair) -> Result<()> {
    check_folder(&args.path)?;
    let options = RepairOptions {
        keep_running: !args.discard,
    };
    let report = repair(&args.path, options).map_err(|error| match error {
        // The disk's own failures are no mistake of whoever typed the command.
        Error::Io { .. } => error.into(),
        other => usage(other),
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    if report.is_clean() {
        println!("nothing to repair; {} episodes", report.episodes);
        return Ok(());
    }
    for recovered in report.completed.iter().chain(&report.recovered) {
        println!(
            "episode {}: {} rows recovered, task \"{}\"",
            recovered.episode, recovered.rows, recovered.task
        );
    }
    if let Some(rows) = report.discarded_rows {
        println!("running episode thrown away: {rows} rows");
    }
    for file in &report.removed {
        println!("removed {}, which belonged to no episode", file.display());
    }
    println!("{} episodes", report.episodes);
    Ok(())
}
