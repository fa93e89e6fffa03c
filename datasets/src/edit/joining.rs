//! Videos of many episodes in few files, joined without decoding.

use super::videos::{Camera, Wanted, check_stored};
use crate::error::Result;
use crate::video::remux::{self, Piece, Track};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

/// A file in progress: what it will hold.
#[derive(Default)]
struct Joined {
    parts: Vec<Part>,
    bytes: u64,
}

/// One episode's frames.
struct Part {
    wanted: Wanted,
    track: Rc<Track>,
    samples: Range<usize>,
}

impl Camera<'_> {
    /// Joins the frames of all episodes into files below `limit` bytes. Episodes that do not begin
    /// with a key frame are encoded anew, each into a file of its own.
    pub(super) fn pack(&mut self, limit: u64) -> Result<()> {
        let mut open = Joined::default();
        let mut last: Option<Rc<Track>> = None;
        for place in 0..self.plan.segments.len() {
            let segment = self.plan.segments[place];
            let path = self.file_of(&segment)?;
            let wanted = Wanted {
                place,
                frames: self.frames_of(&segment, &path)?,
            };
            let track = self.track(last.take(), path)?;
            last = Some(track.clone());
            check_stored(&track.path, track.frames(), std::slice::from_ref(&wanted))?;
            let Some(samples) = track.run(wanted.frames.start, wanted.frames.end) else {
                self.close(std::mem::take(&mut open))?;
                self.cut(&[wanted], &track.path)?;
                continue;
            };
            let bytes = track.bytes(samples.clone());
            let fits = |first: &Part| first.track.joins(&track) && open.bytes + bytes < limit;
            if !open.parts.first().is_none_or(fits) {
                self.close(std::mem::take(&mut open))?;
            }
            open.bytes += bytes;
            open.parts.push(Part {
                wanted,
                track,
                samples,
            });
        }
        self.close(open)
    }

    /// The index of the file, which is often that of the episode before.
    fn track(&self, last: Option<Rc<Track>>, path: PathBuf) -> Result<Rc<Track>> {
        match last.filter(|track| track.path == path) {
            Some(track) => Ok(track),
            None => Ok(Rc::new(Track::read(&path, self.info.fps)?)),
        }
    }

    /// Writes a file; one that is in the source as it is, is copied.
    fn close(&mut self, joined: Joined) -> Result<()> {
        let (Some(first), Some(last)) = (joined.parts.first(), joined.parts.last()) else {
            return Ok(());
        };
        let path = first.track.path.clone();
        let places = first.wanted.place..last.wanted.place + 1;
        let alone = joined.parts.iter().all(|part| part.track.path == path);
        if alone && self.is_whole(&places)? {
            return self.copy(&places, &path);
        }
        let (at, path) = self.next_file()?;
        let mut pieces = Vec::with_capacity(joined.parts.len());
        for part in &joined.parts {
            pieces.push(Piece {
                track: &part.track,
                samples: part.samples.clone(),
            });
        }
        remux::join(&pieces, self.info.fps, &path)?;
        let wanted: Vec<Wanted> = joined.parts.into_iter().map(|part| part.wanted).collect();
        self.check(&path, &wanted)?;
        self.add_spans(&wanted, at);
        self.written.work.remuxed_files += 1;
        Ok(())
    }
}
