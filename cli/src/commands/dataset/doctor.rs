//! `sinew dataset doctor`: everything that is wrong with a dataset.

use super::args::Doctor;
use super::check_folder;
use super::text::{bytes, cut, wrap};
use crate::failure::Verdict;
use anyhow::Result;
use sinew_datasets::doctor::{Finding, Options, Report, Severity, examine};

/// Exit code when there are warnings and no errors.
const WARNINGS: u8 = 3;
/// Exit code when there are errors.
const ERRORS: u8 = 4;
/// Columns before a finding's text.
const INDENT: usize = 9;

/// Runs the command.
pub(super) fn doctor(args: &Doctor) -> Result<()> {
    check_folder(&args.path)?;
    let mut options = if args.deep {
        Options::thorough()
    } else {
        Options::default()
    };
    if args.no_pictures {
        options.pictures = 0;
    }
    let report = examine(&args.path, &options);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    match report.worst() {
        Some(Severity::Error) => Err(Verdict(ERRORS).into()),
        Some(Severity::Warning) => Err(Verdict(WARNINGS).into()),
        _ => Ok(()),
    }
}

fn print(report: &Report) {
    report.findings.iter().for_each(print_finding);
    for (code, more) in &report.unlisted {
        println!("{:<INDENT$}{more} more findings of {code}", code.severity());
    }
    let checked = &report.checked;
    println!(
        "{} episodes, {} rows in {} files, {} videos, {} pictures, {}",
        checked.episodes,
        checked.rows,
        checked.data_files,
        checked.video_files,
        checked.pictures,
        bytes(checked.bytes)
    );
    let count = |severity| report.count(severity);
    println!(
        "{} errors, {} warnings, {} notes",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Note)
    );
}

fn print_finding(finding: &Finding) {
    let head = format!("{} · {}", finding.code, finding.place);
    let mut lines = wrap(&cut(&head, 1000), INDENT);
    lines.extend(wrap(&cut(&finding.message, 1000), INDENT));
    let remedy = wrap(finding.remedy, INDENT + 2);
    let arrow = |(number, line): (usize, &String)| {
        format!("{} {line}", if number == 0 { "→" } else { " " })
    };
    lines.extend(remedy.iter().enumerate().map(arrow));
    for (number, line) in lines.iter().enumerate() {
        let severity = if number == 0 {
            finding.severity.to_string()
        } else {
            String::new()
        };
        println!("{severity:<INDENT$}{line}");
    }
}
