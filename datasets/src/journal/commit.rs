//! From a finished episode to a larger dataset, in one step.
//!
//! All files are written into the staging folder and flushed. Then the plan of their renames is
//! put down, which saves the episode, and carried out; `meta/info.json` comes last, so that readers
//! meanwhile see the dataset as it was.

use super::marks::{EpisodeMark, EpisodeMarks};
use super::plan::{Move, Plan};
use super::records::JOURNAL;
use crate::data::{EpisodeRows, Numbering};
use crate::episodes::{self, Episode, VideoSpan, episodes_file};
use crate::error::{Error, Result};
use crate::features::{DatasetSpec, Features};
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::recorder::EpisodeSummary;
use crate::resume::{NextFiles, STAGING};
use crate::stats::{FeatureStats, Stats};
use crate::tasks::Tasks;
use crate::video::FinishedVideo;
use std::path::{Path, PathBuf};

/// What a dataset holds, as far as appending to it needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) root: PathBuf,
    pub(crate) spec: DatasetSpec,
    pub(crate) info: Info,
    tasks: Tasks,
    stats: Stats,
    next: NextFiles,
    marks: EpisodeMarks,
}

/// An episode whose videos are finished, in the staging folder.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) task: String,
    pub(crate) rows: EpisodeRows,
    /// One a camera, in the spec's order.
    pub(crate) videos: Vec<FinishedCamera>,
    pub(crate) mark: EpisodeMark,
}

/// One camera's finished video.
#[derive(Debug)]
pub(crate) struct FinishedCamera {
    pub(crate) key: String,
    /// Name in the staging folder.
    pub(crate) staged: PathBuf,
    pub(crate) video: FinishedVideo,
    pub(crate) stats: FeatureStats,
}

impl Head {
    /// The head of a dataset that has no episodes yet.
    pub(crate) fn new(root: &Path, spec: &DatasetSpec, info: Info) -> Self {
        Self {
            root: root.to_owned(),
            spec: spec.clone(),
            info,
            tasks: Tasks::default(),
            stats: Stats::default(),
            next: NextFiles {
                videos: vec![FileIndex::default(); spec.cameras.len()],
                ..NextFiles::default()
            },
            marks: EpisodeMarks::default(),
        }
    }

    /// Reads the head of the dataset in `root`.
    pub(crate) fn read(root: &Path, spec: &DatasetSpec, info: Info) -> Result<Self> {
        let episodes = episodes::read_all(root, &info, true)?;
        let tasks = if info.total_episodes == 0 {
            Tasks::default()
        } else {
            Tasks::read(root)?
        };
        let mut stats = Stats::default();
        episodes.iter().for_each(|e| stats.merge(&e.stats));
        Ok(Self {
            next: NextFiles::after(&episodes, spec, info.chunks_size),
            marks: EpisodeMarks::read(root)?,
            root: root.to_owned(),
            spec: spec.clone(),
            info,
            tasks,
            stats,
        })
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Adds an episode. `stop` ends it before the plan (0) or before a rename (from 1), as a crash
    /// would. On error the head is as it was; what the disk holds, `repair` sorts out.
    pub(crate) fn commit(
        &mut self,
        episode: Finished,
        stop: Option<usize>,
    ) -> Result<EpisodeSummary> {
        self.check(&episode)?;
        let mut next = self.clone();
        let (plan, summary) = next.stage(episode)?;
        if stop == Some(0) {
            return Err(Error::Order {
                problem: "stopped by a test",
            });
        }
        let staging = self.staging();
        plan.write(&staging)?;
        plan.carry_out(&self.root, &staging, stop.map(|step| step - 1))?;
        *self = next;
        clear_staging(&staging)?;
        Ok(summary)
    }

    /// Rows and frames must be equal in number.
    fn check(&self, episode: &Finished) -> Result<()> {
        let rows = episode.rows.len();
        if rows == 0 {
            return Err(Error::Order {
                problem: "the episode has no rows; nothing was saved",
            });
        }
        match episode.videos.iter().find(|v| v.video.frames != rows) {
            Some(uneven) => Err(Error::Misaligned {
                episode: self.info.total_episodes,
                camera: uneven.key.clone(),
                rows,
                frames: uneven.video.frames,
            }),
            None => Ok(()),
        }
    }

    /// Writes all files of the episode, flushed, into the staging folder, and becomes the head of
    /// the dataset with it.
    fn stage(&mut self, episode: Finished) -> Result<(Plan, EpisodeSummary)> {
        let number = self.info.total_episodes;
        let rows = episode.rows.len();
        let duration_s = rows as f64 / f64::from(self.spec.fps);
        let mut moves = Vec::new();
        let mut image_stats = Vec::new();
        let mut spans = Vec::new();
        let mut video_bytes = 0;
        for (camera, file) in episode.videos.into_iter().zip(&self.next.videos) {
            video_bytes += camera.video.bytes;
            moves.push(Move {
                staged: camera.staged,
                target: self.info.video_file(&camera.key, *file)?,
            });
            image_stats.push((camera.key.clone(), camera.stats));
            spans.push(VideoSpan {
                key: camera.key,
                file: *file,
                from_s: 0.0,
                to_s: duration_s,
            });
        }
        let (task, _) = self.tasks.number(&episode.task);
        let numbering = Numbering {
            episode: number,
            first_index: self.info.total_frames,
            task,
            fps: self.spec.fps,
        };
        let staged = self.staging().join("data.parquet");
        let column_stats = episode.rows.write(&staged, numbering)?;
        let videos = moves.iter().map(|m| self.root.join(&m.target)).collect();
        let data = self.info.data_file(self.next.data)?;
        moves.push(Move {
            staged: "data.parquet".into(),
            target: data.clone(),
        });
        let entry = Episode {
            index: number,
            tasks: vec![episode.task.clone()],
            length: rows,
            data: self.next.data,
            from_index: self.info.total_frames,
            to_index: self.info.total_frames + rows,
            videos: spans,
            stats: in_feature_order(&self.info.features, column_stats, image_stats),
            meta: self.next.meta,
        };
        let summary = EpisodeSummary {
            episode: number,
            task: episode.task.clone(),
            rows,
            duration_s,
            data: self.root.join(data),
            videos,
            video_bytes,
            dropped_rows: episode.mark.dropped_rows,
            ended_early: episode.mark.ended_early.clone(),
        };
        self.stage_metadata(&entry, episode.mark, &mut moves)?;
        let plan = Plan {
            episode: number,
            rows,
            task: episode.task,
            moves,
        };
        Ok((plan, summary))
    }

    /// Writes the metadata as it will be, in the order in which it must appear: what is referred to
    /// before what refers to it, and the count of episodes last.
    fn stage_metadata(
        &mut self,
        entry: &Episode,
        mark: EpisodeMark,
        moves: &mut Vec<Move>,
    ) -> Result<()> {
        let staging = self.staging();
        let mut stage = |name: &str, target: PathBuf| {
            moves.push(Move {
                staged: name.into(),
                target,
            });
            staging.join(name)
        };
        let meta = |name: &str| Path::new("meta").join(name);
        self.tasks
            .write(&stage("tasks.parquet", meta("tasks.parquet")))?;
        episodes::write(&stage("episode.parquet", episodes_file(entry.meta)?), entry)?;
        self.stats.merge(&entry.stats);
        let stats = stage("stats.json", meta("stats.json"));
        fsio::write_synced(&stats, &self.stats.to_bytes()?)?;
        if mark != EpisodeMark::default() {
            self.marks.episodes.insert(entry.index, mark);
            let marks = stage("sinew_episodes.json", meta("sinew_episodes.json"));
            fsio::write_synced(&marks, &self.marks.to_bytes()?)?;
        }
        self.info.total_episodes += 1;
        self.info.total_frames += entry.length;
        self.info.total_tasks = self.tasks.sentences().len() as u64;
        self.info.update_splits();
        let info = stage("info.json", meta("info.json"));
        fsio::write_synced(&info, &self.info.to_bytes()?)?;
        self.next = self.next.advanced(self.info.chunks_size);
        Ok(())
    }
}

/// Empties the staging folder, the lock and the ballast excepted.
pub(crate) fn clear_staging(staging: &Path) -> Result<()> {
    let remove = |path: &Path| match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    };
    // The journal goes first: without its plan it must not look like an episode to recover.
    remove(&staging.join(JOURNAL))?;
    for entry in std::fs::read_dir(staging).map_err(Error::io("list", staging))? {
        let path = entry.map_err(Error::io("list", staging))?.path();
        let kept = path
            .file_name()
            .is_some_and(|name| name == "lock" || name == super::BALLAST);
        if !kept {
            remove(&path)?;
        }
    }
    Ok(())
}

fn in_feature_order(
    features: &Features,
    columns: Stats,
    images: Vec<(String, FeatureStats)>,
) -> Stats {
    let mut all = columns.0;
    all.extend(images);
    let place = |name: &str| features.0.iter().position(|(n, _)| n == name);
    all.sort_by_key(|(name, _)| place(name));
    Stats(all)
}
