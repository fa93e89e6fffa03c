//! `sinew hub fsck | gc | stats | backup | restore | audit`.

use super::args::{Audit, Backup, Fsck, Gc, Stats};
use super::serve::block_on;
use super::text::{bytes, count};
use super::{Failure, Scene};
use crate::operate::{self, AuditFilter, FsckOptions, FsckReport, GcOptions, GcReport};
use std::time::Duration;

/// Exit code of `fsck` when something is not sound.
const DAMAGED: u8 = 4;
/// Problems that are printed.
const SHOWN: usize = 200;

pub(super) fn fsck(args: &Fsck, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let report = block_on(async {
        let hub = args.common.data.open(&scene.environment).await?;
        let options = FsckOptions {
            reads_contents: !args.quick,
        };
        let mut silent = |_: &str| {};
        Ok(operate::fsck(&hub, &options, &mut silent).await?)
    })?;
    match args.common.json {
        true => scene.json(&report)?,
        false => print_fsck(&report, scene)?,
    }
    match report.problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Verdict(DAMAGED)),
    }
}

fn print_fsck(report: &FsckReport, scene: &mut Scene<'_>) -> Result<(), Failure> {
    for problem in report.problems.iter().take(SHOWN) {
        scene.say(&format!("{}: {}", problem.what, problem.message))?;
    }
    if let Some(more) = report
        .problems
        .len()
        .checked_sub(SHOWN)
        .filter(|more| *more > 0)
    {
        scene.say(&format!("and {more} more"))?;
    }
    let verdict = match report.problems.len() {
        0 => "everything is sound".to_owned(),
        problems => count(problems as u64, "problem"),
    };
    scene.say(&format!(
        "{verdict}: {}, {}, {}, {}, {}, {}, {} read",
        count(report.refs, "ref"),
        count(report.commits, "commit"),
        count(report.trees, "tree"),
        count(report.blobs, "blob"),
        count(report.files, "large file"),
        count(report.xorbs, "xorb"),
        bytes(report.bytes)
    ))
}

pub(super) fn gc(args: &Gc, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let report = block_on(async {
        let hub = args.common.data.open(&scene.environment).await?;
        let options = GcOptions {
            older_than: Duration::from_secs(u64::from(args.older_than) * 86_400),
            is_dry_run: args.dry_run,
        };
        Ok(operate::gc(&hub, &options).await?)
    })?;
    match args.common.json {
        true => scene.json(&report),
        false => scene.say(&gc_text(&report, args.dry_run)),
    }
}

fn gc_text(report: &GcReport, is_dry_run: bool) -> String {
    format!(
        "{} unused; {}: {}, {}, {}, {}, {} with {}",
        count(report.unused, "thing"),
        if is_dry_run {
            "would be removed"
        } else {
            "removed"
        },
        count(report.commits, "commit"),
        count(report.git_objects, "git object"),
        count(report.files, "large file"),
        count(report.xorbs, "xorb"),
        count(report.objects, "object"),
        bytes(report.bytes)
    )
}

pub(super) fn stats(args: &Stats, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let stats = block_on(async {
        let hub = args.common.data.open(&scene.environment).await?;
        Ok(operate::stats(&hub).await?)
    })?;
    if args.common.json {
        return scene.json(&stats);
    }
    let mut lines = vec![
        ("users", stats.users.to_string()),
        ("organisations", stats.orgs.to_string()),
    ];
    lines.extend(
        stats
            .repos
            .iter()
            .map(|(kind, number)| (kind.as_str(), number.to_string())),
    );
    lines.extend([
        ("commits", stats.commits.to_string()),
        (
            "small files",
            format!("{}, {}", stats.blobs, bytes(stats.blob_bytes)),
        ),
        (
            "large files",
            format!("{}, {}", stats.large_files, bytes(stats.large_bytes)),
        ),
        (
            "xorbs",
            format!("{}, {}", stats.xorbs, bytes(stats.xorb_bytes)),
        ),
        ("large files without Xet", bytes(stats.plain_bytes)),
    ]);
    lines
        .iter()
        .try_for_each(|(what, figure)| scene.say(&format!("{what:<24}{figure}")))
}

pub(super) fn backup(args: &Backup, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let report = block_on(async {
        let hub = args.common.data.open(&scene.environment).await?;
        Ok(operate::backup(&hub, &args.folder).await?)
    })?;
    match args.common.json {
        true => scene.json(&report),
        false => scene.say(&format!(
            "{} has {} and {} now, {} of it new",
            args.folder.display(),
            count(report.rows, "row"),
            count(report.objects, "object"),
            bytes(report.copied_bytes)
        )),
    }
}

pub(super) fn restore(args: &Backup, scene: &mut Scene<'_>) -> Result<(), Failure> {
    if !args.folder.is_dir() {
        return Err(Failure::Usage(format!(
            "there is no backup at {}",
            args.folder.display()
        )));
    }
    let options = args.common.data.options(&scene.environment)?;
    let report = block_on(async { Ok(operate::restore(&args.folder, &options).await?) })?;
    match args.common.json {
        true => scene.json(&report),
        false => scene.say(&format!(
            "restored {} and {}, {}",
            count(report.rows, "row"),
            count(report.objects, "object"),
            bytes(report.copied_bytes)
        )),
    }
}

pub(super) fn audit(args: &Audit, scene: &mut Scene<'_>) -> Result<(), Failure> {
    block_on(async {
        let hub = args.data.open(&scene.environment).await?;
        let filter = AuditFilter {
            from_ms: args.since,
            until_ms: args.until,
        };
        operate::export_audit(&hub, &filter, scene.out).await?;
        Ok(())
    })
}
