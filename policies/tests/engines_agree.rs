//! Both engines give the same answers on real networks: the reachy-mini kinematics networks
//! (float and int8) and the Go2 walking policy.

mod support;

use sinew_policies::{Engine, EngineChoice, ModelBytes, Tensor, TensorInfo};
use support::{fetched, with_ort_library};

/// A linear congruential generator: the same numbers in every run.
struct Random(u64);

impl Random {
    /// Uniform in ±1.
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// One random value for each element of each input.
fn random_inputs(engine: &dyn Engine, rng: &mut Random, range: f32) -> Vec<Tensor> {
    let mut tensor = |info: &TensorInfo| {
        let shape: Vec<usize> = info.shape.iter().map(|dim| dim.unwrap_or(1)).collect();
        let mut tensor = Tensor::zeros(&shape);
        for value in &mut tensor.data {
            *value = rng.next() * range;
        }
        tensor
    };
    engine.inputs().iter().map(&mut tensor).collect()
}

/// How far the engines are apart over many random inputs.
#[derive(Debug, Default)]
struct Apart {
    /// Largest difference of two outputs, as a share of their tensor's largest value where that is
    /// above one.
    relative: f32,
    /// Largest difference of two outputs.
    absolute: f32,
    /// Outputs that differ by more than 1e-5.
    differing: usize,
    outputs: usize,
}

fn compare(model: &str, range: f32, rounds: usize) -> Apart {
    with_ort_library();
    let open = |choice: EngineChoice| {
        let bytes = ModelBytes::read(&fetched(model)).unwrap();
        choice.open(bytes, 1).unwrap()
    };
    let (mut rten, mut ort) = (open(EngineChoice::Rten), open(EngineChoice::Ort));
    assert_eq!((rten.name(), ort.name()), ("rten", "ort"));
    assert_eq!(names(rten.inputs()), names(ort.inputs()));
    assert_eq!(names(rten.outputs()), names(ort.outputs()));
    let mut rng = Random(1);
    let mut apart = Apart::default();
    for _ in 0..rounds {
        let inputs = random_inputs(&*rten, &mut rng, range);
        let mut by_rten = vec![Tensor::default(); rten.outputs().len()];
        let mut by_ort = by_rten.clone();
        rten.run(&inputs, &mut by_rten).unwrap();
        ort.run(&inputs, &mut by_ort).unwrap();
        for (a, b) in by_rten.iter().zip(&by_ort) {
            assert_eq!(a.shape, b.shape);
            assert!(!a.data.is_empty());
            let size = b
                .data
                .iter()
                .fold(1.0, |size: f32, value| size.max(value.abs()));
            for (a, b) in a.data.iter().zip(&b.data) {
                let difference = (a - b).abs();
                apart.absolute = apart.absolute.max(difference);
                apart.relative = apart.relative.max(difference / size);
                apart.differing += usize::from(difference > 1e-5);
                apart.outputs += 1;
            }
        }
    }
    println!("{model}: {apart:?}");
    apart
}

fn names(infos: &[TensorInfo]) -> Vec<String> {
    infos.iter().map(|info| info.name.clone()).collect()
}

#[test]
fn forward_kinematics() {
    assert!(compare("models/reachy_mini/fknetwork.onnx", 1.0, 1000).absolute < 1e-5);
}

#[test]
fn forward_kinematics_with_an_open_batch_axis() {
    assert!(compare("models/reachy_mini/fknetwork.dynamic.onnx", 1.0, 1000).absolute < 1e-5);
}

#[test]
fn inverse_kinematics() {
    assert!(compare("models/reachy_mini/iknetwork.onnx", 1.0, 1000).absolute < 1e-5);
}

/// An int8 network rounds after each layer. A sum that lies on the edge between two steps is
/// rounded apart by engines that add in another order, so single outputs may differ by one step
/// of the last quantiser, and no more.
#[test]
fn forward_kinematics_int8() {
    const OUTPUT_STEP: f32 = 0.022_221_39;
    let apart = compare("models/reachy_mini/fknetwork_int8.onnx", 1.0, 1000);
    assert!(apart.absolute < 1.01 * OUTPUT_STEP);
    assert!(apart.differing * 100 < apart.outputs);
}

/// Raw actions reach ±53 on these inputs, where 32-bit floats are 4e-6 apart: they agree to 1e-5 of
/// their size, and to 1e-5 rad as joint targets on a moving robot (see `go2.rs`).
#[test]
fn go2_walking() {
    assert!(compare("models/go2/policy/policy.onnx", 1.0, 1000).relative < 1e-5);
}
