//! Recording with cameras, checked by decoding the videos again.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

use sinew_datasets::video::{VideoReader, side_by_side_mp4};
use sinew_datasets::{
    Codec, Dataset, EpisodeMarks, Error, LoopRow, Offered, Overload, Recorder, RecorderThread, Row,
    mp4,
};
use sinew_runtime::frame::Frame;
use std::path::Path;
use std::sync::Arc;
use support::{counter_frame, read_counter, record, spec, times};

/// Decodes a video and returns the counters drawn in its pictures, checking every time stamp.
fn counters(path: &Path, fps: u64) -> Vec<u32> {
    let mut reader = VideoReader::open(path).unwrap();
    let mut found = Vec::new();
    while let Some(picture) = reader.next_picture().unwrap() {
        let expected = found.len() as u64 * 1_000_000_000 / fps;
        assert!(
            picture.pts_ns.abs_diff(expected) < 100_000,
            "frame {} at {} ns",
            found.len(),
            picture.pts_ns
        );
        found.push(read_counter(&picture.rgb, picture.width));
    }
    found
}

fn every_row_has_its_frame(codec: Codec, four_cc: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(codec)).unwrap();
    let first = record(&mut recorder, "pick the cube", 0, 70);
    let second = record(&mut recorder, "place the cube", 1, 41);
    recorder.finalize().unwrap();
    for (episode, summary, rows) in [(0, first, 70_u32), (1, second, 41)] {
        assert_eq!((summary.rows, summary.videos.len()), (u64::from(rows), 2));
        for (camera, video) in summary.videos.iter().enumerate() {
            let info = mp4::probe(video).unwrap();
            assert_eq!(
                (info.frames, info.timescale, info.codec.as_str()),
                (u64::from(rows), 15360, four_cc)
            );
            assert!(info.is_constant_rate(30) && info.index_first);
            let expected: Vec<u32> = (0..rows)
                .map(|i| support::counter(episode, camera as u32, i))
                .collect();
            assert_eq!(counters(video, 30), expected);
        }
    }
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.video_files(1).unwrap().len(), 2);
    assert_eq!(dataset.states(1).unwrap().len(), 41);
}

#[test]
fn every_row_has_its_frame_in_h264() {
    every_row_has_its_frame(Codec::H264, "avc1");
}

#[test]
fn every_row_has_its_frame_in_av1() {
    every_row_has_its_frame(Codec::Av1, "av01");
}

#[test]
fn video_files_are_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    let summary = record(&mut recorder, "pick", 0, 3);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // The same as any file that this process makes, unlike LeRobot's 0600.
    assert_eq!(mode(&summary.videos[0]), mode(&summary.data));
}

#[test]
fn widths_that_are_no_multiple_of_four_survive() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(Codec::H264);
    for camera in &mut spec.cameras {
        camera.width = 326;
    }
    let mut recorder = Recorder::create(dir.path(), &spec).unwrap();
    let summary = record(&mut recorder, "pick", 0, 5);
    assert_eq!(
        counters(&summary.videos[0], 30),
        (0..5)
            .map(|i| support::counter(0, 0, i))
            .collect::<Vec<_>>()
    );
}

#[test]
fn frame_of_the_wrong_size_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    recorder.start_episode("pick").unwrap();
    let good = |i| -> Vec<Arc<Frame>> {
        (0..2)
            .map(|c| Arc::new(counter_frame(320, 240, support::counter(0, c, i))))
            .collect()
    };
    let tiny = Arc::new(Frame::new(2, 2, vec![0; 12]));
    let small = [tiny.clone(), tiny];
    let extra = times(&[0.0], &[0.0; 2]);
    let row = |frames| Row {
        state: &[0.0; 6],
        action: &[0.0; 6],
        extra: &extra,
        frames,
    };
    let (zero, one) = (good(0), good(1));
    recorder.add(row(&zero)).unwrap();
    assert!(matches!(recorder.add(row(&small)), Err(Error::Row { .. })));
    assert!(matches!(
        recorder.add(row(&one[..1])),
        Err(Error::Row { .. })
    ));
    recorder.add(row(&one)).unwrap();
    let summary = recorder.save_episode().unwrap();
    assert_eq!(
        counters(&summary.videos[1], 30),
        [support::counter(0, 1, 0), support::counter(0, 1, 1)]
    );
}

#[test]
fn disk_trouble_is_an_error_and_earlier_episodes_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    record(&mut recorder, "pick", 0, 10);
    recorder.start_episode("pick").unwrap();
    let frame = Arc::new(counter_frame(320, 240, 1));
    let frames = [frame.clone(), frame];
    recorder
        .add(Row {
            state: &[0.0; 6],
            action: &[0.0; 6],
            extra: &times(&[0.0], &[0.0; 2]),
            frames: &frames,
        })
        .unwrap();
    // Somebody puts a folder where the video's final name will be.
    let key = "observation.images.front";
    std::fs::create_dir_all(
        dir.path()
            .join(format!("videos/{key}/chunk-000/file-001.mp4/x")),
    )
    .unwrap();
    assert!(matches!(recorder.save_episode(), Err(Error::Io { .. })));
    drop(recorder);
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.episodes().len(), 1);
    assert_eq!(
        counters(&dataset.video_files(0).unwrap()[0].1, 30).len(),
        10
    );
}

#[test]
fn thread_records_what_the_loop_offers() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    let (control, mut rows) = RecorderThread::spawn(recorder, 256).unwrap();
    let row = |episode, i| {
        let mut row = LoopRow::default();
        for camera in 0..2 {
            row.frames[camera as usize] = Some(Arc::new(counter_frame(
                320,
                240,
                support::counter(episode, camera, i),
            )));
        }
        row
    };
    assert_eq!(rows.offer(row(0, 0)), Offered::Idle);
    for episode in 0..2 {
        control.start_episode("pick").unwrap();
        for i in 0..100 {
            assert_eq!(rows.offer(row(episode, i)), Offered::Taken);
        }
        let saved = control.save_episode().unwrap();
        assert_eq!((saved.summary.rows, saved.dropped_rows), (100, 0));
        let expected: Vec<u32> = (0..100).map(|i| support::counter(episode, 1, i)).collect();
        assert_eq!(counters(&saved.summary.videos[1], 30), expected);
    }
    assert_eq!(rows.offer(row(0, 0)), Offered::Idle);
    // A row without its frames spoils the take, and the next one is fine.
    control.start_episode("pick").unwrap();
    rows.offer(LoopRow::default());
    assert!(matches!(control.save_episode(), Err(Error::Row { .. })));
    control.start_episode("pick").unwrap();
    rows.offer(row(2, 0));
    control.save_episode().unwrap();
    assert_eq!(control.finish().unwrap().total_episodes, 3);
}

#[test]
fn full_ring_drops_whole_rows_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = spec(Codec::H264);
    small.cameras.clear();
    let recorder = Recorder::create(dir.path(), &small).unwrap();
    let (control, mut rows) = RecorderThread::spawn(recorder, 4).unwrap();
    control.start_episode("pick").unwrap();
    let offered: Vec<Offered> = (0..5000).map(|_| rows.offer(LoopRow::default())).collect();
    let taken = offered.iter().filter(|o| **o == Offered::Taken).count() as u64;
    let saved = control.save_episode().unwrap();
    assert_eq!(
        (saved.summary.rows, saved.dropped_rows),
        (taken, 5000 - taken)
    );
    assert_eq!(saved.summary.dropped_rows, saved.dropped_rows);
    // The mark says where: row for row, what was taken and what is missing alternate as offered.
    let marks = EpisodeMarks::read(dir.path()).unwrap();
    let mut expected = Vec::new();
    let (mut row, mut missing) = (0, 0);
    for offer in &offered {
        match offer {
            Offered::Taken => {
                if missing > 0 {
                    expected.push((row, missing));
                }
                (row, missing) = (row + 1, 0);
            }
            _ => missing += 1,
        }
    }
    let gaps: Vec<(u64, u64)> = marks.episodes[&0]
        .gaps
        .iter()
        .map(|gap| (gap.before_row, gap.rows))
        .collect();
    // That many are kept; a machine in this state has other worries.
    expected.truncate(1000);
    assert_eq!(gaps, expected);
}

#[test]
fn overload_can_end_the_episode_instead() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = spec(Codec::H264);
    small.cameras.clear();
    let recorder = Recorder::create(dir.path(), &small).unwrap();
    let (control, mut rows) =
        RecorderThread::spawn_with(recorder, 4, Overload::EndEpisode).unwrap();
    control.start_episode("pick").unwrap();
    let offered: Vec<Offered> = (0..5000).map(|_| rows.offer(LoopRow::default())).collect();
    let before = offered.iter().position(|o| *o == Offered::Dropped).unwrap() as u64;
    let saved = control.save_episode().unwrap();
    assert_eq!(saved.summary.rows, before);
}

#[test]
fn lost_camera_ends_the_episode_with_what_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    let (control, mut rows) = RecorderThread::spawn(recorder, 256).unwrap();
    control.start_episode("pick").unwrap();
    let frame = |camera, i| {
        let number = support::counter(0, camera, i);
        Some(Arc::new(counter_frame(320, 240, number)))
    };
    for i in 0..40 {
        let mut row = LoopRow::default();
        row.frames[0] = frame(0, i);
        // The second camera is unplugged after 25 frames.
        row.frames[1] = if i < 25 { frame(1, i) } else { None };
        rows.offer(row);
    }
    while control.ended_early().is_none() {
        std::thread::yield_now();
    }
    assert_eq!(rows.offer(LoopRow::default()), Offered::Idle);
    let saved = control.save_episode().unwrap();
    assert_eq!(saved.summary.rows, 25);
    let reason = saved.summary.ended_early.unwrap();
    assert!(reason.contains("1 frames for 2 cameras"), "{reason}");
    for (camera, video) in saved.summary.videos.iter().enumerate() {
        let expected: Vec<u32> = (0..25)
            .map(|i| support::counter(0, camera as u32, i))
            .collect();
        assert_eq!(counters(video, 30), expected);
    }
    let marks = EpisodeMarks::read(dir.path()).unwrap();
    assert_eq!(marks.episodes[&0].ended_early, Some(reason));
    control.start_episode("pick").unwrap();
    assert_eq!(control.ended_early(), None);
    control.finish().unwrap();
}

#[test]
fn film_shows_all_cameras_of_all_episodes() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    let episodes: Vec<_> = (0..2)
        .map(|e| record(&mut recorder, "pick", e, 12).videos)
        .collect();
    let film = dir.path().join("film.mp4");
    assert_eq!(side_by_side_mp4(&episodes, &film, 30).unwrap().frames, 24);
    let mut reader = VideoReader::open(&film).unwrap();
    let mut shown = 0;
    while let Some(picture) = reader.next_picture().unwrap() {
        assert_eq!((picture.width, picture.height), (640, 240));
        assert_eq!(
            read_counter(&picture.rgb, 640),
            support::counter(shown / 12, 0, shown % 12)
        );
        let right: Vec<u8> = picture
            .rgb
            .chunks_exact(640 * 3)
            .flat_map(|row| row[320 * 3..].to_vec())
            .collect();
        assert_eq!(
            read_counter(&right, 320),
            support::counter(shown / 12, 1, shown % 12)
        );
        shown += 1;
    }
    assert_eq!(shown, 24);
    assert!(matches!(
        side_by_side_mp4(&[], &film, 30),
        Err(Error::Spec { .. })
    ));
    assert!(film.exists(), "a failed film leaves the old one");
}

#[test]
fn damaged_video_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise.mp4");
    std::fs::write(&path, [7_u8; 5000]).unwrap();
    assert!(
        VideoReader::open(&path)
            .and_then(|mut r| r.next_picture())
            .is_err()
    );
    assert!(matches!(
        VideoReader::open(&dir.path().join("none.mp4")),
        Err(Error::Io { .. })
    ));
}
