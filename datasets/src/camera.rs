//! One camera of the episode in progress: its encoder, its statistics, and whether it is still there.

use crate::error::{Error, Result};
use crate::features::Feature;
use crate::journal::PacketSink;
use crate::journal::commit::{FinishedCamera, Kept};
use crate::journal::replay::staged_name;
use crate::journal::stream::StreamFile;
use crate::spec::{CameraSpec, Storage};
use crate::stats::{ImageStats, sample};
use crate::video::depth::DepthCode;
use crate::video::{DepthEncoder, Encoder, PacketEncoder, PictureEncoder, Quality, VideoSpec};
use sinew_runtime::frame::{Frame, PixelFormat};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// A camera while frames come.
#[derive(Debug)]
pub(crate) struct OpenCamera {
    spec: CameraSpec,
    pub(crate) encoder: FrameEncoder,
    stats: ImageStats,
    last: Option<Arc<Frame>>,
    /// Rows in a row that had the frame of the row before.
    repeated: u64,
    /// What the statistics took of the newest rows, which may have to go again.
    recent: VecDeque<Vec<u8>>,
}

/// What encodes a camera's frames.
#[derive(Debug)]
pub(crate) enum FrameEncoder {
    Colour(PacketEncoder),
    Depth(DepthEncoder),
    Pictures(PictureEncoder),
}

impl OpenCamera {
    /// Starts the encoder, which puts its packets into `sink`. `feature` is what the dataset says of
    /// the camera; `path` is for messages.
    pub(crate) fn open(
        path: &Path,
        camera: &CameraSpec,
        feature: Option<&Feature>,
        fps: u32,
        encoder: Option<(Encoder, Quality)>,
        sink: PacketSink,
    ) -> Result<Self> {
        let encoder = match (camera.storage, camera.depth) {
            (Storage::Images, _) => FrameEncoder::Pictures(PictureEncoder::start(path, sink)?),
            (Storage::Video, true) => {
                let code = feature.map(DepthCode::of).unwrap_or_default();
                FrameEncoder::Depth(DepthEncoder::start(path, camera, fps, code, sink)?)
            }
            (Storage::Video, false) => {
                let (encoder, quality) = encoder.ok_or(Error::NoVideo)?;
                let spec = VideoSpec::recording(camera.width, camera.height, fps, encoder);
                FrameEncoder::Colour(PacketEncoder::start(path, spec.with(quality), sink)?)
            }
        };
        Ok(Self {
            spec: camera.clone(),
            encoder,
            stats: if camera.depth {
                ImageStats::depth()
            } else {
                ImageStats::default()
            },
            last: None,
            repeated: 0,
            recent: VecDeque::new(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Rows in a row that had the frame of the row before.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// What of a frame does not fit, in words.
    pub(crate) fn problem(&self, frame: &Frame) -> Option<String> {
        let CameraSpec { width, height, .. } = self.spec;
        let format = if self.spec.depth {
            PixelFormat::DepthMm
        } else {
            PixelFormat::Rgb8
        };
        let bytes = format.bytes() * width as usize * height as usize;
        let fits = frame.width == width
            && frame.height == height
            && frame.format == format
            && frame.data.len() == bytes;
        (!fits).then(|| {
            format!(
                "camera {} gave {}×{} {:?} ({} bytes) instead of {width}×{height} {format:?}",
                self.spec.name,
                frame.width,
                frame.height,
                frame.format,
                frame.data.len()
            )
        })
    }

    /// Takes the frame of the next row. Waits while the encoder's queue is full.
    pub(crate) fn push(&mut self, frame: &Arc<Frame>) -> Result<()> {
        match &mut self.encoder {
            FrameEncoder::Colour(encoder) => encoder.push(frame.clone()),
            FrameEncoder::Depth(encoder) => encoder.push(frame.clone()),
            FrameEncoder::Pictures(encoder) => encoder.push(frame.clone()),
        }?;
        let pixels = sample(frame);
        self.stats.add_sample(&pixels);
        self.recent.push_back(pixels);
        let same = |last: &Arc<Frame>| {
            Arc::ptr_eq(last, frame) || (frame.seq > 0 && last.seq == frame.seq)
        };
        if self.last.as_ref().is_some_and(same) {
            self.repeated += 1;
        } else {
            self.repeated = 0;
            self.last = Some(frame.clone());
        }
        Ok(())
    }

    /// Says that all but the newest `rows` rows will be kept.
    pub(crate) fn confirm(&mut self, rows: u64) {
        while self.recent.len() as u64 > rows {
            self.recent.pop_front();
        }
    }

    /// Ends the encoder. The last `cut` rows, not confirmed, will not be kept.
    pub(crate) fn end(mut self, cut: u64) -> Result<EndedCamera> {
        match self.encoder {
            FrameEncoder::Colour(encoder) => encoder.finish(),
            FrameEncoder::Depth(encoder) => encoder.finish(),
            FrameEncoder::Pictures(encoder) => encoder.finish(),
        }?;
        for pixels in self.recent.iter().rev().take(cut as usize) {
            self.stats.remove_sample(pixels);
        }
        Ok(EndedCamera {
            spec: self.spec,
            stats: self.stats,
        })
    }
}

/// A camera whose encoder has given all.
#[derive(Debug)]
pub(crate) struct EndedCamera {
    spec: CameraSpec,
    stats: ImageStats,
}

impl EndedCamera {
    /// Finishes the file, of which the first `keep` frames are kept; it must have `rows`.
    pub(crate) fn finish(
        self,
        mut stream: StreamFile,
        rows: u64,
        keep: u64,
    ) -> Result<FinishedCamera> {
        if stream.frames() == rows {
            stream.cut(keep);
        }
        let kept = match self.spec.storage {
            Storage::Images => Kept::Pictures(stream),
            Storage::Video => Kept::Video(staged_name(&self.spec), stream.finish()?),
        };
        Ok(FinishedCamera {
            spec: self.spec,
            kept,
            stats: self.stats,
        })
    }
}
