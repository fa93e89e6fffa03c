//! The index of an MP4 file's video track: where each frame's bytes are, when it is shown, and
//! from which key frame it is decoded.

use crate::error::{Error, Result};
use crate::files::ReadAt;
use crate::mp4::{BOX_LIMIT, be32, child, children, file_box, read_moov, time_runs};
use std::path::Path;

/// Largest encoded frame that is read, bytes.
const SAMPLE_LIMIT_BYTES: u32 = 64 << 20;
/// Most frames of one file: 38 hours at 30 fps. LeRobot starts a new file at 200 MB.
const SAMPLE_LIMIT: u64 = 1 << 22;

/// One encoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Where its bytes begin.
    pub(crate) offset: u64,
    /// How many they are.
    pub(crate) size: u32,
    /// When it is shown, ticks.
    pub(crate) pts: i64,
    /// Whether decoding can begin here.
    pub(crate) key: bool,
}

/// The video track of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    /// Sample entry, `avc1`, `av01`, …
    pub(crate) codec: String,
    /// The decoder's configuration (the contents of avcC, hvcC or av1C).
    pub(crate) config: Vec<u8>,
    /// Ticks a second.
    pub(crate) timescale: u32,
    /// Frames in decoding order.
    pub(crate) samples: Vec<Sample>,
    /// Numbers of the frames in the order in which they are shown.
    shown: Vec<u32>,
}

impl Track {
    /// Reads the index of a file. `path` is for messages.
    pub(crate) fn read(path: &Path, file: &dyn ReadAt) -> Result<Self> {
        let moov = find_moov(path, file)?;
        let track = children(&moov)
            .filter(|(kind, _)| kind == b"trak")
            .find_map(|(_, trak)| parse_track(trak, movie_timescale(&moov), file.size()));
        let track = track
            .ok_or_else(|| Error::corrupt(path, "the MP4 index has no readable video track"))?;
        let inside = |s: &Sample| {
            let end = s.offset.checked_add(s.size.into());
            s.size <= SAMPLE_LIMIT_BYTES && end.is_some_and(|end| end <= file.size())
        };
        if !track.samples.iter().all(inside) {
            return Err(Error::corrupt(
                path,
                "the MP4 index points outside the file",
            ));
        }
        Ok(track)
    }

    /// A stream without an index, whose decoder finds all it needs in the frames.
    pub(crate) fn unindexed(codec: &str) -> Self {
        Self {
            codec: codec.to_owned(),
            config: Vec::new(),
            timescale: 1,
            samples: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// Memory that it takes, bytes.
    pub(crate) fn byte_len(&self) -> u64 {
        (size_of_val(&self.samples[..]) + size_of_val(&self.shown[..])) as u64
    }

    /// Time of a frame, s.
    pub(crate) fn seconds(&self, sample: usize) -> f64 {
        self.samples[sample].pts as f64 / f64::from(self.timescale)
    }

    /// The frame that is shown nearest to `time_s`.
    pub(crate) fn nearest(&self, time_s: f64) -> Option<usize> {
        let number = |at: usize| self.shown.get(at).map(|s| *s as usize);
        let after = self
            .shown
            .partition_point(|s| self.seconds(*s as usize) < time_s);
        let candidates = [after.checked_sub(1).and_then(number), number(after)];
        let distance = |s: &usize| (self.seconds(*s) - time_s).abs();
        let found = candidates.into_iter().flatten();
        found.min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }

    /// The last frame at or before `sample` from which it can be decoded.
    pub(crate) fn key_before(&self, sample: usize) -> usize {
        let shown = self.samples[sample].pts;
        // A frame that is stored after a key frame but shown before it refers to earlier ones.
        let usable = |s: &Sample| s.key && s.pts <= shown;
        let found = self.samples[..=sample].iter().rposition(usable);
        found.unwrap_or(0)
    }
}

fn find_moov(path: &Path, file: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut at = 0;
    for _ in 0..BOX_LIMIT {
        let Some((kind, header, size)) = file_box(path, file, at)? else {
            break;
        };
        if &kind == b"moov" {
            return read_moov(path, file, at + header, size - header);
        }
        at += size;
    }
    Err(Error::corrupt(
        path,
        "the MP4 index (moov) is missing; the recording was cut off",
    ))
}

fn movie_timescale(moov: &[u8]) -> Option<u32> {
    let mvhd = child(moov, b"mvhd")?;
    be32(mvhd, if *mvhd.first()? == 1 { 20 } else { 12 })
}

fn parse_track(trak: &[u8], movie_timescale: Option<u32>, file_size: u64) -> Option<Track> {
    let mdia = child(trak, b"mdia")?;
    if child(mdia, b"hdlr")?.get(8..12)? != b"vide" {
        return None;
    }
    let mdhd = child(mdia, b"mdhd")?;
    let timescale = be32(mdhd, if *mdhd.first()? == 1 { 20 } else { 12 })?;
    let stbl = child(child(mdia, b"minf")?, b"stbl")?;
    let (codec, config) = sample_entry(child(stbl, b"stsd")?)?;
    let sizes = sizes(child(stbl, b"stsz")?, file_size)?;
    let offsets = offsets(stbl, &sizes)?;
    let times = times(trak, stbl, sizes.len(), movie_timescale, timescale)?;
    let keys = keys(stbl, sizes.len())?;
    let samples: Vec<Sample> = (0..sizes.len())
        .map(|i| Sample {
            offset: offsets[i],
            size: sizes[i],
            pts: times[i],
            key: keys[i],
        })
        .collect();
    let mut shown: Vec<u32> = (0..samples.len() as u32).collect();
    shown.sort_by_key(|s| samples[*s as usize].pts);
    (timescale > 0).then_some(Track {
        codec,
        config,
        timescale,
        samples,
        shown,
    })
}

/// Kind of the first sample entry and its decoder configuration.
pub(crate) fn sample_entry(stsd: &[u8]) -> Option<(String, Vec<u8>)> {
    let (kind, entry) = children(stsd.get(8..)?).next()?;
    // The fixed part of a visual sample entry is 78 bytes.
    let boxes = entry.get(78..).unwrap_or_default();
    let config = [b"avcC", b"hvcC", b"av1C"]
        .into_iter()
        .find_map(|name| child(boxes, name));
    Some((
        String::from_utf8_lossy(&kind).into_owned(),
        config.unwrap_or_default().to_vec(),
    ))
}

fn sizes(stsz: &[u8], file_size: u64) -> Option<Vec<u32>> {
    let (common, count) = (be32(stsz, 4)?, be32(stsz, 8)?);
    // A common size needs no table, so a small file could claim any number of frames.
    let claimed = u64::from(common) * u64::from(count);
    if u64::from(count) > SAMPLE_LIMIT || claimed > file_size {
        return None;
    }
    if common > 0 {
        return Some(vec![common; count as usize]);
    }
    let table = stsz.get(12..)?.get(..count as usize * 4)?;
    table.chunks_exact(4).map(|b| be32(b, 0)).collect()
}

/// Where each frame begins: chunks of consecutive frames (stsc) at given places (stco, co64).
fn offsets(stbl: &[u8], sizes: &[u32]) -> Option<Vec<u64>> {
    let chunks: Vec<u64> = if let Some(co64) = child(stbl, b"co64") {
        let table = table(co64, 8)?;
        let places = table.chunks_exact(8);
        places
            .map(|b| Some(u64::from(be32(b, 0)?) << 32 | u64::from(be32(b, 4)?)))
            .collect::<Option<_>>()?
    } else {
        let table = table(child(stbl, b"stco")?, 4)?;
        let places = table.chunks_exact(4);
        places
            .map(|b| be32(b, 0).map(u64::from))
            .collect::<Option<_>>()?
    };
    let runs = table(child(stbl, b"stsc")?, 12)?;
    let runs: Vec<(u32, u32)> = runs
        .chunks_exact(12)
        .map(|b| Some((be32(b, 0)?, be32(b, 4)?)))
        .collect::<Option<_>>()?;
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut run = 0;
    for (number, place) in (1_u32..).zip(&chunks) {
        while runs.get(run + 1).is_some_and(|(first, _)| *first <= number) {
            run += 1;
        }
        let mut at = *place;
        for _ in 0..runs.get(run)?.1 {
            let Some(size) = sizes.get(offsets.len()) else {
                break;
            };
            offsets.push(at);
            at = at.checked_add((*size).into())?;
        }
    }
    (offsets.len() == sizes.len()).then_some(offsets)
}

/// The entries of a table box: version and flags (4), count (4), entries.
fn table(body: &[u8], entry: usize) -> Option<&[u8]> {
    let count = be32(body, 4)? as usize;
    body.get(8..)?.get(..count.checked_mul(entry)?)
}

/// When each frame is shown, ticks, with the edit list applied.
fn times(
    trak: &[u8],
    stbl: &[u8],
    count: usize,
    movie_timescale: Option<u32>,
    timescale: u32,
) -> Option<Vec<i64>> {
    let expand = |runs: Vec<(u32, u32)>| {
        let all = runs
            .into_iter()
            .flat_map(|(n, v)| std::iter::repeat_n(v, n as usize));
        all.take(count).collect::<Vec<u32>>()
    };
    let durations = expand(time_runs(child(stbl, b"stts")?)?);
    // Version 1 tables are signed; version 0 tables of some writers are too, and no real shift
    // exceeds 31 bits.
    let shifts = match child(stbl, b"ctts") {
        Some(ctts) => expand(time_runs(ctts)?),
        None => vec![0; count],
    };
    if durations.len() != count || shifts.len() != count {
        return None;
    }
    let start = edit_shift(trak, movie_timescale, timescale);
    let mut at = 0_i64;
    let times = durations.into_iter().zip(shifts).map(|(duration, shift)| {
        let time = at + i64::from(shift as i32) - start;
        at += i64::from(duration);
        time
    });
    Some(times.collect())
}

/// Ticks by which the edit list moves the pictures towards the start.
fn edit_shift(trak: &[u8], movie_timescale: Option<u32>, timescale: u32) -> i64 {
    let parsed = || {
        let elst = child(child(trak, b"edts")?, b"elst")?;
        let wide = *elst.first()? == 1;
        let mut waited = 0_i64;
        for entry in
            table(elst, if wide { 20 } else { 12 })?.chunks_exact(if wide { 20 } else { 12 })
        {
            let (duration, start) = if wide {
                let long =
                    |at| Some(i64::from(be32(entry, at)?) << 32 | i64::from(be32(entry, at + 4)?));
                (long(0)?, long(8)?)
            } else {
                (be32(entry, 0)?.into(), (be32(entry, 4)? as i32).into())
            };
            if start >= 0 {
                return start.checked_sub(waited);
            }
            // An empty edit: the pictures begin later.
            let scaled = i128::from(duration) * i128::from(timescale)
                / i128::from(movie_timescale.filter(|t| *t > 0)?);
            waited = waited.checked_add(i64::try_from(scaled).ok()?)?;
        }
        None
    };
    // A shift of years is damage; none is the better guess then.
    let sound = -(1_i64 << 40)..1 << 40;
    parsed().filter(|shift| sound.contains(shift)).unwrap_or(0)
}

fn keys(stbl: &[u8], count: usize) -> Option<Vec<bool>> {
    let Some(stss) = child(stbl, b"stss") else {
        return Some(vec![true; count]);
    };
    let mut keys = vec![false; count];
    for number in table(stss, 4)?.chunks_exact(4) {
        let number = be32(number, 0)? as usize;
        *keys.get_mut(number.checked_sub(1)?)? = true;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn words(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_be_bytes()).collect()
    }

    /// Six frames in two chunks, I P B I P B as stored, with an edit list that hides the delay.
    fn sample_file() -> Vec<u8> {
        let entry = [&[0; 78][..], &boxed(b"avcC", &[1, 2, 3])].concat();
        let stsd = [words(&[0, 1]), boxed(b"avc1", &entry)].concat();
        let stbl = [
            boxed(b"stsd", &stsd),
            boxed(b"stts", &words(&[0, 1, 6, 10])),
            boxed(
                b"ctts",
                &words(&[0, 6, 1, 10, 1, 20, 1, 0, 1, 10, 1, 20, 1, 0]),
            ),
            boxed(b"stsz", &words(&[0, 0, 6, 5, 4, 3, 5, 4, 3])),
            boxed(b"stsc", &words(&[0, 2, 1, 4, 1, 2, 2, 1])),
            boxed(b"stco", &words(&[0, 2, 8, 30])),
            boxed(b"stss", &words(&[0, 2, 1, 4])),
        ]
        .concat();
        let mdia = [
            boxed(b"mdhd", &words(&[0, 0, 0, 300, 0, 0])),
            boxed(b"hdlr", &[&words(&[0, 0])[..], b"vide", &[0; 12]].concat()),
            boxed(b"minf", &boxed(b"stbl", &stbl)),
        ]
        .concat();
        let elst = boxed(b"edts", &boxed(b"elst", &words(&[0, 1, 60, 10, 1 << 16])));
        let trak = boxed(b"trak", &[elst, boxed(b"mdia", &mdia)].concat());
        let mvhd = boxed(b"mvhd", &words(&[0, 0, 0, 1000]));
        [
            boxed(b"mdat", &[0; 40]),
            boxed(b"moov", &[mvhd, trak].concat()),
        ]
        .concat()
    }

    #[test]
    fn order_places_and_key_frames_are_understood() {
        let track = Track::read(Path::new("x"), &sample_file()).unwrap();
        assert_eq!(
            (track.codec.as_str(), &track.config[..]),
            ("avc1", &[1, 2, 3][..])
        );
        let places: Vec<u64> = track.samples.iter().map(|s| s.offset).collect();
        assert_eq!(places, [8, 13, 17, 20, 30, 34]);
        let times: Vec<i64> = track.samples.iter().map(|s| s.pts).collect();
        assert_eq!(times, [0, 20, 10, 30, 50, 40]);
        let shown: Vec<usize> = (0..6)
            .map(|i| track.nearest(f64::from(i) / 30.0).unwrap())
            .collect();
        assert_eq!(shown, [0, 2, 1, 3, 5, 4]);
        assert_eq!(
            (
                track.key_before(2),
                track.key_before(3),
                track.key_before(5)
            ),
            (0, 3, 3)
        );
        assert_eq!(track.nearest(-1.0), Some(0));
        assert_eq!(track.nearest(99.0), Some(4));
    }

    #[test]
    fn frames_outside_the_file_are_errors() {
        let mut bytes = sample_file();
        let at = bytes.windows(4).position(|w| w == b"stco").unwrap() + 12;
        bytes[at] = 0x7f;
        assert!(Track::read(Path::new("x"), &bytes).is_err());
    }

    proptest! {
        #[test]
        fn mutations_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            time in any::<f64>(),
        ) {
            let mut bytes = sample_file();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(track) = Track::read(Path::new("x"), &bytes)
                && let Some(sample) = track.nearest(time)
            {
                prop_assert!(track.key_before(sample) <= sample);
            }
        }
    }
}
