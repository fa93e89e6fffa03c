//! `meta/episodes/**.parquet`: where each episode's rows and frames are, and its statistics.

use crate::error::{Error, Result};
use crate::files::{Files, LocalFiles, ReadAt};
use crate::info::{EPISODES_PATH, FileIndex, Info, render};
use crate::stats::{FeatureStats, Stats, VALUE_NAMES};
use crate::table;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};
use arrow_schema::{Field, Schema};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of the episode files, inside the dataset.
pub(crate) const EPISODES_FOLDER: &str = "meta/episodes";

/// Where one camera's frames of an episode are.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoSpan {
    /// Feature name of the camera.
    pub key: String,
    /// Number of the MP4 file.
    pub file: FileIndex,
    /// Start of the episode in that file, s.
    pub from_s: f64,
    /// End of the episode in that file, s.
    pub to_s: f64,
}

/// One row of the episode table.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Episode number, from 0.
    pub index: u64,
    /// Task sentences.
    pub tasks: Vec<String>,
    /// Number of rows.
    pub length: u64,
    /// Number of the data file.
    pub data: FileIndex,
    /// Dataset-wide index of the first row.
    pub from_index: u64,
    /// Dataset-wide index after the last row.
    pub to_index: u64,
    /// Where the cameras' frames are.
    pub videos: Vec<VideoSpan>,
    /// Statistics; empty when they were not asked for.
    pub stats: Stats,
    /// Number of the file that holds this row.
    pub meta: FileIndex,
}

/// Path of an episode file, relative to the root.
pub(crate) fn episodes_file(at: FileIndex) -> Result<PathBuf> {
    render(EPISODES_PATH, "", at)
}

/// Writes a file with this one episode, flushed.
pub(crate) fn write(path: &Path, episode: &Episode) -> Result<()> {
    table::write(path, &row(path, episode)?, &[])
}

/// The table row of this one episode.
pub(crate) fn row(path: &Path, episode: &Episode) -> Result<RecordBatch> {
    let int = |v: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![v as i64])) };
    let real = |v: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![v])) };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("episode_index".into(), int(episode.index)),
        (
            "tasks".into(),
            one_list(
                path,
                Arc::new(StringArray::from_iter_values(&episode.tasks)),
            )?,
        ),
        ("length".into(), int(episode.length)),
        ("data/chunk_index".into(), int(episode.data.chunk)),
        ("data/file_index".into(), int(episode.data.file)),
        ("dataset_from_index".into(), int(episode.from_index)),
        ("dataset_to_index".into(), int(episode.to_index)),
    ];
    for video in &episode.videos {
        let name = |what: &str| format!("videos/{}/{what}", video.key);
        columns.push((name("chunk_index"), int(video.file.chunk)));
        columns.push((name("file_index"), int(video.file.file)));
        columns.push((name("from_timestamp"), real(video.from_s)));
        columns.push((name("to_timestamp"), real(video.to_s)));
    }
    for (feature, stats) in &episode.stats.0 {
        stats_columns(path, feature, stats, &mut columns)?;
    }
    columns.push(("meta/episodes/chunk_index".into(), int(episode.meta.chunk)));
    columns.push(("meta/episodes/file_index".into(), int(episode.meta.file)));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(n, a)| Field::new(n, a.data_type().clone(), true))
        .collect();
    table::batch(
        path,
        Schema::new(fields),
        columns.into_iter().map(|(_, a)| a).collect(),
    )
}

/// Appends one feature's statistics as columns of one row.
pub(crate) fn stats_columns(
    path: &Path,
    feature: &str,
    stats: &FeatureStats,
    out: &mut Vec<(String, ArrayRef)>,
) -> Result<()> {
    let dims = stats.dims();
    for name in VALUE_NAMES {
        if !stats.value(name).is_empty() {
            let mut array: ArrayRef = Arc::new(Float64Array::from(stats.value(name).to_vec()));
            for length in dims.iter().skip(1).rev() {
                array = lists_of(path, array, *length)?;
            }
            out.push((format!("stats/{feature}/{name}"), one_list(path, array)?));
        }
        if name == "std" {
            let count: ArrayRef = Arc::new(Int64Array::from(vec![stats.count as i64]));
            out.push((format!("stats/{feature}/count"), one_list(path, count)?));
        }
    }
    Ok(())
}

/// One list cell that holds all of `values`.
fn one_list(path: &Path, values: ArrayRef) -> Result<ArrayRef> {
    let length = values.len();
    lists_of(path, values, length)
}

/// List cells of `length` values each.
pub(crate) fn lists_of(path: &Path, values: ArrayRef, length: usize) -> Result<ArrayRef> {
    let broken = |e: String| Error::corrupt(path, e);
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    let length = i32::try_from(length).map_err(|e| broken(e.to_string()))?;
    let fixed = FixedSizeListArray::try_new(element, length, values, None)
        .map_err(|e| broken(e.to_string()))?;
    Ok(Arc::new(ListArray::from(fixed)))
}

/// Reads the whole episode table of a dataset, at most `info.total_episodes` rows: what lies
/// beyond was never committed.
pub(crate) fn read_all(root: &Path, info: &Info, with_stats: bool) -> Result<Vec<Episode>> {
    read_from(root, &LocalFiles::new(root), info, with_stats)
}

/// As [`read_all`], from `files`; `root` is the dataset's name in messages.
pub(crate) fn read_from(
    root: &Path,
    files: &dyn Files,
    info: &Info,
    with_stats: bool,
) -> Result<Vec<Episode>> {
    let mut episodes: Vec<Episode> = Vec::new();
    if info.total_episodes == 0 {
        return Ok(episodes);
    }
    for file in in_order(root, files)? {
        let path = root.join(&file);
        let file = files.open(&file).map_err(Error::io("open", &path))?;
        read_file(&path, file, info, with_stats, &mut episodes)?;
        if episodes.len() as u64 == info.total_episodes {
            return Ok(episodes);
        }
    }
    Err(Error::corrupt(
        &root.join(EPISODES_FOLDER),
        format!(
            "{} episodes found, but info.json counts {}",
            episodes.len(),
            info.total_episodes
        ),
    ))
}

/// Adds the rows of one episode file that is open to `episodes`, up to `info.total_episodes`.
/// `path` is for messages.
pub(crate) fn read_file(
    path: &Path,
    file: Arc<dyn ReadAt>,
    info: &Info,
    with_stats: bool,
    episodes: &mut Vec<Episode>,
) -> Result<()> {
    let keys: Vec<&str> = info.features.video_keys().collect();
    let wanted = |name: &str| with_stats || !name.starts_with("stats/");
    table::read_from(path, file, wanted, |batch| {
        let rows = Rows {
            path,
            batch,
            keys: &keys,
            info: with_stats.then_some(info),
        };
        for episode in rows.episodes()? {
            if episodes.len() as u64 == info.total_episodes {
                break;
            }
            check_sequence(path, episodes.last(), &episode)?;
            episodes.push(episode);
        }
        Ok(())
    })
}

/// The episode files of a folder, in the order in which LeRobot reads them.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let found = in_order(root, &LocalFiles::new(root))?;
    Ok(found.into_iter().map(|file| root.join(file)).collect())
}

/// All episode files in the order in which LeRobot reads them.
fn in_order(root: &Path, files: &dyn Files) -> Result<Vec<PathBuf>> {
    let folder = Path::new(EPISODES_FOLDER);
    let listed = files.list(folder);
    let listed = listed.map_err(Error::io("list", &root.join(folder)))?;
    let mut found: Vec<PathBuf> = listed.into_iter().map(|entry| entry.path).collect();
    found.retain(|path| is_episode_file(path));
    found.sort();
    Ok(found)
}

/// Whether this is `meta/episodes/<folder>/<name>.parquet`.
pub(crate) fn is_episode_file(path: &Path) -> bool {
    let levels = path
        .strip_prefix(EPISODES_FOLDER)
        .map(|rest| rest.components().count());
    levels == Ok(2) && path.extension().is_some_and(|e| e == "parquet")
}

/// LeRobot looks episodes up by row position, so gaps and overlaps silently shift everything.
fn check_sequence(path: &Path, before: Option<&Episode>, episode: &Episode) -> Result<()> {
    let (index, from) = before.map_or((0, 0), |e| (e.index + 1, e.to_index));
    if episode.index != index || episode.from_index != from {
        return Err(Error::corrupt(
            path,
            format!(
                "episode {} from row {} follows where episode {index} from row {from} should",
                episode.index, episode.from_index
            ),
        ));
    }
    if episode.from_index.checked_add(episode.length) != Some(episode.to_index) {
        return Err(Error::corrupt(
            path,
            format!(
                "episode {index} has length {} but other row numbers",
                episode.length
            ),
        ));
    }
    Ok(())
}

/// One batch of the episode table.
struct Rows<'a> {
    path: &'a Path,
    batch: &'a RecordBatch,
    keys: &'a [&'a str],
    /// Set when statistics are wanted.
    info: Option<&'a Info>,
}

impl Rows<'_> {
    fn episodes(&self) -> Result<Vec<Episode>> {
        let index = self.counts("episode_index")?;
        let length = self.counts("length")?;
        let data = self.file("data")?;
        let meta = self.file("meta/episodes")?;
        let (from, to) = (
            self.counts("dataset_from_index")?,
            self.counts("dataset_to_index")?,
        );
        let tasks = table::column(self.path, self.batch, "tasks")?;
        let mut episodes = Vec::with_capacity(index.len());
        for row in 0..index.len() {
            episodes.push(Episode {
                index: index[row],
                tasks: self.texts(tasks, row)?,
                length: length[row],
                data: data[row],
                from_index: from[row],
                to_index: to[row],
                videos: Vec::new(),
                stats: self.stats(row)?,
                meta: meta[row],
            });
        }
        self.add_videos(&mut episodes)?;
        Ok(episodes)
    }

    fn counts(&self, name: &str) -> Result<Vec<u64>> {
        table::counts(self.path, self.batch, name)
    }

    fn file(&self, prefix: &str) -> Result<Vec<FileIndex>> {
        let chunks = self.counts(&format!("{prefix}/chunk_index"))?;
        let files = self.counts(&format!("{prefix}/file_index"))?;
        Ok(chunks
            .into_iter()
            .zip(files)
            .map(|(chunk, file)| FileIndex { chunk, file })
            .collect())
    }

    fn texts(&self, lists: &ArrayRef, row: usize) -> Result<Vec<String>> {
        let inner = table::cell(lists, row)
            .ok_or_else(|| Error::corrupt(self.path, "tasks is no list of text"))?;
        (0..inner.len())
            .map(|i| table::text(self.path, &inner, i))
            .collect()
    }

    fn seconds(&self, name: &str) -> Result<Vec<f64>> {
        let column = table::column(self.path, self.batch, name)?;
        let mut out = Vec::with_capacity(column.len());
        (0..column.len()).try_for_each(|row| table::numbers(self.path, column, row, &mut out))?;
        let usable = out.len() == column.len() && out.iter().all(|v| v.is_finite() && *v >= 0.0);
        if usable {
            Ok(out)
        } else {
            Err(Error::corrupt(
                self.path,
                format!("column {name} holds no times"),
            ))
        }
    }

    fn add_videos(&self, episodes: &mut [Episode]) -> Result<()> {
        for key in self.keys {
            let files = self.file(&format!("videos/{key}"))?;
            let from = self.seconds(&format!("videos/{key}/from_timestamp"))?;
            let to = self.seconds(&format!("videos/{key}/to_timestamp"))?;
            for (row, episode) in episodes.iter_mut().enumerate() {
                let span = VideoSpan {
                    key: (*key).to_owned(),
                    file: files[row],
                    from_s: from[row],
                    to_s: to[row],
                };
                episode.videos.push(span);
            }
        }
        Ok(())
    }

    fn stats(&self, row: usize) -> Result<Stats> {
        let Some(info) = self.info else {
            return Ok(Stats::default());
        };
        let mut stats = Stats::default();
        for (name, feature) in info.features.iter() {
            let Some(counts) = self.batch.column_by_name(&format!("stats/{name}/count")) else {
                continue;
            };
            let mut count = Vec::new();
            table::numbers(self.path, counts, row, &mut count)?;
            let mut found = FeatureStats::empty(0, feature.is_camera());
            found.count = count.first().map_or(0, |c| *c as u64);
            for value in VALUE_NAMES {
                let column_name = format!("stats/{name}/{value}");
                // The first writers of v3.0 had no quantiles.
                if value.starts_with('q') && self.batch.column_by_name(&column_name).is_none() {
                    continue;
                }
                let column = table::column(self.path, self.batch, &column_name)?;
                if let Some(slot) = found.value_mut(value) {
                    table::numbers(self.path, column, row, slot)?;
                }
            }
            let width = found.mean.len();
            let fits = |v: &str| {
                let length = found.value(v).len();
                length == width || (length == 0 && v.starts_with('q'))
            };
            if !VALUE_NAMES.iter().all(|v| fits(v)) {
                return Err(Error::corrupt(
                    self.path,
                    format!("statistics of {name} differ in length"),
                ));
            }
            stats.0.push((name.to_owned(), found));
        }
        Ok(stats)
    }
}
