//! Weights of 8 bits.

use crate::graph::{DataType, GraphBuilder, Value};

/// Largest quantised value: symmetric, so that zero is exact and needs no offset. One bit is left
/// free, because processors without VNNI, and RTen on some that have it, add two products of an
/// activation (0 to 255) and a weight in 16 bits; above 63 that sum saturates without a word.
const LARGEST: f32 = 63.0;
/// Side of a tile while a matrix is transposed, elements: both sides of it fit in the first cache.
const TILE: usize = 64;

/// Which axis of a stored tensor becomes the columns of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// The first: a convolution's outputs.
    First,
    /// All but the first: a transposed convolution's outputs and taps.
    Last,
}

/// A stored tensor as a matrix `[depth, columns]` of i8, and the scale of each column.
pub(super) fn quantised(
    b: &mut GraphBuilder,
    name: &str,
    stored: &[usize],
    columns: Columns,
) -> (Value, Value) {
    let data = b.weight_data(name, stored);
    let first = stored.first().copied().unwrap_or(1);
    let rest = stored.iter().skip(1).product();
    let (depth, width) = match columns {
        Columns::First => (rest, first),
        Columns::Last => (first, rest),
    };
    let scales = match columns {
        Columns::First => rows_scales(&data, rest),
        Columns::Last => columns_scales(&data, rest),
    };
    let bytes = match columns {
        Columns::First => transposed(&data, &scales, depth),
        Columns::Last => straight(&data, &scales),
    };
    let weight = b.raw_constant(&format!("{name}.i8"), DataType::I8, &[depth, width], bytes);
    let scale = b.constant(&format!("{name}.scale"), &[width], &scales);
    (weight, scale)
}

fn scale(largest: f32) -> f32 {
    // A column of zeros stays zeros with any scale.
    if largest > 0.0 {
        largest / LARGEST
    } else {
        1.0
    }
}

fn rows_scales(data: &[f32], depth: usize) -> Vec<f32> {
    let rows = data.chunks(depth.max(1));
    rows.map(|row| scale(row.iter().fold(0.0, |most, w| w.abs().max(most))))
        .collect()
}

fn columns_scales(data: &[f32], width: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; width];
    for row in data.chunks(width.max(1)) {
        for (most, w) in largest.iter_mut().zip(row) {
            *most = w.abs().max(*most);
        }
    }
    largest.into_iter().map(scale).collect()
}

fn rounded(weight: f32, inverse: f32) -> u8 {
    // `as` saturates; the cast to u8 keeps the bits.
    ((weight * inverse).round_ties_even() as i8) as u8
}

/// Rows of `depth` elements become columns.
fn transposed(data: &[f32], scales: &[f32], depth: usize) -> Vec<u8> {
    let width = scales.len();
    let mut bytes = vec![0u8; data.len()];
    for column in (0..width).step_by(TILE) {
        for row in (0..depth).step_by(TILE) {
            for c in column..(column + TILE).min(width) {
                let inverse = 1.0 / scales[c];
                let from = &data[c * depth..(c + 1) * depth];
                for r in row..(row + TILE).min(depth) {
                    bytes[r * width + c] = rounded(from[r], inverse);
                }
            }
        }
    }
    bytes
}

fn straight(data: &[f32], scales: &[f32]) -> Vec<u8> {
    let inverse: Vec<f32> = scales.iter().map(|scale| 1.0 / scale).collect();
    let rows = data.chunks(scales.len().max(1));
    rows.flat_map(|row| row.iter().zip(&inverse).map(|(w, i)| rounded(*w, *i)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_give_the_same_matrix_and_round_to_half_a_step() {
        let (depth, width) = (70, 131);
        let at = |r: usize, c: usize| ((r * 37 + c * 101) % 1009) as f32 / 1009.0 - 0.4;
        let rows: Vec<f32> = (0..depth)
            .flat_map(|r| (0..width).map(move |c| at(r, c)))
            .collect();
        let columns: Vec<f32> = (0..width)
            .flat_map(|c| (0..depth).map(move |r| at(r, c)))
            .collect();
        let scales = columns_scales(&rows, width);
        assert_eq!(scales, rows_scales(&columns, depth));
        let bytes = straight(&rows, &scales);
        assert_eq!(bytes, transposed(&columns, &scales, depth));
        for (i, byte) in bytes.iter().enumerate() {
            let scale = scales[i % width];
            let back = f32::from(*byte as i8) * scale;
            assert!((back - rows[i]).abs() <= 0.5001 * scale);
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        assert_eq!(rows_scales(&[0.0, 0.0, 1.0, -63.0], 2), [1.0, 1.0]);
        assert_eq!(
            transposed(&[0.0, 0.0, 1.0, -2.54], &[1.0, 0.02], 2),
            [0, 50, 0, 129]
        );
    }
}
