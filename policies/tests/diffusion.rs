//! Diffusion on a small checkpoint of random weights, without lerobot.

mod support;

use sinew_policies::graph::quantize::Recorder;
use sinew_policies::lerobot::model::ActOptions;
use sinew_policies::lerobot::{Checkpoint, Opening, load};
use sinew_policies::{EngineChoice, EngineOptions, Precision};
use std::sync::Arc;
use support::golden::apart;
use support::tiny_diffusion::tiny_diffusion;
use support::with_ort_library;

/// The chunk of one observation.
fn chunk(opening: Opening) -> Vec<f32> {
    let folder = tiny_diffusion().write();
    let checkpoint = Arc::new(Checkpoint::open(folder.path()).unwrap());
    let mut model = load(&checkpoint, &opening).unwrap();
    model.observe(&[0.3, -0.8], &[0.1, 0.2, -0.4]);
    let noise: Vec<f32> = (0..model.noise_len())
        .map(|i| (i as f32 * 0.71).sin())
        .collect();
    let options = ActOptions {
        noise: Some(&noise),
        ..ActOptions::default()
    };
    model.act(&options).unwrap().to_vec()
}

fn on_ort(precision: Precision) -> Opening {
    Opening {
        engine: EngineOptions {
            engine: EngineChoice::Ort,
            ..EngineOptions::default()
        },
        precision,
        ..Opening::default()
    }
}

#[test]
fn sixteen_bit_floats_are_not_single_precision_by_another_name() {
    with_ort_library();
    let (single, half) = (
        chunk(on_ort(Precision::Fp32)),
        chunk(on_ort(Precision::Fp16)),
    );
    let off = apart(&half, &single);
    assert!(off > 0.0 && off < 0.02, "{off}");
}

#[test]
fn a_recorder_sees_the_networks_values() {
    with_ort_library();
    let recorder = Recorder::default();
    let opening = Opening {
        recorder: Some(Arc::clone(&recorder)),
        ..on_ort(Precision::Fp32)
    };
    let watched = chunk(opening);
    assert_eq!(watched.len(), 8);
    assert!(
        recorder
            .lock()
            .unwrap()
            .ranges
            .contains_key("diffusion/unet")
    );
}
