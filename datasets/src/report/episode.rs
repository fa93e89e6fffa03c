//! One episode on the page: its pictures, its joints over time, its true times.

use super::html::{count, duration, escape, value};
use super::pictures::Strips;
use super::plot::{Line, lines};
use super::timing;
use crate::episodes::Episode;
use crate::error::Result;
use crate::features::{ACTION, DEFAULT_FEATURES, STATE};
use crate::journal::marks::EpisodeMark;
use crate::reader::{Dataset, Series};
use std::fmt::Write;

/// Plots of one episode.
const PLOTS: usize = 40;

/// An episode to show.
pub(super) struct Page<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) entry: &'a Episode,
    pub(super) mark: Option<&'a EpisodeMark>,
}

impl Page<'_> {
    /// The episode with its details.
    pub(super) fn whole(&self, strips: &mut Strips, open: bool) -> String {
        let details = self.details(strips);
        // The link's target lies inside, so that following it opens the episode.
        format!(
            "<details class=\"episode\"{}><summary>{}{}</summary><div class=\"inside\" id=\"e{}\">{details}</div></details>",
            if open { " open" } else { "" },
            strips.icon(self.entry),
            self.head(),
            self.entry.index
        )
    }

    /// The episode without details.
    pub(super) fn bare(&self) -> String {
        format!(
            "<div class=\"episode bare\" id=\"e{}\">{}</div>",
            self.entry.index,
            self.head()
        )
    }

    fn head(&self) -> String {
        let entry = self.entry;
        let seconds = entry.length as f64 / f64::from(self.dataset.info().fps);
        let tasks: Vec<String> = entry.tasks.iter().take(8).map(|t| escape(t)).collect();
        format!(
            "<span class=\"number\">{}</span><span class=\"task\">{}</span>{}<span class=\"length\">{} frames · {}</span>",
            entry.index,
            tasks.join(" · "),
            self.badges(),
            count(entry.length),
            duration(seconds)
        )
    }

    fn badges(&self) -> String {
        let Some(mark) = self.mark else {
            return String::new();
        };
        let mut html = String::new();
        let mut badge = |text: String| {
            let _ = write!(html, "<span class=\"badge\">{}</span>", escape(&text));
        };
        if mark.dropped_rows > 0 {
            badge(format!("{} rows dropped", mark.dropped_rows));
        }
        if mark.recovered {
            badge("recovered".into());
        }
        if let Some(why) = &mark.ended_early {
            badge(format!("ended early: {why}"));
        }
        html
    }

    /// Pictures and plots.
    fn details(&self, strips: &mut Strips) -> String {
        let mut html = strips.draw(self.dataset, self.entry);
        match self.plots() {
            Ok(plots) => html.push_str(&plots),
            Err(error) => html.push_str(&super::problem(&error)),
        }
        html
    }

    fn plots(&self) -> Result<String> {
        let episode = self.entry.index;
        let features = &self.dataset.info().features;
        let read = |name: &str| {
            let numeric = features.get(name).is_some_and(|f| f.is_numeric());
            numeric
                .then(|| self.dataset.series(episode, name))
                .transpose()
        };
        let mut drawn = joints(read(STATE)?.as_ref(), read(ACTION)?.as_ref());
        let others = features.iter().filter(|(name, f)| {
            let own = DEFAULT_FEATURES.iter().any(|(n, _)| n == name);
            f.is_numeric() && !own && ![STATE, ACTION, timing::FEATURE].contains(name)
        });
        let mut beyond = 0;
        for (name, _) in others {
            if drawn.len() >= PLOTS {
                beyond += 1;
                continue;
            }
            let series = self.dataset.series(episode, name)?;
            let single = series.width == 1;
            drawn.extend((0..series.width).map(|at| {
                let title = if single {
                    name.to_owned()
                } else {
                    format!("{name} · {}", entry_name(&series, at))
                };
                lines(&title, "", &[line(0, "", &series, at)])
            }));
        }
        let more = drawn.len().saturating_sub(PLOTS);
        drawn.truncate(PLOTS);
        let mut html = format!("<div class=\"plots\">{}</div>", drawn.concat());
        if more + beyond > 0 {
            let _ = write!(
                html,
                "<p class=\"left\">Left out: {more} more plots, and {beyond} more features.</p>"
            );
        }
        html.push_str(&timing::of_episode(self.dataset, episode)?);
        Ok(html)
    }
}

/// State against action, joint by joint; what only one of them has stands alone.
fn joints(state: Option<&Series>, action: Option<&Series>) -> Vec<String> {
    let mut plots = Vec::new();
    let mut used = Vec::new();
    for at in 0..state.map_or(0, |s| s.width) {
        let Some(state) = state else { break };
        let name = entry_name(state, at);
        let same = action.and_then(|action| {
            let named = action.names.iter().position(|n| *n == name);
            // Without names the places speak.
            let nameless = state.names.is_empty() && action.names.is_empty();
            named.or((nameless && at < action.width).then_some(at))
        });
        let mut drawn = vec![line(0, "", state, at)];
        let mut title = name;
        if let (Some(action), Some(other)) = (action, same) {
            used.push(other);
            let error = mean_apart(state, at, action, other);
            drawn.push(line(1, "", action, other));
            title = format!("{title} · {} apart", value(error));
        }
        plots.push(lines(&title, "", &drawn));
    }
    if let Some(action) = action {
        let alone = (0..action.width).filter(|at| !used.contains(at));
        plots.extend(alone.map(|at| {
            let title = format!("action · {}", entry_name(action, at));
            lines(&title, "", &[line(1, "", action, at)])
        }));
    }
    plots
}

/// Mean distance of two entries.
fn mean_apart(a: &Series, at: usize, b: &Series, other: usize) -> f64 {
    let column = |s: &Series, at: usize| -> Vec<f64> {
        s.values.iter().skip(at).step_by(s.width).copied().collect()
    };
    let (a, b) = (column(a, at), column(b, other));
    let sum: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum();
    sum / a.len().min(b.len()).max(1) as f64
}

fn entry_name(series: &Series, at: usize) -> String {
    let name = series
        .names
        .get(at)
        .filter(|_| series.names.len() == series.width);
    name.cloned().unwrap_or_else(|| at.to_string())
}

fn line<'a>(colour: usize, name: &'a str, series: &Series, at: usize) -> Line<'a> {
    Line {
        colour,
        name,
        values: series
            .values
            .iter()
            .skip(at)
            .step_by(series.width.max(1))
            .copied()
            .collect(),
    }
}
