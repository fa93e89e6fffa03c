//! Everything that can go wrong with a dataset, said so that a person can act on it.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a dataset could not be written or read.
#[derive(Debug, Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}: {source}; check the path, its permissions and the free space", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The description of the dataset to record makes no sense.
    #[error("cannot record this dataset: {problem}")]
    Spec {
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A metadata or data file does not say what the format requires.
    #[error("{}: {problem}; the file is damaged or not LeRobot v3.0", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong in it.
        problem: String,
    },
    /// A row does not fit the dataset.
    #[error("episode {episode}, row {row}: {problem}")]
    Row {
        /// Episode index.
        episode: u64,
        /// Row within the episode, from 0.
        row: u64,
        /// What does not fit.
        problem: String,
    },
    /// A call at a time when it has no meaning.
    #[error("{problem}")]
    Order {
        /// What was called when, and what to call first.
        problem: &'static str,
    },
    /// Encoding or decoding failed.
    #[error("video {}: {problem}", path.display())]
    Video {
        /// The video file.
        path: PathBuf,
        /// The codec's own words and what to do.
        problem: String,
    },
    /// This build cannot handle video.
    #[error(
        "this program was built without video support; build with the feature `gstreamer` to use cameras"
    )]
    NoVideo,
    /// No usable encoder is installed.
    #[error(
        "no {wanted} encoder found in GStreamer; install gstreamer1.0-plugins-ugly (x264enc) or gstreamer1.0-plugins-bad (openh264enc, av1enc)"
    )]
    NoEncoder {
        /// The codec that was asked for.
        wanted: &'static str,
    },
    /// Depth cannot be encoded on this machine.
    #[error(
        "depth video needs FFmpeg's libavcodec (version 59 to 62) with x265 of 12 bits, which was not found; install it, e.g. `apt install gstreamer1.0-libav`, or keep the pictures as images"
    )]
    NoDepthEncoder,
    /// No library that decodes this is installed.
    #[error(
        "no decoder for {wanted}: FFmpeg's libavcodec (version 59 to 62) with dav1d is needed ({problem}); install it, e.g. `apt install gstreamer1.0-libav` or `ffmpeg`"
    )]
    NoDecoder {
        /// The codec, as the MP4 file calls it.
        wanted: String,
        /// What was found instead.
        problem: String,
    },
    /// What was asked of a dataset makes no sense for it.
    #[error("cannot read {} that way: {problem}", root.display())]
    Query {
        /// Dataset folder.
        root: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A video has not as many frames as the episode has rows.
    #[error(
        "episode {episode} was not saved: camera {camera} has {frames} video frames for {rows} rows"
    )]
    Misaligned {
        /// Episode index.
        episode: u64,
        /// Feature name of the camera.
        camera: String,
        /// Rows recorded.
        rows: u64,
        /// Frames found in the finished video file.
        frames: u64,
    },
    /// The episode takes no more rows; what came before can be saved.
    #[error("the episode ended early: {problem}; save it to keep what was recorded before")]
    EndedEarly {
        /// What failed.
        problem: String,
    },
    /// A crashed session left an episode that is neither saved nor thrown away.
    #[error(
        "{} holds an episode that was not saved, {rows} rows of the task \"{task}\"; recover it or throw it away with `repair`",
        root.display()
    )]
    Unrepaired {
        /// Dataset folder.
        root: PathBuf,
        /// Rows that can be recovered.
        rows: u64,
        /// The episode's task sentence.
        task: String,
    },
    /// A dataset on a hub cannot be read.
    #[error("{place}: {problem}")]
    Hub {
        /// Name of the dataset, or of a file in it.
        place: String,
        /// What kind of trouble it is.
        fault: HubFault,
        /// What is wrong and what to do.
        problem: String,
    },
    /// This build reads no datasets on hubs.
    #[error(
        "{name}: this program was built without hubs; build with the feature `remote`, or download the dataset and give its folder"
    )]
    NoHub {
        /// Name of the dataset.
        name: String,
    },
    /// Somebody else records here.
    #[error("{} is being recorded by another process; stop it or choose another folder", root.display())]
    Locked {
        /// Dataset folder.
        root: PathBuf,
    },
    /// There is a dataset already.
    #[error("{} holds a dataset already; resume it (--resume) or choose another folder", root.display())]
    Exists {
        /// Dataset folder.
        root: PathBuf,
    },
    /// The dataset to resume was recorded with a different robot, rate or camera set.
    #[error("cannot append to {}: {problem}; record into a new folder", root.display())]
    Incompatible {
        /// Dataset folder.
        root: PathBuf,
        /// What differs.
        problem: String,
    },
    /// The dataset has no such episode or feature.
    #[error("{} has no {what}; it has {available}", root.display())]
    NotFound {
        /// Dataset folder.
        root: PathBuf,
        /// What was asked for.
        what: String,
        /// What there is.
        available: String,
    },
    /// The edit that was asked for makes no sense with this dataset.
    #[error("cannot edit {}: {problem}", root.display())]
    Edit {
        /// Dataset folder.
        root: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// What was asked of a conversion makes no sense.
    #[error("cannot convert {}: {problem}", path.display())]
    Convert {
        /// What was to be converted.
        path: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// An MCAP file cannot be understood, not even in part.
    #[error("{}: {problem}", path.display())]
    Mcap {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The recorder's thread is gone.
    #[error("the recorder thread stopped: {problem}")]
    Thread {
        /// Why, as far as known.
        problem: String,
    },
}

/// Why a dataset on a hub cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubFault {
    /// The dataset's name or the hub's address is no such thing.
    Name,
    /// The hub cannot be reached, or the connection broke again and again.
    Offline,
    /// Access is denied, or must be asked for.
    Login,
    /// There is no such dataset, or it is private.
    NotFound,
    /// The dataset has no such branch, tag or commit.
    Revision,
    /// The dataset has no such file.
    File,
    /// What is there is no LeRobot dataset.
    NoDataset,
    /// It is a LeRobot dataset of a version that is not read here.
    Version,
    /// The hub is overloaded or wants fewer requests.
    Busy,
    /// A file changed while it was read.
    Changed,
    /// The server does not answer as a hub does.
    Protocol,
    /// There is no place to keep metadata in.
    Cache,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        // A hub's files fail with an error of this crate inside, which says it better.
        move |source| match source.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    pub(crate) fn corrupt(path: &Path, problem: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn spec(problem: impl Into<String>) -> Self {
        Self::Spec {
            problem: problem.into(),
        }
    }

    pub(crate) fn edit(root: &Path, problem: impl Into<String>) -> Self {
        Self::Edit {
            root: root.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn convert(path: &Path, problem: impl Into<String>) -> Self {
        Self::Convert {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn mcap(path: &Path, problem: impl Into<String>) -> Self {
        Self::Mcap {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn video(path: &Path, problem: impl Into<String>) -> Self {
        Self::Video {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}
