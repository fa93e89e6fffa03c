//! True times, where a recording keeps them: how even the loop was, how old the pictures were.
//!
//! Sinew keeps them in the feature `timing` with the entries `tick_s`, `action_sent_s`,
//! `state_capture_s` and `<camera>_capture_s`, in s from the episode's first row. Other datasets have
//! none of this.

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
    sent: Option<usize>,
    cameras: Vec<Camera>,
    /// From the capture of the joint values to the tick.
    state_age: Spread,
    /// From the tick to the sending of its action, where it was sent.
    action_delay: Spread,
    never_sent: u64,
    /// From the first camera's capture to the last one's, row by row.
    apart: Spread,
    /// Worst of all episodes: deviation p99 and longest period, s; and its episode.
    worst: Option<(f64, f64, u64)>,
    late: u64,
    rows: u64,
}

#[derive(Debug)]
struct Camera {
    name: String,
    entry: usize,
    /// From the capture of the joint values to that of the picture; negative when it is older.
    skew: Spread,
    /// From one new picture to the next.
    period: Spread,
    reused: u64,
}

/// Times of all episodes, s.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    /// Smallest and largest median of an episode.
    medians: Option<(f64, f64)>,
    /// Largest 99th percentile of the sizes in an episode.
    p99: f64,
}

impl Spread {
    /// Adds an episode's times and gives their median and the 99th percentile of their sizes.
    fn take(&mut self, mut times: Vec<f64>) -> (f64, f64) {
        times.sort_unstable_by(f64::total_cmp);
        let median = rank(&times, 0.5);
        let mut sizes: Vec<f64> = times.iter().map(|t| t.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let p99 = rank(&sizes, 0.99);
        let (low, high) = self.medians.unwrap_or((median, median));
        self.medians = Some((low.min(median), high.max(median)));
        self.p99 = self.p99.max(p99);
        (median, p99)
    }

    /// The medians as a range, if there was an episode.
    fn range(&self) -> Option<String> {
        let (low, high) = self.medians?;
        Some(format!("{} to {}", ms(low), ms(high)))
    }
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
                skew: Spread::default(),
                period: Spread::default(),
                reused: 0,
            })
        });
        Self {
            period_s: 1.0 / fps.unwrap_or(f64::NAN),
            feature: feature.unwrap_or(0),
            width: feature.map_or(0, |at| features[at].width),
            tick: entry("tick_s"),
            state: entry("state_capture_s"),
            sent: entry("action_sent_s"),
            cameras: cameras.collect(),
            state_age: Spread::default(),
            action_delay: Spread::default(),
            never_sent: 0,
            apart: Spread::default(),
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
        let (tick, state) = (self.tick.map(column), self.state.map(column));
        if let Some(tick) = &tick {
            self.take_ticks(episode, tick, out);
            if let Some(state) = &state {
                self.state_age.take(differences(tick, state));
            }
            if let Some(sent) = self.sent.map(column) {
                self.take_sent(tick, &sent);
            }
        }
        let captured: Vec<Vec<f64>> = self.cameras.iter().map(|c| column(c.entry)).collect();
        for (camera, captured) in self.cameras.iter_mut().zip(&captured) {
            if let Some(state) = &state {
                camera.take_skew(episode, captured, state, self.period_s, out);
            }
            camera.take_reuse(episode, captured, out);
        }
        self.take_apart(episode, &captured, out);
    }

    fn take_sent(&mut self, tick: &[f64], sent: &[f64]) {
        let pairs = tick.iter().zip(sent);
        // Actions that the robot never got have a negative time.
        let delays: Vec<f64> = pairs
            .filter(|(_, sent)| **sent >= 0.0)
            .map(|(tick, sent)| sent - tick)
            .collect();
        self.never_sent += (tick.len() - delays.len()) as u64;
        if !delays.is_empty() {
            self.action_delay.take(delays);
        }
    }

    /// How far apart in time the cameras' pictures of one row are.
    fn take_apart(
        &mut self,
        episode: &EpisodeValues<'_>,
        captured: &[Vec<f64>],
        out: &mut Findings,
    ) {
        if captured.len() < 2 {
            return;
        }
        let apart = |row: usize| {
            let times = captured.iter().filter_map(|c| c.get(row).copied());
            let (first, last) = times.fold((f64::MAX, f64::MIN), |(low, high), time| {
                (low.min(time), high.max(time))
            });
            last - first
        };
        let (median, p99) = self.apart.take((0..captured[0].len()).map(apart).collect());
        if median > SKEW * self.period_s {
            let message = format!(
                "the cameras' pictures of a row are {} apart (median), {} at the 99th percentile; a period is {}",
                ms(median),
                ms(p99),
                ms(self.period_s)
            );
            out.add(
                Code::CameraSkew,
                Place::file(episode.file)
                    .episode(episode.number)
                    .feature(FEATURE),
                message,
            );
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
        let note = |entry: &str, message: String, out: &mut Findings| {
            let place = Place::default().feature(format!("{FEATURE}/{entry}"));
            out.add(Code::Timing, place, message);
        };
        if let Some(range) = self.state_age.range() {
            let message = format!(
                "joint values are {range} old at the tick (medians of the episodes), {} at the 99th percentile of the worst",
                ms(self.state_age.p99)
            );
            note("state_capture_s", message, out);
        }
        if let Some(range) = self.action_delay.range() {
            let message = format!(
                "actions were sent {range} after their tick (medians of the episodes), {} at the 99th percentile of the worst; {} of {} were never sent",
                ms(self.action_delay.p99),
                self.never_sent,
                self.rows
            );
            note("action_sent_s", message, out);
        }
        for camera in &self.cameras {
            if let Some((low, high)) = camera.skew.medians {
                let message = format!(
                    "pictures are {} to {} older than the joint values (medians of the episodes); {}; {} of {} rows have the picture of the row before",
                    ms(-high),
                    ms(-low),
                    camera.period.range().map_or_else(
                        || "no new one came".to_owned(),
                        |range| format!("a new one came every {range}")
                    ),
                    camera.reused,
                    self.rows
                );
                note(&camera.entry_name(), message, out);
            }
        }
        if let Some(range) = self.apart.range() {
            let message = format!(
                "the cameras' pictures of a row are {range} apart (medians of the episodes), {} at the 99th percentile of the worst",
                ms(self.apart.p99)
            );
            out.add(Code::Timing, Place::default().feature(FEATURE), message);
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
        let (median, p99) = self.skew.take(differences(captured, state));
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
        let new = captured.windows(2).filter(|w| w[0] != w[1]);
        let periods: Vec<f64> = new
            .scan(captured[0], |last, w| {
                let period = w[1] - *last;
                *last = w[1];
                Some(period)
            })
            .collect();
        if !periods.is_empty() {
            self.period.take(periods);
        }
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

fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
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
