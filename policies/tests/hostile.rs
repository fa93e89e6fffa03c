//! Models from strangers: damaged, garbage, or made to hurt. None may panic, hang or get through.

mod support;

use proptest::prelude::*;
use sinew_policies::{EngineChoice, Manifest, ModelBytes, Policy, PolicyInput, Tensor};
use sinew_runtime::JointState;
use std::path::Path;
use support::{TWO_JOINTS, features, fetched, manifest, matmul_model, with_ort_library};

const ENGINES: [EngineChoice; 2] = [EngineChoice::Rten, EngineChoice::Ort];

/// Loads bytes as far as they go, and runs them once if they load.
fn try_out(bytes: Vec<u8>, engine: EngineChoice) -> Result<(), String> {
    let model = ModelBytes::new(Path::new("model.onnx"), bytes).map_err(|e| e.to_string())?;
    let mut engine = engine.open(model, 1).map_err(|e| e.to_string())?;
    let sizes: Vec<Vec<usize>> = engine
        .inputs()
        .iter()
        .map(|i| i.shape.iter().map(|d| d.unwrap_or(1).min(64)).collect())
        .collect();
    let inputs: Vec<Tensor> = sizes.iter().map(|shape| Tensor::zeros(shape)).collect();
    let mut outputs = vec![Tensor::default(); engine.outputs().len()];
    engine.run(&inputs, &mut outputs)
}

#[test]
fn the_tiny_model_is_valid() {
    with_ort_library();
    for engine in ENGINES {
        try_out(matmul_model(&[1.0, 2.0, 3.0, 4.0], 2, 2), engine).unwrap();
    }
}

#[test]
fn weights_that_are_not_numbers_are_caught() {
    with_ort_library();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.toml"), TWO_JOINTS).unwrap();
    std::fs::write(
        folder.path().join("model.onnx"),
        matmul_model(&[f32::NAN; 4], 2, 2),
    )
    .unwrap();
    for engine in ENGINES {
        let mut policy = Policy::load(folder.path(), engine, features(&["a", "b"])).unwrap();
        let state = JointState {
            len: 2,
            ..JointState::default()
        };
        let mut chunk = Vec::new();
        let error = policy
            .infer(&PolicyInput::new(&state), &mut chunk)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("not a finite number") && chunk.is_empty(),
            "{error}"
        );
    }
}

#[test]
fn a_network_of_another_shape_is_refused_in_one_sentence() {
    with_ort_library();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.toml"), TWO_JOINTS).unwrap();
    std::fs::write(
        folder.path().join("model.onnx"),
        matmul_model(&[0.5; 6], 3, 2),
    )
    .unwrap();
    for engine in ENGINES {
        let error = Policy::load(folder.path(), engine, features(&["a", "b"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("input `x` [1, 3] takes 3 values"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn missing_and_garbage_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let load = || {
        Policy::load(folder.path(), EngineChoice::Rten, features(&["a", "b"]))
            .unwrap_err()
            .to_string()
    };
    assert!(load().contains("policy.toml"));
    std::fs::write(folder.path().join("policy.toml"), TWO_JOINTS).unwrap();
    assert!(load().contains("model.onnx"));
    std::fs::write(folder.path().join("model.onnx"), b"\x08\x07garbage").unwrap();
    let error = load();
    assert!(
        error.contains("model.onnx is not a usable ONNX model"),
        "{error}"
    );
}

#[test]
fn truncation_anywhere_is_an_error() {
    with_ort_library();
    let whole = std::fs::read(fetched("models/go2/policy/policy.onnx")).unwrap();
    for keep in (0..whole.len()).step_by(whole.len() / 97) {
        for engine in ENGINES {
            assert!(
                try_out(whole[..keep].to_vec(), engine).is_err(),
                "{keep} bytes"
            );
        }
    }
}

/// A few bytes of a valid file, replaced.
fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    proptest::collection::vec((0..length, any::<u8>()), 1..8).prop_map(move |edits| {
        let mut bytes = whole.clone();
        edits.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_tiny_model_never_panics_rten(bytes in damaged(matmul_model(&[1.0, 2.0, 3.0, 4.0], 2, 2))) {
        let _ = try_out(bytes, EngineChoice::Rten);
    }

    #[test]
    fn a_damaged_tiny_model_never_breaks_ort(bytes in damaged(matmul_model(&[1.0, 2.0, 3.0, 4.0], 2, 2))) {
        with_ort_library();
        let _ = try_out(bytes, EngineChoice::Ort);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_int8_model_never_panics(bytes in damaged(
        std::fs::read(fetched("models/reachy_mini/fknetwork_int8.onnx")).unwrap()
    )) {
        let _ = try_out(bytes, EngineChoice::Rten);
    }

    #[test]
    fn manifests_never_panic(text in "\\PC{0,300}") {
        let _ = Manifest::parse(Path::new("policy.toml"), &text);
    }

    #[test]
    fn damaged_manifests_never_panic(bytes in damaged(TWO_JOINTS.as_bytes().to_vec())) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Manifest::parse(Path::new("policy.toml"), &text);
    }
}

#[test]
fn a_valid_manifest_parses() {
    assert_eq!(manifest(TWO_JOINTS).inputs.len(), 1);
}
