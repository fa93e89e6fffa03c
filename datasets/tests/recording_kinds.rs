//! Depth, images, columns of every type, several tasks and lost cameras: recorded, read back, and
//! recovered after a crash.
#![cfg(feature = "gstreamer")]

#[path = "support/kinds.rs"]
mod kinds;
#[path = "support/mod.rs"]
mod support;

use kinds::TASK_CHANGE;
use sinew_datasets::ExtraValue::{Bool, F32, F64, I64, Text};
use sinew_datasets::doctor::{Options, Severity, examine};
use sinew_datasets::video::VideoReader;
use sinew_datasets::{
    CameraSpec, Codec, Dataset, EpisodeMarks, Error, Info, Item, LoopRow, Numbers, Offered, Pixels,
    Reader, ReaderOptions, RecordOptions, Recorder, RecorderThread, RepairOptions, Row, Storage,
    Value, repair,
};
use sinew_runtime::frame::Frame;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{counter, counter_frame, read_counter};

fn record(recorder: &mut Recorder, episode: u32, rows: u32) {
    recorder.start_episode(kinds::task(episode, 0)).unwrap();
    (0..rows).for_each(|row| kinds::add(recorder, episode, row).unwrap());
}

fn open(root: &Path) -> Reader {
    let dataset = Dataset::open(root).unwrap();
    dataset.reader(&ReaderOptions::default()).unwrap()
}

fn numbers<'a>(item: &'a Item, name: &str) -> &'a Numbers {
    let value = item.get(name).unwrap_or_else(|| panic!("no {name}"));
    &value
        .tensor()
        .unwrap_or_else(|| panic!("{name} is {value:?}"))
        .numbers
}

fn distances(value: &Value) -> Vec<f32> {
    match &value.image().unwrap().pixels {
        Pixels::Depth(mm) => mm.clone(),
        Pixels::Rgb(_) => panic!("colours instead of distances"),
    }
}

fn rgb(value: &Value) -> Vec<u8> {
    match &value.image().unwrap().pixels {
        Pixels::Rgb(rgb) => rgb.clone(),
        Pixels::Depth(_) => panic!("distances instead of colours"),
    }
}

/// Compares every value of every row of the episodes with what was recorded.
fn check(root: &Path, episodes: &[u32]) {
    let reader = open(root);
    let mut index = 0;
    for (episode, rows) in (0..).zip(episodes) {
        for row in 0..*rows {
            let item = reader.get(index).unwrap();
            let place = format!("episode {episode} row {row}");
            assert_eq!((item.episode, item.frame), (episode.into(), row.into()));
            assert_eq!(item.task, kinds::task(episode, row), "{place}");
            check_columns(&item, episode, row);
            check_pictures(&item, episode, row);
            index += 1;
        }
    }
}

fn check_columns(item: &Item, episode: u32, row: u32) {
    let expected = kinds::extras(episode, row);
    let number = counter(episode, 0, row) as f32;
    let found = |name| numbers(item, name);
    assert_eq!(
        *found("observation.state"),
        Numbers::F32(vec![number, -number])
    );
    assert_eq!(*found("action"), Numbers::F32(vec![number / 2.0]));
    assert_eq!(
        *found("next.reward"),
        Numbers::F32(expected.reward.to_vec())
    );
    assert_eq!(*found("next.done"), Numbers::Bool(expected.done.to_vec()));
    assert_eq!(
        *found("observation.environment_state"),
        Numbers::F32(expected.environment.to_vec())
    );
    assert_eq!(
        *found("complementary_info.step"),
        Numbers::I64(expected.step.to_vec())
    );
    assert_eq!(
        *found("contacts"),
        Numbers::Bool(expected.contacts.to_vec())
    );
    assert_eq!(*found("timing"), Numbers::F64(expected.times.to_vec()));
    assert_eq!(
        item.get("remark").unwrap().text(),
        Some(&expected.remark[..])
    );
}

fn check_pictures(item: &Item, episode: u32, row: u32) {
    let camera = |name: &str| item.get(&format!("observation.images.{name}")).unwrap();
    let number = read_counter(&rgb(camera("front")), 320);
    assert_eq!(number, counter(episode, 0, row));
    assert_eq!(rgb(camera("wrist")), kinds::colours(episode, row));
    let stored = distances(camera("wrist_depth"));
    let given: Vec<f32> = kinds::distances(episode, 3, row)
        .into_iter()
        .map(f32::from)
        .collect();
    assert_eq!(stored, given);
    let decoded = distances(camera("front_depth"));
    for (found, mm) in decoded.iter().zip(kinds::distances(episode, 1, row)) {
        let (expected, tolerance) = kinds::depth_in_video(mm);
        assert!(
            (found - expected).abs() <= tolerance,
            "{mm} mm gave {found}"
        );
    }
}

#[test]
fn every_kind_of_value_and_picture_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &kinds::spec()).unwrap();
    record(&mut recorder, 0, 20);
    let summary = recorder.save_episode().unwrap();
    assert_eq!(summary.tasks, ["pick the cube", "place the cube", "wipe"]);
    assert_eq!(summary.videos.len(), 2);
    recorder.finalize().unwrap();

    // Another session appends.
    let mut recorder = Recorder::resume(dir.path(), &kinds::spec()).unwrap();
    record(&mut recorder, 1, TASK_CHANGE);
    assert_eq!(recorder.save_episode().unwrap().tasks, ["place the cube"]);
    recorder.finalize().unwrap();
    check(dir.path(), &[20, TASK_CHANGE]);

    // Statistics are those of one session, pictures included.
    let whole = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(whole.path(), &kinds::spec()).unwrap();
    for (episode, rows) in [(0, 20), (1, TASK_CHANGE)] {
        record(&mut recorder, episode, rows);
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    assert_eq!(stats(dir.path()), stats(whole.path()));

    let found = examine(dir.path(), &Options::thorough()).findings;
    let errors: Vec<_> = found
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");

    let dataset = Dataset::open(dir.path()).unwrap();
    let (_, depth) = &dataset.video_files(0).unwrap()[1];
    let refused = VideoReader::open(depth).unwrap_err().to_string();
    assert!(refused.contains("no decoder"), "{refused}");
    assert_eq!(dataset.tasks(), ["pick the cube", "place the cube", "wipe"]);
    let feature = |name: &str| dataset.info().features.get(name).unwrap();
    let depth = feature("observation.images.front_depth");
    let fact = |key: &str| depth.info.as_ref().unwrap()[key].clone();
    assert_eq!(depth.shape, [34, 48, 1]);
    assert_eq!(
        (
            fact("video.codec"),
            fact("video.pix_fmt"),
            fact("is_depth_map")
        ),
        ("hevc".into(), "gray12le".into(), true.into())
    );
    assert_eq!(feature("observation.images.wrist").info, None);
}

#[test]
fn a_killed_recording_of_every_kind_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &kinds::spec()).unwrap();
    record(&mut recorder, 0, 12);
    recorder.save_episode().unwrap();
    let whole = std::fs::read(dir.path().join("meta/stats.json")).unwrap();
    record(&mut recorder, 1, 16);
    while recorder.durable_rows() < Some(16) {
        std::thread::yield_now();
    }
    drop(recorder);
    let report = repair(dir.path(), RepairOptions::default()).unwrap();
    let recovered = report.recovered.unwrap();
    assert_eq!((recovered.rows, recovered.rows_without_frames), (16, 0));
    assert_eq!(recovered.task, "place the cube; wipe; pick the cube");
    check(dir.path(), &[12, 16]);
    // The statistics that the crash took are there again.
    let stats = std::fs::read(dir.path().join("meta/stats.json")).unwrap();
    assert!(stats != whole && stats.len() + 200 > whole.len());
    assert!(
        repair(dir.path(), RepairOptions::default())
            .unwrap()
            .is_clean()
    );
}

#[test]
fn damaged_pictures_end_the_recovered_episode() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &kinds::spec()).unwrap();
    record(&mut recorder, 0, 16);
    while recorder.durable_rows() < Some(16) {
        std::thread::yield_now();
    }
    drop(recorder);
    for camera in ["wrist.pictures", "front_depth.mp4"] {
        let staging = dir.path().join(".recording");
        let path = staging.join(format!("observation.images.{camera}"));
        let mut bytes = std::fs::read(&path).unwrap();
        let place = bytes.len() - 40;
        bytes[place] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let report = repair(dir.path(), RepairOptions::default()).unwrap();
    let recovered = report.recovered.unwrap();
    assert_eq!((recovered.rows, recovered.rows_without_frames), (15, 1));
    check(dir.path(), &[15]);
}

#[test]
fn values_that_do_not_fit_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &kinds::spec()).unwrap();
    record(&mut recorder, 0, 1);
    let mut frames = kinds::frames(0, 1);
    frames.swap(1, 2);
    let row = Row {
        state: &[0.0; 2],
        action: &[0.0],
        extra: &[],
        frames: &frames,
    };
    let mut refused = |row: Row<'_>| match recorder.add(row) {
        Err(Error::Row {
            problem, row: 1, ..
        }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(row), "values for 0 extra columns; there are 7");
    let good = [
        F32(&[0.0]),
        Bool(&[true]),
        F32(&[0.0; 6]),
        I64(&[1]),
        Bool(&[true; 2]),
        Text(""),
        F64(&[0.0; 2]),
    ];
    let depth = refused(Row {
        extra: &good,
        ..row
    });
    assert!(
        depth.starts_with("camera front_depth gave 48×34 Rgb8"),
        "{depth}"
    );
    let mut wrong = good;
    wrong[3] = F64(&[1.0]);
    assert_eq!(
        refused(Row {
            extra: &wrong,
            ..row
        }),
        "float64 values for complementary_info.step, which has int64"
    );
}

/// Two cameras, of which the second gives its `shown`-th frame in row `row`.
fn cameras_at(
    options: RecordOptions,
    rows: u32,
    shown: impl Fn(u32) -> u32,
) -> (tempfile::TempDir, Result<(), Error>, Recorder) {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = support::spec(Codec::H264);
    spec.extras.clear();
    let mut recorder = Recorder::create_with(dir.path(), &spec, options).unwrap();
    recorder.start_episode("pick").unwrap();
    let mut last: Option<(u32, Arc<Frame>)> = None;
    let mut outcome = Ok(());
    for row in 0..rows {
        let number = shown(row);
        let same = last.take().filter(|(shown, _)| *shown == number);
        let slow = same.unwrap_or_else(|| {
            (
                number,
                Arc::new(counter_frame(320, 240, counter(0, 1, number))),
            )
        });
        let fresh = Arc::new(counter_frame(320, 240, counter(0, 0, row)));
        outcome = recorder.add(Row {
            state: &support::state(0, row),
            action: &[0.0; 6],
            extra: &[],
            frames: &[fresh, slow.1.clone()],
        });
        last = Some(slow);
        if outcome.is_err() {
            break;
        }
    }
    (dir, outcome, recorder)
}

fn stats(root: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(root.join("meta/stats.json")).unwrap()).unwrap()
}

#[test]
fn a_lost_camera_ends_the_episode_with_its_last_new_frame() {
    let options = RecordOptions {
        camera_timeout: Some(Duration::from_secs(1)),
        ..RecordOptions::default()
    };
    let (dir, outcome, mut recorder) = cameras_at(options, 200, |row| row.min(44));
    let words = match outcome {
        Err(Error::EndedEarly { problem }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        words,
        "camera wrist was lost: it gave no new frame for 30 rows"
    );
    let summary = recorder.save_episode().unwrap();
    assert_eq!(
        (summary.rows, summary.ended_early.as_ref()),
        (45, Some(&words))
    );
    recorder.finalize().unwrap();
    let marks = EpisodeMarks::read(dir.path()).unwrap();
    assert_eq!(marks.episodes[&0].ended_early.as_ref(), Some(&words));
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.states(0).unwrap().len(), 45);

    // As if only these rows had ever been recorded, statistics included.
    let (good, outcome, mut recorder) = cameras_at(options, 45, |row| row);
    outcome.unwrap();
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    assert_eq!(stats(dir.path()), stats(good.path()));
}

#[test]
fn a_slow_camera_is_no_lost_camera() {
    let (dir, outcome, mut recorder) = cameras_at(RecordOptions::default(), 100, |row| row / 25);
    outcome.unwrap();
    assert_eq!(recorder.save_episode().unwrap().rows, 100);
    let reader = open(dir.path());
    for row in 0..100 {
        let item = reader.get(row).unwrap();
        let picture = rgb(item.get("observation.images.wrist").unwrap());
        assert_eq!(read_counter(&picture, 320), counter(0, 1, row as u32 / 25));
    }
    let never = RecordOptions {
        camera_timeout: None,
        ..RecordOptions::default()
    };
    let (_dir, outcome, _) = cameras_at(never, 200, |_| 0);
    outcome.unwrap();
}

#[test]
fn the_loop_fills_columns_of_every_type_and_changes_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = kinds::spec();
    spec.cameras.clear();
    let recorder = Recorder::create(dir.path(), &spec).unwrap();
    let (thread, mut rows) = RecorderThread::spawn(recorder, 100).unwrap();
    thread.start_episode("first").unwrap();
    let remark: Arc<str> = "from the loop".into();
    let second: Arc<str> = "second".into();
    for row in 0..10 {
        let mut offer = LoopRow::default();
        // Reward, done, six values of the environment, step, contacts.
        offer.extra[..11]
            .copy_from_slice(&[0.5, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 42.0, 0.0, 1.0]);
        offer.texts[0] = (row % 2 == 0).then(|| remark.clone());
        offer.task = (row == 4).then(|| second.clone());
        assert_eq!(rows.offer(offer), Offered::Taken);
    }
    thread.set_task("third").unwrap();
    assert_eq!(rows.offer(LoopRow::default()), Offered::Taken);
    let saved = thread.save_episode().unwrap();
    assert_eq!(saved.summary.tasks, ["first", "second", "third"]);
    thread.finish().unwrap();
    let reader = open(dir.path());
    let item = reader.get(4).unwrap();
    assert_eq!(item.task, "second");
    assert_eq!(
        *numbers(&item, "complementary_info.step"),
        Numbers::I64(vec![42])
    );
    assert_eq!(
        *numbers(&item, "contacts"),
        Numbers::Bool(vec![false, true])
    );
    assert_eq!(item.get("remark").unwrap().text(), Some("from the loop"));
    assert_eq!(
        reader.get(5).unwrap().get("remark").unwrap().text(),
        Some("")
    );
    assert_eq!(reader.get(10).unwrap().task, "third");
}

#[test]
fn eight_cameras_of_different_sizes_are_recorded_as_images() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = support::spec(Codec::Auto);
    spec.extras.clear();
    spec.cameras = (0..8)
        .map(|i| CameraSpec {
            storage: Storage::Images,
            ..CameraSpec::rgb(&format!("camera{i}"), 16 + i, 20 + 3 * i)
        })
        .collect();
    let mut recorder = Recorder::create(dir.path(), &spec).unwrap();
    assert!(recorder.encoder().is_none());
    recorder.start_episode("pick").unwrap();
    let frames: Vec<Arc<Frame>> = spec
        .cameras
        .iter()
        .map(|c| {
            let bytes = (0..3 * c.width * c.height).map(|i| i as u8).collect();
            Arc::new(Frame::new(c.width, c.height, bytes))
        })
        .collect();
    for row in 0..5 {
        recorder
            .add(Row {
                state: &support::state(0, row),
                action: &[0.0; 6],
                extra: &[],
                frames: &frames,
            })
            .unwrap();
    }
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    assert_eq!(Info::read(dir.path()).unwrap().video_path, None);
    let reader = open(dir.path());
    let item = reader.get(4).unwrap();
    for (camera, frame) in spec.cameras.iter().zip(&frames) {
        assert_eq!(rgb(item.get(&camera.key()).unwrap()), frame.data);
    }
}
