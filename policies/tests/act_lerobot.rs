//! ACT beside the real lerobot: the same checkpoint and observation give the same actions.
//!
//! It needs PyTorch: `make interop` installs and runs it.

mod support;

use sinew_policies::EngineChoice;
use sinew_policies::engine::EngineOptions;
use sinew_policies::lerobot::Opening;
use sinew_policies::lerobot::act::{ActModel, Algebra, Network};
use sinew_policies::lerobot::model::{ActOptions, Model};
use std::path::Path;
use std::process::Command;
use support::golden::{Case, apart, golden, python};
use support::with_ort_library;

/// Share of the action's range.
const TOLERANCE: f32 = 1e-5;

/// A model on what lerobot's processors gave to the network.
fn chunk(case: &Case, algebra: Algebra, engine: EngineChoice) -> Vec<f32> {
    let network = Network::new(&case.checkpoint).unwrap();
    let opening = Opening {
        engine: EngineOptions {
            engine,
            threads: 2,
            optimise: algebra == Algebra::Folded,
            ..EngineOptions::default()
        },
        ..Opening::default()
    };
    let mut model = ActModel::new(&network, algebra, &opening)
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    for (index, image) in network.images().iter().enumerate() {
        let pixels = case.floats(&format!("in/{}", image.name));
        model.image_mut(index).copy_from_slice(&pixels);
        model.encode(index).unwrap();
        let tokens = transposed(
            &case.floats(&format!("mid/tokens{index}")),
            model.tokens(index),
        );
        let off = apart(model.tokens(index), &tokens);
        assert!(
            off < TOLERANCE,
            "{}: tokens of {} are {off:e} apart",
            case.name,
            image.name
        );
    }
    let vector = |name: &str| {
        let name = format!("in/{name}");
        if case.has(&name) {
            case.floats(&name)
        } else {
            Vec::new()
        }
    };
    let (state, environment) = (
        vector("observation.state"),
        vector("observation.environment_state"),
    );
    model.observe(&state, &environment);
    model.prefix().unwrap();
    model.act(&ActOptions::default()).unwrap().to_vec()
}

/// lerobot's feature map, channel by channel, as tokens.
fn transposed(map: &[f32], like: &[f32]) -> Vec<f32> {
    assert_eq!(map.len(), like.len());
    let width = [512, 64]
        .into_iter()
        .find(|w| map.len().is_multiple_of(*w))
        .unwrap();
    let cells = map.len() / width;
    (0..map.len())
        .map(|i| map[(i % width) * cells + i / width])
        .collect()
}

fn close(case: &Case, algebra: Algebra, engine: EngineChoice) {
    let found = chunk(case, algebra, engine);
    let off = apart(&found, &case.floats("chunk"));
    println!("{} {algebra:?} {engine}: {off:e}", case.name);
    assert!(
        off < TOLERANCE,
        "{} on {engine}: {off:e} of the range apart",
        case.name
    );
    let mut actions = found;
    if let Some(scaling) = case.checkpoint.processors.action() {
        scaling.unnormalise_rows(&mut actions);
    }
    let off = apart(&actions, &case.floats("actions"));
    assert!(
        off < TOLERANCE,
        "{} on {engine}: actions {off:e} of the range apart",
        case.name
    );
}

#[test]
fn actions_are_those_of_lerobot_on_both_engines() {
    with_ort_library();
    let cases = golden("act");
    assert!(cases.cases.len() > 10);
    for case in &cases.cases {
        for engine in [EngineChoice::Ort, EngineChoice::Rten] {
            close(case, Algebra::Folded, engine);
        }
        if case.name != "default" {
            close(case, Algebra::Plain, EngineChoice::Ort);
        }
    }
}

/// onnxruntime in Python runs the exported file, from bytes of pixels to actions in the robot's units.
#[test]
fn the_exported_file_gives_lerobots_actions_in_python() {
    let cases = golden("act");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/onnx_run.py");
    for case in &cases.cases {
        let network = Network::new(&case.checkpoint).unwrap();
        let file = network.build_whole().unwrap().to_portable().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("act.onnx");
        std::fs::write(&model, file).unwrap();
        let output = Command::new(python())
            .args([script.as_path(), &model, &case.golden_file()])
            .output()
            .unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {problem}", case.name);
        let off: f32 = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .unwrap();
        println!("{} exported: {off:e}", case.name);
        assert!(off < TOLERANCE, "{}: {off:e} of the range apart", case.name);
    }
}
