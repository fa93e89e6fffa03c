//! Carries a plan out.

use super::place::{Workspace, copy_extras};
use super::plan::Plan;
use super::rows::WrittenRows;
use super::{Report, Target, marks, rows, video_stats, videos};
use crate::episodes::{self, Episode, episodes_file};
use crate::error::Result;
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::levels::Levels;
use crate::stats::Stats;
use crate::stats::whole::{DataRows, whole};
use crate::table::TableWriter;
use crate::tasks::Tasks;
use std::path::Path;

/// Episodes in one file of the episode table.
const EPISODES_A_FILE: usize = 5000;
/// Episodes in one row group of it.
const EPISODES_A_GROUP: usize = 500;

/// Makes the plan's dataset at its target.
pub(crate) fn make(plan: Plan<'_>, target: &Target) -> Result<Report> {
    let roots: Vec<_> = plan.sources.iter().map(|s| s.root.clone()).collect();
    let roots: Vec<&Path> = roots.iter().map(AsRef::as_ref).collect();
    let work = Workspace::begin(&roots, target)?;
    let mut report = build(plan, work.root())?;
    report.root = work.publish()?;
    Ok(report)
}

/// Writes the plan's dataset into the folder `root`, every file flushed.
pub(crate) fn build(mut plan: Plan<'_>, root: &Path) -> Result<Report> {
    let mut info = plan.info();
    let written_videos = videos::write(&plan, &info, root)?;
    let written = rows::write(&mut plan, &info, root)?;
    let (cameras, notes) = video_stats::cameras(&plan, &info, root, &written_videos)?;
    let files: Vec<DataRows> = written.files.iter().cloned().map(DataRows::all).collect();
    let whole = whole(&info, &files, written.rows, |_, _, _| ())?;
    let mut whole = Stats(whole);
    cameras.iter().for_each(|c| whole.merge(c));
    let levels = video_stats::levels(&plan);
    if let Some(levels) = &levels {
        for (name, exact) in video_stats::exact(&plan, levels).0 {
            whole.set(&name, exact);
        }
    }
    whole.sort(&info.features);

    let mut notes = [std::mem::take(&mut plan.notes), notes].concat();
    if written.not_finite > 0 {
        notes.push(format!(
            "{} values are no finite numbers; statistics leave them out",
            written.not_finite
        ));
    }
    let data_files = written.files.len() as u64;
    let episodes = entries(&plan, &info, &written, written_videos.spans, cameras);
    let meta = root.join("meta");
    fsio::create_dir(&meta)?;
    copy_extras(&plan.source().root, root)?;
    marks::write(&plan, root)?;
    if let Some(levels) = levels {
        fsio::write_synced(&root.join(Levels::name()), levels.to_text()?.as_bytes())?;
    }
    write_episodes(root, episodes)?;
    written.tasks.write(&Tasks::path(root))?;
    fsio::write_synced(&meta.join("stats.json"), &whole.to_bytes()?)?;
    info.total_episodes = plan.segments.len() as u64;
    info.total_frames = written.rows;
    info.total_tasks = written.tasks.sentences().len() as u64;
    info.update_splits();
    fsio::write_synced(&Info::path(root), &info.to_bytes()?)?;
    Ok(Report {
        root: root.to_owned(),
        episodes: info.total_episodes,
        frames: info.total_frames,
        tasks: info.total_tasks,
        data_files,
        videos: written_videos.work,
        notes,
    })
}

/// The rows of the episode table.
fn entries(
    plan: &Plan<'_>,
    info: &Info,
    written: &WrittenRows,
    spans: Vec<Vec<crate::VideoSpan>>,
    cameras: Vec<Stats>,
) -> Vec<Episode> {
    let parts = plan
        .segments
        .iter()
        .zip(&written.episodes)
        .zip(spans)
        .zip(cameras);
    parts
        .enumerate()
        .map(|(index, (((segment, rows), videos), cameras))| {
            let mut stats = rows.stats.clone();
            stats.0.extend(cameras.0);
            stats.sort(&info.features);
            Episode {
                index: index as u64,
                tasks: rows.tasks.clone(),
                length: segment.rows(),
                data: rows.data,
                from_index: rows.from_index,
                to_index: rows.from_index + segment.rows(),
                videos,
                stats,
                meta: FileIndex::default(),
            }
        })
        .collect()
}

pub(super) fn write_episodes(root: &Path, mut episodes: Vec<Episode>) -> Result<()> {
    let mut at = FileIndex::default();
    for part in episodes.chunks_mut(EPISODES_A_FILE) {
        let path = root.join(episodes_file(at)?);
        if let Some(parent) = path.parent() {
            fsio::create_dir(parent)?;
        }
        let mut writer: Option<TableWriter> = None;
        for (i, episode) in part.iter_mut().enumerate() {
            episode.meta = at;
            let row = episodes::row(&path, episode)?;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(TableWriter::create(&path, row.schema(), &[])?),
            };
            writer.write(&row)?;
            if (i + 1) % EPISODES_A_GROUP == 0 {
                writer.end_group()?;
            }
        }
        writer.map_or(Ok(()), TableWriter::finish)?;
        at = at.next(crate::CHUNKS_SIZE);
    }
    Ok(())
}
