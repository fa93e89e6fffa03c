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
//! from parquet and pictures from MP4 → [`Loader`] reads ahead for training. Where the files lie is
//! behind [`Files`]: a folder, or a repository on a hub (`remote/`).
//!
//! Read first: `recorder.rs` for what an episode is on disk, then `spec.rs` for what can be recorded,
//! `info.rs` and `features.rs` for the format's head. The layout is LeRobot's at every moment after an episode is saved.
//!
//! Features: `gstreamer` for cameras; without it the types exist and refuse cameras. `remote` for
//! datasets on a hub; without it their names are refused. `ndarray` gives tensors and pictures as
//! array views.

mod camera;
pub mod convert;
mod data;
pub mod diff;
pub mod doctor;
pub mod edit;
mod episodes;
mod error;
mod features;
mod files;
mod fsio;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod info;
mod journal;
mod levels;
pub mod mp4;
mod parts;
pub(crate) mod reader;
mod recorder;
mod remote;
mod repair;
pub mod report;
mod resume;
mod spec;
pub mod stats;
mod table;
mod tasks;
mod thread;
mod values;
pub mod video;

pub use episodes::{Episode, VideoSpan};
pub use error::{Error, HubFault, Result};
pub use features::{ACTION, DEFAULT_FEATURES, Feature, Features, IMAGES, STATE};
pub use files::{FileEntry, Files, LocalFiles, ReadAt};
pub use info::{CHUNKS_SIZE, CODEBASE_VERSION, DATA_PATH, FileIndex, Info, VIDEO_PATH};
pub use journal::marks::{EpisodeMark, EpisodeMarks, Gap};
#[cfg(feature = "ndarray")]
pub use reader::Element;
pub use reader::{
    Dataset, DepthUnit, Image, Item, Loader, LoaderOptions, Numbers, Order, Pixels, Reader,
    ReaderOptions, Series, Tensor, Value,
};
pub use recorder::{EpisodeSummary, RecordOptions, Recorder, Row};
pub use remote::HubName;
#[cfg(feature = "remote")]
pub use remote::{HubOptions, Token};
pub use repair::{Recovered, RepairOptions, RepairReport, repair};
pub use spec::{CameraSpec, Codec, DatasetSpec, ExtraSpec, ExtraType, Storage};
pub use tasks::Tasks;
pub use thread::{
    LoopRow, MAX_EXTRA, MAX_TEXTS, Offered, Overload, RecorderThread, RowSender, SavedEpisode,
};
pub use values::ExtraValue;
