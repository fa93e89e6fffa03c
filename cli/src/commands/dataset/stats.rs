//! `sinew dataset stats`: stored statistics, compared with the data or computed anew.

use super::args::Stats as Args;
use super::progress::Progress;
use super::text::{cut, figure, wrap};
use super::{ask_doctor, check_folder, open};
use crate::failure::Verdict;
use anyhow::Result;
use serde_json::{Map, Value, json};
use sinew_datasets::stats::{
    self, CheckReport, Discrepancy, FeatureStats, QUANTILES, Stats, check, recompute,
};
use sinew_datasets::{Dataset, Features};

/// Exit code when stored statistics are wrong.
const WRONG: u8 = 1;
/// Columns before a discrepancy's text.
const INDENT: usize = 13;

/// Runs the command.
pub(super) fn stats(args: &Args) -> Result<()> {
    check_folder(&args.path)?;
    let dataset = open(&args.path)?;
    if args.check {
        return compare(args, &dataset);
    }
    let notes = if args.write {
        let mut progress = Progress::new("episodes");
        let new = recompute(&dataset, &mut |done, total| progress.at(done, total))
            .map_err(|e| ask_doctor(&args.path, &e))?;
        stats::write(&dataset, &new)?;
        new.notes
    } else {
        Vec::new()
    };
    let stored = stats::read(&args.path, dataset.info()).map_err(|e| ask_doctor(&args.path, &e))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&stored))?);
    } else {
        print(&stored, &dataset.info().features);
        notes.iter().for_each(|note| print_text("note", note));
        if args.write {
            println!(
                "written, with those of {} episodes",
                dataset.episodes().len()
            );
        }
    }
    Ok(())
}

fn as_json(stats: &Stats) -> Value {
    let features = stats.0.iter().map(|(name, stats)| {
        let mut values = Map::new();
        for (what, list) in named(stats) {
            values.insert(what.to_owned(), json!(list));
        }
        values.insert("count".into(), json!(stats.count));
        (name.clone(), Value::Object(values))
    });
    Value::Object(features.collect())
}

/// Names and values of a feature's statistics.
fn named(stats: &FeatureStats) -> Vec<(&'static str, &[f64])> {
    let mut all: Vec<(&'static str, &[f64])> = vec![
        ("min", &stats.min),
        ("max", &stats.max),
        ("mean", &stats.mean),
        ("std", &stats.std),
    ];
    for ((name, _), values) in QUANTILES.iter().zip(&stats.quantiles) {
        all.push((*name, values.as_slice()));
    }
    all
}

fn print(stats: &Stats, features: &Features) {
    const COLUMNS: [(&str, usize); 9] = [
        ("min", 0),
        ("q01", 4),
        ("q10", 5),
        ("q50", 6),
        ("q90", 7),
        ("q99", 8),
        ("max", 1),
        ("mean", 2),
        ("std", 3),
    ];
    for (name, stats) in &stats.0 {
        println!("{}, {} values each", cut(name, 70), stats.count);
        print!("  {:<17}", "");
        COLUMNS.iter().for_each(|(name, _)| print!("{name:>9}"));
        println!();
        let values = named(stats);
        let feature = features.get(name);
        for entry in 0..stats.mean.len() {
            let entry_name = feature.and_then(|f| f.stat_entry(entry));
            print!("  {:<17}", cut(entry_name.as_deref().unwrap_or(""), 17));
            for (_, at) in COLUMNS {
                let value = values[at].1.get(entry).copied();
                print!("{:>9}", value.map_or("–".into(), narrow));
            }
            println!();
        }
    }
}

/// A value in at most eight columns.
fn narrow(value: f64) -> String {
    let text = figure(value);
    if text.len() <= 8 {
        text
    } else {
        format!("{value:.1e}")
    }
}

fn compare(args: &Args, dataset: &Dataset) -> Result<()> {
    let mut progress = Progress::new("episodes");
    let report = check(dataset, &mut |done, total| progress.at(done, total))
        .map_err(|e| ask_doctor(&args.path, &e))?;
    drop(progress);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_check(&report);
    }
    if report.wrong > 0 {
        return Err(Verdict(WRONG).into());
    }
    Ok(())
}

fn print_check(report: &CheckReport) {
    for found in &report.discrepancies {
        let severity = if found.approximate {
            "approximate"
        } else {
            "wrong"
        };
        print_text(severity, &said(found));
    }
    if report.unlisted > 0 {
        println!("{:<INDENT$}{} more", "", report.unlisted);
    }
    report
        .notes
        .iter()
        .for_each(|note| print_text("note", note));
    let listed = report.discrepancies.len() as u64 + report.unlisted;
    println!(
        "{} statistics compared: {} wrong, {} approximate",
        report.compared,
        report.wrong,
        listed - report.wrong
    );
    if listed > 0 {
        println!("`sinew dataset stats --write` computes them anew");
    }
}

fn said(found: &Discrepancy) -> String {
    let place = match found.episode {
        Some(episode) => format!("episode {episode}"),
        None => "dataset".into(),
    };
    let entry = found.entry.as_ref().map(|e| format!("/{e}"));
    let head = format!("{place} · {}{}", found.feature, entry.unwrap_or_default());
    format!("{}: {}", cut(&head, 200), cut(&found.problem, 400))
}

fn print_text(label: &str, text: &str) {
    for (number, line) in wrap(text, INDENT).iter().enumerate() {
        println!("{:<INDENT$}{line}", if number == 0 { label } else { "" });
    }
}
