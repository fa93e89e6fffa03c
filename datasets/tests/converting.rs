//! Older versions and bags: the same rows and frames on the other side, and sense made of damage.
#![cfg(feature = "gstreamer")]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/kinds.rs"]
mod kinds;
#[path = "support/mod.rs"]
mod support;
#[path = "support/v2.rs"]
mod v2;

use edits::{BOTH, EPISODES, Expected, FRONT, WRIST, check, counters, recorded, whole};
use proptest::prelude::*;
use sinew_datasets::convert::{
    self, Cameras, Container, ExportOptions, Format, JointUnit, Mapping, TopicKind,
};
use sinew_datasets::{Codec, Dataset, EpisodeMark, EpisodeMarks, Error};
use std::path::{Path, PathBuf};
use support::{counter, state};

fn expected() -> Vec<Expected<'static>> {
    (0..EPISODES.len()).map(whole).collect()
}

fn export(root: &Path, out: &Path, container: Container, options: &ExportOptions) {
    let mut done = 0;
    let made = convert::export(root, out, container, options, &mut |n| done += n).unwrap();
    assert_eq!(made.episodes, done);
}

fn import(input: &Path, out: &Path, mapping: &Mapping) -> Result<convert::Imported, Error> {
    convert::import(input, out, mapping, &mut |_| {})
}

/// Every numeric value, bit for bit.
fn same_rows(a: &Path, b: &Path) {
    let (a, b) = (Dataset::open(a).unwrap(), Dataset::open(b).unwrap());
    assert_eq!(a.episodes().len(), b.episodes().len());
    assert_eq!(a.tasks(), b.tasks());
    assert_eq!(a.info().features, b.info().features);
    for episode in 0..a.episodes().len() as u64 {
        assert_eq!(
            a.record_batch(episode).unwrap(),
            b.record_batch(episode).unwrap()
        );
    }
}

/// The same statistics, those of pictures included; text may cost a double its last bit.
fn same_statistics(a: &Path, b: &Path) {
    let read = |root: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(root.join("meta/stats.json")).unwrap()).unwrap()
    };
    fn close(a: &serde_json::Value, b: &serde_json::Value) {
        match (a, b) {
            (serde_json::Value::Array(x), serde_json::Value::Array(y)) => {
                assert_eq!(x.len(), y.len());
                x.iter().zip(y).for_each(|(x, y)| close(x, y));
            }
            (serde_json::Value::Object(x), serde_json::Value::Object(y)) => {
                assert!(x.keys().eq(y.keys()));
                x.values().zip(y.values()).for_each(|(x, y)| close(x, y));
            }
            _ => assert!(
                (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-12,
                "{a} {b}"
            ),
        }
    }
    close(&read(a), &read(b));
}

#[test]
fn datasets_survive_the_way_to_a_bag_and_back_bit_for_bit() {
    for codec in [Codec::H264, Codec::Av1] {
        let (dir, root) = recorded(codec);
        let mark = EpisodeMark {
            ended_early: Some("lost a camera".into()),
            ..EpisodeMark::default()
        };
        let marks = EpisodeMarks {
            episodes: [(1, mark)].into(),
        };
        std::fs::write(
            EpisodeMarks::path(&root),
            serde_json::to_string(&marks).unwrap(),
        )
        .unwrap();
        for (name, container) in [("a.mcap", Container::File), ("bag", Container::Bag)] {
            let bag = dir.path().join(name);
            export(&root, &bag, container, &ExportOptions::default());
            assert_eq!(convert::format_of(&bag).unwrap(), Format::Mcap);
            let out = dir.path().join(format!("{name}-back"));
            let made = import(&bag, &out, &Mapping::default()).unwrap();
            assert!(
                made.restored && made.dataset.notes.is_empty(),
                "{:?}",
                made.dataset.notes
            );
            assert_eq!(made.dataset.videos.reencoded_files, 0);
            same_rows(&root, &out);
            check(&out, &expected(), &BOTH);
            assert_eq!(EpisodeMarks::read(&out).unwrap(), marks);
            let packed = dir.path().join(format!("{name}-packed"));
            sinew_datasets::edit::pack(
                &root,
                None,
                &sinew_datasets::edit::Target::Folder(packed.clone()),
            )
            .unwrap();
            same_statistics(&out, &packed);
            let bytes = |root: &Path| {
                std::fs::read(root.join(format!("videos/{FRONT}/chunk-000/file-000.mp4"))).unwrap()
            };
            assert!(bytes(&out) == bytes(&packed), "the frames' very bytes");
        }
    }
}

#[test]
fn every_kind_of_column_and_camera_survives_the_way_to_a_bag_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("kinds");
    let mut recorder = sinew_datasets::Recorder::create(&root, &kinds::spec()).unwrap();
    for episode in 0..2 {
        recorder.start_episode(kinds::task(episode, 0)).unwrap();
        for row in 0..9 {
            kinds::add(&mut recorder, episode, row).unwrap();
        }
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    let (bag, back) = (dir.path().join("kinds.mcap"), dir.path().join("back"));
    export(&root, &bag, Container::File, &ExportOptions::default());
    let made = import(&bag, &back, &Mapping::default()).unwrap();
    assert!(
        made.restored && made.dataset.notes.is_empty(),
        "{:?}",
        made.dataset.notes
    );
    same_rows(&root, &back);
    let reader = |root: &Path| {
        let dataset = Dataset::open(root).unwrap();
        dataset
            .reader(&sinew_datasets::ReaderOptions::default())
            .unwrap()
    };
    let (before, after) = (reader(&root), reader(&back));
    for index in 0..before.len() {
        assert!(
            before.get(index).unwrap() == after.get(index).unwrap(),
            "row {index}"
        );
    }
}

#[test]
fn selected_episodes_are_exported_and_existing_files_are_not_replaced() {
    let (dir, root) = recorded(Codec::H264);
    let options = ExportOptions {
        episodes: Some(vec![3, 1]),
        ..ExportOptions::default()
    };
    let bag = dir.path().join("some.mcap");
    export(&root, &bag, Container::File, &options);
    let out = dir.path().join("back");
    import(&bag, &out, &Mapping::default()).unwrap();
    check(
        &out,
        &[(3, 0..6, "wave"), (1, 0..8, "place the cube")],
        &BOTH,
    );

    let again = |out: &Path| convert::export(&root, out, Container::File, &options, &mut |_| {});
    assert!(matches!(again(&bag), Err(Error::Convert { .. })));
    let options = ExportOptions {
        episodes: Some(vec![9]),
        ..ExportOptions::default()
    };
    let missing = convert::export(
        &root,
        &dir.path().join("x.mcap"),
        Container::File,
        &options,
        &mut |_| {},
    );
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn file_that_was_cut_off_gives_what_is_whole() {
    let (dir, root) = recorded(Codec::H264);
    let bag = dir.path().join("a.mcap");
    export(&root, &bag, Container::File, &ExportOptions::default());
    let bytes = std::fs::read(&bag).unwrap();
    let cut = dir.path().join("cut.mcap");
    let mut rows_of = Vec::new();
    for part in [1, 3, 5, 7, 9] {
        std::fs::write(&cut, &bytes[..bytes.len() * part / 10]).unwrap();
        let out = dir.path().join(format!("cut-{part}"));
        match import(&cut, &out, &Mapping::default()) {
            Err(Error::Mcap { .. } | Error::Convert { .. }) => rows_of.push(0),
            Err(other) => panic!("{other}"),
            Ok(made) => {
                let notes = made.dataset.notes.join("\n");
                assert!(notes.contains("cut off"), "{notes}");
                let dataset = Dataset::open(&out).unwrap();
                for (episode, (_, rows)) in dataset.episodes().iter().zip(EPISODES) {
                    assert!(episode.length <= u64::from(rows));
                    let states = dataset.states(episode.index).unwrap();
                    for row in 0..episode.length {
                        let wanted = state(episode.index as u32, row as u32).map(f64::from);
                        assert_eq!(states.row(row as usize).unwrap(), wanted);
                    }
                    for (key, camera) in BOTH {
                        let wanted: Vec<u32> = (0..episode.length as u32)
                            .map(|f| counter(episode.index as u32, camera, f))
                            .collect();
                        assert_eq!(counters(&dataset, &out, episode.index, key), wanted);
                    }
                }
                rows_of.push(dataset.len());
            }
        }
    }
    assert!(
        rows_of.is_sorted() && rows_of[4] > rows_of[1],
        "{rows_of:?}"
    );
}

#[test]
fn bag_without_our_records_is_put_onto_a_grid() {
    let (dir, root) = recorded(Codec::H264);
    let bag = dir.path().join("a.mcap");
    let options = ExportOptions {
        cameras: Cameras::Png,
        ..ExportOptions::default()
    };
    export(&root, &bag, Container::File, &options);
    // The robot's own units, so that rows can be compared.
    let mapping = Mapping {
        robot: Some("so101_follower".into()),
        units: [("gripper".to_owned(), JointUnit::Percent)].into(),
        ..Mapping::default()
    };
    let out = dir.path().join("back");
    let made = import(&bag, &out, &mapping).unwrap();
    assert!(!made.restored);
    assert_eq!((made.fps, made.dataset.episodes), (30, 4));
    let used: Vec<&str> = made.topics.iter().map(|t| t.feature.as_str()).collect();
    assert_eq!(used, ["observation.state", "action", FRONT, WRIST]);
    assert!(
        made.topics
            .iter()
            .all(|t| t.max_age_ms < 1.0 && t.stale_rows == 0),
        "{:?}",
        made.topics
    );
    let dataset = Dataset::open(&out).unwrap();
    for (episode, (task, rows)) in EPISODES.iter().enumerate() {
        let found = dataset.episode(episode as u64).unwrap();
        assert_eq!(
            (found.length, &found.tasks[..]),
            (u64::from(*rows), &[(*task).to_owned()][..])
        );
        let states = dataset.states(episode as u64).unwrap();
        for row in 0..*rows {
            let wanted = state(episode as u32, row).map(f64::from);
            assert_eq!(
                states.row(row as usize).unwrap(),
                wanted,
                "episode {episode}, row {row}"
            );
        }
        for (key, camera) in BOTH {
            let wanted: Vec<u32> = (0..*rows)
                .map(|f| counter(episode as u32, camera, f))
                .collect();
            assert_eq!(counters(&dataset, &out, episode as u64, key), wanted);
        }
    }
}

#[test]
fn other_rates_hold_values_and_encoded_video_is_decoded_for_them() {
    let (dir, root) = recorded(Codec::H264);
    let bag = dir.path().join("bag");
    export(&root, &bag, Container::Bag, &ExportOptions::default());
    strip_metadata(&bag);
    let mapping = Mapping {
        fps: Some(10),
        action: Some(convert::NEXT_STATE.into()),
        ..Mapping::default()
    };
    let out = dir.path().join("slow");
    let made = import(&bag, &out, &mapping).unwrap();
    assert!(!made.restored);
    let dataset = Dataset::open(&out).unwrap();
    assert_eq!(dataset.info().fps, 10);
    let lengths: Vec<u64> = dataset.episodes().iter().map(|e| e.length).collect();
    assert_eq!(lengths, [5, 3, 4, 2], "every third of 13, 8, 10 and 6");
    for episode in 0..4_u32 {
        let rows = lengths[episode as usize] as u32;
        let wanted: Vec<u32> = (0..rows).map(|row| counter(episode, 0, 3 * row)).collect();
        assert_eq!(counters(&dataset, &out, episode.into(), FRONT), wanted);
        let (states, actions) = (
            dataset.states(episode.into()).unwrap(),
            dataset.actions(episode.into()).unwrap(),
        );
        for row in 0..rows as usize - 1 {
            assert_eq!(actions.row(row), states.row(row + 1));
        }
    }
}

/// Renames our metadata records, as tools do that copy messages only.
fn strip_metadata(bag: &Path) {
    for entry in std::fs::read_dir(bag).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "mcap") {
            let mut bytes = std::fs::read(&path).unwrap();
            for name in [&b"sinew.dataset"[..], b"sinew.episode", b"sinew.feature"] {
                let places: Vec<usize> = bytes
                    .windows(name.len())
                    .enumerate()
                    .filter_map(|(at, w)| (w == name).then_some(at))
                    .collect();
                for at in places {
                    bytes[at..at + 5].copy_from_slice(b"other");
                }
            }
            // Checksums of chunks, which hold the channels, are 0 for "none" now.
            clear_checksums(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

fn clear_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while at + 9 <= bytes.len() {
        let length = u64::from_le_bytes(bytes[at + 1..at + 9].try_into().unwrap()) as usize;
        if bytes[at] == 0x06 {
            bytes[at + 9 + 24..at + 9 + 28].fill(0);
        }
        if bytes[at] == 0x0f {
            return;
        }
        at += 9 + length;
    }
}

#[test]
fn old_dataset_becomes_a_new_one() {
    for (version, stats) in [("v2.1", true), ("v2.0", false)] {
        let (dir, root) = recorded(Codec::H264);
        let old = dir.path().join("old");
        v2::downgrade(&root, &old, version, stats);
        assert_eq!(convert::format_of(&old).unwrap(), Format::LeRobotV2);
        let report = convert::from_v2(&old, &dir.path().join("new")).unwrap();
        assert_eq!((report.data_files, report.videos.reencoded_files), (1, 0));
        assert!(report.notes.is_empty(), "{:?}", report.notes);
        check(&report.root, &expected(), &BOTH);
    }
}

#[test]
fn what_is_in_a_bag_is_listed() {
    let (dir, root) = recorded(Codec::H264);
    let bag = dir.path().join("a.mcap");
    export(&root, &bag, Container::File, &ExportOptions::default());
    let found = convert::inspect(std::fs::File::open(&bag).unwrap()).unwrap();
    let kinds: Vec<(&str, TopicKind, u64)> = found
        .topics
        .iter()
        .map(|t| (t.topic.as_str(), t.kind, t.messages))
        .collect();
    assert!(
        kinds.contains(&("/so101_follower/joint_states", TopicKind::Joints, 37)),
        "{kinds:?}"
    );
    assert!(kinds.contains(&(
        "/so101_follower/front/video",
        TopicKind::CompressedVideo,
        37
    )));
    assert!(kinds.contains(&("/so101_follower/task", TopicKind::Text, 4)));
    assert_eq!(
        (
            found.damage_count,
            found.topics.iter().map(|t| t.damaged).sum::<u64>()
        ),
        (0, 0)
    );
}

/// A small bag without cameras.
fn small_bag(dir: &Path) -> Vec<u8> {
    let mut spec = support::spec(Codec::Auto);
    spec.cameras.clear();
    let root = dir.join("small");
    let mut recorder = sinew_datasets::Recorder::create(&root, &spec).unwrap();
    support::record(&mut recorder, "pick", 0, 5);
    recorder.finalize().unwrap();
    let bag = dir.join("small.mcap");
    export(&root, &bag, Container::File, &ExportOptions::default());
    std::fs::read(bag).unwrap()
}

fn mutated(bytes: &[u8], changes: &[(prop::sample::Index, u8)], keep: usize) -> Vec<u8> {
    let mut bytes = bytes[..keep].to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    bytes
}

#[test]
fn mutated_bags_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let whole = small_bag(dir.path());
    let bag = dir.path().join("mutated.mcap");
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    let mut runner = proptest::test_runner::TestRunner::default();
    let lengths = 9..=whole.len();
    runner
        .run(&(changes, lengths), |(changes, keep)| {
            let bytes = mutated(&whole, &changes, keep);
            let _ = convert::inspect(&bytes[..]);
            std::fs::write(&bag, &bytes).unwrap();
            let out = dir.path().join("out");
            let _ = import(&bag, &out, &Mapping::default());
            let _ = std::fs::remove_dir_all(&out);
            Ok(())
        })
        .unwrap();
}

#[test]
fn mutated_old_metadata_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    small_bag(dir.path());
    let old = dir.path().join("old");
    v2::downgrade(&dir.path().join("small"), &old, "v2.1", true);
    let files: Vec<PathBuf> = [
        "info.json",
        "episodes.jsonl",
        "tasks.jsonl",
        "episodes_stats.jsonl",
    ]
    .iter()
    .map(|name| old.join("meta").join(name))
    .collect();
    let whole: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&(0..files.len(), changes), |(file, changes)| {
            std::fs::write(
                &files[file],
                mutated(&whole[file], &changes, whole[file].len()),
            )
            .unwrap();
            let out = dir.path().join("out");
            let _ = convert::format_of(&old);
            let _ = convert::from_v2(&old, &out);
            let _ = std::fs::remove_dir_all(&out);
            std::fs::write(&files[file], &whole[file]).unwrap();
            Ok(())
        })
        .unwrap();
}
