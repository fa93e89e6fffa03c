//! MCAP files and rosbag2 folders → LeRobot v3.0.

use super::bags::bags;
use super::foreign;
use super::grid::TopicUse;
use super::mapping::Mapping;
use super::restore::Restore;
use super::scan::{Event, scan};
use super::survey::{open, scan_bag};
use super::topics::DATASET_RECORD;
use crate::convert::as_conversion;
use crate::edit::build::build;
use crate::edit::place::Workspace;
use crate::edit::plan::Plan;
use crate::edit::{Limits, Report, Target};
use crate::error::{Error, Result};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What an import made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Imported {
    /// The dataset.
    pub dataset: Report,
    /// Whether it is a restored dataset, bit for bit, not one resampled from topics.
    pub restored: bool,
    /// Rows a second.
    pub fps: u32,
    /// How topics fit the rows; empty for a restored dataset.
    pub topics: Vec<TopicUse>,
}

/// Makes a dataset in the new folder `out` of the bags in `input`. What this program exported is
/// restored as it was; topics of other bags are chosen by `mapping` and put onto a grid of rows.
/// `progress` is told the rows that are recorded.
///
/// # Errors
/// [`Error::Convert`] if there are no bags or topics cannot be chosen, [`Error::Mcap`] if a file is
/// none or nothing of it is whole; as for a recording, if cameras cannot be encoded.
pub fn import(
    input: &Path,
    out: &Path,
    mapping: &Mapping,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported> {
    let bags = bags(input)?;
    let target = Target::Folder(out.to_owned());
    let work = Workspace::begin(&[input], &target).map_err(as_conversion)?;
    let scratch = work.root().join("scratch");
    crate::fsio::create_dir(&scratch)?;
    let files: Vec<PathBuf> = bags.concat();
    let restored = is_export(&files)?;
    let (mut plan, topics) = if restored {
        let (source, notes) = restore(input, &files, &scratch)?;
        let mut plan = Plan::of_sources(vec![source]);
        plan.notes = notes;
        (plan, Vec::new())
    } else {
        let found = foreign::record(input, &bags, &scratch, mapping, progress)?;
        let mut plan = Plan::of(&scratch)?;
        plan.notes = found.notes;
        (plan, found.topics)
    };
    let info = &plan.source().info;
    let (fps, limits) = (info.fps, Limits::of(info));
    plan.pack = Some(limits);
    plan.complete_pictures = true;
    let mut dataset = build(plan, work.root())?;
    std::fs::remove_dir_all(&scratch).map_err(Error::io("remove", &scratch))?;
    dataset.root = work.publish()?;
    Ok(Imported {
        dataset,
        restored,
        fps,
        topics,
    })
}

/// Whether all that a restoration needs is in the files.
fn is_export(files: &[PathBuf]) -> Result<bool> {
    let mut found = false;
    scan_bag(files, &mut |event| {
        found |= matches!(event, Event::Metadata(record) if record.name == DATASET_RECORD);
        let decided = found || matches!(event, Event::Message(_));
        Ok(if decided {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(found)
}

fn restore(
    input: &Path,
    files: &[PathBuf],
    scratch: &Path,
) -> Result<(crate::edit::plan::Source, Vec<String>)> {
    let mut restore = Restore::new(input, scratch);
    let mut damage = Vec::new();
    for path in files {
        let found = scan(path, open(path)?, &mut |event| restore.take(event))?;
        let words = found.problems.into_iter();
        damage.extend(words.map(|p| format!("{}: {p}", path.display())));
    }
    let (source, notes) = restore.finish()?;
    damage.extend(notes);
    Ok((source, damage))
}
