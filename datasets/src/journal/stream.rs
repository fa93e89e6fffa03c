//! One camera's file while it grows.
//!
//! Video: `ftyp`, room for the index, `mdat` whose size is not known yet, then the frames as they come
//! from the encoder. [`StreamFile::finish`] fills the index in; nothing is moved or copied, so
//! that it takes the same time for an hour as for a second.
//!
//! Of a camera that is kept as images the packets are encoded pictures, which [`StreamFile::read`]
//! gives back.

use super::index::{self, StreamHead, boxed};
use crate::error::{Error, Result};
use crate::mp4;
use crate::video::FinishedVideo;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the frames begin. The room before them holds the index of 10,000 frames, five minutes at
/// 30 Hz; a longer index goes behind the frames, which every reader accepts.
pub(crate) const FRAMES_AT: u64 = 64 << 10;
/// Bytes of `mdat`'s header with a 64-bit size.
const MDAT_HEAD: u64 = 16;

/// The file, its frames' sizes, and which of them are key frames.
#[derive(Debug)]
pub(crate) struct StreamFile {
    path: PathBuf,
    file: File,
    head: Option<StreamHead>,
    sizes: Vec<u32>,
    /// Where each frame begins.
    starts: Vec<u64>,
    /// Numbers of key frames, from 1.
    keys: Vec<u32>,
    /// Where the next frame goes.
    end: u64,
}

impl StreamFile {
    /// Makes the file with room for its index: zeros, so that a full disk cannot deny it later.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(Error::io("create", path))?;
        let mut start = index::file_type();
        let gap = FRAMES_AT - MDAT_HEAD - start.len() as u64;
        start.extend(boxed(b"free", &vec![0; gap as usize - 8]));
        start.extend(mdat_head(0));
        file.write_all(&start).map_err(Error::io("write", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            head: None,
            sizes: Vec::new(),
            starts: Vec::new(),
            keys: Vec::new(),
            end: FRAMES_AT,
        })
    }

    /// Opens a file that a crash left; frames are claimed with [`Self::claim`].
    pub(super) fn reopen(path: &Path, head: Option<StreamHead>) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            head,
            sizes: Vec::new(),
            starts: Vec::new(),
            keys: Vec::new(),
            end: FRAMES_AT,
        })
    }

    /// Bytes of the frames, if they must be copied to another file at the end.
    pub(super) fn bytes_to_copy(&self) -> u64 {
        if self.head.is_some() {
            return 0;
        }
        self.end - FRAMES_AT
    }

    pub(super) fn set_head(&mut self, head: StreamHead) {
        self.head = Some(head);
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of frames.
    pub(crate) fn frames(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// Appends a frame and returns its checksum. On error the file ends with the frame before.
    pub(super) fn append(&mut self, bytes: &[u8], key: bool) -> Result<u32> {
        let written = self.file.write_all_at(bytes, self.end);
        if let Err(source) = written {
            // What stands behind the end is ignored anyway.
            let _ = self.file.set_len(self.end);
            return Err(Error::Io {
                action: "write",
                path: self.path.clone(),
                source,
            });
        }
        self.take(bytes.len() as u32, key);
        Ok(crc32fast::hash(bytes))
    }

    /// Takes the next `size` bytes as a frame if they have this checksum.
    pub(super) fn claim(&mut self, size: u32, crc: u32, key: bool) -> bool {
        let length = self.file.metadata().map_or(0, |m| m.len());
        // Before memory is taken for what a damaged journal may claim.
        if self.end.saturating_add(size.into()) > length {
            return false;
        }
        let mut bytes = vec![0; size as usize];
        let whole =
            self.file.read_exact_at(&mut bytes, self.end).is_ok() && crc32fast::hash(&bytes) == crc;
        if whole {
            self.take(size, key);
        }
        whole
    }

    fn take(&mut self, size: u32, key: bool) {
        self.sizes.push(size);
        self.starts.push(self.end);
        if key {
            self.keys.push(self.sizes.len() as u32);
        }
        self.end += u64::from(size);
    }

    /// Forces what was appended to the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(Error::io("flush", &self.path))
    }

    /// Forgets all but the first `frames` frames.
    pub(crate) fn cut(&mut self, frames: u64) {
        self.sizes.truncate(frames as usize);
        self.starts.truncate(frames as usize);
        self.keys.retain(|key| u64::from(*key) <= frames);
        self.end = FRAMES_AT + self.sizes.iter().map(|s| u64::from(*s)).sum::<u64>();
    }

    /// The bytes of a frame.
    pub(crate) fn read(&self, number: u64) -> Result<Vec<u8>> {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let found = self.starts.get(place).zip(self.sizes.get(place));
        let (start, size) =
            found.ok_or_else(|| Error::corrupt(&self.path, format!("it has no frame {number}")))?;
        let mut bytes = vec![0; *size as usize];
        self.file
            .read_exact_at(&mut bytes, *start)
            .map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Writes the index, flushes, and counts the frames as any reader would.
    pub(crate) fn finish(self) -> Result<FinishedVideo> {
        let Some(head) = &self.head else {
            return Err(Error::corrupt(
                &self.path,
                "the encoder gave no description of its stream",
            ));
        };
        let movie = index::movie(head, FRAMES_AT, &self.sizes, &self.keys);
        self.write_index(&movie)
            .map_err(Error::io("finish", &self.path))?;
        let info = mp4::probe(&self.path)?;
        if !info.is_constant_rate(head.timescale / head.ticks.max(1)) {
            return Err(Error::corrupt(
                &self.path,
                "its frames are not evenly timed",
            ));
        }
        let bytes = self
            .file
            .metadata()
            .map_err(Error::io("look at", &self.path))?
            .len();
        Ok(FinishedVideo {
            frames: info.frames,
            bytes,
        })
    }

    fn write_index(&self, movie: &[u8]) -> std::io::Result<()> {
        let start = index::file_type().len() as u64;
        let room = FRAMES_AT - MDAT_HEAD - start;
        let size = self.end - (FRAMES_AT - MDAT_HEAD);
        self.file.set_len(self.end)?;
        self.file
            .write_all_at(&mdat_head(size), FRAMES_AT - MDAT_HEAD)?;
        // What remains of the room becomes a `free` box, which takes at least its own 8 bytes.
        let length = movie.len() as u64;
        if length == room || length + 8 <= room {
            self.file.write_all_at(movie, start)?;
            if length < room {
                let free = [&((room - length) as u32).to_be_bytes()[..], b"free"].concat();
                self.file.write_all_at(&free, start + length)?;
            }
        } else {
            self.file.write_all_at(movie, self.end)?;
        }
        self.file.sync_all()
    }
}

fn mdat_head(size: u64) -> Vec<u8> {
    // Size 1 says that the true one follows the name.
    [&1_u32.to_be_bytes()[..], b"mdat", &size.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(frames: u32) -> (tempfile::TempDir, PathBuf, StreamFile, Vec<u32>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("camera.mp4");
        let mut file = StreamFile::create(&path).unwrap();
        file.set_head(StreamHead::sample(vec![1, 2, 3]));
        let crcs = (0..frames)
            .map(|i| {
                file.append(&vec![i as u8; 1 + i as usize % 7], i % 2 == 0)
                    .unwrap()
            })
            .collect();
        (dir, path, file, crcs)
    }

    #[test]
    fn index_stands_before_the_frames_or_behind_when_it_is_long() {
        for (frames, first) in [(1, true), (9_000, true), (20_000, false)] {
            let (_dir, path, file, _) = made(frames);
            assert_eq!(file.finish().unwrap().frames, u64::from(frames));
            let info = mp4::probe(&path).unwrap();
            assert_eq!((info.index_first, info.codec.as_str()), (first, "avc1"));
            assert!(info.is_constant_rate(30) && info.timescale == 15360);
        }
    }

    #[test]
    fn frames_are_claimed_by_their_checksum_and_finishing_can_be_repeated() {
        let (_dir, path, file, crcs) = made(10);
        drop(file);
        for round in 0..2 {
            let head = Some(StreamHead::sample(vec![1, 2, 3]));
            let mut file = StreamFile::reopen(&path, head).unwrap();
            for i in 0..8_u32 {
                assert!(
                    file.claim(1 + i % 7, crcs[i as usize], i % 2 == 0),
                    "{round}"
                );
            }
            assert!(!file.claim(2, crcs[8] ^ 1, true), "wrong checksum");
            assert!(!file.claim(u32::MAX, crcs[8], true), "beyond the end");
            file.cut(8);
            assert_eq!(file.finish().unwrap().frames, 8);
        }
    }
}
