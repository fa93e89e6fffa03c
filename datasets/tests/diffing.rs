//! Two datasets compared: what is the same is seen to be, and what differs is named with its place.
#![cfg(feature = "gstreamer")]

#[path = "support/damage.rs"]
mod damage;
#[path = "support/edits.rs"]
mod edits;
#[path = "support/packed.rs"]
mod packed;
#[path = "support/mod.rs"]
mod support;

use edits::{EPISODES, FRONT, WRIST, recorded, to};
use packed::pack;
use sinew_datasets::diff::{Diff, Options, VideoCount, VideoVerdict, diff};
use sinew_datasets::edit::{self, Cut, Reencode, Relabel, Target};
use sinew_datasets::{Codec, EpisodeMark, EpisodeMarks, Recorder};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::{record, spec};
use tempfile::TempDir;

fn compared(a: &Path, b: &Path) -> Diff {
    diff(a, b, &Options::default(), &mut |_, _| ()).unwrap()
}

/// The recorded dataset and an edited copy.
fn edited(edit: impl FnOnce(&Path, &Target)) -> (TempDir, PathBuf, PathBuf) {
    let (dir, source) = recorded(Codec::H264);
    edit(&source, &to(&dir));
    let result = dir.path().join("result");
    (dir, source, result)
}

#[test]
fn a_copy_is_the_same_to_the_byte() {
    let (_dir, source) = recorded(Codec::H264);
    let copy = damage::copy(&source);
    let found = compared(&source, copy.path());
    assert!(found.is_same(), "{found:?}");
    let all = VideoCount {
        same_bytes: 8,
        ..VideoCount::default()
    };
    assert_eq!((found.same_episodes, found.videos), (4, all));
}

#[test]
fn of_equal_episodes_each_is_matched_once() {
    let (dir, source) = recorded(Codec::H264);
    let merged = edit::merge(
        &[source.clone(), source.clone()],
        &dir.path().join("twice"),
        None,
    );
    let twice = merged.unwrap().root;
    let found = compared(&source, &twice);
    assert_eq!(found.same_episodes, 4);
    assert_eq!(
        (found.only_a.as_slice(), found.only_b.as_slice()),
        (&[][..], &[4, 5, 6, 7][..])
    );
    assert_eq!((found.episodes.len(), found.moved.len()), (0, 0));
    assert!(!found.is_same());
}

#[test]
fn deleted_episodes_are_only_in_the_one() {
    let (_dir, source, result) = edited(|source, target| {
        edit::delete(source, &[1], target).unwrap();
    });
    let found = compared(&source, &result);
    assert_eq!((found.only_a.as_slice(), found.only_b.len()), (&[1][..], 0));
    assert_eq!(
        (found.same_episodes, found.moved.len()),
        (3, 0),
        "{found:?}"
    );
    assert_eq!(found.tasks_only_a, ["place the cube"]);
    assert!(found.episodes.is_empty() && !found.statistics.is_empty());
    let back = compared(&result, &source);
    assert_eq!((back.only_a.len(), back.only_b.as_slice()), (0, &[1][..]));
}

#[test]
fn inserted_and_moved_episodes_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, order: &[u32]| {
        let root = dir.path().join(name);
        let mut recorder = Recorder::create(&root, &spec(Codec::H264)).unwrap();
        for episode in order {
            record(&mut recorder, "pick", *episode, 8 + episode);
        }
        recorder.finalize().unwrap();
        root
    };
    let a = make("a", &[0, 1, 2, 3]);
    let found = compared(&a, &make("b", &[0, 7, 1, 2, 3]));
    assert_eq!((found.only_b.as_slice(), found.moved.len()), (&[1][..], 0));
    assert_eq!(
        (found.same_episodes, found.episodes.len()),
        (4, 0),
        "{found:?}"
    );
    let found = compared(&a, &make("c", &[1, 2, 0, 3]));
    assert_eq!(
        (found.moved.as_slice(), found.same_episodes),
        (&[(0, 2)][..], 4)
    );
}

#[test]
fn changed_values_are_found_with_row_entry_and_size() {
    let (_dir, source) = recorded(Codec::H264);
    let copy = damage::copy(&source);
    let table = copy.path().join("data/chunk-000/file-002.parquet");
    // Row 4, entry 3 (wrist_flex) of episode 2, which has 10 rows.
    damage::set_list(&table, "action", 4 * 6 + 3, 99.5);
    let found = compared(&source, copy.path());
    assert_eq!(
        (found.same_episodes, found.episodes.len()),
        (3, 1),
        "{found:?}"
    );
    let episode = &found.episodes[0];
    assert_eq!((episode.a, episode.b, episode.videos.len()), (2, 2, 0));
    let [column] = &episode.columns[..] else {
        panic!("{episode:?}");
    };
    assert_eq!(
        (column.feature.as_str(), column.first_row, column.rows),
        ("action", 4, 1)
    );
    let largest = column.largest.as_ref().unwrap();
    assert_eq!(
        (largest.row, largest.entry.as_deref()),
        (4, Some("wrist_flex.pos"))
    );
    assert_eq!(largest.b, 99.5);
}

#[test]
fn trimmed_episodes_are_laid_beside_what_is_left_of_them() {
    let (_dir, source, result) = edited(|source, target| {
        let cut = Cut {
            episode: 0,
            from: 4,
            to: Some(12),
        };
        edit::trim(source, &[cut], target).unwrap();
    });
    let found = compared(&source, &result);
    let [episode] = &found.episodes[..] else {
        panic!("{found:?}");
    };
    assert_eq!((episode.rows_a, episode.rows_b), (13, 8));
    assert_eq!((episode.from_a, episode.from_b), (4, 0));
    // The extra column of true times went along, so nothing that was kept differs.
    assert_eq!(
        (episode.columns.len(), episode.videos.len()),
        (0, 0),
        "{episode:?}"
    );
    assert_eq!((found.only_a.len(), found.only_b.len()), (0, 0));
    let back = compared(&result, &source);
    assert_eq!((back.episodes[0].from_a, back.episodes[0].from_b), (0, 4));
}

#[test]
fn pictures_that_were_encoded_again_are_compared_one_by_one() {
    let (_dir, source, result) = edited(|source, target| {
        let how = Reencode {
            cameras: vec![WRIST.into()],
            crf: 45,
            ..Reencode::default()
        };
        edit::reencode(source, &how, target).unwrap();
    });
    let found = compared(&source, &result);
    assert_eq!(
        (found.videos.same_bytes, found.videos.differing),
        (4, 4),
        "{found:?}"
    );
    for episode in &found.episodes {
        assert_eq!((episode.columns.len(), episode.videos.len()), (0, 1));
        assert_eq!(episode.videos[0].camera, WRIST);
        let VideoVerdict::Pictures {
            rows,
            largest,
            mean,
            ..
        } = episode.videos[0].verdict
        else {
            panic!("{episode:?}");
        };
        assert!(rows > 0 && largest > 1.0 && largest <= 255.0 && mean < largest);
    }
    assert!(
        found.head.iter().any(|h| h.what.contains("video.crf")),
        "{:?}",
        found.head
    );
    let quick = diff(
        &source,
        &result,
        &Options { pictures: false },
        &mut |_, _| (),
    )
    .unwrap();
    let encoded = |v: &VideoVerdict| matches!(v, VideoVerdict::Encoded { first_row: 0 });
    assert!(quick.episodes.iter().all(|e| encoded(&e.videos[0].verdict)));
}

#[test]
fn one_other_picture_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for (root, odd) in [(&a, false), (&b, true)] {
        let mut recorder = Recorder::create(root, &spec(Codec::H264)).unwrap();
        support::record_with(&mut recorder, "pick", 0, 12, |camera, frame| {
            if odd && camera == 1 && frame == 7 {
                5000
            } else {
                frame
            }
        });
        recorder.finalize().unwrap();
    }
    let found = compared(&a, &b);
    let [episode] = &found.episodes[..] else {
        panic!("{found:?}");
    };
    assert_eq!(episode.videos.len(), 1, "{FRONT} is the same");
    assert_eq!(episode.videos[0].camera, WRIST);
    let VideoVerdict::Pictures {
        worst_row, largest, ..
    } = episode.videos[0].verdict
    else {
        panic!("{episode:?}");
    };
    assert_eq!(worst_row, 7);
    assert!(largest > 200.0, "black became white: {largest}");
}

#[test]
fn frames_moved_into_another_file_are_the_same_without_decoding() {
    let (dir, source) = recorded(Codec::H264);
    let plain = edit::keep(&source, &[0, 1, 2, 3], &to(&dir)).unwrap().root;
    let packed = pack(&dir, &source);
    let quick = Options { pictures: false };
    let found = diff(&plain, &packed, &quick, &mut |_, _| ()).unwrap();
    assert!(found.is_same(), "{found:?}");
    // Episode 0 begins both files, but they have other bytes.
    assert_eq!((found.videos.same_frames, found.videos.differing), (8, 0));
}

#[test]
fn tasks_heads_and_marks_are_compared() {
    let (_dir, source, result) = edited(|source, target| {
        let labels = Relabel {
            episodes: BTreeMap::from([(3, "greet".into())]),
            replace: BTreeMap::new(),
            all: None,
        };
        edit::relabel(source, &labels, target).unwrap();
        let Target::Folder(result) = target else {
            return;
        };
        let mark = EpisodeMark {
            recovered: true,
            ..EpisodeMark::default()
        };
        let marks = EpisodeMarks {
            episodes: [(0, mark)].into(),
        };
        let text = serde_json::to_string(&marks).unwrap();
        std::fs::write(EpisodeMarks::path(result), text).unwrap();
        damage::patch_text(result, "meta/info.json", "so101_follower", "so100_follower");
    });
    let found = compared(&source, &result);
    assert_eq!(
        (found.tasks_only_a, found.tasks_only_b),
        (vec!["wave".to_owned()], vec!["greet".to_owned()])
    );
    assert_eq!(found.head.len(), 1);
    assert_eq!(found.head[0].b.as_deref(), Some("so100_follower"));
    assert_eq!(found.episodes.len(), 2);
    assert!(found.episodes[0].marks.as_ref().unwrap().1.recovered);
    let column = &found.episodes[1].columns[0];
    assert_eq!(
        (column.feature.as_str(), column.rows),
        ("task", u64::from(EPISODES[3].1))
    );
}

#[test]
fn a_feature_that_only_one_has_is_a_difference_of_the_heads_alone() {
    let (_dir, source, result) = edited(|source, target| {
        edit::drop_features(source, &[WRIST.into()], target).unwrap();
    });
    let found = compared(&source, &result);
    assert_eq!(found.head.len(), 1);
    assert_eq!(
        (found.head[0].what.as_str(), &found.head[0].b),
        (&*format!("feature {WRIST}"), &None)
    );
    assert_eq!((found.same_episodes, found.episodes.len()), (4, 0));
}

#[test]
fn damaged_videos_are_a_difference_and_no_failure() {
    let (_dir, source) = recorded(Codec::H264);
    let copy = damage::copy(&source);
    let video = copy
        .path()
        .join("videos")
        .join(FRONT)
        .join("chunk-000/file-001.mp4");
    std::fs::write(&video, b"no film").unwrap();
    let found = compared(&source, copy.path());
    let [episode] = &found.episodes[..] else {
        panic!("{found:?}");
    };
    assert!(matches!(
        episode.videos[0].verdict,
        VideoVerdict::Unreadable { .. }
    ));
}
