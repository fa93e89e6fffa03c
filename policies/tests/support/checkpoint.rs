//! A small checkpoint in a folder, to be spoilt.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The files of a valid ACT checkpoint, each of which a test may change before it is written.
pub(crate) struct Files {
    pub(crate) config: Value,
    pub(crate) pre: Value,
    pub(crate) post: Value,
    pub(crate) weights: Vec<u8>,
    pub(crate) statistics: Vec<u8>,
}

impl Default for Files {
    fn default() -> Self {
        let normaliser = |name: &str| {
            json!({"registry_name": name, "state_file": "state.safetensors", "config": {
                "eps": 1e-8,
                "features": {
                    "observation.state": {"type": "STATE", "shape": [2]},
                    "action": {"type": "ACTION", "shape": [2]},
                },
                "norm_map": {"STATE": "MEAN_STD", "ACTION": "MIN_MAX"},
            }})
        };
        let numbers = |name: &str, values: [f32; 2]| tensor(name, "F32", &[2], &floats(&values));
        Self {
            config: json!({
                "type": "act",
                "n_obs_steps": 1,
                "input_features": {
                    "observation.state": {"type": "STATE", "shape": [2]},
                    "observation.images.front": {"type": "VISUAL", "shape": [3, 32, 32]},
                },
                "output_features": {"action": {"type": "ACTION", "shape": [2]}},
                "chunk_size": 4,
                "n_action_steps": 4,
                "dim_model": 16,
                "n_heads": 2,
            }),
            pre: json!({"name": "policy_preprocessor", "steps": [
                {"registry_name": "to_batch_processor", "config": {}},
                normaliser("normalizer_processor"),
            ]}),
            post: json!({"name": "policy_postprocessor", "steps": [
                normaliser("unnormalizer_processor"),
            ]}),
            weights: safetensors(&[tensor("model.a", "F32", &[2, 3], &floats(&[0.5; 6]))]),
            statistics: safetensors(&[
                numbers("observation.state.mean", [1.0, 2.0]),
                numbers("observation.state.std", [0.5, 0.25]),
                numbers("action.min", [-1.0, -2.0]),
                numbers("action.max", [3.0, 2.0]),
            ]),
        }
    }
}

impl Files {
    /// Writes all files into a new folder.
    pub(crate) fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let put =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        put("config.json", self.config.to_string().as_bytes());
        put("policy_preprocessor.json", self.pre.to_string().as_bytes());
        put(
            "policy_postprocessor.json",
            self.post.to_string().as_bytes(),
        );
        put("model.safetensors", &self.weights);
        put("state.safetensors", &self.statistics);
        folder
    }
}

/// A tensor's name, header entry without its place, and bytes.
pub(crate) type Tensor = (String, Value, Vec<u8>);

pub(crate) fn tensor(name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) -> Tensor {
    (
        name.to_owned(),
        json!({"dtype": dtype, "shape": shape}),
        bytes.to_vec(),
    )
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A safetensors file of these tensors, one after the other.
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, entry, bytes) in tensors {
        let mut entry = entry.clone();
        entry["data_offsets"] = json!([data.len(), data.len() + bytes.len()]);
        header.insert(name.clone(), entry);
        data.extend(bytes);
    }
    with_header(&Value::Object(header).to_string(), &data)
}

/// A safetensors file with a header as given.
pub(crate) fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A file in a folder.
pub(crate) fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
