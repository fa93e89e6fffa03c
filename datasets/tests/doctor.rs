//! One damage, one finding: a sound dataset is damaged in exactly one way, and the doctor must name
//! that, its place and a remedy, and nothing else.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

#[path = "support/damage.rs"]
mod damage;

use damage::{copy, drop_rows, patch_text, patch_tick, set, set_list, sound};
use sinew_datasets::Recorder;
use sinew_datasets::doctor::{Code, Finding, Options, Report, Severity, examine};
use std::path::Path;

const FRONT: &str = "observation.images.front";
const DATA_1: &str = "data/chunk-000/file-001.parquet";
const TABLE_1: &str = "meta/episodes/chunk-000/file-001.parquet";
const VIDEO_1: &str = "videos/observation.images.front/chunk-000/file-001.mp4";

fn look(root: &Path) -> Report {
    examine(root, &Options::thorough())
}

/// Damages a copy of the sound dataset and gives the only finding that is more than a note.
#[track_caller]
fn only(damage: impl FnOnce(&Path)) -> Finding {
    let dir = copy(sound());
    damage(dir.path());
    let report = look(dir.path());
    let mut serious = report
        .findings
        .into_iter()
        .filter(|f| f.severity > Severity::Note);
    let first = serious.next().expect("the damage is found");
    let others: Vec<Finding> = serious.collect();
    assert!(others.is_empty(), "{first:#?} and also {others:#?}");
    assert!(
        first.remedy.len() > 10 && first.message.len() > 5,
        "{first:?}"
    );
    first
}

/// The finding's code, severity and place: (file, episode, frame, feature).
#[track_caller]
fn expect(
    found: &Finding,
    code: Code,
    severity: Severity,
    place: (Option<&str>, Option<u64>, Option<u64>, Option<&str>),
) {
    let at = &found.place;
    assert_eq!((found.code, found.severity), (code, severity), "{found:#?}");
    assert_eq!(
        (
            at.file.as_deref(),
            at.episode,
            at.frame,
            at.feature.as_deref()
        ),
        (place.0.map(Path::new), place.1, place.2, place.3),
        "{found:#?}"
    );
}

fn error(found: &Finding, code: Code, file: &str, episode: Option<u64>, frame: Option<u64>) {
    let feature = found.place.feature.clone();
    expect(
        found,
        code,
        Severity::Error,
        (Some(file), episode, frame, feature.as_deref()),
    );
}

#[test]
fn a_sound_dataset_has_no_findings() {
    let report = look(sound());
    assert_eq!(report.findings, [], "{report:#?}");
    let checked = report.checked;
    assert_eq!(
        (
            checked.episodes,
            checked.rows,
            checked.data_files,
            checked.video_files,
            checked.pictures
        ),
        (3, 135, 3, 6, 270)
    );
    assert!(checked.bytes > 10_000);
}

#[test]
fn an_empty_dataset_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let recorder =
        Recorder::create(dir.path(), &support::spec(sinew_datasets::Codec::H264)).unwrap();
    recorder.finalize().unwrap();
    assert_eq!(look(dir.path()).findings, []);
}

#[test]
fn heads_that_are_absent_or_wrong() {
    let info = "meta/info.json";
    let found = only(|root| std::fs::remove_file(root.join(info)).unwrap());
    error(&found, Code::InfoMissing, info, None, None);
    let found = only(|root| std::fs::write(root.join(info), "{\"codebase").unwrap());
    error(&found, Code::InfoInvalid, info, None, None);
    let found = only(|root| patch_text(root, info, "\"v3.0\"", "\"v2.1\""));
    error(&found, Code::Version, info, None, None);
    let found = only(|root| {
        patch_text(
            root,
            info,
            "\"fps\": 30,\n    \"features\"",
            "\"fps\": 0,\n    \"features\"",
        )
    });
    error(&found, Code::InfoInvalid, info, None, None);
    assert!(found.message.contains("fps is 0"), "{}", found.message);
    for (key, right, wrong) in [
        ("total_frames", 135, 134),
        ("total_tasks", 2, 3),
        ("total_episodes", 3, 4),
    ] {
        let (right, wrong) = (format!("\"{key}\": {right}"), format!("\"{key}\": {wrong}"));
        let found = only(|root| patch_text(root, info, &right, &wrong));
        error(&found, Code::Totals, info, None, None);
        assert!(found.message.starts_with(key), "{}", found.message);
    }
}

#[test]
fn parquet_files_without_footer_or_with_holes() {
    for file in [DATA_1, TABLE_1, "meta/tasks.parquet"] {
        let found = only(|root| {
            let bytes = std::fs::read(root.join(file)).unwrap();
            std::fs::write(root.join(file), &bytes[..bytes.len() - 20]).unwrap();
        });
        error(&found, Code::ParquetFooter, file, None, None);
        let found = only(|root| {
            let mut bytes = std::fs::read(root.join(file)).unwrap();
            bytes[4..60].fill(0xFF);
            std::fs::write(root.join(file), &bytes).unwrap();
        });
        error(&found, Code::ParquetDamaged, file, None, None);
    }
}

#[test]
fn files_that_are_absent_or_unnamed() {
    let found = only(|root| std::fs::remove_file(root.join(DATA_1)).unwrap());
    error(&found, Code::FileMissing, DATA_1, Some(1), None);
    let found = only(|root| std::fs::remove_file(root.join(VIDEO_1)).unwrap());
    error(&found, Code::FileMissing, VIDEO_1, Some(1), None);
    let found = only(|root| std::fs::remove_file(root.join("meta/tasks.parquet")).unwrap());
    error(&found, Code::FileMissing, "meta/tasks.parquet", None, None);
    let found = only(|root| std::fs::remove_file(root.join("meta/stats.json")).unwrap());
    expect(
        &found,
        Code::StatsMissing,
        Severity::Warning,
        (Some("meta/stats.json"), None, None, None),
    );
    for (from, to) in [
        (DATA_1, "data/chunk-000/file-007.parquet"),
        (
            VIDEO_1,
            "videos/observation.images.front/chunk-000/file-007.mp4",
        ),
    ] {
        let found =
            only(|root| assert!(std::fs::copy(root.join(from), root.join(to)).unwrap() > 0));
        expect(
            &found,
            Code::FileUnnamed,
            Severity::Warning,
            (Some(to), None, None, None),
        );
    }
}

#[test]
fn videos_cut_off_or_damaged() {
    let cut = |keep: fn(usize) -> usize| {
        only(|root| {
            let bytes = std::fs::read(root.join(VIDEO_1)).unwrap();
            std::fs::write(root.join(VIDEO_1), &bytes[..keep(bytes.len())]).unwrap();
        })
    };
    // The index comes first in our files; LeRobot's writer puts it last until it is finished.
    let found = cut(|_| 100);
    error(&found, Code::VideoIndex, VIDEO_1, Some(1), None);
    assert_eq!(found.place.feature.as_deref(), Some(FRONT));
    error(
        &cut(|all| all - 500),
        Code::VideoDamaged,
        VIDEO_1,
        Some(1),
        None,
    );
    let found = only(|root| {
        let mut bytes = std::fs::read(root.join(VIDEO_1)).unwrap();
        let at = bytes.windows(4).position(|w| w == b"mdat").unwrap();
        bytes[at + 4..].fill(0);
        std::fs::write(root.join(VIDEO_1), bytes).unwrap();
    });
    error(&found, Code::VideoDamaged, VIDEO_1, Some(1), None);
}

#[test]
fn videos_with_frames_or_times_that_do_not_fit() {
    // The video of episode 0 has 40 frames, episode 1 has 50 rows.
    let found = only(|root| {
        let other = "videos/observation.images.front/chunk-000/file-000.mp4";
        std::fs::copy(root.join(other), root.join(VIDEO_1)).unwrap();
    });
    error(&found, Code::VideoFrames, VIDEO_1, Some(1), None);
    assert_eq!(found.message, "40 frames for 50 rows");
    let found = only(|root| patch_tick(&root.join(VIDEO_1), 512, 0));
    error(&found, Code::VideoPts, VIDEO_1, Some(1), Some(1));
    let found = only(|root| patch_tick(&root.join(VIDEO_1), 512, 500));
    error(&found, Code::VideoRate, VIDEO_1, Some(1), Some(1));
    for (column, value) in [("from_timestamp", 0.01), ("to_timestamp", 9.0)] {
        let found = only(|root| {
            set(
                &root.join(TABLE_1),
                &format!("videos/{FRONT}/{column}"),
                0,
                value,
            );
        });
        error(&found, Code::VideoSpan, TABLE_1, Some(1), None);
    }
    let found = only(|root| {
        let shape = "\"shape\": [\n                240,\n                320,";
        patch_text(root, "meta/info.json", shape, &shape.replace("320", "322"));
        patch_text(
            root,
            "meta/info.json",
            "\"total_tasks\": 2",
            "\"total_tasks\":  2",
        );
        // One camera's videos: three files, so three findings of one kind would come.
        for episode in [0, 2] {
            let file = format!("videos/{FRONT}/chunk-000/file-00{episode}.mp4");
            damage::patch_size(&root.join(file), (320, 240), (322, 240));
        }
    });
    error(&found, Code::VideoSize, VIDEO_1, Some(1), None);
}

#[test]
fn numbers_of_episodes_rows_and_frames() {
    let cell = |column: &'static str, row, value| {
        only(move |root| set(&root.join(DATA_1), column, row, value))
    };
    error(
        &cell("episode_index", 7, 2.0),
        Code::EpisodeIndex,
        DATA_1,
        Some(1),
        Some(7),
    );
    error(
        &cell("frame_index", 7, 9.0),
        Code::FrameIndex,
        DATA_1,
        Some(1),
        Some(7),
    );
    let found = cell("index", 7, 46.0);
    error(&found, Code::GlobalIndex, DATA_1, Some(1), Some(7));
    assert!(
        found.message.contains("46 instead of 47: a duplicate"),
        "{}",
        found.message
    );
    let found = cell("timestamp", 7, 0.25);
    error(&found, Code::Timestamp, DATA_1, Some(1), Some(7));
    error(
        &cell("task_index", 7, 5.0),
        Code::TaskUnknown,
        DATA_1,
        Some(1),
        Some(7),
    );
    let cell =
        |column: &'static str, value| only(move |root| set(&root.join(TABLE_1), column, 0, value));
    error(
        &cell("episode_index", 2.0),
        Code::EpisodeIndex,
        TABLE_1,
        Some(1),
        None,
    );
    error(
        &cell("dataset_from_index", 41.0),
        Code::EpisodeRange,
        TABLE_1,
        Some(1),
        None,
    );
    error(
        &cell("dataset_to_index", 91.0),
        Code::EpisodeRange,
        TABLE_1,
        Some(1),
        None,
    );
    error(
        &cell("length", 49.0),
        Code::EpisodeRows,
        DATA_1,
        Some(1),
        None,
    );
}

#[test]
fn lost_rows_are_named_where_they_were_lost() {
    let found = only(|root| drop_rows(&root.join(DATA_1), 48..50));
    error(&found, Code::EpisodeRows, DATA_1, Some(1), None);
    assert_eq!(
        found.message,
        "the data file has 48 rows of it, the episode table says 50"
    );
}

#[test]
fn rows_in_another_file_than_the_table_says() {
    let found = only(|root| set(&root.join(TABLE_1), "data/file_index", 0, 2.0));
    error(&found, Code::DataFile, TABLE_1, Some(1), None);
    assert!(found.message.contains(DATA_1), "{}", found.message);
}

#[test]
fn tasks_out_of_order_or_not_those_of_the_rows() {
    let tasks = "meta/tasks.parquet";
    let found = only(|root| set(&root.join(tasks), "task_index", 1, 2.0));
    // The rows of episode 1 refer to task 1, which is gone: the order is the cause.
    error(&found, Code::TasksOrder, tasks, None, Some(1));
    let found = only(|root| damage::set_text_list(&root.join(TABLE_1), "tasks", "something else"));
    expect(
        &found,
        Code::EpisodeTasks,
        Severity::Warning,
        (Some(TABLE_1), Some(1), None, None),
    );
}

#[test]
fn columns_missing_or_of_another_shape() {
    let found = only(|root| damage::drop_column(&root.join(DATA_1), "action"));
    error(&found, Code::ColumnMissing, DATA_1, None, None);
    assert_eq!(found.place.feature.as_deref(), Some("action"));
    let found = only(|root| damage::drop_column(&root.join(TABLE_1), "length"));
    error(&found, Code::ColumnMissing, TABLE_1, None, None);
    let found = only(|root| {
        // Episode 1's file gets states with five entries.
        damage::narrow(&root.join(DATA_1), "observation.state");
    });
    error(&found, Code::ColumnShape, DATA_1, None, None);
}

#[test]
fn values_that_are_no_numbers() {
    for value in [f64::NAN, f64::INFINITY] {
        let found = only(|root| set_list(&root.join(DATA_1), "action", 7 * 6 + 2, value));
        error(&found, Code::NotFinite, DATA_1, Some(1), Some(7));
        assert_eq!(
            found.place.feature.as_deref(),
            Some("action/elbow_flex.pos")
        );
    }
}

#[test]
fn statistics_that_are_not_those_of_the_data() {
    for value in ["min", "max", "mean", "std", "q01", "q50", "q99"] {
        let column = format!("stats/observation.state/{value}");
        let found = only(|root| damage::add_to_list(&root.join(TABLE_1), &column, 3, 2.0));
        expect(
            &found,
            Code::StatsWrong,
            Severity::Error,
            (
                Some(TABLE_1),
                Some(1),
                None,
                Some("observation.state/wrist_flex.pos"),
            ),
        );
        assert!(found.message.starts_with(value), "{}", found.message);
        let found = only(|root| damage::add_to_json(root, "observation.state", value, 3, 2.0));
        expect(
            &found,
            Code::StatsWrong,
            Severity::Error,
            (
                Some("meta/stats.json"),
                None,
                None,
                Some("observation.state/wrist_flex.pos"),
            ),
        );
    }
    let found = only(|root| damage::add_to_json(root, "action", "count", 0, 1.0));
    assert!(
        found
            .message
            .starts_with("count is 136, but the data give 135"),
        "{}",
        found.message
    );
    let found = only(|root| patch_text(root, "meta/stats.json", "\"action\"", "\"axion\""));
    expect(
        &found,
        Code::StatsMissing,
        Severity::Warning,
        (Some("meta/stats.json"), None, None, Some("action")),
    );
}

#[test]
fn leftovers_of_recordings() {
    let staged = ".recording/observation.images.front.mp4";
    let found = only(|root| {
        std::fs::create_dir_all(root.join(".recording")).unwrap();
        std::fs::write(root.join(".recording/lock"), "").unwrap();
        std::fs::write(root.join(staged), "half").unwrap();
    });
    expect(
        &found,
        Code::RecordingLeftover,
        Severity::Warning,
        (Some(staged), None, None, None),
    );
    let picture = "images/observation.images.front/episode-000003/frame-000000.png";
    let found = only(|root| {
        std::fs::create_dir_all(root.join(picture).parent().unwrap()).unwrap();
        std::fs::write(root.join(picture), "half").unwrap();
    });
    expect(
        &found,
        Code::RecordingLeftover,
        Severity::Warning,
        (Some(picture), None, None, None),
    );
    let found = only(|root| std::fs::write(root.join("meta/info.part"), "{").unwrap());
    expect(
        &found,
        Code::RecordingLeftover,
        Severity::Warning,
        (Some("meta/info.part"), None, None, None),
    );
    // Killed between the last two steps of a commit: everything is there but the count.
    let found = only(|root| {
        for (right, wrong) in [
            ("\"total_episodes\": 3", "\"total_episodes\": 2"),
            ("\"total_frames\": 135", "\"total_frames\": 90"),
            ("\"0:3\"", "\"0:2\""),
        ] {
            patch_text(root, "meta/info.json", right, wrong);
        }
    });
    let table = "meta/episodes/chunk-000/file-002.parquet";
    expect(
        &found,
        Code::EpisodeUncommitted,
        Severity::Warning,
        (Some(table), Some(2), None, None),
    );
}

#[test]
fn a_recording_that_goes_on_is_no_leftover() {
    let dir = copy(sound());
    let mut recorder =
        Recorder::resume(dir.path(), &support::spec(sinew_datasets::Codec::Auto)).unwrap();
    recorder.start_episode("pick").unwrap();
    let report = look(dir.path());
    let codes: Vec<Code> = report.findings.iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::RecordingActive]);
    assert_eq!(report.worst(), Some(Severity::Note));
}

#[test]
fn a_wrong_kind_of_thing_everywhere_is_listed_in_part_and_counted_whole() {
    let dir = copy(sound());
    for file in ["000", "001", "002"] {
        for entry in 0..3 {
            let column = "stats/observation.state/mean";
            let file = format!("meta/episodes/chunk-000/file-{file}.parquet");
            damage::add_to_list(&dir.path().join(file), column, entry, 1.0);
        }
    }
    let options = Options {
        per_code: 1,
        pictures: 0,
        ..Options::default()
    };
    let report = examine(dir.path(), &options);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.unlisted.get(&Code::StatsWrong), Some(&2));
    assert_eq!(report.count(Severity::Error), 3);
}
