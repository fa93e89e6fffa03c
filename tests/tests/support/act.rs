//! A small ACT checkpoint of LeRobot's format that sees joints and surroundings and no camera. All its
//! weights are zero, so every action is the mean of its statistics.

use serde_json::{Map, Value, json};
use std::path::Path;

/// Width of the transformer.
const WIDTH: usize = 16;
/// Width of the latent input.
const LATENT: usize = 8;
/// Steps of a chunk.
pub(crate) const CHUNK: usize = 10;
/// Values of the surroundings.
pub(crate) const SURROUNDINGS: usize = 7;

/// Writes the checkpoint. `mean` is that of every joint, degrees.
pub(crate) fn write(folder: &Path, joints: usize, mean: f32) {
    let features = |names: &[&str]| -> Map<String, Value> {
        let of = |name: &&str| match *name {
            "observation.environment_state" => json!({"type": "ENV", "shape": [SURROUNDINGS]}),
            "action" => json!({"type": "ACTION", "shape": [joints]}),
            _ => json!({"type": "STATE", "shape": [joints]}),
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), of(name)))
            .collect()
    };
    let modes = json!({"STATE": "MEAN_STD", "ACTION": "MEAN_STD"});
    let inputs = features(&["observation.state", "observation.environment_state"]);
    let config = json!({
        "type": "act", "n_obs_steps": 1, "input_features": inputs, "output_features": features(&["action"]),
        "chunk_size": CHUNK, "n_action_steps": CHUNK, "normalization_mapping": modes, "dim_model": WIDTH, "n_heads": 2,
        "dim_feedforward": 2 * WIDTH, "n_encoder_layers": 1, "n_decoder_layers": 1, "use_vae": true, "latent_dim": LATENT,
    });
    let processor = |step: &str| {
        let used = json!({"eps": 1e-8, "features": features(&["observation.state", "action"]), "norm_map": modes});
        json!({"steps": [{"registry_name": step, "config": used, "state_file": "statistics.safetensors"}]})
    };
    let put =
        |name: &str, text: &Value| std::fs::write(folder.join(name), text.to_string()).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    put("config.json", &config);
    put(
        "policy_preprocessor.json",
        &processor("normalizer_processor"),
    );
    put(
        "policy_postprocessor.json",
        &processor("unnormalizer_processor"),
    );
    put(
        "train_config.json",
        &json!({"dataset": {"repo_id": "someone/picks"}, "steps": 1234, "batch_size": 8}),
    );
    let statistics = ["observation.state", "action"].map(|name| {
        [
            (format!("{name}.mean"), vec![joints], mean),
            (format!("{name}.std"), vec![joints], 10.0),
        ]
    });
    safetensors(&folder.join("statistics.safetensors"), &statistics.concat());
    let weights = weights(joints)
        .into_iter()
        .map(|(name, shape)| (name, shape, 0.0));
    safetensors(
        &folder.join("model.safetensors"),
        &weights.collect::<Vec<_>>(),
    );
}

/// Names and shapes of the weights.
fn weights(joints: usize) -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    let mut put =
        |name: String, shape: &[usize]| all.push((format!("model.{name}"), shape.to_vec()));
    let mut linear = |name: &str, out: usize, into: usize| {
        put(format!("{name}.weight"), &[out, into]);
        put(format!("{name}.bias"), &[out]);
    };
    for (layer, attentions) in [
        ("encoder.layers.0", &["self_attn"][..]),
        ("decoder.layers.0", &["self_attn", "multihead_attn"]),
    ] {
        for attention in attentions {
            linear(&format!("{layer}.{attention}.out_proj"), WIDTH, WIDTH);
        }
        linear(&format!("{layer}.linear1"), 2 * WIDTH, WIDTH);
        linear(&format!("{layer}.linear2"), WIDTH, 2 * WIDTH);
    }
    linear("encoder_robot_state_input_proj", WIDTH, joints);
    linear("encoder_env_state_input_proj", WIDTH, SURROUNDINGS);
    linear("encoder_latent_input_proj", WIDTH, LATENT);
    linear("action_head", joints, WIDTH);
    for attention in [
        "encoder.layers.0.self_attn",
        "decoder.layers.0.self_attn",
        "decoder.layers.0.multihead_attn",
    ] {
        put(format!("{attention}.in_proj_weight"), &[3 * WIDTH, WIDTH]);
        put(format!("{attention}.in_proj_bias"), &[3 * WIDTH]);
    }
    let norms = [("encoder.layers.0.norm", 2), ("decoder.layers.0.norm", 3)];
    let norms = norms
        .into_iter()
        .flat_map(|(name, count)| (1..=count).map(move |i| format!("{name}{i}")));
    for norm in norms.chain(["decoder.norm".to_owned()]) {
        put(format!("{norm}.weight"), &[WIDTH]);
        put(format!("{norm}.bias"), &[WIDTH]);
    }
    put(
        "encoder_1d_feature_pos_embed.weight".to_owned(),
        &[3, WIDTH],
    );
    put("decoder_pos_embed.weight".to_owned(), &[CHUNK, WIDTH]);
    all
}

/// A safetensors file of tensors that hold one number each, over and over.
fn safetensors(file: &Path, tensors: &[(String, Vec<usize>, f32)]) {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape, value) in tensors {
        let start = data.len();
        let count = shape.iter().product::<usize>();
        data.extend((0..count).flat_map(|_| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(file, bytes).unwrap();
}
