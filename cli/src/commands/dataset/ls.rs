//! `sinew dataset ls`: the episodes, one a line.

use super::args::Common;
use super::text::{WIDTH, cut};
use super::{open, seconds};
use anyhow::Result;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Line<'a> {
    episode: u64,
    frames: u64,
    seconds: f64,
    tasks: &'a [String],
}

/// Runs the command.
pub(super) fn ls(args: &Common) -> Result<()> {
    let dataset = open(&args.path)?;
    let lines: Vec<Line<'_>> = dataset
        .episodes()
        .iter()
        .map(|episode| Line {
            episode: episode.index,
            frames: episode.length,
            seconds: seconds(&dataset, episode.length),
            tasks: &episode.tasks,
        })
        .collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(());
    }
    println!("{:>8}{:>10}{:>12}  tasks", "episode", "frames", "seconds");
    for line in &lines {
        println!(
            "{:>8}{:>10}{:>12.1}  {}",
            line.episode,
            line.frames,
            line.seconds,
            cut(&line.tasks.join(" · "), WIDTH - 32)
        );
    }
    Ok(())
}
