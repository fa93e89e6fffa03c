//! Values over time → rows at a constant rate: each row has the newest value of its time or before
//! (zero-order hold), and how old that is, is said.

use super::series::Series;
use serde::Serialize;

/// A time this much later than a row's is that of the row: clocks and grids are rounded, ns.
const ROUNDING_NS: u64 = 1000;
/// An age beyond this many usual distances of a topic's messages is a gap.
const GAP_PERIODS: u64 = 2;

/// An episode's rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    /// The task, if a topic said it.
    pub(super) task: Option<String>,
    /// Time of the first row, ns since the epoch.
    pub(super) start_ns: u64,
    pub(super) rows: u64,
}

impl Segment {
    /// Time of a row.
    pub(super) fn time(&self, row: u64, fps: u32) -> u64 {
        let ns = row as f64 * 1e9 / f64::from(fps.max(1));
        self.start_ns.saturating_add(ns.round() as u64)
    }
}

/// How a topic fits the rows made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopicUse {
    /// The feature that it became.
    pub feature: String,
    /// Its name.
    pub topic: String,
    /// Its messages.
    pub messages: u64,
    /// Messages a second, the median.
    pub rate_hz: f64,
    /// Age of the oldest value in a row, ms.
    pub max_age_ms: f64,
    /// Rows whose value is older than two usual distances between messages.
    pub stale_rows: u64,
}

/// Times of all topics: state, action, cameras.
pub(super) fn times(series: &Series) -> Vec<&[u64]> {
    let joints = std::iter::once(&series.state).chain(&series.action);
    let cameras = series.cameras.iter().map(Vec::as_slice);
    joints.map(|j| j.times.as_slice()).chain(cameras).collect()
}

/// The number of the newest of `times` at `time` or before.
pub(super) fn newest(times: &[u64], time: u64) -> Option<usize> {
    let end = time.saturating_add(ROUNDING_NS);
    times.partition_point(|t| *t <= end).checked_sub(1)
}

/// Cuts a bag into episodes: one, or one a message of the task topic. Rows go from when all topics
/// have a value to where the first of them ends. Also how many episodes have no such time.
pub(super) fn segments(series: &Series, fps: u32) -> (Vec<Segment>, u64) {
    let whole = [(0, None)];
    let marked: Vec<(u64, Option<&String>)> = series
        .tasks
        .iter()
        .map(|(time, task)| (*time, Some(task)))
        .collect();
    let starts = if marked.is_empty() {
        &whole[..]
    } else {
        &marked[..]
    };
    let all = times(series);
    let (mut found, mut empty) = (Vec::new(), 0);
    for (i, (from, task)) in starts.iter().enumerate() {
        let to = starts.get(i + 1).map_or(u64::MAX, |(next, _)| *next);
        let bounds = all.iter().map(|times| {
            let inside = &times[times.partition_point(|t| t < from)..];
            let inside = &inside[..inside.partition_point(|t| *t < to)];
            Some((*inside.first()?, *inside.last()?))
        });
        let bounds: Option<Vec<(u64, u64)>> = bounds.collect();
        let bounds = bounds.unwrap_or_default();
        let start = bounds.iter().map(|(first, _)| *first).max();
        let end = bounds.iter().map(|(_, last)| *last).min();
        match start.zip(end).filter(|(start, end)| start <= end) {
            Some((start_ns, end)) => {
                let span = u128::from(end - start_ns) + u128::from(ROUNDING_NS);
                let rows = span * u128::from(fps) / 1_000_000_000 + 1;
                found.push(Segment {
                    task: task.cloned(),
                    start_ns,
                    rows: rows as u64,
                });
            }
            None => empty += 1,
        }
    }
    (found, empty)
}

/// The usual distance between two times, ns.
fn period(times: &[u64]) -> u64 {
    let mut distances: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = distances.len() / 2;
    if distances.is_empty() {
        return 0;
    }
    *distances.select_nth_unstable(middle).1
}

/// The usual rate of the slowest camera, or of the state where there is none, Hz.
pub(super) fn natural_rate(series: &Series) -> u32 {
    let slowest = series.cameras.iter().map(|times| period(times)).max();
    let period = slowest.unwrap_or_else(|| period(&series.state.times));
    (1e9 / period.max(1) as f64).round().clamp(1.0, 1000.0) as u32
}

/// How the values of `times` fit the rows.
pub(super) fn usage(
    feature: &str,
    topic: &str,
    times: &[u64],
    segments: &[Segment],
    fps: u32,
) -> TopicUse {
    let period = period(times);
    let (mut oldest, mut stale) = (0, 0);
    for segment in segments {
        for row in 0..segment.rows {
            let time = segment.time(row, fps);
            let age = newest(times, time).map_or(0, |i| time.saturating_sub(times[i]));
            oldest = oldest.max(age);
            stale += u64::from(period > 0 && age > GAP_PERIODS * period);
        }
    }
    TopicUse {
        feature: feature.to_owned(),
        topic: topic.to_owned(),
        messages: times.len() as u64,
        rate_hz: if period > 0 { 1e9 / period as f64 } else { 0.0 },
        max_age_ms: oldest as f64 / 1e6,
        stale_rows: stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(state: &[u64], camera: &[u64], tasks: &[(u64, &str)]) -> Series {
        let mut series = Series {
            cameras: vec![camera.to_vec()],
            tasks: tasks.iter().map(|(t, s)| (*t, (*s).to_owned())).collect(),
            ..Series::default()
        };
        series.state.times = state.to_vec();
        series
    }

    #[test]
    fn rows_go_from_the_last_beginning_to_the_first_end() {
        let ms = 1_000_000;
        let state: Vec<u64> = (0..200).map(|i| 10 * ms * i).collect();
        let camera: Vec<u64> = (3..30).map(|i| 33 * ms * i).collect();
        let (found, empty) = segments(&series(&state, &camera, &[]), 10);
        assert_eq!((found.len(), empty), (1, 0));
        assert_eq!((found[0].start_ns, found[0].rows), (99 * ms, 9));
        let marks = [(0, "a"), (500 * ms, "b"), (5000 * ms, "c")];
        let (found, empty) = segments(&series(&state, &camera, &marks), 10);
        let tasks: Vec<_> = found.iter().map(|s| s.task.as_deref().unwrap()).collect();
        assert_eq!((tasks, empty), (vec!["a", "b"], 1));
        assert!(found[0].time(found[0].rows - 1, 10) < 500 * ms);
    }

    #[test]
    fn gaps_are_counted_and_ages_are_those_of_the_rows() {
        let ms = 1_000_000;
        // 10 ms apart, with 200 ms missing.
        let times: Vec<u64> = (0..100)
            .filter(|i| !(40..60).contains(i))
            .map(|i| 10 * ms * i)
            .collect();
        let segment = Segment {
            task: None,
            start_ns: 0,
            rows: 20,
        };
        let used = usage("f", "t", &times, &[segment], 20);
        assert_eq!((used.rate_hz, used.messages), (100.0, 80));
        assert_eq!((used.max_age_ms, used.stale_rows), (160.0, 3));
    }

    proptest! {
        #[test]
        fn held_values_are_never_from_the_future(mut times in prop::collection::vec(0_u64..1_000_000_000, 1..50), fps in 1_u32..200) {
            times.sort_unstable();
            let series = series(&times, &times, &[]);
            for segment in segments(&series, fps).0 {
                for row in 0..segment.rows {
                    let time = segment.time(row, fps);
                    let held = newest(&times, time).unwrap();
                    prop_assert!(times[held] <= time + ROUNDING_NS);
                    prop_assert!(times.get(held + 1).is_none_or(|next| *next > time + ROUNDING_NS));
                }
                prop_assert!(segment.time(segment.rows - 1, fps) <= times.last().unwrap() + ROUNDING_NS);
            }
        }
    }
}
