//! Distances ↔ LeRobot's 12-bit depth codes.

use crate::features::Feature;
use crate::reader::value::DepthUnit;
use crate::spec::CameraSpec;
use serde_json::{Map, Value, json};

/// Largest 12-bit code.
const MAX_CODE: f64 = 4095.0;
/// The fastest of x265's settings.
const PRESET: &str = "ultrafast";
/// What makes x265 keep every code.
const LOSSLESS: &str = "lossless=1";

/// How distances become codes: LeRobot's parameters, m.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DepthCode {
    min: f64,
    max: f64,
    shift: f64,
    use_log: bool,
}

impl Default for DepthCode {
    fn default() -> Self {
        Self {
            min: 0.01,
            max: 10.0,
            shift: 3.5,
            use_log: true,
        }
    }
}

impl DepthCode {
    /// The code that a feature's `info` describes; missing entries are LeRobot's defaults.
    pub(crate) fn of(feature: &Feature) -> Self {
        let entry = |name: &str| feature.info.as_ref().and_then(|info| info.get(name));
        let number = |name: &str, default| entry(name).and_then(Value::as_f64).unwrap_or(default);
        let usual = Self::default();
        Self {
            min: number("video.depth_min", usual.min),
            max: number("video.depth_max", usual.max),
            shift: number("video.shift", usual.shift),
            use_log: entry("video.use_log")
                .and_then(Value::as_bool)
                .unwrap_or(usual.use_log),
        }
    }

    /// The code of every distance from 0 to 65535 mm, in single precision and in the order in which
    /// LeRobot's quantize_depth computes.
    pub(crate) fn codes(&self) -> Vec<u16> {
        let mm = |metres: f64| (metres * 1000.0) as f32;
        let (min, max, shift) = (mm(self.min), mm(self.max), mm(self.shift));
        let (low, high) = if self.use_log {
            (f64::from(min + shift).ln(), f64::from(max + shift).ln())
        } else {
            (f64::from(min), f64::from(max))
        };
        let code = |mm: u16| {
            let distance = f32::from(mm);
            let value = if self.use_log {
                (distance + shift).ln()
            } else {
                distance
            };
            let part = (value - low as f32) / (high - low) as f32;
            (part * MAX_CODE as f32)
                .round_ties_even()
                .clamp(0.0, MAX_CODE as f32) as u16
        };
        (0..=u16::MAX).map(code).collect()
    }
}

/// Settings of the encoder besides its format. Lossless, so that speed costs size alone; in order
/// and without lookahead, so that a crash loses little. Blocks of one size and quick decisions take
/// 28 ms for 640×480 of a noisy scene instead of 71, and no more bytes.
pub(super) fn settings() -> [(&'static str, String); 4] {
    let fast = "ctu=16:min-cu-size=16:rd=1:fast-intra=1:early-skip=1";
    let in_order = "rc-lookahead=0:bframes=0:scenecut=0";
    let one_thread = "pools=none:frame-threads=1";
    [
        ("g", super::RECORDING_GOP.to_string()),
        ("bf", "0".to_owned()),
        ("preset", PRESET.to_owned()),
        (
            "x265-params",
            format!("{LOSSLESS}:{fast}:{in_order}:{one_thread}:log-level=none"),
        ),
    ]
}

/// The facts that LeRobot keeps of a depth camera's video.
pub(crate) fn video_info(camera: &CameraSpec, fps: u32) -> Map<String, Value> {
    let code = DepthCode::default();
    let facts = json!({
        "video.height": camera.height,
        "video.width": camera.width,
        "video.codec": "hevc",
        "video.pix_fmt": "gray12le",
        "video.fps": fps,
        "video.channels": 1,
        "has_audio": false,
        "video.g": super::RECORDING_GOP,
        "video.crf": super::RECORDING_CRF,
        "video.preset": PRESET,
        "video.fast_decode": 0,
        "video.video_backend": "pyav",
        "video.extra_options": {"x265-params": LOSSLESS},
        "video.depth_min": code.min,
        "video.depth_max": code.max,
        "video.shift": code.shift,
        "video.use_log": code.use_log,
        "is_depth_map": true,
        "depth_unit": "mm",
    });
    facts.as_object().cloned().unwrap_or_default()
}

/// The facts of a depth camera that is kept as images.
pub(crate) fn image_info() -> Map<String, Value> {
    let facts = json!({"is_depth_map": true, "depth_unit": "mm"});
    facts.as_object().cloned().unwrap_or_default()
}

/// The meaning of every 12-bit code of one depth camera, in the unit asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DepthScale(Vec<f32>);

impl DepthScale {
    /// The scale that a feature's `info` describes; missing entries are LeRobot's defaults.
    pub(crate) fn of(feature: &Feature, unit: DepthUnit) -> Self {
        let DepthCode {
            min,
            max,
            shift,
            use_log,
        } = DepthCode::of(feature);
        let (low, high) = if use_log {
            ((min + shift).ln(), (max + shift).ln())
        } else {
            (min, max)
        };
        let (scale, offset) = (((high - low) / MAX_CODE) as f32, low as f32);
        // In single precision and in this order, as LeRobot's dequantize_depth computes.
        let metres = |code: u16| {
            let linear = f32::from(code) * scale + offset;
            let value = if use_log {
                linear.exp() - shift as f32
            } else {
                linear
            };
            value.max(min as f32).min(max as f32)
        };
        let convert = |metres: f32| match unit {
            DepthUnit::Metres => metres,
            DepthUnit::Millimetres => (metres * 1000.0).round_ties_even().clamp(0.0, 65_535.0),
        };
        Self((0..4096).map(|code| convert(metres(code))).collect())
    }

    /// The distances of codes; what exceeds 12 bits counts as the largest code.
    pub(crate) fn distances(&self, codes: &[u16]) -> Vec<f32> {
        let last = self.0.len() - 1;
        codes
            .iter()
            .map(|c| self.0[usize::from(*c).min(last)])
            .collect()
    }
}

/// Whether a camera feature holds distances, by either spelling of the mark.
pub(crate) fn is_depth(feature: &Feature) -> bool {
    let marked = |key: &str| {
        let info = feature.info.as_ref().and_then(|info| info.get(key));
        info.and_then(Value::as_bool).unwrap_or(false)
    };
    feature.is_camera() && (marked("is_depth_map") || marked("video.is_depth_map"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(info: serde_json::Value) -> Feature {
        let info = info.as_object().cloned().unwrap();
        Feature::video(4, 4, info)
    }

    #[test]
    fn codes_span_the_range_and_rise() {
        let scale = DepthScale::of(&feature(json!({})), DepthUnit::Millimetres);
        assert_eq!(
            scale.distances(&[0, 4095, 5000]),
            [10.0, 10_000.0, 10_000.0]
        );
        assert!(scale.0.windows(2).all(|w| w[0] <= w[1]));
        let linear =
            json!({"video.use_log": false, "video.depth_min": 0.0, "video.depth_max": 4.095});
        let scale = DepthScale::of(&feature(linear), DepthUnit::Millimetres);
        assert_eq!(scale.distances(&[0, 1234]), [0.0, 1234.0]);
    }

    #[test]
    fn every_distance_comes_back_within_its_code() {
        let codes = DepthCode::default().codes();
        let feature = feature(json!({}));
        let scale = DepthScale::of(&feature, DepthUnit::Millimetres);
        assert!(codes.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(
            (codes[0], codes[10], codes[10_000], codes[65_535]),
            (0, 0, 4095, 4095)
        );
        for (mm, code) in codes.iter().enumerate().take(10_001).skip(10) {
            // A code is as wide as the slope of the logarithm there: 1.1 to 4.5 mm.
            let width = (mm as f32 + 3500.0) * (13.5_f32 / 3.51).ln() / 4095.0;
            let found = scale.distances(&[*code])[0];
            assert!(
                (found - mm as f32).abs() <= width / 2.0 + 0.51,
                "{mm} mm gave {found}"
            );
        }
    }

    #[test]
    fn both_marks_are_known() {
        assert!(is_depth(&feature(json!({"is_depth_map": true}))));
        assert!(is_depth(&feature(json!({"video.is_depth_map": true}))));
        assert!(!is_depth(&feature(json!({"is_depth_map": false}))));
    }
}
