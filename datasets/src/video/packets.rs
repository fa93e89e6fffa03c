//! Encoded packets from a pipeline to the journal, each checked to be that of the frame whose turn
//! it is.

use super::VideoSpec;
use super::encode::{Built, broken};
use crate::journal::{Packet, StreamHead, TakePackets, av1_config};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// The end of a pipeline that gives packets away.
pub(super) fn packet_sink(spec: VideoSpec, sink: impl TakePackets) -> Built<Vec<gst::Element>> {
    let caps = match spec.encoder.codec_name() {
        "av1" => "video/x-av1,stream-format=obu-stream,alignment=tu",
        "hevc" => "video/x-h265,stream-format=hvc1,alignment=au",
        _ => "video/x-h264,stream-format=avc,alignment=au",
    };
    let caps = caps.parse::<gst::Caps>().map_err(broken)?;
    let mut packets = Packets {
        spec,
        sink,
        given: 0,
    };
    let end = gst_app::AppSink::builder()
        .caps(&caps)
        .sync(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |end| {
                    let sample = end.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let taken = packets.take(&sample).map_err(|problem| {
                        // The bus carries the words to whoever pushes or ends the stream.
                        gst::element_error!(end, gst::StreamError::Encode, ("{}", problem));
                        gst::FlowError::Error
                    });
                    taken.map(|()| gst::FlowSuccess::Ok)
                })
                .build(),
        )
        .build();
    Ok(vec![end.upcast()])
}

/// Encoded samples on their way to the journal.
struct Packets<S> {
    spec: VideoSpec,
    sink: S,
    given: u64,
}

impl<S: TakePackets> Packets<S> {
    fn take(&mut self, sample: &gst::Sample) -> std::result::Result<(), String> {
        let buffer = sample.buffer().ok_or("the encoder gave an empty packet")?;
        self.check_place(sample, buffer)?;
        let map = buffer.map_readable().map_err(|e| e.to_string())?;
        let mut bytes = map.as_slice();
        if self.spec.encoder.codec_name() == "av1" {
            // Temporal delimiters do not belong into MP4 files.
            bytes = bytes.strip_prefix(&[0x12, 0x00]).unwrap_or(bytes);
        }
        let closed = || "the journal takes no more packets".to_owned();
        if self.given == 0 && !self.sink.head(stream_head(self.spec, sample, bytes)?) {
            return Err(closed());
        }
        let packet = Packet {
            number: self.given,
            bytes: bytes.to_vec(),
            key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        };
        self.given += 1;
        self.sink.packet(packet).then_some(()).ok_or_else(closed)
    }

    /// A packet must be that of the frame whose turn it is; else rows and pictures would shift.
    fn check_place(
        &self,
        sample: &gst::Sample,
        buffer: &gst::BufferRef,
    ) -> std::result::Result<(), String> {
        let segment = sample
            .segment()
            .and_then(|s| s.downcast_ref::<gst::ClockTime>());
        let shown = segment
            .and_then(|segment| segment.to_running_time(buffer.pts()))
            .ok_or("the encoder gave a packet without a time")?;
        let second = gst::ClockTime::SECOND.nseconds();
        let frame = (shown.nseconds() * u64::from(self.spec.fps) + second / 2) / second;
        if frame == self.given {
            Ok(())
        } else {
            Err(format!(
                "the encoder gave frame {frame} where {} should follow",
                self.given
            ))
        }
    }
}

fn stream_head(
    spec: VideoSpec,
    sample: &gst::Sample,
    first: &[u8],
) -> std::result::Result<StreamHead, String> {
    let caps = sample.caps().and_then(|caps| caps.structure(0));
    let caps = caps.ok_or("the encoder gave no format")?;
    let stated = caps
        .get::<gst::Buffer>("codec_data")
        .ok()
        .and_then(|data| data.map_readable().ok().map(|map| map.to_vec()));
    let (codec, config) = match spec.encoder.codec_name() {
        "av1" => ("av01", stated.or_else(|| av1_config(first))),
        "hevc" => ("hvc1", stated),
        _ => ("avc1", stated),
    };
    let side = |side: u32| u16::try_from(side).map_err(|e| e.to_string());
    Ok(StreamHead {
        codec: codec.into(),
        config: config.ok_or("the encoder gave no decoder configuration")?,
        width: side(spec.width)?,
        height: side(spec.height)?,
        timescale: spec.timescale(),
        ticks: spec.timescale() / spec.fps.max(1),
        colour: colour_codes(caps),
    })
}

/// The stream's colours as numbers of ISO/IEC 23091-2. Of others than GStreamer's two defaults, for
/// small and for large pictures, the encoded stream itself informs decoders.
fn colour_codes(caps: &gst::StructureRef) -> Option<(u16, u16, u16, bool)> {
    match caps.get::<&str>("colorimetry").ok()? {
        "bt601" => Some((6, 6, 6, false)),
        "bt709" => Some((1, 1, 1, false)),
        _ => None,
    }
}
