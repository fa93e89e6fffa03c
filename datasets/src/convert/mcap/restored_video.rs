//! The encoded frames of one camera in one episode, on their way back into an MP4 file.

use super::stream::Stream;
use crate::error::{Error, Result};
use crate::fsio;
use crate::video::remux::{self, Piece, Sample, Track};
use serde_json::Value;
use sinew_runtime::ros::messages::{CompressedVideoMsg, Message};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Longest description of a codec, bytes.
const DESCRIPTION_LIMIT: usize = 1 << 16;
/// The fixed part of a video's description in an MP4 index, bytes.
const DESCRIPTION_HEAD: usize = 16 + 78;
/// Length of the picture's transformation and size there, bytes.
const PICTURE_BYTES: usize = 44;
/// Most frames of an episode.
const FRAME_LIMIT: usize = 1 << 22;

/// Frames in a scratch file, in the order in which they are stored.
pub(super) struct VideoIn {
    source: PathBuf,
    file: BufWriter<File>,
    stream: Stream,
    track: Track,
    /// Bytes in the file.
    end: u64,
    /// Whether a frame made no sense; what follows cannot be decoded.
    broken: bool,
}

impl VideoIn {
    /// `about` is what the exporter wrote of the codec, `source` is for messages.
    pub(super) fn create(source: &Path, scratch: &Path, about: &Value) -> Result<Self> {
        let bytes = |key: &str| about.get(key).and_then(Value::as_str).and_then(unhex);
        let description = bytes("description").filter(|d| d.len() >= DESCRIPTION_HEAD);
        let picture = bytes("picture").filter(|p| p.len() == PICTURE_BYTES);
        let (Some(description), Some(picture)) = (description, picture) else {
            return Err(Error::mcap(
                source,
                "it does not describe a video that it holds",
            ));
        };
        if let Some(parent) = scratch.parent() {
            fsio::create_dir(parent)?;
        }
        let file = File::create(scratch).map_err(Error::io("create", scratch))?;
        Ok(Self {
            source: source.to_owned(),
            file: BufWriter::with_capacity(1 << 16, file),
            stream: Stream::of(source, &description)?,
            track: Track {
                path: scratch.to_owned(),
                description,
                picture,
                samples: Vec::new(),
            },
            end: 0,
            broken: false,
        })
    }

    /// Takes the message with the frame of row `row`.
    pub(super) fn take(&mut self, row: u64, message: &[u8]) -> Result<()> {
        if self.broken {
            return Ok(());
        }
        let decoded = CompressedVideoMsg::decode(message).ok();
        let sample = decoded.and_then(|message| self.stream.to_sample(&message.data));
        let shown = u32::try_from(row).ok();
        let (Some((bytes, key)), Some(shown)) = (sample, shown) else {
            self.broken = true;
            return Ok(());
        };
        if self.track.samples.len() >= FRAME_LIMIT {
            return Err(Error::mcap(&self.source, "a video has too many frames"));
        }
        self.file
            .write_all(&bytes)
            .map_err(Error::io("write", &self.track.path))?;
        self.track.samples.push(Sample {
            offset: self.end,
            size: bytes.len() as u32,
            shown,
            key,
        });
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// The most rows, at most `rows`, of which all frames are there without one that is shown later.
    pub(super) fn rows_within(&self, rows: u64) -> u64 {
        let first = self.track.samples.first();
        if !first.is_some_and(|sample| sample.key) {
            return 0;
        }
        let (mut found, mut latest) = (0, 0);
        let mut seen = vec![false; self.track.samples.len()];
        for (count, sample) in (1_u64..).zip(&self.track.samples) {
            let slot = seen.get_mut(sample.shown as usize);
            // Twice, or so late that a frame before it must be missing.
            if slot.is_none_or(|slot| std::mem::replace(slot, true)) {
                break;
            }
            latest = latest.max(u64::from(sample.shown) + 1);
            if latest == count && count <= rows {
                found = count;
            }
        }
        found
    }

    /// Writes the MP4 file of the first `rows` rows.
    pub(super) fn write(mut self, rows: u64, fps: u32, out: &Path) -> Result<()> {
        let scratch = self.track.path.clone();
        self.file.flush().map_err(Error::io("write", &scratch))?;
        if let Some(parent) = out.parent() {
            fsio::create_dir(parent)?;
        }
        let piece = Piece {
            track: &self.track,
            samples: 0..rows as usize,
        };
        remux::join(&[piece], fps, out)?;
        std::fs::remove_file(&scratch).map_err(Error::io("remove", &scratch))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() > 2 * DESCRIPTION_LIMIT || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |d: u8| char::from(d).to_digit(16).map(|v| v as u8);
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|p| Some(digit(p[0])? << 4 | digit(p[1])?))
        .collect()
}
