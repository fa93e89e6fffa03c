//! Reads datasets written here or by LeRobot: episodes and their numeric columns.
//!
//! Files may come from strangers. Every count is checked before memory is spent on it, and damage
//! gives an error that names the file.

use crate::episodes::{self, Episode};
use crate::error::{Error, Result};
use crate::features::{ACTION, STATE};
use crate::info::Info;
use crate::table;
use crate::tasks::Tasks;
use std::path::{Path, PathBuf};

/// Most rows of an episode that are read into memory: 11 days at 30 fps.
const ROW_LIMIT: u64 = 1 << 25;
/// Most values of one column group of an episode.
const VALUE_LIMIT: u64 = 1 << 28;

/// A dataset opened for reading.
#[derive(Debug, Clone)]
pub struct Dataset {
    root: PathBuf,
    info: Info,
    tasks: Tasks,
    episodes: Vec<Episode>,
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
    /// Opens the dataset in `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let info = Info::read(root)?;
        let episodes = episodes::read_all(root, &info, false)?;
        let tasks = if info.total_episodes == 0 {
            Tasks::default()
        } else {
            Tasks::read(root)?
        };
        Ok(Self {
            root: root.to_owned(),
            info,
            tasks,
            episodes,
        })
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
        let described = described.ok_or_else(|| Error::NotFound {
            root: self.root.clone(),
            what: format!("numeric feature {feature}"),
            available: self.info.features.listing(),
        })?;
        let path = self.root.join(self.info.data_file(entry.data)?);
        let width = described
            .shape
            .iter()
            .try_fold(1_u64, |n, side| n.checked_mul(*side))
            .unwrap_or(u64::MAX);
        if entry.length > ROW_LIMIT
            || width == 0
            || entry.length.saturating_mul(width) > VALUE_LIMIT
        {
            return Err(Error::corrupt(
                &path,
                format!("{} rows of {width} values are claimed", entry.length),
            ));
        }
        let values = read_values(&path, entry, feature, width as usize)?;
        Ok(Series {
            names: described.entry_names().unwrap_or_default(),
            width: width as usize,
            values,
        })
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
}

/// The feature's values in the rows whose `episode_index` is the episode's, in `frame_index` order.
fn read_values(path: &Path, entry: &Episode, feature: &str, width: usize) -> Result<Vec<f64>> {
    let limit = entry.length as usize * width;
    let mut values = Vec::new();
    let mut rows = 0;
    let wanted = |name: &str| [feature, "episode_index", "frame_index"].contains(&name);
    table::read(path, wanted, |batch| {
        let numbers = table::counts(path, batch, "episode_index")?;
        let frames = table::counts(path, batch, "frame_index")?;
        let column = table::column(path, batch, feature)?;
        for row in (0..numbers.len()).filter(|row| numbers[*row] == entry.index) {
            if frames[row] != rows {
                return Err(Error::corrupt(
                    path,
                    format!(
                        "episode {}: row {rows} has frame_index {}",
                        entry.index, frames[row]
                    ),
                ));
            }
            table::numbers(path, column, row, &mut values)?;
            rows += 1;
            if values.len() != rows as usize * width || values.len() > limit {
                return Err(Error::corrupt(
                    path,
                    format!(
                        "episode {}: row {} of {feature} has not {width} values",
                        entry.index,
                        rows - 1
                    ),
                ));
            }
        }
        Ok(())
    })?;
    if rows != entry.length {
        return Err(Error::corrupt(
            path,
            format!(
                "episode {} has {rows} rows here, but {} in the episode table",
                entry.index, entry.length
            ),
        ));
    }
    Ok(values)
}
