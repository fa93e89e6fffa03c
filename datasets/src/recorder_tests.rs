//! Recording without cameras; videos are tested in `tests/recording.rs`.

use super::*;
use crate::reader::Dataset;
use crate::resume::STAGING;
use crate::spec::{Codec, ExtraSpec, ExtraType};
use crate::{EpisodeMarks, RepairOptions, repair};

fn spec() -> DatasetSpec {
    DatasetSpec {
        robot_type: "so101_follower".into(),
        fps: 30,
        state_names: vec!["a.pos".into(), "b.pos".into()],
        action_names: vec!["a.pos".into(), "b.pos".into()],
        cameras: vec![],
        extras: vec![ExtraSpec::vector(
            "timing.capture_s",
            ExtraType::Float64,
            &["state_s"],
        )],
        codec: Codec::Auto,
    }
}

fn fill(recorder: &mut Recorder, task: &str, rows: usize, offset: f32) {
    recorder.start_episode(task).unwrap();
    for i in 0..rows {
        let x = offset + i as f32;
        recorder
            .add(Row {
                state: &[x, -x],
                action: &[2.0 * x, 0.5],
                extra: &[ExtraValue::F64(&[f64::from(x) / 30.0])],
                frames: &[],
            })
            .unwrap();
    }
}

#[test]
fn episodes_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 5, 0.0);
    recorder.save_episode().unwrap();
    fill(&mut recorder, "thrown away", 9, 0.0);
    recorder.discard_episode().unwrap();
    fill(&mut recorder, "place", 3, 100.0);
    let summary = recorder.save_episode().unwrap();
    assert_eq!(
        (summary.episode, summary.rows, &summary.tasks[..]),
        (1, 3, &["place".to_owned()][..])
    );
    recorder.finalize().unwrap();

    assert!(!dir.path().join(STAGING).exists());
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.tasks(), ["pick", "place"]);
    assert_eq!(
        (dataset.info().total_episodes, dataset.info().total_frames),
        (2, 8)
    );
    let actions = dataset.actions(1).unwrap();
    assert_eq!(
        (actions.len(), actions.names.as_slice()),
        (3, ["a.pos".to_owned(), "b.pos".to_owned()].as_slice())
    );
    assert_eq!(actions.row(2), Some(&[204.0, 0.5][..]));
    assert_eq!(dataset.series(1, "index").unwrap().values, [5.0, 6.0, 7.0]);
    assert_eq!(dataset.series(1, "task_index").unwrap().values, [1.0; 3]);
    assert_eq!(
        dataset.series(0, "timestamp").unwrap().values[4],
        f64::from(4.0_f32 / 30.0)
    );
    assert!(matches!(dataset.states(2), Err(Error::NotFound { .. })));
}

#[test]
fn resumed_dataset_equals_one_made_at_once() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut recorder = Recorder::create(whole.path(), &spec()).unwrap();
    for i in 0..3 {
        fill(&mut recorder, "pick", 4 + i, i as f32);
        recorder.save_episode().unwrap();
    }
    for i in 0..3 {
        let mut recorder = if i == 0 {
            Recorder::create(parts.path(), &spec())
        } else {
            Recorder::resume(parts.path(), &spec())
        }
        .unwrap();
        fill(&mut recorder, "pick", 4 + i, i as f32);
        recorder.save_episode().unwrap();
    }
    for file in [
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "data/chunk-000/file-002.parquet",
        "meta/episodes/chunk-000/file-002.parquet",
    ] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap();
        assert_eq!(read(whole.path()), read(parts.path()), "{file}");
    }
}

#[test]
fn statistics_are_exact_over_the_whole_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    let mut all = Vec::new();
    for (rows, offset) in [(3, 0.0), (40, 1000.0), (7, -50.0)] {
        fill(&mut recorder, "pick", rows, offset);
        recorder.save_episode().unwrap();
        all.extend((0..rows).map(|i| f64::from(2.0 * (offset + i as f32))));
    }
    recorder.finalize().unwrap();
    let text = std::fs::read(dir.path().join("meta/stats.json")).unwrap();
    let found: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let exact = crate::stats::FeatureStats::of_rows(&all, 1);
    for (values, (name, _)) in exact.quantiles.iter().zip(crate::stats::QUANTILES) {
        assert_eq!(found["action"][name][0], values[0], "{name}");
    }
    assert_eq!(found["action"]["count"][0], 50);
}

#[test]
fn tasks_change_within_an_episode() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "place", 2, 0.0);
    recorder.save_episode().unwrap();
    fill(&mut recorder, "pick", 2, 0.0);
    for task in ["never used", "place"] {
        recorder.set_task(task).unwrap();
    }
    assert!(recorder.set_task(" ").is_err());
    let row = Row {
        state: &[0.0; 2],
        action: &[0.0; 2],
        extra: &[ExtraValue::F64(&[0.0])],
        frames: &[],
    };
    recorder.add(row).unwrap();
    let summary = recorder.save_episode().unwrap();
    assert_eq!(summary.tasks, ["pick", "place"]);
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.tasks(), ["place", "pick"]);
    let numbers = dataset.series(1, "task_index").unwrap().values;
    assert_eq!(numbers, [1.0, 1.0, 0.0]);
    assert_eq!(dataset.episodes()[1].tasks, ["pick", "place"]);
}

/// Saved before the crash: one episode of 5 rows. In progress: one of 7.
fn interrupted(step: usize) -> (tempfile::TempDir, bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 5, 0.0);
    recorder.save_episode().unwrap();
    fill(&mut recorder, "another task", 7, 50.0);
    let interrupted = recorder.save_stopping_before(Some(step)).is_err();
    (dir, interrupted)
}

fn third_episode_follows(root: &Path) {
    let mut recorder = Recorder::resume(root, &spec()).unwrap();
    fill(&mut recorder, "third", 2, 90.0);
    let summary = recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    let dataset = Dataset::open(root).unwrap();
    let actions = dataset.actions(summary.episode).unwrap();
    assert_eq!(actions.values, [180.0, 0.5, 182.0, 0.5]);
    let task = dataset
        .series(summary.episode, "task_index")
        .unwrap()
        .values[0] as usize;
    assert_eq!(dataset.tasks()[task], "third");
}

#[test]
fn interrupted_commit_leaves_earlier_episodes_and_repair_completes_it() {
    for step in 0.. {
        let (dir, stopped) = interrupted(step);
        if !stopped {
            assert_eq!(step, 6, "plan, data, tasks, episode, stats, info");
            return;
        }
        let dataset = Dataset::open(dir.path()).unwrap();
        assert_eq!(dataset.episodes().len(), 1, "before step {step}");
        assert_eq!(dataset.actions(0).unwrap().len(), 5);

        let report = repair(dir.path(), RepairOptions::default()).unwrap();
        let found = if step == 0 {
            &report.recovered
        } else {
            &report.completed
        };
        let found = found.as_ref().unwrap();
        assert_eq!((found.episode, found.rows), (1, 7), "step {step}");
        assert_eq!((found.task.as_str(), report.episodes), ("another task", 2));
        let dataset = Dataset::open(dir.path()).unwrap();
        assert_eq!(dataset.actions(1).unwrap().row(6), Some(&[112.0, 0.5][..]));
        let marks = EpisodeMarks::read(dir.path()).unwrap();
        assert_eq!(marks.episodes.contains_key(&1), step == 0);

        let again = repair(dir.path(), RepairOptions::default()).unwrap();
        assert!(again.is_clean() && again.episodes == 2, "{again:?}");
        assert!(!dir.path().join(STAGING).exists());
        third_episode_follows(dir.path());
    }
}

#[test]
fn resuming_completes_what_was_saved_and_asks_about_what_was_not() {
    let (dir, _) = interrupted(3);
    third_episode_follows(dir.path());
    assert_eq!(Dataset::open(dir.path()).unwrap().episodes().len(), 3);

    let (dir, _) = interrupted(0);
    let refused = Recorder::resume(dir.path(), &spec());
    assert!(
        matches!(&refused, Err(Error::Unrepaired { rows: 7, task, .. }) if task == "another task"),
        "{refused:?}"
    );
    let throw_away = RepairOptions {
        keep_running: false,
    };
    let report = repair(dir.path(), throw_away).unwrap();
    assert_eq!((report.discarded_rows, report.episodes), (Some(7), 1));
    third_episode_follows(dir.path());
    assert_eq!(Dataset::open(dir.path()).unwrap().episodes().len(), 2);
}

#[test]
fn repair_waits_for_the_recorder_and_leaves_sound_datasets_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(repair(dir.path(), RepairOptions::default()).is_err());
    assert!(!dir.path().join(STAGING).exists(), "no dataset, no traces");
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 5, 0.0);
    assert!(matches!(
        repair(dir.path(), RepairOptions::default()),
        Err(Error::Locked { .. })
    ));
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    let report = repair(dir.path(), RepairOptions::default()).unwrap();
    assert!(report.is_clean() && report.episodes == 1);
}

#[test]
fn repair_removes_what_an_older_version_left_half_moved() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 5, 0.0);
    recorder.save_episode().unwrap();
    let head = std::fs::read(Info::path(dir.path())).unwrap();
    fill(&mut recorder, "pick", 5, 0.0);
    recorder.save_episode().unwrap();
    drop(recorder);
    std::fs::write(Info::path(dir.path()), head).unwrap();
    let report = repair(dir.path(), RepairOptions::default()).unwrap();
    let removed: Vec<&str> = report.removed.iter().filter_map(|p| p.to_str()).collect();
    assert_eq!(
        removed,
        [
            "meta/episodes/chunk-000/file-001.parquet",
            "data/chunk-000/file-001.parquet"
        ]
    );
    assert_eq!(
        Dataset::open(dir.path()).unwrap().actions(0).unwrap().len(),
        5
    );
}

#[test]
fn damaged_journals_are_recovered_up_to_the_damage() {
    let (dir, _) = interrupted(0);
    let journal = dir.path().join(STAGING).join("rows.journal");
    let whole = std::fs::read(&journal).unwrap();
    let mut best = 0;
    for cut in (0..=whole.len()).step_by(13) {
        std::fs::write(&journal, &whole[..cut]).unwrap();
        let rows = match Recorder::resume(dir.path(), &spec()) {
            Err(Error::Unrepaired { rows, .. }) => rows,
            Ok(_) => 0,
            Err(other) => panic!("{other}"),
        };
        assert!(rows >= best, "more bytes, fewer rows");
        best = rows;
    }
    std::fs::write(&journal, &whole[..whole.len() - 1]).unwrap();
    let report = repair(dir.path(), RepairOptions::default()).unwrap();
    assert_eq!(report.recovered.unwrap().rows, 6);
    assert_eq!(
        Dataset::open(dir.path()).unwrap().actions(1).unwrap().len(),
        6
    );
}

#[test]
fn abandoned_episode_leaves_no_trace_in_the_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 5, 0.0);
    drop(recorder);
    assert_eq!(Dataset::open(dir.path()).unwrap().episodes().len(), 0);
}

#[test]
fn dropped_rows_and_early_ends_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 3, 0.0);
    recorder.save_episode().unwrap();
    assert!(!EpisodeMarks::path(dir.path()).exists());
    let row = Row {
        state: &[0.0; 2],
        action: &[0.0; 2],
        extra: &[ExtraValue::F64(&[0.0])],
        frames: &[],
    };
    recorder.start_episode("pick").unwrap();
    recorder.add(row).unwrap();
    recorder.note_dropped(4);
    recorder.add(row).unwrap();
    recorder.note_dropped(2);
    recorder.end_early("the camera was unplugged");
    assert!(matches!(recorder.add(row), Err(Error::EndedEarly { .. })));
    let summary = recorder.save_episode().unwrap();
    assert_eq!((summary.rows, summary.dropped_rows), (2, 6));
    recorder.finalize().unwrap();
    let marks = EpisodeMarks::read(dir.path()).unwrap();
    let mark = &marks.episodes[&1];
    assert_eq!((mark.dropped_rows, mark.gaps.len()), (6, 1));
    assert_eq!((mark.gaps[0].before_row, mark.gaps[0].rows), (1, 4));
    assert_eq!(
        mark.ended_early.as_deref(),
        Some("the camera was unplugged")
    );
    assert!(marks.episodes.len() == 1 && !mark.recovered);
}

#[test]
fn wrong_rows_are_refused_and_the_episode_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    fill(&mut recorder, "pick", 1, 0.0);
    let bad = [
        Row {
            state: &[0.0],
            action: &[0.0, 0.0],
            extra: &[ExtraValue::F64(&[0.0])],
            frames: &[],
        },
        Row {
            state: &[0.0, f32::NAN],
            action: &[0.0, 0.0],
            extra: &[ExtraValue::F64(&[0.0])],
            frames: &[],
        },
        Row {
            state: &[0.0, 0.0],
            action: &[0.0, 0.0],
            extra: &[],
            frames: &[],
        },
        Row {
            state: &[0.0, 0.0],
            action: &[0.0, 0.0],
            extra: &[ExtraValue::F64(&[0.0])],
            frames: &[Arc::new(Frame::new(2, 2, vec![0; 12]))],
        },
    ];
    for row in bad {
        assert!(matches!(recorder.add(row), Err(Error::Row { row: 1, .. })));
    }
    assert_eq!(recorder.save_episode().unwrap().rows, 1);
}

#[test]
fn calls_out_of_order_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec()).unwrap();
    assert!(matches!(recorder.save_episode(), Err(Error::Order { .. })));
    recorder.start_episode("pick").unwrap();
    assert!(matches!(
        recorder.start_episode("pick"),
        Err(Error::Order { .. })
    ));
    assert!(
        matches!(recorder.save_episode(), Err(Error::Order { .. })),
        "no rows"
    );
    assert!(recorder.start_episode("  ").is_err());
    assert!(matches!(
        Recorder::create(dir.path(), &spec()),
        Err(Error::Exists { .. })
    ));
    assert!(matches!(
        Recorder::resume(dir.path(), &spec()),
        Err(Error::Locked { .. })
    ));
}

#[test]
fn another_robot_cannot_be_appended() {
    let dir = tempfile::tempdir().unwrap();
    Recorder::create(dir.path(), &spec())
        .unwrap()
        .finalize()
        .unwrap();
    let changes: [fn(&mut DatasetSpec); 4] = [
        |s| s.fps = 50,
        |s| s.extras.clear(),
        |s| s.state_names[0] = "x.pos".into(),
        |s| s.state_names.push("c.pos".into()),
    ];
    for change in changes {
        let mut other = spec();
        change(&mut other);
        assert!(
            matches!(
                Recorder::resume(dir.path(), &other),
                Err(Error::Incompatible { .. })
            ),
            "{other:?}"
        );
    }
    Recorder::resume(dir.path(), &spec()).unwrap();
}

#[test]
fn info_json_is_lerobots_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    Recorder::create(dir.path(), &spec()).unwrap();
    let text = std::fs::read_to_string(Info::path(dir.path())).unwrap();
    let (start, end) = (
        "{\n    \"codebase_version\": \"v3.0\",\n    \"fps\": 30,\n    \"features\": {\n        \"observation.state\": {\n            \"dtype\": \"float32\",\n            \"shape\": [\n                2\n            ],\n            \"names\": [\n                \"a.pos\",\n",
        "    \"total_episodes\": 0,\n    \"total_frames\": 0,\n    \"total_tasks\": 0,\n    \"chunks_size\": 1000,\n    \"data_files_size_in_mb\": 100,\n    \"video_files_size_in_mb\": 200,\n    \"data_path\": \"data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet\",\n    \"video_path\": null,\n    \"robot_type\": \"so101_follower\",\n    \"splits\": {\n        \"train\": \"0:0\"\n    }\n}",
    );
    assert!(text.starts_with(start) && text.ends_with(end), "{text}");
}

#[cfg(feature = "gstreamer")]
mod with_cameras {
    use super::*;
    use crate::camera::FrameEncoder;
    use crate::mp4;
    use crate::spec::CameraSpec;
    use crate::video::{Encoder, VideoReader};

    fn two_cameras() -> DatasetSpec {
        let camera = |name: &str| CameraSpec::rgb(name, 96, 64);
        DatasetSpec {
            cameras: vec![camera("front"), camera("wrist")],
            codec: Codec::H264,
            ..spec()
        }
    }

    /// Adds a row whose pictures carry its number in six bars, a bit each.
    fn add(recorder: &mut Recorder, number: u8) -> Result<()> {
        let row: Vec<u8> = (0..96)
            .flat_map(|x| [number >> (x / 16) & 1; 3].map(|bit| 255 * bit))
            .collect();
        let frame = Arc::new(Frame::new(96, 64, row.repeat(64)));
        recorder.add(Row {
            state: &[f32::from(number), 0.0],
            action: &[0.0; 2],
            extra: &[ExtraValue::F64(&[0.0])],
            frames: &[frame.clone(), frame],
        })
    }

    /// Decodes a video whose frames carry their place, and counts them.
    fn frames_in_order(video: &Path) -> u64 {
        let mut reader = VideoReader::open(video).unwrap();
        let mut frames = 0;
        while let Some(picture) = reader.next_picture().unwrap() {
            let bit = |bar: usize| u64::from(picture.rgb[3 * (32 * 96 + 16 * bar + 8)] > 127);
            let number: u64 = (0..6).map(|bar| bit(bar) << bar).sum();
            assert_eq!(number, frames);
            frames += 1;
        }
        frames
    }

    #[test]
    fn failed_encoder_ends_the_episode_with_what_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(dir.path(), &two_cameras()).unwrap();
        recorder.start_episode("pick").unwrap();
        for i in 0..40 {
            add(&mut recorder, i).unwrap();
        }
        while recorder.durable_rows() < Some(30) {
            std::thread::yield_now();
        }
        let durable = recorder.durable_rows().unwrap();
        match &recorder.episode.as_ref().unwrap().cameras[1].encoder {
            FrameEncoder::Colour(encoder) => encoder.break_down(),
            other => panic!("{other:?}"),
        }
        let refused = (0..100).find_map(|_| add(&mut recorder, 41).err());
        assert!(matches!(refused, Some(Error::EndedEarly { .. })));
        let summary = recorder.save_episode().unwrap();
        assert!(summary.rows >= durable && summary.rows <= 40);
        assert!(summary.ended_early.unwrap().contains("encoder"));
        for video in &summary.videos {
            assert_eq!(frames_in_order(video), summary.rows);
        }
        let dataset = Dataset::open(dir.path()).unwrap();
        assert_eq!(dataset.states(0).unwrap().len() as u64, summary.rows);
        // The next episode has encoders of its own.
        recorder.start_episode("pick").unwrap();
        add(&mut recorder, 0).unwrap();
        assert_eq!(recorder.save_episode().unwrap().ended_early, None);
    }

    #[test]
    fn every_encoder_fills_the_journal() {
        for encoder in [
            Encoder::X264,
            Encoder::OpenH264,
            Encoder::Aom,
            Encoder::X265,
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut recorder = Recorder::create(dir.path(), &two_cameras()).unwrap();
            recorder.choice.as_mut().unwrap().encoder = encoder;
            recorder.start_episode("pick").unwrap();
            (0..20).for_each(|i| add(&mut recorder, i).unwrap());
            let summary = recorder.save_episode().unwrap();
            for video in &summary.videos {
                assert_eq!(frames_in_order(video), 20, "{encoder:?}");
                assert!(mp4::probe(video).unwrap().index_first);
            }
        }
    }

    #[test]
    fn frames_damaged_on_the_disk_end_the_recovered_episode() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(dir.path(), &two_cameras()).unwrap();
        recorder.start_episode("pick").unwrap();
        (0..40).for_each(|i| add(&mut recorder, i).unwrap());
        while recorder.durable_rows() < Some(40) {
            std::thread::yield_now();
        }
        drop(recorder);
        let staged = dir
            .path()
            .join(STAGING)
            .join("observation.images.wrist.mp4");
        let mut bytes = std::fs::read(&staged).unwrap();
        let middle = bytes.len() - 300;
        bytes[middle] ^= 1;
        std::fs::write(&staged, bytes).unwrap();
        let report = repair(dir.path(), RepairOptions::default()).unwrap();
        let recovered = report.recovered.unwrap();
        assert!((1..40).contains(&recovered.rows), "{recovered:?}");
        assert_eq!(recovered.rows + recovered.rows_without_frames, 40);
        let dataset = Dataset::open(dir.path()).unwrap();
        for (_, video) in dataset.video_files(0).unwrap() {
            assert_eq!(frames_in_order(&video), recovered.rows);
        }
    }
}
