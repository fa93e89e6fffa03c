//! Single frames of video files, by time: the reader's random access.
//!
//! Each file's index is read once. A frame is decoded from the key frame before it, or onwards from
//! where an idle decoder stands if that is nearer. Once there are enough of them, decoders turn from file
//! to file: an episode may have a file of its own, and a new decoder costs as much as a picture. Files,
//! decoders and pictures are kept within bounds.

use super::avcodec::Decoder;
use super::depth::DepthScale;
use super::samples::Track;
use crate::error::{Error, Result};
use crate::files::{Files, ReadAt};
use crate::reader::cache::ByteCache;
use crate::reader::value::{Image, Pixels};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Most files that are kept open.
const OPEN_FILES: u64 = 256;
/// Most memory for the indices of open files, bytes.
const INDEX_BYTES: u64 = 64 << 20;
/// Idle decoders of all files.
const IDLE_DECODERS: usize = 32;
/// Idle decoders that keep their places: only beyond these does one turn to another file. With fewer,
/// the cameras of a frame would take a decoder from each other, and each frame would begin at a key.
const KEPT_DECODERS: usize = 16;
/// Encoded frames up to this many bytes are read at once.
const PREPARE_BYTES: u64 = 16 << 20;
/// Encoded frames that a decoder may take before the one it was asked for comes out.
const DELAY_LIMIT: usize = 64;

/// The pictures of a dataset's video files.
#[derive(Debug)]
pub(crate) struct Frames {
    files: Arc<dyn Files>,
    open: ByteCache<PathBuf, Arc<VideoFile>>,
    /// Decoders without work, the one that waits longest first.
    idle: Mutex<Vec<Standing>>,
    pictures: ByteCache<(Arc<Path>, usize), Arc<Image>>,
}

/// An open video file.
#[derive(Debug)]
struct VideoFile {
    path: Arc<Path>,
    file: Arc<dyn ReadAt>,
    track: Track,
}

/// A decoder and where it stands.
#[derive(Debug)]
struct Standing {
    decoder: Decoder,
    /// Codec and configuration that it was opened for.
    kind: (String, Vec<u8>),
    /// The file in which it stands.
    path: Arc<Path>,
    /// The next encoded frame to give it.
    next: usize,
    /// When the last picture was shown that came out; pictures come in that order.
    shown: i64,
    /// Whether it must be flushed first: the end was announced, or it comes from another file.
    finished: bool,
}

impl Frames {
    /// Frames of `files`, keeping at most `cache_bytes` of pictures.
    pub(crate) fn new(files: Arc<dyn Files>, cache_bytes: u64) -> Self {
        Self {
            files,
            open: ByteCache::new(INDEX_BYTES),
            idle: Mutex::default(),
            pictures: ByteCache::new(cache_bytes),
        }
    }

    /// The pictures of the file `path` that are shown at `times_s`, each within `tolerance_s`.
    /// With `depth` they are depth codes, whose meaning it gives.
    pub(crate) fn at(
        &self,
        path: &Path,
        times_s: &[f64],
        tolerance_s: f64,
        depth: Option<&DepthScale>,
    ) -> Result<Vec<Arc<Image>>> {
        let video = self.open(path)?;
        let wanted: Vec<usize> = times_s
            .iter()
            .map(|time| video.sample_at(*time, tolerance_s))
            .collect::<Result<_>>()?;
        let mut missing = wanted.clone();
        missing.sort_by_key(|s| video.track.samples[*s].pts);
        missing.dedup();
        let mut found: Vec<(usize, Arc<Image>)> = Vec::with_capacity(missing.len());
        missing.retain(|sample| {
            let kept = self.pictures.get(&(video.path.clone(), *sample));
            kept.is_none_or(|image| {
                found.push((*sample, image));
                false
            })
        });
        self.decode(&video, &missing, depth, |sample, image| {
            let image = Arc::new(image);
            let key = (video.path.clone(), sample);
            self.pictures
                .put(key, image.clone(), image.byte_len() as u64);
            found.push((sample, image));
        })?;
        let picture = |sample: &usize| {
            let image = found.iter().find(|(s, _)| s == sample);
            image
                .map(|(_, image)| image.clone())
                .ok_or_else(|| Error::video(path, format!("frame {sample} cannot be decoded")))
        };
        wanted.iter().map(picture).collect()
    }

    fn open(&self, path: &Path) -> Result<Arc<VideoFile>> {
        if let Some(video) = self.open.get(path) {
            return Ok(video);
        }
        let file = self.files.open(path).map_err(Error::io("open", path))?;
        let video = Arc::new(VideoFile {
            path: path.into(),
            track: Track::read(path, &*file)?,
            file,
        });
        // Small indices count as if they were larger, so that the number of files is bounded too.
        let bytes = video.track.byte_len().max(INDEX_BYTES / OPEN_FILES);
        self.open.put(path.to_owned(), video.clone(), bytes);
        Ok(video)
    }

    /// Decodes `wanted`, which are in the order in which they are shown, and gives each to `take`.
    fn decode(
        &self,
        video: &VideoFile,
        wanted: &[usize],
        depth: Option<&DepthScale>,
        mut take: impl FnMut(usize, Image),
    ) -> Result<()> {
        let Some(first) = wanted.first() else {
            return Ok(());
        };
        let mut standing = self.idle_for(video, *first)?;
        // After an error the decoder is dropped, in whatever state it is.
        for sample in wanted {
            take(*sample, standing.decode(video, *sample, depth)?);
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = (idle.len() >= IDLE_DECODERS).then(|| idle.remove(0));
        idle.push(standing);
        drop(idle);
        drop(longest);
        Ok(())
    }

    /// The idle decoder with the least to do before `sample` comes out, or a new one.
    fn idle_for(&self, video: &VideoFile, sample: usize) -> Result<Standing> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let here = (0..idle.len()).filter(|i| idle[*i].stands_in(video));
        let best = here.min_by_key(|i| idle[*i].distance(&video.track, sample));
        let best = best.or_else(|| {
            let turning = idle.iter().position(|s| s.fits(&video.track));
            turning.filter(|_| idle.len() >= KEPT_DECODERS)
        });
        if let Some(best) = best {
            let mut standing = idle.remove(best);
            standing.turn_to(video);
            return Ok(standing);
        }
        drop(idle);
        Standing::new(video)
    }
}

impl VideoFile {
    fn sample_at(&self, time_s: f64, tolerance_s: f64) -> Result<usize> {
        let nearest = self
            .track
            .nearest(time_s)
            .ok_or_else(|| Error::video(&self.path, "the file has no frames"))?;
        let found_s = self.track.seconds(nearest);
        if (found_s - time_s).abs() < tolerance_s {
            return Ok(nearest);
        }
        Err(Error::video(
            &self.path,
            format!(
                "no frame at {time_s:.4} s; the nearest is at {found_s:.4} s. The video and the rows do not belong together: frames were lost or the episode table is wrong"
            ),
        ))
    }
}

impl Standing {
    fn new(video: &VideoFile) -> Result<Self> {
        Ok(Self {
            decoder: Decoder::open(&video.path, &video.track)?,
            kind: (video.track.codec.clone(), video.track.config.clone()),
            path: video.path.clone(),
            next: 0,
            shown: i64::MIN,
            finished: false,
        })
    }

    fn stands_in(&self, video: &VideoFile) -> bool {
        Arc::ptr_eq(&self.path, &video.path)
    }

    /// Whether it can decode the pictures of `track` too.
    fn fits(&self, track: &Track) -> bool {
        self.kind.0 == track.codec && self.kind.1 == track.config
    }

    /// Goes over to `video`, if it stands in another file: there it has no place yet.
    fn turn_to(&mut self, video: &VideoFile) {
        if !self.stands_in(video) {
            self.path = video.path.clone();
            self.finished = true;
        }
    }

    /// Whether going on from here leads to `sample` without a jump.
    fn leads_to(&self, track: &Track, sample: usize, key: usize) -> bool {
        let fresh = self.next == 0 && self.shown == i64::MIN;
        !self.finished
            && !fresh
            && self.next >= key
            && self.shown < track.samples[sample].pts
            && self.next <= sample + DELAY_LIMIT
    }

    /// Encoded frames to take until `sample`.
    fn distance(&self, track: &Track, sample: usize) -> usize {
        let key = track.key_before(sample);
        let from = if self.leads_to(track, sample, key) {
            self.next
        } else {
            key
        };
        (sample + 1).saturating_sub(from)
    }

    fn decode(
        &mut self,
        video: &VideoFile,
        sample: usize,
        depth: Option<&DepthScale>,
    ) -> Result<Image> {
        let (path, track) = (&*video.path, &video.track);
        let key = track.key_before(sample);
        if !self.leads_to(track, sample, key) {
            self.decoder.flush();
            (self.next, self.shown, self.finished) = (key, i64::MIN, false);
            let (first, last) = (&track.samples[key], &track.samples[sample]);
            let end = last.offset + u64::from(last.size);
            // Pictures are stored in decoding order, so these are all that it takes.
            let length = end.saturating_sub(first.offset);
            if length <= PREPARE_BYTES {
                video.file.prepare(first.offset, length);
            }
        }
        let target = track.samples[sample].pts;
        loop {
            while let Some(pts) = self.decoder.receive(path)? {
                self.shown = pts;
                if pts == target {
                    return self.image(path, depth);
                }
            }
            if self.finished || self.next > sample + DELAY_LIMIT {
                return Err(Error::video(
                    path,
                    format!("frame {sample} does not come out of the decoder"),
                ));
            }
            let Some(next) = track.samples.get(self.next) else {
                self.decoder.finish(path)?;
                self.finished = true;
                continue;
            };
            self.decoder.send(path, next.size, next.pts, |bytes| {
                let read = video.file.read_at(next.offset, bytes);
                read.map_err(Error::io("read", path))
            })?;
            self.next += 1;
        }
    }

    fn image(&self, path: &Path, depth: Option<&DepthScale>) -> Result<Image> {
        let planes = self.decoder.picture(path)?;
        let Some(scale) = depth else {
            return planes.to_rgb(path);
        };
        Ok(Image {
            width: planes.width,
            height: planes.height,
            pixels: Pixels::Depth(scale.distances(&planes.to_codes(path)?)),
        })
    }
}
