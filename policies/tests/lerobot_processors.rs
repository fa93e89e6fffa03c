//! Checkpoints that the real lerobot package wrote: observations reach the network, and answers the
//! robot, with the numbers that lerobot's own processors give.
//!
//! It needs PyTorch: `make interop` installs and runs it.

use serde_json::Value;
use sinew_policies::lerobot::{Architecture, Checkpoint, Generation, Scaling};
use std::path::{Path, PathBuf};
use std::process::Command;

fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    let python = peers.join("lerobot/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup interop",
        python.display()
    );
    python
}

struct Case {
    name: String,
    checkpoint: Checkpoint,
    values: Value,
}

fn cases(root: &Path) -> Vec<Case> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/lerobot_processors.py");
    let output = Command::new(python())
        .arg(script)
        .arg(root)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read(root.join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let open = |values: Value| {
        let name = values["name"].as_str().unwrap().to_owned();
        let checkpoint = Checkpoint::open(&root.join(&name));
        Case {
            checkpoint: checkpoint.unwrap_or_else(|error| panic!("{name}: {error}")),
            name,
            values,
        }
    };
    cases.into_iter().map(open).collect()
}

/// One test, because lerobot takes longer to start than all of this to compare.
#[test]
fn checkpoints_of_lerobot_are_read_and_computed_as_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(folder.path());
    assert_eq!(cases.len(), 22);
    for case in &cases {
        observations_are_normalised_as_by_lerobot(case);
        actions_are_unnormalised_as_by_lerobot(case);
        images_fold_into_one_product_and_one_sum(case);
        names_and_masks_are_lerobots(case);
        defaults_are_lerobots(case);
    }
}

fn floats(values: &Value) -> Vec<f32> {
    let list = values.as_array().unwrap().iter();
    list.map(|v| v.as_f64().unwrap() as f32).collect()
}

/// Bit by bit, because all further parity stands on it.
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found.to_bits() == expected.to_bits(),
            "{what}, value {i}: {found} where lerobot gives {expected}"
        );
    }
}

/// The channel of each of `count` values: one a value, or a colour's plane.
fn channels(scaling: &Scaling, count: usize) -> impl Iterator<Item = usize> {
    let plane = count / scaling.channels();
    (0..count).map(move |i| i / plane)
}

fn observations_are_normalised_as_by_lerobot(case: &Case) {
    for (name, given) in case.values["given"].as_object().unwrap() {
        let mut values = floats(given);
        if let Some(scaling) = case.checkpoint.processors.input(name) {
            for (channel, value) in channels(scaling, values.len()).zip(&mut values) {
                *value = scaling.normalise(channel, *value);
            }
        }
        let expected = floats(&case.values["seen"][name]);
        assert_same(&values, &expected, &format!("{}, {name}", case.name));
    }
}

fn actions_are_unnormalised_as_by_lerobot(case: &Case) {
    let mut values = floats(&case.values["answer"]);
    if let Some(scaling) = case.checkpoint.processors.action() {
        scaling.unnormalise_rows(&mut values);
    }
    let state = floats(&case.values["given"]["observation.state"]);
    let relative = case.checkpoint.processors.relative(values.len());
    for ((value, state), relative) in values.iter_mut().zip(state).zip(&relative) {
        *value += if *relative { state } else { 0.0 };
    }
    assert_eq!(relative.contains(&true), case.name == "relative");
    let expected = floats(&case.values["action"]);
    assert_same(&values, &expected, &case.name);
}

fn images_fold_into_one_product_and_one_sum(case: &Case) {
    let name = "observation.images.front";
    let Some(scaling) = case.checkpoint.processors.input(name) else {
        return;
    };
    let affine = scaling.into_network();
    let given = floats(&case.values["given"][name]);
    let expected = floats(&case.values["seen"][name]);
    let places = channels(scaling, given.len());
    for ((channel, x), expected) in places.zip(given).zip(expected) {
        let folded = x * affine.scale[channel] + affine.offset[channel];
        let off = (folded - expected).abs();
        assert!(
            off <= 1e-6 * expected.abs().max(1.0),
            "{}: {off:e}",
            case.name
        );
    }
}

fn names_and_masks_are_lerobots(case: &Case) {
    let processors = &case.checkpoint.processors;
    match case.name.as_str() {
        "renamed" => assert_eq!(
            processors.robot_name("observation.images.front"),
            "observation.images.overhead"
        ),
        "relative" => assert_eq!(
            processors.relative(6),
            [true, true, true, true, true, false]
        ),
        _ => assert_eq!(
            processors.robot_name("observation.state"),
            "observation.state"
        ),
    }
    assert_eq!(processors.legacy, case.name.starts_with("legacy"));
}

fn defaults_are_lerobots(case: &Case) {
    let config = &case.checkpoint.config;
    assert_eq!(config.unknown, Vec::<String>::new(), "{}", case.name);
    match (&config.architecture, case.name.as_str()) {
        (Architecture::Diffusion(diffusion), "legacy-2024") => {
            assert_eq!(config.generation, Generation::Shapes);
            assert_eq!((diffusion.horizon, diffusion.n_action_steps), (16, 8));
            assert_eq!(diffusion.crop_shape, Some([84, 84]));
            assert!(!diffusion.use_separate_rgb_encoder_per_camera);
        }
        (Architecture::Diffusion(diffusion), _) => {
            assert_eq!(config.generation, Generation::Resize);
            assert_eq!((diffusion.horizon, diffusion.n_action_steps), (64, 32));
            assert_eq!(diffusion.num_inference_steps, 100);
            assert!(diffusion.use_separate_rgb_encoder_per_camera);
        }
        (Architecture::Act(act), _) => {
            assert_eq!((act.chunk_size, act.dim_model, act.n_heads), (100, 512, 8));
        }
        _ => panic!("{}", case.name),
    }
    let names: Vec<&str> = config.images().map(|image| image.camera()).collect();
    assert_eq!(names, ["front"]);
}
