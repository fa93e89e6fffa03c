//! What `export.rs` wrote → the dataset that it was, bit for bit.
//!
//! The messages of an episode are gathered by feature, and written as a plain dataset into a scratch
//! folder, an episode a file; packing makes the result of it. Encoded frames pass as they are. An
//! episode of which the end is lost is kept up to there.

use super::arrays;
use super::restored_video::VideoIn;
use super::scan::{Channel, Event, Message};
use super::topics::{DATASET_RECORD, EPISODE_RECORD, FEATURE_KEY, UNITS_KEY};
use super::units::Unit;
use crate::convert::v2;
use crate::edit::plan::Source;
use crate::episodes::{Episode, VideoSpan};
use crate::error::{Error, Result};
use crate::features::{DEFAULT_FEATURES, Feature};
use crate::fsio;
use crate::info::{DATA_PATH, FileIndex, Info, VIDEO_PATH};
use crate::journal::marks::{EpisodeMark, EpisodeMarks};
use crate::reader::batch::{flat, nested};
use crate::reader::value::Numbers;
use crate::stats::Stats;
use crate::table;
use crate::tasks::Tasks;
use arrow_array::{ArrayRef, BinaryArray, Float32Array, Int64Array, StringArray, StructArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value};
use sinew_runtime::ros::messages::{CompressedImageMsg, JointStateMsg, Message as _, StringMsg};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Memory for the rows of one episode, bytes.
const EPISODE_LIMIT: usize = 2 << 30;
/// Most rows of an episode: 11 days at 30 fps.
const ROW_LIMIT: u64 = 1 << 25;
/// More task sentences than any dataset has.
const TASK_LIMIT: usize = 10_000;
/// What is noted of an episode whose end is lost.
const CUT: &str = "the MCAP file that it comes from is damaged or was cut off";

/// Rebuilds a dataset.
pub(super) struct Restore<'a> {
    path: PathBuf,
    scratch: &'a Path,
    info: Option<Info>,
    tasks: Tasks,
    /// Features that have a topic.
    known: BTreeSet<String>,
    open: Option<Open>,
    episodes: Vec<Episode>,
    marks: EpisodeMarks,
    rows: u64,
    notes: Vec<String>,
}

/// An episode that comes in.
struct Open {
    /// What the record before it says.
    about: BTreeMap<String, String>,
    rows: u64,
    columns: BTreeMap<String, Column>,
    videos: BTreeMap<String, VideoIn>,
    /// Where tasks begin, and their numbers.
    tasks: Vec<(u64, u64)>,
    bytes: usize,
}

/// A feature's values.
struct Column {
    values: Values,
    /// Numbers in a row.
    width: usize,
    rows: u64,
    /// Whether a row is missing; what follows is of no use.
    broken: bool,
}

enum Values {
    Numbers(Numbers),
    Texts(Vec<String>),
    Pictures(Vec<Vec<u8>>),
}

impl<'a> Restore<'a> {
    /// A dataset to be built in `scratch`. `path` is for messages.
    pub(super) fn new(path: &Path, scratch: &'a Path) -> Self {
        Self {
            path: path.to_owned(),
            scratch,
            info: None,
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
        let numbers = open.task_numbers(rows);
        write_rows(
            info,
            &self.known,
            &open,
            &path,
            rows,
            (number, self.rows),
            &numbers,
        )?;
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
        if !self.marks.episodes.is_empty() {
            let path = EpisodeMarks::path(self.scratch);
            fsio::write_synced(&path, &self.marks.to_bytes()?)?;
        }
        let source = Source {
            root: self.scratch.to_owned(),
            info,
            tasks: self.tasks,
            episodes: self.episodes,
        };
        Ok((source, self.notes))
    }
}

fn is_default(name: &str) -> bool {
    DEFAULT_FEATURES.iter().any(|(n, _)| *n == name)
}

impl Open {
    fn frame(
        &mut self,
        path: &Path,
        scratch: &Path,
        feature: &str,
        row: u64,
        data: &[u8],
    ) -> Result<()> {
        let video = match self.videos.get_mut(feature) {
            Some(video) => video,
            None => {
                let text = self.about.get("videos").map_or("", String::as_str);
                let videos: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
                let about = videos.get(feature).cloned().unwrap_or_default();
                let file = scratch.join("frames").join(self.videos.len().to_string());
                let video = VideoIn::create(path, &file, &about)?;
                self.videos.entry(feature.to_owned()).or_insert(video)
            }
        };
        video.take(row, data)
    }

    /// The rows that are there of all features: name, and whether it is a video.
    fn whole_rows<'f>(&self, features: impl Iterator<Item = (&'f str, bool)>) -> u64 {
        let mut rows = self.rows;
        let mut videos = Vec::new();
        for (name, is_video) in features {
            if is_video {
                videos.push(self.videos.get(name));
            } else {
                rows = rows.min(self.columns.get(name).map_or(0, |c| c.rows));
            }
        }
        // A cut must be possible in all videos at once.
        loop {
            let possible = |video: &Option<&VideoIn>| video.map_or(0, |v| v.rows_within(rows));
            let fewest = videos.iter().map(possible).min().unwrap_or(rows);
            if fewest == rows {
                return rows;
            }
            rows = fewest;
        }
    }

    /// The task of each row.
    fn task_numbers(&self, rows: u64) -> Vec<i64> {
        let mut numbers = Vec::new();
        let mut current = 0;
        let mut next = self.tasks.iter().peekable();
        for row in 0..rows {
            while let Some((_, number)) = next.next_if(|(from, _)| *from <= row) {
                current = *number as i64;
            }
            numbers.push(current);
        }
        numbers
    }

    fn mark(&self, rows: u64) -> EpisodeMark {
        let text = self.about.get("mark").map_or("", String::as_str);
        let mut mark: EpisodeMark = serde_json::from_str(text).unwrap_or_default();
        if rows < self.rows {
            mark.ended_early = Some(CUT.into());
        }
        mark
    }

    /// Statistics of the cameras; none of an episode that was cut, so that they are computed.
    fn stats(&self, rows: u64) -> Stats {
        let text = self.about.get("camera_stats").map_or("", String::as_str);
        let stored: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let all = stored.into_iter().filter(|_| rows == self.rows);
        Stats(
            all.filter_map(|(name, values)| Some((name, v2::of_json(&values)?)))
                .collect(),
        )
    }
}

impl Column {
    fn of(feature: &Feature) -> Option<Self> {
        let width = feature
            .shape
            .iter()
            .try_fold(1_u64, |n, side| n.checked_mul(*side))?;
        let values = match feature.dtype.as_str() {
            "string" => Values::Texts(Vec::new()),
            "image" => Values::Pictures(Vec::new()),
            dtype => Values::Numbers(arrays::empty(dtype)?),
        };
        Some(Self {
            values,
            width: usize::try_from(width).ok()?,
            rows: 0,
            broken: false,
        })
    }

    /// Takes the message of a row; what is out of turn or damaged ends the column.
    fn take(&mut self, row: u64, channel: &Channel, data: &[u8]) {
        if self.broken || row < self.rows {
            return;
        }
        self.broken = row > self.rows || self.append(channel, data).is_none();
        if self.broken {
            return;
        }
        self.rows += 1;
    }

    fn append(&mut self, channel: &Channel, data: &[u8]) -> Option<()> {
        match &mut self.values {
            Values::Texts(all) => all.push(StringMsg::decode(data).ok()?.data),
            Values::Pictures(all) => all.push(CompressedImageMsg::decode(data).ok()?.data),
            Values::Numbers(numbers) => {
                if channel.schema == JointStateMsg::ros_name() {
                    joints(numbers, channel, data)?;
                } else {
                    arrays::append(numbers, data).ok()?;
                }
                let wanted = self.width.checked_mul(self.rows as usize + 1)?;
                if numbers.len() != wanted {
                    arrays::truncate(numbers, self.width * self.rows as usize);
                    return None;
                }
            }
        }
        Some(())
    }

    fn array(&self, path: &Path, feature: &Feature, rows: u64) -> Result<ArrayRef> {
        let rows = rows as usize;
        match &self.values {
            Values::Texts(all) => Ok(Arc::new(StringArray::from_iter_values(
                all.iter().take(rows),
            ))),
            Values::Pictures(all) => pictures(path, all, rows),
            Values::Numbers(numbers) => {
                let mut numbers = numbers.clone();
                arrays::truncate(&mut numbers, self.width * rows);
                let sides: Vec<usize> = feature.shape.iter().map(|s| *s as usize).collect();
                let sides = if sides == [1] { Vec::new() } else { sides };
                nested(path, flat(path, numbers)?, &sides)
            }
        }
    }
}

/// Appends the positions of a JointState in the dataset's units.
fn joints(numbers: &mut Numbers, channel: &Channel, data: &[u8]) -> Option<()> {
    let message = JointStateMsg::decode(data).ok()?;
    let units = channel.metadata.get(UNITS_KEY)?.split(',');
    let units: Vec<Unit> = units.map(Unit::named).collect::<Option<_>>()?;
    if units.len() != message.position.len() {
        return None;
    }
    let values = units.iter().zip(&message.position);
    let values = values.map(|(unit, value)| unit.from_si(*value));
    match numbers {
        Numbers::F32(all) => all.extend(values.map(|v| v as f32)),
        Numbers::F64(all) => all.extend(values),
        _ => return None,
    }
    Some(())
}

/// Pictures as HF's image type, under LeRobot's names.
fn pictures(path: &Path, all: &[Vec<u8>], rows: usize) -> Result<ArrayRef> {
    let broken = |e: arrow_schema::ArrowError| Error::corrupt(path, e.to_string());
    let all = &all[..rows.min(all.len())];
    let names = (0..all.len()).map(|i| format!("frame-{i:06}.png"));
    let fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(all)),
        Arc::new(StringArray::from_iter_values(names)),
    ];
    Ok(Arc::new(
        StructArray::try_new(fields.into(), columns, None).map_err(broken)?,
    ))
}

/// Writes an episode's data file; `first` are the episode's number and that of its first row.
fn write_rows(
    info: &Info,
    known: &BTreeSet<String>,
    open: &Open,
    path: &Path,
    rows: u64,
    (episode, first): (u64, u64),
    tasks: &[i64],
) -> Result<()> {
    let counted = |from: u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            (from..from + rows).map(|v| v as i64),
        ))
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (name, feature) in info.features.iter().filter(|(_, f)| !f.is_video()) {
        let array = match (name, open.columns.get(name)) {
            ("frame_index", _) => counted(0),
            ("index", _) => counted(first),
            ("episode_index", _) => Arc::new(Int64Array::from(vec![episode as i64; rows as usize])),
            ("task_index", _) => Arc::new(Int64Array::from(tasks.to_vec())),
            // Another episode may have needed its own; this one has the usual times.
            ("timestamp", column) if column.is_none_or(|c| c.rows < rows) => {
                let fps = f64::from(info.fps);
                let times = (0..rows).map(|row| (row as f64 / fps) as f32);
                Arc::new(Float32Array::from_iter_values(times))
            }
            (_, Some(column)) => column.array(path, feature, rows)?,
            (_, None) if known.contains(name) => {
                return Err(Error::corrupt(path, format!("{name} has no rows")));
            }
            (_, None) => continue,
        };
        columns.push((name.to_owned(), array));
    }
    if let Some(parent) = path.parent() {
        fsio::create_dir(parent)?;
    }
    let field =
        |(name, array): &(String, ArrayRef)| Field::new(name, array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    table::write(path, &table::batch(path, schema, arrays)?, &[])
}
