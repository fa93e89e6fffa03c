//! Camera pictures to MP4 and back.
//!
//! With the feature `gstreamer` this encodes, and decodes files from start to end; without it the same
//! types exist and say at run time that this build has no video. Single frames of a dataset's videos
//! (`frames.rs`) come from FFmpeg's libavcodec in either build.

#[cfg(not(feature = "gstreamer"))]
mod absent;
pub(crate) mod avcodec;
mod avencode;
#[cfg(feature = "gstreamer")]
mod choose;
mod coder;
mod colors;
#[cfg(feature = "gstreamer")]
mod decode;
pub(crate) mod depth;
mod depth_encoder;
#[cfg(feature = "gstreamer")]
mod encode;
mod encoders;
pub(crate) mod frames;
mod hevc;
mod libav;
mod montage;
#[cfg(feature = "gstreamer")]
mod packets;
mod picture_encoder;
pub(crate) mod recovered;
pub mod remux;
mod rows;
pub(crate) mod samples;
mod worker;

#[cfg(not(feature = "gstreamer"))]
pub(crate) use absent::PacketEncoder;
#[cfg(not(feature = "gstreamer"))]
pub use absent::{VideoReader, VideoWriter, choose, pick_encoder};
#[cfg(feature = "gstreamer")]
pub use choose::choose;
#[cfg(feature = "gstreamer")]
pub use decode::VideoReader;
pub(crate) use depth_encoder::DepthEncoder;
#[cfg(feature = "gstreamer")]
pub(crate) use encode::PacketEncoder;
#[cfg(feature = "gstreamer")]
pub use encode::{VideoWriter, pick_encoder};
pub use encoders::{Encoder, PixFmt, Quality};
pub use montage::side_by_side_mp4;
pub(crate) use picture_encoder::PictureEncoder;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Frames from one key frame to the next in recordings. LeRobot's choice: training reads frames
/// at random, and each read decodes from the key frame before it.
pub const RECORDING_GOP: u32 = 2;
/// Constant quality in recordings, LeRobot's choice; higher is coarser.
pub const RECORDING_CRF: u32 = 30;

/// How a video is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoSpec {
    /// Width, pixels; even.
    pub width: u32,
    /// Height, pixels; even.
    pub height: u32,
    /// Frames a second, constant.
    pub fps: u32,
    /// Which encoder.
    pub encoder: Encoder,
    /// Frames from one key frame to the next.
    pub gop: u32,
    /// Constant quality; higher is coarser.
    pub crf: u32,
    /// How colours are kept.
    pub pix_fmt: PixFmt,
}

impl VideoSpec {
    /// The way recordings are encoded.
    pub fn recording(width: u32, height: u32, fps: u32, encoder: Encoder) -> Self {
        Self {
            width,
            height,
            fps,
            encoder,
            gop: RECORDING_GOP,
            crf: RECORDING_CRF,
            pix_fmt: PixFmt::Yuv420p,
        }
    }

    /// The same with another quality.
    pub fn with(self, quality: Quality) -> Self {
        let Quality { gop, crf, pix_fmt } = quality;
        Self {
            gop,
            crf,
            pix_fmt,
            ..self
        }
    }

    #[cfg(feature = "gstreamer")]
    fn quality(&self) -> Quality {
        Quality {
            gop: self.gop,
            crf: self.crf,
            pix_fmt: self.pix_fmt,
        }
    }

    /// Clock ticks a second of the MP4 track: a multiple of the frame rate, so that every frame
    /// time is exact, and at least 10000 like ffmpeg's (30 fps gives 15360).
    pub fn timescale(&self) -> u32 {
        let mut ticks = self.fps.max(1);
        while ticks < 10_000 {
            ticks *= 2;
        }
        ticks
    }

    /// The facts that LeRobot keeps in a video feature's `info`.
    pub fn lerobot_info(&self) -> Map<String, Value> {
        let facts = json!({
            "video.height": self.height,
            "video.width": self.width,
            "video.codec": self.encoder.codec_name(),
            "video.pix_fmt": self.pix_fmt.name(),
            "video.fps": self.fps,
            "video.channels": 3,
            "has_audio": false,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.preset": null,
            "video.fast_decode": 0,
            // Names LeRobot's own encoding backend; it accepts no other value.
            "video.video_backend": "pyav",
            "video.extra_options": {},
            "is_depth_map": false,
        });
        facts.as_object().cloned().unwrap_or_default()
    }
}

/// The encoder of a recording, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The encoder.
    pub encoder: Encoder,
    /// Those that stand before it in the order, and why they were not taken. Empty if one was asked
    /// for by name and is the first of its kind.
    pub passed_over: Vec<(Encoder, String)>,
    /// How many times faster than the cameras it was when it was tried; `None` if it was not.
    pub speed: Option<f64>,
}

/// LeRobot's 12-bit code of every distance from 0 to 65535 mm, with its default parameters.
pub fn depth_codes() -> Vec<u16> {
    depth::DepthCode::default().codes()
}

/// A finished video file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedVideo {
    /// Frames in the file, counted in its index.
    pub frames: u64,
    /// Size, bytes.
    pub bytes: u64,
}

/// One decoded RGB picture: rows top to bottom without padding, and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// When it is shown, ns from the start.
    pub pts_ns: u64,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// `3 * width * height` bytes.
    pub rgb: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timescale_holds_every_frame_time_exactly() {
        for fps in [1, 10, 15, 20, 24, 25, 30, 50, 60, 90, 100, 1000] {
            let ticks = VideoSpec::recording(320, 240, fps, Encoder::X264).timescale();
            assert!(ticks.is_multiple_of(fps) && ticks >= 10_000);
        }
        assert_eq!(
            VideoSpec::recording(320, 240, 30, Encoder::X264).timescale(),
            15360
        );
    }
}
