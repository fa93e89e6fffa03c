//! Which encoder a recording gets: the first in the order that works here and keeps up.
//!
//! Keeping up is measured, with noise of the cameras' size in all cameras at once, because a slow
//! encoder costs rows while recording and time while saving.

use super::encode::{PacketEncoder, is_installed, start_gstreamer, wanted};
use super::{Choice, Encoder, Quality, VideoSpec};
use crate::error::{Error, Result};
use crate::journal::{Packet, StreamHead, TakePackets};
use crate::spec::{CameraSpec, Codec};
use gstreamer as gst;
use gstreamer::prelude::*;
use sinew_runtime::frame::Frame;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An encoder must be this many times faster than the cameras: the loop needs the processor too.
const MARGIN: f64 = 1.5;
/// Frames of each camera before the measurement.
const WARM_UP: u64 = 3;
/// Frames of each camera in the measurement; with the warm-up they fit into an encoder's queue.
const MEASURED: std::ops::RangeInclusive<u64> = 8..=24;
/// Time that an encoder may take to give its first packet.
const START_LIMIT: Duration = Duration::from_secs(3);

/// The encoder for these colour cameras.
///
/// By name of a codec it is the first that works. With [`Codec::Auto`] it must also be 1.5 times
/// faster than the cameras; when none is, the fastest is taken.
///
/// # Errors
/// [`Error::NoEncoder`] if none is installed or none works; [`Error::Spec`] for impossible quality.
pub fn choose(codec: Codec, cameras: &[&CameraSpec], fps: u32, quality: Quality) -> Result<Choice> {
    quality.check()?;
    start_gstreamer(Path::new(""))?;
    let mut passed_over = Vec::new();
    let mut slow: Option<(Encoder, f64)> = None;
    for encoder in Encoder::candidates(codec).filter(|e| is_installed(*e)) {
        if !encoder.takes(quality.pix_fmt) {
            let reason = format!("cannot keep colours as {}", quality.pix_fmt.name());
            passed_over.push((encoder, reason));
            continue;
        }
        if codec != Codec::Auto && !encoder.is_hardware() {
            return Ok(Choice {
                encoder,
                passed_over,
                speed: None,
            });
        }
        match speed(encoder, cameras, fps, quality) {
            Ok(speed) if speed >= MARGIN || codec != Codec::Auto => {
                return Ok(Choice {
                    encoder,
                    passed_over,
                    speed: Some(speed),
                });
            }
            Ok(speed) => {
                passed_over.push((encoder, format!("{speed:.1} times as fast as the cameras")));
                if slow.is_none_or(|(_, fastest)| speed > fastest) {
                    slow = Some((encoder, speed));
                }
            }
            Err(reason) => passed_over.push((encoder, reason)),
        }
    }
    let Some((encoder, speed)) = slow else {
        if let Some((encoder, reason)) = passed_over.last() {
            return Err(Error::spec(format!("{encoder}: {reason}")));
        }
        return Err(Error::NoEncoder {
            wanted: wanted(codec),
        });
    };
    passed_over.retain(|(other, _)| *other != encoder);
    Ok(Choice {
        encoder,
        passed_over,
        speed: Some(speed),
    })
}

/// How many times faster than the cameras an encoder is with all of them, or why it does not work.
fn speed(
    encoder: Encoder,
    cameras: &[&CameraSpec],
    fps: u32,
    quality: Quality,
) -> std::result::Result<f64, String> {
    if encoder.is_hardware() {
        ready(encoder)?;
    }
    let mut trials = cameras
        .iter()
        .map(|camera| Trial::start(encoder, camera, fps, quality))
        .collect::<Result<Vec<_>>>()
        .map_err(|e| e.to_string())?;
    push(&mut trials, WARM_UP)?;
    // Encoders may hold some frames back; the rest of them must come out by the end.
    wait(&trials, 1, START_LIMIT);
    if trials.iter().any(|trial| trial.given() == 0) {
        return Err("gave no picture".into());
    }
    let frames = u64::from(fps / 2).clamp(*MEASURED.start(), *MEASURED.end());
    let before: u64 = trials.iter().map(Trial::given).sum();
    let needed = Duration::from_secs_f64(frames as f64 / f64::from(fps));
    let start = Instant::now();
    push(&mut trials, frames)?;
    wait(&trials, frames, needed.mul_f64(1.5));
    let elapsed = start.elapsed().as_secs_f64();
    let given: u64 = trials.iter().map(Trial::given).sum::<u64>() - before;
    let each = given as f64 / trials.len().max(1) as f64;
    Ok(each / f64::from(fps) / elapsed.max(1e-6))
}

/// Whether the element finds its device.
fn ready(encoder: Encoder) -> std::result::Result<(), String> {
    let element = gst::ElementFactory::make(encoder.element())
        .build()
        .map_err(|e| e.to_string())?;
    let reached = element.set_state(gst::State::Ready);
    let _ = element.set_state(gst::State::Null);
    reached.map(|_| ()).map_err(|_| "finds no device".into())
}

fn push(trials: &mut [Trial], frames: u64) -> std::result::Result<(), String> {
    for number in 0..frames {
        for trial in trials.iter_mut() {
            let frame = trial.noise[number as usize % trial.noise.len()].clone();
            trial.encoder.push(frame).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// Waits until every camera has given this many packets, or for `limit`.
fn wait(trials: &[Trial], packets: u64, limit: Duration) {
    let start = Instant::now();
    while start.elapsed() < limit && trials.iter().any(|trial| trial.given() < packets) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One camera's encoder at work.
struct Trial {
    encoder: PacketEncoder,
    noise: Vec<Arc<Frame>>,
    packets: Counter,
}

impl Trial {
    fn start(encoder: Encoder, camera: &CameraSpec, fps: u32, quality: Quality) -> Result<Self> {
        let packets = Counter::default();
        let spec = VideoSpec::recording(camera.width, camera.height, fps, encoder).with(quality);
        Ok(Self {
            encoder: PacketEncoder::start(Path::new(encoder.element()), spec, packets.clone())?,
            noise: (1..=2).map(|seed| Arc::new(noise(camera, seed))).collect(),
            packets,
        })
    }

    fn given(&self) -> u64 {
        self.packets.0.load(Ordering::Acquire)
    }
}

/// Counts packets and forgets them.
#[derive(Debug, Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl TakePackets for Counter {
    fn head(&self, _head: StreamHead) -> bool {
        true
    }

    fn packet(&self, _packet: Packet) -> bool {
        self.0.fetch_add(1, Ordering::Release);
        true
    }
}

/// A picture of noise (xorshift): the hardest there is for an encoder.
fn noise(camera: &CameraSpec, seed: u64) -> Frame {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = 3 * camera.width as usize * camera.height as usize;
    let mut data = Vec::with_capacity(bytes + 8);
    while data.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend(state.to_le_bytes());
    }
    data.truncate(bytes);
    Frame::new(camera.width, camera.height, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_codecs_get_the_first_that_works_and_auto_says_how_fast_it_is() {
        let camera = CameraSpec::rgb("front", 96, 64);
        let choose = |codec, quality| choose(codec, &[&camera], 10, quality);
        let h264 = choose(Codec::H264, Quality::default()).unwrap();
        assert_eq!((h264.encoder.codec_name(), h264.speed), ("h264", None));
        let auto = choose(Codec::Auto, Quality::default()).unwrap();
        assert!(auto.speed.is_some_and(|speed| speed > 0.0), "{auto:?}");
        assert!(auto.passed_over.iter().all(|(e, _)| *e != auto.encoder));
    }

    #[test]
    fn no_camera_is_too_fast_to_get_an_encoder() {
        // Nothing encodes this in time, so the fastest is taken and said to be slow.
        let camera = CameraSpec::rgb("front", 1920, 1080);
        let choice = choose(Codec::Auto, &[&camera; 4], 1000, Quality::default()).unwrap();
        assert!(
            choice.speed.is_some_and(|speed| speed < MARGIN),
            "{choice:?}"
        );
        assert!(!choice.passed_over.is_empty());
    }

    #[test]
    fn full_colours_are_left_to_encoders_that_have_them() {
        let camera = CameraSpec::rgb("front", 96, 64);
        let quality = Quality {
            pix_fmt: super::super::PixFmt::Yuv444p,
            ..Quality::default()
        };
        let choice = choose(Codec::H264, &[&camera], 10, quality).unwrap();
        assert_eq!(choice.encoder, Encoder::X264);
        let refused = choose(Codec::Av1, &[&camera], 10, quality).unwrap_err();
        assert!(refused.to_string().contains("yuv444p"), "{refused}");
    }
}
