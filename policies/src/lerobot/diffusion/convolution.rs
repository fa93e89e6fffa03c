//! Convolutions over time.
//!
//! A policy's horizon is short: 64 steps at most, and 4 in the deepest level of the usual network
//! with a horizon of 16, where most weights are. Each weight is used in a handful of products, so
//! such a convolution is as fast as its weights can be read. There are three ways to compute it.

use super::quantise::{Columns, quantised};
use crate::graph::{ConvOptions, DataType, GemmOptions, GraphBuilder, GraphError, Value};

/// How convolutions over time are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lowering {
    /// As convolutions.
    #[default]
    Convolution,
    /// As one matrix product each: the window of each step becomes a row, and engines lay out the
    /// weights at load so that each is read once, in a straight line.
    Product,
    /// As [`Lowering::Product`] with weights of 7 bits in bytes, one scale an output channel. Activations are
    /// brought to 8 bits while running, with one scale a layer.
    Int8,
}

/// A convolution of the checkpoint, with `{name}.weight` and `{name}.bias`.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

impl Layer {
    /// Stride 1, as long as before.
    pub(super) fn same(name: String, outputs: usize, kernel: usize) -> Self {
        Self {
            name,
            outputs,
            kernel,
            stride: 1,
        }
    }

    /// From `x` `[1, channels, steps]` to `[1, outputs, steps / stride]`. The kernel is odd and
    /// centred; with a stride of 2 the number of steps is even.
    pub(super) fn apply(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        lowering: Lowering,
    ) -> Result<Value, GraphError> {
        let (channels, bias) = (x.dim(1), format!("{}.bias", self.name));
        let (weight, stored) = (self.weight(), [self.outputs, channels, self.kernel]);
        let bias = b.weight(&bias, &[self.outputs]);
        if lowering == Lowering::Convolution {
            let weight = b.weight(&weight, &stored);
            let options = ConvOptions::square(1, self.stride, self.kernel / 2);
            return b.conv(x, &weight, Some(&bias), &options);
        }
        let windows = self.windows(b, x)?;
        let depth = windows.dim(0);
        // Few weights are not worth the error of 8 bits: those at the network's two ends.
        let small = channels.min(self.outputs) < MIN_QUANTISED;
        let y = if lowering == Lowering::Product || small {
            let weight = b.weight_as(&weight, &stored, &[self.outputs, depth]);
            let options = GemmOptions {
                transpose_a: true,
                transpose_b: true,
                ..GemmOptions::default()
            };
            b.gemm(&windows, &weight, Some(&bias), options)?
        } else {
            let rows = b.transpose(&windows, &[1, 0])?;
            let (weight, scale) = quantised(b, &weight, &stored, Columns::First);
            let y = b.dynamic_matmul(&rows, &weight, &scale)?;
            b.add(&y, &bias)?
        };
        let y = b.transpose(&y, &[1, 0])?;
        let shape = [1, y.dim(0), y.dim(1)];
        b.reshape(&y, &shape)
    }

    fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// What each step of the result sees, as a column: `[channels · kernel, steps]`, in the order of
    /// the stored weights.
    fn windows(&self, b: &mut GraphBuilder, x: &Value) -> Result<Value, GraphError> {
        let (channels, steps, pad) = (x.dim(1), x.dim(2), self.kernel / 2);
        let x = b.reshape(x, &[channels, steps])?;
        if (self.kernel, self.stride) == (1, 1) {
            return Ok(x);
        }
        let padded = b.pad(&x, &[0, pad], &[0, pad])?;
        let made = steps / self.stride;
        let grouped = [channels, padded.dim(1) / self.stride, self.stride];
        let grouped = b.reshape(&padded, &grouped)?;
        let mut shifted = Vec::new();
        for place in 0..self.kernel {
            let (first, phase) = (place / self.stride, place % self.stride);
            let part = b.slice(&grouped, 1, first, first + made)?;
            let part = match self.stride {
                1 => part,
                _ => b.slice(&part, 2, phase, phase + 1)?,
            };
            shifted.push(b.reshape(&part, &[channels, made])?);
        }
        let joined = b.concat(&shifted.iter().collect::<Vec<_>>(), 1)?;
        b.reshape(&joined, &[channels * self.kernel, made])
    }
}

/// Layers with fewer channels than this on one side keep weights of 32 bits.
const MIN_QUANTISED: usize = 64;

/// Doubles the number of steps: a transposed convolution with kernel 4, stride 2, padding 1, from
/// `[1, channels, steps]` to `[1, channels, 2 · steps]`.
pub(super) fn upsample(
    b: &mut GraphBuilder,
    x: &Value,
    name: &str,
    lowering: Lowering,
) -> Result<Value, GraphError> {
    const KERNEL: usize = 4;
    let (channels, steps) = (x.dim(1), x.dim(2));
    let bias = b.weight(&format!("{name}.bias"), &[channels]);
    let (weight, stored) = (format!("{name}.weight"), [channels, channels, KERNEL]);
    if lowering != Lowering::Int8 || channels < MIN_QUANTISED {
        // These have a fiftieth of the network's weights, and engines compute them as a product.
        let weight = b.weight(&weight, &stored);
        return b.conv_transpose(x, &weight, Some(&bias), &ConvOptions::square(1, 2, 1));
    }
    let rows = b.reshape(x, &[channels, steps])?;
    let rows = b.transpose(&rows, &[1, 0])?;
    let (weight, scale) = quantised(b, &weight, &stored, Columns::Last);
    let y = b.dynamic_matmul(&rows, &weight, &scale)?;
    let y = b.reshape(&y, &[steps, channels, KERNEL])?;
    let y = b.transpose(&y, &[2, 1, 0])?;
    let taps = b.split(&y, 0, &[1; KERNEL])?;
    // Step s of the result sees x[(s + 1 − tap) / 2] through each tap for which that is whole.
    let earlier = b.pad(&taps[3], &[0, 0, 1], &[0, 0, 0])?;
    let earlier = b.slice(&earlier, 2, 0, steps)?;
    let later = b.pad(&taps[0], &[0, 0, 0], &[0, 0, 1])?;
    let later = b.slice(&later, 2, 1, steps + 1)?;
    let even = b.add(&taps[1], &earlier)?;
    let odd = b.add(&taps[2], &later)?;
    let wide = [1, channels, steps, 1];
    let (even, odd) = (b.reshape(&even, &wide)?, b.reshape(&odd, &wide)?);
    let y = b.concat(&[&even, &odd], 3)?;
    let y = b.reshape(&y, &[1, channels, 2 * steps])?;
    let bias = b.reshape(&bias, &[1, channels, 1])?;
    b.add(&y, &bias)
}

/// `x · tanh(log(1 + exp(x)))` by one exponential: with `n = eˣ (eˣ + 2)` it is `x · n / (n + 2)`.
/// Above the bound the quotient is 1 in single precision.
pub(super) fn mish(b: &mut GraphBuilder, x: &Value) -> Result<Value, GraphError> {
    const BOUND: f32 = 20.0;
    debug_assert_eq!(x.dtype(), DataType::F32);
    let two = b.scalar(2.0);
    let bounded = b.clip(x, f32::MIN, BOUND);
    let e = b.exp(&bounded);
    let n = b.add(&e, &two)?;
    let n = b.mul(&e, &n)?;
    let below = b.add(&n, &two)?;
    let share = b.div(&n, &below)?;
    b.mul(x, &share)
}
