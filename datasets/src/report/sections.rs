//! What the page says of the whole dataset.

use super::html::{count, duration, escape, value};
use super::plot::{Bar, bars, spread};
use crate::doctor::{Finding, Report, Severity};
use crate::features::Feature;
use crate::journal::marks::EpisodeMarks;
use crate::reader::Dataset;
use crate::stats::{self, FeatureStats};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Findings that are listed.
const FINDINGS: usize = 100;
/// Findings that are seen at once.
const FIRST_FINDINGS: usize = 6;
/// Tasks that are listed.
const TASKS: usize = 200;
/// Episodes that have a bar of their own.
const BARS: usize = 300;
/// Entries of one feature whose statistics are shown.
const ENTRIES: usize = 64;
/// Features whose statistics are shown.
const FEATURES: usize = 64;

/// Name, totals, and whether all is well.
pub(super) fn overview(dataset: &Dataset, findings: &Report, marks: &EpisodeMarks) -> String {
    let info = dataset.info();
    let seconds = info.total_frames as f64 / f64::from(info.fps);
    let mut tiles = String::new();
    let mut tile = |label: &str, text: &str| {
        let _ = write!(tiles, "<div><dt>{label}</dt><dd>{text}</dd></div>");
    };
    tile("episodes", &count(info.total_episodes));
    tile("frames", &count(info.total_frames));
    tile("length", &duration(seconds));
    tile("rate", &format!("{} fps", info.fps));
    tile("tasks", &count(info.total_tasks));
    let cameras: Vec<String> = info
        .features
        .iter()
        .filter(|(_, f)| f.is_camera())
        .map(|(name, f)| {
            let name = name.strip_prefix(crate::IMAGES).unwrap_or(name);
            let codec = f.info.as_ref().and_then(|i| i.get("video.codec"));
            let codec = codec.and_then(|c| c.as_str()).unwrap_or(&f.dtype);
            let size = match f.shape[..] {
                [height, width, _] => format!(" {width}×{height}"),
                _ => String::new(),
            };
            format!("{}{size} {}", escape(name), escape(codec))
        })
        .collect();
    if !cameras.is_empty() {
        let small: Vec<String> = cameras
            .iter()
            .take(8)
            .map(|c| format!("<small>{c}</small>"))
            .collect();
        tile("cameras", &small.concat());
    }
    tile("size", &bytes(findings.checked.bytes));
    if !marks.episodes.is_empty() {
        tile("marked", &count(marks.episodes.len() as u64));
    }
    let robot = info.robot_type.as_deref().unwrap_or("robot not named");
    format!(
        "<header><div><h1>{}</h1><p>{} · LeRobot {}</p></div>{}</header><dl class=\"tiles\">{tiles}</dl>",
        escape(&super::name(dataset.root())),
        escape(robot),
        escape(&info.codebase_version),
        verdict(findings)
    )
}

fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            let digits = usize::from(unit != "B" && size < 100.0);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

fn verdict(findings: &Report) -> String {
    let (errors, warnings) = (
        findings.count(Severity::Error),
        findings.count(Severity::Warning),
    );
    let many = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (class, text) = match (errors, warnings) {
        (0, 0) => ("good", "no errors, no warnings".to_owned()),
        (0, n) => ("warning", many(n, "warning")),
        (n, 0) => ("error", many(n, "error")),
        (n, m) => (
            "error",
            format!("{}, {}", many(n, "error"), many(m, "warning")),
        ),
    };
    format!("<a class=\"verdict {class}\" href=\"#findings\">{text}</a>")
}

/// What the doctor found: the worst at once, the others on demand.
pub(super) fn findings(report: &Report) -> String {
    let listed = &report.findings[..report.findings.len().min(FINDINGS)];
    let (first, rest) = listed.split_at(listed.len().min(FIRST_FINDINGS));
    let list = |findings: &[Finding]| -> String {
        let items: String = findings.iter().map(finding).collect();
        format!("<ul class=\"findings\">{items}</ul>")
    };
    let unlisted: u64 = report.unlisted.values().sum();
    let beyond = (report.findings.len() - listed.len()) as u64 + unlisted;
    let mut body = match first {
        [] => "<p>Nothing is wrong, as far as this looked.</p>".to_owned(),
        some => list(some),
    };
    if !rest.is_empty() {
        let _ = write!(
            body,
            "<details class=\"more\"><summary>{} more</summary>{}</details>",
            rest.len(),
            list(rest)
        );
    }
    if beyond > 0 {
        let _ = write!(
            body,
            "<p class=\"left\">Left out: {} findings, which <code>sinew dataset doctor</code> lists or counts.</p>",
            count(beyond)
        );
    }
    let checked = &report.checked;
    format!(
        "<section id=\"findings\"><h2>Findings</h2>{body}<p class=\"left\">Examined: {} episodes, {} rows in {} files, {} videos, {} pictures.</p></section>",
        count(checked.episodes),
        count(checked.rows),
        count(checked.data_files),
        count(checked.video_files),
        count(checked.pictures)
    )
}

fn finding(finding: &Finding) -> String {
    let severity = finding.severity.to_string();
    format!(
        "<li class=\"{severity}\"><span class=\"pill\">{severity}</span><div><b>{}</b> <span class=\"place\">{}</span><br>{}<br><span class=\"remedy\">{}</span></div></li>",
        escape(&finding.code.to_string()),
        escape(&finding.place.to_string()),
        escape(&finding.message),
        escape(finding.remedy)
    )
}

/// Each task with how much there is of it.
pub(super) fn tasks(dataset: &Dataset, left_out: &mut Vec<String>) -> String {
    let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for episode in dataset.episodes() {
        for task in &episode.tasks {
            let (episodes, frames) = found.entry(task).or_default();
            *episodes += 1;
            *frames += episode.length;
        }
    }
    if found.len() > TASKS {
        left_out.push(format!("{} more tasks.", found.len() - TASKS));
    }
    let mut tasks: Vec<(&str, (u64, u64))> = found.into_iter().collect();
    tasks.sort_by_key(|(_, (_, frames))| std::cmp::Reverse(*frames));
    let fps = f64::from(dataset.info().fps);
    let rows: String = tasks
        .iter()
        .take(TASKS)
        .map(|(task, (episodes, frames))| {
            format!(
                "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(task),
                count(*episodes),
                count(*frames),
                duration(*frames as f64 / fps)
            )
        })
        .collect();
    format!(
        "<section><h2>Tasks</h2><div class=\"wide\"><table><thead><tr><th>task</th><th>episodes</th><th>frames</th><th>length</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )
}

/// How long the episodes are.
pub(super) fn lengths(dataset: &Dataset, shown: &[u64]) -> String {
    let all = dataset.episodes();
    let fps = f64::from(dataset.info().fps);
    let seconds = |frames: u64| duration(frames as f64 / fps);
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return String::new();
    };
    // Where there are too many, a bar stands for several and shows the longest.
    let together = all.len().div_ceil(BARS);
    let drawn: Vec<Bar> = all
        .chunks(together)
        .map(|part| {
            let longest = part.iter().max_by_key(|e| e.length).unwrap_or(first);
            let link = shown.binary_search(&longest.index).ok();
            Bar {
                height: longest.length as f64,
                hint: format!(
                    "episode {}: {} frames, {}",
                    longest.index,
                    longest.length,
                    seconds(longest.length)
                ),
                link: link.map(|_| format!("e{}", longest.index)),
            }
        })
        .collect();
    let mut lengths: Vec<u64> = all.iter().map(|e| e.length).collect();
    lengths.sort_unstable();
    let (shortest, longest) = (lengths[0], lengths[lengths.len() - 1]);
    format!(
        "<section><h2>Lengths</h2><p>From {} to {}, in the middle {}.{}</p>{}</section>",
        seconds(shortest),
        seconds(longest),
        seconds(lengths[lengths.len() / 2]),
        match together {
            1 => String::new(),
            n => format!(" A bar is the longest of {n} episodes."),
        },
        bars(
            "length of each episode",
            &drawn,
            &format!("episode {}", first.index),
            &format!("episode {}", last.index)
        )
    )
}

/// The stored statistics.
pub(super) fn statistics(dataset: &Dataset, left_out: &mut Vec<String>) -> String {
    let stored = match stats::read(dataset.root(), dataset.info()) {
        Ok(stored) => stored,
        Err(error) => {
            let problem = super::problem(&error);
            return format!("<section><h2>Statistics</h2>{problem}</section>");
        }
    };
    if stored.0.len() > FEATURES {
        let beyond = stored.0.len() - FEATURES;
        left_out.push(format!("Statistics of {beyond} more features."));
    }
    let tables: String = stored
        .0
        .iter()
        .take(FEATURES)
        .map(|(name, stats)| {
            let feature = dataset.info().features.get(name);
            if stats.mean.len() > ENTRIES {
                let beyond = stats.mean.len() - ENTRIES;
                left_out.push(format!("Statistics of {beyond} more entries of {name}."));
            }
            format!(
                "<details><summary><b>{}</b> <span class=\"length\">{} values</span></summary>{}</details>",
                escape(name),
                count(stats.count),
                table(stats, feature)
            )
        })
        .collect();
    format!("<section class=\"statistics\"><h2>Statistics</h2>{tables}</section>")
}

fn table(stats: &FeatureStats, feature: Option<&Feature>) -> String {
    let low = stats.min.iter().copied().fold(f64::INFINITY, f64::min);
    let high = stats.max.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let columns: [&[f64]; 7] = [
        &stats.min,
        &stats.quantiles[0],
        &stats.quantiles[2],
        &stats.quantiles[4],
        &stats.max,
        &stats.mean,
        &stats.std,
    ];
    let mut rows = String::new();
    for entry in 0..stats.mean.len().min(ENTRIES) {
        let at = |values: &[f64]| values.get(entry).copied().unwrap_or(f64::NAN);
        let name = feature.and_then(|f| f.stat_entry(entry));
        let _ = write!(
            rows,
            "<tr><th>{}</th><td>{}</td>",
            escape(&name.unwrap_or_default()),
            spread(
                low,
                high,
                [
                    at(&stats.min),
                    at(&stats.quantiles[1]),
                    at(&stats.quantiles[2]),
                    at(&stats.quantiles[3]),
                    at(&stats.max)
                ]
            )
        );
        for column in columns {
            let _ = write!(rows, "<td>{}</td>", value(at(column)));
        }
        rows.push_str("</tr>");
    }
    format!(
        "<div class=\"wide\"><table><thead><tr><th></th><th class=\"left\">spread</th><th>min</th><th>q01</th><th>median</th><th>q99</th><th>max</th><th>mean</th><th>std</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// What the page does not show.
pub(super) fn left_out(list: &[String]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let items: String = list
        .iter()
        .map(|l| format!("<li>{}</li>", escape(l)))
        .collect();
    format!("<section class=\"leftout\"><h2>Left out</h2><ul>{items}</ul></section>")
}
