//! True times, where a recording keeps them: how even the loop was, and how old what it saw.

use super::html::{count, duration, escape, value};
use super::plot::{Bar, Line, bars, lines};
use crate::error::Result;
use crate::reader::{Dataset, Series};
use std::fmt::Write;

/// The feature, s from the episode's first row.
pub(super) const FEATURE: &str = "timing";
/// The entry that says when a row's tick began.
const TICK: &str = "tick_s";
/// Ending of the entries that say how old something was.
const AGE: &str = "_age_s";
/// Rows of all episodes that are looked at.
const ROW_LIMIT: u64 = 2 << 20;
/// Ages that are drawn in one plot.
const AGES: usize = 5;
/// Bars of the histogram.
const BINS: usize = 60;
/// A period longer than this many nominal ones is late.
const LATE: f64 = 1.5;

/// What is known of the whole dataset's times, ms.
#[derive(Debug, Default)]
struct Times {
    /// Periods less the nominal one.
    errors_ms: Vec<f64>,
    late: u64,
    /// Names and ages.
    ages: Vec<(String, Vec<f64>)>,
}

fn usable(dataset: &Dataset) -> bool {
    let feature = dataset.info().features.get(FEATURE);
    feature.is_some_and(|f| {
        let names = f.entry_names().unwrap_or_default();
        f.is_numeric() && f.shape == [names.len() as u64] && names.iter().any(|n| n == TICK)
    })
}

fn column(series: &Series, at: usize) -> impl Iterator<Item = f64> {
    series
        .values
        .iter()
        .skip(at)
        .step_by(series.width.max(1))
        .copied()
}

/// Periods between rows, ms.
fn periods(series: &Series) -> Vec<f64> {
    let Some(at) = series.names.iter().position(|n| n == TICK) else {
        return Vec::new();
    };
    let ticks: Vec<f64> = column(series, at).collect();
    ticks.windows(2).map(|t| (t[1] - t[0]) * 1e3).collect()
}

/// The entries that hold ages, and of what.
fn ages(series: &Series) -> impl Iterator<Item = (usize, &str)> {
    let named = series.names.iter().enumerate();
    named.filter_map(|(at, name)| Some((at, name.strip_suffix(AGE)?)))
}

/// The section about the whole dataset; empty if it keeps no times.
pub(super) fn section(dataset: &Dataset, left_out: &mut Vec<String>) -> String {
    if !usable(dataset) {
        return String::new();
    }
    let nominal_ms = 1e3 / f64::from(dataset.info().fps);
    let mut times = Times::default();
    let mut rows = 0;
    for episode in dataset.episodes() {
        rows += episode.length;
        if rows > ROW_LIMIT {
            left_out.push(format!(
                "Timing of the episodes from {} on, in the section about the whole.",
                episode.index
            ));
            break;
        }
        // An episode that cannot be read says so itself.
        if let Ok(series) = dataset.series(episode.index, FEATURE) {
            times.add(&series, nominal_ms);
        }
    }
    times.html(nominal_ms)
}

impl Times {
    fn add(&mut self, series: &Series, nominal_ms: f64) {
        let periods = periods(series);
        self.late += periods.iter().filter(|p| **p > LATE * nominal_ms).count() as u64;
        self.errors_ms
            .extend(periods.iter().map(|p| p - nominal_ms));
        for (at, name) in ages(series) {
            let known = self.ages.iter().position(|(n, _)| n == name);
            let place = known.unwrap_or_else(|| {
                self.ages.push((name.to_owned(), Vec::new()));
                self.ages.len() - 1
            });
            self.ages[place]
                .1
                .extend(column(series, at).map(|s| s * 1e3));
        }
    }

    fn html(mut self, nominal_ms: f64) -> String {
        let mut table = String::new();
        let mut row = |name: &str, values: &mut Vec<f64>| {
            values.retain(|v| v.is_finite());
            values.sort_unstable_by(f64::total_cmp);
            if values.is_empty() {
                return;
            }
            let _ = write!(table, "<tr><th>{}</th>", escape(name));
            for q in [0.01, 0.5, 0.99, 1.0] {
                let at = ((values.len() - 1) as f64 * q).round() as usize;
                let _ = write!(table, "<td>{}</td>", value(values[at]));
            }
            table.push_str("</tr>");
        };
        row("period, off by", &mut self.errors_ms);
        for (name, ages) in &mut self.ages {
            row(&format!("{name}, age"), ages);
        }
        let late = match self.late {
            0 => "No period was longer than one and a half.".to_owned(),
            n => format!("{} periods were longer than one and a half.", count(n)),
        };
        format!(
            "<section><h2>Timing</h2><p>The loop's period should be {} ms. {late} What follows is in ms.</p>\
             <div class=\"wide\"><table><thead><tr><th></th><th>1 %</th><th>median</th><th>99 %</th><th>most</th></tr></thead>\
             <tbody>{table}</tbody></table></div>{}</section>",
            value(nominal_ms),
            histogram(&self.errors_ms)
        )
    }
}

/// How often periods were off by how much; the values are sorted.
fn histogram(sorted: &[f64]) -> String {
    let quantile = |q: f64| {
        let at = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
        sorted.get(at).copied()
    };
    let (Some(low), Some(high)) = (quantile(0.001), quantile(0.999)) else {
        return String::new();
    };
    let wide = (high - low) / BINS as f64;
    if wide <= 0.0 {
        return String::new();
    }
    let mut counts = [0_u64; BINS];
    for error in sorted.iter().filter(|e| (low..=high).contains(*e)) {
        counts[(((error - low) / wide) as usize).min(BINS - 1)] += 1;
    }
    let bar = |(at, n): (usize, &u64)| {
        let from = low + wide * at as f64;
        Bar {
            // The root shows that there is something where there is little.
            height: (*n as f64).sqrt(),
            hint: format!("{} to {} ms: {n} periods", value(from), value(from + wide)),
            link: None,
        }
    };
    let drawn: Vec<Bar> = counts.iter().enumerate().map(bar).collect();
    bars(
        "how often periods were off by how much",
        &drawn,
        &format!("{} ms", value(low)),
        &format!("{} ms (heights are roots of counts)", value(high)),
    )
}

/// One episode's periods and ages over time; empty if it keeps no times.
pub(super) fn of_episode(dataset: &Dataset, episode: u64) -> Result<String> {
    if !usable(dataset) {
        return Ok(String::new());
    }
    let series = dataset.series(episode, FEATURE)?;
    let seconds = series.len() as f64 / f64::from(dataset.info().fps);
    let period = Line {
        colour: 0,
        name: "",
        values: periods(&series),
    };
    let ages: Vec<Line<'_>> = ages(&series)
        .take(AGES)
        .enumerate()
        .map(|(colour, (at, name))| Line {
            colour,
            name,
            values: column(&series, at).map(|s| s * 1e3).collect(),
        })
        .collect();
    let mut drawn = lines("loop period", " ms", &[period]);
    if !ages.is_empty() {
        drawn.push_str(&lines("age", " ms", &ages));
    }
    Ok(format!(
        "<h4>True timing over {}</h4><div class=\"plots two\">{drawn}</div>",
        duration(seconds)
    ))
}
