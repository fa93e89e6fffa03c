//! What `policy.toml` policies cannot do is refused, not passed over.

mod support;

use sinew_policies::graph::quantize::Recorder;
use sinew_policies::{
    EngineChoice, LoadOptions, Policy, PolicyError, PolicyInput, Precision, Provider,
};
use sinew_runtime::JointState;
use support::{TWO_JOINTS, features, matmul_model, with_ort_library};

fn load(options: LoadOptions) -> Result<Policy, PolicyError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.toml"), TWO_JOINTS).unwrap();
    let model = matmul_model(&[1.0, 0.0, 0.0, 1.0], 2, 2);
    std::fs::write(folder.path().join("model.onnx"), model).unwrap();
    Policy::load(folder.path(), options, features(&["a", "b"]))
}

#[test]
fn an_onnx_file_keeps_its_precision() {
    let rten = LoadOptions::from(EngineChoice::Rten);
    assert!(load(rten.clone()).is_ok());
    for precision in [Precision::Fp16, Precision::Int8] {
        let options = LoadOptions {
            precision,
            ..rten.clone()
        };
        let error = load(options).unwrap_err().to_string();
        assert!(error.contains(&precision.to_string()), "{error}");
    }
    let options = LoadOptions {
        recorder: Some(Recorder::default()),
        ..rten
    };
    let error = load(options).unwrap_err().to_string();
    assert!(error.contains("checkpoint"), "{error}");
}

#[test]
fn a_small_network_runs_with_sixteen_bit_weights() {
    let options = LoadOptions {
        precision: Precision::Fp16,
        engine: EngineChoice::Auto,
        ..LoadOptions::default()
    };
    let mut policy = load(options).unwrap();
    let state = JointState {
        len: 2,
        position: [0.25; sinew_runtime::MAX_JOINTS],
        ..JointState::default()
    };
    let mut chunk = Vec::new();
    for _ in 0..6 {
        policy.infer(&PolicyInput::new(&state), &mut chunk).unwrap();
    }
    assert_eq!(policy.engine_name(), "direct");
}

#[test]
fn a_provider_that_cannot_be_had_is_an_error() {
    with_ort_library();
    for engine in [EngineChoice::Rten, EngineChoice::Ort, EngineChoice::Auto] {
        let options = LoadOptions {
            provider: Provider::Cuda,
            ..engine.into()
        };
        let error = load(options).unwrap_err();
        assert!(matches!(error, PolicyError::Provider { .. }), "{error}");
    }
}
