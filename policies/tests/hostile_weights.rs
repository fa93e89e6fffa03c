//! Weights that a network does not fit on: everything is listed at once, by name, before any engine.

#[path = "support/checkpoint.rs"]
#[allow(dead_code)]
mod checkpoint;

use checkpoint::{Files, floats, safetensors, tensor};
use sinew_policies::PolicyError;
use sinew_policies::lerobot::Checkpoint;
use sinew_policies::lerobot::act::{Algebra, Network};
use std::sync::Arc;

/// The error of building ACT from these tensors.
fn error_of(tensors: &[(&str, &[usize], f32)]) -> String {
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, shape, value)| {
            let values = vec![*value; shape.iter().product()];
            tensor(name, "F32", shape, &floats(&values))
        })
        .collect();
    let folder = Files {
        weights: safetensors(&tensors),
        ..Files::default()
    }
    .write();
    let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
    let error = Network::new(&checkpoint)
        .and_then(|network| network.build(Algebra::Folded))
        .unwrap_err();
    assert!(matches!(error, PolicyError::Weights { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("model.safetensors") && text.len() < 16_384,
        "{text}"
    );
    text
}

#[test]
fn missing_and_misshaped_tensors_are_listed_at_once() {
    let text = error_of(&[
        ("model.action_head.weight", &[3, 16], 0.0),
        ("model.action_head.bias", &[2], 0.0),
    ]);
    for part in [
        "`model.action_head.weight`",
        "[3, 16]",
        "[2, 16]",
        "missing",
        "more",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}
