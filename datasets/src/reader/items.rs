//! Random access: all features of one frame, or of windows around it.

use super::cells::{Gathered, other, picture_bytes};
use super::columns::{Cell, DataFile};
use super::pictures::Stored;
use super::value::{DepthUnit, Item, Numbers, Value};
use super::window::Window;
use super::{Dataset, frames_of};
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::video::depth::{DepthScale, is_depth};
use crate::video::frames::Frames;
use rayon_core::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;

/// How frames are read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Features to read; `None` for all. What is left out costs nothing: no video is decoded.
    pub features: Option<Vec<String>>,
    /// LeRobot's `delta_timestamps`: for a feature, the offsets in s at which it is read around each
    /// frame. Offsets beyond the episode repeat its first or last frame and are flagged in
    /// [`Item::pads`].
    pub delta_timestamps: Vec<(String, Vec<f64>)>,
    /// How far a video frame may be from its row's time, s.
    pub tolerance_s: f64,
    /// Unit of depth pictures.
    pub depth_unit: DepthUnit,
    /// Most bytes of decoded pictures that are kept.
    pub picture_cache_bytes: u64,
    /// Whether [`Reader::get`] decodes an item's cameras side by side, each in a thread.
    pub parallel_cameras: bool,
}

impl Default for ReaderOptions {
    /// All features of single frames, LeRobot's tolerance of 0.1 ms, 256 MiB of pictures.
    fn default() -> Self {
        Self {
            features: None,
            delta_timestamps: Vec::new(),
            tolerance_s: 1e-4,
            depth_unit: DepthUnit::default(),
            picture_cache_bytes: 256 << 20,
            parallel_cameras: true,
        }
    }
}

/// Reads frames of a dataset. Cheap to clone; clones share their caches and may be used from
/// several threads at once.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dataset: Dataset,
    plan: Vec<Planned>,
    frames: Frames,
    tolerance_s: f64,
    /// Threads for all cameras but the first, if those of a frame are decoded side by side.
    helpers: Option<ThreadPool>,
}

/// One feature that is read, and how.
#[derive(Debug)]
struct Planned {
    name: Arc<str>,
    kind: Kind,
    /// Sides of one frame's tensor.
    shape: Vec<usize>,
    window: Option<Window>,
}

#[derive(Debug)]
enum Kind {
    Numbers,
    /// Text and structures.
    Other,
    Stored(Stored),
    /// Its place among the dataset's video features, and the meaning of its depth codes.
    Video(usize, Option<DepthScale>),
}

/// Where one item is: resolved once, used for each feature.
struct Place<'a> {
    index: u64,
    episode: &'a Episode,
    file: Arc<DataFile>,
}

impl Reader {
    pub(super) fn new(dataset: &Dataset, options: &ReaderOptions) -> Result<Self> {
        let refuse = |problem: String| Error::Query {
            root: dataset.root.clone(),
            problem,
        };
        if options.tolerance_s.is_nan() || options.tolerance_s <= 0.0 {
            return Err(refuse("the tolerance must be more than 0 s".into()));
        }
        let features = &dataset.info.features;
        let asked = options.features.iter().flatten();
        for name in asked.chain(options.delta_timestamps.iter().map(|(name, _)| name)) {
            dataset.feature(name)?;
        }
        let wanted = |name: &str| {
            let asked = options.features.as_ref();
            asked.is_none_or(|asked| asked.iter().any(|n| n == name))
        };
        let mut plan = Vec::new();
        for (name, feature) in features.iter().filter(|(name, _)| wanted(name)) {
            let window = options.delta_timestamps.iter().find(|(n, _)| n == name);
            let window = window.map(|(n, deltas)| {
                Window::new(
                    n.as_str().into(),
                    deltas,
                    dataset.info.fps,
                    options.tolerance_s,
                )
            });
            let planned = Planned {
                name: name.into(),
                kind: kind(dataset, name, feature, options.depth_unit),
                shape: dataset.shape(name, feature)?,
                window: window.transpose().map_err(refuse)?,
            };
            if planned.window.is_some() && matches!(planned.kind, Kind::Other) {
                return Err(refuse(format!("{name} is text, which cannot form windows")));
            }
            plan.push(planned);
        }
        let helpers = options.parallel_cameras.then(|| helpers(&plan)).flatten();
        Ok(Self {
            shared: Arc::new(Shared {
                dataset: dataset.clone(),
                plan,
                frames: Frames::new(dataset.files.clone(), options.picture_cache_bytes),
                tolerance_s: options.tolerance_s,
                helpers,
            }),
        })
    }

    /// The dataset that is read.
    pub fn dataset(&self) -> &Dataset {
        &self.shared.dataset
    }

    /// Number of frames in the dataset.
    pub fn len(&self) -> u64 {
        self.shared.dataset.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame with the dataset-wide number `index`.
    ///
    /// # Errors
    /// If there is none, or if a file that holds a part of it is missing or damaged, or if a video
    /// has no frame at the row's time.
    pub fn get(&self, index: u64) -> Result<Item> {
        self.read(index, true)
    }

    /// Frame `frame` of episode `episode`, both from 0.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn get_in(&self, episode: u64, frame: u64) -> Result<Item> {
        let dataset = &self.shared.dataset;
        let entry = dataset.episode(episode)?;
        if frame >= entry.length {
            return Err(Error::NotFound {
                root: dataset.root.clone(),
                what: format!("frame {frame} in episode {episode}"),
                available: frames_of(entry.length),
            });
        }
        self.get(entry.from_index + frame)
    }

    pub(super) fn read(&self, index: u64, parallel: bool) -> Result<Item> {
        let shared = &*self.shared;
        let dataset = &shared.dataset;
        let episode = dataset.episode_of(index)?;
        let file = dataset.columns.file(&dataset.info, episode.data)?;
        let place = Place {
            index,
            episode,
            file,
        };
        place.check(dataset)?;
        let pads = shared.plan.iter().filter_map(|planned| {
            let window = planned.window.as_ref()?;
            Some((window.feature.clone(), window.around(index, episode).1))
        });
        Ok(Item {
            index,
            episode: episode.index,
            frame: index - episode.from_index,
            task: place.task(dataset)?,
            pads: pads.collect(),
            values: shared.values(&place, parallel)?,
        })
    }
}

fn kind(dataset: &Dataset, name: &str, feature: &Feature, unit: DepthUnit) -> Kind {
    match feature.dtype.as_str() {
        "video" => {
            let place = dataset.info.features.video_keys().position(|k| k == name);
            let scale = is_depth(feature).then(|| DepthScale::of(feature, unit));
            Kind::Video(place.unwrap_or(usize::MAX), scale)
        }
        "image" => Kind::Stored(Stored::of(feature, unit)),
        "string" | "language" => Kind::Other,
        _ => Kind::Numbers,
    }
}

impl Place<'_> {
    fn cell(&self, dataset: &Dataset, name: &str, index: u64) -> Result<Cell> {
        let column = self.file.column(name)?;
        dataset
            .columns
            .cell(&self.file, column, self.file.row_of(index)?)
    }

    fn integer(&self, dataset: &Dataset, name: &str) -> Result<i64> {
        let cell = self.cell(dataset, name, self.index)?;
        let mut gathered = Gathered::default();
        gathered.add(&self.file.path, &cell.block.array, cell.row)?;
        match gathered.tensor(&self.file.path, name, Vec::new())?.numbers {
            Numbers::I64(v) if v.len() == 1 => Ok(v[0]),
            _ => Err(Error::corrupt(
                &self.file.path,
                format!("column {name} holds no whole numbers"),
            )),
        }
    }

    /// Whether the row says itself that it is the one the episode table means.
    fn check(&self, dataset: &Dataset) -> Result<()> {
        let own = [
            ("episode_index", self.episode.index),
            ("frame_index", self.index - self.episode.from_index),
        ];
        for (name, expected) in own {
            let found = self.integer(dataset, name)?;
            if u64::try_from(found) != Ok(expected) {
                return Err(Error::corrupt(
                    &self.file.path,
                    format!(
                        "the row with index {} has {name} {found} instead of {expected}",
                        self.index
                    ),
                ));
            }
        }
        Ok(())
    }

    fn task(&self, dataset: &Dataset) -> Result<String> {
        let number = self.integer(dataset, "task_index")?;
        let task = usize::try_from(number)
            .ok()
            .and_then(|n| dataset.tasks().get(n));
        task.cloned().ok_or_else(|| {
            Error::corrupt(
                &self.file.path,
                format!(
                    "the row with index {} has the unknown task_index {number}",
                    self.index
                ),
            )
        })
    }
}

impl Planned {
    fn is_video(&self) -> bool {
        matches!(self.kind, Kind::Video(..))
    }
}

/// Threads that stay, because starting one for each frame costs as much as a tenth of its picture.
/// None if there is one camera at most, or if no threads are to be had: then the caller does all.
fn helpers(plan: &[Planned]) -> Option<ThreadPool> {
    let others = plan
        .iter()
        .filter(|p| p.is_video())
        .count()
        .checked_sub(1)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let builder = ThreadPoolBuilder::new().thread_name(|_| "sinew-camera".into());
    let threads = others.min(cores);
    (threads > 0).then(|| builder.num_threads(threads).build().ok())?
}

impl Shared {
    fn values(&self, place: &Place<'_>, parallel: bool) -> Result<Vec<(Arc<str>, Value)>> {
        let mut ready: Vec<Option<Result<Value>>> = self.plan.iter().map(|_| None).collect();
        if let Some(helpers) = self.helpers.as_ref().filter(|_| parallel) {
            let mut cameras = self.plan.iter().zip(&mut ready);
            let mut next = || cameras.find(|(planned, _)| planned.is_video());
            let first = next();
            helpers.in_place_scope(|scope| {
                while let Some((planned, ready)) = next() {
                    scope.spawn(|_| *ready = Some(self.value(place, planned)));
                }
                if let Some((planned, ready)) = first {
                    *ready = Some(self.value(place, planned));
                }
            });
        }
        let all = self.plan.iter().zip(ready).map(|(planned, value)| {
            let value = value.unwrap_or_else(|| self.value(place, planned))?;
            Ok((planned.name.clone(), value))
        });
        all.collect()
    }

    fn value(&self, place: &Place<'_>, planned: &Planned) -> Result<Value> {
        let indices = match &planned.window {
            Some(window) => window.around(place.index, place.episode).0,
            None => vec![place.index],
        };
        let dataset = &self.dataset;
        let path = &place.file.path;
        let cells = || {
            indices
                .iter()
                .map(|i| place.cell(dataset, &planned.name, *i))
        };
        let images = match &planned.kind {
            Kind::Numbers => {
                let mut gathered = Gathered::default();
                for cell in cells() {
                    let cell = cell?;
                    gathered.add(path, &cell.block.array, cell.row)?;
                }
                let mut shape = planned.shape.clone();
                if planned.window.is_some() {
                    shape.insert(0, indices.len());
                }
                return Ok(Value::Tensor(gathered.tensor(
                    path,
                    &planned.name,
                    shape,
                )?));
            }
            Kind::Other => {
                let cell = place.cell(dataset, &planned.name, place.index)?;
                return other(path, &cell.block.array, cell.row);
            }
            Kind::Stored(stored) => cells()
                .map(|cell| {
                    let cell = cell?;
                    let bytes = picture_bytes(path, &cell.block.array, cell.row)?;
                    stored.decode(path, bytes).map(Arc::new)
                })
                .collect::<Result<Vec<_>>>()?,
            Kind::Video(camera, scale) => {
                self.pictures(place, *camera, scale.as_ref(), &indices)?
            }
        };
        let mut images = images;
        match (planned.window.is_some(), images.pop()) {
            (false, Some(image)) => Ok(Value::Image(image)),
            (_, last) => {
                images.extend(last);
                Ok(Value::Images(images))
            }
        }
    }

    fn pictures(
        &self,
        place: &Place<'_>,
        camera: usize,
        scale: Option<&DepthScale>,
        indices: &[u64],
    ) -> Result<Vec<Arc<super::value::Image>>> {
        let dataset = &self.dataset;
        let span =
            place.episode.videos.get(camera).ok_or_else(|| {
                Error::corrupt(&place.file.path, "the episode table names no video")
            })?;
        let path = dataset.info.video_file(&span.key, span.file)?;
        let mut times = Vec::with_capacity(indices.len());
        let mut latest = 0.0_f64;
        for index in indices {
            let cell = place.cell(dataset, "timestamp", *index)?;
            let mut gathered = Gathered::default();
            gathered.add(&place.file.path, &cell.block.array, cell.row)?;
            let tensor = gathered.tensor(&place.file.path, "timestamp", Vec::new())?;
            let time_s = tensor.numbers.to_f64().first().copied().unwrap_or(f64::NAN);
            latest = latest.max(time_s);
            times.push(span.from_s + time_s);
        }
        // A timestamp is single precision: after half an hour its own error nears the tolerance.
        let tolerance_s = self.tolerance_s + latest * f64::from(f32::EPSILON);
        self.frames.at(&path, &times, tolerance_s, scale)
    }
}
