//! Edits of recorded datasets, checked row by row and frame by frame.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sinew_datasets::edit::{self, Cut, Part, Reencode, Relabel, Report, Share, Target, VideoWork};
use sinew_datasets::video::VideoReader;
use sinew_datasets::video::remux::Track;
use sinew_datasets::{Codec, Dataset, Error, Feature, Info, Recorder, mp4};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{counter, read_counter, record, spec, state};
use tempfile::TempDir;

const FRONT: &str = "observation.images.front";
const WRIST: &str = "observation.images.wrist";
/// Task and rows of the recorded episodes.
const EPISODES: [(&str, u32); 4] = [
    ("pick the cube", 13),
    ("place the cube", 8),
    ("pick the cube", 10),
    ("wave", 6),
];

/// A recorded dataset and a place for results.
fn recorded(codec: Codec) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("source");
    let mut recorder = Recorder::create(&root, &spec(codec)).unwrap();
    for (episode, (task, rows)) in EPISODES.iter().enumerate() {
        record(&mut recorder, task, episode as u32, *rows);
    }
    recorder.finalize().unwrap();
    std::fs::write(root.join("README.md"), "a card").unwrap();
    (dir, root)
}

fn to(dir: &TempDir) -> Target {
    Target::Folder(dir.path().join("result"))
}

/// What an episode must hold: the recorded episode, its frames, and its task.
type Expected<'a> = (u32, std::ops::Range<u32>, &'a str);

/// All counters in a span of a video file.
fn counters(dataset: &Dataset, root: &Path, episode: u64, key: &str) -> Vec<u32> {
    let info = dataset.info();
    let span = dataset
        .episode(episode)
        .unwrap()
        .videos
        .iter()
        .find(|v| v.key == key)
        .unwrap();
    let fps = f64::from(info.fps);
    let (from, to) = (
        (span.from_s * fps).round() as u64,
        (span.to_s * fps).round() as u64,
    );
    let mut reader =
        VideoReader::open(&root.join(info.video_file(key, span.file).unwrap())).unwrap();
    let mut found = Vec::new();
    let mut number = 0;
    while let Some(picture) = reader.next_picture().unwrap() {
        let expected = number * 1_000_000_000 / u64::from(info.fps);
        assert!(
            picture.pts_ns.abs_diff(expected) < 100_000,
            "frame {number} at {} ns",
            picture.pts_ns
        );
        if (from..to).contains(&number) {
            found.push(read_counter(&picture.rgb, picture.width));
        }
        number += 1;
    }
    found
}

/// Every number, frame and statistic of a result.
fn check(root: &Path, expected: &[Expected<'_>], cameras: &[(&str, u32)]) {
    let dataset = Dataset::open(root).unwrap();
    assert_eq!(dataset.episodes().len(), expected.len());
    let mut index = 0.0;
    for (number, (recorded, frames, task)) in expected.iter().enumerate() {
        let number = number as u64;
        let episode = dataset.episode(number).unwrap();
        assert_eq!(episode.tasks, [*task]);
        assert_eq!(episode.length, frames.len() as u64);
        let column = |name: &str| dataset.series(number, name).unwrap();
        let states = column("observation.state");
        let (times, rows, indices, tasks) = (
            column("timestamp"),
            column("frame_index"),
            column("index"),
            column("task_index"),
        );
        for (row, frame) in frames.clone().enumerate() {
            let wanted = state(*recorded, frame).map(f64::from);
            assert_eq!(
                states.row(row).unwrap(),
                wanted,
                "episode {number}, row {row}"
            );
            assert_eq!(times.values[row], f64::from((row as f64 / 30.0) as f32));
            assert_eq!((rows.values[row], indices.values[row]), (row as f64, index));
            assert_eq!(dataset.tasks()[tasks.values[row] as usize], *task);
            index += 1.0;
        }
        for (key, camera) in cameras {
            let wanted: Vec<u32> = frames
                .clone()
                .map(|f| counter(*recorded, *camera, f))
                .collect();
            assert_eq!(
                counters(&dataset, root, number, key),
                wanted,
                "episode {number}, {key}"
            );
        }
    }
    assert_eq!(dataset.info().total_frames, index as u64);
    assert_eq!(
        dataset.info().splits["train"],
        format!("0:{}", expected.len())
    );
    check_stats(root, &dataset, expected, cameras);
}

/// meta/stats.json against the numbers that the test knows.
fn check_stats(root: &Path, dataset: &Dataset, expected: &[Expected<'_>], cameras: &[(&str, u32)]) {
    let text = std::fs::read_to_string(root.join("meta/stats.json")).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&String> = stats.as_object().unwrap().keys().collect();
    let features: Vec<&str> = dataset.info().features.iter().map(|(n, _)| n).collect();
    assert_eq!(names, features, "statistics of every feature, in order");
    let mut values: Vec<f64> = expected
        .iter()
        .flat_map(|(e, frames, _)| frames.clone().map(|f| f64::from(state(*e, f)[2])))
        .collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let found = &stats["observation.state"];
    assert!((found["mean"][2].as_f64().unwrap() - mean).abs() < 1e-9);
    assert_eq!(found["count"][0], n);
    for (name, q) in [
        ("q01", 0.01),
        ("q10", 0.1),
        ("q50", 0.5),
        ("q90", 0.9),
        ("q99", 0.99),
    ] {
        let rank = ((q * n as f64).ceil() as usize).clamp(1, n) - 1;
        assert_eq!(found[name][2].as_f64().unwrap(), values[rank], "{name}");
    }
    assert_eq!(stats["index"]["max"][0], (n - 1) as f64);
    for (key, _) in cameras {
        assert_eq!(stats[*key]["count"][0], n, "every frame of {key} counts");
        assert_eq!(stats[*key]["max"].as_array().unwrap().len(), 3);
    }
}

const BOTH: [(&str, u32); 2] = [(FRONT, 0), (WRIST, 1)];

fn whole(episode: usize) -> Expected<'static> {
    (episode as u32, 0..EPISODES[episode].1, EPISODES[episode].0)
}

/// All files below a folder with their contents.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn untouched(root: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    assert_eq!(
        files(root).keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    assert!(files(root) == *before, "the source changed");
}

fn copied(report: &Report) -> VideoWork {
    VideoWork {
        copied_files: report.videos.copied_files,
        ..VideoWork::default()
    }
}

#[test]
fn episodes_are_deleted_and_the_source_stays() {
    let (dir, source) = recorded(Codec::H264);
    let before = files(&source);
    let report = edit::delete(&source, &[1, 3], &to(&dir)).unwrap();
    check(&report.root, &[whole(0), whole(2)], &BOTH);
    assert_eq!((report.episodes, report.frames, report.tasks), (2, 23, 1));
    assert_eq!(
        report.videos,
        copied(&report),
        "one file an episode: no frame is touched"
    );
    assert_eq!(report.videos.copied_files, 4);
    assert_eq!(
        std::fs::read(report.root.join("README.md")).unwrap(),
        b"a card"
    );
    untouched(&source, &before);
}

#[test]
fn an_edit_in_place_replaces_the_dataset() {
    let (dir, source) = recorded(Codec::H264);
    let report = edit::keep(&source, &[3, 1], &Target::InPlace).unwrap();
    assert_eq!(report.root, source.canonicalize().unwrap());
    check(&source, &[whole(1), whole(3)], &BOTH);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn fractions_split_and_merging_joins_again() {
    let (dir, source) = recorded(Codec::H264);
    let parts = [("train", 0.75), ("val", 0.25)].map(|(name, fraction)| Part {
        name: name.into(),
        share: Share::Fraction(fraction),
    });
    let out = dir.path().join("parts");
    let reports = edit::split(&source, &parts, &out).unwrap();
    check(&out.join("train"), &[whole(0), whole(1), whole(2)], &BOTH);
    check(&out.join("val"), &[whole(3)], &BOTH);
    assert_eq!((reports[0].tasks, reports[1].tasks), (2, 1));
    let order = [out.join("val"), out.join("train"), out.join("val")];
    let merged = edit::merge(&order, &dir.path().join("merged"), None).unwrap();
    check(
        &merged.root,
        &[whole(3), whole(0), whole(1), whole(2), whole(3)],
        &BOTH,
    );
    let dataset = Dataset::open(&merged.root).unwrap();
    assert_eq!(dataset.tasks(), ["wave", "pick the cube", "place the cube"]);
    assert_eq!(merged.videos, copied(&merged));
}

#[test]
fn datasets_that_do_not_fit_are_not_merged() {
    let (dir, source) = recorded(Codec::H264);
    let (_other_dir, other) = recorded(Codec::Av1);
    let out = dir.path().join("merged");
    let refused = |error: Error, word: &str| {
        assert!(
            matches!(error, Error::Edit { .. }) && error.to_string().contains(word),
            "{error}"
        );
        assert!(!out.exists());
    };
    refused(
        edit::merge(&[source.clone(), other.clone()], &out, None).unwrap_err(),
        "video.codec",
    );
    let dropped = edit::drop_features(&source, &[WRIST.into()], &to(&dir))
        .unwrap()
        .root;
    refused(
        edit::merge(&[source.clone(), dropped], &out, None).unwrap_err(),
        WRIST,
    );
    let text = std::fs::read_to_string(Info::path(&other)).unwrap();
    let text = text
        .replace("so101_follower", "so100_follower")
        .replace("\"av1\"", "\"h264\"");
    std::fs::write(Info::path(&other), text).unwrap();
    refused(
        edit::merge(&[source.clone(), other.clone()], &out, None).unwrap_err(),
        "so100_follower",
    );
    edit::merge(&[source, other], &out, Some("so10x")).unwrap();
    assert_eq!(
        Info::read(&out).unwrap().robot_type.as_deref(),
        Some("so10x")
    );
}

#[test]
fn tasks_are_relabelled() {
    let (dir, source) = recorded(Codec::H264);
    let labels = Relabel {
        episodes: BTreeMap::from([(2, "pick it gently".into())]),
        replace: BTreeMap::from([("wave".into(), "greet".into())]),
        all: None,
    };
    let report = edit::relabel(&source, &labels, &to(&dir)).unwrap();
    let named = |episode: usize, task| (episode as u32, 0..EPISODES[episode].1, task);
    let expected = [
        whole(0),
        whole(1),
        named(2, "pick it gently"),
        named(3, "greet"),
    ];
    check(&report.root, &expected, &BOTH);
    let one = Relabel {
        all: Some("work".into()),
        ..Relabel::default()
    };
    let report = edit::relabel(&source, &one, &Target::InPlace).unwrap();
    assert_eq!(report.tasks, 1);
    let expected: Vec<_> = (0..4).map(|e| named(e, "work")).collect();
    check(&source, &expected, &BOTH);
}

#[test]
fn features_are_renamed_and_dropped() {
    let (dir, source) = recorded(Codec::H264);
    let names = [
        (FRONT, "observation.images.top"),
        ("timing.camera_age_s", "timing.age_s"),
    ]
    .map(|(a, b)| (a.to_owned(), b.to_owned()));
    let renamed = edit::rename(&source, &names, &to(&dir)).unwrap().root;
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&renamed, &all, &[("observation.images.top", 0), (WRIST, 1)]);
    let age = Dataset::open(&renamed)
        .unwrap()
        .series(1, "timing.age_s")
        .unwrap();
    assert_eq!((age.row(0), age.len()), (Some(&[0.01, 0.02][..]), 8));
    let dropped = ["observation.images.top", WRIST, "timing.age_s"].map(str::to_owned);
    let report = edit::drop_features(&renamed, &dropped, &Target::InPlace).unwrap();
    check(&renamed, &all, &[]);
    let info = Info::read(&report.root).unwrap();
    assert_eq!(
        (info.video_path, renamed.join("videos").exists()),
        (None, false)
    );
}

#[test]
fn features_are_added_from_a_function_and_a_column() {
    let (dir, source) = recorded(Codec::H264);
    let sum = |row: &edit::AddedRow<'_>| {
        let state = row.numbers("observation.state")?;
        Ok(vec![state[0] + state[1], row.frame as f64])
    };
    let feature = Feature::vector("float32", &["sum".into(), "frame".into()]);
    let added = edit::add(&source, "next.sum", feature, sum, &to(&dir))
        .unwrap()
        .root;
    let reward: Vec<f64> = (0..37).map(f64::from).collect();
    edit::add_column(
        &added,
        "next.reward",
        Feature::scalar("int64"),
        &reward,
        &Target::InPlace,
    )
    .unwrap();
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&added, &all, &BOTH);
    let dataset = Dataset::open(&added).unwrap();
    let names: Vec<&str> = dataset.info().features.iter().map(|(n, _)| n).collect();
    assert_eq!(
        names[names.len() - 7..names.len() - 5],
        ["next.sum", "next.reward"]
    );
    let expected = state(2, 4).map(f64::from);
    let sums = dataset.series(2, "next.sum").unwrap();
    assert_eq!(
        sums.row(4).unwrap(),
        [f64::from((expected[0] + expected[1]) as f32), 4.0]
    );
    assert_eq!(
        dataset.series(1, "next.reward").unwrap().values,
        (13..21).map(f64::from).collect::<Vec<_>>()
    );
    let short = edit::add_column(
        &added,
        "x",
        Feature::scalar("bool"),
        &reward[1..],
        &to(&dir),
    );
    assert!(matches!(short, Err(Error::Edit { .. })));
}

fn trimming(codec: Codec) {
    let (dir, source) = recorded(codec);
    // Key frames are the even ones: episode 0 moves as it is, 1 does not.
    let cuts = [
        Cut {
            episode: 0,
            from: 4,
            to: Some(9),
        },
        Cut {
            episode: 1,
            from: 3,
            to: None,
        },
        Cut {
            episode: 3,
            from: 0,
            to: Some(5),
        },
    ];
    let report = edit::trim(&source, &cuts, &to(&dir)).unwrap();
    let expected = [
        (0, 4..9, "pick the cube"),
        (1, 3..8, "place the cube"),
        whole(2),
        (3, 0..5, "wave"),
    ];
    check(&report.root, &expected, &BOTH);
    let wanted = VideoWork {
        copied_files: 2,
        remuxed_files: 4,
        reencoded_files: 2,
        reencoded_frames: 10,
    };
    assert_eq!(report.videos, wanted);
    assert_eq!(report.notes, Vec::<String>::new());
}

#[test]
fn episodes_are_trimmed_in_h264() {
    trimming(Codec::H264);
}

#[test]
fn episodes_are_trimmed_in_av1() {
    trimming(Codec::Av1);
}

#[test]
fn frames_that_move_keep_their_bytes() {
    let (dir, source) = recorded(Codec::H264);
    let cuts = [Cut {
        episode: 0,
        from: 4,
        to: Some(9),
    }];
    let result = edit::trim(&source, &cuts, &to(&dir)).unwrap().root;
    let name = format!("videos/{FRONT}/chunk-000/file-000.mp4");
    let (old, new) = (source.join(&name), result.join(&name));
    assert_eq!(Track::read(&new, 30).unwrap().frames(), 5);
    let (old, new) = (std::fs::read(old).unwrap(), std::fs::read(new).unwrap());
    let pictures = &new[new.windows(4).position(|w| w == b"mdat").unwrap() + 12..];
    assert!(old.windows(pictures.len()).any(|w| w == pictures));
}

#[test]
fn cameras_are_encoded_anew() {
    let (dir, source) = recorded(Codec::H264);
    let how = Reencode {
        cameras: vec![WRIST.into()],
        codec: Codec::Av1,
        gop: 5,
        crf: 25,
    };
    let report = edit::reencode(&source, &how, &to(&dir)).unwrap();
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&report.root, &all, &BOTH);
    let wanted = VideoWork {
        copied_files: 4,
        remuxed_files: 0,
        reencoded_files: 4,
        reencoded_frames: 37,
    };
    assert_eq!(report.videos, wanted);
    let dataset = Dataset::open(&report.root).unwrap();
    let codecs: Vec<_> = dataset
        .video_files(0)
        .unwrap()
        .iter()
        .map(|(_, p)| mp4::probe(p).unwrap().codec)
        .collect();
    assert_eq!(codecs, ["avc1", "av01"]);
    let facts = dataset
        .info()
        .features
        .get(WRIST)
        .unwrap()
        .info
        .clone()
        .unwrap();
    assert_eq!(
        (&facts["video.codec"], &facts["video.g"]),
        (&"av1".into(), &5.into())
    );
}

#[test]
fn wrong_requests_say_what_is_wrong_and_do_nothing() {
    let (dir, source) = recorded(Codec::H264);
    let before = files(dir.path());
    let label = |episode| Relabel {
        episodes: BTreeMap::from([(episode, String::new())]),
        ..Relabel::default()
    };
    let cut =
        |episode, from, to| edit::trim(&source, &[Cut { episode, from, to }], &to_result(&dir));
    let rename =
        |a: &str, b: &str| edit::rename(&source, &[(a.into(), b.into())], &to_result(&dir));
    let results = [
        edit::delete(&source, &[4], &to(&dir)),
        edit::delete(&source, &[0, 1, 2, 3], &to(&dir)),
        edit::delete(&source, &[], &to(&dir)),
        edit::keep(&source, &[], &to(&dir)),
        edit::merge(&[], &dir.path().join("x"), None),
        edit::relabel(&source, &label(0), &to(&dir)),
        edit::relabel(&source, &label(9), &to(&dir)),
        edit::relabel(&source, &Relabel::default(), &to(&dir)),
        rename("index", "number"),
        rename("nothing", "something"),
        rename(FRONT, WRIST),
        rename(FRONT, "a/b"),
        edit::drop_features(&source, &["timestamp".into()], &to(&dir)),
        cut(0, 5, Some(5)),
        cut(0, 0, Some(14)),
        cut(7, 0, None),
        edit::reencode(
            &source,
            &Reencode {
                gop: 0,
                ..Reencode::default()
            },
            &to(&dir),
        ),
        edit::reencode(
            &source,
            &Reencode {
                cameras: vec!["action".into()],
                ..Reencode::default()
            },
            &to(&dir),
        ),
        edit::delete(&source, &[0], &Target::Folder(source.clone())),
        edit::delete(&source, &[0], &Target::Folder(source.join("inside"))),
    ];
    for (i, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::Edit { .. })), "{i}: {result:?}");
    }
    assert!(files(dir.path()) == before);
}

fn to_result(dir: &TempDir) -> Target {
    to(dir)
}

/// Damages one file and expects every target to be refused without a trace.
fn damaged(change: impl Fn(&Path)) {
    let (dir, source) = recorded(Codec::H264);
    change(&source);
    let before = files(dir.path());
    for target in [to(&dir), Target::InPlace] {
        // Episode 3 is damaged: by then the others have been written.
        let result = edit::delete(&source, &[0], &target);
        assert!(
            matches!(result, Err(Error::Corrupt { .. } | Error::Io { .. })),
            "{result:?}"
        );
        assert!(
            files(dir.path()) == before,
            "the source is as it was and nothing is beside it"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_damaged_source_leaves_no_half_result() {
    let cut_off = |name: String| {
        move |source: &Path| {
            let path = source.join(&name);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
    };
    damaged(cut_off("data/chunk-000/file-003.parquet".into()));
    damaged(|source| std::fs::remove_file(source.join("data/chunk-000/file-003.parquet")).unwrap());
    damaged(|source| {
        let path = source.join(format!("videos/{WRIST}/chunk-000/file-003.mp4"));
        std::fs::write(path, [0; 100]).unwrap();
    });
}

#[test]
fn a_target_that_cannot_be_written_leaves_the_source() {
    let (dir, source) = recorded(Codec::H264);
    let before = files(dir.path());
    // A file where the result's parent should be: refused whoever runs the test, root included.
    let target = Target::Folder(source.parent().unwrap().join("source/README.md/result"));
    assert!(edit::delete(&source, &[0], &target).is_err());
    let left = dir.path().join("source.before-edit");
    std::fs::create_dir(&left).unwrap();
    let result = edit::delete(&source, &[0], &Target::InPlace);
    assert!(
        matches!(result, Err(Error::Edit { .. })),
        "an interrupted edit's dataset is not overwritten"
    );
    std::fs::remove_dir(left).unwrap();
    assert!(files(dir.path()) == before);
}

#[test]
fn a_file_with_many_episodes_is_cut_without_encoding() {
    // A merged camera file as LeRobot packs it: all episodes in one MP4, one data file.
    let (dir, source) = recorded(Codec::H264);
    let packed = pack(&dir, &source);
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&packed, &all, &BOTH);
    let report = edit::delete(&packed, &[1], &to(&dir)).unwrap();
    check(&report.root, &[whole(0), whole(2), whole(3)], &BOTH);
    // Episode 0 has 13 frames: the moved runs begin at key frames all the same, and stay together.
    assert_eq!(
        report.videos,
        VideoWork {
            remuxed_files: 2,
            ..VideoWork::default()
        }
    );
    let cuts = [Cut {
        episode: 2,
        from: 1,
        to: None,
    }];
    let trimmed = edit::trim(&packed, &cuts, &Target::Folder(dir.path().join("trimmed"))).unwrap();
    check(
        &trimmed.root,
        &[whole(0), whole(1), (2, 1..10, "pick the cube"), whole(3)],
        &BOTH,
    );
    let wanted = VideoWork {
        remuxed_files: 4,
        reencoded_files: 2,
        reencoded_frames: 18,
        ..VideoWork::default()
    };
    assert_eq!(trimmed.videos, wanted);
}

/// The dataset with all frames of a camera in one file, as LeRobot packs them.
fn pack(dir: &TempDir, source: &Path) -> PathBuf {
    use sinew_datasets::video::remux::{Piece, join};
    let packed = edit::keep(
        source,
        &[0, 1, 2, 3],
        &Target::Folder(dir.path().join("packed")),
    )
    .unwrap()
    .root;
    let dataset = Dataset::open(&packed).unwrap();
    for (key, _) in BOTH {
        let folder = packed.join(format!("videos/{key}/chunk-000"));
        let tracks: Vec<Track> = (0..4)
            .map(|i| Track::read(&folder.join(format!("file-{i:03}.mp4")), 30).unwrap())
            .collect();
        let pieces: Vec<Piece<'_>> = tracks
            .iter()
            .map(|track| Piece {
                track,
                samples: track.run(0, track.frames()).unwrap(),
            })
            .collect();
        let out = folder.join("joined.mp4");
        join(&pieces, 30, &out).unwrap();
        for i in 1..4 {
            std::fs::remove_file(folder.join(format!("file-{i:03}.mp4"))).unwrap();
        }
        std::fs::rename(out, folder.join("file-000.mp4")).unwrap();
    }
    rewrite_spans(&packed, &dataset);
    packed
}

/// Puts every episode into video file 0, one after the other.
fn rewrite_spans(root: &Path, dataset: &Dataset) {
    let path = root.join("meta/episodes/chunk-000/file-000.parquet");
    let file = std::fs::File::open(&path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let batch = reader.next().unwrap().unwrap();
    let ends: Vec<f64> = dataset
        .episodes()
        .iter()
        .map(|e| e.to_index as f64 / 30.0)
        .collect();
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let array: ArrayRef = match field.name() {
                n if n.starts_with("videos/") && n.ends_with("/file_index") => {
                    Arc::new(Int64Array::from(vec![0; 4]))
                }
                n if n.ends_with("/from_timestamp") => Arc::new(Float64Array::from_iter_values(
                    std::iter::once(0.0).chain(ends[..3].iter().copied()),
                )),
                n if n.ends_with("/to_timestamp") => Arc::new(Float64Array::from(ends.clone())),
                _ => column.clone(),
            };
            array
        });
    let batch = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}
