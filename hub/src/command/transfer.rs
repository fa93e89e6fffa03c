//! `sinew hub push | pull | diff`.

use super::args::{Diff, Pull, Push};
use super::progress::Ticker;
use super::repository::{client, with_type};
use super::text::{bytes, count, rate, shown};
use super::{Failure, Scene};
use crate::client::xet::Progress;
use crate::client::{
    self, Difference, HubClient, Message, PullOptions, PullReport, PushOptions, PushReport,
    RepoHead, RepoId, by_path, compare, guess_kind, scan,
};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Exit code of `diff` when there are differences.
const DIFFERENT: u8 = 1;
/// Files that are compared at the same time.
const COMPARED: usize = 8;

pub(super) fn push(args: &Push, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let began = Instant::now();
    let hub = client(scene, &args.hub)?;
    let name = with_type(&args.repo, args.kind)?;
    let local = scan(&args.folder)?;
    if local.is_empty() {
        return Err(Failure::Usage(format!(
            "{} has no files to push",
            args.folder.display()
        )));
    }
    let kind = name.kind.or_else(|| guess_kind(&local)).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has neither meta/info.json (a dataset) nor config.json or policy.toml (a policy); say what it is with --type",
            args.folder.display()
        ))
    })?;
    let repo = RepoId {
        kind,
        name: name.full(),
    };
    let progress = Arc::new(Progress::default());
    let ticker = Ticker::start("push", &progress, scene.shows_progress);
    let head = find_or_make(&hub, &repo, args)?;
    let remote = by_path(hub.tree(&repo, &head.commit, "", true)?);
    let title = format!("Push {}", count(local.len() as u64, "file"));
    let options = PushOptions {
        branch: args.revision.clone(),
        message: Message {
            title: args.message.clone().unwrap_or(title),
            ..Message::default()
        },
        deletes: args.delete,
        ..PushOptions::default()
    };
    let report = client::push(&hub, &repo, &local, &remote, &options, &progress)?;
    drop(ticker);
    match args.watch.json {
        true => scene.json(&push_json(&hub, &repo, &report, &progress, began.elapsed())),
        false => scene.say(&push_text(&hub, &repo, &report, began.elapsed())),
    }
}

/// The repository; a new one only where none is, and only on its first branch.
fn find_or_make(hub: &HubClient, repo: &RepoId, args: &Push) -> Result<RepoHead, Failure> {
    match hub.head(repo, &args.revision) {
        Err(error) if error.is_no_repository() => {
            hub.create_repo(repo, args.private)?;
            Ok(hub.head(repo, &args.revision)?)
        }
        found => Ok(found?),
    }
}

fn push_json(
    hub: &HubClient,
    repo: &RepoId,
    report: &PushReport,
    progress: &Progress,
    elapsed: Duration,
) -> serde_json::Value {
    let commits: Vec<_> = report
        .commits
        .iter()
        .map(|one| json!({"commit": one.commit, "url": one.url}))
        .collect();
    json!({
        "repository": repo.name, "type": repo.kind.singular(), "endpoint": hub.endpoint(),
        "files": report.files, "changed": report.changed, "changed_bytes": report.changed_bytes,
        "deleted": report.deleted, "ignored": report.ignored, "packed_bytes": report.sent_bytes,
        "wire_bytes": progress.wire_bytes.load(Ordering::Relaxed),
        "seconds": elapsed.as_secs_f64(), "commits": commits,
    })
}

fn push_text(hub: &HubClient, repo: &RepoId, report: &PushReport, elapsed: Duration) -> String {
    let place = format!("{repo} on {}", hub.endpoint());
    let Some(last) = report.commits.last() else {
        return format!("{place} has all {} already", count(report.files, "file"));
    };
    let deleted = match report.deleted {
        0 => String::new(),
        deleted => format!(", {} deleted", count(deleted, "file")),
    };
    format!(
        "{} pushed to {place}: {} in {:.1} s, {} of it new{deleted}\n{}",
        count(report.changed, "file"),
        bytes(report.changed_bytes),
        elapsed.as_secs_f64(),
        bytes(report.sent_bytes),
        shown(&last.url)
    )
}

pub(super) fn pull(args: &Pull, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let began = Instant::now();
    let hub = client(scene, &args.hub)?;
    let name = with_type(&args.repo, args.kind)?;
    let folder = args
        .folder
        .clone()
        .unwrap_or_else(|| PathBuf::from(&name.name));
    let progress = Arc::new(Progress::default());
    let ticker = Ticker::start("pull", &progress, scene.shows_progress);
    let head = hub.find(&name, &args.revision)?;
    let entries = hub.tree(&head.repo, &head.commit, "", true)?;
    let options = PullOptions {
        connections: usize::from(args.connections),
    };
    let report = client::pull(&hub, &head, &entries, &folder, &options, &progress)?;
    drop(ticker);
    let elapsed = began.elapsed();
    if args.watch.json {
        return scene.json(&json!({
            "repository": head.repo.name, "type": head.repo.kind.singular(), "endpoint": hub.endpoint(),
            "commit": head.commit, "folder": folder, "files": report.files, "fetched": report.fetched,
            "fetched_bytes": report.fetched_bytes,
            "wire_bytes": progress.wire_bytes.load(Ordering::Relaxed), "seconds": elapsed.as_secs_f64(),
        }));
    }
    scene.say(&pull_text(
        &head,
        &folder.display().to_string(),
        &report,
        elapsed,
    ))
}

fn pull_text(head: &RepoHead, folder: &str, report: &PullReport, elapsed: Duration) -> String {
    match report.fetched {
        0 => format!(
            "{folder} has all {} of {} already",
            count(report.files, "file"),
            head.repo
        ),
        fetched => format!(
            "{} pulled from {} to {folder}: {} in {:.1} s, {}",
            count(fetched, "file"),
            head.repo,
            bytes(report.fetched_bytes),
            elapsed.as_secs_f64(),
            rate(report.fetched_bytes, elapsed)
        ),
    }
}

pub(super) fn diff(args: &Diff, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let hub = client(scene, &args.hub)?;
    let name = with_type(&args.repo, args.kind)?;
    let local = scan(&args.folder)?;
    let head = hub.find(&name, &args.revision)?;
    let remote = by_path(hub.tree(&head.repo, &head.commit, "", true)?);
    // The hub makes this one itself.
    let is_own = |path: &str| path == ".gitattributes";
    let mut found = compare(&local, &remote, COMPARED).map_err(as_usage)?;
    found.retain(|(path, difference)| !(is_own(path) && *difference == Difference::OnlyThere));
    if args.json {
        let list = |wanted: Difference| -> Vec<&str> {
            let some = found.iter().filter(|(_, difference)| *difference == wanted);
            some.map(|(path, _)| path.as_str()).collect()
        };
        scene.json(&json!({
            "repository": head.repo.name, "type": head.repo.kind.singular(), "commit": head.commit,
            "only_in_folder": list(Difference::OnlyHere), "only_in_repository": list(Difference::OnlyThere),
            "different": list(Difference::Content),
        }))?;
    } else {
        for (path, difference) in &found {
            let words = match difference {
                Difference::OnlyHere => "only in the folder",
                Difference::OnlyThere => "only in the repository",
                Difference::Content => "different",
            };
            scene.say(&format!("{words:<24}{}", shown(path)))?;
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Failure::Verdict(DIFFERENT)),
    }
}

/// 1 means that they differ; one that cannot be read is 2.
fn as_usage(error: client::ClientError) -> Failure {
    Failure::Usage(error.to_string())
}
