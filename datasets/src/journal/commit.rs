//! From a finished episode to a larger dataset, in one step.
//!
//! All files are written into the staging folder and flushed. Then the plan of their renames is
//! put down, which saves the episode, and carried out; `meta/info.json` comes last, so that readers
//! meanwhile see the dataset as it was.

use super::marks::{EpisodeMark, EpisodeMarks};
use super::plan::{Move, Plan};
use super::records::JOURNAL;
use super::stream::StreamFile;
use crate::data::{EpisodeRows, Numbering, PictureColumn};
use crate::episodes::{self, Episode, VideoSpan, episodes_file};
use crate::error::{Error, Result};
use crate::features::Features;
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::levels::Levels;
use crate::recorder::EpisodeSummary;
use crate::resume::{NextFiles, STAGING};
use crate::spec::{CameraSpec, DatasetSpec};
use crate::stats::whole::{DataRows, whole};
use crate::stats::{FeatureStats, ImageStats, Stats};
use crate::tasks::Tasks;
use crate::video::FinishedVideo;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Name of the data file in the staging folder.
const DATA: &str = "data.parquet";

/// What a dataset holds, as far as appending to it needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) root: PathBuf,
    pub(crate) spec: DatasetSpec,
    pub(crate) info: Info,
    tasks: Tasks,
    stats: Stats,
    /// The pictures' levels; `None` if somebody else's episodes are not in them.
    levels: Option<Levels>,
    next: NextFiles,
    marks: EpisodeMarks,
}

/// An episode whose videos are finished, in the staging folder.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) rows: EpisodeRows,
    /// One a camera, in the spec's order.
    pub(crate) cameras: Vec<FinishedCamera>,
    pub(crate) mark: EpisodeMark,
}

/// One camera's pictures.
#[derive(Debug)]
pub(crate) struct FinishedCamera {
    pub(crate) spec: CameraSpec,
    pub(crate) kept: Kept,
    pub(crate) stats: ImageStats,
}

/// Where the pictures are.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In a finished video; its name in the staging folder.
    Video(PathBuf, FinishedVideo),
    /// To be copied into the data file.
    Pictures(StreamFile),
}

impl FinishedCamera {
    fn frames(&self) -> u64 {
        match &self.kept {
            Kept::Video(_, video) => video.frames,
            Kept::Pictures(stream) => stream.frames(),
        }
    }
}

impl Head {
    /// The head of a dataset that has no episodes yet.
    pub(crate) fn new(root: &Path, spec: &DatasetSpec, info: Info) -> Self {
        Self {
            root: root.to_owned(),
            spec: spec.clone(),
            info,
            tasks: Tasks::default(),
            stats: Stats::default(),
            levels: Some(Levels::default()),
            next: NextFiles {
                videos: vec![FileIndex::default(); spec.cameras.len()],
                ..NextFiles::default()
            },
            marks: EpisodeMarks::default(),
        }
    }

    /// Reads the head of the dataset in `root`.
    pub(crate) fn read(root: &Path, spec: &DatasetSpec, info: Info) -> Result<Self> {
        let episodes = episodes::read_all(root, &info, true)?;
        let tasks = if info.total_episodes == 0 {
            Tasks::default()
        } else {
            Tasks::read(root)?
        };
        let mut stats = Stats::default();
        episodes.iter().for_each(|e| stats.merge(&e.stats));
        Ok(Self {
            next: NextFiles::after(&episodes, spec, info.chunks_size),
            marks: EpisodeMarks::read(root)?,
            levels: Levels::read(root, &info),
            root: root.to_owned(),
            spec: spec.clone(),
            info,
            tasks,
            stats,
        })
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Adds an episode. `stop` ends it before the plan (0) or before a rename (from 1), as a crash
    /// would. On error the head is as it was; what the disk holds, `repair` sorts out.
    pub(crate) fn commit(
        &mut self,
        episode: Finished,
        stop: Option<usize>,
    ) -> Result<EpisodeSummary> {
        self.check(&episode)?;
        let mut next = self.clone();
        let (plan, summary) = next.stage(episode)?;
        if stop == Some(0) {
            return Err(Error::Order {
                problem: "stopped by a test",
            });
        }
        let staging = self.staging();
        plan.write(&staging)?;
        plan.carry_out(&self.root, &staging, stop.map(|step| step - 1))?;
        *self = next;
        clear_staging(&staging)?;
        Ok(summary)
    }

    /// Replaces the statistics of all columns, in which quantiles are weighted means of the episodes'
    /// as in LeRobot, by those of all rows.
    pub(crate) fn write_exact_stats(&mut self) -> Result<()> {
        let episodes = episodes::read_all(&self.root, &self.info, false)?;
        let files: BTreeSet<FileIndex> = episodes.iter().map(|e| e.data).collect();
        let files = files.into_iter().map(|at| self.info.data_file(at));
        let files: Vec<DataRows> = files
            .map(|file| file.map(|file| DataRows::all(self.root.join(file))))
            .collect::<Result<_>>()?;
        let exact = whole(&self.info, &files, self.info.total_frames, |_, _, _| {})?;
        for (name, stats) in exact {
            self.stats.set(&name, stats);
        }
        let path = self.root.join("meta/stats.json");
        fsio::replace(&path, &self.stats.to_bytes()?)
    }

    /// Rows and frames must be equal in number.
    fn check(&self, episode: &Finished) -> Result<()> {
        let rows = episode.rows.len();
        if rows == 0 {
            return Err(Error::Order {
                problem: "the episode has no rows; nothing was saved",
            });
        }
        match episode.cameras.iter().find(|c| c.frames() != rows) {
            Some(uneven) => Err(Error::Misaligned {
                episode: self.info.total_episodes,
                camera: uneven.spec.key(),
                rows,
                frames: uneven.frames(),
            }),
            None => Ok(()),
        }
    }

    /// Writes all files of the episode, flushed, into the staging folder, and becomes the head of
    /// the dataset with it.
    fn stage(&mut self, episode: Finished) -> Result<(Plan, EpisodeSummary)> {
        let number = self.info.total_episodes;
        let rows = episode.rows.len();
        let duration_s = rows as f64 / f64::from(self.spec.fps);
        let mut moves = Vec::new();
        let mut image_stats = Vec::new();
        let mut spans = Vec::new();
        let mut video_bytes = 0;
        for (camera, file) in episode.cameras.iter().zip(&self.next.videos) {
            let key = camera.spec.key();
            image_stats.push((key.clone(), camera.stats.finish()));
            let Kept::Video(staged, video) = &camera.kept else {
                continue;
            };
            video_bytes += video.bytes;
            moves.push(Move {
                staged: staged.clone(),
                target: self.info.video_file(&key, *file)?,
            });
            spans.push(VideoSpan {
                key,
                file: *file,
                from_s: 0.0,
                to_s: duration_s,
            });
        }
        let videos = moves.iter().map(|m| self.root.join(&m.target)).collect();
        let column_stats = self.stage_rows(&episode)?;
        let data = self.info.data_file(self.next.data)?;
        moves.push(Move {
            staged: DATA.into(),
            target: data.clone(),
        });
        let tasks = episode.rows.tasks();
        let entry = Episode {
            index: number,
            tasks: tasks.clone(),
            length: rows,
            data: self.next.data,
            from_index: self.info.total_frames,
            to_index: self.info.total_frames + rows,
            videos: spans,
            stats: in_feature_order(&self.info.features, column_stats, image_stats),
            meta: self.next.meta,
        };
        let summary = EpisodeSummary {
            episode: number,
            tasks: tasks.clone(),
            rows,
            duration_s,
            data: self.root.join(data),
            videos,
            video_bytes,
            dropped_rows: episode.mark.dropped_rows,
            ended_early: episode.mark.ended_early.clone(),
        };
        let cameras = episode.cameras.into_iter();
        let pictures = cameras.map(|c| (c.spec.key(), c.stats)).collect();
        self.stage_metadata(&entry, episode.mark, pictures, &mut moves)?;
        let plan = Plan {
            episode: number,
            rows,
            task: tasks.join("; "),
            moves,
        };
        Ok((plan, summary))
    }

    /// Writes the data file, flushed, into the staging folder.
    fn stage_rows(&mut self, episode: &Finished) -> Result<Stats> {
        let tasks = &mut self.tasks;
        let numbering = Numbering {
            episode: self.info.total_episodes,
            first_index: self.info.total_frames,
            tasks: episode.rows.number_tasks(|task| tasks.number(task).0),
            fps: self.spec.fps,
        };
        let keys: Vec<String> = episode.cameras.iter().map(|c| c.spec.key()).collect();
        let pictures = episode.cameras.iter().zip(&keys);
        let pictures: Vec<PictureColumn<'_>> = pictures
            .filter_map(|(camera, key)| match &camera.kept {
                Kept::Pictures(pictures) => Some(PictureColumn {
                    key,
                    pictures,
                    ending: if camera.spec.depth { "tiff" } else { "png" },
                }),
                Kept::Video(..) => None,
            })
            .collect();
        episode
            .rows
            .write(&self.staging().join(DATA), &numbering, &pictures)
    }

    /// Writes the metadata as it will be, in the order in which it must appear: what is referred to
    /// before what refers to it, and the count of episodes last.
    fn stage_metadata(
        &mut self,
        entry: &Episode,
        mark: EpisodeMark,
        mut pictures: Vec<(String, ImageStats)>,
        moves: &mut Vec<Move>,
    ) -> Result<()> {
        let staging = self.staging();
        let mut stage = |name: &str, target: PathBuf| {
            moves.push(Move {
                staged: name.into(),
                target,
            });
            staging.join(name)
        };
        let meta = |name: &str| Path::new("meta").join(name);
        self.tasks
            .write(&stage("tasks.parquet", meta("tasks.parquet")))?;
        episodes::write(&stage("episode.parquet", episodes_file(entry.meta)?), entry)?;
        self.stats.merge(&entry.stats);
        if let Some(levels) = self.levels.as_mut().filter(|_| !pictures.is_empty()) {
            levels.add(entry.length, &mut pictures);
            for (key, exact) in &pictures {
                self.stats.set(key, exact.finish());
            }
            let path = stage("sinew_levels.json", Levels::name());
            fsio::write_synced(&path, levels.to_text()?.as_bytes())?;
        }
        let stats = stage("stats.json", meta("stats.json"));
        fsio::write_synced(&stats, &self.stats.to_bytes()?)?;
        if mark != EpisodeMark::default() {
            self.marks.episodes.insert(entry.index, mark);
            let marks = stage("sinew_episodes.json", meta("sinew_episodes.json"));
            fsio::write_synced(&marks, &self.marks.to_bytes()?)?;
        }
        self.info.total_episodes += 1;
        self.info.total_frames += entry.length;
        self.info.total_tasks = self.tasks.sentences().len() as u64;
        self.info.update_splits();
        let info = stage("info.json", meta("info.json"));
        fsio::write_synced(&info, &self.info.to_bytes()?)?;
        self.next = self.next.advanced(self.info.chunks_size);
        Ok(())
    }
}

/// Empties the staging folder, the lock and the ballast excepted.
pub(crate) fn clear_staging(staging: &Path) -> Result<()> {
    let remove = |path: &Path| match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    };
    // The journal goes first: without its plan it must not look like an episode to recover.
    remove(&staging.join(JOURNAL))?;
    for entry in std::fs::read_dir(staging).map_err(Error::io("list", staging))? {
        let path = entry.map_err(Error::io("list", staging))?.path();
        let kept = path
            .file_name()
            .is_some_and(|name| name == "lock" || name == super::BALLAST);
        if !kept {
            remove(&path)?;
        }
    }
    Ok(())
}

fn in_feature_order(
    features: &Features,
    columns: Stats,
    images: Vec<(String, FeatureStats)>,
) -> Stats {
    let mut all = columns.0;
    all.extend(images);
    let place = |name: &str| features.0.iter().position(|(n, _)| n == name);
    all.sort_by_key(|(name, _)| place(name));
    Stats(all)
}
