//! Reads datasets written here or by LeRobot.
//!
//! [`Dataset`] holds the metadata and reads whole episodes; [`Reader`] gives single frames and
//! windows of them; [`Loader`] reads ahead.
//!
//! Files may come from strangers. Every count is checked before memory is spent on it, and damage
//! gives an error that names the file.

#[cfg(feature = "ndarray")]
mod arrays;
pub(crate) mod batch;
pub(crate) mod cache;
pub(crate) mod cells;
mod columns;
mod groups;
mod hashes;
mod items;
mod loader;
mod many;
mod order;
pub(crate) mod pictures;
mod planar;
pub(crate) mod value;
mod window;

#[cfg(feature = "ndarray")]
pub use arrays::Element;
pub use items::{Reader, ReaderOptions};
pub use loader::{Loader, LoaderOptions};
pub use order::Order;
pub use value::{DepthUnit, Image, Item, Numbers, Pixels, Tensor, Value};

use crate::episodes::{self, Episode};
use crate::error::{Error, Result};
use crate::features::{ACTION, Feature, STATE};
use crate::files::{FileEntry, Files, LocalFiles, read_whole};
use crate::info::Info;
use crate::stats::store::STATS_LIMIT_BYTES;
use crate::tasks::Tasks;
use arrow_array::ArrayRef;
use cells::Gathered;
use columns::Columns;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most rows of an episode that are read into memory: 11 days at 30 fps.
const ROW_LIMIT: u64 = 1 << 25;
/// Most values of one feature in an episode.
const VALUE_LIMIT: u64 = 1 << 28;
/// Most bytes of data columns that are kept: the numbers of a million frames or so.
const COLUMN_CACHE_BYTES: u64 = 192 << 20;

/// A dataset opened for reading. Cheap to clone; clones share what they keep of the data files.
#[derive(Debug, Clone)]
pub struct Dataset {
    root: PathBuf,
    info: Arc<Info>,
    tasks: Arc<Tasks>,
    episodes: Arc<[Episode]>,
    files: Arc<dyn Files>,
    columns: Arc<Columns>,
}

/// One feature of one episode: rows of `width` values, in the units of the dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Names of the entries, if the dataset gives them.
    pub names: Vec<String>,
    /// Values in a row.
    pub width: usize,
    /// Row after row.
    pub values: Vec<f64>,
}

impl Series {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of row `index`.
    pub fn row(&self, index: usize) -> Option<&[f64]> {
        self.values
            .get(index.checked_mul(self.width)?..)?
            .get(..self.width)
    }
}

impl Dataset {
    /// Opens the dataset in `root`: its metadata is read, its data and videos only when asked for.
    ///
    /// # Errors
    /// If the metadata is missing or damaged, or not of LeRobot v3.0.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Arc::new(LocalFiles::new(root)))
    }

    /// Opens the dataset whose files `files` gives; `root` is its name in messages.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with(root: &Path, files: Arc<dyn Files>) -> Result<Self> {
        let info = Info::read_from(root, &*files)?;
        let episodes = episodes::read_from(root, &*files, &info, false)?;
        let tasks = if info.total_episodes == 0 {
            Tasks::default()
        } else {
            Tasks::read_from(root, &*files)?
        };
        Ok(Self::assemble(root, info, tasks, episodes, files))
    }

    /// The dataset of this metadata, whose data and videos `files` gives.
    pub(crate) fn assemble(
        root: &Path,
        info: Info,
        tasks: Tasks,
        episodes: Vec<Episode>,
        files: Arc<dyn Files>,
    ) -> Self {
        Self {
            root: root.to_owned(),
            info: info.into(),
            tasks: tasks.into(),
            episodes: episodes.into(),
            columns: Arc::new(Columns::new(files.clone(), COLUMN_CACHE_BYTES)),
            files,
        }
    }

    /// A reader of single frames and windows.
    ///
    /// # Errors
    /// If the options name features that are not there, or offsets between frames.
    pub fn reader(&self, options: &ReaderOptions) -> Result<Reader> {
        Reader::new(self, options)
    }

    /// Number of frames.
    pub fn len(&self) -> u64 {
        self.episodes.last().map_or(0, |e| e.to_index)
    }

    /// Whether there are no frames.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dataset's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The dataset's head.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The episodes, in order.
    pub fn episodes(&self) -> &[Episode] {
        &self.episodes
    }

    /// The task sentences, by number.
    pub fn tasks(&self) -> &[String] {
        self.tasks.sentences()
    }

    /// The episode numbered `index`.
    pub fn episode(&self, index: u64) -> Result<&Episode> {
        let found = usize::try_from(index)
            .ok()
            .and_then(|i| self.episodes.get(i));
        found.ok_or_else(|| Error::NotFound {
            root: self.root.clone(),
            what: format!("episode {index}"),
            available: match self.episodes.len() {
                0 => "no episodes".into(),
                n => format!("episodes 0 to {}", n - 1),
            },
        })
    }

    /// The episode that holds the frame with the dataset-wide number `index`.
    pub fn episode_of(&self, index: u64) -> Result<&Episode> {
        let after = self.episodes.partition_point(|e| e.to_index <= index);
        let found = self.episodes.get(after);
        found
            .filter(|e| e.from_index <= index)
            .ok_or_else(|| Error::NotFound {
                root: self.root.clone(),
                what: format!("frame {index}"),
                available: frames_of(self.len()),
            })
    }

    /// The commanded joint values of an episode.
    pub fn actions(&self, episode: u64) -> Result<Series> {
        self.series(episode, ACTION)
    }

    /// The measured joint values of an episode.
    pub fn states(&self, episode: u64) -> Result<Series> {
        self.series(episode, STATE)
    }

    /// The values of one numeric feature in an episode.
    pub fn series(&self, episode: u64, feature: &str) -> Result<Series> {
        let entry = self.episode(episode)?;
        let described = self.info.features.get(feature).filter(|f| !f.is_camera());
        let described = described.ok_or_else(|| self.no_feature("numeric feature", feature))?;
        let width = self.shape(feature, described)?.iter().product::<usize>();
        let rows = self.rows_of(entry)?;
        let mut frames = Gathered::default();
        self.each_cell(entry, "frame_index", |path, array, row| {
            frames.add(path, array, row)
        })?;
        let path = self.info.data_file(entry.data)?;
        let frames = frames.tensor(&path, "frame_index", vec![rows])?.numbers;
        let expected: Vec<i64> = (0..rows as i64).collect();
        if frames != Numbers::I64(expected) {
            return Err(Error::corrupt(
                &path,
                format!("the frame_index of episode {episode} does not count its {rows} rows"),
            ));
        }
        let mut gathered = Gathered::default();
        self.each_cell(entry, feature, |path, array, row| {
            gathered.add(path, array, row)
        })?;
        let tensor = gathered.tensor(&path, feature, vec![rows, width])?;
        Ok(Series {
            names: described.entry_names().unwrap_or_default(),
            width,
            values: tensor.numbers.to_f64(),
        })
    }

    /// All files of the dataset with their sizes, in no particular order.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn files(&self) -> Result<Vec<FileEntry>> {
        let listed = self.files.list(Path::new(""));
        listed.map_err(Error::io("list", &self.root))
    }

    /// The contents of a metadata file such as `info.json`, wherever the dataset is; `None` if there is
    /// none of that name.
    ///
    /// # Errors
    /// If it cannot be read or is larger than any such file.
    pub fn metadata_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = Path::new("meta").join(name);
        match read_whole(&self.root, &*self.files, &path, STATS_LIMIT_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The videos of an episode: feature name and file. Files that LeRobot wrote hold several
    /// episodes; [`Episode::videos`] says where this one is.
    pub fn video_files(&self, episode: u64) -> Result<Vec<(String, PathBuf)>> {
        let entry = self.episode(episode)?;
        let file = |v: &episodes::VideoSpan| {
            Ok((
                v.key.clone(),
                self.root.join(self.info.video_file(&v.key, v.file)?),
            ))
        };
        entry.videos.iter().map(file).collect()
    }

    /// The description of a feature.
    fn feature(&self, name: &str) -> Result<&Feature> {
        let found = self.info.features.get(name);
        found.ok_or_else(|| self.no_feature("feature", name))
    }

    fn no_feature(&self, kind: &str, name: &str) -> Error {
        Error::NotFound {
            root: self.root.clone(),
            what: format!("{kind} {name}"),
            available: self.info.features.listing(),
        }
    }

    /// Sides of one frame's tensor; a feature of shape `[1]` is a scalar, as in LeRobot.
    fn shape(&self, name: &str, feature: &Feature) -> Result<Vec<usize>> {
        if feature.shape == [1] {
            return Ok(Vec::new());
        }
        let values = feature
            .shape
            .iter()
            .try_fold(1_u64, |n, s| n.checked_mul(*s));
        let sides = feature.shape.iter().map(|s| usize::try_from(*s).ok());
        let sides: Option<Vec<usize>> = sides.collect();
        sides
            .filter(|_| values.is_some_and(|n| (1..=VALUE_LIMIT).contains(&n)))
            .ok_or_else(|| {
                Error::corrupt(
                    &Info::path(&self.root),
                    format!("feature {name} has the shape {:?}", feature.shape),
                )
            })
    }

    /// The rows of an episode, if they may be read into memory at once.
    fn rows_of(&self, episode: &Episode) -> Result<usize> {
        if episode.length > ROW_LIMIT {
            return Err(Error::corrupt(
                &self.root.join("meta/episodes"),
                format!("episode {} claims {} rows", episode.index, episode.length),
            ));
        }
        Ok(episode.length as usize)
    }

    /// Gives the cell of a feature in row `row` of an episode, as [`Self::each_cell`] does.
    pub(crate) fn with_cell<T>(
        &self,
        episode: &Episode,
        feature: &str,
        row: u64,
        take: impl FnOnce(&Path, &ArrayRef, usize) -> Result<T>,
    ) -> Result<T> {
        let file = self.columns.file(&self.info, episode.data)?;
        let column = file.column(feature)?;
        let row = file.row_of(episode.from_index.saturating_add(row))?;
        let cell = self.columns.cell(&file, column, row)?;
        take(&file.path, &cell.block.array, cell.row)
    }

    /// Gives the cells of a feature in an episode, row after row: the file, the column and the row
    /// in it.
    fn each_cell(
        &self,
        episode: &Episode,
        feature: &str,
        mut take: impl FnMut(&Path, &ArrayRef, usize) -> Result<()>,
    ) -> Result<()> {
        let file = self.columns.file(&self.info, episode.data)?;
        let column = file.column(feature)?;
        for index in episode.from_index..episode.to_index {
            let cell = self.columns.cell(&file, column, file.row_of(index)?)?;
            take(&file.path, &cell.block.array, cell.row)?;
        }
        Ok(())
    }
}

/// What frames there are, in words.
fn frames_of(count: u64) -> String {
    match count {
        0 => "no frames".into(),
        n => format!("frames 0 to {}", n - 1),
    }
}
