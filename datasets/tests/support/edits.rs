//! A recorded dataset to edit, and the check of everything that an edit may change.
#![allow(dead_code, reason = "each test program uses its own part")]

use super::support::{counter, read_counter, record, spec, state};
use sinew_datasets::edit::{Report, Target, VideoWork};
use sinew_datasets::video::VideoReader;
use sinew_datasets::{Codec, Dataset, Recorder};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const FRONT: &str = "observation.images.front";
pub(crate) const WRIST: &str = "observation.images.wrist";
/// Task and rows of the recorded episodes.
pub(crate) const EPISODES: [(&str, u32); 4] = [
    ("pick the cube", 13),
    ("place the cube", 8),
    ("pick the cube", 10),
    ("wave", 6),
];

/// A recorded dataset and a place for results.
pub(crate) fn recorded(codec: Codec) -> (TempDir, PathBuf) {
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

pub(crate) fn to(dir: &TempDir) -> Target {
    Target::Folder(dir.path().join("result"))
}

/// What an episode must hold: the recorded episode, its frames, and its task.
pub(crate) type Expected<'a> = (u32, std::ops::Range<u32>, &'a str);

/// All counters in a span of a video file.
pub(crate) fn counters(dataset: &Dataset, root: &Path, episode: u64, key: &str) -> Vec<u32> {
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
pub(crate) fn check(root: &Path, expected: &[Expected<'_>], cameras: &[(&str, u32)]) {
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
pub(crate) fn check_stats(
    root: &Path,
    dataset: &Dataset,
    expected: &[Expected<'_>],
    cameras: &[(&str, u32)],
) {
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

pub(crate) const BOTH: [(&str, u32); 2] = [(FRONT, 0), (WRIST, 1)];

pub(crate) fn whole(episode: usize) -> Expected<'static> {
    (episode as u32, 0..EPISODES[episode].1, EPISODES[episode].0)
}

/// All files below a folder with their contents.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
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

pub(crate) fn untouched(root: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    assert_eq!(
        files(root).keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    assert!(files(root) == *before, "the source changed");
}

pub(crate) fn copied(report: &Report) -> VideoWork {
    VideoWork {
        copied_files: report.videos.copied_files,
        ..VideoWork::default()
    }
}
