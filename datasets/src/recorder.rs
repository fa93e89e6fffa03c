//! Records episodes into a LeRobot v3.0 dataset.
//!
//! Every episode is one data file, one MP4 a camera and one row file of the episode table. All are
//! written into a hidden staging folder, flushed, counted against each other, and only then moved
//! into place; the last move, `meta/info.json`, is what makes the episode part of the dataset. A
//! crash at any point leaves the episodes before it as they were: readers take
//! `info.total_episodes` as the truth and never reach what lies beyond.

use crate::data::{EpisodeRows, Numbering};
use crate::episodes::{self, Episode, VideoSpan, episodes_file};
use crate::error::{Error, Result};
use crate::features::{DatasetSpec, Features};
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::resume::{
    NextFiles, STAGING, check_compatible, choose_encoder, features, lock, recorded_codec,
};
use crate::stats::{ImageStats, Stats};
use crate::tasks::Tasks;
use crate::video::{Encoder, VideoSpec, VideoWriter};
use sinew_runtime::frame::Frame;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One row: what was measured, what was commanded, what the cameras saw.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// State values, in the order and units of the spec's `state_names`.
    pub state: &'a [f32],
    /// Action values, in the order and units of the spec's `action_names`.
    pub action: &'a [f32],
    /// Values of all extra columns, one after the other.
    pub extra: &'a [f64],
    /// One frame a camera, in the spec's order.
    pub frames: &'a [Arc<Frame>],
}

/// What became of an episode.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodeSummary {
    /// Episode number, from 0.
    pub episode: u64,
    /// Task sentence.
    pub task: String,
    /// Rows, which is also the number of frames in every video.
    pub rows: u64,
    /// Length at the nominal rate, s.
    pub duration_s: f64,
    /// The parquet file with the rows.
    pub data: PathBuf,
    /// The cameras' videos, in the spec's order.
    pub videos: Vec<PathBuf>,
    /// Size of the videos together, bytes.
    pub video_bytes: u64,
}

/// Writes one dataset. Blocks on encoders and disk, so it belongs on a thread of its own: see
/// [`crate::RecorderThread`].
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
    spec: DatasetSpec,
    encoder: Option<Encoder>,
    info: Info,
    tasks: Tasks,
    stats: Stats,
    next: NextFiles,
    episode: Option<OpenEpisode>,
    /// Held as long as the recorder lives.
    _lock: File,
}

#[derive(Debug)]
struct OpenEpisode {
    task: String,
    rows: EpisodeRows,
    cameras: Vec<OpenCamera>,
    /// Set when rows and frames may have got out of step; such an episode can only be discarded.
    broken: bool,
}

#[derive(Debug)]
struct OpenCamera {
    key: String,
    writer: VideoWriter,
    stats: ImageStats,
    staged: PathBuf,
}

/// One step of a commit: a flushed file takes its final name.
#[derive(Debug)]
struct Move {
    staged: PathBuf,
    target: PathBuf,
}

impl Recorder {
    /// Starts a new dataset in `root`, which must not hold one.
    pub fn create(root: &Path, spec: &DatasetSpec) -> Result<Self> {
        spec.check()?;
        if Info::path(root).exists() {
            return Err(Error::Exists {
                root: root.to_owned(),
            });
        }
        let encoder = choose_encoder(spec, None)?;
        let lock = lock(root)?;
        let info = Info::new(spec.fps, &spec.robot_type, features(spec, encoder));
        fsio::replace(&Info::path(root), &info.to_bytes()?)?;
        Ok(Self {
            root: root.to_owned(),
            spec: spec.clone(),
            encoder,
            info,
            tasks: Tasks::default(),
            stats: Stats::default(),
            next: NextFiles {
                videos: vec![FileIndex::default(); spec.cameras.len()],
                ..NextFiles::default()
            },
            episode: None,
            _lock: lock,
        })
    }

    /// Appends to the dataset in `root`, ours or LeRobot's; it must have the features of `spec`.
    pub fn resume(root: &Path, spec: &DatasetSpec) -> Result<Self> {
        spec.check()?;
        let info = Info::read(root)?;
        let lock = lock(root)?;
        let encoder = choose_encoder(spec, recorded_codec(&info))?;
        check_compatible(root, &info, spec, &features(spec, encoder))?;
        let episodes = episodes::read_all(root, &info, true)?;
        let tasks = if info.total_episodes == 0 {
            Tasks::default()
        } else {
            Tasks::read(root)?
        };
        let mut stats = Stats::default();
        episodes.iter().for_each(|e| stats.merge(&e.stats));
        let next = NextFiles::after(&episodes, spec, info.chunks_size);
        Ok(Self {
            root: root.to_owned(),
            spec: spec.clone(),
            encoder,
            info,
            tasks,
            stats,
            next,
            episode: None,
            _lock: lock,
        })
    }

    /// The dataset's head: totals so far, features, rate.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The dataset's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is being recorded.
    pub fn spec(&self) -> &DatasetSpec {
        &self.spec
    }

    /// Rows in the episode in progress, if there is one.
    pub fn rows(&self) -> Option<u64> {
        self.episode.as_ref().map(|e| e.rows.len())
    }

    /// Begins an episode; `task` says in words what the robot is to do.
    pub fn start_episode(&mut self, task: &str) -> Result<()> {
        if self.episode.is_some() {
            return Err(Error::Order {
                problem: "an episode is being recorded already; save or discard it first",
            });
        }
        if task.trim().is_empty() {
            return Err(Error::spec(
                "the task is empty; say what the robot is to do, as policies are trained on it",
            ));
        }
        self.clear_staging()?;
        let mut cameras = Vec::new();
        for camera in &self.spec.cameras {
            let key = camera.key();
            let staged = self.staging().join(format!("{key}.mp4"));
            let encoder = self.encoder.ok_or(Error::NoVideo)?;
            let video = VideoSpec::recording(camera.width, camera.height, self.spec.fps, encoder);
            cameras.push(OpenCamera {
                key,
                writer: VideoWriter::create(&staged, video)?,
                stats: ImageStats::default(),
                staged,
            });
        }
        let rows = EpisodeRows::new(&self.spec);
        self.episode = Some(OpenEpisode {
            task: task.to_owned(),
            rows,
            cameras,
            broken: false,
        });
        Ok(())
    }

    /// Adds a row with its frames. Waits while an encoder's queue is full.
    ///
    /// A row that does not fit is refused as a whole and the episode goes on without it; after a
    /// video error the episode can only be discarded.
    pub fn add(&mut self, row: Row<'_>) -> Result<()> {
        let index = self.info.total_episodes;
        let episode = self.episode.as_mut().ok_or(Error::Order {
            problem: "a row came outside an episode; start one first",
        })?;
        if episode.broken {
            return Err(Error::Order {
                problem: "the episode's video failed earlier; discard the episode",
            });
        }
        let refused = episode
            .rows
            .problem(row.state, row.action, row.extra)
            .or_else(|| frames_problem(&self.spec, row.frames));
        if let Some(problem) = refused {
            return Err(Error::Row {
                episode: index,
                row: episode.rows.len(),
                problem,
            });
        }
        // Set until all cameras have their frame, so that no early return leaves them uneven.
        episode.broken = true;
        for (camera, frame) in episode.cameras.iter_mut().zip(row.frames) {
            camera.writer.push(frame.clone())?;
            camera.stats.add(frame);
        }
        episode.rows.push(row.state, row.action, row.extra);
        episode.broken = false;
        Ok(())
    }

    /// Finishes the videos, checks that every camera has as many frames as there are rows, and
    /// commits the episode. On error the dataset is as it was before the episode.
    pub fn save_episode(&mut self) -> Result<EpisodeSummary> {
        self.save_stopping_before(None)
    }

    /// Throws the episode in progress away. Without one, does nothing.
    pub fn discard_episode(&mut self) -> Result<()> {
        self.episode = None;
        self.clear_staging()
    }

    /// Ends the recording; an episode in progress is thrown away. Saved episodes need nothing
    /// more: they were complete when they were saved.
    pub fn finalize(mut self) -> Result<Info> {
        self.discard_episode()?;
        let staging = self.staging();
        std::fs::remove_dir_all(&staging).map_err(Error::io("remove", &staging))?;
        Ok(self.info)
    }

    /// [`Self::save_episode`]; tests end it before the given step of the commit, as a crash would.
    fn save_stopping_before(&mut self, stop: Option<usize>) -> Result<EpisodeSummary> {
        let episode = self.episode.take().ok_or(Error::Order {
            problem: "there is no episode to save; start one first",
        })?;
        let staged = self.stage(episode);
        let (commit, next_state, summary) = match staged {
            Ok(staged) => staged,
            Err(error) => {
                // The first error is the one to report.
                let _ = self.clear_staging();
                return Err(error);
            }
        };
        for (step, Move { staged, target }) in commit.iter().enumerate() {
            if stop == Some(step) {
                return Err(Error::Order {
                    problem: "stopped by a test",
                });
            }
            fsio::publish(staged, target)?;
        }
        (self.info, self.tasks, self.stats, self.next) = next_state;
        Ok(summary)
    }

    /// Writes all files of the episode, flushed, into the staging folder.
    #[expect(
        clippy::type_complexity,
        reason = "what the dataset becomes when the moves are done"
    )]
    fn stage(
        &self,
        episode: OpenEpisode,
    ) -> Result<(Vec<Move>, (Info, Tasks, Stats, NextFiles), EpisodeSummary)> {
        let number = self.info.total_episodes;
        let rows = episode.rows.len();
        if rows == 0 {
            return Err(Error::Order {
                problem: "the episode has no rows; nothing was saved",
            });
        }
        if episode.broken {
            return Err(Error::Order {
                problem: "the episode's video failed earlier; nothing was saved",
            });
        }
        let mut moves = Vec::new();
        let mut image_stats = Vec::new();
        let mut videos = Vec::new();
        let mut video_bytes = 0;
        let duration_s = rows as f64 / f64::from(self.spec.fps);
        // All encoders drain at the same time; the first wait covers most of the others'.
        for (camera, file) in episode.cameras.into_iter().zip(&self.next.videos) {
            let finished = camera.writer.finish()?;
            if finished.frames != rows {
                return Err(Error::Misaligned {
                    episode: number,
                    camera: camera.key,
                    rows,
                    frames: finished.frames,
                });
            }
            video_bytes += finished.bytes;
            moves.push(Move {
                staged: camera.staged,
                target: self.root.join(self.info.video_file(&camera.key, *file)?),
            });
            image_stats.push((camera.key.clone(), camera.stats.finish()));
            videos.push(VideoSpan {
                key: camera.key,
                file: *file,
                from_s: 0.0,
                to_s: duration_s,
            });
        }
        let mut tasks = self.tasks.clone();
        let (task, _) = tasks.number(&episode.task);
        let numbering = Numbering {
            episode: number,
            first_index: self.info.total_frames,
            task,
            fps: self.spec.fps,
        };
        let staged_data = self.staging().join("data.parquet");
        let column_stats = episode.rows.write(&staged_data, numbering)?;
        let data = self.root.join(self.info.data_file(self.next.data)?);
        let video_targets: Vec<PathBuf> = moves.iter().map(|m| m.target.clone()).collect();
        moves.push(Move {
            staged: staged_data,
            target: data.clone(),
        });
        let entry = Episode {
            index: number,
            tasks: vec![episode.task.clone()],
            length: rows,
            data: self.next.data,
            from_index: self.info.total_frames,
            to_index: self.info.total_frames + rows,
            videos,
            stats: in_feature_order(&self.info.features, column_stats, image_stats),
            meta: self.next.meta,
        };
        let next_state = self.stage_metadata(&entry, tasks, &mut moves)?;
        let summary = EpisodeSummary {
            episode: number,
            task: episode.task,
            rows,
            duration_s,
            data,
            videos: video_targets,
            video_bytes,
        };
        Ok((moves, next_state, summary))
    }

    /// Writes the metadata as it will be, in the order in which it must appear: what is referred to
    /// before what refers to it, and the count of episodes last.
    fn stage_metadata(
        &self,
        entry: &Episode,
        tasks: Tasks,
        moves: &mut Vec<Move>,
    ) -> Result<(Info, Tasks, Stats, NextFiles)> {
        let staging = self.staging();
        let mut stage = |name: &str, target: PathBuf| {
            let staged = staging.join(name);
            moves.push(Move {
                staged: staged.clone(),
                target,
            });
            staged
        };
        tasks.write(&stage("tasks.parquet", Tasks::path(&self.root)))?;
        episodes::write(
            &stage(
                "episode.parquet",
                self.root.join(episodes_file(entry.meta)?),
            ),
            entry,
        )?;
        let mut stats = self.stats.clone();
        stats.merge(&entry.stats);
        fsio::write_synced(
            &stage("stats.json", self.root.join("meta/stats.json")),
            &stats.to_bytes()?,
        )?;
        let mut info = self.info.clone();
        info.total_episodes += 1;
        info.total_frames += entry.length;
        info.total_tasks = tasks.sentences().len() as u64;
        info.update_splits();
        fsio::write_synced(
            &stage("info.json", Info::path(&self.root)),
            &info.to_bytes()?,
        )?;
        let next = self.next.advanced(info.chunks_size);
        Ok((info, tasks, stats, next))
    }

    fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Empties the staging folder, the lock file excepted.
    fn clear_staging(&self) -> Result<()> {
        let staging = self.staging();
        for entry in std::fs::read_dir(&staging).map_err(Error::io("list", &staging))? {
            let path = entry.map_err(Error::io("list", &staging))?.path();
            if path.file_name().is_some_and(|name| name != "lock") {
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn frames_problem(spec: &DatasetSpec, frames: &[Arc<Frame>]) -> Option<String> {
    if frames.len() != spec.cameras.len() {
        return Some(format!(
            "{} frames for {} cameras",
            frames.len(),
            spec.cameras.len()
        ));
    }
    spec.cameras.iter().zip(frames).find_map(|(camera, frame)| {
        let (width, height) = (camera.width, camera.height);
        let fits = frame.width == width
            && frame.height == height
            && frame.data.len() == 3 * width as usize * height as usize;
        (!fits).then(|| {
            format!(
                "camera {} gave {}×{} ({} bytes) instead of {width}×{height} RGB",
                camera.name,
                frame.width,
                frame.height,
                frame.data.len()
            )
        })
    })
}

fn in_feature_order(
    features: &Features,
    columns: Stats,
    images: Vec<(String, crate::stats::FeatureStats)>,
) -> Stats {
    let mut all = columns.0;
    all.extend(images);
    let place = |name: &str| features.0.iter().position(|(n, _)| n == name);
    all.sort_by_key(|(name, _)| place(name));
    Stats(all)
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
