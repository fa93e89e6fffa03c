//! An ACT checkpoint that is small enough for every test run: two cameras, a residual network eight
//! channels wide, a transformer of width 16.

use super::checkpoint::{Files, Tensor, floats, safetensors, tensor};
use serde_json::json;

const WIDTH: usize = 16;
const HIDDEN: usize = 24;
const CHANNELS: usize = 8;
const STEPS: usize = 5;

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

pub(crate) struct Weights {
    rng: Random,
    pub(crate) tensors: Vec<Tensor>,
}

impl Weights {
    pub(crate) fn new() -> Self {
        Self {
            rng: Random(7),
            tensors: Vec::new(),
        }
    }

    /// Uniform numbers around `centre`.
    pub(crate) fn add(&mut self, name: &str, shape: &[usize], centre: f32, spread: f32) {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| centre + spread * self.rng.next())
            .collect();
        self.tensors
            .push(tensor(name, "F32", shape, &floats(&values)));
    }

    pub(crate) fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        let spread = 1.5 / (inputs as f32).sqrt();
        self.add(&format!("{name}.weight"), &[outputs, inputs], 0.0, spread);
        self.add(&format!("{name}.bias"), &[outputs], 0.0, 0.2);
    }

    fn norm(&mut self, name: &str) {
        self.add(&format!("{name}.weight"), &[WIDTH], 1.0, 0.2);
        self.add(&format!("{name}.bias"), &[WIDTH], 0.0, 0.2);
    }

    fn conv(&mut self, conv: &str, norm: &str, inputs: usize, kernel: usize) {
        let shape = [CHANNELS, inputs, kernel, kernel];
        let spread = 1.5 / ((inputs * kernel * kernel) as f32).sqrt();
        self.add(&format!("{conv}.weight"), &shape, 0.0, spread);
        for (part, centre) in [
            ("weight", 1.0),
            ("bias", 0.0),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            self.add(&format!("{norm}.{part}"), &[CHANNELS], centre, 0.3);
        }
    }

    fn attention(&mut self, name: &str) {
        self.add(
            &format!("{name}.in_proj_weight"),
            &[3 * WIDTH, WIDTH],
            0.0,
            0.4,
        );
        self.add(&format!("{name}.in_proj_bias"), &[3 * WIDTH], 0.0, 0.2);
        self.linear(&format!("{name}.out_proj"), WIDTH, WIDTH);
    }

    fn layer(&mut self, name: &str, attentions: &[&str]) {
        for attention in attentions {
            self.attention(&format!("{name}.{attention}"));
        }
        self.linear(&format!("{name}.linear1"), WIDTH, HIDDEN);
        self.linear(&format!("{name}.linear2"), HIDDEN, WIDTH);
        for norm in 1..=attentions.len() + 1 {
            self.norm(&format!("{name}.norm{norm}"));
        }
    }

    fn backbone(&mut self) {
        self.conv("model.backbone.conv1", "model.backbone.bn1", 3, 7);
        for stage in 1..=4 {
            let block = format!("model.backbone.layer{stage}.0");
            for conv in 1..=2 {
                self.conv(
                    &format!("{block}.conv{conv}"),
                    &format!("{block}.bn{conv}"),
                    CHANNELS,
                    3,
                );
            }
            if stage > 1 {
                let down = format!("{block}.downsample");
                self.conv(&format!("{down}.0"), &format!("{down}.1"), CHANNELS, 1);
            }
        }
        let name = "model.encoder_img_feat_input_proj";
        self.add(
            &format!("{name}.weight"),
            &[WIDTH, CHANNELS, 1, 1],
            0.0,
            0.4,
        );
        self.add(&format!("{name}.bias"), &[WIDTH], 0.0, 0.2);
    }
}

/// The files of the checkpoint. `pre_norm` as LeRobot means it.
pub(crate) fn tiny_act(pre_norm: bool) -> Files {
    let mut w = Weights::new();
    w.backbone();
    for layer in 0..2 {
        w.layer(&format!("model.encoder.layers.{layer}"), &["self_attn"]);
        w.layer(
            &format!("model.decoder.layers.{layer}"),
            &["self_attn", "multihead_attn"],
        );
    }
    if pre_norm {
        w.norm("model.encoder.norm");
    }
    w.norm("model.decoder.norm");
    w.linear("model.encoder_robot_state_input_proj", 2, WIDTH);
    w.linear("model.encoder_latent_input_proj", 4, WIDTH);
    w.add(
        "model.encoder_1d_feature_pos_embed.weight",
        &[2, WIDTH],
        0.0,
        1.0,
    );
    w.add("model.decoder_pos_embed.weight", &[STEPS, WIDTH], 0.0, 1.0);
    w.linear("model.action_head", WIDTH, 2);
    let mut files = Files {
        weights: safetensors(&w.tensors),
        ..Files::default()
    };
    let image = |height: usize| json!({"type": "VISUAL", "shape": [3, height, 48]});
    let config = files.config.as_object_mut().unwrap();
    config.insert("chunk_size".into(), json!(STEPS));
    config.insert("n_action_steps".into(), json!(STEPS));
    config.insert("dim_feedforward".into(), json!(HIDDEN));
    config.insert("n_encoder_layers".into(), json!(2));
    config.insert("n_decoder_layers".into(), json!(2));
    config.insert("latent_dim".into(), json!(4));
    config.insert("pre_norm".into(), json!(pre_norm));
    config.insert(
        "input_features".into(),
        json!({
            "observation.state": {"type": "STATE", "shape": [2]},
            "observation.images.front": image(32),
            "observation.images.wrist": image(37),
        }),
    );
    files
}
