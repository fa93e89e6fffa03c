//! ACT on a small checkpoint of random weights, without lerobot: what must agree with itself.

mod support;

use sinew_policies::graph::quantize::Recorder;
use sinew_policies::lerobot::act::Network;
use sinew_policies::lerobot::model::ActOptions;
use sinew_policies::lerobot::{Checkpoint, Opening, load, load_reference};
use sinew_policies::{
    EngineChoice, EngineOptions, LoadOptions, Policy, PolicyError, PolicyInput, Precision, Provider,
};
use sinew_runtime::{Frame, JointState, JointTarget};
use std::path::Path;
use std::sync::Arc;
use support::golden::apart;
use support::tiny_act::tiny_act;
use support::{features, with_ort_library};

const ENGINES: [EngineChoice; 2] = [EngineChoice::Ort, EngineChoice::Rten];

fn frame(height: u32, number: u32) -> Frame {
    let data = (0..3 * 48 * height).map(|i| ((i * 7 + i / 48 * 13) * (number + 1) % 251) as u8);
    Frame::new(48, height, data.collect())
}

fn joints(number: u32) -> JointState {
    let mut joints = JointState {
        seq: u64::from(number) + 1,
        len: 2,
        ..JointState::default()
    };
    joints.position[0] = 0.02 + 0.001 * f64::from(number);
    joints.position[1] = 0.035;
    joints
}

fn policy(folder: &Path, options: LoadOptions) -> Policy {
    let offered = features(&["a", "b"]).with_cameras(["wrist", "other", "front"]);
    Policy::load(folder, options, offered).unwrap()
}

/// The chunk's positions for an observation.
fn ask(policy: &mut Policy, number: u32) -> Vec<f32> {
    let (wrist, other, front) = (frame(37, number), frame(8, 0), frame(32, number));
    let state = joints(number);
    let images = [&wrist, &other, &front];
    let input = PolicyInput {
        images: &images,
        ..PolicyInput::new(&state)
    };
    let mut chunk = Vec::new();
    policy.infer(&input, &mut chunk).unwrap();
    positions(&chunk)
}

fn positions(chunk: &[JointTarget]) -> Vec<f32> {
    let steps = chunk.iter().flat_map(|target| target.position[..2].iter());
    steps.map(|&x| x as f32).collect()
}

#[test]
fn folding_changes_nothing_and_engines_agree() {
    with_ort_library();
    for pre_norm in [false, true] {
        let folder = tiny_act(pre_norm).write();
        let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
        let mut all = Vec::new();
        for engine in ENGINES {
            let options = EngineOptions {
                engine,
                ..EngineOptions::default()
            };
            let opening = Opening {
                engine: options,
                ..Opening::default()
            };
            let plain = EngineOptions {
                optimise: false,
                ..options
            };
            let fast = load(&checkpoint, &opening).unwrap();
            let reference = load_reference(&checkpoint, &plain).unwrap();
            for mut model in [fast, reference] {
                for image in 0..2 {
                    let pixels = model.image_mut(image).iter_mut().enumerate();
                    pixels.for_each(|(i, x)| *x = (i as f32 * 0.37).sin());
                    model.encode(image).unwrap();
                }
                model.observe(&[0.3, -0.8], &[]);
                all.push(model.act(&ActOptions::default()).unwrap().to_vec());
            }
        }
        for other in &all[1..] {
            let off = apart(other, &all[0]);
            assert!(off < 1e-5, "pre_norm {pre_norm}: {off:e}");
        }
    }
}

#[test]
fn phases_give_what_one_call_gives() {
    let folder = tiny_act(false).write();
    let mut policy = policy(folder.path(), EngineChoice::Rten.into());
    policy.warmup().unwrap();
    let at_once = ask(&mut policy, 3);
    policy.reset();
    policy.encode(0, &frame(37, 3)).unwrap();
    policy.encode(2, &frame(32, 3)).unwrap();
    policy.prefix().unwrap();
    let (state, mut chunk) = (joints(3), Vec::new());
    let input = PolicyInput::new(&state);
    policy
        .act(&input, &ActOptions::default(), &mut chunk)
        .unwrap();
    assert_eq!(positions(&chunk), at_once);
    assert_eq!(chunk.len(), 5);
    assert_ne!(ask(&mut policy, 4), at_once);
    let pictures = policy.pictures();
    assert_eq!(
        pictures
            .iter()
            .map(|p| (p.camera, p.width, p.height))
            .collect::<Vec<_>>(),
        [(2, 48, 32), (0, 48, 37)]
    );
}

#[test]
fn a_picture_of_another_size_is_refused_by_name() {
    let folder = tiny_act(false).write();
    let mut policy = policy(folder.path(), EngineChoice::Rten.into());
    let error = policy.encode(2, &frame(33, 0)).unwrap_err().to_string();
    assert!(
        error.contains("`front` gives 48×33 where the network takes 48×32"),
        "{error}"
    );
}

#[test]
fn missing_and_wrong_tensors_are_listed_all_at_once() {
    let mut files = tiny_act(false);
    let length = u64::from_le_bytes(files.weights[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(files.weights[8..8 + length].to_vec()).unwrap();
    let spoilt = header
        .replace("model.action_head.bias", "model.another_head.bias")
        .replace("layer3.0.bn1.running_mean", "layer3.0.bn1.walking_mean");
    files.weights = support::checkpoint::with_header(&spoilt, &files.weights[8 + length..]);
    let folder = files.write();
    let offered = features(&["a", "b"]).with_cameras(["wrist", "front"]);
    let error = Policy::load(folder.path(), EngineChoice::Rten, offered).unwrap_err();
    let PolicyError::Weights { problems, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(problems.len(), 2, "{error}");
    assert!(
        error
            .to_string()
            .contains("`model.action_head.bias` [2] is missing"),
        "{error}"
    );
}

/// Integers on the processor: an error of some hundredths, as 8 bits have, and no more.
#[test]
fn eight_bits_cost_little() {
    with_ort_library();
    let folder = tiny_act(false).write();
    let recorder = Recorder::default();
    let mut watched = policy(
        folder.path(),
        LoadOptions {
            recorder: Some(Arc::clone(&recorder)),
            ..EngineChoice::Ort.into()
        },
    );
    let exact: Vec<f32> = (0..10).flat_map(|i| ask(&mut watched, i)).collect();
    let wanting = policy_error(folder.path());
    assert!(wanting.contains("sinew policy quantize"), "{wanting}");
    recorder.lock().unwrap().write(folder.path()).unwrap();
    for engine in ENGINES {
        let mut integers = policy(
            folder.path(),
            LoadOptions {
                precision: Precision::Int8,
                ..engine.into()
            },
        );
        let found: Vec<f32> = (0..10).flat_map(|i| ask(&mut integers, i)).collect();
        let off = apart(&found, &exact);
        println!("int8 on {engine}: {off}");
        assert!(off > 0.0 && off < 0.06, "{engine}: {off}");
    }
}

/// What was measured must be there as a whole, and be of these weights: floats under the name of
/// integers, or integers scaled for another network, are nothing that anybody asked for.
#[test]
fn ranges_that_are_incomplete_or_of_other_weights_are_refused() {
    let folder = tiny_act(false).write();
    let recorder = Recorder::default();
    let options = LoadOptions {
        recorder: Some(Arc::clone(&recorder)),
        ..EngineChoice::Rten.into()
    };
    ask(&mut policy(folder.path(), options), 0);
    let mut measured = recorder.lock().unwrap().clone();
    measured.write(folder.path()).unwrap();
    let weights = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    let error = policy_error(folder.path());
    assert!(error.contains("other weights"), "{error}");
    let encoder = measured.ranges.get_mut("act/encode").unwrap();
    encoder.pop_last().unwrap();
    measured.write(folder.path()).unwrap();
    let error = policy_error(folder.path());
    assert!(
        error.contains("1 of") && error.contains("sinew policy quantize"),
        "{error}"
    );
}

fn policy_error(folder: &Path) -> String {
    let options = LoadOptions {
        precision: Precision::Int8,
        ..EngineChoice::Rten.into()
    };
    let offered = features(&["a", "b"]).with_cameras(["wrist", "front"]);
    Policy::load(folder, options, offered)
        .unwrap_err()
        .to_string()
}

#[test]
fn sixteen_bit_floats_run_where_the_engine_has_them() {
    with_ort_library();
    let folder = tiny_act(false).write();
    let mut single = policy(folder.path(), EngineChoice::Ort.into());
    let mut half = policy(
        folder.path(),
        LoadOptions {
            precision: Precision::Fp16,
            ..EngineChoice::Ort.into()
        },
    );
    let off = apart(&ask(&mut half, 1), &ask(&mut single, 1));
    assert!(off > 0.0 && off < 0.02, "{off}");
}

#[test]
fn a_provider_that_is_not_there_is_an_error() {
    with_ort_library();
    let folder = tiny_act(false).write();
    for (engine, provider) in [
        (EngineChoice::Ort, Provider::Cuda),
        (EngineChoice::Ort, Provider::TensorRt),
        (EngineChoice::Rten, Provider::Cuda),
    ] {
        let options = LoadOptions {
            provider,
            ..engine.into()
        };
        let offered = features(&["a", "b"]).with_cameras(["wrist", "front"]);
        let error = Policy::load(folder.path(), options, offered).unwrap_err();
        assert!(matches!(error, PolicyError::Provider { .. }), "{error}");
    }
}

/// The file that other programs run takes bytes and units, and gives units.
#[test]
fn the_portable_file_gives_the_same_actions() {
    use sinew_policies::ModelBytes;
    with_ort_library();
    let folder = tiny_act(false).write();
    let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
    let graph = Network::new(&checkpoint).unwrap().build_whole().unwrap();
    let names: Vec<String> = graph.inputs().into_iter().map(|info| info.name).collect();
    let wanted = [
        "observation.state",
        "observation.images.front",
        "observation.images.wrist",
    ];
    assert_eq!(names, wanted);
    let file = graph.to_portable().unwrap();
    for engine in ENGINES {
        let bytes = ModelBytes::new(Path::new("act.onnx"), file.clone()).unwrap();
        let engine = engine.open(bytes, 1).unwrap();
        assert_eq!(engine.inputs().len(), 3);
        assert_eq!(engine.outputs()[0].shape, [Some(5), Some(2)]);
    }
}
