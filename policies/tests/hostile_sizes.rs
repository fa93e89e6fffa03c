//! Sizes in a configuration that ask for more memory than the checkpoint has, or any computer.

#[path = "support/checkpoint.rs"]
#[allow(dead_code)]
mod checkpoint;

use checkpoint::Files;
use serde_json::{Value, json};
use sinew_policies::lerobot::act::{Algebra, Network};
use sinew_policies::lerobot::diffusion::Lowering;
use sinew_policies::lerobot::{Checkpoint, Config, diffusion};
use std::path::Path;
use std::sync::Arc;

fn diffusion(changes: Value) -> Value {
    let mut config = json!({
        "type": "diffusion",
        "input_features": {
            "observation.state": {"type": "STATE", "shape": [2]},
            "observation.images.front": {"type": "VISUAL", "shape": [3, 96, 96]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
        "down_dims": [64, 128], "resize_shape": null, "horizon": 64,
    });
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn problem(config: &Value) -> String {
    let parsed = Config::parse(Path::new("config.json"), config.to_string().as_bytes());
    parsed.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn products_of_sizes_are_limited_too() {
    let image = |height: usize, width: usize| {
        json!({"observation.state": {"type": "STATE", "shape": [2]},
               "observation.images.front": {"type": "VISUAL", "shape": [3, height, width]}})
    };
    for (changes, word) in [
        (json!({"input_features": image(16384, 16384)}), "pixels"),
        (
            json!({"input_features": image(2048, 2048), "resize_shape": [16384, 16384]}),
            "`resize_shape`",
        ),
        (
            json!({"down_dims": [16384, 16384], "n_groups": 8}),
            "`down_dims`",
        ),
        (
            json!({"down_dims": [8192], "n_obs_steps": 64, "spatial_softmax_num_keypoints": 4096}),
            "conditions",
        ),
        (
            json!({"num_train_timesteps": 10000, "diffusion_step_embed_dim": 16384}),
            "denoising",
        ),
    ] {
        let problem = problem(&diffusion(changes));
        assert!(problem.contains(word), "{word}: {problem}");
    }
    let mut act = Files::default().config;
    act["dim_model"] = json!(16384);
    act["chunk_size"] = json!(4096);
    act["input_features"]["observation.images.front"]["shape"] = json!([3, 4096, 4096]);
    let problem = problem(&act);
    assert!(
        problem.contains("tokens") && problem.contains("`chunk_size`"),
        "{problem}"
    );
    assert!(Config::parse(Path::new("c"), diffusion(json!({})).to_string().as_bytes()).is_ok());
}

/// Bytes of memory that this process has ever held at once.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    words[1].parse::<usize>().unwrap() << 10
}

/// Under nextest each test is a process of its own, so the peak is this test's.
#[cfg(target_os = "linux")]
#[test]
fn missing_weights_take_no_memory() {
    let before = peak();
    let config = diffusion(json!({"down_dims": [4096, 4096], "kernel_size": 7}));
    let folder = Files {
        config,
        ..Files::default()
    }
    .write();
    let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
    let network = diffusion::Network::new(&checkpoint).unwrap();
    let error = network
        .build(Algebra::Folded, Lowering::Int8)
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing"), "{error}");

    let mut files = Files::default();
    files.config["dim_model"] = json!(8192);
    files.config["pre_norm"] = json!(true);
    let folder = files.write();
    let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
    let network = Network::new(&checkpoint).unwrap();
    let error = network.build(Algebra::Folded).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    assert!(peak() - before < 64 << 20, "{} bytes", peak() - before);
}
