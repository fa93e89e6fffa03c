//! The sample table of an MP4 file: where each compressed frame lies, and when it is shown.

use crate::error::{Error, Result};
use crate::files::{LocalFile, ReadAt};
use crate::mp4::{BOX_LIMIT, be32, child, children, file_box, read_moov, time_runs};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most frames of one file: 38 hours at 30 fps.
const SAMPLE_LIMIT: usize = 1 << 22;
/// How far a frame may be from its place on the grid of frame times, in frames.
const GRID_TOLERANCE: f64 = 0.25;
/// Bytes at the end of a `tkhd` box: the transformation and the size of the picture.
const PICTURE_BYTES: usize = 44;

/// One compressed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) offset: u64,
    pub(crate) size: u32,
    /// Number of the frame in the order of showing.
    pub(crate) shown: u32,
    /// Whether it can be decoded without the frames before it.
    pub(crate) key: bool,
}

/// The video track of an MP4 file, in the order of storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    pub(crate) path: PathBuf,
    /// Body of the `stsd` box: the codec and its parameters.
    pub(crate) description: Vec<u8>,
    /// Transformation and picture size, the end of `tkhd`.
    pub(crate) picture: Vec<u8>,
    pub(crate) samples: Vec<Sample>,
}

impl Track {
    /// Reads the index of `path`, whose frames come at `fps` a second.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file has no sound index or is shorter than the index says, and if
    /// its frame times do not fit the rate.
    pub fn read(path: &Path, fps: u32) -> Result<Self> {
        let file = LocalFile::open(path).map_err(Error::io("open", path))?;
        Self::read_in(path, &file, fps)
    }

    /// As [`Self::read`], from a file that is open.
    pub(crate) fn read_in(path: &Path, file: &dyn ReadAt, fps: u32) -> Result<Self> {
        let mut at = 0;
        for _ in 0..BOX_LIMIT {
            let Some((kind, header, size)) = file_box(path, file, at)? else {
                break;
            };
            if &kind == b"moov" {
                let moov = read_moov(path, file, at + header, size - header)?;
                return children(&moov)
                    .filter(|(kind, _)| kind == b"trak")
                    .find_map(|(_, trak)| parse(trak, fps, file.size()).transpose())
                    .unwrap_or(Err("there is no video track"))
                    .map(|(description, picture, samples)| Self {
                        path: path.to_owned(),
                        description,
                        picture,
                        samples,
                    })
                    .map_err(|problem| {
                        Error::corrupt(path, format!("the MP4 index is unusable: {problem}"))
                    });
            }
            at += size;
        }
        Err(Error::corrupt(
            path,
            "the MP4 index (moov) is missing; the recording was cut off",
        ))
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Whether frames of the other file can follow frames of this one.
    pub fn joins(&self, other: &Self) -> bool {
        self.description == other.description && self.picture == other.picture
    }

    /// Size of the stored frames `samples`, bytes.
    pub fn bytes(&self, samples: Range<usize>) -> u64 {
        let samples = self.samples.get(samples).unwrap_or_default();
        samples.iter().map(|s| u64::from(s.size)).sum()
    }

    /// The stored frames that are shown as number `from` to before `to`, if they can be moved
    /// without decoding: they lie together, and the first is a key frame.
    pub fn run(&self, from: u64, to: u64) -> Option<Range<usize>> {
        let count = usize::try_from(to.checked_sub(from)?).ok()?;
        let inside = |s: &Sample| (from..to).contains(&u64::from(s.shown));
        let start = self.samples.iter().position(inside)?;
        let run = self.samples.get(start..start.checked_add(count)?)?;
        (run.first()?.key && run.iter().all(inside)).then_some(start..start + count)
    }

    /// The last frame at or before `frame` from which decoding can start, and from which the
    /// frames up to before `to` can be moved.
    pub fn start_before(&self, frame: u64, to: u64) -> Option<u64> {
        let mut keys: Vec<u64> = self
            .samples
            .iter()
            .filter(|s| s.key && u64::from(s.shown) <= frame)
            .map(|s| s.shown.into())
            .collect();
        keys.sort_unstable();
        // A few steps back are enough to pass leading pictures of an open group.
        keys.into_iter()
            .rev()
            .take(4)
            .find(|key| self.run(*key, to).is_some())
    }
}

type Parsed = (Vec<u8>, Vec<u8>, Vec<Sample>);
type Told<T> = std::result::Result<T, &'static str>;

/// The track's table; `None` if it is no video.
fn parse(trak: &[u8], fps: u32, file_length: u64) -> Told<Option<Parsed>> {
    let Some(mdia) = child(trak, b"mdia") else {
        return Ok(None);
    };
    // hdlr: version and flags (4), predefined (4), handler type.
    if child(mdia, b"hdlr").and_then(|h| h.get(8..12)) != Some(&b"vide"[..]) {
        return Ok(None);
    }
    let picture = child(trak, b"tkhd")
        .and_then(|b| b.get(b.len().checked_sub(PICTURE_BYTES)?..))
        .ok_or("no picture size")?;
    let timescale = child(mdia, b"mdhd")
        .and_then(|b| be32(b, if *b.first()? == 1 { 20 } else { 12 }))
        .filter(|t| *t > 0)
        .ok_or("no clock")?;
    let stbl = child(mdia, b"minf")
        .and_then(|minf| child(minf, b"stbl"))
        .ok_or("no sample table")?;
    let description = child(stbl, b"stsd").ok_or("no codec")?;
    if be32(description, 4) != Some(1) {
        return Err("it changes its codec within the file");
    }
    let sizes = sizes(stbl, file_length)?;
    let offsets = offsets(stbl, &sizes, file_length)?;
    let times = times(stbl, sizes.len(), first_shown(trak)?)?;
    let shown = numbers(&times, timescale, fps)?;
    let keys = keys(stbl, sizes.len())?;
    let samples = (0..sizes.len())
        .map(|i| Sample {
            offset: offsets[i],
            size: sizes[i],
            shown: shown[i],
            key: keys[i],
        })
        .collect();
    let description = without_bit_rate(description).unwrap_or_else(|| description.to_vec());
    Ok(Some((description, picture.to_vec(), samples)))
}

/// The description without its measured bit rate (`btrt`), which would make every two files differ
/// and is wrong for a part of one. `None` if it is too short.
fn without_bit_rate(description: &[u8]) -> Option<Vec<u8>> {
    // Version and flags (4), one (4), then the entry: size and codec (8), 78 bytes that every
    // picture codec has, boxes.
    const FIXED: usize = 16 + 78;
    let boxes = description.get(FIXED..)?;
    let mut out = description.get(..FIXED)?.to_vec();
    for (kind, body) in children(boxes).filter(|(kind, _)| kind != b"btrt") {
        out.extend((body.len() as u32 + 8).to_be_bytes());
        out.extend(kind);
        out.extend(body);
    }
    let entry = out.len() as u32 - 8;
    out[8..12].copy_from_slice(&entry.to_be_bytes());
    Some(out)
}

/// Bytes of each frame.
fn sizes(stbl: &[u8], file_length: u64) -> Told<Vec<u32>> {
    let body = child(stbl, b"stsz").ok_or("no frame sizes")?;
    // version and flags (4), common size (4), number of frames (4), a size each.
    let (common, count) = be32(body, 4)
        .zip(be32(body, 8))
        .ok_or("frame sizes cut off")?;
    let count = count as usize;
    if count == 0 || count > SAMPLE_LIMIT {
        return Err("no frames, or too many");
    }
    let sizes: Vec<u32> = if common > 0 {
        vec![common; count]
    } else {
        words(body, 12, count).ok_or("frame sizes cut off")?
    };
    let total: u64 = sizes.iter().map(|s| u64::from(*s)).sum();
    if total > file_length {
        return Err("frames are larger than the file");
    }
    Ok(sizes)
}

/// `count` 32-bit numbers from byte `at`.
fn words(body: &[u8], at: usize, count: usize) -> Option<Vec<u32>> {
    let table = body.get(at..)?.get(..count.checked_mul(4)?)?;
    table.chunks_exact(4).map(|word| be32(word, 0)).collect()
}

/// Place of each frame in the file.
fn offsets(stbl: &[u8], sizes: &[u32], file_length: u64) -> Told<Vec<u64>> {
    let chunks = chunk_offsets(stbl).ok_or("no places of frames")?;
    let runs = child(stbl, b"stsc").ok_or("no groups of frames")?;
    let count = be32(runs, 4).ok_or("groups of frames cut off")? as usize;
    let runs = words(runs, 8, count.checked_mul(3).ok_or("too many groups")?)
        .ok_or("groups of frames cut off")?;
    let mut found = Vec::with_capacity(sizes.len());
    let mut run = 0;
    for (chunk, start) in chunks.iter().enumerate() {
        // Each run: first chunk, from 1; frames a chunk; codec.
        while run + 1 < count && runs[3 * (run + 1)] as usize <= chunk + 1 {
            run += 1;
        }
        let frames = *runs.get(3 * run + 1).ok_or("no groups of frames")?;
        let mut at = *start;
        for _ in 0..frames {
            let Some(size) = sizes.get(found.len()) else {
                break;
            };
            found.push(at);
            at = at
                .checked_add(u64::from(*size))
                .filter(|end| *end <= file_length)
                .ok_or("frames lie outside the file; it was cut off")?;
        }
    }
    if found.len() == sizes.len() {
        Ok(found)
    } else {
        Err("frames without a place")
    }
}

fn chunk_offsets(stbl: &[u8]) -> Option<Vec<u64>> {
    if let Some(body) = child(stbl, b"stco") {
        let words = words(body, 8, be32(body, 4)? as usize)?;
        return Some(words.into_iter().map(u64::from).collect());
    }
    let body = child(stbl, b"co64")?;
    let halves = words(body, 8, (be32(body, 4)? as usize).checked_mul(2)?)?;
    Some(
        halves
            .chunks_exact(2)
            .map(|pair| u64::from(pair[0]) << 32 | u64::from(pair[1]))
            .collect(),
    )
}

/// Time of the media that is shown first, ticks: writers of reordered frames begin late.
fn first_shown(trak: &[u8]) -> Told<i64> {
    let Some(list) = child(trak, b"edts").and_then(|edts| child(edts, b"elst")) else {
        return Ok(0);
    };
    let wide = list.first() == Some(&1);
    match be32(list, 4) {
        None | Some(0) => Ok(0),
        Some(1) => {
            // Entry: duration, media time (8 bytes each in version 1), rate.
            let time = if wide {
                list.get(16..24)
                    .and_then(|b| Some(i64::from_be_bytes(b.try_into().ok()?)))
            } else {
                be32(list, 12).map(|v| i64::from(v.cast_signed()))
            };
            // Years are no delay of reordered frames, and would overflow with what is added.
            time.filter(|t| (0..1 << 40).contains(t))
                .ok_or("an unusual edit list")
        }
        Some(_) => Err("an unusual edit list"),
    }
}

/// When each frame is shown, ticks.
fn times(stbl: &[u8], count: usize, first: i64) -> Told<Vec<i64>> {
    let durations = child(stbl, b"stts")
        .and_then(time_runs)
        .ok_or("no frame times")?;
    let mut times = Vec::with_capacity(count);
    let mut at: i64 = -first;
    for (frames, ticks) in durations {
        for _ in 0..(frames as usize).min(count - times.len()) {
            times.push(at);
            at += i64::from(ticks);
        }
    }
    if times.len() != count {
        return Err("frames without a time");
    }
    if let Some(body) = child(stbl, b"ctts") {
        let delays = time_runs(body).ok_or("delays of frames cut off")?;
        let mut slots = times.iter_mut();
        for (frames, delay) in delays {
            // Both versions: version 1 is signed, and real delays of version 0 are small.
            for slot in slots.by_ref().take(frames as usize) {
                *slot += i64::from(delay.cast_signed());
            }
        }
    }
    Ok(times)
}

/// Frame numbers of the times: each number once, from 0 without gaps.
fn numbers(times: &[i64], timescale: u32, fps: u32) -> Told<Vec<u32>> {
    const UNFIT: &str =
        "frame times do not fit the dataset's rate; re-encode the camera (`edit reencode`)";
    let mut taken = vec![false; times.len()];
    let number = |time: &i64| {
        let place = *time as f64 * f64::from(fps) / f64::from(timescale);
        let number = place.round();
        let free = (place - number).abs() <= GRID_TOLERANCE
            && number >= 0.0
            && taken
                .get_mut(number as usize)
                .is_some_and(|t| !std::mem::replace(t, true));
        free.then_some(number as u32).ok_or(UNFIT)
    };
    times.iter().map(number).collect()
}

/// Whether each frame is a key frame; without a table all are.
fn keys(stbl: &[u8], count: usize) -> Told<Vec<bool>> {
    let Some(body) = child(stbl, b"stss") else {
        return Ok(vec![true; count]);
    };
    let mut keys = vec![false; count];
    let entries = be32(body, 4).ok_or("key frames cut off")? as usize;
    for number in words(body, 8, entries).ok_or("key frames cut off")? {
        // Counted from 1.
        if let Some(key) = keys.get_mut((number as usize).wrapping_sub(1)) {
            *key = true;
        }
    }
    Ok(keys)
}
