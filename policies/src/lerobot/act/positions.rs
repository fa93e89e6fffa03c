//! The position codes of image tokens.

/// What LeRobot adds to the number of rows and columns.
const EPS: f32 = 1e-6;
/// Base of the wavelengths.
const BASE: f32 = 10_000.0;

/// Codes of a feature map's cells, row by row: `[rows · columns, width]`. The first half of a code
/// tells the row, the second half the column, each as pairs of sine and cosine at falling
/// frequencies; rows and columns count from 1 and are scaled to one turn.
pub(super) fn image(rows: usize, columns: usize, width: usize) -> Vec<f32> {
    let half = width / 2;
    let wavelengths: Vec<f32> = (0..half)
        .map(|channel| BASE.powf((2 * (channel / 2)) as f32 / half as f32))
        .collect();
    let code = |at: usize, of: usize| -> Vec<f32> {
        let turn = (at + 1) as f32 / (of as f32 + EPS) * std::f32::consts::TAU;
        let wave = |(channel, wavelength): (usize, &f32)| {
            let angle = turn / wavelength;
            if channel % 2 == 0 {
                angle.sin()
            } else {
                angle.cos()
            }
        };
        wavelengths.iter().enumerate().map(wave).collect()
    };
    let by_row: Vec<Vec<f32>> = (0..rows).map(|row| code(row, rows)).collect();
    let by_column: Vec<Vec<f32>> = (0..columns).map(|column| code(column, columns)).collect();
    let mut codes = Vec::with_capacity(rows * columns * width);
    for row in &by_row {
        for column in &by_column {
            codes.extend_from_slice(row);
            codes.extend_from_slice(column);
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_rows_from_columns() {
        let codes = image(2, 3, 8);
        assert_eq!(codes.len(), 2 * 3 * 8);
        let cell = |row: usize, column: usize| &codes[(row * 3 + column) * 8..][..8];
        assert_eq!(cell(0, 0)[..4], cell(0, 2)[..4]);
        assert_eq!(cell(0, 1)[4..], cell(1, 1)[4..]);
        assert_ne!(cell(0, 0)[..4], cell(1, 0)[..4]);
        // Half a turn down at the first of two rows.
        assert!((cell(0, 0)[0] - std::f32::consts::PI.sin()).abs() < 1e-5);
        assert!((cell(0, 0)[1] + 1.0).abs() < 1e-5);
    }
}
