//! MP4 → RGB pictures, in order.

use super::Picture;
use super::encode::{describe, start_gstreamer};
use super::samples::Track;
use crate::error::{Error, Result};
use crate::files::{Files, LocalFiles};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use std::path::{Path, PathBuf};

/// Pictures decoded ahead.
const AHEAD: u32 = 4;
/// A decoder that gives nothing for this long is stuck, s.
const STUCK_AFTER_S: u64 = 30;
/// Larger pictures are refused, pixels on a side.
const SIDE_LIMIT: u32 = 8192;

/// Reads one video file from its start.
#[derive(Debug)]
pub struct VideoReader {
    path: PathBuf,
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

/// Refuses H.265 without colours: GStreamer has no format for 12-bit grey, which is how depth is
/// kept, and its FFmpeg plug-in ends the process over it. What has no index it refuses itself.
fn refuse_grey(path: &Path) -> Result<()> {
    let root = path.parent().unwrap_or(Path::new(""));
    let file = LocalFiles::new(root).open(Path::new(path.file_name().unwrap_or_default()));
    let track = file.map(|file| Track::read(path, &*file));
    let Ok(Ok(track)) = track else {
        return Ok(());
    };
    // Chroma format of the decoder's configuration, ISO/IEC 14496-15, section 8.3.3.1.
    let colours = track.config.get(16).is_none_or(|chroma| chroma & 3 != 0);
    if colours || !matches!(track.codec.as_str(), "hvc1" | "hev1") {
        return Ok(());
    }
    Err(Error::video(
        path,
        "no decoder in GStreamer for H.265 without colours, as depth is kept; read it with `Reader`",
    ))
}

impl VideoReader {
    /// Opens a video file.
    pub fn open(path: &Path) -> Result<Self> {
        start_gstreamer(path)?;
        std::fs::File::open(path).map_err(Error::io("open", path))?;
        refuse_grey(path)?;
        let failed = |problem: String| Error::video(path, problem);
        let launch = format!(
            "filesrc name=file ! decodebin ! videoconvert ! video/x-raw,format=RGB ! appsink name=out sync=false max-buffers={AHEAD}"
        );
        let pipeline = gst::parse::launch(&launch)
            .map_err(|e| {
                failed(format!(
                    "no decoder: {e}; install gstreamer1.0-plugins-good and gstreamer1.0-libav"
                ))
            })?
            .downcast::<gst::Pipeline>()
            .map_err(|_| failed("no decoder".into()))?;
        let file = pipeline
            .by_name("file")
            .ok_or_else(|| failed("no decoder".into()))?;
        file.set_property("location", path.to_string_lossy().as_ref());
        let sink = pipeline
            .by_name("out")
            .and_then(|e| e.downcast::<gst_app::AppSink>().ok());
        let sink = sink.ok_or_else(|| failed("no decoder".into()))?;
        let reader = Self {
            path: path.to_owned(),
            pipeline,
            sink,
        };
        reader
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| reader.problem().unwrap_or_else(|| failed(e.to_string())))?;
        Ok(reader)
    }

    /// The next picture; `None` after the last.
    pub fn next_picture(&mut self) -> Result<Option<Picture>> {
        let slice = gst::ClockTime::from_mseconds(100);
        for _ in 0..STUCK_AFTER_S * 10 {
            if let Some(sample) = self.sink.try_pull_sample(slice) {
                return self.picture(&sample).map(Some);
            }
            if let Some(problem) = self.problem() {
                return Err(problem);
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
        }
        Err(Error::video(
            &self.path,
            format!("the decoder gave nothing for {STUCK_AFTER_S} s"),
        ))
    }

    fn picture(&self, sample: &gst::Sample) -> Result<Picture> {
        let failed = |what: &str| Error::video(&self.path, what);
        let buffer = sample
            .buffer()
            .ok_or_else(|| failed("the decoder gave an empty picture"))?;
        let caps = sample
            .caps()
            .ok_or_else(|| failed("the decoder gave a picture without a format"))?;
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|e| failed(&e.to_string()))?;
        if info.width() > SIDE_LIMIT || info.height() > SIDE_LIMIT {
            return Err(failed(&format!(
                "pictures of {}×{} are too large",
                info.width(),
                info.height()
            )));
        }
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)
            .map_err(|e| failed(&e.to_string()))?;
        let stride = frame.plane_stride().first().copied().unwrap_or(0) as usize;
        let data = frame.plane_data(0).map_err(|e| failed(&e.to_string()))?;
        let row_bytes = 3 * info.width() as usize;
        let mut rgb = Vec::with_capacity(row_bytes * info.height() as usize);
        for row in data.chunks(stride.max(1)).take(info.height() as usize) {
            rgb.extend_from_slice(
                row.get(..row_bytes)
                    .ok_or_else(|| failed("the decoder gave a short picture"))?,
            );
        }
        let pts_ns = buffer.pts().map_or(0, gst::ClockTime::nseconds);
        Ok(Picture {
            pts_ns,
            width: info.width(),
            height: info.height(),
            rgb,
        })
    }

    fn problem(&self) -> Option<Error> {
        let message = self
            .pipeline
            .bus()?
            .pop_filtered(&[gst::MessageType::Error])?;
        Some(Error::video(&self.path, describe(&message)))
    }
}

impl Drop for VideoReader {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
