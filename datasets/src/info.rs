//! `meta/info.json`: the head of a dataset, and where its files are.

use crate::error::{Error, Result};
use crate::features::Features;
use crate::files::{Files, LocalFiles, read_whole};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Component, Path, PathBuf};

/// The only layout version that this crate writes and reads.
pub const CODEBASE_VERSION: &str = "v3.0";
/// Template of the data files.
pub const DATA_PATH: &str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";
/// Template of the video files.
pub const VIDEO_PATH: &str = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4";
/// Template of the episode tables.
pub(crate) const EPISODES_PATH: &str =
    "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";
/// Files in one chunk folder.
pub const CHUNKS_SIZE: u64 = 1000;
/// The file, inside the dataset.
pub(crate) const INFO_PATH: &str = "meta/info.json";
/// More than any real `info.json`; a stranger's may be anything.
const INFO_LIMIT_BYTES: u64 = 16 << 20;

/// Longest path template and longest camera name, bytes.
const NAME_LIMIT: usize = 1024;

/// The contents of `meta/info.json`, fields in LeRobot's key order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Layout version, `v3.0`.
    pub codebase_version: String,
    /// Rows a second.
    pub fps: u32,
    /// Columns and cameras.
    pub features: Features,
    /// Number of committed episodes.
    pub total_episodes: u64,
    /// Number of committed rows.
    pub total_frames: u64,
    /// Number of different task sentences.
    pub total_tasks: u64,
    /// Files in one chunk folder.
    pub chunks_size: u64,
    /// Size at which LeRobot starts a new data file, MiB.
    pub data_files_size_in_mb: u64,
    /// Size at which LeRobot starts a new video file, MiB.
    pub video_files_size_in_mb: u64,
    /// Template of the data files.
    pub data_path: String,
    /// Template of the video files; null without cameras.
    pub video_path: Option<String>,
    /// LeRobot's name of the robot.
    pub robot_type: Option<String>,
    /// Episode ranges by name, `{"train": "0:N"}`.
    #[serde(default)]
    pub splits: Map<String, Value>,
    /// Keys that newer writers add (`tools`, …); kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Info {
    /// The head of an empty dataset.
    pub(crate) fn new(fps: u32, robot_type: &str, features: Features) -> Self {
        let has_video = features.video_keys().next().is_some();
        let mut info = Self {
            codebase_version: CODEBASE_VERSION.into(),
            fps,
            features,
            total_episodes: 0,
            total_frames: 0,
            total_tasks: 0,
            chunks_size: CHUNKS_SIZE,
            data_files_size_in_mb: 100,
            video_files_size_in_mb: 200,
            data_path: DATA_PATH.into(),
            video_path: has_video.then(|| VIDEO_PATH.into()),
            robot_type: Some(robot_type.into()),
            splits: Map::new(),
            other: Map::new(),
        };
        info.update_splits();
        info
    }

    /// Where the file is, under the dataset's root.
    pub fn path(root: &Path) -> PathBuf {
        root.join(INFO_PATH)
    }

    /// Reads and checks `meta/info.json`.
    pub fn read(root: &Path) -> Result<Self> {
        Self::read_from(root, &LocalFiles::new(root))
    }

    /// As [`Self::read`], from `files`; `root` is the dataset's name in messages.
    pub(crate) fn read_from(root: &Path, files: &dyn Files) -> Result<Self> {
        let path = Self::path(root);
        let bytes = read_whole(root, files, Path::new(INFO_PATH), INFO_LIMIT_BYTES)?;
        Self::parse(&path, &bytes)
    }

    /// As [`Self::read`], from the file's contents. `path` is for messages.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let info: Self =
            serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, e.to_string()))?;
        if info.codebase_version != CODEBASE_VERSION {
            return Err(Error::corrupt(
                path,
                format!(
                    "codebase_version is {}; convert the dataset to v3.0 with `sinew dataset convert`",
                    info.codebase_version
                ),
            ));
        }
        if info.fps == 0 || info.chunks_size == 0 {
            return Err(Error::corrupt(
                path,
                "fps and chunks_size must be at least 1",
            ));
        }
        Ok(info)
    }

    /// The file's contents as LeRobot writes them: indent 4, no newline at the end.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        to_indented_json(self)
    }

    /// Makes `splits` cover all episodes.
    pub(crate) fn update_splits(&mut self) {
        self.splits.insert(
            "train".into(),
            Value::String(format!("0:{}", self.total_episodes)),
        );
    }

    /// Path of a data file, relative to the root.
    pub fn data_file(&self, at: FileIndex) -> Result<PathBuf> {
        render(&self.data_path, "", at)
    }

    /// Path of a camera's video file, relative to the root.
    pub fn video_file(&self, video_key: &str, at: FileIndex) -> Result<PathBuf> {
        render(
            self.video_path.as_deref().unwrap_or(VIDEO_PATH),
            video_key,
            at,
        )
    }
}

/// Number of a file: chunk folder and file within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileIndex {
    /// Chunk folder.
    pub chunk: u64,
    /// File in the folder.
    pub file: u64,
}

impl FileIndex {
    /// The next file when chunk folders hold `chunks_size` files.
    pub fn next(self, chunks_size: u64) -> Self {
        if self.file + 1 < chunks_size {
            Self {
                file: self.file + 1,
                ..self
            }
        } else {
            Self {
                chunk: self.chunk + 1,
                file: 0,
            }
        }
    }
}

/// Fills a path template and refuses results outside the dataset's folder.
pub(crate) fn render(template: &str, video_key: &str, at: FileIndex) -> Result<PathBuf> {
    // Before a name of a megabyte is put into a template that asks for it a million times.
    if template.len().max(video_key.len()) > NAME_LIMIT {
        return Err(Error::corrupt(
            Path::new("meta/info.json"),
            format!("a path template or a camera's name has more than {NAME_LIMIT} bytes"),
        ));
    }
    let text = template
        .replace("{chunk_index:03d}", &format!("{:03}", at.chunk))
        .replace("{file_index:03d}", &format!("{:03}", at.file))
        // Version 2 had a file an episode, numbered through.
        .replace("{episode_chunk:03d}", &format!("{:03}", at.chunk))
        .replace("{episode_index:06d}", &format!("{:06}", at.file))
        .replace("{video_key}", video_key);
    let path = PathBuf::from(&text);
    let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
    if inside && !text.contains(['{', '}', '\0']) && !text.is_empty() {
        Ok(path)
    } else {
        Err(Error::corrupt(
            Path::new("meta/info.json"),
            format!(
                "path template `{template}` gives `{text}`, which is no path inside the dataset"
            ),
        ))
    }
}

/// Python's `json.dump(indent=4, ensure_ascii=False)`.
pub(crate) fn to_indented_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|e| Error::spec(format!("metadata cannot be written as JSON: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn templates_cannot_leave_the_dataset() {
        let at = FileIndex { chunk: 1, file: 23 };
        assert_eq!(
            render(DATA_PATH, "", at).unwrap(),
            PathBuf::from("data/chunk-001/file-023.parquet")
        );
        for hostile in [
            "/etc/passwd",
            "../{chunk_index:03d}",
            "a/{file_index:3d}",
            "",
        ] {
            assert!(render(hostile, "", at).is_err(), "{hostile}");
        }
        assert!(render(VIDEO_PATH, "../../x", at).is_err());
        let bomb = "{video_key}".repeat(1 << 20);
        assert!(render(&bomb, &"x".repeat(1 << 20), at).is_err());
    }

    #[test]
    fn file_numbers_roll_over() {
        let at = FileIndex {
            chunk: 0,
            file: 998,
        };
        assert_eq!(
            at.next(1000),
            FileIndex {
                chunk: 0,
                file: 999
            }
        );
        assert_eq!(at.next(1000).next(1000), FileIndex { chunk: 1, file: 0 });
    }

    proptest! {
        #[test]
        fn hostile_info_never_panics(text in "\\PC{0,200}") {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("meta")).unwrap();
            std::fs::write(Info::path(dir.path()), text).unwrap();
            let _ = Info::read(dir.path());
        }
    }
}
