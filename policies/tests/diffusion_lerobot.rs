//! Diffusion policies beside the real lerobot: the same checkpoint, observations and noise give the
//! same actions.
//!
//! It needs PyTorch: `make interop` installs and runs it.

mod support;

use sinew_policies::engine::{EngineOptions, Tensor};
use sinew_policies::graph::Graph;
use sinew_policies::lerobot::Opening;
use sinew_policies::lerobot::act::Algebra;
use sinew_policies::lerobot::diffusion::{DiffusionModel, Lowering, Network};
use sinew_policies::lerobot::model::{ActOptions, Model};
use sinew_policies::{EngineChoice, TensorInfo};
use support::golden::{Case, apart, golden};
use support::with_ort_library;

/// Share of the action's range, over all steps of the sampler.
const TOLERANCE: f32 = 1e-4;

fn model(case: &Case, how: (Algebra, Lowering), engine: EngineChoice) -> DiffusionModel {
    let network = Network::new(&case.checkpoint).unwrap();
    let options = EngineOptions {
        engine,
        threads: 2,
        optimise: how.0 == Algebra::Folded,
        prepack: how.1 != Lowering::Convolution,
        ..EngineOptions::default()
    };
    let opening = Opening {
        engine: options,
        ..Opening::default()
    };
    DiffusionModel::new(&network, how.0, how.1, &opening)
        .unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// Gives the model what lerobot's processors gave to the network.
fn observe(case: &Case, model: &mut DiffusionModel, step: usize) {
    let images: Vec<String> = case
        .checkpoint
        .config
        .images()
        .map(|image| image.name.clone())
        .collect();
    for (index, image) in images.iter().enumerate() {
        let pixels = case.floats(&format!("in/{step}/{image}"));
        model.image_mut(index).copy_from_slice(&pixels);
        model.encode(index).unwrap();
    }
    let vector = |name: &str| {
        let name = format!("in/{step}/{name}");
        if case.has(&name) {
            case.floats(&name)
        } else {
            Vec::new()
        }
    };
    model.observe(
        &vector("observation.state"),
        &vector("observation.environment_state"),
    );
}

/// The largest distance of both chunks, as a share of the range.
fn distance(case: &Case, how: (Algebra, Lowering), engine: EngineChoice) -> f32 {
    let mut model = model(case, how, engine);
    let mut worst = 0.0f32;
    for step in 0..2 {
        observe(case, &mut model, step);
        let wanted = case.floats(&format!("mid/condition/{step}"));
        let off = apart(model.observations().unwrap(), &wanted);
        assert!(
            off < TOLERANCE,
            "{}: observations are {off:e} apart",
            case.name
        );
        let noise = case.floats(&format!("noise/{step}"));
        assert_eq!(noise.len(), model.noise_len(), "{}", case.name);
        let options = ActOptions {
            noise: Some(&noise),
            ..ActOptions::default()
        };
        let mut actions = model.act(&options).unwrap().to_vec();
        worst = worst.max(apart(&actions, &case.floats(&format!("chunk/{step}"))));
        if let Some(scaling) = case.checkpoint.processors.action() {
            scaling.unnormalise_rows(&mut actions);
        }
        worst = worst.max(apart(&actions, &case.floats(&format!("actions/{step}"))));
    }
    println!("{} {how:?} {engine}: {worst:e}", case.name);
    worst
}

/// One run of lerobot serves all comparisons: it takes minutes.
#[test]
fn actions_are_those_of_lerobot_on_both_engines() {
    with_ort_library();
    let cases = golden("diffusion");
    assert!(cases.cases.len() > 10);
    for case in &cases.cases {
        for engine in [EngineChoice::Ort, EngineChoice::Rten] {
            for lowering in [Lowering::Convolution, Lowering::Product] {
                let off = distance(case, (Algebra::Folded, lowering), engine);
                assert!(
                    off < TOLERANCE,
                    "{} {lowering:?} on {engine}: {off:e} of the range apart",
                    case.name
                );
            }
            // Engines here take floats only: without pictures. Few steps make a small graph.
            if ["ddim", "unclipped"].contains(&case.name.as_str()) {
                exported(case, engine);
                eight_bits(case, engine);
            }
        }
        if case.name != "default" {
            let plain = (Algebra::Plain, Lowering::Convolution);
            let off = distance(case, plain, EngineChoice::Ort);
            assert!(
                off < TOLERANCE,
                "{} plain: {off:e} of the range apart",
                case.name
            );
        }
    }
}

/// An input of the exported file, from both observations: what lerobot's processors made of it,
/// undone.
fn raw(case: &Case, info: &TensorInfo) -> Tensor {
    let shape: Vec<usize> = info.shape.iter().map(|dim| dim.unwrap()).collect();
    if info.name == "noise" {
        let data = case.floats("noise/1");
        return Tensor { shape, data };
    }
    let mut data = Vec::new();
    for step in 0..2 {
        let mut values = case.floats(&format!("in/{step}/{}", info.name));
        if let Some(scaling) = case.checkpoint.processors.input(&info.name) {
            scaling.unnormalise_rows(&mut values);
        }
        data.extend(values);
    }
    Tensor { shape, data }
}

/// Runs the policy as one graph, with floats for its inputs.
fn whole(case: &Case, graph: Graph, engine: EngineChoice) -> f32 {
    let options = EngineOptions {
        engine,
        threads: 2,
        ..EngineOptions::default()
    };
    let mut engine = options.open(graph).unwrap();
    let inputs: Vec<Tensor> = engine.inputs().iter().map(|info| raw(case, info)).collect();
    let mut outputs = [Tensor::default()];
    engine.run(&inputs, &mut outputs).unwrap();
    apart(&outputs[0].data, &case.floats("actions/1"))
}

/// The policy as one graph that holds all steps of the sampler.
fn exported(case: &Case, engine: EngineChoice) {
    let network = Network::new(&case.checkpoint).unwrap();
    let off = whole(case, network.build_whole().unwrap(), engine);
    println!("{} whole {engine}: {off:e}", case.name);
    assert!(
        off < TOLERANCE,
        "{} whole on {engine}: {off:e} of the range apart",
        case.name
    );
}

/// What weights of 8 bits cost, as a share of the range of one prediction: over many steps, networks of
/// random weights drive any difference apart.
fn eight_bits(case: &Case, engine: EngineChoice) {
    let exact = first_prediction(case, Lowering::Product, engine);
    let found = first_prediction(case, Lowering::Int8, engine);
    let off = apart(&found, &exact);
    println!("{} int8 {engine}: {off:e}", case.name);
    assert!(
        off < 0.03,
        "{} int8 on {engine}: {off:e} of the range apart",
        case.name
    );
}

/// What the network says of the first sample.
fn first_prediction(case: &Case, lowering: Lowering, engine: EngineChoice) -> Vec<f32> {
    let mut model = model(case, (Algebra::Folded, lowering), engine);
    observe(case, &mut model, 0);
    let noise = case.floats("noise/0");
    let options = ActOptions {
        noise: Some(&noise),
        ..ActOptions::default()
    };
    let found = model.probe(&options).unwrap().unwrap().to_vec();
    if lowering != Lowering::Int8 {
        let wanted = case.floats("mid/prediction/0");
        let off = apart(&found, &wanted);
        assert!(
            off < TOLERANCE,
            "{}: the first prediction is {off:e} apart",
            case.name
        );
    }
    found
}
