//! Rows of an episode as numbers that are equal where their contents are.

use super::Dataset;
use super::cells::{other, picture_bytes};
use crate::error::Result;
use std::hash::{DefaultHasher, Hash, Hasher};

impl Dataset {
    /// A number for each row of a feature that is kept in the parquet file: equal values give equal
    /// numbers, whatever their type.
    pub(crate) fn row_hashes(&self, episode: u64, name: &str) -> Result<Vec<u64>> {
        let feature = self.feature(name)?;
        if feature.is_numeric() {
            let series = self.series(episode, name)?;
            let rows = series.values.chunks(series.width.max(1));
            return Ok(rows.map(of_numbers).collect());
        }
        let entry = self.episode(episode)?;
        let mut hashes = Vec::with_capacity(self.rows_of(entry)?);
        self.each_cell(entry, name, |path, array, row| {
            let mut hasher = DefaultHasher::new();
            if feature.is_camera() {
                picture_bytes(path, array, row)?.hash(&mut hasher);
            } else {
                // Both kinds of value print every part of what they hold.
                format!("{:?}", other(path, array, row)?).hash(&mut hasher);
            }
            hashes.push(hasher.finish());
            Ok(())
        })?;
        Ok(hashes)
    }
}

fn of_numbers(row: &[f64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in row {
        // One zero, and one not-a-number.
        let value = if value.is_nan() {
            f64::NAN
        } else {
            value + 0.0
        };
        hasher.write_u64(value.to_bits());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_have_equal_hashes() {
        assert_eq!(of_numbers(&[0.0, f64::NAN]), of_numbers(&[-0.0, -f64::NAN]));
        assert_ne!(of_numbers(&[1.0, 2.0]), of_numbers(&[2.0, 1.0]));
    }
}
