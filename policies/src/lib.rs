//! Policies: from a directory with `policy.toml` and an ONNX network to joint targets.
//!
//! The path that data takes:
//!
//! ```text
//! policy.toml ─► Manifest ─┐                 (names, units, normalisation)
//! model.onnx ─► scan ─► Engine (rten | ort) ─┴─► Policy
//! Features (what the robot offers, by name) ──┘     │
//!                     PolicyInput ─► encode ─► Engine::run ─► decode ─► [JointTarget; chunk]
//! ```
//!
//! Everything is bound by name when the policy is loaded; whatever does not fit is reported then,
//! all at once. After the first [`Policy::infer`] nothing outside the engine allocates. Read
//! [`manifest`] first, then [`policy`]; a new engine implements [`Engine`] and gets a name in
//! [`EngineChoice`].

pub mod engine;
pub mod engines;
pub mod error;
pub mod features;
pub mod graph;
pub mod lerobot;
pub mod manifest;
pub mod policy;

mod decode;
mod encode;
mod fit;
mod memory;

pub use engine::{Engine, EngineChoice, EngineOptions, ModelBytes, Provider, Tensor, TensorInfo};
pub use error::PolicyError;
pub use features::{Channel, Features, PolicyInput};
pub use manifest::Manifest;
pub use policy::{LoadOptions, PictureUse, Policy, PolicyInfo, Precision};
