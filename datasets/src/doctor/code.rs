//! The kinds of findings: name, severity and remedy of each, in one table.

use super::finding::Severity::{self, Error, Note, Warning};
use serde::{Serialize, Serializer};
use std::fmt;

/// What kind of thing a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "the names say it, the table below says what to do"
)]
pub enum Code {
    InfoMissing,
    InfoInvalid,
    Version,
    FileMissing,
    ParquetFooter,
    ParquetDamaged,
    ColumnMissing,
    ColumnShape,
    VideoIndex,
    VideoDamaged,
    EpisodeIndex,
    FrameIndex,
    GlobalIndex,
    EpisodeRange,
    EpisodeRows,
    DataFile,
    Timestamp,
    TasksOrder,
    TaskUnknown,
    EpisodeTasks,
    Totals,
    VideoFrames,
    VideoSpan,
    VideoPts,
    VideoRate,
    VideoSize,
    NotFinite,
    StatsWrong,
    StatsMissing,
    EpisodeUncommitted,
    RecordingLeftover,
    FileUnnamed,
    CameraBlack,
    CameraFrozen,
    JointConstant,
    JointJump,
    ActionClipped,
    EpisodeDuplicate,
    Jitter,
    CameraSkew,
    FramesReused,
    JointStill,
    GripperAtEnd,
    Timing,
    RecordingActive,
    PicturesUnchecked,
    Unchecked,
}

const REPAIR: &str =
    "run `sinew dataset repair` on a copy, or take the file from a backup or the hub";
const DELETE: &str =
    "look at the episode (`sinew dataset show`); if it is bad, delete it from the dataset";
const STATS: &str = "recompute the statistics; policies normalise with them";

impl Code {
    /// Name, severity, remedy.
    fn entry(self) -> (&'static str, Severity, &'static str) {
        use Code::*;
        match self {
            InfoMissing => (
                "info-missing",
                Error,
                "restore meta/info.json from a backup or the hub; nothing reads the dataset without it",
            ),
            InfoInvalid => (
                "info-invalid",
                Error,
                "correct the entry in meta/info.json, or restore the file",
            ),
            Version => (
                "version",
                Error,
                "convert the dataset to v3.0 with lerobot's converter",
            ),
            FileMissing => (
                "file-missing",
                Error,
                "restore the file from a backup or the hub, or delete the episodes that are in it",
            ),
            ParquetFooter => (
                "parquet-footer",
                Error,
                "the writer was killed before it finished the file: run `sinew dataset repair`, or restore the file",
            ),
            ParquetDamaged => ("parquet-damaged", Error, REPAIR),
            ColumnMissing => (
                "column-missing",
                Error,
                "add the column, or take the feature out of meta/info.json",
            ),
            ColumnShape => (
                "column-shape",
                Error,
                "make type and shape in meta/info.json those of the column",
            ),
            VideoIndex => (
                "video-index",
                Error,
                "the writer was killed before it finished the file: run `sinew dataset repair`, or delete the episodes in it",
            ),
            VideoDamaged => (
                "video-damaged",
                Error,
                "restore the file from a backup or the hub, or delete the episodes that are in it",
            ),
            EpisodeIndex => (
                "episode-index",
                Error,
                "renumber the episodes: LeRobot looks them up by position, so each one after this is another than its number says",
            ),
            FrameIndex => (
                "frame-index",
                Error,
                "find out whether rows were lost here; if so delete the episode, if not renumber its rows",
            ),
            GlobalIndex => (
                "global-index",
                Error,
                "renumber the rows; LeRobot addresses them by this number",
            ),
            EpisodeRange => (
                "episode-range",
                Error,
                "set dataset_from_index and dataset_to_index to the rows that the episode has",
            ),
            EpisodeRows => (
                "episode-rows",
                Error,
                "delete the episode, or bring table and data file into line with `sinew dataset repair`",
            ),
            DataFile => (
                "data-file",
                Error,
                "set data/chunk_index and data/file_index to the file that holds the rows",
            ),
            Timestamp => (
                "timestamp",
                Error,
                "set timestamp to frame_index / fps: LeRobot finds the video frame by it",
            ),
            TasksOrder => (
                "tasks-order",
                Error,
                "sort meta/tasks.parquet by task_index without gaps: LeRobot looks tasks up by row",
            ),
            TaskUnknown => (
                "task-unknown",
                Error,
                "add the task to meta/tasks.parquet, or correct task_index in the rows",
            ),
            EpisodeTasks => (
                "episode-tasks",
                Warning,
                "make the episode table's tasks those that the rows point to",
            ),
            Totals => ("totals", Error, "correct the total in meta/info.json"),
            VideoFrames => (
                "video-frames",
                Error,
                "pictures and joints are shifted against each other: delete the episode, or restore its video",
            ),
            VideoSpan => (
                "video-span",
                Error,
                "set from_timestamp and to_timestamp to where the episode is in the file: LeRobot finds frames by them",
            ),
            VideoPts => (
                "video-pts",
                Error,
                "remux or re-encode the video at a constant rate",
            ),
            VideoRate => (
                "video-rate",
                Error,
                "remux or re-encode the video at the dataset's fps: LeRobot refuses frames more than 0.1 ms off",
            ),
            VideoSize => (
                "video-size",
                Error,
                "make the shape in meta/info.json that of the video",
            ),
            NotFinite => ("not-finite", Error, DELETE),
            StatsWrong => ("stats-wrong", Error, STATS),
            StatsMissing => ("stats-missing", Warning, STATS),
            EpisodeUncommitted => (
                "episode-uncommitted",
                Warning,
                "a recording was cut off while it saved: `sinew dataset repair` takes the episode in; readers leave it out",
            ),
            RecordingLeftover => (
                "recording-leftover",
                Warning,
                "a recording ended without finishing: run `sinew dataset repair`, or delete these files",
            ),
            FileUnnamed => (
                "file-unnamed",
                Warning,
                "no episode refers to it; delete it, or find the metadata that belonged to it",
            ),
            CameraBlack => (
                "camera-black",
                Warning,
                "check lens cap, cable and exposure; delete the episode",
            ),
            CameraFrozen => (
                "camera-frozen",
                Warning,
                "the picture stood still while the robot moved: check cable and driver; delete the episode",
            ),
            JointConstant => (
                "joint-constant",
                Warning,
                "check that the joint's encoder and cable work; if the joint is fixed on purpose, drop it from the dataset",
            ),
            JointJump => ("joint-jump", Warning, DELETE),
            ActionClipped => (
                "action-clipped",
                Warning,
                "check the calibration range and joint limits: what lies beyond the end was cut off",
            ),
            EpisodeDuplicate => (
                "episode-duplicate",
                Warning,
                "delete one of the two, unless the same actions were replayed on purpose",
            ),
            Jitter => (
                "jitter",
                Warning,
                "record on a less busy machine or at a lower rate; see `sinew doctor` for real-time settings",
            ),
            CameraSkew => (
                "camera-skew",
                Warning,
                "use a camera mode with less delay, or shift the pictures by the median when training",
            ),
            FramesReused => (
                "frames-reused",
                Warning,
                "the camera gave fewer frames than the recording took: lower fps, shorten the exposure or check USB bandwidth",
            ),
            JointStill => (
                "joint-still",
                Note,
                "nothing to do if the task does not need the joint",
            ),
            GripperAtEnd => (
                "gripper-at-end",
                Note,
                "nothing to do if the gripper is driven to its stop on purpose",
            ),
            Timing => ("timing", Note, "nothing to do"),
            RecordingActive => (
                "recording-active",
                Note,
                "examine the dataset again when the recording has ended",
            ),
            PicturesUnchecked => (
                "pictures-unchecked",
                Note,
                "use a build with the feature `gstreamer` and install gstreamer1.0-libav to look at the pictures",
            ),
            Unchecked => ("unchecked", Note, "check this part by other means"),
        }
    }

    /// Name in reports, such as `episode-rows`.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        self.entry().1
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        self.entry().2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
