//! Drawings as SVG: lines over time, bars, and where values lie.

use super::html::{escape, value};
use std::fmt::Write;

/// Width and height of the coordinates of a line plot; the page stretches it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;
/// Parts of a line, each drawn from its least to its greatest value.
const PARTS: usize = 200;

/// One line of a plot.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Colour, 0 to 5.
    pub(super) colour: usize,
    /// What it is, for the legend; empty for none.
    pub(super) name: &'a str,
    /// Values, evenly spread over the time.
    pub(super) values: Vec<f64>,
}

/// A plot with its title and range.
pub(super) fn lines(title: &str, unit: &str, lines: &[Line<'_>]) -> String {
    let finite = || {
        lines
            .iter()
            .flat_map(|l| &l.values)
            .filter(|v| v.is_finite())
    };
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(*v), high.max(*v))
    });
    let range = if low > high {
        "no finite values".into()
    } else if low == high {
        format!("{}{unit}", value(low))
    } else {
        format!("{} to {}{unit}", value(low), value(high))
    };
    let mut svg = String::new();
    if low <= high {
        // A line that does not move stands in the middle.
        let (low, high) = match high - low {
            spread if spread > 0.0 => (low, high),
            _ => (low - 1.0, high + 1.0),
        };
        let place = |v: f64| (HEIGHT - 4.0) * (high - v) / (high - low) + 2.0;
        if low < 0.0 && high > 0.0 {
            let _ = write!(
                svg,
                "<path class=\"zero\" d=\"M0 {0:.0}H{WIDTH:.0}\"/>",
                place(0.0)
            );
        }
        for line in lines {
            let _ = write!(
                svg,
                "<path class=\"c{}\" d=\"{}\"/>",
                line.colour,
                path(&line.values, &place)
            );
        }
    }
    let named = lines.iter().filter(|l| !l.name.is_empty());
    let legend: String = named
        .map(|l| format!(" <span class=\"k{}\">{}</span>", l.colour, escape(l.name)))
        .collect();
    format!(
        "<figure class=\"plot\"><figcaption><b>{}</b>{legend}<span class=\"range\">{range}</span></figcaption>\
         <svg viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{svg}</svg></figure>",
        escape(title),
        escape(title)
    )
}

/// A line in at most [`PARTS`] parts; it is broken where values are no numbers.
fn path(values: &[f64], place: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    let mut point = |at: usize, v: f64| {
        if !v.is_finite() {
            pen_down = false;
            return;
        }
        let last = values.len().saturating_sub(1).max(1);
        let x = WIDTH * at as f64 / last as f64;
        let _ = write!(
            path,
            "{}{x:.0} {:.0}",
            if pen_down { 'L' } else { 'M' },
            place(v)
        );
        pen_down = true;
    };
    let part = values.len().div_ceil(PARTS).max(1);
    for (number, chunk) in values.chunks(part).enumerate() {
        let first = number * part;
        if part < 3 {
            chunk
                .iter()
                .enumerate()
                .for_each(|(i, v)| point(first + i, *v));
            continue;
        }
        let numbered = || {
            chunk
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, v)| v.is_finite())
        };
        let least = numbered().min_by(|a, b| a.1.total_cmp(&b.1));
        let greatest = numbered().max_by(|a, b| a.1.total_cmp(&b.1));
        let (Some(least), Some(greatest)) = (least, greatest) else {
            point(first, f64::NAN);
            continue;
        };
        let (earlier, later) = match least.0 <= greatest.0 {
            true => (least, greatest),
            false => (greatest, least),
        };
        point(first + earlier.0, earlier.1);
        point(first + later.0, later.1);
    }
    path
}

/// One bar.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) height: f64,
    /// Shown when it is pointed at.
    pub(super) hint: String,
    /// Place on the page that it leads to.
    pub(super) link: Option<String>,
}

/// Bars side by side, with the texts below their ends.
pub(super) fn bars(label: &str, bars: &[Bar], from: &str, to: &str) -> String {
    let highest = bars
        .iter()
        .map(|b| b.height)
        .fold(0.0, f64::max)
        .max(f64::MIN_POSITIVE);
    let wide = WIDTH / bars.len().max(1) as f64;
    let gap = if wide > 6.0 { 1.5 } else { 0.0 };
    let mut svg = String::new();
    for (at, bar) in bars.iter().enumerate() {
        let height = (HEIGHT * bar.height / highest).max(if bar.height > 0.0 { 1.0 } else { 0.0 });
        let rect = format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            at as f64 * wide,
            HEIGHT - height,
            (wide - gap).max(0.1),
            escape(&bar.hint)
        );
        let _ = match &bar.link {
            Some(link) => write!(svg, "<a href=\"#{}\">{rect}</a>", escape(link)),
            None => write!(svg, "{rect}"),
        };
    }
    format!(
        "<figure class=\"bars\"><svg viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{svg}</svg>\
         <figcaption><span>{}</span><span>{}</span></figcaption></figure>",
        escape(label),
        escape(from),
        escape(to)
    )
}

/// Where values lie on the scale `low..high`: a thin line from the least to the greatest, a thick one
/// over the middle four fifths, and the median.
pub(super) fn spread(low: f64, high: f64, [least, q10, median, q90, greatest]: [f64; 5]) -> String {
    let scale = if high > low { high - low } else { 1.0 };
    let x = |v: f64| ((v - low) / scale * 100.0).clamp(0.0, 100.0);
    let all = [low, high, least, q10, median, q90, greatest];
    if !all.iter().all(|v| v.is_finite()) {
        return String::new();
    }
    format!(
        "<svg class=\"spread\" viewBox=\"-1 0 102 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <path class=\"thin\" d=\"M{:.1} 5H{:.1}\"/><path class=\"thick\" d=\"M{:.1} 5H{:.1}\"/>\
         <path class=\"mid\" d=\"M{:.1} 1V9\"/></svg>",
        x(least),
        x(greatest),
        x(q10),
        x(q90).max(x(q10) + 0.5),
        x(median)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_bounded_and_keep_their_peaks() {
        let mut values = vec![0.0; 1_000_000];
        values[777_777] = 5.0;
        let drawn = lines(
            "a",
            "",
            &[Line {
                colour: 0,
                name: "",
                values,
            }],
        );
        assert!(drawn.len() < 8000, "{}", drawn.len());
        assert!(drawn.contains("0 to 5"));
        assert!(drawn.contains("L467 2"), "the peak is drawn: {drawn}");
    }

    #[test]
    fn values_that_are_no_numbers_break_the_line() {
        let line = |values: &[f64]| {
            let values = values.to_vec();
            lines(
                "<a>",
                " ms",
                &[Line {
                    colour: 1,
                    name: "b&",
                    values,
                }],
            )
        };
        assert!(line(&[f64::NAN, f64::INFINITY]).contains("no finite values"));
        assert_eq!(line(&[0.0, 1.0, f64::NAN, 3.0]).matches('M').count(), 2);
        assert!(line(&[]).contains("&lt;a&gt;") && !line(&[]).contains("b&<"));
        assert!(line(&[2.0, 2.0]).contains(">2 ms<"));
    }
}
