//! When the rows of a dataset happened.

use super::arrays;
use crate::Dataset;
use crate::episodes::Episode;
use crate::error::Result;
use crate::features::{ACTION, IMAGES, STATE};
use crate::reader::value::{Numbers, Tensor};
use std::collections::BTreeMap;

/// When each row of an episode happened.
pub(super) struct Clock {
    start_ns: u64,
    fps: f64,
    rows: u64,
    /// True times by the feature they belong to, s from the episode's first row; "" for the tick.
    true_s: BTreeMap<String, Vec<f64>>,
}

impl Clock {
    pub(super) fn of(dataset: &Dataset, episode: &Episode, start_ns: u64) -> Result<Self> {
        let info = dataset.info();
        let mut true_s = BTreeMap::new();
        let timing = info.features.get("timing");
        if let Some(names) = timing.and_then(crate::Feature::entry_names) {
            let values = dataset.tensor(episode, "timing")?.numbers.to_f64();
            for (place, name) in names.iter().enumerate() {
                let key = match name.as_str() {
                    "tick_s" => String::new(),
                    "action_sent_s" => ACTION.to_owned(),
                    "state_capture_s" => STATE.to_owned(),
                    other => match other.strip_suffix("_capture_s") {
                        Some(camera) => format!("{IMAGES}{camera}"),
                        None => continue,
                    },
                };
                let column = values.iter().skip(place).step_by(names.len());
                // An action that was never sent has the time −1.
                let known = |t: &f64| {
                    if key == ACTION && *t < 0.0 {
                        f64::NAN
                    } else {
                        *t
                    }
                };
                let column = column.map(known).collect();
                true_s.insert(key, column);
            }
        }
        Ok(Self {
            start_ns,
            fps: f64::from(info.fps),
            rows: episode.length,
            true_s,
        })
    }

    /// When the row's value of a feature was measured, ns since the epoch.
    pub(super) fn at(&self, feature: &str, row: u64) -> u64 {
        // A day is longer than any episode; what lies beyond is no time, and the tick stands in.
        let known = |key: &str| {
            let time = self.true_s.get(key)?.get(row as usize).copied();
            time.filter(|t| t.abs() < 86_400.0)
        };
        let seconds = known(feature)
            .or_else(|| known(""))
            .unwrap_or(row as f64 / self.fps);
        self.start_ns
            .saturating_add_signed((seconds * 1e9).round() as i64)
    }

    /// When the last row ends.
    pub(super) fn end_ns(&self) -> u64 {
        let nominal = (self.rows as f64 / self.fps * 1e9) as u64;
        let last = self.at("", self.rows.saturating_sub(1));
        self.start_ns.saturating_add(nominal).max(last)
    }
}

/// LeRobot's timestamps of an episode, if they are not what every reader would compute.
pub(super) struct Timestamps(Option<Tensor>);

impl Timestamps {
    pub(super) fn of(dataset: &Dataset, episode: &Episode) -> Result<Self> {
        let stored = dataset.tensor(episode, "timestamp")?;
        let fps = f64::from(dataset.info().fps);
        let usual = match &stored.numbers {
            Numbers::F32(values) => values
                .iter()
                .enumerate()
                .all(|(row, v)| v.to_bits() == ((row as f64 / fps) as f32).to_bits()),
            _ => false,
        };
        Ok(Self((!usual).then_some(stored)))
    }

    pub(super) fn message(&self, row: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        arrays::encode(&self.0.as_ref()?.numbers, &[], row as usize, &mut bytes);
        Some(bytes)
    }
}
