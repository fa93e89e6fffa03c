//! `sinew record` with what can go wrong and what can be chosen, against the simulator.

use sinew_datasets::{Dataset, EpisodeMarks, mp4};
use sinew_tests::{Outcome, Running, Simulator};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Rendering and encoding two cameras on a busy machine take their time.
const PATIENCE: Duration = Duration::from_secs(180);

fn record(simulator: &Simulator, set: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec![
        "record",
        "--port",
        simulator.port(),
        "--teleop",
        "scripted",
        "--dataset",
        set.to_str().unwrap(),
        "--json",
    ];
    arguments.extend(more);
    Running::sinew(&arguments).wait_for(PATIENCE)
}

#[test]
fn tasks_take_turns_and_pictures_are_kept_as_images() {
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("set");
    let simulator = Simulator::start(&[]);
    let short = [
        "--images",
        "--task",
        "pick",
        "--task",
        "place",
        "--episodes",
        "3",
        "--episode-time",
        "1.5",
    ];
    let recorded = record(&simulator, &set, &short);
    recorded.succeeded();
    let report = recorded.json();
    let tasks = |i: usize| report["episodes"][i]["tasks"][0].clone();
    assert_eq!([tasks(0), tasks(1), tasks(2)], ["pick", "place", "pick"]);
    assert_eq!(report["video"], serde_json::Value::Null);

    let dataset = Dataset::open(&set).unwrap();
    assert_eq!(dataset.tasks(), ["pick", "place"]);
    assert!(dataset.info().features.video_keys().next().is_none());
    let timing = dataset.series(1, "timing").unwrap();
    let column = |name: &str| timing.names.iter().position(|n| n == name).unwrap();
    let (tick, sent) = (column("tick_s"), column("action_sent_s"));
    let delays = (0..timing.len()).filter_map(|row| {
        let row = timing.row(row)?;
        (row[sent] >= 0.0).then(|| row[sent] - row[tick])
    });
    let delays: Vec<f64> = delays.collect();
    assert!(
        2 * delays.len() > timing.len(),
        "{} of {}",
        delays.len(),
        timing.len()
    );
    assert!(delays.iter().all(|delay| *delay > 0.0), "{delays:?}");
}

#[test]
fn a_camera_that_stops_ends_the_episode() {
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("set");
    // It gives a frame every tenth row, and a third of that is said to be too long.
    let simulator = Simulator::start(&["--camera-fps", "3"]);
    let strict = [
        "--episodes",
        "1",
        "--camera-timeout",
        "0.1",
        "--codec",
        "h264",
    ];
    let recorded = record(&simulator, &set, &strict);
    recorded.succeeded();
    let episode = recorded.json()["episodes"][0].clone();
    let reason = episode["ended_early"].as_str().unwrap();
    assert!(
        reason.starts_with("camera ") && reason.contains("was lost"),
        "{reason}"
    );
    let marks = EpisodeMarks::read(&set).unwrap();
    assert_eq!(marks.episodes[&0].ended_early.as_deref(), Some(reason));
    let rows = Dataset::open(&set).unwrap().actions(0).unwrap().len();
    assert_eq!(rows as u64, episode["frames"].as_u64().unwrap());
}

#[test]
fn a_disk_that_takes_no_more_ends_the_episode_with_what_is_good() {
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("set");
    let simulator = Simulator::start(&[]);
    // No file may become longer than 2100 KiB, which is an error and not a signal. Key frames without
    // loss reach that within seconds.
    let recorded = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 2100; exec \"$0\" \"$@\""])
        .arg(sinew_tests::sinew())
        .args(["record", "--port", simulator.port()])
        .args(["--teleop", "scripted", "--episodes", "1", "--json"])
        .args(["--codec", "h264", "--crf", "0", "--gop", "1"])
        .args(["--dataset", set.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&recorded.stderr);
    assert!(recorded.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&recorded.stdout).unwrap();
    let episode = &report["episodes"][0];
    let reason = episode["ended_early"].as_str().unwrap_or_default();
    assert!(reason.contains("cannot write"), "{episode}: {said}");
    let dataset = Dataset::open(&set).unwrap();
    let rows = dataset.actions(0).unwrap().len() as u64;
    assert_eq!(Some(rows), episode["frames"].as_u64());
    for (camera, file) in dataset.video_files(0).unwrap() {
        assert_eq!(mp4::probe(&file).unwrap().frames, rows, "{camera}");
    }
    let front = dataset.info().features.get("observation.images.front");
    let facts = front.and_then(|f| f.info.as_ref()).unwrap();
    assert_eq!(
        (&facts["video.crf"], &facts["video.g"]),
        (&0.into(), &1.into())
    );
}
