//! The arithmetic of small networks: matrix times vector, and functions of each element.
//!
//! The weights of one layer are laid out in panels of at most 64 outputs, input after input, so that
//! a pass over them is one straight read and each panel's sums stay in registers. The same code is
//! compiled twice: for every machine, and for x86-64 with AVX2 and FMA, chosen when a network is loaded.
//!
//! `unsafe` is used here for calls of functions that need those instructions, after the processor
//! has said that it has them, and for unaligned vector loads within a slice.

#[cfg(target_arch = "x86_64")]
mod avx2;

use half::bf16;

/// Outputs of a full panel: eight registers of eight sums, as many as two multiply-add units of
/// four cycles' latency need to be always busy.
const PANEL: usize = 64;

/// The instructions that kernels may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    /// What the program was compiled for.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// The best that this processor has.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            return Self::Avx2;
        }
        Self::Portable
    }
}

/// How weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// As they are in the file.
    #[default]
    F32,
    /// Rounded to bfloat16, which halves what has to be read; sums stay 32-bit. Without AVX2 in the
    /// processor the rounded numbers are kept as 32-bit ones.
    Bf16,
}

#[derive(Debug)]
enum Panels {
    F32(Vec<f32>),
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "there is no kernel for it")
    )]
    Bf16(Vec<Pair>),
}

/// The weights of two outputs for one input: one in the low half; the whole, read as a float, is the
/// other. The low half thus spoils the other's last bits, so `avx2::paired` chooses its high half with that
/// in mind, and it is no further from the exact weight than rounding would take it.
type Pair = u32;

/// A fully connected layer, `y = W x + b`, its weights in panels.
#[derive(Debug)]
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// Padded to whole panels' width with zeros.
    bias: Vec<f32>,
    /// Panel after panel, each `[inputs][width]`.
    weights: Panels,
}

impl Linear {
    /// Floats of the weights of a layer once they are packed, padding included.
    pub(super) fn packed(inputs: usize, outputs: usize) -> Option<usize> {
        let last = match outputs % PANEL {
            0 => 0,
            left => panel_width(left),
        };
        (outputs / PANEL * PANEL + last).checked_mul(inputs)
    }

    /// Packs weights that `at(output, input)` gives; `bias` is one value an output.
    pub(super) fn pack(
        isa: Isa,
        kept: Weights,
        inputs: usize,
        bias: &[f32],
        at: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let outputs = bias.len();
        let mut weights = Vec::with_capacity(Self::packed(inputs, outputs).unwrap_or(0));
        let mut start = 0;
        while start < outputs {
            let width = panel_width(outputs - start);
            for input in 0..inputs {
                weights.extend((start..start + width).map(|output| {
                    if output < outputs {
                        at(output, input)
                    } else {
                        0.0
                    }
                }));
            }
            start += width;
        }
        let mut padded = bias.to_vec();
        padded.resize(start, 0.0);
        let weights = match (kept, isa) {
            (Weights::F32, _) => Panels::F32(weights),
            (Weights::Bf16, Isa::Portable) => Panels::F32(
                weights
                    .into_iter()
                    .map(|w| bf16::from_f32(w).to_f32())
                    .collect(),
            ),
            #[cfg(target_arch = "x86_64")]
            (Weights::Bf16, Isa::Avx2) => {
                let (blocks, _) = weights.as_chunks::<{ 2 * avx2::LANES }>();
                let pairs = blocks.iter().flat_map(|block| {
                    let (low, high) = block.split_at(avx2::LANES);
                    std::iter::zip(low, high).map(|(&low, &high)| avx2::paired(low, high))
                });
                Panels::Bf16(pairs.collect())
            }
        };
        Self {
            inputs,
            outputs,
            bias: padded,
            weights,
        }
    }

    /// Values of `y`, padding included.
    pub(super) fn padded(&self) -> usize {
        self.bias.len()
    }

    /// Writes `y`, whose length is [`Self::padded`]; `x` has one value an input.
    pub(super) fn apply(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        y.copy_from_slice(&self.bias);
        match (&self.weights, isa) {
            (Panels::F32(weights), Isa::Portable) => self.panels(weights, x, y, portable_panel),
            #[cfg(target_arch = "x86_64")]
            (Panels::F32(weights), Isa::Avx2) => self.panels(weights, x, y, |panel, x, sums| {
                // SAFETY: `Isa::Avx2` is made only when the processor has what it names.
                unsafe { avx2::panel(panel, x, sums) }
            }),
            #[cfg(target_arch = "x86_64")]
            (Panels::Bf16(weights), _) => self.panels(weights, x, y, |panel, x, sums| {
                // SAFETY: pairs are made only for `Isa::Avx2`.
                unsafe { avx2::pair_panel(panel, x, sums) }
            }),
            #[cfg(not(target_arch = "x86_64"))]
            (Panels::Bf16(_), _) => {}
        }
    }

    fn panels<W: Stored>(
        &self,
        mut weights: &[W],
        x: &[f32],
        y: &mut [f32],
        run: impl Fn(&[W], &[f32], &mut [f32]),
    ) {
        let mut start = 0;
        while start < self.outputs {
            let width = panel_width(self.outputs - start);
            let (panel, rest) = weights.split_at(width * self.inputs / W::WEIGHTS);
            run(panel, x, &mut y[start..start + width]);
            start += width;
            weights = rest;
        }
    }
}

/// How many weights an element of a panel holds.
trait Stored {
    const WEIGHTS: usize;
}

impl Stored for f32 {
    const WEIGHTS: usize = 1;
}

impl Stored for Pair {
    const WEIGHTS: usize = 2;
}

/// Width of the next panel when so many outputs are left.
fn panel_width(left: usize) -> usize {
    match left {
        33.. => PANEL,
        17.. => 32,
        _ => 16,
    }
}

fn portable_panel(panel: &[f32], x: &[f32], sums: &mut [f32]) {
    for (row, &x) in panel.chunks_exact(sums.len()).zip(x) {
        for (sum, &weight) in sums.iter_mut().zip(row) {
            *sum += weight * x;
        }
    }
}

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unary {
    /// `max(x, 0)`.
    Relu,
    /// `x`, or the factor times `eˣ − 1` below zero.
    Elu(f32),
    /// `x`, or the factor times `x` below zero.
    LeakyRelu(f32),
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// Square root.
    Sqrt,
    /// `x²`.
    Square,
    /// Limits.
    Clip(f32, f32),
}

impl Unary {
    /// Replaces each `x` by its function.
    pub(super) fn apply(self, isa: Isa, values: &mut [f32]) {
        match isa {
            Isa::Portable => self.each::<false>(values),
            // SAFETY: `Isa::Avx2` is made only when the processor has what it names.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::unary(self, values) },
        }
    }

    #[inline(always)]
    fn each<const FMA: bool>(self, values: &mut [f32]) {
        match self {
            Self::Relu => over(values, |x| if x < 0.0 { 0.0 } else { x }),
            Self::Elu(alpha) => over(values, |x| {
                let below = alpha * (exp::<FMA>(x) - 1.0);
                if x > 0.0 { x } else { below }
            }),
            Self::LeakyRelu(alpha) => over(values, |x| if x < 0.0 { alpha * x } else { x }),
            Self::Tanh => over(values, tanh::<FMA>),
            Self::Sigmoid => over(values, |x| 1.0 / (1.0 + exp::<FMA>(-x))),
            Self::Sqrt => over(values, f32::sqrt),
            Self::Square => over(values, |x| x * x),
            Self::Clip(low, high) => over(values, |x| limit(x, low, high)),
        }
    }
}

#[inline(always)]
fn over(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

/// Like `clamp`, without its panic; not a number stays so.
#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` to two units in the last place: `2ⁿ · eʳ` with r within ± ln 2 / 2 and the polynomial of
/// Cephes' `expf`. Written without branches, so that it becomes vector code.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = limit(x, -87.0, 88.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -0.693_359_4, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = fma::<FMA>(1.987_569_1e-4, r, 1.398_199_9e-3);
    p = fma::<FMA>(p, r, 8.333_452e-3);
    p = fma::<FMA>(p, r, 4.166_579_6e-2);
    p = fma::<FMA>(p, r, 1.666_666_5e-1);
    p = fma::<FMA>(p, r, 0.5);
    let p = fma::<FMA>(p, r * r, r) + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * power
}

/// Hyperbolic tangent: Cephes' polynomial near zero, where the quotient would lose digits.
#[inline(always)]
fn tanh<const FMA: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut p = fma::<FMA>(-5.704_988_7e-3, square, 2.063_909e-2);
    p = fma::<FMA>(p, square, -5.373_971_5e-2);
    p = fma::<FMA>(p, square, 1.333_144_2e-1);
    p = fma::<FMA>(p, square, -3.333_328e-1);
    let near = fma::<FMA>(p * square, x, x);
    let size = x.abs();
    let far = (1.0 - 2.0 / (exp::<FMA>(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// An operation on two vectors of one length, or on a vector and one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    /// `a + b`.
    Add,
    /// `a − b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
}

impl Binary {
    /// Writes `out`; `a` and `b` have its length, or one value for all.
    pub(super) fn apply(self, isa: Isa, a: &[f32], b: &[f32], out: &mut [f32]) {
        match isa {
            Isa::Portable => self.each(a, b, out),
            // SAFETY: `Isa::Avx2` is made only when the processor has what it names.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::binary(self, a, b, out) },
        }
    }

    #[inline(always)]
    fn each(self, a: &[f32], b: &[f32], out: &mut [f32]) {
        match self {
            Self::Add => pairs(a, b, out, |a, b| a + b),
            Self::Sub => pairs(a, b, out, |a, b| a - b),
            Self::Mul => pairs(a, b, out, |a, b| a * b),
            Self::Div => pairs(a, b, out, |a, b| a / b),
        }
    }
}

#[inline(always)]
fn pairs(a: &[f32], b: &[f32], out: &mut [f32], operation: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        (_, &[b]) if a.len() == out.len() => {
            for (out, &a) in out.iter_mut().zip(a) {
                *out = operation(a, b);
            }
        }
        (&[a], _) => {
            for (out, &b) in out.iter_mut().zip(b) {
                *out = operation(a, b);
            }
        }
        _ => {
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = operation(a, b);
            }
        }
    }
}

/// The mean of a vector, summed in eight lanes.
pub(super) fn mean(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    (lanes.iter().sum::<f32>() + rest) / values.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isas() -> Vec<Isa> {
        let mut all = vec![Isa::Portable];
        if Isa::detect() != Isa::Portable {
            all.push(Isa::detect());
        }
        all
    }

    #[test]
    fn a_layer_equals_the_plain_sum() {
        for isa in isas() {
            for (inputs, outputs) in [(1, 1), (7, 12), (45, 64), (100, 29), (33, 200), (16, 48)] {
                let weight = |o: usize, i: usize| ((o * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
                let bias: Vec<f32> = (0..outputs).map(|o| o as f32 / 10.0).collect();
                let x: Vec<f32> = (0..inputs).map(|i| ((i * 7) % 5) as f32 - 2.0).collect();
                let layer = Linear::pack(isa, Weights::F32, inputs, &bias, weight);
                let mut y = vec![9.0; layer.padded()];
                layer.apply(isa, &x, &mut y);
                for (o, y) in y[..outputs].iter().enumerate() {
                    let wanted: f64 = f64::from(bias[o])
                        + (0..inputs)
                            .map(|i| f64::from(weight(o, i)) * f64::from(x[i]))
                            .sum::<f64>();
                    assert!(
                        (f64::from(*y) - wanted).abs() < 1e-4,
                        "{isa:?} {inputs}x{outputs} {o}"
                    );
                }
                assert!(y[outputs..].iter().all(|&y| y == 0.0));
            }
        }
    }

    #[test]
    fn sixteen_bit_weights_give_sums_as_near_as_rounded_weights() {
        let weight = |o: usize, i: usize| ((o * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
        let x: Vec<f32> = (0..45).map(|i| ((i * 7) % 5) as f32 - 2.0).collect();
        for isa in isas() {
            let layer = Linear::pack(isa, Weights::Bf16, 45, &[0.5; 76], weight);
            let mut y = vec![0.0; layer.padded()];
            layer.apply(isa, &x, &mut y);
            for (o, y) in y[..76].iter().enumerate() {
                let products = x.iter().enumerate().map(|(i, x)| x * weight(o, i));
                let most: f32 = products.clone().map(|p| p.abs() / 256.0).sum();
                let off = (y - 0.5 - products.sum::<f32>()).abs();
                assert!(off <= most && (o % 23 == 11 || off > 0.0), "{isa:?} {o}");
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_pair_is_two_rounded_weights() {
        let mut random = 1u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(random)
        };
        let extremes = [0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE];
        let finite = std::iter::repeat_with(&mut next).filter(|w| w.is_finite());
        let weights: Vec<f32> = extremes.into_iter().chain(finite.take(2000)).collect();
        for (i, &high) in weights.iter().enumerate() {
            let low = weights[(i * 7 + 3) % weights.len()];
            let pair = avx2::paired(low, high);
            assert_eq!(pair & 0xffff, u32::from(bf16::from_f32(low).to_bits()));
            let off = (f32::from_bits(pair) - high).abs();
            assert!(off <= high.abs() / 256.0 + 1e-38, "{low} {high}: {off}");
        }
    }

    #[test]
    fn functions_are_as_exact_as_floats_allow() {
        let xs: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 / 1000.0).collect();
        let near = |function: Unary, exact: fn(f64) -> f64, relative: f64| {
            for isa in isas() {
                let mut ys = xs.clone();
                function.apply(isa, &mut ys);
                for (&x, &y) in xs.iter().zip(&ys) {
                    let wanted = exact(f64::from(x));
                    let apart = (f64::from(y) - wanted).abs();
                    assert!(
                        apart <= relative * wanted.abs().max(0.1),
                        "{function:?}({x}): {y}, {wanted}"
                    );
                }
            }
        };
        near(Unary::Tanh, f64::tanh, 2e-7);
        near(Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 3e-7);
        near(
            Unary::Elu(1.0),
            |x| if x > 0.0 { x } else { x.exp_m1() },
            7e-7,
        );
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_extremes_are_finite() {
        for isa in isas() {
            for function in [Unary::Relu, Unary::Elu(1.0), Unary::Tanh, Unary::Sigmoid] {
                let mut values = [f32::NAN; 9];
                function.apply(isa, &mut values);
                assert!(values.iter().all(|v| v.is_nan()), "{function:?}");
                let mut values = [-1e30, 1e30, f32::NEG_INFINITY];
                function.apply(isa, &mut values);
                assert!(values[0].is_finite() && !values[2].is_nan(), "{function:?}");
            }
        }
    }
}
