//! Processing inside a graph that other programs run: bytes of pixels and physical values in,
//! physical values out.

use super::processors::Processors;
use crate::graph::{DataType, GraphBuilder, GraphError, Value};

/// An image's bytes `[n, h, w, colours]` as the network takes them, `[n, colours, h, w]`.
pub(super) fn picture(
    b: &mut GraphBuilder,
    processors: &Processors,
    name: &str,
    pixels: &Value,
) -> Result<Value, GraphError> {
    let colours = pixels.dim(3);
    let pixels = b.transpose(pixels, &[0, 3, 1, 2])?;
    let pixels = b.cast(&pixels, DataType::F32);
    let affine = processors.input(name).map(|s| s.into_network());
    let scale = affine
        .as_ref()
        .map_or(vec![1.0; colours], |a| a.scale.clone());
    let offset = affine.map_or(vec![0.0; colours], |a| a.offset);
    let scale: Vec<f32> = scale
        .iter()
        .map(|s| (f64::from(*s) / 255.0) as f32)
        .collect();
    let scale = b.constant("scale", &[1, colours, 1, 1], &scale);
    let offset = b.constant("offset", &[1, colours, 1, 1], &offset);
    let x = b.mul(&pixels, &scale)?;
    b.add(&x, &offset)
}

/// Vectors `[n, size]`, normalised term by term as LeRobot does.
pub(super) fn vector(
    b: &mut GraphBuilder,
    processors: &Processors,
    name: &str,
    raw: &Value,
) -> Result<Value, GraphError> {
    let Some(scaling) = processors.input(name) else {
        return Ok(raw.clone());
    };
    let size = raw.dim(1);
    let (shift, divisor, bias) = scaling.terms();
    let shift = b.constant("shift", &[size], shift);
    let divisor = b.constant("divisor", &[size], divisor);
    let bias = b.scalar(bias);
    let x = b.sub(raw, &shift)?;
    let x = b.div(&x, &divisor)?;
    b.add(&x, &bias)
}

/// The network's actions `[…, width]` in physical values.
pub(super) fn actions(
    b: &mut GraphBuilder,
    processors: &Processors,
    actions: &Value,
    width: usize,
) -> Result<Value, GraphError> {
    let Some(scaling) = processors.action() else {
        return Ok(actions.clone());
    };
    let affine = scaling.out_of_network();
    let scale = b.constant("scale", &[width], &affine.scale);
    let offset = b.constant("offset", &[width], &affine.offset);
    let scaled = b.mul(actions, &scale)?;
    b.add(&scaled, &offset)
}
