//! Distances → 12-bit codes → lossless H.265, as LeRobot stores depth.
//!
//! Through libavcodec, because GStreamer has no 12-bit grey.

use super::avencode::AvEncoder;
use super::depth::DepthCode;
use super::hevc;
use super::worker::{EncodeFrames, Worker};
use super::{Encoder, VideoSpec};
use crate::error::{Error, Result};
use crate::journal::{Packet, StreamHead, TakePackets};
use crate::spec::CameraSpec;
use sinew_runtime::frame::Frame;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Gives one depth camera's encoded frames to the journal.
#[derive(Debug)]
pub(crate) struct DepthEncoder(Worker);

impl DepthEncoder {
    /// Starts the encoder; `path` is where the journal puts its packets, for messages.
    pub(crate) fn start(
        path: &Path,
        camera: &CameraSpec,
        fps: u32,
        code: DepthCode,
        sink: impl TakePackets,
    ) -> Result<Self> {
        let encoder = AvEncoder::open(path, c"libx265", camera, fps, &super::depth::settings())?;
        let config = hevc::configuration(&encoder.headers(path)?).ok_or_else(|| {
            Error::video(path, "the encoder gave no usable description of its stream")
        })?;
        let spec = VideoSpec::recording(camera.width, camera.height, fps, Encoder::X265);
        let side = |side: u32| u16::try_from(side).map_err(|e| Error::video(path, e.to_string()));
        let head = StreamHead {
            codec: "hvc1".into(),
            config,
            width: side(camera.width)?,
            height: side(camera.height)?,
            timescale: spec.timescale(),
            ticks: spec.timescale() / fps.max(1),
            colour: None,
        };
        if !sink.head(head) {
            return Err(Error::video(path, "the journal takes no stream"));
        }
        let depth = Depth {
            path: path.to_owned(),
            codes: code.codes(),
            encoder,
            sink,
            taken: 0,
            given: 0,
        };
        Worker::start("depth", path, depth).map(Self)
    }

    /// Queues the next frame. Waits while the queue is full.
    pub(crate) fn push(&mut self, frame: Arc<Frame>) -> Result<()> {
        self.0.push(frame)
    }

    /// Encodes what is queued; when this returns, the journal has been given all packets.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

struct Depth<S> {
    path: PathBuf,
    /// The code of every distance, mm.
    codes: Vec<u16>,
    encoder: AvEncoder,
    sink: S,
    taken: i64,
    given: u64,
}

impl<S: TakePackets> Depth<S> {
    fn give(&mut self) -> Result<()> {
        while let Some(packet) = self.encoder.receive(&self.path)? {
            // A packet must be that of the frame whose turn it is; else rows and pictures would shift.
            if packet.pts != self.given as i64 {
                return Err(Error::video(
                    &self.path,
                    format!(
                        "the encoder gave frame {} where {} should follow",
                        packet.pts, self.given
                    ),
                ));
            }
            let taken = self.sink.packet(Packet {
                number: self.given,
                bytes: hevc::length_prefixed(&packet.bytes),
                key: packet.key,
            });
            if !taken {
                return Err(Error::video(
                    &self.path,
                    "the journal takes no more packets",
                ));
            }
            self.given += 1;
        }
        Ok(())
    }
}

impl<S: TakePackets> EncodeFrames for Depth<S> {
    fn frame(&mut self, frame: &Frame) -> Result<()> {
        let codes = frame.distances().map(|mm| self.codes[usize::from(mm)]);
        self.encoder.send(&self.path, self.taken, codes)?;
        self.taken += 1;
        self.give()
    }

    fn end(mut self) -> Result<()> {
        self.encoder.finish(&self.path)?;
        self.give()
    }
}
