//! A look into an MP4 file without decoding it: how many frames, at which times, which codec.
//!
//! The recorder counts the frames of every finished video with this before it commits an episode,
//! so a muxer that lost one is found out at once.

use crate::error::{Error, Result};
use crate::files::{LocalFile, ReadAt};
use std::path::Path;

/// More than the index of any episode's video; a stranger's may claim anything.
const MOOV_LIMIT_BYTES: u64 = 64 << 20;
/// Boxes looked at on one level.
pub(crate) const BOX_LIMIT: usize = 10_000;

/// What an MP4 file says about its first video track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mp4Info {
    /// Number of frames.
    pub frames: u64,
    /// Clock ticks a second.
    pub timescale: u32,
    /// Runs of frames with equal duration: (frames, ticks).
    pub durations: Vec<(u32, u32)>,
    /// Whether frames are shown in another order than stored.
    pub reordered: bool,
    /// Sample entry, `avc1` or `av01`.
    pub codec: String,
    /// Whether the index comes before the pictures, so that a stream can start at once.
    pub index_first: bool,
}

impl Mp4Info {
    /// Whether all frames last exactly 1/`fps` s, so that frame i is shown at i/`fps`.
    ///
    /// The last frame's own duration does not matter to that.
    pub fn is_constant_rate(&self, fps: u32) -> bool {
        let exact = |ticks: u32| u64::from(ticks) * u64::from(fps) == u64::from(self.timescale);
        let timed = self
            .durations
            .iter()
            .map(|(n, _)| u64::from(*n))
            .sum::<u64>();
        let mut before_last = timed.saturating_sub(1);
        !self.reordered
            && timed == self.frames
            && self.durations.iter().all(|(n, ticks)| {
                let counted = before_last.min(u64::from(*n));
                before_last -= counted;
                counted == 0 || exact(*ticks)
            })
    }
}

/// Reads the index of an MP4 file.
pub fn probe(path: &Path) -> Result<Mp4Info> {
    let file = LocalFile::open(path).map_err(Error::io("open", path))?;
    probe_in(path, &file)
}

/// As [`probe`], for a file that is open. `path` is for messages.
pub fn probe_in(path: &Path, file: &dyn ReadAt) -> Result<Mp4Info> {
    let mut at = 0;
    let mut pictures_seen = false;
    for _ in 0..BOX_LIMIT {
        let Some((kind, header, size)) = file_box(path, file, at)? else {
            break;
        };
        match &kind {
            b"mdat" => pictures_seen = true,
            b"moov" => {
                let moov = read_moov(path, file, at + header, size - header)?;
                let mut info = parse_moov(&moov).ok_or_else(|| {
                    Error::corrupt(path, "the MP4 index has no readable video track")
                })?;
                info.index_first = !pictures_seen;
                return Ok(info);
            }
            _ => {}
        }
        at += size;
    }
    Err(Error::corrupt(
        path,
        "the MP4 index (moov) is missing; the recording was cut off",
    ))
}

/// Kind, header length and whole length of the box at `at`; `None` at the end of the file.
pub(crate) fn file_box(
    path: &Path,
    file: &dyn ReadAt,
    at: u64,
) -> Result<Option<([u8; 4], u64, u64)>> {
    let length = file.size();
    if at.saturating_add(8) > length {
        return Ok(None);
    }
    let mut header = [0_u8; 16];
    let known = 16.min(length - at) as usize;
    file.read_at(at, &mut header[..known])
        .map_err(Error::io("read", path))?;
    let (kind, header_len, size) = box_header(&header[..known], length - at)
        .ok_or_else(|| Error::corrupt(path, format!("impossible MP4 box at byte {at}")))?;
    Ok(Some((kind, header_len, size)))
}

/// Kind, header length and whole length of a box with `rest` bytes up to the end of its parent.
pub(crate) fn box_header(bytes: &[u8], rest: u64) -> Option<([u8; 4], u64, u64)> {
    let kind: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let (header, size) = match be32(bytes, 0)? {
        0 => (8, rest),
        1 => (16, u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?)),
        size => (8, u64::from(size)),
    };
    (size >= header && size <= rest).then_some((kind, header, size))
}

/// Reads the body of the index.
pub(crate) fn read_moov(path: &Path, file: &dyn ReadAt, start: u64, body: u64) -> Result<Vec<u8>> {
    if body > MOOV_LIMIT_BYTES {
        return Err(Error::corrupt(
            path,
            format!("the MP4 index claims {body} bytes"),
        ));
    }
    let mut moov = vec![0; body as usize];
    file.read_at(start, &mut moov)
        .map_err(Error::io("read", path))?;
    Ok(moov)
}

fn parse_moov(moov: &[u8]) -> Option<Mp4Info> {
    children(moov)
        .filter(|(kind, _)| kind == b"trak")
        .find_map(|(_, trak)| parse_track(trak))
}

fn parse_track(trak: &[u8]) -> Option<Mp4Info> {
    let mdia = child(trak, b"mdia")?;
    // hdlr: version and flags (4), predefined (4), handler type.
    if child(mdia, b"hdlr")?.get(8..12)? != b"vide" {
        return None;
    }
    let mdhd = child(mdia, b"mdhd")?;
    let timescale = be32(mdhd, if *mdhd.first()? == 1 { 20 } else { 12 })?;
    let stbl = child(child(mdia, b"minf")?, b"stbl")?;
    let codec = child(stbl, b"stsd")?.get(12..16)?;
    // stsz: version and flags (4), common size (4), number of frames.
    let frames = be32(child(stbl, b"stsz")?, 8)?.into();
    Some(Mp4Info {
        frames,
        timescale,
        durations: time_runs(child(stbl, b"stts")?)?,
        reordered: child(stbl, b"ctts").is_some_and(|ctts| {
            time_runs(ctts).is_none_or(|runs| runs.iter().any(|(_, t)| *t != 0))
        }),
        codec: String::from_utf8_lossy(codec).into_owned(),
        index_first: false,
    })
}

/// The table of an stts or ctts box.
pub(crate) fn time_runs(body: &[u8]) -> Option<Vec<(u32, u32)>> {
    let entries = be32(body, 4)? as usize;
    let table = body.get(8..)?.get(..entries.checked_mul(8)?)?;
    table
        .chunks_exact(8)
        .map(|entry| Some((be32(entry, 0)?, be32(entry, 4)?)))
        .collect()
}

pub(crate) fn child<'a>(parent: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    children(parent)
        .find(|(kind, _)| kind == wanted)
        .map(|(_, body)| body)
}

pub(crate) fn children(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, header, size) = box_header(rest, rest.len() as u64)?;
        let body = rest.get(header as usize..size as usize)?;
        rest = rest.get(size as usize..)?;
        Some((kind, body))
    })
    .take(BOX_LIMIT)
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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

    /// A file with an index for `runs` of frames at 15360 ticks a second, and no pictures.
    fn sample(runs: &[(u32, u32)]) -> Vec<u8> {
        let frames = runs.iter().map(|(n, _)| n).sum();
        let table: Vec<u32> = [0, runs.len() as u32]
            .into_iter()
            .chain(runs.iter().flat_map(|(n, t)| [*n, *t]))
            .collect();
        let stsd = boxed(
            b"stsd",
            &[&words(&[0, 1, 16])[..], b"avc1", &[0; 8]].concat(),
        );
        let stbl = [
            stsd,
            boxed(b"stts", &words(&table)),
            boxed(b"stsz", &words(&[0, 7, frames])),
        ]
        .concat();
        let mdia = [
            boxed(b"mdhd", &words(&[0, 0, 0, 15360, 0, 0])),
            boxed(b"hdlr", &[&words(&[0, 0])[..], b"vide", &[0; 12]].concat()),
            boxed(b"minf", &boxed(b"stbl", &stbl)),
        ]
        .concat();
        let moov = boxed(b"moov", &boxed(b"trak", &boxed(b"mdia", &mdia)));
        [boxed(b"ftyp", b"isom"), moov, boxed(b"mdat", &[])].concat()
    }

    fn probe_bytes(bytes: &[u8]) -> Result<Mp4Info> {
        probe_in(Path::new("x"), &bytes.to_vec())
    }

    #[test]
    fn index_is_understood() {
        let info = probe_bytes(&sample(&[(9, 512), (1, 7)])).unwrap();
        assert_eq!(
            (
                info.frames,
                info.timescale,
                info.codec.as_str(),
                info.index_first
            ),
            (10, 15360, "avc1", true)
        );
        assert!(info.is_constant_rate(30) && !info.is_constant_rate(25));
        assert!(
            !probe_bytes(&sample(&[(3, 512), (1, 511), (3, 512)]))
                .unwrap()
                .is_constant_rate(30)
        );
    }

    #[test]
    fn cut_off_file_is_an_error() {
        let whole = sample(&[(10, 512)]);
        for length in [0, 8, 40, whole.len() - 20] {
            assert!(probe_bytes(&whole[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn mutations_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = sample(&[(10, 512)]);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = probe_bytes(&bytes);
        }
    }
}
