//! Records episodes into a LeRobot v3.0 dataset.
//!
//! Every episode is one data file, one MP4 a camera and one row file of the episode table. While
//! it runs it is a journal and growing videos in a hidden staging folder, see [`crate::journal`];
//! saving finishes these files, counts them against each other and moves them into place, the last
//! being `meta/info.json`, which makes the episode part of the dataset. A crash at any point leaves
//! the episodes before it as they were: readers take `info.total_episodes` as the truth.

use crate::camera::OpenCamera;
use crate::data::EpisodeRows;
use crate::error::{Error, Result};
use crate::fsio;
use crate::info::Info;
use crate::journal::commit::{Finished, Head, clear_staging};
use crate::journal::marks::EpisodeMark;
use crate::journal::plan::Plan;
use crate::journal::replay::{replay, stream_path};
use crate::journal::{Closed, Header, Journal, RowRecord, drop_ballast};
use crate::resume::{check_compatible, choose_encoder, features, lock, recorded_codec, unsaved};
use crate::spec::DatasetSpec;
use crate::values::{ExtraValue, Values};
use crate::video::{Choice, Quality};
use sinew_runtime::frame::Frame;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One row: what was measured, what was commanded, what the cameras saw.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// State values, in the order and units of the spec's `state_names`.
    pub state: &'a [f32],
    /// Action values, in the order and units of the spec's `action_names`.
    pub action: &'a [f32],
    /// The values of each extra column, in the spec's order.
    pub extra: &'a [ExtraValue<'a>],
    /// One frame a camera, in the spec's order.
    pub frames: &'a [Arc<Frame>],
}

/// What became of an episode.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodeSummary {
    /// Episode number, from 0.
    pub episode: u64,
    /// Task sentences, in the order of their first row.
    pub tasks: Vec<String>,
    /// Rows, which is also the number of frames in every video.
    pub rows: u64,
    /// Length at the nominal rate, s.
    pub duration_s: f64,
    /// The parquet file with the rows.
    pub data: PathBuf,
    /// The videos, in the spec's order; cameras that are kept as images have none.
    pub videos: Vec<PathBuf>,
    /// Size of the videos together, bytes.
    pub video_bytes: u64,
    /// Rows that were dropped with their frames; [`crate::EpisodeMarks`] says where.
    pub dropped_rows: u64,
    /// Why the episode ended before it was to end; what is saved is what was good until then.
    pub ended_early: Option<String>,
}

/// How to record, besides what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordOptions {
    /// How colour video is encoded.
    pub quality: Quality,
    /// A camera that gives no new frame for this long is lost: the episode ends with the last row
    /// that it gave one for. `None` never says so.
    pub camera_timeout: Option<Duration>,
}

impl Default for RecordOptions {
    /// LeRobot's quality; cameras are lost after 2 s.
    fn default() -> Self {
        Self {
            quality: Quality::default(),
            camera_timeout: Some(Duration::from_secs(2)),
        }
    }
}

/// Writes one dataset. Blocks on encoders and disk, so it belongs on a thread of its own: see
/// [`crate::RecorderThread`].
///
/// A recorder that is dropped with an episode in progress leaves it to [`crate::repair()`], as a
/// crash does.
#[derive(Debug)]
pub struct Recorder {
    head: Head,
    choice: Option<Choice>,
    options: RecordOptions,
    episode: Option<OpenEpisode>,
    /// Episodes saved by this recorder.
    saved: u64,
    /// Held as long as the recorder lives.
    _lock: File,
}

#[derive(Debug)]
struct OpenEpisode {
    rows: EpisodeRows,
    /// Before the journal, so that encoders end before what they write to.
    cameras: Vec<OpenCamera>,
    journal: Journal,
    mark: EpisodeMark,
    /// Rows dropped since the last row.
    dropped: u64,
    /// Why no more rows are taken although they and their frames may have got out of step.
    trouble: Option<Error>,
    /// Rows to keep, if those at the end are not good.
    keep: Option<u64>,
}

impl Recorder {
    /// Starts a new dataset in `root`, which must not hold one.
    pub fn create(root: &Path, spec: &DatasetSpec) -> Result<Self> {
        Self::create_with(root, spec, RecordOptions::default())
    }

    /// [`Self::create`] with other options.
    pub fn create_with(root: &Path, spec: &DatasetSpec, options: RecordOptions) -> Result<Self> {
        spec.check()?;
        if Info::path(root).exists() {
            return Err(Error::Exists {
                root: root.to_owned(),
            });
        }
        let choice = choose_encoder(spec, None, options.quality)?;
        let lock = lock(root)?;
        let features = features(spec, choice.as_ref().map(|c| c.encoder), options.quality);
        let info = Info::new(spec.fps, &spec.robot_type, features);
        let head = Head::new(root, spec, info);
        // Whatever lies here belongs to no dataset.
        clear_staging(&head.staging())?;
        fsio::replace(&Info::path(root), &head.info.to_bytes()?)?;
        Ok(Self {
            head,
            choice,
            options,
            episode: None,
            saved: 0,
            _lock: lock,
        })
    }

    /// Appends to the dataset in `root`, ours or LeRobot's; it must have the features of `spec`.
    ///
    /// An episode whose saving a crash interrupted is completed. One that was still running is
    /// [`Error::Unrepaired`]: whether half a demonstration is worth keeping is for a person to say.
    pub fn resume(root: &Path, spec: &DatasetSpec) -> Result<Self> {
        Self::resume_with(root, spec, RecordOptions::default())
    }

    /// [`Self::resume`] with other options.
    pub fn resume_with(root: &Path, spec: &DatasetSpec, options: RecordOptions) -> Result<Self> {
        spec.check()?;
        let mut info = Info::read(root)?;
        let lock = lock(root)?;
        let wanted = features(spec, None, options.quality);
        check_compatible(root, &info, spec, &wanted)?;
        let choice = choose_encoder(spec, recorded_codec(&info), options.quality)?;
        if crate::repair::complete(root)?.is_some() {
            info = Info::read(root)?;
        }
        if let Some(error) = unsaved(root, &info)? {
            return Err(error);
        }
        Ok(Self {
            head: Head::read(root, spec, info)?,
            choice,
            options,
            episode: None,
            saved: 0,
            _lock: lock,
        })
    }

    /// The dataset's head: totals so far, features, rate.
    pub fn info(&self) -> &Info {
        &self.head.info
    }

    /// The dataset's folder.
    pub fn root(&self) -> &Path {
        &self.head.root
    }

    /// What is being recorded.
    pub fn spec(&self) -> &DatasetSpec {
        &self.head.spec
    }

    /// The encoder of the colour videos and why it was chosen, if there are any.
    pub fn encoder(&self) -> Option<&Choice> {
        self.choice.as_ref()
    }

    /// Rows in the episode in progress, if there is one.
    pub fn rows(&self) -> Option<u64> {
        self.episode.as_ref().map(|e| e.rows.len())
    }

    /// Rows of the episode in progress that are on the disk with all their frames: what a power
    /// cut at this moment would leave at least.
    pub fn durable_rows(&self) -> Option<u64> {
        self.episode.as_ref().map(|e| e.journal.durable())
    }

    /// Begins an episode; `task` says in words what the robot is to do.
    pub fn start_episode(&mut self, task: &str) -> Result<()> {
        if self.episode.is_some() {
            return Err(Error::Order {
                problem: "an episode is being recorded already; save or discard it first",
            });
        }
        check_task(task)?;
        if let Some(error) = unsaved(&self.head.root, &self.head.info)? {
            return Err(error);
        }
        let staging = self.head.staging();
        clear_staging(&staging)?;
        let opened = self.open(task);
        if opened.is_err() {
            // The first error is the one to report.
            let _ = clear_staging(&staging);
        }
        self.episode = Some(opened?);
        Ok(())
    }

    fn open(&self, task: &str) -> Result<OpenEpisode> {
        let (staging, spec) = (self.head.staging(), &self.head.spec);
        let header = Header {
            episode: self.head.info.total_episodes,
            task: task.to_owned(),
            spec: spec.clone(),
        };
        let files: Vec<PathBuf> = spec
            .cameras
            .iter()
            .map(|camera| stream_path(&staging, camera))
            .collect();
        let journal = Journal::start(&staging, header, &files)?;
        let mut cameras = Vec::new();
        for (number, (camera, path)) in spec.cameras.iter().zip(&files).enumerate() {
            let feature = self.head.info.features.get(&camera.key());
            let sink = journal.sink(number as u16);
            let (encoder, quality) = (self.choice.as_ref(), self.options.quality);
            let encoder = encoder.map(|choice| (choice.encoder, quality));
            cameras.push(OpenCamera::open(
                path, camera, feature, spec.fps, encoder, sink,
            )?);
        }
        Ok(OpenEpisode {
            rows: EpisodeRows::new(spec, task),
            cameras,
            journal,
            mark: EpisodeMark::default(),
            dropped: 0,
            trouble: None,
            keep: None,
        })
    }

    /// Says that the rows from here on have another task, as LeRobot keeps it for each row.
    pub fn set_task(&mut self, task: &str) -> Result<()> {
        check_task(task)?;
        if let Some(episode) = &mut self.episode
            && episode.rows.task() != task
        {
            episode.rows.set_task(task);
            episode.journal.task(task);
        }
        Ok(())
    }

    /// Adds a row with its frames. Waits while an encoder's queue is full.
    ///
    /// A row that does not fit is refused as a whole and the episode goes on without it. After any
    /// other error, and after [`Error::EndedEarly`], no more rows are taken:
    /// [`Self::save_episode`] then saves what was good.
    pub fn add(&mut self, row: Row<'_>) -> Result<()> {
        let mut values = vec![
            Values::F32(row.state.to_vec()),
            Values::F32(row.action.to_vec()),
        ];
        values.extend(row.extra.iter().map(Values::from));
        self.add_values(values, row.frames)
    }

    /// [`Self::add`] with the values of state, action and each extra column.
    pub(crate) fn add_values(&mut self, values: Vec<Values>, frames: &[Arc<Frame>]) -> Result<()> {
        let index = self.head.info.total_episodes;
        let timeout = self.options.camera_timeout;
        let rows_until_lost = timeout.map(|t| t.as_secs_f64() * f64::from(self.head.spec.fps));
        let episode = self.episode.as_mut().ok_or(Error::Order {
            problem: "a row came outside an episode; start one first",
        })?;
        if let Some(problem) = episode.ended() {
            return Err(Error::EndedEarly { problem });
        }
        let row = RowRecord {
            number: episode.rows.len(),
            dropped_before: u32::try_from(episode.dropped).unwrap_or(u32::MAX),
            values,
        };
        let refused = episode.rows.problem(&row);
        if let Some(problem) = refused.or_else(|| episode.frames_problem(frames)) {
            return Err(Error::Row {
                episode: index,
                row: row.number,
                problem,
            });
        }
        for (camera, frame) in episode.cameras.iter_mut().zip(frames) {
            if let Err(error) = camera.push(frame) {
                let problem = error.to_string();
                episode.trouble = Some(error);
                return Err(Error::EndedEarly { problem });
            }
        }
        episode.push(row);
        match episode.end_if_lost(rows_until_lost) {
            Some(problem) => Err(Error::EndedEarly { problem }),
            None => Ok(()),
        }
    }

    /// Notes that `rows` rows were dropped, with their frames, before the next one.
    pub fn note_dropped(&mut self, rows: u64) {
        if let Some(episode) = &mut self.episode {
            episode.dropped += rows;
        }
    }

    /// Sets how many rows of the episode were dropped in all, those after its last row included.
    pub(crate) fn set_dropped(&mut self, rows: u64) {
        if let Some(episode) = &mut self.episode {
            episode.dropped = rows.saturating_sub(episode.mark.dropped_rows);
        }
    }

    /// Ends the episode before its time: no more rows are taken, and when it is saved it is marked
    /// with `reason`.
    pub fn end_early(&mut self, reason: &str) {
        if let Some(episode) = &mut self.episode {
            let ended = &mut episode.mark.ended_early;
            ended.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// Finishes the videos, checks that every camera has as many frames as there are rows, and
    /// commits the episode.
    ///
    /// If the disk or an encoder failed, what is good until there is saved and
    /// [`EpisodeSummary::ended_early`] says why. On error the dataset is as it was before; if the
    /// episode could not be written for lack of space, it waits for [`crate::repair()`].
    pub fn save_episode(&mut self) -> Result<EpisodeSummary> {
        let summary = self.save_stopping_before(None)?;
        self.saved += 1;
        Ok(summary)
    }

    /// Throws the episode in progress away, or one that could not be saved. Without one, does
    /// nothing.
    pub fn discard_episode(&mut self) -> Result<()> {
        self.episode = None;
        if Plan::read(&self.head.staging())?.is_some() {
            // It is saved; only its files are not all in place.
            return Ok(());
        }
        clear_staging(&self.head.staging())
    }

    /// Ends the recording; an episode in progress is thrown away. Saved episodes need nothing
    /// more: they were complete when they were saved. The dataset's quantiles become exact, which
    /// takes one pass over its rows.
    pub fn finalize(mut self) -> Result<Info> {
        let running = self.episode.take().is_some();
        if !running && let Some(error) = unsaved(&self.head.root, &self.head.info)? {
            return Err(error);
        }
        if self.saved > 0 && self.head.info.total_episodes > 1 {
            // The dataset is whole without it.
            if let Err(error) = self.head.write_exact_stats() {
                tracing::warn!("statistics stay those of LeRobot's approximation: {error}");
            }
        }
        let staging = self.head.staging();
        std::fs::remove_dir_all(&staging).map_err(Error::io("remove", &staging))?;
        Ok(self.head.info)
    }

    /// [`Self::save_episode`]; tests end it before the given step of the commit, as a crash would.
    fn save_stopping_before(&mut self, stop: Option<usize>) -> Result<EpisodeSummary> {
        let episode = self.episode.take().ok_or(Error::Order {
            problem: "there is no episode to save; start one first",
        })?;
        let (rows, mark) = (episode.kept(), episode.mark_at_end());
        let keep = episode.keep;
        let finished = episode.finish();
        let cut_short = finished.is_err();
        let trouble = match finished.and_then(|finished| self.head.commit(finished, stop)) {
            Ok(summary) => return Ok(summary),
            Err(error) => error,
        };
        // Once there is a plan the episode is saved, and repair completes what failed.
        if stop.is_some() || Plan::read(&self.head.staging())?.is_some() {
            return Err(trouble);
        }
        if rows == 0 {
            clear_staging(&self.head.staging())?;
            return Err(trouble);
        }
        let rows = if cut_short { u64::MAX } else { rows };
        self.save_what_is_good(trouble, rows, keep, mark)
    }

    /// Saves what the journal holds whole, as repair would do after a crash. With fewer than `rows`
    /// rows the episode is marked.
    fn save_what_is_good(
        &mut self,
        trouble: Error,
        rows: u64,
        keep: Option<u64>,
        mark: EpisodeMark,
    ) -> Result<EpisodeSummary> {
        let staging = self.head.staging();
        tracing::warn!("{trouble}; saving what was recorded before");
        drop_ballast(&staging);
        let mut replay = replay(&staging)?;
        if let (Some(replay), Some(keep)) = (&mut replay, keep) {
            replay.cut(keep);
        }
        let Some(replay) = replay.filter(|replay| replay.rows.len() > 0) else {
            clear_staging(&staging)?;
            return Err(trouble);
        };
        let mut finished = replay.finish(&staging, &self.head.info.features)?;
        let gaps = std::mem::take(&mut finished.mark.gaps);
        finished.mark = EpisodeMark { gaps, ..mark };
        if finished.rows.len() < rows {
            finished
                .mark
                .ended_early
                .get_or_insert_with(|| trouble.to_string());
        }
        self.head.commit(finished, None)
    }
}

impl OpenEpisode {
    /// Why no more rows are taken.
    fn ended(&self) -> Option<String> {
        let ended = self.trouble.as_ref().map(Error::to_string);
        ended
            .or_else(|| self.journal.failure())
            .or_else(|| self.mark.ended_early.clone())
    }

    /// What of a row's frames does not fit, in words.
    fn frames_problem(&self, frames: &[Arc<Frame>]) -> Option<String> {
        let cameras = self.cameras.len();
        if frames.len() != cameras {
            return Some(format!("{} frames for {cameras} cameras", frames.len()));
        }
        let mut pairs = self.cameras.iter().zip(frames);
        pairs.find_map(|(camera, frame)| camera.problem(frame))
    }

    fn push(&mut self, row: RowRecord) {
        let dropped = std::mem::take(&mut self.dropped);
        self.mark.gap(row.number, dropped);
        self.rows.push(&row);
        self.journal.row(row);
    }

    /// Ends the episode if a camera gave no new frame for `limit` rows, and says so.
    fn end_if_lost(&mut self, limit: Option<f64>) -> Option<String> {
        let rows = self.cameras.iter().map(OpenCamera::repeated).max()?;
        // Rows since then may have to go again.
        let unsure = limit.map_or(0, |_| rows);
        self.cameras.iter_mut().for_each(|c| c.confirm(unsure));
        limit.filter(|limit| rows as f64 >= limit.max(1.0))?;
        let lost = self.cameras.iter().find(|c| c.repeated() == rows)?;
        let name = lost.name();
        let problem = format!("camera {name} was lost: it gave no new frame for {rows} rows");
        self.keep = Some(self.rows.len() - rows);
        self.mark.ended_early.get_or_insert(problem.clone());
        Some(problem)
    }

    /// Rows that will be saved.
    fn kept(&self) -> u64 {
        self.keep.unwrap_or_else(|| self.rows.len())
    }

    fn mark_at_end(&self) -> EpisodeMark {
        let mut mark = self.mark.clone();
        // After the last row there is none to stand before.
        mark.dropped_rows += self.dropped;
        mark
    }

    /// Ends encoders and journal and finishes the videos. On error the journal is whole all the
    /// same.
    fn finish(mut self) -> Result<Finished> {
        let (mark, keep) = (self.mark_at_end(), self.kept());
        let mut trouble = self.trouble;
        let mut ended = Vec::new();
        // All are asked to end, whatever happened to one of them.
        for camera in self.cameras {
            match camera.end(self.rows.len() - keep) {
                Ok(camera) => ended.push(camera),
                Err(error) => {
                    trouble.get_or_insert(error);
                }
            }
        }
        let Closed {
            streams,
            rows,
            failure,
        } = self.journal.close()?;
        if let Some(error) = failure.or(trouble) {
            return Err(error);
        }
        if rows != self.rows.len() {
            return Err(Error::Thread {
                problem: format!("the journal has {rows} of {} rows", self.rows.len()),
            });
        }
        self.rows.truncate(keep);
        let pairs = ended.into_iter().zip(streams);
        let cameras = pairs.map(|(camera, stream)| camera.finish(stream, rows, keep));
        Ok(Finished {
            cameras: cameras.collect::<Result<_>>()?,
            rows: self.rows,
            mark,
        })
    }
}

fn check_task(task: &str) -> Result<()> {
    if task.trim().is_empty() {
        return Err(Error::spec(
            "the task is empty; say what the robot is to do, as policies are trained on it",
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
