//! LeRobot's 12-bit depth codes → distances.

use crate::features::Feature;
use crate::reader::value::DepthUnit;
use serde_json::Value;

/// Largest 12-bit code.
const MAX_CODE: f64 = 4095.0;

/// The meaning of every 12-bit code of one depth camera, in the unit asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DepthScale(Vec<f32>);

impl DepthScale {
    /// The scale that a feature's `info` describes; missing entries are LeRobot's defaults.
    pub(crate) fn of(feature: &Feature, unit: DepthUnit) -> Self {
        let number = |name: &str, default: f64| {
            let entry = feature.info.as_ref().and_then(|info| info.get(name));
            entry.and_then(Value::as_f64).unwrap_or(default)
        };
        let use_log = feature
            .info
            .as_ref()
            .and_then(|info| info.get("video.use_log"))
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let (min, max) = (
            number("video.depth_min", 0.01),
            number("video.depth_max", 10.0),
        );
        let shift = number("video.shift", 3.5);
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
    use serde_json::json;

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
    fn both_marks_are_known() {
        assert!(is_depth(&feature(json!({"is_depth_map": true}))));
        assert!(is_depth(&feature(json!({"video.is_depth_map": true}))));
        assert!(!is_depth(&feature(json!({"is_depth_map": false}))));
    }
}
