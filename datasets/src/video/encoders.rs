//! The encoders that a recording may use, best first, and their settings.

use crate::error::{Error, Result};
use crate::spec::Codec;
use serde::Serialize;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// How colours are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum PixFmt {
    /// One colour value for each 2×2 pixels: LeRobot's default, known to every decoder.
    #[default]
    Yuv420p,
    /// A colour value for every pixel. x264 and x265 only.
    Yuv444p,
}

impl PixFmt {
    /// FFmpeg's name, which LeRobot keeps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yuv420p => "yuv420p",
            Self::Yuv444p => "yuv444p",
        }
    }
}

impl FromStr for PixFmt {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        [Self::Yuv420p, Self::Yuv444p]
            .into_iter()
            .find(|f| f.name() == name)
            .ok_or_else(|| format!("`{name}` is no pixel format; use yuv420p or yuv444p"))
    }
}

/// How well to encode. The default is LeRobot's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quality {
    /// Frames from one key frame to the next.
    pub gop: u32,
    /// Constant quality; higher is coarser.
    pub crf: u32,
    /// How colours are kept.
    pub pix_fmt: PixFmt,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            gop: super::RECORDING_GOP,
            crf: super::RECORDING_CRF,
            pix_fmt: PixFmt::default(),
        }
    }
}

impl Quality {
    /// Checks that encoders take it.
    pub fn check(&self) -> Result<()> {
        if self.gop == 0 || self.gop > 10_000 || self.crf > 63 {
            return Err(Error::spec(format!(
                "key frames every {} frames and quality {} are not possible; they must be 1 to 10000 and 0 to 63",
                self.gop, self.crf
            )));
        }
        Ok(())
    }
}

/// An encoder that may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Encoder {
    /// x264.
    #[default]
    X264,
    /// Cisco's OpenH264.
    OpenH264,
    /// x265.
    X265,
    /// SVT-AV1.
    SvtAv1,
    /// libaom in real-time mode.
    Aom,
    /// H.264 on an NVIDIA card.
    NvH264,
    /// H.264 through VA-API.
    VaH264,
    /// H.264 through VA-API, by GStreamer's older plug-in.
    VaapiH264,
    /// H.264 by Intel Quick Sync.
    QsvH264,
    /// H.264 by a V4L2 device, as on boards.
    V4l2H264,
    /// H.265 on an NVIDIA card.
    NvH265,
    /// H.265 through VA-API.
    VaH265,
    /// AV1 on an NVIDIA card.
    NvAv1,
    /// AV1 through VA-API.
    VaAv1,
    /// AV1 by Intel Quick Sync.
    QsvAv1,
}

/// What there is to know about an encoder.
struct Facts {
    encoder: Encoder,
    /// GStreamer's element.
    element: &'static str,
    codec: Codec,
    hardware: bool,
    /// Name for people.
    name: &'static str,
}

/// In the order in which they are tried: hardware (H.264 first, as LeRobot does), AV1, H.264. H.265
/// in software is only used by name.
const ENCODERS: [Facts; 15] = {
    const fn facts(
        encoder: Encoder,
        element: &'static str,
        codec: Codec,
        hardware: bool,
        name: &'static str,
    ) -> Facts {
        Facts {
            encoder,
            element,
            codec,
            hardware,
            name,
        }
    }
    use Codec::{Av1, H264, Hevc};
    [
        facts(Encoder::NvH264, "nvh264enc", H264, true, "NVIDIA H.264"),
        facts(Encoder::VaH264, "vah264enc", H264, true, "VA-API H.264"),
        facts(
            Encoder::VaapiH264,
            "vaapih264enc",
            H264,
            true,
            "VA-API H.264 (old)",
        ),
        facts(
            Encoder::QsvH264,
            "qsvh264enc",
            H264,
            true,
            "Quick Sync H.264",
        ),
        facts(Encoder::V4l2H264, "v4l2h264enc", H264, true, "V4L2 H.264"),
        facts(Encoder::NvAv1, "nvav1enc", Av1, true, "NVIDIA AV1"),
        facts(Encoder::VaAv1, "vaav1enc", Av1, true, "VA-API AV1"),
        facts(Encoder::QsvAv1, "qsvav1enc", Av1, true, "Quick Sync AV1"),
        facts(Encoder::NvH265, "nvh265enc", Hevc, true, "NVIDIA H.265"),
        facts(Encoder::VaH265, "vah265enc", Hevc, true, "VA-API H.265"),
        facts(Encoder::SvtAv1, "svtav1enc", Av1, false, "SVT-AV1"),
        facts(Encoder::Aom, "av1enc", Av1, false, "libaom AV1"),
        facts(Encoder::X264, "x264enc", H264, false, "x264 H.264"),
        facts(Encoder::OpenH264, "openh264enc", H264, false, "OpenH264"),
        facts(Encoder::X265, "x265enc", Hevc, false, "x265 H.265"),
    ]
};

impl Encoder {
    /// Those that may be tried for `codec`, best first.
    #[cfg(any(feature = "gstreamer", test))]
    pub(crate) fn candidates(codec: Codec) -> impl Iterator<Item = Self> {
        let fits = move |facts: &&Facts| match codec {
            Codec::Auto => facts.codec != Codec::Hevc || facts.hardware,
            named => facts.codec == named,
        };
        ENCODERS.iter().filter(fits).map(|facts| facts.encoder)
    }

    fn facts(self) -> &'static Facts {
        let known = ENCODERS.iter().find(|facts| facts.encoder == self);
        known.unwrap_or(&ENCODERS[0])
    }

    /// The codec's name in `info.json`.
    pub fn codec_name(self) -> &'static str {
        match self.facts().codec {
            Codec::Av1 => "av1",
            Codec::Hevc => "hevc",
            Codec::H264 | Codec::Auto => "h264",
        }
    }

    /// The GStreamer element that encodes.
    pub fn element(self) -> &'static str {
        self.facts().element
    }

    /// Whether a device encodes instead of the processor.
    pub fn is_hardware(self) -> bool {
        self.facts().hardware
    }

    /// Whether it can keep colours so.
    #[cfg(feature = "gstreamer")]
    pub(crate) fn takes(self, pix_fmt: PixFmt) -> bool {
        pix_fmt == PixFmt::Yuv420p || matches!(self, Self::X264 | Self::X265)
    }

    /// The encoder's part of a pipeline, from raw video to parsed packets. One thread each: cameras
    /// run side by side, and the control loop needs the other cores. No B-frames and no lookahead, so
    /// that order and times are simple.
    #[cfg(feature = "gstreamer")]
    pub(super) fn launch(self, quality: Quality) -> String {
        let Quality { gop, crf, pix_fmt } = quality;
        // H.264 and H.265 count quality to 51, AV1 encoders in hardware to 255.
        let (qp, index) = (crf.min(51), (crf * 4).min(255));
        let format = match (pix_fmt, self.is_hardware()) {
            (PixFmt::Yuv444p, _) => "Y444",
            (PixFmt::Yuv420p, false) => "I420",
            (PixFmt::Yuv420p, true) => "NV12",
        };
        let element = self.element();
        let settings = match self {
            Self::X264 => format!(
                "pass=qual quantizer={qp} key-int-max={gop} bframes=0 rc-lookahead=0 speed-preset=veryfast threads=1 option-string=scenecut=0"
            ),
            Self::OpenH264 => format!(
                "rate-control=off qp-min={qp} qp-max={qp} gop-size={gop} complexity=low multi-thread=1"
            ),
            Self::X265 => format!(
                "key-int-max={gop} speed-preset=ultrafast tune=zerolatency option-string=crf={qp}:bframes=0:scenecut=0:pools=none:frame-threads=1:log-level=none"
            ),
            Self::SvtAv1 => format!(
                "preset=12 crf={crf} intra-period-length={} parameters-string=fast-decode=0:lp=1:pred-struct=1",
                gop.saturating_sub(1)
            ),
            Self::Aom => format!(
                "usage-profile=realtime cpu-used=10 end-usage=vbr min-quantizer={crf} max-quantizer={crf} keyframe-max-dist={gop} lag-in-frames=0 threads=1"
            ),
            Self::NvH264 | Self::NvH265 => {
                format!("rc-mode=constqp qp-const={qp} gop-size={gop} bframes=0 zerolatency=true")
            }
            Self::NvAv1 => {
                format!("rc-mode=constqp qp-const-i={index} qp-const-p={index} gop-size={gop}")
            }
            Self::VaH264 | Self::VaH265 => {
                format!("rate-control=cqp qpi={qp} qpp={qp} key-int-max={gop} b-frames=0")
            }
            Self::VaAv1 => format!("rate-control=cqp qp={index} key-int-max={gop}"),
            Self::VaapiH264 => {
                format!("rate-control=cqp init-qp={qp} keyframe-period={gop} max-bframes=0")
            }
            Self::QsvH264 => {
                format!("rate-control=cqp qp-i={qp} qp-p={qp} gop-size={gop} b-frames=0")
            }
            Self::QsvAv1 => format!("rate-control=cqp qp-i={index} qp-p={index} gop-size={gop}"),
            // It must be told level and quality in its device's own words.
            Self::V4l2H264 => format!(
                "extra-controls=\"controls,video_gop_size={gop},h264_i_frame_period={gop},h264_minimum_qp_value={qp},h264_maximum_qp_value={qp}\" ! video/x-h264,level=(string)4"
            ),
        };
        let parser = match self.codec_name() {
            "av1" => "av1parse",
            "hevc" => "h265parse",
            _ => "h264parse",
        };
        format!("videoconvert ! video/x-raw,format={format} ! {element} {settings} ! {parser}")
    }
}

impl Display for Encoder {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.facts().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_comes_first_then_av1_then_h264() {
        let order: Vec<Encoder> = Encoder::candidates(Codec::Auto).collect();
        let place = |encoder| order.iter().position(|e| *e == encoder);
        let hardware = order.iter().take_while(|e| e.is_hardware()).count();
        assert!(order[hardware..].iter().all(|e| !e.is_hardware()));
        assert_eq!(place(Encoder::SvtAv1), Some(hardware));
        assert!(place(Encoder::Aom) < place(Encoder::X264));
        assert_eq!(place(Encoder::X265), None, "only when asked for");
        let h264: Vec<&str> = Encoder::candidates(Codec::H264)
            .map(Encoder::codec_name)
            .collect();
        assert!(h264.len() == 7 && h264.iter().all(|c| *c == "h264"));
    }

    #[test]
    fn impossible_quality_is_refused() {
        let quality = Quality::default();
        assert!(quality.check().is_ok());
        assert!(Quality { gop: 0, ..quality }.check().is_err());
        assert!(Quality { crf: 64, ..quality }.check().is_err());
        assert!("yuv444p".parse() == Ok(PixFmt::Yuv444p) && "rgb".parse::<PixFmt>().is_err());
    }
}
