//! The pictures of a matched episode, camera by camera: the same bytes, the same encoded frames, or
//! picture by picture.

use super::{Both, EpisodeDiff};
use crate::error::{Error, Result};
use crate::files::{Files as _, LocalFiles, ReadAt};
use crate::reader::{Dataset, Image, Pixels, Reader, ReaderOptions};
use crate::video::samples::Track;
use lru::LruCache;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Video files whose index is kept.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// Pictures are read in order, so next to nothing need be kept.
const CACHE_BYTES: u64 = 16 << 20;

/// How many videos of matched episodes were found to be what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct VideoCount {
    /// In files with the same bytes.
    pub same_bytes: u64,
    /// In different files, with the same frames.
    pub same_frames: u64,
    /// With different frames, or not comparable.
    pub differing: u64,
}

/// A camera whose pictures differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VideoDiff {
    /// Feature.
    pub camera: String,
    /// How they differ.
    pub verdict: VideoVerdict,
}

/// How pictures differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VideoVerdict {
    /// Some pictures are not the same.
    Pictures {
        /// First row of `a` in which they differ.
        first_row: u64,
        /// Rows in which they differ.
        rows: u64,
        /// Row of `a` with the largest difference.
        worst_row: u64,
        /// The largest difference of a colour value, 0 to 255, or of a distance.
        largest: f64,
        /// Mean difference in that picture.
        mean: f64,
    },
    /// Pictures have different sizes.
    Sizes {
        /// Row of `a`.
        row: u64,
        /// Width and height in `a`.
        a: (usize, usize),
        /// Width and height in `b`.
        b: (usize, usize),
    },
    /// The encoded frames differ; pictures were not compared.
    Encoded {
        /// First row of `a` in which they do.
        first_row: u64,
    },
    /// They could not be read.
    Unreadable {
        /// Why.
        problem: String,
    },
}

/// One side's readers.
#[derive(Debug)]
struct Side {
    readers: Vec<Reader>,
    files: LocalFiles,
    open: LruCache<PathBuf, Arc<Opened>>,
}

#[derive(Debug)]
struct Opened {
    file: Arc<dyn ReadAt>,
    track: Track,
}

impl Side {
    fn new(dataset: &Dataset, cameras: &[String]) -> Result<Self> {
        let reader = |camera: &String| {
            dataset.reader(&ReaderOptions {
                features: Some(vec![camera.clone()]),
                picture_cache_bytes: CACHE_BYTES,
                ..ReaderOptions::default()
            })
        };
        Ok(Self {
            readers: cameras.iter().map(reader).collect::<Result<_>>()?,
            files: LocalFiles::new(dataset.root()),
            open: LruCache::new(OPEN_FILES),
        })
    }

    fn open(&mut self, path: &Path) -> Result<Arc<Opened>> {
        if let Some(opened) = self.open.get(path) {
            return Ok(opened.clone());
        }
        let file = self.files.open(path).map_err(Error::io("open", path))?;
        let track = Track::read(path, &*file)?;
        let opened = Arc::new(Opened { file, track });
        self.open.push(path.to_owned(), opened.clone());
        Ok(opened)
    }
}

/// Compares cameras, and remembers open files.
#[derive(Debug)]
pub(super) struct Videos {
    cameras: Vec<String>,
    a: Side,
    b: Side,
}

/// What is known of a camera before pictures are decoded.
enum Bytes {
    SameFiles,
    SameFrames,
    /// They differ first in this row of `a`; `None` if that is not known.
    Differ(Option<u64>),
}

impl Videos {
    pub(super) fn new(both: &Both) -> Result<Self> {
        let features = &both.a.info().features;
        let camera = |name: &&String| features.get(name).is_some_and(|f| f.is_camera());
        let cameras: Vec<String> = both.common.iter().filter(camera).cloned().collect();
        Ok(Self {
            a: Side::new(&both.a, &cameras)?,
            b: Side::new(&both.b, &cameras)?,
            cameras,
        })
    }

    /// Compares the pictures of a pair, which `out` names, and says there what differs.
    pub(super) fn compare(
        &mut self,
        both: &mut Both,
        out: &mut EpisodeDiff,
        count: &mut VideoCount,
    ) -> Result<()> {
        for at in 0..self.cameras.len() {
            let camera = self.cameras[at].clone();
            let verdict = match self.bytes(both, &camera, out) {
                Ok(Bytes::SameFiles) => {
                    count.same_bytes += 1;
                    continue;
                }
                Ok(Bytes::SameFrames) => {
                    count.same_frames += 1;
                    continue;
                }
                Ok(Bytes::Differ(first)) if !both.options.pictures => VideoVerdict::Encoded {
                    first_row: first.unwrap_or(out.from_a),
                },
                Ok(Bytes::Differ(_)) => match self.pictures(at, &camera, out) {
                    Ok(None) => {
                        count.same_frames += 1;
                        continue;
                    }
                    Ok(Some(verdict)) => verdict,
                    Err(error) => unreadable(&error),
                },
                Err(error) => unreadable(&error),
            };
            count.differing += 1;
            out.videos.push(VideoDiff { camera, verdict });
        }
        Ok(())
    }

    fn bytes(&mut self, both: &mut Both, camera: &str, pair: &EpisodeDiff) -> Result<Bytes> {
        let video = both
            .a
            .info()
            .features
            .get(camera)
            .is_some_and(|f| f.is_video());
        if !video {
            return stored(both, camera, pair);
        }
        let place = |dataset: &Dataset, episode: u64| -> Result<(PathBuf, f64)> {
            let entry = dataset.episode(episode)?;
            let span = entry.videos.iter().find(|v| v.key == camera);
            let span = span.ok_or_else(|| {
                let problem = format!("episode {episode} has no video {camera}");
                Error::corrupt(&dataset.root().join("meta/episodes"), problem)
            })?;
            Ok((dataset.info().video_file(camera, span.file)?, span.from_s))
        };
        let (path_a, from_a) = place(&both.a, pair.a)?;
        let (path_b, from_b) = place(&both.b, pair.b)?;
        let (whole_a, whole_b) = (both.a.root().join(&path_a), both.b.root().join(&path_b));
        let in_place = (pair.from_a, pair.from_b) == (0, 0) && from_a == from_b;
        if in_place && both.files.same(&whole_a, &whole_b)? {
            return Ok(Bytes::SameFiles);
        }
        let (a, b) = (self.a.open(&path_a)?, self.b.open(&path_b)?);
        let row_s = |row: u64, fps: u32| row as f64 / f64::from(fps);
        let a = Frames {
            opened: &a,
            path: &path_a,
            from_s: from_a + row_s(pair.from_a, both.a.info().fps),
            fps: both.a.info().fps,
        };
        let b = Frames {
            opened: &b,
            path: &path_b,
            from_s: from_b + row_s(pair.from_b, both.b.info().fps),
            fps: both.b.info().fps,
        };
        encoded(&a, &b, pair)
    }

    /// Decodes the pictures of both and compares them.
    fn pictures(
        &self,
        at: usize,
        camera: &str,
        pair: &EpisodeDiff,
    ) -> Result<Option<VideoVerdict>> {
        let (mut first, mut rows) = (None, 0);
        let mut worst = (0, 0.0, 0.0);
        for row in 0..pair.compared() {
            let (row_a, row_b) = (pair.from_a + row, pair.from_b + row);
            let a = self.a.readers[at].get_in(pair.a, row_a)?;
            let b = self.b.readers[at].get_in(pair.b, row_b)?;
            let image =
                |item: &crate::reader::Item| item.get(camera).and_then(|v| v.image().cloned());
            let (Some(a), Some(b)) = (image(&a), image(&b)) else {
                continue;
            };
            let Some((largest, mean)) = apart(&a, &b) else {
                return Ok(Some(VideoVerdict::Sizes {
                    row: row_a,
                    a: (a.width, a.height),
                    b: (b.width, b.height),
                }));
            };
            if largest > 0.0 {
                rows += 1;
                first.get_or_insert(row_a);
                if (largest, mean) > (worst.1, worst.2) {
                    worst = (row_a, largest, mean);
                }
            }
        }
        Ok(first.map(|first_row| VideoVerdict::Pictures {
            first_row,
            rows,
            worst_row: worst.0,
            largest: worst.1,
            mean: worst.2,
        }))
    }
}

fn unreadable(error: &Error) -> VideoVerdict {
    VideoVerdict::Unreadable {
        problem: error.to_string(),
    }
}

/// Pictures that are kept in parquet files.
fn stored(both: &Both, camera: &str, pair: &EpisodeDiff) -> Result<Bytes> {
    let a = both.a.row_hashes(pair.a, camera)?;
    let b = both.b.row_hashes(pair.b, camera)?;
    let differs = |at: &u64| {
        let (at_a, at_b) = (pair.from_a + at, pair.from_b + at);
        a.get(at_a as usize) != b.get(at_b as usize)
    };
    Ok(match (0..pair.compared()).find(differs) {
        None => Bytes::SameFiles,
        Some(at) => Bytes::Differ(Some(pair.from_a + at)),
    })
}

/// An episode's frames in a file.
struct Frames<'a> {
    opened: &'a Opened,
    path: &'a Path,
    /// When the first compared one is shown.
    from_s: f64,
    fps: u32,
}

impl Frames<'_> {
    /// Place of a frame among the encoded ones.
    fn sample(&self, row: u64) -> Option<usize> {
        let time_s = self.from_s + row as f64 / f64::from(self.fps);
        self.opened.track.nearest(time_s)
    }

    fn read(&self, sample: usize, into: &mut Vec<u8>) -> Result<()> {
        let sample = self.opened.track.samples[sample];
        into.resize(sample.size as usize, 0);
        let read = self.opened.file.read_at(sample.offset, into);
        read.map_err(Error::io("read", self.path))
    }
}

/// Whether the encoded frames are the same and say all about the pictures: the decoders are set up
/// alike, the first frame is a key frame, and no frame outside belongs to them.
fn encoded(a: &Frames<'_>, b: &Frames<'_>, pair: &EpisodeDiff) -> Result<Bytes> {
    let (track_a, track_b) = (&a.opened.track, &b.opened.track);
    let alike = track_a.codec == track_b.codec && track_a.config == track_b.config;
    if !alike {
        return Ok(Bytes::Differ(None));
    }
    let (mut bytes_a, mut bytes_b) = (Vec::new(), Vec::new());
    let mut shift = None;
    let (mut first, mut last) = (usize::MAX, 0);
    for row in 0..pair.compared() {
        let (Some(at_a), Some(at_b)) = (a.sample(row), b.sample(row)) else {
            return Ok(Bytes::Differ(None));
        };
        (first, last) = (first.min(at_a), last.max(at_a));
        let apart = at_b as i64 - at_a as i64;
        let same_order = *shift.get_or_insert(apart) == apart;
        a.read(at_a, &mut bytes_a)?;
        b.read(at_b, &mut bytes_b)?;
        if !same_order || bytes_a != bytes_b {
            return Ok(Bytes::Differ(Some(pair.from_a + row)));
        }
    }
    let closed = pair.compared() == 0 || (last - first) as u64 + 1 == pair.compared();
    let key = |track: &Track, at: usize| track.samples.get(at).is_some_and(|s| s.key);
    let first_b = first as i64 + shift.unwrap_or(0);
    if closed && key(track_a, first) && key(track_b, first_b as usize) {
        Ok(Bytes::SameFrames)
    } else {
        Ok(Bytes::Differ(None))
    }
}

/// Largest and mean difference; `None` if the pictures have different sizes.
fn apart(a: &Image, b: &Image) -> Option<(f64, f64)> {
    if (a.width, a.height) != (b.width, b.height) {
        return None;
    }
    let summed = |apart: &mut dyn Iterator<Item = f64>, count: usize| {
        let (largest, sum) = apart.fold((0.0_f64, 0.0), |(l, s), d| (l.max(d), s + d));
        (largest, sum / count.max(1) as f64)
    };
    match (&a.pixels, &b.pixels) {
        (Pixels::Rgb(a), Pixels::Rgb(b)) => {
            let mut apart = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)));
            Some(summed(&mut apart, a.len()))
        }
        (Pixels::Depth(a), Pixels::Depth(b)) => {
            let mut apart = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
            Some(summed(&mut apart, a.len()))
        }
        _ => None,
    }
}
