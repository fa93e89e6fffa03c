//! The whole path with real processes: simulate, record, replay; and a walking policy on both
//! engines.

use sinew_datasets::{Dataset, mp4};
use sinew_policies::{EngineChoice, ModelBytes, Tensor};
use sinew_sim::SimError;
use sinew_sim::go2::{ACTIONS, Go2Walk, OBSERVATION};
use sinew_tests::{Running, Simulator, root};
use std::path::PathBuf;
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

fn walks(engine: &str) {
    let outcome =
        Running::sinew(&["sim", "go2-walk", "--json", "--engine", engine]).wait_for(PATIENCE);
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
    walks("rten");
}

#[test]
fn go2_walks_on_onnx_runtime() {
    walks("ort");
}

/// The fetched model.
fn go2() -> PathBuf {
    let folder = root().join("third_party/models/go2");
    assert!(
        folder.is_dir(),
        "{} is missing: run scripts/setup",
        folder.display()
    );
    folder
}

#[test]
fn both_engines_decide_alike_along_a_walk() {
    let engine = |choice: EngineChoice| {
        choice
            .open(
                ModelBytes::read(&go2().join("policy/policy.onnx")).unwrap(),
                1,
            )
            .unwrap()
    };
    let (mut rten, mut ort) = (engine(EngineChoice::Rten), engine(EngineChoice::Ort));
    let mut inputs = [Tensor::zeros(&[1, OBSERVATION])];
    let [mut by_rten, mut by_ort] = [(); 2].map(|()| [Tensor::zeros(&[1, ACTIONS])]);
    let (mut compared, mut farthest) = (0, 0.0_f32);
    let mut walk = Go2Walk::new(&go2(), 0).unwrap();
    walk.set_command([0.6, 0.0, 0.0]);
    walk.run(10.0, |observation, actions| {
        inputs[0].data.copy_from_slice(observation);
        rten.run(&inputs, &mut by_rten).unwrap();
        ort.run(&inputs, &mut by_ort).unwrap();
        for (a, b) in by_rten[0].data.iter().zip(&by_ort[0].data) {
            farthest = farthest.max((a - b).abs());
            compared += 1;
        }
        actions.copy_from_slice(&by_rten[0].data);
        Ok::<(), SimError>(())
    })
    .unwrap();
    println!("{compared} actions, at most {farthest:e} apart");
    assert_eq!(compared, 500 * ACTIONS);
    assert!(farthest <= 1e-5, "{farthest:e} apart");
    assert!(walk.upright());
}
