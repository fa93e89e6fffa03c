//! Frames → appsrc → I420 → encoder → MP4 or packets, one pipeline a camera.
//!
//! GStreamer gives each appsrc a thread of its own, which encodes. The queue before it is bounded:
//! pushing waits when it is full, so a slow encoder slows the recorder's thread down and loses
//! nothing.

use super::packets::packet_sink;
use super::{Encoder, FinishedVideo, VideoSpec};
use crate::error::{Error, Result};
use crate::journal::TakePackets;
use crate::spec::Codec;
use crate::{fsio, mp4};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use sinew_runtime::frame::Frame;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Frames that may wait for a camera's encoder.
const QUEUE_FRAMES: u64 = 32;
/// How often a full queue is looked at again, ms.
const POLL_MS: u64 = 1;
/// An encoder that makes no progress for this long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The installed encoder for work that has time: the first in software, H.264 before AV1 for
/// [`Codec::Auto`], so that the film plays everywhere.
pub fn pick_encoder(codec: Codec) -> Result<Encoder> {
    start_gstreamer(Path::new(""))?;
    let order = match codec {
        Codec::Auto => [Codec::H264, Codec::Av1].as_slice(),
        ref named => std::slice::from_ref(named),
    };
    let candidates = order.iter().flat_map(|codec| Encoder::candidates(*codec));
    candidates
        .filter(|encoder| !encoder.is_hardware())
        .find(|encoder| is_installed(*encoder))
        .ok_or(Error::NoEncoder {
            wanted: wanted(codec),
        })
}

/// A codec's name in messages.
pub(super) fn wanted(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H.264",
        Codec::Hevc => "H.265",
        Codec::Av1 => "AV1",
        Codec::Auto => "H.264 or AV1",
    }
}

/// Whether there is such an element.
pub(super) fn is_installed(encoder: Encoder) -> bool {
    gst::ElementFactory::find(encoder.element()).is_some()
}

pub(super) fn start_gstreamer(path: &Path) -> Result<()> {
    gst::init().map_err(|e| Error::video(path, format!("GStreamer does not start: {e}")))
}

/// A frame's pixels as GStreamer memory, without a copy.
struct Pixels(Arc<Frame>);

impl AsRef<[u8]> for Pixels {
    fn as_ref(&self) -> &[u8] {
        &self.0.data
    }
}

/// Writes one MP4 file.
#[derive(Debug)]
pub struct VideoWriter(Feed);

impl VideoWriter {
    /// Starts an encoder that writes to `path`.
    pub fn create(path: &Path, spec: VideoSpec) -> Result<Self> {
        let end = || Ok(vec![muxer(path, spec)?, file_sink(path)?]);
        Feed::start(path, spec, end).map(Self)
    }

    /// Queues the next frame. Waits while the queue is full.
    pub fn push(&mut self, frame: Arc<Frame>) -> Result<()> {
        self.0.push(frame)
    }

    /// Encodes what is queued, closes and flushes the file, and counts its frames.
    pub fn finish(self) -> Result<FinishedVideo> {
        let Self(feed) = self;
        feed.end()?;
        fsio::sync_file(&feed.path)?;
        let info = mp4::probe(&feed.path)?;
        if !info.is_constant_rate(feed.spec.fps) {
            return Err(Error::video(
                &feed.path,
                "frame times are not constant; the muxer is faulty",
            ));
        }
        let bytes = std::fs::metadata(&feed.path)
            .map_err(Error::io("look at", &feed.path))?
            .len();
        Ok(FinishedVideo {
            frames: info.frames,
            bytes,
        })
    }
}

/// Gives one camera's encoded frames to the journal.
#[derive(Debug)]
pub(crate) struct PacketEncoder(Feed);

impl PacketEncoder {
    /// Starts an encoder; `path` is where the journal puts its packets, for messages.
    pub(crate) fn start(path: &Path, spec: VideoSpec, sink: impl TakePackets) -> Result<Self> {
        let end = || packet_sink(spec, sink);
        Feed::start(path, spec, end).map(Self)
    }

    /// Queues the next frame. Waits while the queue is full.
    pub(crate) fn push(&mut self, frame: Arc<Frame>) -> Result<()> {
        self.0.push(frame)
    }

    /// Makes the encoder fail as a lost device does.
    #[cfg(test)]
    pub(crate) fn break_down(&self) {
        gst::element_error!(
            self.0.source,
            gst::StreamError::Encode,
            ("broken by a test")
        );
        let _ = self.0.pipeline.set_state(gst::State::Null);
    }

    /// Encodes what is queued; when this returns, the journal has been given all packets.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.end()
    }
}

/// Frames on their way into an encoder.
#[derive(Debug)]
struct Feed {
    path: PathBuf,
    spec: VideoSpec,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    bus: gst::Bus,
    pushed: u64,
    /// Frames that the encoder's thread took out of the queue.
    taken: Arc<AtomicU64>,
}

impl Feed {
    /// Starts a pipeline that ends with the elements of `end`.
    fn start(
        path: &Path,
        spec: VideoSpec,
        end: impl FnOnce() -> std::result::Result<Vec<gst::Element>, gst::glib::Error>,
    ) -> Result<Self> {
        start_gstreamer(path)?;
        let failed =
            |what: &str, e: &dyn std::fmt::Display| Error::video(path, format!("{what}: {e}"));
        let (source, pipeline) =
            build(spec, end).map_err(|e| failed("the encoder does not start", &e))?;
        let taken = Arc::new(AtomicU64::new(0));
        let counter = taken.clone();
        if let Some(pad) = source.static_pad("src") {
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                counter.fetch_add(1, Ordering::Release);
                gst::PadProbeReturn::Ok
            });
        }
        let bus = pipeline
            .bus()
            .ok_or_else(|| failed("the encoder does not start", &"no message bus"))?;
        let writer = Self {
            path: path.to_owned(),
            spec,
            pipeline,
            source,
            bus,
            pushed: 0,
            taken,
        };
        writer
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| {
                writer
                    .problem()
                    .unwrap_or_else(|| failed("the encoder does not start", &e))
            })?;
        Ok(writer)
    }

    fn push(&mut self, frame: Arc<Frame>) -> Result<()> {
        let (width, height) = (self.spec.width, self.spec.height);
        if frame.width != width
            || frame.height != height
            || frame.data.len() != 3 * width as usize * height as usize
        {
            return Err(Error::video(
                &self.path,
                format!(
                    "frame {} is {}×{} ({} bytes) instead of {width}×{height} RGB",
                    self.pushed,
                    frame.width,
                    frame.height,
                    frame.data.len()
                ),
            ));
        }
        self.wait_for_room()?;
        let buffer = self
            .buffer(frame)
            .map_err(|e| Error::video(&self.path, e.to_string()))?;
        let pushed = self.source.push_buffer(buffer);
        pushed.map_err(|e| {
            self.problem().unwrap_or_else(|| {
                Error::video(&self.path, format!("the encoder takes no frame: {e}"))
            })
        })?;
        self.pushed += 1;
        Ok(())
    }

    /// Encodes what is queued and stops the pipeline.
    fn end(&self) -> Result<()> {
        let ended = self.source.end_of_stream();
        ended.map_err(|e| {
            self.problem()
                .unwrap_or_else(|| Error::video(&self.path, e.to_string()))
        })?;
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let limit = gst::ClockTime::from_seconds(STUCK_AFTER.as_secs());
        match self.bus.timed_pop_filtered(limit, &wanted) {
            Some(message) if message.type_() == gst::MessageType::Eos => {}
            Some(message) => return Err(self.described(&message)),
            None => return Err(self.stuck()),
        }
        let stopped = self.pipeline.set_state(gst::State::Null);
        stopped
            .map(|_| ())
            .map_err(|e| Error::video(&self.path, e.to_string()))
    }

    fn wait_for_room(&self) -> Result<()> {
        let mut seen = self.taken.load(Ordering::Acquire);
        let mut since = Instant::now();
        while self.pushed - seen >= QUEUE_FRAMES {
            // Waiting on the bus is a pause that ends at once when the encoder fails.
            let pause = gst::ClockTime::from_mseconds(POLL_MS);
            if let Some(message) = self
                .bus
                .timed_pop_filtered(pause, &[gst::MessageType::Error])
            {
                return Err(self.described(&message));
            }
            let now = self.taken.load(Ordering::Acquire);
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > STUCK_AFTER {
                return Err(self.stuck());
            }
        }
        Ok(())
    }

    /// The frame as a buffer with its exact time: frame i is shown at i/fps.
    fn buffer(&self, frame: Arc<Frame>) -> std::result::Result<gst::Buffer, gst::glib::BoolError> {
        let (width, height) = (frame.width, frame.height);
        let time_of =
            |i: u64| gst::ClockTime::from_nseconds(i * 1_000_000_000 / u64::from(self.spec.fps));
        let mut buffer = gst::Buffer::from_slice(Pixels(frame));
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(time_of(self.pushed));
            buffer.set_duration(time_of(self.pushed + 1) - time_of(self.pushed));
            // Our rows have no padding; GStreamer's default would round them up to 4 bytes.
            let stride = [3 * width as i32];
            let flags = gst_video::VideoFrameFlags::empty();
            gst_video::VideoMeta::add_full(
                buffer,
                flags,
                gst_video::VideoFormat::Rgb,
                width,
                height,
                &[0],
                &stride,
            )?;
        }
        Ok(buffer)
    }

    fn stuck(&self) -> Error {
        Error::video(
            &self.path,
            format!(
                "the encoder made no progress for {} s",
                STUCK_AFTER.as_secs()
            ),
        )
    }

    /// The error that the pipeline reported, if it did.
    fn problem(&self) -> Option<Error> {
        self.bus
            .pop_filtered(&[gst::MessageType::Error])
            .map(|message| self.described(&message))
    }

    fn described(&self, message: &gst::Message) -> Error {
        Error::video(&self.path, describe(message))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Stops the encoder's thread; without this GStreamer complains and leaks it.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A pipeline's error message in words.
pub(super) fn describe(message: &gst::Message) -> String {
    match message.view() {
        gst::MessageView::Error(error) => {
            let element = error
                .src()
                .map(|s| s.name().to_string())
                .unwrap_or_default();
            format!(
                "{element}: {} ({})",
                error.error(),
                error.debug().unwrap_or_default()
            )
        }
        _ => "stopped without a reason".into(),
    }
}

pub(super) type Built<T> = std::result::Result<T, gst::glib::Error>;

pub(super) fn broken(e: impl std::fmt::Display) -> gst::glib::Error {
    gst::glib::Error::new(gst::CoreError::Failed, &e.to_string())
}

fn build(
    spec: VideoSpec,
    end: impl FnOnce() -> Built<Vec<gst::Element>>,
) -> Built<(gst_app::AppSrc, gst::Pipeline)> {
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, spec.width, spec.height)
        .fps(gst::Fraction::new(spec.fps as i32, 1))
        .build()
        .map_err(broken)?;
    let caps = info.to_caps().map_err(broken)?;
    let source = gst_app::AppSrc::builder()
        .caps(&caps)
        .format(gst::Format::Time)
        .build();
    let chain = spec.encoder.launch(spec.quality());
    let encoder = gst::parse::bin_from_description(&chain, true)?;
    let pipeline = gst::Pipeline::new();
    let mut elements: Vec<gst::Element> = vec![source.clone().upcast(), encoder.upcast()];
    elements.extend(end()?);
    pipeline.add_many(&elements).map_err(broken)?;
    gst::Element::link_many(&elements).map_err(broken)?;
    Ok((source, pipeline))
}

fn muxer(path: &Path, spec: VideoSpec) -> Built<gst::Element> {
    gst::ElementFactory::make("mp4mux")
        .property("faststart", true)
        // Beside the target: the default is a shared temporary folder that may be small.
        .property(
            "faststart-file",
            path.with_extension("mdat").to_string_lossy().as_ref(),
        )
        .property("trak-timescale", spec.timescale())
        .property("movie-timescale", spec.timescale())
        .build()
        .map_err(broken)
}

fn file_sink(path: &Path) -> Built<gst::Element> {
    gst::ElementFactory::make("filesink")
        .property("location", path.to_string_lossy().as_ref())
        .property("sync", false)
        .build()
        .map_err(broken)
}
