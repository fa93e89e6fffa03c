//! Checkpoints of LeRobot, as `lerobot-train` wrote them.
//!
//! ```text
//! config.json ──────────────► Config      what the network is, what goes in and out
//! model.safetensors ────────► Weights     mapped into memory
//! policy_*processor.json ───► Processors  normalisation, renaming ──► Scaling
//! train_config.json ────────► Training    dataset, steps
//! sinew.toml ───────────────► Names       joints, units, rate
//!                                 all of it: Checkpoint
//! ```
//!
//! Everything in such a folder may come from a stranger. Sizes are limited before memory is taken,
//! messages name the file and what to do, and a Python pickle is never opened.

pub mod act;
pub mod checkpoint;
pub mod config;
pub mod diffusion;
pub mod features;
pub mod legacy;
pub mod model;
pub mod names;
pub mod normalise;
pub mod processors;
pub mod resnet;
pub mod training;
pub mod weights;

mod attention;
mod build;
mod header;
mod in_graph;
mod json;
mod loading;

pub use checkpoint::Checkpoint;
pub use config::{ActConfig, Architecture, Config, DiffusionConfig, Generation};
pub use features::{Feature, FeatureKind};
pub use header::Dtype;
pub use loading::{CALIBRATION_FILE, Opening, load, load_reference};
pub use names::Names;
pub use normalise::{Affine, Mode, Scaling};
pub use processors::{Processors, Step};
pub use training::Training;
pub use weights::{Weight, Weights};

/// Checks the header of a safetensors file in memory, and how many tensors it has.
///
/// # Errors
/// What is wrong with it.
pub fn check_safetensors(bytes: &[u8]) -> Result<usize, String> {
    let length = header::length(bytes.first_chunk().copied(), bytes.len() as u64)?;
    let (json, data) = bytes[8..].split_at(length);
    header::parse(json, data.len()).map(|entries| entries.len())
}
