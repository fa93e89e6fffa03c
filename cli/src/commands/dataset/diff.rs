//! `sinew dataset diff`: in what two datasets differ.

use super::args::Diff as Args;
use super::progress::Progress;
use super::text::{cut, figure, wrap};
use super::{ask_doctor, check_folder};
use crate::failure::Verdict;
use anyhow::Result;
use sinew_datasets::diff::{
    ColumnDiff, Diff, EpisodeDiff, HeadDiff, Options, StatisticDiff, VideoVerdict, diff as compare,
};

/// Exit code when they differ.
const DIFFERENT: u8 = 1;
/// Columns before what is said.
const INDENT: usize = 12;
/// Episodes of which the columns and cameras are printed.
const DETAILED: usize = 20;

/// Runs the command.
pub(super) fn diff(args: &Args) -> Result<()> {
    for path in [&args.a, &args.b] {
        check_folder(path)?;
        // An unreadable one is named, and with it who knows more.
        sinew_datasets::Dataset::open(path).map_err(|e| ask_doctor(path, &e))?;
    }
    let options = Options {
        pictures: !args.no_pictures,
    };
    let mut progress = Progress::new("episodes");
    let found = compare(&args.a, &args.b, &options, &mut |done, total| {
        progress.at(done, total);
    })
    .map_err(crate::failure::usage)?;
    drop(progress);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found);
    }
    if found.is_same() {
        Ok(())
    } else {
        Err(Verdict(DIFFERENT).into())
    }
}

fn print(found: &Diff) {
    found
        .head
        .iter()
        .for_each(|head| say("head", &head_text(head)));
    let tasks = [("a", &found.tasks_only_a), ("b", &found.tasks_only_b)];
    for (side, list) in tasks {
        for task in list.iter().take(DETAILED) {
            say("tasks", &format!("only in {side}: {}", cut(task, 300)));
        }
        more("tasks", list.len().saturating_sub(DETAILED) as u64);
    }
    for (side, list) in [("a", &found.only_a), ("b", &found.only_b)] {
        if !list.is_empty() {
            say("episodes", &format!("only in {side}: {}", ranges(list)));
        }
    }
    for (a, b) in found.moved.iter().take(DETAILED) {
        say("episodes", &format!("{a} of a is {b} of b: moved"));
    }
    more(
        "episodes",
        found.moved.len().saturating_sub(DETAILED) as u64,
    );
    for episode in found.episodes.iter().take(DETAILED) {
        print_episode(episode);
    }
    let beyond = found.episodes.len().saturating_sub(DETAILED) as u64;
    more("episodes", beyond + found.unlisted);
    for statistic in &found.statistics {
        say("statistics", &statistic_text(statistic));
    }
    found
        .notes
        .iter()
        .for_each(|note| say("note", &cut(note, 1000)));
    let videos = found.videos;
    println!(
        "{} episodes are the same, {} differ, {} only in a, {} only in b",
        found.same_episodes,
        found.episodes.len() as u64 + found.unlisted,
        found.only_a.len(),
        found.only_b.len()
    );
    if videos.same_bytes + videos.same_frames + videos.differing > 0 {
        println!(
            "videos: {} with the same bytes, {} with the same frames, {} differ",
            videos.same_bytes, videos.same_frames, videos.differing
        );
    }
    let verdict = if found.is_same() {
        "the same"
    } else {
        "different"
    };
    println!("the datasets are {verdict}");
}

fn say(label: &str, text: &str) {
    for (number, line) in wrap(text, INDENT).iter().enumerate() {
        println!("{:<INDENT$}{line}", if number == 0 { label } else { "" });
    }
}

fn more(label: &str, count: u64) {
    if count > 0 {
        say(label, &format!("… and {count} more"));
    }
}

fn head_text(head: &HeadDiff) -> String {
    let side = |text: &Option<String>| {
        let said = text.as_deref().map(|t| cut(t, 200));
        said.unwrap_or_else(|| "nothing".into())
    };
    format!(
        "{}: {} in a, {} in b",
        cut(&head.what, 200),
        side(&head.a),
        side(&head.b)
    )
}

fn print_episode(episode: &EpisodeDiff) {
    let (a, b) = (episode.a, episode.b);
    let who = if a == b {
        format!("{a}")
    } else {
        format!("{a} of a, {b} of b")
    };
    let mut said = Vec::new();
    if episode.rows_a != episode.rows_b {
        said.push(format!(
            "{} rows in a, {} in b (compared from row {} of a and {} of b)",
            episode.rows_a, episode.rows_b, episode.from_a, episode.from_b
        ));
    }
    said.extend(episode.columns.iter().map(column_text));
    said.extend(episode.videos.iter().map(|video| {
        format!(
            "{}: {}",
            cut(&video.camera, 100),
            video_text(&video.verdict)
        )
    }));
    if let Some(marks) = &episode.marks {
        let lost = |m: &sinew_datasets::EpisodeMark| {
            let recovered = if m.recovered { ", recovered" } else { "" };
            let early = if m.ended_early.is_some() {
                ", ended early"
            } else {
                ""
            };
            format!("{} rows dropped{recovered}{early}", m.dropped_rows)
        };
        said.push(format!(
            "marks: {} in a, {} in b",
            lost(&marks.0),
            lost(&marks.1)
        ));
    }
    for (number, text) in said.iter().enumerate() {
        let label = if number == 0 { "episode" } else { "" };
        let head = if number == 0 {
            format!("{who}: ")
        } else {
            String::new()
        };
        say(label, &format!("{head}{text}"));
    }
}

fn column_text(column: &ColumnDiff) -> String {
    let rows = format!(
        "{}: {} rows, first {}",
        cut(&column.feature, 100),
        column.rows,
        column.first_row
    );
    let Some(largest) = &column.largest else {
        return rows;
    };
    let entry = largest
        .entry
        .as_ref()
        .map(|e| format!(" in {}", cut(e, 60)));
    format!(
        "{rows}; furthest apart{} at row {}: {} and {}",
        entry.unwrap_or_default(),
        largest.row,
        figure(largest.a),
        figure(largest.b)
    )
}

fn video_text(verdict: &VideoVerdict) -> String {
    match verdict {
        VideoVerdict::Pictures {
            first_row,
            rows,
            worst_row,
            largest,
            mean,
        } => format!(
            "{rows} pictures, first {first_row}; furthest apart in {worst_row}: by up to {}, {} on average",
            figure(*largest),
            figure(*mean)
        ),
        VideoVerdict::Sizes { row, a, b } => format!(
            "picture {row} is {}×{} in a and {}×{} in b",
            a.0, a.1, b.0, b.1
        ),
        VideoVerdict::Encoded { first_row } => {
            format!("encoded frames differ from {first_row} on; pictures were not compared")
        }
        VideoVerdict::Unreadable { problem } => cut(problem, 400),
    }
}

fn statistic_text(statistic: &StatisticDiff) -> String {
    let value = |v: Option<f64>| v.map_or("nothing".into(), figure);
    let entry = statistic.entry.as_ref().map(|e| format!("/{}", cut(e, 60)));
    let others = match statistic.values {
        1 => String::new(),
        n => format!("; {} values differ", n),
    };
    format!(
        "{}{}: {} is {} in a, {} in b{others}",
        cut(&statistic.feature, 100),
        entry.unwrap_or_default(),
        statistic.name,
        value(statistic.a),
        value(statistic.b)
    )
}

/// Numbers in order as 3, 7–9, …
fn ranges(numbers: &[u64]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let length = rest
            .iter()
            .zip(*first..)
            .take_while(|(n, expected)| *n == expected)
            .count();
        let last = first + length as u64 - 1;
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&match length {
            1 => first.to_string(),
            _ => format!("{first}–{last}"),
        });
        rest = &rest[length..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_numbers_are_ranges() {
        assert_eq!(ranges(&[0, 2, 3, 4, 9]), "0, 2–4, 9");
        assert_eq!(ranges(&[]), "");
    }
}
