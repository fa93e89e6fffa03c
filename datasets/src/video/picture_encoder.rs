//! Frames → encoded single pictures for the parquet file: PNG, or TIFF for depth, as LeRobot.

use super::worker::{EncodeFrames, Worker};
use crate::error::{Error, Result};
use crate::journal::{Packet, TakePackets};
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use sinew_runtime::frame::{Frame, PixelFormat};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tiff::encoder::{TiffEncoder, colortype};

/// Gives one camera's pictures to the journal.
#[derive(Debug)]
pub(crate) struct PictureEncoder(Worker);

impl PictureEncoder {
    /// Starts the encoder; `path` is where the journal puts the pictures, for messages.
    pub(crate) fn start(path: &Path, sink: impl TakePackets) -> Result<Self> {
        let encoder = Pictures {
            path: path.to_owned(),
            sink,
            given: 0,
        };
        Worker::start("pictures", path, encoder).map(Self)
    }

    /// Queues the next frame. Waits while the queue is full.
    pub(crate) fn push(&mut self, frame: Arc<Frame>) -> Result<()> {
        self.0.push(frame)
    }

    /// Encodes what is queued; when this returns, the journal has been given all pictures.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

struct Pictures<S> {
    path: PathBuf,
    sink: S,
    given: u64,
}

impl<S: TakePackets> EncodeFrames for Pictures<S> {
    fn frame(&mut self, frame: &Frame) -> Result<()> {
        let bytes = encoded(frame).map_err(|problem| Error::video(&self.path, problem))?;
        let packet = Packet {
            number: self.given,
            bytes,
            key: true,
        };
        self.given += 1;
        if self.sink.packet(packet) {
            Ok(())
        } else {
            Err(Error::video(
                &self.path,
                "the journal takes no more pictures",
            ))
        }
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

/// The frame as a file, without loss.
fn encoded(frame: &Frame) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match frame.format {
        PixelFormat::Rgb8 => {
            // The fastest compression: pictures come at the cameras' rate.
            let (fast, filter) = (CompressionType::Fast, FilterType::Adaptive);
            PngEncoder::new_with_quality(&mut bytes, fast, filter)
                .write_image(
                    &frame.data,
                    frame.width,
                    frame.height,
                    image::ExtendedColorType::Rgb8,
                )
                .map_err(|e| e.to_string())?;
        }
        PixelFormat::DepthMm => {
            let distances: Vec<u16> = frame.distances().collect();
            let mut encoder =
                TiffEncoder::new(Cursor::new(&mut bytes)).map_err(|e| e.to_string())?;
            encoder
                .write_image::<colortype::Gray16>(frame.width, frame.height, &distances)
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(bytes)
}
