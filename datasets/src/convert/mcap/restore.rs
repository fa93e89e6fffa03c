//! What `export.rs` wrote → the dataset that it was, bit for bit.
//!
//! The messages of an episode are gathered by feature, and written as a plain dataset into a scratch
//! folder, an episode a file; packing makes the result of it. Encoded frames pass as they are. An
//! episode of which the end is lost is kept up to there.

use super::restored_episode::Open;
use super::restored_rows::{Column, Place, write_rows};
use super::scan::{Event, Message};
use super::topics::{DATASET_RECORD, EPISODE_RECORD, FEATURE_KEY};
use crate::edit::plan::Source;
use crate::episodes::{Episode, VideoSpan};
use crate::error::{Error, Result};
use crate::features::DEFAULT_FEATURES;
use crate::fsio;
use crate::info::{DATA_PATH, FileIndex, Info, VIDEO_PATH};
use crate::journal::marks::{EpisodeMark, EpisodeMarks};
use crate::levels::Levels;
use crate::tasks::Tasks;
use sinew_runtime::ros::messages::{Message as _, StringMsg};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Memory for the rows of one episode, bytes.
const EPISODE_LIMIT: usize = 2 << 30;
/// Most rows of an episode: 11 days at 30 fps.
const ROW_LIMIT: u64 = 1 << 25;
/// More task sentences than any dataset has.
const TASK_LIMIT: usize = 10_000;
/// What is noted of an episode whose end is lost.
pub(super) const CUT: &str = "the MCAP file that it comes from is damaged or was cut off";

/// Rebuilds a dataset.
pub(super) struct Restore<'a> {
    path: PathBuf,
    scratch: &'a Path,
    info: Option<Info>,
    /// `meta/sinew_levels.json`, if the source had it.
    levels: Option<String>,
    tasks: Tasks,
    /// Features that have a topic.
    known: BTreeSet<String>,
    open: Option<Open>,
    episodes: Vec<Episode>,
    marks: EpisodeMarks,
    rows: u64,
    notes: Vec<String>,
}

impl<'a> Restore<'a> {
    /// A dataset to be built in `scratch`. `path` is for messages.
    pub(super) fn new(path: &Path, scratch: &'a Path) -> Self {
        Self {
            path: path.to_owned(),
            scratch,
            info: None,
            levels: None,
            tasks: Tasks::default(),
            known: BTreeSet::new(),
            open: None,
            episodes: Vec::new(),
            marks: EpisodeMarks::default(),
            rows: 0,
            notes: Vec::new(),
        }
    }

    /// Takes what an MCAP file holds.
    pub(super) fn take(&mut self, event: Event<'_>) -> Result<ControlFlow<()>> {
        match event {
            Event::Channel(channel) => {
                if let Some(feature) = channel.metadata.get(FEATURE_KEY) {
                    self.known.insert(feature.clone());
                }
            }
            Event::Metadata(record) if record.name == DATASET_RECORD => {
                self.end_episode()?;
                self.head(&record.metadata)?;
            }
            Event::Metadata(record) if record.name == EPISODE_RECORD => {
                self.end_episode()?;
                self.begin_episode(&record.metadata)?;
            }
            Event::Metadata(_) => {}
            Event::Message(message) => self.message(&message)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn broken(&self, problem: impl Into<String>) -> Error {
        Error::mcap(&self.path, problem)
    }

    fn head(&mut self, record: &BTreeMap<String, String>) -> Result<()> {
        let text = |key: &str| record.get(key).map_or("", String::as_str);
        if text("version") != "1" {
            return Err(self.broken("it was exported by a newer version of this program"));
        }
        let mut info: Info = serde_json::from_str(text("info"))
            .map_err(|e| self.broken(format!("the dataset's head in it makes no sense: {e}")))?;
        if info.fps == 0 || info.chunks_size == 0 {
            return Err(self.broken("the dataset's head in it makes no sense"));
        }
        info.data_path = DATA_PATH.into();
        info.video_path = Some(VIDEO_PATH.into());
        if let Some(known) = &self.info {
            if known.features != info.features || known.fps != info.fps {
                return Err(self.broken("the files come from different datasets"));
            }
            return Ok(());
        }
        let tasks: Vec<String> = serde_json::from_str(text("tasks"))
            .map_err(|e| self.broken(format!("the dataset's tasks in it make no sense: {e}")))?;
        self.tasks = Tasks::of(tasks);
        self.levels = record.get("picture_levels").cloned();
        self.info = Some(info);
        Ok(())
    }

    fn begin_episode(&mut self, record: &BTreeMap<String, String>) -> Result<()> {
        let rows = record.get("rows").and_then(|r| r.parse().ok());
        let rows = rows.filter(|rows| (1..=ROW_LIMIT).contains(rows));
        let Some(rows) = rows.filter(|_| self.info.is_some()) else {
            return Err(self.broken("the record before an episode makes no sense"));
        };
        self.open = Some(Open {
            about: record.clone(),
            rows,
            columns: BTreeMap::new(),
            videos: BTreeMap::new(),
            tasks: Vec::new(),
            bytes: 0,
        });
        Ok(())
    }

    fn message(&mut self, message: &Message<'_>) -> Result<()> {
        let (Some(open), Some(info)) = (&mut self.open, &self.info) else {
            return Ok(());
        };
        let row = u64::from(message.sequence);
        if row >= open.rows || message.channel.encoding != "cdr" {
            return Ok(());
        }
        open.bytes = open.bytes.saturating_add(message.data.len());
        let Some(feature) = message.channel.metadata.get(FEATURE_KEY) else {
            if message.channel.topic.ends_with("/task")
                && self.tasks.sentences().len() < TASK_LIMIT
                && let Ok(task) = StringMsg::decode(message.data)
            {
                let (number, _) = self.tasks.number(&task.data);
                open.tasks.push((row, number));
            }
            return Ok(());
        };
        let Some(described) = info.features.get(feature) else {
            return Ok(());
        };
        if described.is_video() {
            // Frames go to the disk.
            open.bytes -= message.data.len();
            return open.frame(&self.path, self.scratch, feature, row, message.data);
        }
        if open.bytes > EPISODE_LIMIT {
            return Err(self.broken("an episode has more data than fits the memory"));
        }
        let column = match open.columns.get_mut(feature) {
            Some(column) => column,
            None => {
                let column = Column::of(described).ok_or_else(|| {
                    Error::mcap(&self.path, format!("{feature} has no known type"))
                })?;
                open.columns.entry(feature.clone()).or_insert(column)
            }
        };
        column.take(row, message.channel, message.data);
        Ok(())
    }

    /// Writes the episode that came in, if there is one.
    fn end_episode(&mut self) -> Result<()> {
        let (Some(mut open), Some(info)) = (self.open.take(), &self.info) else {
            return Ok(());
        };
        let number = self.episodes.len() as u64;
        let said = open.about.get("episode").cloned().unwrap_or_default();
        let carried = |name: &str| self.known.contains(name) && !is_default(name);
        let features = info.features.iter().filter(|(name, _)| carried(name));
        let rows = open.whole_rows(features.map(|(name, f)| (name, f.is_video())));
        if rows == 0 {
            self.notes.push(format!("episode {said} is lost: {CUT}"));
            return Ok(());
        }
        if rows < open.rows {
            self.notes.push(format!(
                "episode {said} ends after {rows} of {} rows: {CUT}",
                open.rows
            ));
        }
        let file = FileIndex {
            chunk: number / info.chunks_size,
            file: number % info.chunks_size,
        };
        let mut spans = Vec::new();
        for (key, video) in std::mem::take(&mut open.videos) {
            let path = self.scratch.join(info.video_file(&key, file)?);
            video.write(rows, info.fps, &path)?;
            spans.push(VideoSpan {
                key,
                file,
                from_s: 0.0,
                to_s: rows as f64 / f64::from(info.fps),
            });
        }
        let path = self.scratch.join(info.data_file(file)?);
        let place = Place {
            episode: number,
            first: self.rows,
            rows,
            tasks: &open.task_numbers(rows),
        };
        write_rows(info, &self.known, &open.columns, &place, &path)?;
        let mark = open.mark(rows);
        if mark != EpisodeMark::default() {
            self.marks.episodes.insert(number, mark);
        }
        self.episodes.push(Episode {
            index: number,
            tasks: Vec::new(),
            length: rows,
            data: file,
            from_index: self.rows,
            to_index: self.rows + rows,
            videos: spans,
            stats: open.stats(rows),
            meta: FileIndex::default(),
        });
        self.rows += rows;
        Ok(())
    }

    /// Ends the last episode; the dataset in the scratch folder, and what is to be said about it.
    pub(super) fn finish(mut self) -> Result<(Source, Vec<String>)> {
        self.end_episode()?;
        let (Some(mut info), false) = (self.info.take(), self.episodes.is_empty()) else {
            return Err(self.broken("no whole episode is left in it"));
        };
        let missing = |name: &str| !is_default(name) && !self.known.contains(name);
        for (name, _) in info.features.iter().filter(|(name, _)| missing(name)) {
            self.notes
                .push(format!("{name} has no topic; the result does without it"));
        }
        info.features.0.retain(|(name, _)| !missing(name));
        info.total_episodes = self.episodes.len() as u64;
        let meta = self.scratch.join("meta");
        fsio::create_dir(&meta)?;
        // They count only if all frames they speak of are here.
        info.total_frames = self.episodes.iter().map(|e| e.length).sum();
        if let Some(levels) = &self.levels {
            fsio::write_synced(&self.scratch.join(Levels::name()), levels.as_bytes())?;
        }
        let source = Source {
            root: self.scratch.to_owned(),
            info,
            tasks: self.tasks,
            episodes: self.episodes,
            marks: self.marks,
        };
        Ok((source, self.notes))
    }
}

fn is_default(name: &str) -> bool {
    DEFAULT_FEATURES.iter().any(|(n, _)| *n == name)
}
