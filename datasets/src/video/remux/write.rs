//! An MP4 file from runs of compressed frames.

use super::clock;
use super::index::{Sample, Track};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

/// Frames that lie together without an entry of their own in the index.
const CHUNK_FRAMES: usize = 32;

/// Frames of one file to be moved: a run that [`Track::run`] gave.
#[derive(Debug, Clone)]
pub struct Piece<'a> {
    /// The file's index.
    pub track: &'a Track,
    /// Stored frames, counted from 0.
    pub samples: Range<usize>,
}

/// One frame of the new file.
#[derive(Debug, Clone, Copy)]
struct Moved {
    size: u32,
    shown: u64,
    key: bool,
}

/// Writes the pieces one after the other into the new file `out`, index first, flushed to the disk;
/// frame i is shown at i/`fps` s. Returns the number of bytes.
///
/// # Errors
/// [`Error::Spec`] if the pieces differ in codec or picture size or there are none, and
/// [`Error::Io`] from reading and writing.
pub fn join(pieces: &[Piece<'_>], fps: u32, out: &Path) -> Result<u64> {
    let Some(first) = pieces.first() else {
        return Err(Error::spec("there are no video frames to write"));
    };
    if let Some(other) = pieces.iter().find(|p| !p.track.joins(first.track)) {
        return Err(Error::spec(format!(
            "{} and {} are encoded differently and cannot be joined as they are",
            first.track.path.display(),
            other.track.path.display()
        )));
    }
    let moved = moved(pieces)?;
    let bytes: u64 = moved.iter().map(|m| u64::from(m.size)).sum();
    let head = head(first.track, &moved, fps, bytes);
    let file = File::create(out).map_err(Error::io("create", out))?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    writer.write_all(&head).map_err(Error::io("write", out))?;
    for piece in pieces {
        copy(piece, &mut writer, out)?;
    }
    let file = writer
        .into_inner()
        .map_err(|e| Error::io("write", out)(e.into_error()))?;
    file.sync_all().map_err(Error::io("flush", out))?;
    Ok(head.len() as u64 + bytes)
}

fn samples<'a>(piece: &Piece<'a>) -> Result<&'a [Sample]> {
    piece
        .track
        .samples
        .get(piece.samples.clone())
        .filter(|s| !s.is_empty())
        .ok_or_else(|| Error::spec("a piece of video lies outside its file"))
}

/// The frames in the order of storing, numbered anew.
fn moved(pieces: &[Piece<'_>]) -> Result<Vec<Moved>> {
    let mut all: Vec<Moved> = Vec::new();
    for piece in pieces {
        let samples = samples(piece)?;
        let base = all.len() as u64;
        let first = samples.iter().map(|s| s.shown).min().unwrap_or(0);
        all.extend(samples.iter().map(|s| Moved {
            size: s.size,
            shown: base + u64::from(s.shown - first),
            key: s.key,
        }));
    }
    // The index counts frames and their ticks in 32 bits.
    if u32::try_from(all.len()).is_err() {
        return Err(Error::spec("too many video frames for one file"));
    }
    Ok(all)
}

/// Moves the piece's bytes; frames that lie together move together.
fn copy(piece: &Piece<'_>, out: &mut impl Write, target: &Path) -> Result<()> {
    let source = &piece.track.path;
    let mut file = File::open(source).map_err(Error::io("open", source))?;
    let mut rest = samples(piece)?;
    while let Some(first) = rest.first() {
        let mut end = first.offset;
        let together = rest
            .iter()
            .take_while(|s| {
                s.offset == end && {
                    end += u64::from(s.size);
                    true
                }
            })
            .count();
        let length = end - first.offset;
        file.seek(SeekFrom::Start(first.offset))
            .map_err(Error::io("read", source))?;
        let copied =
            std::io::copy(&mut (&file).take(length), out).map_err(Error::io("write", target))?;
        if copied != length {
            return Err(Error::corrupt(
                source,
                "the file was cut off while it was read",
            ));
        }
        rest = &rest[together.max(1)..];
    }
    Ok(())
}

/// Everything before the first frame's bytes.
fn head(track: &Track, moved: &[Moved], fps: u32, bytes: u64) -> Vec<u8> {
    let brand: &[u8] = match track.description.get(12..16) {
        Some(b"av01") => b"isom\0\0\x02\0isomiso2av01mp41",
        _ => b"isom\0\0\x02\0isomiso2avc1mp41",
    };
    let ftyp = boxed(b"ftyp", &[brand]);
    // 64-bit size, so that there is no limit to think of.
    let mut mdat = words(&[1]);
    mdat.extend(b"mdat");
    mdat.extend((bytes + 16).to_be_bytes());
    // The index holds places in the file that depend on its own length, which does not depend on
    // them.
    let length = moov(track, moved, fps, 0).len();
    let start = (ftyp.len() + length + mdat.len()) as u64;
    [ftyp, moov(track, moved, fps, start), mdat].concat()
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length = 8 + parts.iter().map(|p| p.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend((length as u32).to_be_bytes());
    out.extend(kind);
    parts.iter().for_each(|p| out.extend(*p));
    out
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

/// The unit transformation of a picture.
const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

fn moov(track: &Track, moved: &[Moved], fps: u32, start: u64) -> Vec<u8> {
    let (ticks, timescale) = clock(fps);
    let duration = u64::from(ticks) * moved.len() as u64;
    // mvhd, version 1: made, changed, clock, duration, rate 1, volume 1, reserved, transformation,
    // reserved, next track.
    let mvhd = [
        words(&[1 << 24, 0, 0, 0, 0, timescale]),
        duration.to_be_bytes().to_vec(),
        words(&[0x1_0000, 0x0100_0000, 0, 0]),
        words(&UNITY),
        words(&[0, 0, 0, 0, 0, 0, 2]),
    ]
    .concat();
    // tkhd, version 1, enabled and in the film: made, changed, number, reserved, duration,
    // reserved (8), layer and group, volume and reserved, then what the source says.
    let tkhd = [
        &words(&[1 << 24 | 3, 0, 0, 0, 0, 1, 0])[..],
        &duration.to_be_bytes(),
        &words(&[0, 0, 0, 0]),
        &track.picture,
    ]
    .concat();
    // mdhd, version 1: made, changed, clock, duration, language `und`.
    let mdhd = [
        words(&[1 << 24, 0, 0, 0, 0, timescale]),
        duration.to_be_bytes().to_vec(),
        words(&[0x55c4_0000]),
    ]
    .concat();
    let hdlr = [&words(&[0, 0])[..], b"vide", &[0; 12], b"VideoHandler\0"].concat();
    let dref = boxed(
        b"dref",
        &[&words(&[0, 1]), &boxed(b"url ", &[&words(&[1])])],
    );
    let minf = boxed(
        b"minf",
        &[
            &boxed(b"vmhd", &[&words(&[1, 0, 0])]),
            &boxed(b"dinf", &[&dref]),
            &sample_table(track, moved, ticks, start),
        ],
    );
    let mdia = boxed(
        b"mdia",
        &[&boxed(b"mdhd", &[&mdhd]), &boxed(b"hdlr", &[&hdlr]), &minf],
    );
    let edits = edits(moved, ticks, duration);
    let trak = boxed(b"trak", &[&boxed(b"tkhd", &[&tkhd]), &edits, &mdia]);
    boxed(b"moov", &[&boxed(b"mvhd", &[&mvhd]), &trak])
}

/// How many frames later than it is stored any frame must be shown at least.
fn delay(moved: &[Moved]) -> u64 {
    let late = |(i, m): (usize, &Moved)| (i as u64).saturating_sub(m.shown);
    moved.iter().enumerate().map(late).max().unwrap_or(0)
}

/// Reordered frames are shown late; the edit list takes that back. Empty if they are in order.
fn edits(moved: &[Moved], ticks: u32, duration: u64) -> Vec<u8> {
    let delay = delay(moved) * u64::from(ticks);
    if delay == 0 {
        return Vec::new();
    }
    // elst, version 1: one entry with duration, time of the media, rate 1.
    let entry = [
        words(&[1 << 24, 1]),
        duration.to_be_bytes().to_vec(),
        delay.to_be_bytes().to_vec(),
        words(&[0x1_0000]),
    ]
    .concat();
    boxed(b"edts", &[&boxed(b"elst", &[&entry])])
}

fn sample_table(track: &Track, moved: &[Moved], ticks: u32, start: u64) -> Vec<u8> {
    let count = moved.len() as u32;
    let mut sizes = words(&[0, 0, count]);
    sizes.extend(moved.iter().flat_map(|m| m.size.to_be_bytes()));
    let mut parts = vec![
        boxed(b"stsd", &[&track.description]),
        boxed(b"stts", &[&words(&[0, 1, count, ticks])]),
    ];
    let late = delay(moved);
    if late > 0 {
        let delays: Vec<u32> = moved
            .iter()
            .enumerate()
            .flat_map(|(i, m)| [1, (m.shown + late - i as u64) as u32 * ticks])
            .collect();
        parts.push(boxed(b"ctts", &[&words(&[0, count]), &words(&delays)]));
    }
    if !moved.iter().all(|m| m.key) {
        let keys: Vec<u32> = (1..)
            .zip(moved)
            .filter(|(_, m)| m.key)
            .map(|(i, _)| i)
            .collect();
        parts.push(boxed(
            b"stss",
            &[&words(&[0, keys.len() as u32]), &words(&keys)],
        ));
    }
    parts.push(boxed(b"stsc", &[&groups(moved.len())]));
    parts.push(boxed(b"stsz", &[&sizes]));
    parts.push(boxed(b"co64", &[&places(moved, start)]));
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    boxed(b"stbl", &parts)
}

/// The stsc body: how many frames lie together.
fn groups(frames: usize) -> Vec<u8> {
    let (whole, rest) = (
        (frames / CHUNK_FRAMES) as u32,
        (frames % CHUNK_FRAMES) as u32,
    );
    let mut runs = Vec::new();
    if whole > 0 {
        runs.extend([1, CHUNK_FRAMES as u32, 1]);
    }
    if rest > 0 {
        runs.extend([whole + 1, rest, 1]);
    }
    [words(&[0, runs.len() as u32 / 3]), words(&runs)].concat()
}

/// The co64 body: where each group of frames begins.
fn places(moved: &[Moved], start: u64) -> Vec<u8> {
    let mut body = words(&[0, moved.len().div_ceil(CHUNK_FRAMES) as u32]);
    let mut at = start;
    for group in moved.chunks(CHUNK_FRAMES) {
        body.extend(at.to_be_bytes());
        at += group.iter().map(|m| u64::from(m.size)).sum::<u64>();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An entry of the codec table, and a file whose frame `i` is `i + 1` bytes of value `i`.
    /// `stored` says when each stored frame is shown; the listed ones are key frames.
    fn film(dir: &Path, name: &str, stored: &[u64], keys: &[usize]) -> Track {
        let path = dir.join(name);
        let track = Track {
            path: path.clone(),
            description: [&words(&[0, 1, 16])[..], b"avc1", &[7; 8]].concat(),
            picture: [words(&UNITY), words(&[320 << 16, 240 << 16])].concat(),
            samples: Vec::new(),
        };
        let moved: Vec<Moved> = stored
            .iter()
            .enumerate()
            .map(|(i, shown)| Moved {
                size: i as u32 + 1,
                shown: *shown,
                key: keys.contains(&i),
            })
            .collect();
        let bytes: Vec<u8> = (0..stored.len())
            .flat_map(|i| vec![i as u8; i + 1])
            .collect();
        let file = [head(&track, &moved, 30, bytes.len() as u64), bytes].concat();
        std::fs::write(&path, file).unwrap();
        Track::read(&path, 30).unwrap()
    }

    fn bytes_of(track: &Track) -> Vec<Vec<u8>> {
        let file = std::fs::read(&track.path).unwrap();
        track
            .samples
            .iter()
            .map(|s| file[s.offset as usize..][..s.size as usize].to_vec())
            .collect()
    }

    #[test]
    fn frames_survive_cutting_and_joining() {
        let dir = tempfile::tempdir().unwrap();
        let order: Vec<u64> = (0..100).collect();
        let keys: Vec<usize> = (0..100).step_by(10).collect();
        let film = film(dir.path(), "a.mp4", &order, &keys);
        assert_eq!((film.frames(), film.run(0, 100)), (100, Some(0..100)));
        assert_eq!(
            (film.run(10, 23), film.run(11, 20), film.run(90, 101)),
            (Some(10..23), None, None)
        );
        assert_eq!(film.start_before(18, 25), Some(10));
        let out = dir.path().join("out.mp4");
        let piece = |samples| Piece {
            track: &film,
            samples,
        };
        join(&[piece(50..53), piece(10..12)], 30, &out).unwrap();
        let read = Track::read(&out, 30).unwrap();
        let shown: Vec<_> = read.samples.iter().map(|s| (s.shown, s.key)).collect();
        assert_eq!(
            shown,
            [(0, true), (1, false), (2, false), (3, true), (4, false)]
        );
        let expected: Vec<Vec<u8>> = [50_u8, 51, 52, 10, 11]
            .iter()
            .map(|i| vec![*i; usize::from(*i) + 1])
            .collect();
        assert_eq!(bytes_of(&read), expected);
        assert!(crate::mp4::probe(&out).unwrap().is_constant_rate(30));
    }

    #[test]
    fn reordered_frames_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        // I P B B, twice, then an open group whose first B comes before its key frame.
        let order = [0, 3, 1, 2, 4, 7, 5, 6, 9, 8];
        let film = film(dir.path(), "a.mp4", &order, &[0, 4, 8]);
        let shown: Vec<u64> = film.samples.iter().map(|s| s.shown.into()).collect();
        assert_eq!(shown, order);
        assert_eq!(
            (film.run(4, 8), film.run(4, 7), film.run(9, 10)),
            (Some(4..8), None, Some(8..9))
        );
        let out = dir.path().join("out.mp4");
        join(
            &[Piece {
                track: &film,
                samples: 4..8,
            }],
            30,
            &out,
        )
        .unwrap();
        let read = Track::read(&out, 30).unwrap();
        let shown: Vec<u32> = read.samples.iter().map(|s| s.shown).collect();
        assert_eq!(shown, [0, 3, 1, 2]);
    }

    #[test]
    fn bit_rates_do_not_make_files_differ() {
        let dir = tempfile::tempdir().unwrap();
        let mut described = film(dir.path(), "a.mp4", &[0, 1], &[0]);
        let entry = |rate: u32| {
            let mut body = vec![0; 78];
            body.extend(boxed(b"avcC", &[b"parameters"]));
            body.extend(boxed(b"btrt", &[&words(&[0, rate, rate])]));
            [words(&[0, 1]), boxed(b"avc1", &[&body])].concat()
        };
        let read = [1, 2].map(|rate| {
            described.description = entry(rate);
            let path = dir.path().join("b.mp4");
            join(
                &[Piece {
                    track: &described,
                    samples: 0..2,
                }],
                30,
                &path,
            )
            .unwrap();
            Track::read(&path, 30).unwrap().description
        });
        assert_eq!(read[0], read[1]);
        assert_eq!(read[0].len(), entry(1).len() - 20);
        assert!(read[0].ends_with(b"avcCparameters"));
    }

    #[test]
    fn other_rates_and_other_codecs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let order: Vec<u64> = (0..10).collect();
        let a = film(dir.path(), "a.mp4", &order, &[0]);
        let mut b = a.clone();
        b.description.push(0);
        let pieces = [&a, &b].map(|track| Piece {
            track,
            samples: 0..10,
        });
        let out = dir.path().join("out.mp4");
        assert!(matches!(join(&pieces, 30, &out), Err(Error::Spec { .. })));
        assert!(matches!(join(&[], 30, &out), Err(Error::Spec { .. })));
        assert!(matches!(
            Track::read(&a.path, 17),
            Err(Error::Corrupt { .. })
        ));
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let order: Vec<u64> = (0..40).map(|i| if i % 4 == 1 { i + 1 } else if i % 4 == 2 { i - 1 } else { i }).collect();
            let film = film(dir.path(), "a.mp4", &order, &[0, 4, 8, 20]);
            let mut bytes = std::fs::read(&film.path).unwrap();
            for (at, value) in changes {
                // The index is what matters; the frames' bytes are moved unread.
                let at = at.index(bytes.len() - 820);
                bytes[at] = value;
            }
            bytes.truncate(bytes.len() - cut.index(40));
            std::fs::write(&film.path, bytes).unwrap();
            if let Ok(track) = Track::read(&film.path, 30)
                && let Some(samples) = track.run(4, 8)
            {
                let _ = join(&[Piece { track: &track, samples }], 30, &dir.path().join("out.mp4"));
            }
        }
    }
}
