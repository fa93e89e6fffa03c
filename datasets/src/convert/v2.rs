//! LeRobot v2.0 and v2.1: a data file, and a video a camera, for every episode; tables as JSON lines.
//!
//! Nothing is copied here: the old dataset becomes a [`Source`] that the builder of edits reads, and
//! the result is what packing makes of it. Statistics of numbers are computed from the rows, so that
//! the quantiles are there which version 2 did not have; those of pictures are taken over, and what
//! they lack is computed from a sample of the frames.

use crate::edit::build::make;
use crate::edit::plan::{Plan, Source};
use crate::edit::{Limits, Report, Target};
use crate::episodes::{Episode, VideoSpan};
use crate::error::{Error, Result};
use crate::features::Features;
use crate::fsio;
use crate::info::{CODEBASE_VERSION, FileIndex, Info};
use crate::journal::marks::EpisodeMarks;
use crate::stats::{FeatureStats, Stats, VALUE_NAMES};
use crate::tasks::Tasks;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::Path;

/// More than any real table of episodes; a stranger's may be anything.
const LIMIT_BYTES: u64 = 512 << 20;
/// More episodes than any dataset has.
const EPISODE_LIMIT: u64 = 10_000_000;

/// The versions that are understood.
pub(super) const VERSIONS: [&str; 2] = ["v2.0", "v2.1"];

/// A line of `episodes.jsonl`.
#[derive(Debug, Deserialize)]
struct EpisodeLine {
    episode_index: u64,
    #[serde(default)]
    tasks: Vec<String>,
    length: u64,
}

/// A line of `tasks.jsonl`.
#[derive(Debug, Deserialize)]
struct TaskLine {
    task_index: u64,
    task: String,
}

/// A line of `episodes_stats.jsonl`.
#[derive(Debug, Deserialize)]
struct StatsLine {
    episode_index: u64,
    stats: Map<String, Value>,
}

/// The version that `meta/info.json` states, whatever else is in it.
pub(super) fn version(root: &Path) -> Result<String> {
    let info = raw_info(root)?;
    let version = info.get("codebase_version").and_then(Value::as_str);
    Ok(version.unwrap_or_default().to_owned())
}

/// Makes a v3.0 dataset of the old one in `root`; no picture is encoded anew.
///
/// # Errors
/// [`Error::Corrupt`] for what is damaged, or contradicts itself, with the file.
pub(super) fn convert(root: &Path, out: &Path) -> Result<Report> {
    let source = open(root)?;
    let limits = Limits::of(&source.info);
    let mut plan = Plan::of_sources(vec![source]);
    plan.pack = Some(limits);
    plan.complete_pictures = true;
    make(plan, &Target::Folder(out.to_owned()))
}

/// The old dataset as the builder of edits sees datasets.
pub(super) fn open(root: &Path) -> Result<Source> {
    let info = info(root)?;
    let episodes = episodes(root, &info)?;
    if episodes.is_empty() {
        return Err(Error::edit(root, "it has no episodes"));
    }
    Ok(Source {
        root: root.to_owned(),
        tasks: tasks(root)?,
        episodes,
        marks: EpisodeMarks::default(),
        info,
    })
}

fn raw_info(root: &Path) -> Result<Map<String, Value>> {
    let path = Info::path(root);
    let bytes = fsio::read_limited(&path, 16 << 20)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(&path, e.to_string()))
}

/// The head, as version 3 has it but for its path templates, which stay those of the old files.
fn info(root: &Path) -> Result<Info> {
    let path = Info::path(root);
    let mut raw = raw_info(root)?;
    raw.remove("total_chunks");
    raw.remove("total_videos");
    raw.insert("codebase_version".into(), json!(CODEBASE_VERSION));
    raw.insert("data_files_size_in_mb".into(), json!(100));
    raw.insert("video_files_size_in_mb".into(), json!(200));
    // Some writers put 30.0.
    let fps = raw.get("fps").and_then(Value::as_f64).unwrap_or_default();
    if fps.fract() != 0.0 || !(1.0..=1e6).contains(&fps) {
        return Err(Error::corrupt(&path, format!("fps is {fps}")));
    }
    raw.insert("fps".into(), json!(fps as u32));
    let mut info: Info = serde_json::from_value(Value::Object(raw))
        .map_err(|e| Error::corrupt(&path, e.to_string()))?;
    if info.chunks_size == 0 {
        return Err(Error::corrupt(&path, "chunks_size must be at least 1"));
    }
    video_facts(&mut info.features);
    Ok(info)
}

/// Version 2.0 called a video's `info` `video_info`.
fn video_facts(features: &mut Features) {
    for (_, feature) in &mut features.0 {
        if let Some(Value::Object(facts)) = feature.other.shift_remove("video_info") {
            feature.info.get_or_insert(facts);
        }
    }
}

/// All lines of a table.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = fsio::read_limited(path, LIMIT_BYTES)?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(number, line)| {
            serde_json::from_slice(line)
                .map_err(|e| Error::corrupt(path, format!("line {}: {e}", number + 1)))
        })
        .collect()
}

fn tasks(root: &Path) -> Result<Tasks> {
    let path = root.join("meta/tasks.jsonl");
    let mut lines: Vec<TaskLine> = lines(&path)?;
    lines.sort_by_key(|line| line.task_index);
    for (number, line) in lines.iter().enumerate() {
        if line.task_index != number as u64 {
            return Err(Error::corrupt(
                &path,
                format!("task {number} is missing or there twice"),
            ));
        }
    }
    Ok(Tasks::of(lines.into_iter().map(|line| line.task).collect()))
}

fn episodes(root: &Path, info: &Info) -> Result<Vec<Episode>> {
    let path = root.join("meta/episodes.jsonl");
    let mut lines: Vec<EpisodeLine> = lines(&path)?;
    lines.sort_by_key(|line| line.episode_index);
    if info.total_episodes != lines.len() as u64 || info.total_episodes > EPISODE_LIMIT {
        return Err(Error::corrupt(
            &path,
            format!(
                "{} episodes found, but info.json counts {}",
                lines.len(),
                info.total_episodes
            ),
        ));
    }
    let mut stats = camera_stats(root, info)?;
    let mut from_index = 0_u64;
    let mut episodes = Vec::with_capacity(lines.len());
    for (index, line) in (0_u64..).zip(lines) {
        let to_index = from_index
            .checked_add(line.length)
            .filter(|to| *to < 1 << 53);
        let (true, Some(to_index)) = (line.episode_index == index && line.length > 0, to_index)
        else {
            return Err(Error::corrupt(
                &path,
                format!("episode {index} is missing, there twice or without rows"),
            ));
        };
        let file = FileIndex {
            chunk: index / info.chunks_size,
            file: index,
        };
        let span = |key: &str| VideoSpan {
            key: key.to_owned(),
            file,
            from_s: 0.0,
            to_s: line.length as f64 / f64::from(info.fps),
        };
        episodes.push(Episode {
            index,
            length: line.length,
            data: file,
            from_index,
            to_index,
            videos: info.features.video_keys().map(span).collect(),
            stats: stats
                .get_mut(index as usize)
                .map(std::mem::take)
                .unwrap_or_default(),
            meta: FileIndex::default(),
            tasks: line.tasks,
        });
        from_index = to_index;
    }
    Ok(episodes)
}

/// The statistics of each episode's cameras; none of version 2.0, which had no such table.
fn camera_stats(root: &Path, info: &Info) -> Result<Vec<Stats>> {
    let path = root.join("meta/episodes_stats.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut all = vec![Stats::default(); info.total_episodes as usize];
    for line in lines::<StatsLine>(&path)? {
        let place = usize::try_from(line.episode_index).ok();
        let Some(slot) = place.and_then(|i| all.get_mut(i)) else {
            return Err(Error::corrupt(
                &path,
                format!("there is no episode {}", line.episode_index),
            ));
        };
        for (name, _) in info.features.iter().filter(|(_, f)| f.is_camera()) {
            let Some(values) = line.stats.get(name) else {
                continue;
            };
            let stats = of_json(values).ok_or_else(|| {
                Error::corrupt(
                    &path,
                    format!(
                        "episode {}: the statistics of {name} make no sense",
                        line.episode_index
                    ),
                )
            })?;
            slot.0.push((name.to_owned(), stats));
        }
    }
    Ok(all)
}

/// One camera's statistics; values that are not there stay empty.
pub(super) fn of_json(values: &Value) -> Option<FeatureStats> {
    let mut stats = FeatureStats::empty(0, true);
    for name in VALUE_NAMES {
        if let Some(value) = values.get(name) {
            numbers(value, stats.value_mut(name)?, 0)?;
        }
    }
    let mut count = Vec::new();
    numbers(values.get("count")?, &mut count, 0)?;
    stats.count = *count.first()? as u64;
    let width = stats.mean.len();
    let whole = ["min", "max", "mean", "std"];
    let fits = whole.iter().all(|name| stats.value(name).len() == width);
    let quantiles = stats
        .quantiles
        .iter()
        .all(|q| q.is_empty() || q.len() == width);
    (width > 0 && fits && quantiles).then_some(stats)
}

/// The numbers in nested lists.
fn numbers(value: &Value, out: &mut Vec<f64>, depth: u32) -> Option<()> {
    match value {
        Value::Array(list) if depth < 8 => list.iter().try_for_each(|v| numbers(v, out, depth + 1)),
        Value::Number(number) => {
            out.push(number.as_f64().filter(|v| v.is_finite())?);
            Some(())
        }
        _ => None,
    }
}
