//! `meta/info.json`, entry by entry: one that is wrong does not hide the others.

use super::code::Code;
use super::finding::{Findings, Place};
use crate::features::{DEFAULT_FEATURES, FEATURE_LIMIT, Feature};
use crate::fsio;
use crate::info::{CODEBASE_VERSION, DATA_PATH, FileIndex, Info, VIDEO_PATH, render};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const FILE: &str = "meta/info.json";
/// More than any real `info.json`.
const LIMIT_BYTES: u64 = 16 << 20;
/// Values in one cell that are looked at …
const WIDTH_LIMIT: u64 = 1 << 16;
/// … and in all cells of a row together: their statistics are kept.
const ROW_LIMIT: u64 = 1 << 20;

/// What kind of values a feature has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers in a parquet column.
    Number,
    /// Pictures in MP4 files.
    Video,
    /// Text, pictures in parquet, and what else there may be.
    Other,
}

/// A feature as `info.json` describes it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) shape: Vec<u64>,
    /// Values in a cell, for numbers.
    pub(super) width: usize,
    /// Values for which there are statistics: lerobot takes those along the last axis.
    pub(super) stat_width: usize,
    names: Vec<String>,
}

impl Described {
    /// `feature/entry` for messages and places.
    pub(super) fn entry(&self, entry: usize) -> String {
        match self.names.get(entry) {
            _ if self.width == 1 && self.names.is_empty() => self.name.clone(),
            Some(name) => format!("{}/{name}", self.name),
            None => format!("{}/{entry}", self.name),
        }
    }

    /// `feature/entry` of a value of the statistics.
    pub(super) fn stat_entry(&self, entry: usize) -> String {
        if self.stat_width == self.width {
            self.entry(entry)
        } else {
            format!("{}/…{entry}", self.name)
        }
    }

    /// The names of the entries, if there is one for each.
    pub(super) fn names(&self) -> &[String] {
        if self.names.len() == self.width {
            &self.names
        } else {
            &[]
        }
    }
}

/// The head of a dataset, as far as it could be understood.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) fps: Option<f64>,
    pub(super) features: Vec<Described>,
    /// Names of the video features.
    pub(super) cameras: Vec<String>,
    pub(super) total_episodes: Option<u64>,
    total_frames: Option<u64>,
    total_tasks: Option<u64>,
    train_split: Option<String>,
    data_path: String,
    video_path: String,
}

fn place() -> Place {
    Place::file(Path::new(FILE))
}

impl Head {
    /// Reads the file; `None` if there is nothing to go on with.
    pub(super) fn read(root: &Path, out: &mut Findings) -> Option<Self> {
        let path = Info::path(root);
        if !path.is_file() {
            out.add(
                Code::InfoMissing,
                place(),
                "there is no meta/info.json in this folder",
            );
            return None;
        }
        let parsed = fsio::read_limited(&path, LIMIT_BYTES)
            .map_err(|e| super::files::problem_of(&e))
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|e| e.to_string()));
        let object = match parsed {
            Ok(Value::Object(object)) => object,
            Ok(_) => return unusable("it is no JSON object", out),
            Err(problem) => return unusable(&problem, out),
        };
        let version = object.get("codebase_version").and_then(Value::as_str);
        if version != Some(CODEBASE_VERSION) {
            let found = version.unwrap_or("missing");
            out.add(
                Code::Version,
                place(),
                format!("codebase_version is {found}; this checks {CODEBASE_VERSION}"),
            );
            return None;
        }
        Some(Self::understand(&object, out))
    }

    fn understand(object: &Map<String, Value>, out: &mut Findings) -> Self {
        let features = features(object, out);
        let cameras: Vec<String> = features
            .iter()
            .filter(|f| f.kind == Kind::Video)
            .map(|f| f.name.clone())
            .collect();
        let mut total = |key: &str| {
            let value = object.get(key).and_then(Value::as_u64);
            if value.is_none() {
                invalid(key, object.get(key), "a whole number", out);
            }
            value
        };
        let (total_episodes, total_frames, total_tasks) = (
            total("total_episodes"),
            total("total_frames"),
            total("total_tasks"),
        );
        Self {
            fps: fps(object, out),
            total_episodes,
            total_frames,
            total_tasks,
            train_split: object
                .get("splits")
                .and_then(|s| s.get("train"))
                .and_then(Value::as_str)
                .map(str::to_owned),
            data_path: template(object, "data_path", DATA_PATH, true, out),
            video_path: template(object, "video_path", VIDEO_PATH, !cameras.is_empty(), out),
            features,
            cameras,
        }
    }

    /// Path of a data file, relative to the root.
    pub(super) fn data_file(&self, at: FileIndex, out: &mut Findings) -> Option<PathBuf> {
        rendered(&self.data_path, "", at, out)
    }

    /// Path of a video file, relative to the root.
    pub(super) fn video_file(
        &self,
        camera: usize,
        at: FileIndex,
        out: &mut Findings,
    ) -> Option<PathBuf> {
        rendered(&self.video_path, self.cameras.get(camera)?, at, out)
    }

    /// Folder under which data files lie.
    pub(super) fn data_top(&self) -> &str {
        self.data_path.split('/').next().unwrap_or_default()
    }

    /// Folder under which video files lie.
    pub(super) fn video_top(&self) -> &str {
        self.video_path.split('/').next().unwrap_or_default()
    }

    /// The feature of a camera.
    pub(super) fn camera(&self, camera: usize) -> Option<&Described> {
        let name = self.cameras.get(camera)?;
        self.features.iter().find(|f| f.name == *name)
    }

    /// Compares the totals with what there is; `episodes` were committed.
    pub(super) fn check_totals(&self, episodes: u64, frames: u64, tasks: u64, out: &mut Findings) {
        let totals = [
            ("total_episodes", self.total_episodes, episodes),
            ("total_frames", self.total_frames, frames),
            ("total_tasks", self.total_tasks, tasks),
        ];
        for (name, said, found) in totals {
            if let Some(said) = said.filter(|said| *said != found) {
                out.add(
                    Code::Totals,
                    place(),
                    format!("{name} is {said}, but there are {found}"),
                );
            }
        }
        let split = format!("0:{episodes}");
        let stale = self.train_split.as_ref().filter(|s| **s != split);
        // Own splits are the user's business; only the automatic one is checked, and only once.
        if let Some(found) = stale.filter(|s| s.starts_with("0:") && !out.has(Code::Totals)) {
            let message = format!("the split `train` is {found}, but the episodes are {split}");
            out.add(Code::Totals, place(), message);
        }
    }

    /// What `total_tasks` says.
    pub(super) fn total_tasks(&self) -> Option<u64> {
        self.total_tasks
    }

    /// Whether `frames` is what `total_frames` says.
    pub(super) fn has_frames(&self, frames: u64) -> bool {
        self.total_frames == Some(frames)
    }
}

fn unusable(problem: &str, out: &mut Findings) -> Option<Head> {
    out.add(
        Code::InfoInvalid,
        place(),
        format!("cannot be read: {problem}"),
    );
    None
}

fn invalid(key: &str, found: Option<&Value>, wanted: &str, out: &mut Findings) {
    let found = found.map_or("missing".to_owned(), |v| {
        v.to_string().chars().take(60).collect()
    });
    out.add(
        Code::InfoInvalid,
        place(),
        format!("{key} is {found}; it must be {wanted}"),
    );
}

fn fps(object: &Map<String, Value>, out: &mut Findings) -> Option<f64> {
    let found = object.get("fps");
    let fps = found
        .and_then(Value::as_f64)
        .filter(|fps| (0.001..=100_000.0).contains(fps));
    if fps.is_none() {
        invalid("fps", found, "a positive number", out);
    }
    fps
}

/// A path template; LeRobot's own where the entry is wrong, so that the files are found anyway.
fn template(
    object: &Map<String, Value>,
    key: &str,
    usual: &str,
    needed: bool,
    out: &mut Findings,
) -> String {
    match object.get(key) {
        Some(Value::String(text)) if render(text, "k", FileIndex::default()).is_ok() => {
            text.clone()
        }
        Some(Value::Null) | None if !needed => usual.to_owned(),
        found => {
            invalid(key, found, "a path template inside the dataset", out);
            usual.to_owned()
        }
    }
}

fn rendered(template: &str, key: &str, at: FileIndex, out: &mut Findings) -> Option<PathBuf> {
    let path = render(template, key, at);
    if path.is_err() {
        let message = format!("the feature name {key:?} gives no path inside the dataset");
        out.add(Code::InfoInvalid, place(), message);
    }
    path.ok()
}

fn features(object: &Map<String, Value>, out: &mut Findings) -> Vec<Described> {
    let Some(entries) = object.get("features").and_then(Value::as_object) else {
        invalid("features", object.get("features"), "an object", out);
        return Vec::new();
    };
    let mut features = Vec::new();
    let mut room = ROW_LIMIT;
    for (name, value) in entries.iter().take(FEATURE_LIMIT) {
        match serde_json::from_value::<Feature>(value.clone()) {
            Ok(feature) => features.extend(described(name, &feature, &mut room, out)),
            Err(problem) => out.add(
                Code::InfoInvalid,
                place().feature(name),
                format!("the feature is not described properly: {problem}"),
            ),
        }
    }
    for (name, _) in DEFAULT_FEATURES {
        if !entries.contains_key(name) {
            let message = format!("the feature {name}, which every dataset has, is not described");
            out.add(Code::InfoInvalid, place().feature(name), message);
        }
    }
    features
}

/// `room` is how many values a row may still get.
fn described(
    name: &str,
    feature: &Feature,
    room: &mut u64,
    out: &mut Findings,
) -> Option<Described> {
    let kind = match feature.dtype.as_str() {
        "video" => Kind::Video,
        "bool" => Kind::Number,
        dtype
            if ["float", "int", "uint"]
                .iter()
                .any(|p| dtype.starts_with(p)) =>
        {
            Kind::Number
        }
        _ => Kind::Other,
    };
    let width = feature
        .shape
        .iter()
        .try_fold(1_u64, |n, side| n.checked_mul(*side))
        .filter(|n| (1..=WIDTH_LIMIT).contains(n))
        .filter(|n| kind != Kind::Number || n <= room);
    if kind == Kind::Number {
        let Some(width) = width else {
            let message = format!("shape {:?} is not one that is checked", feature.shape);
            out.add(Code::InfoInvalid, place().feature(name), message);
            return None;
        };
        *room -= width;
    }
    Some(Described {
        name: name.to_owned(),
        kind,
        shape: feature.shape.clone(),
        width: width.unwrap_or(0) as usize,
        stat_width: width.and(feature.shape.last().copied()).unwrap_or(0) as usize,
        names: feature.entry_names().unwrap_or_default(),
    })
}
