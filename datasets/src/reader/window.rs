//! LeRobot's `delta_timestamps`: several frames around the one asked for.

use crate::episodes::Episode;
use std::sync::Arc;

/// Offsets, in frames, at which one feature is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) feature: Arc<str>,
    offsets: Vec<i64>,
}

impl Window {
    /// The window of `deltas_s` seconds, or what is wrong with them. Each must be a multiple of
    /// 1/`fps` within `tolerance_s`.
    pub(crate) fn new(
        feature: Arc<str>,
        deltas_s: &[f64],
        fps: u32,
        tolerance_s: f64,
    ) -> Result<Self, String> {
        let fps = f64::from(fps);
        let mut offsets = Vec::with_capacity(deltas_s.len());
        for delta in deltas_s {
            // Ties go to the even frame, as in Python's round().
            let frames = (delta * fps).round_ties_even();
            let usable = (delta * fps - frames).abs() / fps <= tolerance_s;
            if !usable || frames.abs() > 1e12 {
                return Err(format!(
                    "the offset {delta} s of {feature} is no multiple of 1/{fps} s"
                ));
            }
            offsets.push(frames as i64);
        }
        if offsets.is_empty() {
            return Err(format!("the window of {feature} has no offsets"));
        }
        Ok(Self { feature, offsets })
    }

    /// The dataset-wide numbers of the window's frames around `index`, held inside the episode, and
    /// which of them lie outside.
    pub(crate) fn around(&self, index: u64, episode: &Episode) -> (Vec<u64>, Vec<bool>) {
        let (from, to) = (episode.from_index, episode.to_index);
        let place = |offset: &i64| {
            let inside = index
                .checked_add_signed(*offset)
                .filter(|i| (from..to).contains(i));
            let edge = if *offset < 0 {
                from
            } else {
                to.saturating_sub(1)
            };
            (inside.unwrap_or(edge), inside.is_none())
        };
        self.offsets.iter().map(place).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::FileIndex;
    use crate::stats::Stats;

    fn episode() -> Episode {
        Episode {
            index: 1,
            tasks: Vec::new(),
            length: 10,
            data: FileIndex::default(),
            from_index: 100,
            to_index: 110,
            videos: Vec::new(),
            stats: Stats::default(),
            meta: FileIndex::default(),
        }
    }

    #[test]
    fn windows_end_at_the_episode() {
        let deltas = [-0.2, -0.1, 0.0, 0.1, 0.8, 1e9];
        let window = Window::new("action".into(), &deltas, 10, 1e-4).unwrap();
        let (indices, pad) = window.around(101, &episode());
        assert_eq!(indices, [100, 100, 101, 102, 109, 109]);
        assert_eq!(pad, [true, false, false, false, false, true]);
    }

    #[test]
    fn offsets_between_frames_are_refused() {
        assert!(Window::new("action".into(), &[0.05], 30, 1e-4).is_err());
        assert!(Window::new("action".into(), &[f64::NAN], 30, 1e-4).is_err());
        assert!(Window::new("action".into(), &[], 30, 1e-4).is_err());
        assert!(Window::new("action".into(), &[1.0 / 30.0 + 9e-5], 30, 1e-4).is_ok());
    }
}
