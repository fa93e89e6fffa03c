//! What was remarkable about an episode (dropped rows, an early end, a recovery) is told of the same
//! episode after every edit.
#![cfg(feature = "gstreamer")]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/mod.rs"]
mod support;

use edits::{EPISODES, WRIST, recorded, to};
use sinew_datasets::edit::{self, Cut, Part, Reencode, Relabel, Report, Share, Target};
use sinew_datasets::{Codec, EpisodeMark, EpisodeMarks, Feature, Gap};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Rows missing before row 5 of episode 1.
fn dropped() -> EpisodeMark {
    EpisodeMark {
        dropped_rows: 3,
        gaps: vec![Gap {
            before_row: 5,
            rows: 3,
        }],
        ..EpisodeMark::default()
    }
}

/// Episode 3, which a crash ended.
fn recovered() -> EpisodeMark {
    EpisodeMark {
        ended_early: Some("the camera was lost".into()),
        recovered: true,
        ..EpisodeMark::default()
    }
}

fn marked() -> (TempDir, PathBuf) {
    let (dir, source) = recorded(Codec::H264);
    let marks = EpisodeMarks {
        episodes: [(1, dropped()), (3, recovered())].into(),
    };
    let text = serde_json::to_string(&marks).unwrap();
    std::fs::write(EpisodeMarks::path(&source), text).unwrap();
    (dir, source)
}

#[track_caller]
fn holds(root: &Path, expected: &[(u64, EpisodeMark)]) {
    let marks = EpisodeMarks::read(root).unwrap();
    assert_eq!(marks.episodes, expected.iter().cloned().collect());
    assert_eq!(EpisodeMarks::path(root).exists(), !expected.is_empty());
}

#[test]
fn deleting_and_keeping_renumber_marks() {
    let (dir, source) = marked();
    let report = edit::delete(&source, &[0, 2], &to(&dir)).unwrap();
    holds(&report.root, &[(0, dropped()), (1, recovered())]);
    edit::keep(&source, &[0, 3], &Target::InPlace).unwrap();
    holds(&source, &[(1, recovered())]);
    edit::delete(&source, &[1], &Target::InPlace).unwrap();
    holds(&source, &[]);
}

#[test]
fn splitting_and_merging_share_marks_out_and_join_them() {
    let (dir, source) = marked();
    let part = |name: &str, episodes: &[u64]| Part {
        name: name.into(),
        share: Share::Episodes(episodes.to_vec()),
    };
    let out = dir.path().join("parts");
    edit::split(&source, &[part("a", &[3, 2]), part("b", &[0, 1])], &out).unwrap();
    holds(&out.join("a"), &[(1, recovered())]);
    holds(&out.join("b"), &[(1, dropped())]);
    let merged = edit::merge(
        &[out.join("b"), out.join("a"), out.join("b")],
        &dir.path().join("merged"),
        None,
    );
    holds(
        &merged.unwrap().root,
        &[(1, dropped()), (3, recovered()), (5, dropped())],
    );
}

#[test]
fn trimming_moves_gaps_and_forgets_ends_that_were_cut_off() {
    let (dir, source) = marked();
    let cut = |episode, from, to| Cut { episode, from, to };
    let cuts = [cut(1, 2, None), cut(3, 0, Some(4))];
    let report = edit::trim(&source, &cuts, &to(&dir)).unwrap();
    let gap = Gap {
        before_row: 3,
        rows: 3,
    };
    let shifted = EpisodeMark {
        gaps: vec![gap],
        ..dropped()
    };
    let shorter = EpisodeMark {
        ended_early: None,
        ..recovered()
    };
    holds(&report.root, &[(1, shifted), (3, shorter)]);
    edit::trim(&source, &[cut(1, 5, None)], &Target::InPlace).unwrap();
    holds(&source, &[(3, recovered())]);
}

#[test]
fn edits_that_keep_every_row_keep_every_mark() {
    let (dir, source) = marked();
    type Edit = fn(&Path, &Target) -> sinew_datasets::Result<Report>;
    let all: [(&str, Edit); 5] = [
        ("drop", |s, t| edit::drop_features(s, &[WRIST.into()], t)),
        ("rename", |s, t| {
            edit::rename(s, &[("action".into(), "action.joints".into())], t)
        }),
        ("relabel", |s, t| {
            let labels = Relabel {
                episodes: BTreeMap::from([(1, "another task".into())]),
                replace: BTreeMap::new(),
                all: None,
            };
            edit::relabel(s, &labels, t)
        }),
        ("reencode", |s, t| {
            let how = Reencode {
                cameras: vec![WRIST.into()],
                ..Reencode::default()
            };
            edit::reencode(s, &how, t)
        }),
        ("add", |s, t| {
            let rows = EPISODES.iter().map(|(_, rows)| *rows as usize).sum();
            let feature = Feature::scalar("float32");
            edit::add_column(s, "reward", feature, &vec![0.5; rows], t)
        }),
    ];
    for (name, run) in all {
        let target = Target::Folder(dir.path().join(name));
        let report = run(&source, &target).unwrap();
        holds(&report.root, &[(1, dropped()), (3, recovered())]);
    }
}
