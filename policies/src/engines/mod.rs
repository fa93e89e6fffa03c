//! The engines, one file each, and the check that every model file passes before any of them.

pub mod direct;
pub mod onnx_card;
mod onnx_growth;
pub mod onnx_scan;
pub mod ort;
pub mod rten;

mod ort_device;
mod protobuf;
