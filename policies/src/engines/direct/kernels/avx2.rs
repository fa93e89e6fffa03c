//! The kernels of processors with AVX2 and FMA, and the form in which they read 16-bit weights.

use super::{Binary, Pair, Unary};
use half::bf16;
use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_prefetch, _mm256_castsi256_ps, _mm256_fmadd_ps,
    _mm256_set1_ps, _mm256_slli_epi32,
};

/// Sums of one register.
pub(super) const LANES: usize = 8;
/// How far ahead of their use weights are asked for, bytes.
const AHEAD: usize = 2048;

/// Adds one panel's products to `sums`, whose length is the panel's width.
#[target_feature(enable = "avx2,fma")]
pub(super) fn panel(panel: &[f32], x: &[f32], sums: &mut [f32]) {
    match sums.len() {
        64 => registers::<8>(panel, x, sums),
        32 => registers::<4>(panel, x, sums),
        _ => registers::<2>(panel, x, sums),
    }
}

/// The same, of pairs.
#[target_feature(enable = "avx2,fma")]
pub(super) fn pair_panel(panel: &[Pair], x: &[f32], sums: &mut [f32]) {
    match sums.len() {
        64 => pair_registers::<4>(panel, x, sums),
        32 => pair_registers::<2>(panel, x, sums),
        _ => pair_registers::<1>(panel, x, sums),
    }
}

/// `N` registers hold the sums while all inputs pass.
#[target_feature(enable = "avx2,fma")]
fn registers<const N: usize>(panel: &[f32], x: &[f32], sums: &mut [f32]) {
    let (sums, _) = sums.as_chunks_mut::<8>();
    let Some(sums) = sums.first_chunk_mut::<N>() else {
        return;
    };
    let (rows, _) = panel.as_chunks::<8>().0.as_chunks::<N>();
    let mut held = sums.map(register);
    for (row, &x) in rows.iter().zip(x) {
        ask_ahead::<N, _>(row);
        let x = _mm256_set1_ps(x);
        for l in 0..N {
            held[l] = _mm256_fmadd_ps(register(row[l]), x, held[l]);
        }
    }
    *sums = held.map(numbers);
}

/// `N` times two registers hold the sums while all inputs pass.
#[target_feature(enable = "avx2,fma")]
fn pair_registers<const N: usize>(panel: &[Pair], x: &[f32], sums: &mut [f32]) {
    let (sums, _) = sums.as_chunks_mut::<8>().0.as_chunks_mut::<2>();
    let Some(sums) = sums.first_chunk_mut::<N>() else {
        return;
    };
    let (rows, _) = panel.as_chunks::<8>().0.as_chunks::<N>();
    let mut held = sums.map(|[low, high]| [register(low), register(high)]);
    for (row, &x) in rows.iter().zip(x) {
        ask_ahead::<N, _>(row);
        let x = _mm256_set1_ps(x);
        for l in 0..N {
            // SAFETY: both are eight 32-bit numbers in order.
            let pairs: __m256i = unsafe { std::mem::transmute(row[l]) };
            let low = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
            held[l][0] = _mm256_fmadd_ps(low, x, held[l][0]);
            held[l][1] = _mm256_fmadd_ps(_mm256_castsi256_ps(pairs), x, held[l][1]);
        }
    }
    *sums = held.map(|[low, high]| [numbers(low), numbers(high)]);
}

/// Asks for the weights that will be needed soon: the processor's own prefetching stops at the
/// border of each page.
#[inline(always)]
fn ask_ahead<const N: usize, W>(row: &[[W; 8]; N]) {
    let ahead = std::ptr::from_ref(row).cast::<i8>().wrapping_add(AHEAD);
    for line in 0..N / 2 {
        // SAFETY: SSE is part of x86-64, and a prefetch reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64 * line)) };
    }
}

#[inline(always)]
fn register(values: [f32; 8]) -> __m256 {
    // SAFETY: both are eight 32-bit floats in order.
    unsafe { std::mem::transmute(values) }
}

#[inline(always)]
fn numbers(register: __m256) -> [f32; 8] {
    // SAFETY: both are eight 32-bit floats in order.
    unsafe { std::mem::transmute(register) }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn unary(function: Unary, values: &mut [f32]) {
    function.each::<true>(values);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn binary(operation: Binary, a: &[f32], b: &[f32], out: &mut [f32]) {
    operation.each(a, b, out);
}

/// `low`, rounded, in the low half, and in the high half what makes the whole nearest to `high`.
pub(super) fn paired(low: f32, high: f32) -> Pair {
    let low = u32::from(bf16::from_f32(low).to_bits());
    let near = high.to_bits() & 0xffff_0000;
    // One step towards zero, none, one away from it; never out of the finite numbers or the sign.
    [near.wrapping_sub(1 << 16), near, near.wrapping_add(1 << 16)]
        .into_iter()
        .map(|top| top | low)
        .filter(|&pair| (pair ^ high.to_bits()) >> 31 == 0)
        .filter(|&pair| f32::from_bits(pair).is_finite())
        .min_by(|&a, &b| {
            let off = |pair| (f32::from_bits(pair) - high).abs();
            off(a).total_cmp(&off(b))
        })
        .unwrap_or(near | low)
}
