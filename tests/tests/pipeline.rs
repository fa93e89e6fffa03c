//! The whole path with real processes: simulate, record, replay; and a walking policy on both
//! engines.

use sinew_datasets::{Dataset, mp4};
use sinew_tests::{Running, Simulator};
use std::time::Duration;
use tempfile::TempDir;

/// Rendering and encoding two cameras on a busy machine take their time.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn an_episode_is_recorded_and_replayed() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("set");
    let set = root.to_str().unwrap();
    let simulator = Simulator::start(&[]);
    let port = simulator.port();
    let arguments = [
        "record",
        "--port",
        port,
        "--teleop",
        "scripted",
        "--dataset",
        set,
        "--episodes",
        "1",
        "--seed",
        "3",
        "--json",
    ];
    let recorded = Running::sinew(&arguments).wait_for(PATIENCE);
    recorded.succeeded();
    let report = recorded.json();
    let episode = &report["episodes"][0];
    assert_eq!(
        (&episode["success"], &episode["dropped_rows"]),
        (&true.into(), &0.into()),
        "{report}"
    );
    assert_eq!(report["session"]["device"]["left"], "resting");

    let dataset = Dataset::open(&root).unwrap();
    assert_eq!(dataset.episodes().len(), 1);
    let rows = dataset.actions(0).unwrap();
    assert_eq!(rows.len() as u64, dataset.episode(0).unwrap().length);
    assert_eq!(rows.len() as u64, episode["frames"].as_u64().unwrap());
    assert_eq!(rows.width, 6);
    assert!(rows.len() > 90, "{} rows", rows.len());
    assert_eq!(dataset.states(0).unwrap().len(), rows.len());
    let videos = dataset.video_files(0).unwrap();
    assert_eq!(videos.len(), 2);
    for (camera, file) in videos {
        let video = mp4::probe(&file).unwrap();
        assert_eq!(video.frames, rows.len() as u64, "{camera}");
        assert!(video.is_constant_rate(30), "{camera}");
    }
    for file in ["meta/info.json", "meta/stats.json", "meta/tasks.parquet"] {
        assert!(root.join(file).is_file(), "{file}");
    }

    let replay = [
        "replay",
        "--port",
        port,
        "--dataset",
        set,
        "--seed",
        "3",
        "--json",
    ];
    let replayed = Running::sinew(&replay).wait_for(PATIENCE);
    replayed.succeeded();
    assert_eq!(replayed.json()["device"]["left"], "resting");
}

fn walks(world: &[&str], engine: &str) {
    let arguments = [&["sim"], world, &["--json", "--engine", engine]].concat();
    let outcome = Running::sinew(&arguments).wait_for(PATIENCE);
    outcome.succeeded();
    let report = outcome.json();
    assert_eq!(
        (&report["upright"], &report["engine"]),
        (&true.into(), &engine.into()),
        "{report}"
    );
    assert!(report["distance_m"].as_f64().unwrap() >= 3.0, "{report}");
}

#[test]
fn go2_walks_on_rten() {
    walks(&["go2-walk"], "rten");
}

#[test]
fn go2_walks_on_onnx_runtime() {
    walks(&["go2-walk"], "ort");
}

#[test]
fn g1_walks_with_both_policies() {
    walks(&["g1-walk", "--policy", "ppo"], "rten");
    walks(&["g1-walk", "--policy", "fastsac"], "ort");
}
