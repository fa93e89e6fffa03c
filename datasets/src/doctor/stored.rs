//! One feature's stored statistics against those of the data.
//!
//! Everything is recomputed from all rows. Tolerances, with S the largest magnitude and R the range
//! of an entry: minimum, maximum and mean within 1e-5·S, because lerobot computes in float32;
//! variance within 4e-6·S² + 1e-3 of itself, because lerobot takes it as a difference of squares;
//! quantiles by rank, within two bins of lerobot's histogram (R/5000 each). A quantile
//! of the whole dataset may also be the count-weighted mean of the episodes' quantiles, which is
//! what lerobot 0.6.1 writes. Of a matrix, lerobot takes all values with the same place on the last
//! axis together.

use crate::stats::{FeatureStats, QUANTILES};

/// Bins of lerobot's quantile histogram.
const BINS: f64 = 5000.0;

/// One feature's stored statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    values: &'a [f64],
    count: f64,
    width: usize,
}

impl<'a> Stored<'a> {
    /// Statistics of `width` entries: nine times `width` values in the order of `stats::VALUE_NAMES`, then
    /// the count; not-a-number where there is nothing.
    pub(crate) fn of(packed: &'a [f64], width: usize) -> Self {
        let (count, values) = packed.split_last().unwrap_or((&f64::NAN, &[]));
        Self {
            values,
            count: *count,
            width,
        }
    }

    fn value(&self, name: usize, entry: usize) -> f64 {
        self.values
            .get(name * self.width + entry)
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// The stored quantile number `quantile`.
    pub(crate) fn quantile(&self, quantile: usize, entry: usize) -> f64 {
        self.value(4 + quantile, entry)
    }

    /// Whether nothing at all is stored.
    pub(crate) fn is_absent(&self) -> bool {
        self.count.is_nan() && self.values.iter().all(|v| v.is_nan())
    }

    /// How far a stored quantile may be off in value.
    pub(crate) fn quantile_slack(&self, entry: usize) -> f64 {
        quantile_slack(self.value(0, entry), self.value(1, entry))
    }

    /// The first value that is not that of the data, which has `rows` rows: entry, and what is
    /// wrong. `quantile_holds` judges a stored quantile (number, entry) by rank.
    pub(crate) fn compare(
        &self,
        found: &FeatureStats,
        rows: u64,
        quantile_holds: impl Fn(usize, usize) -> bool,
    ) -> Option<(usize, String)> {
        let says = |name: &str, said: f64, is: f64| {
            let said = if said.is_nan() {
                "missing".to_owned()
            } else {
                short(said)
            };
            format!("{name} is {said}, but the data give {}", short(is))
        };
        if self.count != rows as f64 {
            return Some((0, says("count", self.count, rows as f64)));
        }
        for entry in 0..self.width.min(found.mean.len()) {
            let (min, max) = (found.min[entry], found.max[entry]);
            let (scale, deviation) = (min.abs().max(max.abs()), found.std[entry]);
            let slack = 1e-5 * scale + 1e-9;
            let variance_slack = 4e-6 * scale * scale + 1e-3 * deviation * deviation + 1e-12;
            let wanted = [
                ("min", 0, min, slack),
                ("max", 1, max, slack),
                ("mean", 2, found.mean[entry], slack),
            ];
            for (name, at, is, slack) in wanted {
                let said = self.value(at, entry);
                if !within(said, is, slack) {
                    return Some((entry, says(name, said, is)));
                }
            }
            let said = self.value(3, entry);
            let (said_square, square) = (said * said, deviation * deviation);
            if !within(said_square, square, variance_slack) || said < 0.0 {
                return Some((entry, says("std", said, deviation)));
            }
            for (number, (name, _)) in QUANTILES.iter().enumerate() {
                if !quantile_holds(number, entry) {
                    let (said, is) = (self.quantile(number, entry), found.quantiles[number][entry]);
                    return Some((entry, says(name, said, is)));
                }
            }
        }
        None
    }
}

/// How far a quantile of values between `min` and `max` may be off: two of lerobot's bins, and what
/// float32 loses.
pub(crate) fn quantile_slack(min: f64, max: f64) -> f64 {
    2.0 * (max - min).abs() / BINS + 1e-5 * min.abs().max(max.abs()) + 1e-9
}

/// Whether two values are the same, give or take `slack`; not-a-number never is.
fn within(said: f64, is: f64, slack: f64) -> bool {
    (said - is).abs() <= slack
}

/// Six digits are enough to see a difference.
fn short(value: f64) -> String {
    let digits = if value.abs() >= 1e6 || (value != 0.0 && value.abs() < 1e-4) {
        return format!("{value:.5e}");
    } else {
        6_usize.saturating_sub(value.abs().max(1.0).log10() as usize)
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Whether a value is the quantile `q` of `n` values, of which `below` are less and `upto` not
/// more than it. Conventions differ in which of the rows around the rank they take, or what
/// between them.
pub(crate) fn rank_holds(q: f64, n: u64, below: u64, upto: u64) -> bool {
    let rank = q * n.saturating_sub(1) as f64;
    let lowest = rank.floor().min((q * n as f64).ceil() - 1.0);
    upto as f64 > lowest && below as f64 <= rank.ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_allow_for_conventions_but_not_for_wrong_values() {
        // 100 values 0..100, q90: 89 (ours), 89.1 (numpy) and 90 all hold; 80 and 95 do not.
        for (below, upto, holds) in [
            (89, 90, true),
            (90, 90, true),
            (90, 91, true),
            (80, 81, false),
            (95, 96, false),
        ] {
            assert_eq!(rank_holds(0.9, 100, below, upto), holds, "{below}");
        }
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<String> = [0.0, 12.5, -3.0, 123456.789, 1e9, 1e-7].map(short).into();
        assert_eq!(
            shown,
            ["0", "12.5", "-3", "123456.8", "1.00000e9", "1.00000e-7"]
        );
    }
}
