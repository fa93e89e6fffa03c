//! The LeRobot v3.0 dataset: recording, reading, video and statistics.
//!
//! Data's path through a recording: the control loop offers a [`LoopRow`] to [`RowSender`]
//! (wait-free) → the thread of [`RecorderThread`] gives it to [`Recorder`] → frames go to one encoder
//! a camera, and rows and encoded frames to the journal, which is on the disk a quarter of a second
//! later → on [`RecorderThread::save_episode`] the files are finished, counted against each other
//! and moved into place, `meta/info.json` last. After a crash [`repair()`] recovers what the journal
//! holds.
//!
//! Reading: [`Dataset`] opens the metadata → [`Reader`] gives any frame or window of frames, numbers
//! from parquet and pictures from MP4 → [`Loader`] reads ahead for training.
//!
//! Read first: `recorder.rs` for what an episode is on disk, then `info.rs` and `features.rs` for
//! the format's head. The layout is LeRobot's at every moment after an episode is saved.
//!
//! Features: `gstreamer` for cameras; without it the types exist and refuse cameras. `ndarray` gives
//! tensors and pictures as array views. `interop` enables the tests that need the real lerobot package.

mod data;
pub mod doctor;
pub mod edit;
mod episodes;
mod error;
mod features;
mod files;
mod fsio;
mod info;
mod journal;
pub mod mp4;
pub(crate) mod reader;
mod recorder;
mod repair;
mod resume;
pub mod stats;
mod table;
mod tasks;
mod thread;
pub mod video;

pub use episodes::{Episode, VideoSpan};
pub use error::{Error, Result};
pub use features::{
    ACTION, CameraSpec, Codec, DEFAULT_FEATURES, DatasetSpec, ExtraSpec, Feature, Features, IMAGES,
    STATE,
};
pub use files::{Files, LocalFiles, ReadAt};
pub use info::{CHUNKS_SIZE, CODEBASE_VERSION, DATA_PATH, FileIndex, Info, VIDEO_PATH};
pub use journal::marks::{EpisodeMark, EpisodeMarks, Gap};
#[cfg(feature = "ndarray")]
pub use reader::Element;
pub use reader::{
    Dataset, DepthUnit, Image, Item, Loader, LoaderOptions, Numbers, Order, Pixels, Reader,
    ReaderOptions, Series, Tensor, Value,
};
pub use recorder::{EpisodeSummary, Recorder, Row};
pub use repair::{Recovered, RepairOptions, RepairReport, repair};
pub use tasks::Tasks;
pub use thread::{
    LoopRow, MAX_CAMERAS, MAX_EXTRA, Offered, Overload, RecorderThread, RowSender, SavedEpisode,
};
