//! The plugin `lerobot_env_sinew` in the real `lerobot-eval`: needs PyTorch, so `make interop` runs it.

use serde_json::Value;
use sinew_tests::{peer_python, root, sinew};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Installs the package into a folder of its own, without a network.
fn install(folder: &Path) {
    let output = Command::new(peer_python("lerobot"))
        .args(["-m", "pip", "install", "-q", "--no-deps", "--no-index"])
        .args(["--no-build-isolation", "--target"])
        .arg(folder.join("site"))
        .arg(copied(folder))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// The package's sources outside the checkout, where building leaves its traces.
fn copied(folder: &Path) -> std::path::PathBuf {
    let (from, to) = (root().join("sim/python"), folder.join("source"));
    let package = "lerobot_env_sinew";
    std::fs::create_dir_all(to.join(package)).unwrap();
    std::fs::copy(from.join("pyproject.toml"), to.join("pyproject.toml")).unwrap();
    for entry in std::fs::read_dir(from.join(package)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("py")) {
            let name = path.file_name().unwrap();
            std::fs::copy(&path, to.join(package).join(name)).unwrap();
        }
    }
    to
}

#[test]
fn lerobot_eval_runs_the_trained_policy_in_this_simulator() {
    let folder = TempDir::new().unwrap();
    install(folder.path());
    let out = folder.path().join("out");
    let eval = peer_python("lerobot").with_file_name("lerobot-eval");
    let output = Command::new(eval)
        .arg("--env.type=sinew")
        .arg(format!("--env.binary={}", sinew().display()))
        .arg(format!(
            "--policy.path={}",
            root().join("policies/trained/so101-pick-act").display()
        ))
        .args(["--policy.device=cpu", "--seed=1000"])
        .args(["--eval.n_episodes=2", "--eval.batch_size=1"])
        .arg(format!("--output_dir={}", out.display()))
        .current_dir(folder.path())
        .env("PYTHONPATH", folder.path().join("site"))
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", folder.path().join("hf"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report = std::fs::read(out.join("eval_info.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    println!("{report}");
    assert_eq!(report["overall"]["n_episodes"], 2, "{report}");
    assert!(report["overall"]["pc_success"].is_number(), "{report}");
}

#[test]
fn lerobot_finds_the_plugin_and_its_worlds_are_the_same_in_every_run() {
    let folder = TempDir::new().unwrap();
    install(folder.path());
    let output = Command::new(peer_python("lerobot"))
        .arg(root().join("tests/peers/lerobot_plugin.py"))
        .arg(sinew())
        .current_dir(folder.path())
        .env("PYTHONPATH", folder.path().join("site"))
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cameras = ["observation.images.front", "observation.images.wrist"];
    for feature in cameras.into_iter().chain(["observation.state", "action"]) {
        assert!(
            found["features"]
                .as_array()
                .unwrap()
                .contains(&feature.into()),
            "{found}"
        );
    }
    for holds in ["spaces", "same", "names", "modes"] {
        assert_eq!(found[holds], true, "{holds}: {found}");
    }
    assert_eq!(found["output"], serde_json::json!([4, 128, 2, 3]));
    let spread = found["spread"].as_f64().unwrap();
    assert!(
        (spread - 1.0).abs() < 0.1,
        "calibration makes the spread 1: {spread}"
    );
    let refused = found["refused"].as_array().unwrap();
    assert!(refused[0].as_str().unwrap().contains("5 values"), "{found}");
    assert!(refused[1].as_str().unwrap().contains("finite"), "{found}");
    assert_eq!(found["after"], 0.0);
    assert!(found["missing"].as_str().unwrap().contains("no-such-sinew"));
    assert_eq!(found["late"], "late", "who listens late is waited for");
    assert_eq!(found["strange"].as_array().unwrap().len(), 3, "{found}");
    assert_eq!(found["left"], serde_json::json!([true, true, true, true]));
}
