//! After a crash: completes what was being saved, recovers what was being recorded, and removes
//! what belongs to nothing. Saved episodes are never touched.

use crate::episodes::{self, Episode, episodes_file};
use crate::error::{Error, Result};
use crate::info::{FileIndex, Info};
use crate::journal::commit::{Head, clear_staging};
use crate::journal::drop_ballast;
use crate::journal::plan::Plan;
use crate::journal::replay::replay;
use crate::resume::{STAGING, check_compatible, features, lock};
use crate::video::Quality;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files in a row that may be missing among those that nobody refers to.
const SEARCH_BEYOND: usize = 100;

/// What to do with the episode that was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairOptions {
    /// Whether it becomes part of the dataset (true unless said otherwise) or is thrown away.
    pub keep_running: bool,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self { keep_running: true }
    }
}

/// An episode that repair made part of the dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// Its number, from 0.
    pub episode: u64,
    /// Its task sentences.
    pub task: String,
    /// Rows, each with all its frames.
    pub rows: u64,
    /// Rows at the end whose frames were not on the disk any more.
    pub rows_without_frames: u64,
}

/// What repair found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RepairReport {
    /// Episodes in the dataset now.
    pub episodes: u64,
    /// The episode whose saving had begun; it is complete.
    pub completed: Option<Recovered>,
    /// The episode that was running, to the last row that was on the disk with its frames.
    pub recovered: Option<Recovered>,
    /// Rows of the running episode that were thrown away on request.
    pub discarded_rows: Option<u64>,
    /// Files that belonged to no episode, relative to the root.
    pub removed: Vec<PathBuf>,
}

impl RepairReport {
    /// Whether there was nothing to do.
    pub fn is_clean(&self) -> bool {
        self.completed.is_none()
            && self.recovered.is_none()
            && self.discarded_rows.is_none()
            && self.removed.is_empty()
    }
}

/// Repairs the dataset in `root` after a crash. Doing it again changes nothing more.
///
/// # Errors
/// [`Error::Locked`] while somebody records there; any error of reading a saved episode's table,
/// before anything is changed.
pub fn repair(root: &Path, options: RepairOptions) -> Result<RepairReport> {
    Info::read(root)?;
    let _lock = lock(root)?;
    let staging = root.join(STAGING);
    // Space that was kept for finishing an episode: this is the time.
    drop_ballast(&staging);
    let mut report = RepairReport {
        completed: complete(root)?,
        ..RepairReport::default()
    };
    let info = Info::read(root)?;
    let episodes = episodes::read_all(root, &info, false)?;
    report.removed = remove_leftovers(root, &info, &episodes)?;
    recover(root, info, options, &mut report)?;
    std::fs::remove_dir_all(&staging).map_err(Error::io("remove", &staging))?;
    report.episodes = Info::read(root)?.total_episodes;
    Ok(report)
}

/// Carries out the plan of an interrupted save, if there is one.
pub(crate) fn complete(root: &Path) -> Result<Option<Recovered>> {
    let staging = root.join(STAGING);
    let Some(plan) = Plan::read(&staging)? else {
        return Ok(None);
    };
    plan.carry_out(root, &staging, None)?;
    clear_staging(&staging)?;
    Ok(Some(Recovered {
        episode: plan.episode,
        task: plan.task,
        rows: plan.rows,
        rows_without_frames: 0,
    }))
}

fn recover(
    root: &Path,
    info: Info,
    options: RepairOptions,
    report: &mut RepairReport,
) -> Result<()> {
    let staging = root.join(STAGING);
    let Some(replay) = replay(&staging)?.filter(|replay| replay.is_of(&info)) else {
        return Ok(());
    };
    let rows = replay.rows.len();
    if !options.keep_running {
        report.discarded_rows = Some(rows);
        return Ok(());
    }
    let spec = replay.header.spec.clone();
    check_compatible(
        root,
        &info,
        &spec,
        &features(&spec, None, Quality::default()),
    )?;
    let mut recovered = Recovered {
        episode: replay.header.episode,
        task: replay.rows.tasks().join("; "),
        rows,
        rows_without_frames: replay.rows_found - rows,
    };
    let mut head = Head::read(root, &spec, info)?;
    let mut finished = replay.finish(&staging, &head.info.features)?;
    finished.mark.recovered = true;
    recovered.episode = head.commit(finished, None)?.episode;
    report.recovered = Some(recovered);
    Ok(())
}

/// Removes data, video and episode files behind the last that an episode refers to: an older
/// version's interrupted save left them, and LeRobot would read them as data.
fn remove_leftovers(root: &Path, info: &Info, episodes: &[Episode]) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    let in_use = files_in_use(info, episodes)?;
    let mut behind = |last: Option<FileIndex>, name: &dyn Fn(FileIndex) -> Result<PathBuf>| {
        let mut at = last.map_or(FileIndex::default(), |at| at.next(info.chunks_size));
        let mut missing = 0;
        while missing < SEARCH_BEYOND {
            let relative = name(at)?;
            let path = root.join(&relative);
            if path.is_file() && !in_use.contains(&relative) {
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                removed.push(relative);
                missing = 0;
            } else {
                missing += 1;
            }
            at = at.next(info.chunks_size);
        }
        Ok::<(), Error>(())
    };
    behind(episodes.iter().map(|e| e.meta).max(), &episodes_file)?;
    behind(episodes.iter().map(|e| e.data).max(), &|at| {
        info.data_file(at)
    })?;
    for key in info.features.video_keys() {
        let spans = episodes.iter().flat_map(|e| &e.videos);
        let last = spans.filter(|v| v.key == key).map(|v| v.file).max();
        behind(last, &|at| info.video_file(key, at))?;
    }
    let half = root.join("meta/info.part");
    if half.is_file() {
        std::fs::remove_file(&half).map_err(Error::io("remove", &half))?;
        removed.push("meta/info.part".into());
    }
    Ok(removed)
}

/// All files that episodes refer to, relative to the root: whatever the path templates are, none of
/// these is removed.
fn files_in_use(info: &Info, episodes: &[Episode]) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for episode in episodes {
        files.insert(episodes_file(episode.meta)?);
        files.insert(info.data_file(episode.data)?);
        for video in &episode.videos {
            files.insert(info.video_file(&video.key, video.file)?);
        }
    }
    Ok(files)
}
