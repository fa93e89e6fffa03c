//! `sinew dataset view`: a page to look at, or a Rerun recording.

use super::args::View as Args;
use super::progress::Progress;
use super::text::{bytes, cut, labelled};
use super::{check_folder, open, rerun};
use crate::commands::dataset_edit::episodes;
use crate::failure::usage;
use anyhow::Result;
use sinew_datasets::Error;
use sinew_datasets::report::{Made, Options, write};
use std::path::{Path, PathBuf};

/// Runs the command.
pub(super) fn view(args: &Args) -> Result<()> {
    check_folder(&args.path)?;
    let chosen = chosen(&args.episode)?;
    if let Some(to) = &args.rerun {
        return rerun::record(args, to, &chosen);
    }
    let dataset = open(&args.path)?;
    // A wrong number is said before any work.
    for episode in &chosen {
        dataset.episode(*episode).map_err(usage)?;
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => default_page(&args.path),
    };
    if out.is_dir() {
        let problem = format!("{} is a folder; name a file with --out", out.display());
        return Err(usage(problem));
    }
    let options = Options {
        episodes: chosen,
        limit_bytes: u64::from(args.max_mb) * 1_000_000,
    };
    let mut progress = Progress::new("episodes drawn");
    let made = write(&args.path, &out, &options, &mut |done, total| {
        progress.at(done, total);
    });
    drop(progress);
    let made = made.map_err(|error| match error {
        // The disk's own failures are no mistake of whoever typed the command.
        Error::Io { .. } => error.into(),
        other => usage(other),
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&made)?);
    } else {
        print(&made);
    }
    Ok(())
}

fn print(made: &Made) {
    println!(
        "{}: {} with {} episodes; open it in a browser",
        made.path.display(),
        bytes(made.bytes),
        made.episodes
    );
    for text in &made.left_out {
        labelled("left out", &cut(text, 1000));
    }
}

/// The episodes that all the lists name together.
fn chosen(lists: &[String]) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for list in lists {
        all.extend(episodes(list)?);
    }
    Ok(all)
}

/// The dataset's name with `.html`, in the working folder.
fn default_page(dataset: &Path) -> PathBuf {
    let whole = dataset
        .canonicalize()
        .unwrap_or_else(|_| dataset.to_owned());
    let mut name = whole.file_name().unwrap_or("dataset".as_ref()).to_owned();
    name.push(".html");
    PathBuf::from(name)
}
