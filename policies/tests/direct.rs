//! The direct engine on real walking networks: it takes them, agrees with the general engines, is
//! the one that `auto` ends with, and allocates nothing.

mod support;

use sinew_policies::engines::direct::{DirectEngine, Weights};
use sinew_policies::{Engine, EngineChoice, ModelBytes, Tensor};
use std::cell::Cell;
use support::counting::{COUNT, Counting};
use support::{fetched, matmul_model, with_ort_library};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WALKS: [&str; 3] = [
    "models/go2/policy/policy.onnx",
    "models/g1/policy/ppo_g1_29dof.onnx",
    "models/g1/policy/fastsac_g1_29dof.onnx",
];

fn open(choice: EngineChoice, model: &str) -> Box<dyn Engine> {
    choice
        .open(ModelBytes::read(&fetched(model)).unwrap(), 1)
        .unwrap()
}

fn direct(weights: Weights, model: &str, general: &dyn Engine) -> DirectEngine {
    let bytes = std::fs::read(fetched(model)).unwrap();
    DirectEngine::load(&bytes, weights, general.inputs(), general.outputs()).unwrap()
}

/// Observations as a walking robot has them: nothing is far from zero.
fn observation(engine: &dyn Engine, round: usize) -> Vec<Tensor> {
    let width = engine.inputs()[0].shape[1].unwrap();
    let mut tensor = Tensor::zeros(&[1, width]);
    for (i, value) in tensor.data.iter_mut().enumerate() {
        *value = (0.37 * (round * width + i) as f32).sin();
    }
    vec![tensor]
}

/// The largest difference, as a share of the largest answer.
fn apart(one: &mut dyn Engine, other: &mut dyn Engine) -> f32 {
    let (mut a, mut b) = (vec![Tensor::default()], vec![Tensor::default()]);
    let (mut largest, mut size) = (0.0f32, 0.0f32);
    for round in 0..300 {
        let inputs = observation(one, round);
        one.run(&inputs, &mut a).unwrap();
        other.run(&inputs, &mut b).unwrap();
        assert_eq!(a[0].shape, b[0].shape);
        for (a, b) in a[0].data.iter().zip(&b[0].data) {
            largest = largest.max((a - b).abs());
            size = size.max(a.abs());
        }
    }
    largest / size
}

#[test]
fn it_agrees_with_both_general_engines() {
    with_ort_library();
    for model in WALKS {
        for choice in [EngineChoice::Rten, EngineChoice::Ort] {
            let mut general = open(choice, model);
            let mut fast = direct(Weights::F32, model, &*general);
            let exact = apart(&mut *general, &mut fast);
            let mut rounded = direct(Weights::Bf16, model, &*general);
            let short = apart(&mut *general, &mut rounded);
            println!(
                "{model}, {choice}: {exact:e} apart with 32-bit weights, {short:e} with 16-bit"
            );
            assert!(exact < 1e-5 && short < 2e-2);
        }
    }
}

#[test]
fn auto_goes_over_to_it_and_it_allocates_nothing() {
    with_ort_library();
    for model in WALKS {
        let mut engine = open(EngineChoice::Auto, model);
        let mut outputs = vec![Tensor::default()];
        for round in 0..5 {
            engine
                .run(&observation(&*engine, round), &mut outputs)
                .unwrap();
        }
        assert_eq!(engine.name(), "direct");
        let inputs = observation(&*engine, 9);
        let before = COUNT.with(Cell::get);
        for _ in 0..1000 {
            engine.run(&inputs, &mut outputs).unwrap();
        }
        assert_eq!(COUNT.with(Cell::get) - before, 0, "{model}");
    }
}

#[test]
fn an_explicit_choice_of_engine_is_obeyed() {
    let mut engine = open(EngineChoice::Rten, WALKS[0]);
    let mut outputs = vec![Tensor::default()];
    for round in 0..6 {
        engine
            .run(&observation(&*engine, round), &mut outputs)
            .unwrap();
    }
    assert_eq!(engine.name(), "rten");
}

#[test]
fn a_network_that_it_does_not_know_is_left_to_others() {
    with_ort_library();
    // Open batch axis, and int8 operators.
    for model in [
        "models/reachy_mini/fknetwork.dynamic.onnx",
        "models/reachy_mini/fknetwork_int8.onnx",
    ] {
        let general = open(EngineChoice::Rten, model);
        let bytes = std::fs::read(fetched(model)).unwrap();
        let (inputs, outputs) = (general.inputs(), general.outputs());
        assert!(
            DirectEngine::load(&bytes, Weights::F32, inputs, outputs).is_none(),
            "{model}"
        );
    }
}

#[test]
fn an_input_of_the_wrong_length_is_an_error() {
    let bytes = matmul_model(&[1.0, 2.0, 3.0, 4.0], 2, 2);
    let (x, y) = (support::info("x", &[1, 2]), support::info("y", &[1, 2]));
    let mut engine = DirectEngine::load(&bytes, Weights::F32, &[x], &[y]).unwrap();
    let mut outputs = vec![Tensor::default()];
    let of = |values: &[f32]| {
        vec![Tensor {
            shape: vec![1, values.len()],
            data: values.to_vec(),
        }]
    };
    engine.run(&of(&[1.0, 10.0]), &mut outputs).unwrap();
    assert_eq!(outputs[0].data, [31.0, 42.0]);
    let problem = engine.run(&of(&[1.0]), &mut outputs).unwrap_err();
    assert_eq!(problem, "input `x` [1, 2] was given 1 values, not 2");
}
