//! LeRobot v3.0 → MCAP: one message a row and feature, for anything that reads ROS 2 bags.
//!
//! Joint vectors become sensor_msgs/JointState in SI units, encoded video frames become
//! foxglove_msgs/CompressedVideo without being decoded, other features the std_msgs type of their
//! values (`topics.rs`). Each message carries its row's number within the episode as its sequence
//! number. Two kinds of metadata records, the dataset's head and one before each episode, say all
//! that messages cannot; with them `restore.rs` gives the dataset back.

use super::bag::{Bag, TopicCount};
use super::clock::{Clock, Timestamps};
use super::encode::Encoder;
use super::topics::{
    Cameras, Carrier, DATASET_RECORD, EPISODE_RECORD, FEATURE_KEY, Topic, UNITS_KEY, robot,
    ros_type, topics,
};
use super::units::JointUnit;
use super::writer::{FileWriter, Output};
use crate::episodes::{self, Episode};
use crate::error::{Error, Result};
use crate::journal::marks::EpisodeMarks;
use crate::levels::Levels;
use crate::{Dataset, stats::Stats};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sinew_runtime::ros::messages::{Message, StringMsg};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where an exported dataset's time begins unless told otherwise, ns since the epoch: LeRobot keeps
/// no dates. Not 0, which readers take for "no time".
pub const DEFAULT_START_NS: u64 = 1_000_000_000;
/// Time between two episodes, ns.
const PAUSE_NS: u64 = 1_000_000_000;

/// What an export makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// One MCAP file with all episodes.
    File,
    /// A rosbag2 folder: an MCAP file an episode, and `metadata.yaml`.
    Bag,
}

/// How a dataset is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// The episodes; `None` for all.
    pub episodes: Option<Vec<u64>>,
    /// What becomes of videos.
    pub cameras: Cameras,
    /// The dataset's unit of joint positions.
    pub joints: JointUnit,
    /// Time of the first row, ns since the epoch.
    pub start_ns: u64,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            episodes: None,
            cameras: Cameras::default(),
            joints: JointUnit::default(),
            start_ns: DEFAULT_START_NS,
        }
    }
}

/// What an export made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The file or folder.
    pub path: PathBuf,
    /// Episodes in it.
    pub episodes: u64,
    /// Rows in it.
    pub frames: u64,
    /// Topics, in the order of their features.
    pub topics: Vec<TopicCount>,
    /// What a person should know about it.
    pub notes: Vec<String>,
}

/// Writes the dataset in `root` to `out`, which must not exist and appears when it is complete.
/// `progress` is told the episodes that are done.
///
/// # Errors
/// [`Error::Convert`] if `out` exists or an episode does not; [`Error::Video`] for codecs that
/// messages cannot carry.
pub fn export(
    root: &Path,
    out: &Path,
    container: Container,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported> {
    let dataset = Dataset::open(root)?;
    let episodes = wanted(&dataset, root, options)?;
    let stats = episodes::read_all(root, dataset.info(), true)?;
    let (topics, left_out) = topics(dataset.info(), options.cameras, options.joints);
    let mut export = Export {
        root,
        dataset: &dataset,
        options,
        topics,
        stats: stats.into_iter().map(|e| e.stats).collect(),
        marks: EpisodeMarks::read(root)?,
        bag: Bag::default(),
        next_ns: options.start_ns,
        reordered: false,
    };
    let output = Output::begin(root, out, container)?;
    let mut frames = 0;
    let a_file = match container {
        Container::File => episodes.len(),
        Container::Bag => 1,
    };
    for (number, group) in episodes.chunks(a_file).enumerate() {
        let path = output.file(number);
        let mut file = export.file(&path)?;
        for index in group {
            let episode = dataset.episode(*index)?;
            export.episode(&mut file, episode)?;
            frames += episode.length;
            progress(1);
        }
        export.bag.add(&path, file.finish()?);
    }
    if container == Container::Bag {
        output.write("metadata.yaml", export.bag.metadata().as_bytes())?;
    }
    let notes = export.notes(left_out);
    Ok(Exported {
        path: output.publish()?,
        episodes: episodes.len() as u64,
        frames,
        topics: export.bag.topics(),
        notes,
    })
}

fn wanted(dataset: &Dataset, root: &Path, options: &ExportOptions) -> Result<Vec<u64>> {
    let episodes = match &options.episodes {
        None => (0..dataset.episodes().len() as u64).collect(),
        Some(list) => list.clone(),
    };
    if episodes.is_empty() {
        return Err(Error::convert(root, "there are no episodes to convert"));
    }
    episodes
        .iter()
        .try_for_each(|e| dataset.episode(*e).map(|_| ()))?;
    Ok(episodes)
}

struct Export<'a> {
    root: &'a Path,
    dataset: &'a Dataset,
    options: &'a ExportOptions,
    topics: Vec<Topic>,
    /// Of each episode of the dataset.
    stats: Vec<Stats>,
    marks: EpisodeMarks,
    bag: Bag,
    /// When the next episode begins.
    next_ns: u64,
    /// Whether frames are stored in another order than they are shown in.
    reordered: bool,
}

impl Export<'_> {
    fn notes(&self, left_out: Vec<String>) -> Vec<String> {
        let mut notes = Vec::new();
        if !left_out.is_empty() {
            notes.push(format!("left out: {}", left_out.join(", ")));
        }
        if self.reordered {
            notes.push(
                "videos have frames stored in another order than they are shown in; players of messages may show them wrongly, the way back is exact".into(),
            );
        }
        if self.options.cameras != Cameras::Video {
            notes.push("the dataset cannot be restored from this as it is".into());
        }
        notes
    }

    /// Begins a file: its channels, and the dataset's head.
    fn file(&self, path: &Path) -> Result<FileWriter> {
        let mut file = FileWriter::create(path)?;
        for topic in &self.topics {
            let dtype = self.dtype(&topic.feature);
            let Some((name, hash)) = topic.carrier.ros_type(dtype) else {
                return Err(Error::convert(
                    self.root,
                    format!("{} has values of the unknown type {dtype}", topic.feature),
                ));
            };
            let mut about = BTreeMap::new();
            if topic.exact {
                about.insert(FEATURE_KEY.to_owned(), topic.feature.clone());
            }
            if let Carrier::Joints(joints) = &topic.carrier {
                let units: Vec<&str> = joints.iter().map(|(_, unit)| unit.name()).collect();
                about.insert(UNITS_KEY.to_owned(), units.join(","));
            }
            file.channel(&topic.name, &name, hash, about)?;
        }
        let (name, hash) = ros_type::<StringMsg>();
        let task = format!("/{}/task", robot(self.dataset.info()));
        file.channel(&task, &name, hash, BTreeMap::new())?;
        if self.options.cameras == Cameras::Video {
            let info = serde_json::to_string(self.dataset.info())
                .map_err(|e| Error::convert(self.root, e.to_string()))?;
            let mut head = vec![
                ("version", "1".to_owned()),
                ("info", info),
                ("tasks", json!(self.dataset.tasks()).to_string()),
            ];
            // Once, in the first file: exact statistics of the pictures of all episodes.
            let first = self.next_ns == self.options.start_ns;
            if first && let Some(levels) = Levels::read(self.root, self.dataset.info()) {
                head.push(("picture_levels", levels.to_text()?));
            }
            file.metadata(DATASET_RECORD, head)?;
        }
        Ok(file)
    }

    fn dtype(&self, feature: &str) -> &str {
        let found = self.dataset.info().features.get(feature);
        found.map_or("", |f| f.dtype.as_str())
    }

    fn episode(&mut self, file: &mut FileWriter, episode: &Episode) -> Result<()> {
        let clock = Clock::of(self.dataset, episode, self.next_ns)?;
        self.next_ns = clock.end_ns().saturating_add(PAUSE_NS);
        let topics = self.topics.iter();
        let mut encoders = topics
            .map(|topic| Encoder::of(self.root, self.dataset, episode, topic))
            .collect::<Result<Vec<_>>>()?;
        self.reordered |= encoders.iter().any(Encoder::is_reordered);
        if self.options.cameras == Cameras::Video {
            file.metadata(EPISODE_RECORD, self.about(episode, &encoders)?)?;
        }
        let times = Timestamps::of(self.dataset, episode)?;
        let tasks = self.dataset.tensor(episode, "task_index")?.numbers.to_f64();
        let mut bytes = Vec::new();
        for row in 0..episode.length {
            for (channel, encoder) in encoders.iter_mut().enumerate() {
                let stamp = |row| clock.at(&self.topics[channel].feature, row);
                let sequence = encoder.encode(row, &stamp, &mut bytes)?;
                file.write(channel, sequence as u32, stamp(row), &bytes)?;
            }
            self.task(file, &tasks, row, clock.at("", row))?;
            if let Some(time) = times.message(row) {
                let channel = self.timestamps(file)?;
                file.write(channel, row as u32, clock.at("", row), &time)?;
            }
        }
        Ok(())
    }

    /// The task, where it begins or changes.
    fn task(&self, file: &mut FileWriter, tasks: &[f64], row: u64, stamp_ns: u64) -> Result<()> {
        let here = tasks.get(row as usize).copied().unwrap_or_default();
        if row > 0 && tasks.get(row as usize - 1) == Some(&here) {
            return Ok(());
        }
        let sentence = self.dataset.tasks().get(here as usize).ok_or_else(|| {
            Error::corrupt(
                self.root,
                format!("task_index {here} is not in tasks.parquet"),
            )
        })?;
        let mut bytes = Vec::new();
        let data = sentence.clone();
        StringMsg { data }.encode(&mut bytes);
        file.write(self.topics.len(), row as u32, stamp_ns, &bytes)
    }

    /// The channel of timestamps that are not simply row / fps.
    fn timestamps(&self, file: &mut FileWriter) -> Result<usize> {
        let name = format!("/{}/timestamp", robot(self.dataset.info()));
        let dtype = self.dtype("timestamp");
        let Some((ros, hash)) = Carrier::Numbers.ros_type(dtype) else {
            return Err(Error::convert(
                self.root,
                format!("timestamps have the type {dtype}"),
            ));
        };
        let about = BTreeMap::from([(FEATURE_KEY.to_owned(), "timestamp".to_owned())]);
        file.channel(&name, &ros, hash, about)
    }

    /// What a reader must know of an episode besides its messages.
    fn about(
        &self,
        episode: &Episode,
        encoders: &[Encoder<'_>],
    ) -> Result<Vec<(&'static str, String)>> {
        let mut videos = Map::new();
        for (topic, encoder) in self.topics.iter().zip(encoders) {
            if let Some(description) = encoder.description() {
                videos.insert(topic.feature.clone(), description);
            }
        }
        let empty = Stats::default();
        let stats = self.stats.get(episode.index as usize).unwrap_or(&empty);
        let cameras = |name: &str| {
            let feature = self.dataset.info().features.get(name);
            feature.is_some_and(crate::Feature::is_camera)
        };
        let stats: Map<String, Value> = stats
            .0
            .iter()
            .filter(|(name, _)| cameras(name))
            .map(|(name, stats)| (name.clone(), stats.to_json()))
            .collect();
        let mut about = vec![
            ("episode", episode.index.to_string()),
            ("rows", episode.length.to_string()),
            ("videos", Value::Object(videos).to_string()),
            ("camera_stats", Value::Object(stats).to_string()),
        ];
        if let Some(mark) = self.marks.episodes.get(&episode.index) {
            about.push(("mark", json!(mark).to_string()));
        }
        Ok(about)
    }
}
