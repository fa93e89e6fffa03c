//! When each frame of an MP4 file is shown, from its index alone.

use crate::files::{LocalFile, ReadAt};
use crate::mp4::{be32, child, children, file_box, read_moov, time_runs};
use std::path::Path;

/// Frames in one file: six days at 30 fps.
const FRAME_LIMIT: u64 = 1 << 24;
/// Boxes on the top level that are looked at.
const BOX_LIMIT: usize = 10_000;

/// The video track of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    /// Width and height, pixels.
    pub(super) size: (u64, u64),
    /// When frames are shown, s, in increasing order.
    pub(super) shown_s: Vec<f64>,
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It has no index: the writer did not come to write it.
    NoIndex(String),
    /// It has one, but index or contents are not whole.
    Damaged(String),
}

/// Reads the index of a file and checks that the file is as long as it says.
pub(super) fn track(path: &Path) -> Result<Track, Trouble> {
    let file = LocalFile::open(path);
    track_in(
        path,
        &file.map_err(|e| Trouble::Damaged(format!("cannot be read: {e}")))?,
    )
}

/// As [`track`], from a file that is open.
pub(super) fn track_in(path: &Path, file: &dyn ReadAt) -> Result<Track, Trouble> {
    let damaged = |problem: &str| Trouble::Damaged(problem.to_owned());
    let (mut at, mut moov) = (0, None);
    for _ in 0..BOX_LIMIT {
        let found = match file_box(path, file, at) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(_) if moov.is_none() => {
                return Err(Trouble::NoIndex(format!(
                    "the MP4 index (moov) is missing; the file is cut off or damaged in the part from byte {at}"
                )));
            }
            Err(_) => {
                return Err(damaged(&format!(
                    "the file is cut off in the part from byte {at}"
                )));
            }
        };
        let (kind, header, size) = found;
        if &kind == b"moov" && moov.is_none() {
            let body = read_moov(path, file, at + header, size - header);
            moov = Some(body.map_err(|e| damaged(&super::files::problem_of(&e)))?);
        }
        at = at.saturating_add(size.max(8));
    }
    let moov = moov.ok_or_else(|| {
        Trouble::NoIndex(
            "the MP4 index (moov) is missing; the writer did not finish the file".into(),
        )
    })?;
    parse(&moov, file.size()).map_err(|problem| damaged(&problem))
}

fn parse(moov: &[u8], length: u64) -> Result<Track, String> {
    let clock = child(moov, b"mvhd").and_then(timescale).unwrap_or(0);
    let video = children(moov)
        .filter(|(kind, _)| kind == b"trak")
        .map(|(_, trak)| trak)
        .find(|trak| is_video(trak).unwrap_or(false))
        .ok_or("it has no video track")?;
    parse_track(video, length, clock).ok_or("its index has no readable tables")?
}

fn is_video(trak: &[u8]) -> Option<bool> {
    // hdlr: version and flags (4), predefined (4), handler type.
    let handler = child(child(trak, b"mdia")?, b"hdlr")?.get(8..12)?;
    Some(handler == b"vide")
}

fn timescale(header: &[u8]) -> Option<u32> {
    be32(header, if *header.first()? == 1 { 20 } else { 12 })
}

/// `None` where a table is missing, `Some(Err)` where the tables contradict each other.
fn parse_track(trak: &[u8], length: u64, movie_clock: u32) -> Option<Result<Track, String>> {
    let mdia = child(trak, b"mdia")?;
    let ticks = timescale(child(mdia, b"mdhd")?).filter(|t| *t > 0)?;
    let stbl = child(child(mdia, b"minf")?, b"stbl")?;
    // stsd: version and flags (4), entries (4), then the first entry with the size at 32.
    let stsd = child(stbl, b"stsd")?;
    let side = |at: usize| Some(u64::from(be32(stsd, at)? >> 16));
    let size = (side(40)?, side(42)?);
    let frames = match frames(child(stbl, b"stsz")?, length)? {
        Ok(frames) => frames,
        Err(problem) => return Some(Err(problem)),
    };
    let durations = time_runs(child(stbl, b"stts")?)?;
    let timed: u64 = durations.iter().map(|(n, _)| u64::from(*n)).sum();
    if timed != frames {
        let problem = format!("its index has {frames} frames, but times for {timed}");
        return Some(Err(problem));
    }
    let mut shown: Vec<i64> = Vec::with_capacity(frames as usize);
    let mut now = 0_i64;
    for (count, ticks) in durations {
        for _ in 0..count {
            shown.push(now);
            now += i64::from(ticks);
        }
    }
    let offsets = child(stbl, b"ctts").and_then(time_runs).unwrap_or_default();
    let offsets = offsets
        .iter()
        .flat_map(|(n, t)| std::iter::repeat_n(*t, *n as usize));
    for (time, offset) in shown.iter_mut().zip(offsets) {
        // Version 1 has signed offsets; no writer makes unsigned ones of 2^31 ticks.
        *time += i64::from(offset as i32);
    }
    shown.sort_unstable();
    let start = edit(trak, movie_clock, ticks).unwrap_or(0.0);
    let seconds = |t: i64| t as f64 / f64::from(ticks) - start;
    Some(Ok(Track {
        size,
        shown_s: shown.into_iter().map(seconds).collect(),
    }))
}

/// Number of frames; they must fit into the file.
fn frames(stsz: &[u8], length: u64) -> Option<Result<u64, String>> {
    // stsz: version and flags (4), common size (4), frames (4), sizes.
    let (common, frames) = (be32(stsz, 4)?, u64::from(be32(stsz, 8)?));
    if frames > FRAME_LIMIT || frames > length {
        return Some(Err(format!("its index claims {frames} frames")));
    }
    let bytes = if common == 0 {
        let sizes = stsz.get(12..)?.get(..4 * frames as usize)?;
        (0..frames as usize)
            .filter_map(|i| be32(sizes, 4 * i))
            .map(u64::from)
            .sum()
    } else {
        u64::from(common) * frames
    };
    if bytes > length {
        return Some(Err(format!(
            "its frames have {bytes} bytes, the file {length}: it is cut off"
        )));
    }
    Some(Ok(frames))
}

/// Media time at which the film starts, s, less the pause before it.
fn edit(trak: &[u8], movie_clock: u32, ticks: u32) -> Option<f64> {
    let list = child(child(trak, b"edts")?, b"elst")?;
    let wide = *list.first()? == 1;
    let entries = be32(list, 4)?.min(16) as usize;
    let mut pause = 0.0;
    for entry in 0..entries {
        let (duration, start) = if wide {
            let at = 8 + 20 * entry;
            let long = |at| Some(u64::from(be32(list, at)?) << 32 | u64::from(be32(list, at + 4)?));
            (long(at)?, long(at + 8)? as i64)
        } else {
            let at = 8 + 12 * entry;
            let start = be32(list, at + 4)? as i32;
            (u64::from(be32(list, at)?), i64::from(start))
        };
        if start >= 0 {
            return Some(start as f64 / f64::from(ticks) - pause);
        }
        pause += duration as f64 / f64::from(movie_clock.max(1));
    }
    Some(-pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn words(values: &[i64]) -> Vec<u8> {
        let word = |v: &i64| (*v as u32).to_be_bytes();
        values.iter().flat_map(word).collect()
    }

    /// Four frames at 30 fps and 15360 ticks, stored in the order 0 2 1 3, as an encoder with
    /// B-frames does: shown late by a frame, which the edit list takes back. Then as many bytes of
    /// pictures as the index says.
    fn reordered() -> Vec<u8> {
        let mut entry = vec![0; 50];
        entry[24..28].copy_from_slice(&[1, 64, 0, 240]);
        let stsd = [words(&[0, 1, 58]), b"avc1".to_vec(), entry].concat();
        let stbl = [
            boxed(b"stsd", &stsd),
            boxed(b"stts", &words(&[0, 1, 4, 512])),
            boxed(b"ctts", &words(&[0, 4, 1, 512, 1, 1024, 1, 0, 1, 512])),
            boxed(b"stsz", &words(&[0, 0, 4, 10, 10, 10, 10])),
        ]
        .concat();
        let mdia = [
            boxed(b"mdhd", &words(&[0, 0, 0, 15360, 0, 0])),
            boxed(
                b"hdlr",
                &[words(&[0, 0]), b"vide".to_vec(), vec![0; 12]].concat(),
            ),
            boxed(b"minf", &boxed(b"stbl", &stbl)),
        ]
        .concat();
        let edits = boxed(b"elst", &words(&[0, 2, 100, -1, 65536, 133, 512, 65536]));
        let trak = [boxed(b"edts", &edits), boxed(b"mdia", &mdia)].concat();
        let moov = [
            boxed(b"mvhd", &words(&[0, 0, 0, 1000, 0])),
            boxed(b"trak", &trak),
        ]
        .concat();
        [boxed(b"moov", &moov), boxed(b"mdat", &[0; 40])].concat()
    }

    fn read(bytes: &[u8]) -> Result<Track, Trouble> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        track(file.path())
    }

    #[test]
    fn frames_are_timed_as_shown() {
        let mut bytes = reordered();
        // The first, empty edit delays the film by 100 ms; the second begins where frame 0 is shown.
        let found = read(&bytes).unwrap();
        assert_eq!(found.size, (320, 240));
        for (frame, shown) in found.shown_s.iter().enumerate() {
            let expected = frame as f64 / 30.0 + 0.1;
            assert!((shown - expected).abs() < 1e-9, "{:?}", found.shown_s);
        }
        let at = bytes
            .windows(4)
            .position(|w| w == 100_u32.to_be_bytes())
            .unwrap();
        bytes[at..at + 4].fill(0);
        assert!(read(&bytes).unwrap().shown_s[0].abs() < 1e-9);
    }

    #[test]
    fn cut_off_files_are_told_apart() {
        let whole = reordered();
        let mdat = whole.len() - 48;
        assert!(matches!(read(&whole[..mdat - 5]), Err(Trouble::NoIndex(_))));
        assert!(matches!(
            read(&whole[..whole.len() - 5]),
            Err(Trouble::Damaged(_))
        ));
        // Pictures that are wholly absent do not fit into what is left.
        let mut long = whole.clone();
        let at = long.windows(4).position(|w| w == b"stsz").unwrap() + 16;
        long[at..at + 4].copy_from_slice(&60_000_u32.to_be_bytes());
        assert!(matches!(read(&long), Err(Trouble::Damaged(_))));
    }

    proptest! {
        #[test]
        fn changed_indices_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = reordered();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = read(&bytes);
        }
    }
}
