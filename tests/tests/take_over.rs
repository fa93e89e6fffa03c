//! `sinew record --lockstep --take-over`: a policy begins each episode, the scripted operator ends it.

use sinew_datasets::Dataset;
use sinew_tests::{Outcome, Running, root};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Rendering whole episodes on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(180);

fn record(dataset: &Path, fps: &str) -> Outcome {
    let policy = root().join("policies/demo/so101-pick");
    Running::sinew(&[
        "record",
        "--lockstep",
        "--teleop",
        "scripted",
        "--images",
        "--fps",
        fps,
        "--camera-size",
        "32x24",
        "--episodes",
        "2",
        "--seed",
        "5",
        "--json",
        "--take-over",
        policy.to_str().unwrap(),
        "--dataset",
        dataset.to_str().unwrap(),
    ])
    .wait_for(PATIENCE)
}

#[test]
fn the_operator_ends_what_a_policy_began() {
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("set");
    let outcome = record(&set, "30");
    outcome.succeeded();
    let report = outcome.json();
    let dataset = Dataset::open(&set).unwrap();
    for episode in 0..2 {
        let recorded = &report["episodes"][episode];
        assert_eq!(recorded["success"], true, "{report}");
        let timing = dataset.series(episode as u64, "timing").unwrap();
        let tick = timing.names.iter().position(|n| n == "tick_s").unwrap();
        // The policy plays for 1 to 12 s before.
        let (first, second) = (timing.row(0).unwrap()[tick], timing.row(1).unwrap()[tick]);
        assert!((0.95..12.1).contains(&first), "{first}");
        assert!((0.030..0.037).contains(&(second - first)), "{second}");
        assert_eq!(recorded["frames"].as_u64(), Some(timing.len() as u64));
    }
}

#[test]
fn a_policy_of_another_rate_is_refused() {
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("set");
    record(&set, "10").failed(2, &["--take-over", "record with --fps 30"]);
    assert!(!set.exists(), "nothing half-made stays behind");
}
