//! True times, where a recording keeps them: how even the loop was, how old the pictures were.
//!
//! Sinew keeps them in the feature `timing` with the entries `tick_s`, `state_capture_s` and
//! `<camera>_capture_s`, in s from the episode's first row. Other datasets have none of this.

use super::code::Code;
use super::content::EpisodeValues;
use super::finding::{Findings, Place};
use super::head::Described;

/// The feature.
const FEATURE: &str = "timing";
/// Periods off by more than this part of a period, in more than 1 % of rows, are jitter.
const JITTER: f64 = 0.25;
/// A period longer than this many nominal ones is late.
const LATE: f64 = 1.5;
/// Pictures this many periods away from the joints, in the middle, are skewed; twice that for 1 %.
const SKEW: f64 = 1.5;
/// Part of rows with the picture of the row before from which the camera is too slow.
const REUSED: f64 = 0.05;
/// Fewer rows than this say nothing.
const MIN_ROWS: usize = 10;

/// Where the times are, and what they said so far.
#[derive(Debug)]
pub(super) struct Timing {
    period_s: f64,
    /// Position of the feature among the numeric ones, and its width.
    feature: usize,
    width: usize,
    tick: Option<usize>,
    state: Option<usize>,
    cameras: Vec<Camera>,
    /// Worst of all episodes: deviation p99 and longest period, s; and its episode.
    worst: Option<(f64, f64, u64)>,
    late: u64,
    rows: u64,
}

#[derive(Debug)]
struct Camera {
    name: String,
    entry: usize,
    /// Smallest and largest median skew of an episode, s.
    skew_s: Option<(f64, f64)>,
    reused: u64,
}

impl Timing {
    pub(super) fn new(features: &[&Described], fps: Option<f64>) -> Self {
        let feature = features.iter().position(|f| f.name == FEATURE);
        let names: &[String] = feature.map_or(&[], |at| features[at].names());
        let entry = |wanted: &str| names.iter().position(|n| n == wanted);
        let cameras = names.iter().enumerate().filter_map(|(entry, name)| {
            let camera = name.strip_suffix("_capture_s").filter(|c| *c != "state")?;
            Some(Camera {
                name: camera.to_owned(),
                entry,
                skew_s: None,
                reused: 0,
            })
        });
        Self {
            period_s: 1.0 / fps.unwrap_or(f64::NAN),
            feature: feature.unwrap_or(0),
            width: feature.map_or(0, |at| features[at].width),
            tick: entry("tick_s"),
            state: entry("state_capture_s"),
            cameras: cameras.collect(),
            worst: None,
            late: 0,
            rows: 0,
        }
    }

    /// Looks at an episode whose values are all finite.
    pub(super) fn take(&mut self, episode: &EpisodeValues<'_>, out: &mut Findings) {
        if self.width == 0 || !self.period_s.is_finite() || episode.rows < MIN_ROWS as u64 {
            return;
        }
        let values = &episode.values[self.feature];
        let width = self.width;
        let column = |entry: usize| -> Vec<f64> {
            values.iter().skip(entry).step_by(width).copied().collect()
        };
        self.rows += episode.rows;
        if let Some(tick) = self.tick {
            self.take_ticks(episode, &column(tick), out);
        }
        let state = self.state.map(column);
        for camera in &mut self.cameras {
            let captured = column(camera.entry);
            if let Some(state) = &state {
                camera.take_skew(episode, &captured, state, self.period_s, out);
            }
            camera.take_reuse(episode, &captured, out);
        }
    }

    fn take_ticks(&mut self, episode: &EpisodeValues<'_>, ticks: &[f64], out: &mut Findings) {
        let periods: Vec<f64> = ticks.windows(2).map(|w| w[1] - w[0]).collect();
        let mut off: Vec<f64> = periods.iter().map(|p| (p - self.period_s).abs()).collect();
        off.sort_unstable_by(f64::total_cmp);
        let p99 = rank(&off, 0.99);
        let longest = periods.iter().copied().fold(0.0, f64::max);
        let late = periods
            .iter()
            .filter(|p| **p > LATE * self.period_s)
            .count();
        self.late += late as u64;
        if self.worst.is_none_or(|(worst, _, _)| p99 > worst) {
            self.worst = Some((p99, longest, episode.number));
        }
        if p99 > JITTER * self.period_s {
            let message = format!(
                "periods are off by {} at the 99th percentile of a period of {}; {late} rows late, longest period {}",
                ms(p99),
                ms(self.period_s),
                ms(longest)
            );
            out.add(Code::Jitter, place(episode, "tick_s"), message);
        }
    }

    /// Says the figures of the whole dataset.
    pub(super) fn finish(&self, out: &mut Findings) {
        if let Some((p99, longest, episode)) = self.worst {
            let message = format!(
                "tick periods of {} are off by {} at most (99th percentile of the worst episode; longest period there {}); {} of {} rows late",
                ms(self.period_s),
                ms(p99),
                ms(longest),
                self.late,
                self.rows
            );
            let place = Place::default().episode(episode).feature("timing/tick_s");
            out.add(Code::Timing, place, message);
        }
        for camera in &self.cameras {
            if let Some((low, high)) = camera.skew_s {
                let message = format!(
                    "pictures are {} to {} older than the joint values (medians of the episodes); {} of {} rows have the picture of the row before",
                    ms(-high),
                    ms(-low),
                    camera.reused,
                    self.rows
                );
                let entry = format!("timing/{}_capture_s", camera.name);
                out.add(Code::Timing, Place::default().feature(entry), message);
            }
        }
    }
}

impl Camera {
    fn take_skew(
        &mut self,
        episode: &EpisodeValues<'_>,
        captured: &[f64],
        state: &[f64],
        period_s: f64,
        out: &mut Findings,
    ) {
        let mut skew: Vec<f64> = captured.iter().zip(state).map(|(c, s)| c - s).collect();
        skew.sort_unstable_by(f64::total_cmp);
        let median = rank(&skew, 0.5);
        let (low, high) = self.skew_s.unwrap_or((median, median));
        self.skew_s = Some((low.min(median), high.max(median)));
        let mut size: Vec<f64> = skew.iter().map(|s| s.abs()).collect();
        size.sort_unstable_by(f64::total_cmp);
        let p99 = rank(&size, 0.99);
        if median.abs() > SKEW * period_s || p99 > 2.0 * SKEW * period_s {
            let message = format!(
                "pictures of {} are {} older than the joint values (median), {} away at the 99th percentile; a period is {}",
                self.name,
                ms(-median),
                ms(p99),
                ms(period_s)
            );
            out.add(
                Code::CameraSkew,
                place(episode, &self.entry_name()),
                message,
            );
        }
    }

    fn take_reuse(&mut self, episode: &EpisodeValues<'_>, captured: &[f64], out: &mut Findings) {
        let reused = captured.windows(2).filter(|w| w[0] == w[1]).count() as u64;
        self.reused += reused;
        let part = reused as f64 / episode.rows as f64;
        if part > REUSED {
            let message = format!(
                "{reused} of {} rows have the picture of the row before",
                episode.rows
            );
            out.add(
                Code::FramesReused,
                place(episode, &self.entry_name()),
                message,
            );
        }
    }

    fn entry_name(&self) -> String {
        format!("{}_capture_s", self.name)
    }
}

fn place(episode: &EpisodeValues<'_>, entry: &str) -> Place {
    Place::file(episode.file)
        .episode(episode.number)
        .feature(format!("{FEATURE}/{entry}"))
}

/// The quantile `q` of sorted values.
fn rank(sorted: &[f64], q: f64) -> f64 {
    let at = (q * sorted.len() as f64) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

fn ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}
