//! Recordings that are killed, run out of space or meet write errors: what was saved stays, and what
//! was running is recovered to its last second.
//!
//! A child process records, which is this test program started again; see [`child`]. Every frame
//! carries a number, and every frame of every episode is decoded to read it.
//!
//! `SINEW_KILLS=200 SINEW_FULL=50` runs as many rounds as the release does.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

use sinew_datasets::video::VideoReader;
use sinew_datasets::{
    CameraSpec, Codec, Dataset, DatasetSpec, EpisodeMarks, ExtraSpec, ExtraType, ExtraValue,
    Numbers, Pixels, ReaderOptions, Recorder, RepairOptions, RepairReport, Row, repair,
};
use sinew_runtime::frame::Frame;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{counter, counter_frame, read_counter, spec, state};

/// Rows a second.
const FPS: u32 = 30;
/// Size of the depth camera.
const DEPTH: (u32, u32) = (96, 64);
/// Tells a child what to do: rows of an episode, whether in real time, root.
const CHILD: &str = "SINEW_TEST_CHILD";

fn rounds(variable: &str, usual: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(usual)
}

/// A number from a seed; splitmix64.
fn random(seed: u64, below: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

/// The frames of one row of the child's recording.
fn frames(episode: u32, row: u32) -> Vec<Arc<Frame>> {
    let frame = |camera| {
        let mut frame = counter_frame(320, 240, counter(episode, camera, row));
        // Below the number, noise: as much data as a real scene.
        let noise = &mut frame.data[3 * 320 * 64..3 * 320 * 128];
        for (i, bytes) in noise.chunks_exact_mut(6).enumerate() {
            let grain = random(u64::from(row) << 20 | i as u64, 1 << 48).to_le_bytes();
            bytes.copy_from_slice(&grain[..6]);
        }
        Arc::new(frame)
    };
    let depth = Frame::depth(DEPTH.0, DEPTH.1, &distances(episode, row));
    vec![frame(0), frame(1), Arc::new(depth)]
}

/// Two colour cameras, a depth camera, times, text and truth.
fn every_kind() -> DatasetSpec {
    let mut spec = spec(Codec::H264);
    spec.cameras
        .push(CameraSpec::depth("front_depth", DEPTH.0, DEPTH.1));
    spec.extras
        .push(ExtraSpec::scalar("remark", ExtraType::Text));
    spec.extras
        .push(ExtraSpec::scalar("next.done", ExtraType::Bool));
    spec
}

fn remark(episode: u32, row: u32) -> String {
    format!("{episode}/{row}")
}

/// Distances that are unlike those of every other row, mm.
fn distances(episode: u32, row: u32) -> Vec<u16> {
    let at = 500 + 40 * (episode % 10) + 20 * (row % 200);
    (0..DEPTH.0 * DEPTH.1)
        .map(|i| (at + i % 7) as u16)
        .collect()
}

/// What a child process does: it records episodes until it is killed or something fails, and says
/// each thing after it is done. Does nothing in the test's own process.
fn child() -> bool {
    let Ok(orders) = std::env::var(CHILD) else {
        return false;
    };
    let orders: Vec<&str> = orders.splitn(3, ' ').collect();
    let (rows, in_real_time, root) = (orders[0].parse().unwrap(), orders[1] == "true", orders[2]);
    let say = |text: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n@ {text}").unwrap();
        out.flush().unwrap();
    };
    if let Err(error) = record(Path::new(root), rows, in_real_time, &say) {
        say(format!("failed {error}"));
    }
    true
}

fn record(
    root: &Path,
    rows: u32,
    in_real_time: bool,
    say: &dyn Fn(String),
) -> sinew_datasets::Result<()> {
    let mut recorder = Recorder::create(root, &every_kind())?;
    for episode in 0.. {
        recorder.start_episode("pick the cube")?;
        let start = Instant::now();
        for row in 0..rows {
            let due = Duration::from_secs(1) * row / FPS;
            if in_real_time {
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            let state = state(episode, row);
            let added = recorder.add(Row {
                state: &state,
                action: &state.map(|v| -v),
                extra: &[
                    ExtraValue::F64(&[f64::from(row)]),
                    ExtraValue::F64(&[0.01, 0.02]),
                    ExtraValue::Text(&remark(episode, row)),
                    ExtraValue::Bool(&[row % 3 == 0]),
                ],
                frames: &frames(episode, row),
            });
            if let Err(error) = added {
                say(format!("ended {error}"));
                break;
            }
            let durable = recorder.durable_rows().unwrap_or(0);
            say(format!("row {episode} {row} {durable}"));
        }
        let summary = recorder.save_episode()?;
        say(format!("saved {} {}", summary.episode, summary.rows));
        if let Some(reason) = summary.ended_early {
            say(format!("early {reason}"));
            return Ok(());
        }
    }
    Ok(())
}

/// What a child said until its end.
#[derive(Debug, Default)]
struct Said {
    /// Rows of the episodes that it called saved.
    saved: Vec<u64>,
    /// Rows added to the running episode, and how many of them it called durable.
    running: u64,
    durable: u64,
    early: Option<String>,
    failed: Option<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let Some(text) = line.strip_prefix("@ ") else {
            return;
        };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = |place: usize| -> Option<u64> { rest.split(' ').nth(place)?.parse().ok() };
        match word {
            "row" => {
                // A killed child may leave half a line.
                if let (Some(row), Some(durable)) = (number(1), number(2)) {
                    (self.running, self.durable) = (row + 1, durable);
                }
            }
            "saved" => {
                if let (Some(episode), Some(rows)) = (number(0), number(1)) {
                    assert_eq!(episode, self.saved.len() as u64);
                    self.saved.push(rows);
                    (self.running, self.durable) = (0, 0);
                }
            }
            "early" => self.early = Some(rest.to_owned()),
            "failed" => self.failed = Some(rest.to_owned()),
            _ => {}
        }
    }
}

/// Starts a child that runs the test `name`; `limit_kb` is the longest file that it can write.
fn start(name: &str, root: &Path, rows: u32, in_real_time: bool, limit_kb: Option<u64>) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = match limit_kb {
        None => Command::new(program),
        Some(kb) => {
            // Exceeding the limit is to be a write error instead of a signal.
            let mut shell = Command::new("bash");
            let script = format!("trap '' XFSZ; ulimit -f {kb}; exec \"$0\" \"$@\"");
            shell.arg("-c").arg(script).arg(program);
            shell
        }
    };
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{rows} {in_real_time} {}", root.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Listens to a child until it ends; with `after`, kills it that long after its first row.
fn listen(mut child: Child, after: Option<Duration>) -> Said {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = Said::default();
    let mut line = String::new();
    while said.running == 0 && out.read_line(&mut line).unwrap() > 0 {
        said.hear(line.trim_end());
        line.clear();
    }
    let waiter = std::thread::Builder::new()
        .name("killer".into())
        .spawn(move || {
            if let Some(after) = after {
                std::thread::sleep(after);
                // SIGKILL: nothing of the child runs any more.
                child.kill().unwrap();
            }
            child.wait().unwrap()
        });
    for line in out.lines() {
        said.hear(&line.unwrap_or_default());
    }
    waiter.unwrap().join().unwrap();
    said
}

/// Decodes every frame of every episode and compares it, and the rows, with what was recorded.
fn check(root: &Path) -> Vec<u64> {
    let dataset = Dataset::open(root).unwrap();
    let lengths: Vec<u64> = dataset.episodes().iter().map(|e| e.length).collect();
    for (episode, length) in lengths.iter().enumerate() {
        let rows = dataset.states(episode as u64).unwrap();
        assert_eq!(rows.len() as u64, *length);
        for row in 0..*length as u32 {
            let expected = state(episode as u32, row).map(f64::from);
            assert_eq!(rows.row(row as usize), Some(&expected[..]));
        }
        for (camera, (_, path)) in dataset
            .video_files(episode as u64)
            .unwrap()
            .into_iter()
            .filter(|(key, _)| !key.ends_with("_depth"))
            .enumerate()
        {
            let mut reader = VideoReader::open(&path).unwrap();
            let mut row = 0;
            while let Some(picture) = reader.next_picture().unwrap() {
                let found = read_counter(&picture.rgb, picture.width);
                let expected = counter(episode as u32, camera as u32, row);
                assert_eq!(found, expected, "{} row {row}", path.display());
                row += 1;
            }
            assert_eq!(u64::from(row), *length, "{}", path.display());
        }
    }
    check_depth_and_words(&dataset);
    lengths
}

/// Compares distances, texts and truths of every row with what was recorded.
fn check_depth_and_words(dataset: &Dataset) {
    let options = ReaderOptions {
        features: Some(
            ["observation.images.front_depth", "remark", "next.done"]
                .map(str::to_owned)
                .into(),
        ),
        ..ReaderOptions::default()
    };
    let reader = dataset.reader(&options).unwrap();
    for index in 0..dataset.len() {
        let item = reader.get(index).unwrap();
        let (episode, row) = (item.episode as u32, item.frame as u32);
        let place = format!("episode {episode} row {row}");
        let value = |name| item.get(name).unwrap();
        assert_eq!(value("remark").text(), Some(&remark(episode, row)[..]));
        let done = &value("next.done").tensor().unwrap().numbers;
        assert_eq!(*done, Numbers::Bool(vec![row.is_multiple_of(3)]), "{place}");
        let image = value("observation.images.front_depth").image().unwrap();
        let Pixels::Depth(found) = &image.pixels else {
            panic!("{place}: colours");
        };
        let given = distances(episode, row);
        assert_eq!(found.len(), given.len());
        // A code is at most 4.5 mm wide, and rows are 20 mm apart.
        let far = |(found, mm): (&f32, &u16)| (found - f32::from(*mm)).abs() > 3.0;
        assert!(!found.iter().zip(&given).any(far), "{place}");
    }
}

/// Files of the dataset with their contents' checksums, the staging folder excepted.
fn contents(root: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let crc = crc32fast::hash(&std::fs::read(&path).unwrap());
                found.push((path, crc));
            }
        }
    }
    found.sort();
    found
}

/// Repairs twice: the second time must find nothing to do and change nothing.
fn repaired(root: &Path) -> RepairReport {
    let saved: Vec<(PathBuf, u32)> = contents(root)
        .into_iter()
        .filter(|(path, _)| {
            path.starts_with(root.join("videos")) || path.starts_with(root.join("data"))
        })
        .collect();
    let report = repair(root, RepairOptions::default()).unwrap();
    let after = contents(root);
    assert!(
        saved.iter().all(|file| after.contains(file)),
        "saved files changed"
    );
    let again = repair(root, RepairOptions::default()).unwrap();
    assert!(again.is_clean(), "{again:?}");
    assert_eq!(contents(root), after);
    report
}

#[test]
fn killed_recordings_keep_saved_episodes_and_lose_at_most_a_second() {
    if child() {
        return;
    }
    let name = "killed_recordings_keep_saved_episodes_and_lose_at_most_a_second";
    let rounds = rounds("SINEW_KILLS", 10);
    let (mut lost, mut recovered, mut saved) = (Vec::new(), 0, 0);
    for seed in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("dataset");
        // Short episodes are killed while they are saved, long ones while they run.
        let rows = 5 + random(2 * seed, 100) as u32;
        let after = Duration::from_millis(random(2 * seed + 1, 5000));
        let said = listen(start(name, &root, rows, true, None), Some(after));
        let before = check(&root);
        assert!(before.len() >= said.saved.len(), "a saved episode is gone");
        assert_eq!(before[..said.saved.len()], said.saved);

        let report = repaired(&root);
        let lengths = check(&root);
        saved += said.saved.len();
        let running = lengths.get(said.saved.len()).copied().unwrap_or(0);
        assert!(lengths.len() <= said.saved.len() + 1);
        assert!(running >= said.durable, "{running} of {said:?}");
        // The row that was on its way may be there although the child did not get to say so.
        assert!(running <= said.running + 1);
        let missing = said.running.saturating_sub(running);
        assert!(missing <= u64::from(FPS), "{missing} rows lost of {said:?}");
        lost.push(missing);
        recovered += u64::from(report.recovered.is_some() || report.completed.is_some());
        if let Some(found) = report.recovered {
            let marks = EpisodeMarks::read(&root).unwrap();
            assert!(marks.episodes[&found.episode].recovered);
        }
    }
    lost.sort_unstable();
    println!(
        "{rounds} kills: {saved} saved episodes whole, {recovered} running ones recovered; rows lost: median {}, at most {} of {FPS} a second",
        lost[lost.len() / 2],
        lost[lost.len() - 1]
    );
}

/// A file system of `kb` KiB in memory, or nothing where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kb: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kb}k"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|s| s.success()).then_some(Self(dir))
    }

    fn grow(&self) {
        let grown = Command::new("mount")
            .args(["-o", "remount,size=256m"])
            .arg(self.0.path())
            .status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// After a child that met a full disk or a write error: what it called saved is whole, and what
/// was running is saved or recovered.
fn check_refused(root: &Path, said: &Said) -> (u64, bool) {
    assert!(
        said.early.is_some() || said.failed.is_some(),
        "the disk was large enough: {said:?}"
    );
    let Ok(dataset) = Dataset::open(root) else {
        // Not even the head of the dataset could be written.
        assert!(said.saved.is_empty() && said.failed.is_some(), "{said:?}");
        return (0, false);
    };
    assert_eq!(dataset.episodes().len(), said.saved.len(), "{said:?}");
    assert_eq!(check(root), said.saved);
    if let Some(reason) = &said.early {
        let marks = EpisodeMarks::read(root).unwrap();
        let last = said.saved.len() as u64 - 1;
        assert_eq!(marks.episodes[&last].ended_early.as_ref(), Some(reason));
    }
    (said.saved.len() as u64, said.early.is_some())
}

#[test]
fn full_disks_end_the_episode_with_what_is_good() {
    if child() {
        return;
    }
    let name = "full_disks_end_the_episode_with_what_is_good";
    let rounds = rounds("SINEW_FULL", 4);
    let (mut saved, mut early, mut later) = (0, 0, 0);
    for seed in 0..rounds {
        // The first seeds cover disks without room for the reserve; most fill up while recording.
        let kb = 1500 + random(1000 + seed, 6000);
        let rows = 20 + random(2000 + seed, 150) as u32;
        let (dir, disk);
        let (root, limit) = match SmallDisk::mount(kb) {
            Some(mounted) => {
                disk = Some(mounted);
                (disk.as_ref().unwrap().0.path().join("dataset"), None)
            }
            None => {
                disk = None;
                dir = tempfile::tempdir().unwrap();
                (dir.path().join("dataset"), Some(2048 + kb / 8))
            }
        };
        let said = listen(start(name, &root, rows, false, limit), None);
        let (whole, ended) = check_refused(&root, &said);
        (saved, early) = (saved + whole, early + u64::from(ended));
        if let Some(disk) = &disk {
            disk.grow();
        }
        if sinew_datasets::Info::path(&root).exists() {
            let report = repaired(&root);
            later += u64::from(report.recovered.is_some() || report.completed.is_some());
            let lengths = check(&root);
            let running = lengths.get(said.saved.len()).copied().unwrap_or(0);
            assert!(running >= said.durable, "{running} rows of {said:?}");
        }
    }
    println!(
        "{rounds} full disks: {saved} episodes saved, {early} of them ended early, {later} recovered once there was space"
    );
}

#[test]
fn write_errors_end_the_episode_with_what_is_good() {
    if child() {
        return;
    }
    let name = "write_errors_end_the_episode_with_what_is_good";
    let rounds = rounds("SINEW_FULL", 4);
    let (mut saved, mut early) = (0, 0);
    for seed in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("dataset");
        // The reserve is 2 MiB, so smaller limits fail at the start and larger ones while recording.
        let kb = 2048 + random(3000 + seed, 1500);
        let said = listen(start(name, &root, 1000, false, Some(kb)), None);
        let (whole, ended) = check_refused(&root, &said);
        (saved, early) = (saved + whole, early + u64::from(ended));
        assert!(said.saved.iter().all(|rows| *rows > 0));
        repaired(&root);
        check(&root);
    }
    println!("{rounds} write errors: {saved} episodes saved, {early} of them ended early");
}
