//! LeRobot's normalisation, in single precision and bit by bit.
//!
//! | mode | into the network | out of it |
//! |---|---|---|
//! | `IDENTITY` | x | y |
//! | `MEAN_STD` | (x − mean) / (std + eps) | y · std + mean |
//! | `MIN_MAX` | 2 (x − min) / d − 1, d = max − min | (y + 1) / 2 · d + min |
//! | `QUANTILES`, `QUANTILE10` | the same with q01 and q99, q10 and q90 | the same |
//!
//! d is eps where it would be 0. Halves and doubles are exact in floating point, so all modes are
//! `(x − shift) / divisor + bias` and `(y − bias) · factor + shift` without a difference in any bit. Folded into
//! one product and one sum the result is another: far from zero, with a small deviation, it loses
//! digits (see [`Scaling::into_network`]).

use super::features::Feature;
use super::weights::Weight;

/// How a feature is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Identity,
    /// To mean 0 and deviation 1.
    MeanStd,
    /// Smallest and largest value to −1 and 1.
    MinMax,
    /// The quantiles of 1 % and 99 % to −1 and 1.
    Quantiles,
    /// The quantiles of 10 % and 90 % to −1 and 1.
    Quantile10,
}

impl Mode {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Identity, "IDENTITY"),
        (Self::MeanStd, "MEAN_STD"),
        (Self::MinMax, "MIN_MAX"),
        (Self::Quantiles, "QUANTILES"),
        (Self::Quantile10, "QUANTILE10"),
    ];

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rows = Self::ALL.iter().filter(|row| row.1 == text);
        rows.next().map(|row| row.0)
    }

    /// LeRobot's word for it.
    pub fn name(self) -> &'static str {
        let mut rows = Self::ALL.iter().filter(|row| row.0 == self);
        rows.next().map_or("", |row| row.1)
    }

    pub(super) fn names() -> String {
        Self::ALL.map(|row| row.1).join(", ")
    }

    /// The statistics that it needs.
    pub(super) fn statistics(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Identity => None,
            Self::MeanStd => Some(["mean", "std"]),
            Self::MinMax => Some(["min", "max"]),
            Self::Quantiles => Some(["q01", "q99"]),
            Self::Quantile10 => Some(["q10", "q90"]),
        }
    }
}

/// One feature's normalisation, both ways. The vectors have one entry a value of the feature, or a
/// colour of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// What is normalised.
    pub feature: Feature,
    /// How.
    pub mode: Mode,
    shift: Vec<f32>,
    divisor: Vec<f32>,
    factor: Vec<f32>,
    bias: f32,
}

/// `y = x · scale + offset`.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// One a value, or a colour.
    pub scale: Vec<f32>,
    /// One a value, or a colour.
    pub offset: Vec<f32>,
}

impl Scaling {
    /// From the two statistics that `mode` needs, each with one number for every channel of the
    /// feature or for all. The error says what is wrong, without the file's name.
    pub(super) fn new(
        feature: &Feature,
        mode: Mode,
        statistics: [Vec<f32>; 2],
        eps: f32,
    ) -> Result<Self, String> {
        let channels = feature.channels();
        let [first, second] = statistics;
        let each = |i: usize| (at(&first, i), at(&second, i));
        let mut scaling = Self {
            feature: feature.clone(),
            mode,
            shift: (0..channels).map(|i| each(i).0).collect(),
            divisor: Vec::with_capacity(channels),
            factor: Vec::with_capacity(channels),
            bias: if mode == Mode::MeanStd { 0.0 } else { -1.0 },
        };
        for i in 0..channels {
            let (low, high) = each(i);
            let (divisor, factor) = if mode == Mode::MeanStd {
                (high + eps, high)
            } else {
                let distance = if high - low == 0.0 { eps } else { high - low };
                (distance / 2.0, distance / 2.0)
            };
            if !(divisor.is_normal() && (1.0 / divisor).is_finite()) {
                return Err(format!(
                    "the statistics of `{}` leave nothing to divide by: {low} and {high} (value {i})",
                    feature.name
                ));
            }
            scaling.divisor.push(divisor);
            scaling.factor.push(factor);
        }
        Ok(scaling)
    }

    /// Number of values with a scale of their own.
    pub fn channels(&self) -> usize {
        self.shift.len()
    }

    /// Value of channel `i` as the network takes it. Equal to LeRobot's in every bit.
    pub fn normalise(&self, i: usize, value: f32) -> f32 {
        (value - self.shift[i]) / self.divisor[i] + self.bias
    }

    /// The network's value of channel `i`, as the robot takes it. Equal to LeRobot's in every bit.
    pub fn unnormalise(&self, i: usize, value: f32) -> f32 {
        (value - self.bias) * self.factor[i] + self.shift[i]
    }

    /// Undoes the normalisation of values row after row, for example of a chunk `[steps, joints]`.
    pub fn unnormalise_rows(&self, values: &mut [f32]) {
        for row in values.chunks_mut(self.channels().max(1)) {
            for (i, value) in row.iter_mut().enumerate() {
                *value = self.unnormalise(i, *value);
            }
        }
    }

    /// `shift`, `divisor` and `bias` of the way in, `(x − shift) / divisor + bias`: for graphs that
    /// compute it as LeRobot does.
    pub fn terms(&self) -> (&[f32], &[f32], f32) {
        (&self.shift, &self.divisor, self.bias)
    }

    /// The way in as one product and one sum, for graphs. Rounding differs from LeRobot's: up to
    /// about `1e-7 · |shift / divisor|`. That is nothing for images, and for joints it is less than
    /// 1e-6 while their mean is below some ten deviations.
    pub fn into_network(&self) -> Affine {
        self.affine(|shift, divisor, _, bias| (1.0 / divisor, bias - shift / divisor))
    }

    /// The way out as one product and one sum. Rounding differs in the last digits of `shift`.
    pub fn out_of_network(&self) -> Affine {
        self.affine(|shift, _, factor, bias| (factor, shift - bias * factor))
    }

    fn affine(&self, of: impl Fn(f64, f64, f64, f64) -> (f64, f64)) -> Affine {
        let all = (0..self.channels()).map(|i| {
            let (scale, offset) = of(
                self.shift[i].into(),
                self.divisor[i].into(),
                self.factor[i].into(),
                self.bias.into(),
            );
            (scale as f32, offset as f32)
        });
        let (scale, offset) = all.unzip();
        Affine { scale, offset }
    }

    /// The value that becomes 0 in the network (a mean, or the middle), and the distance from it
    /// that becomes 1.
    pub fn centre(&self, i: usize) -> (f32, f32) {
        (self.unnormalise(i, 0.0), self.factor[i])
    }
}

fn at(values: &[f32], i: usize) -> f32 {
    values.get(i).or(values.first()).copied().unwrap_or(0.0)
}

/// Looks up the statistics that `mode` needs. `None`: there are none of this feature at all.
pub(super) fn scaling<'a>(
    feature: &Feature,
    mode: Mode,
    eps: f32,
    statistic: impl Fn(&str) -> Option<Weight<'a>>,
) -> Result<Option<Scaling>, String> {
    let Some(names) = mode.statistics() else {
        return Ok(None);
    };
    let [first, second] = match names.map(&statistic) {
        [None, None] => return Ok(None),
        [Some(first), Some(second)] => [first, second],
        [first, _] => {
            let missing = names[usize::from(first.is_some())];
            return Err(format!(
                "`{}` is normalised by {}, and its statistic `{missing}` is missing",
                feature.name,
                mode.name()
            ));
        }
    };
    let values = [check(feature, first)?, check(feature, second)?];
    Scaling::new(feature, mode, values, eps).map(Some)
}

fn check(feature: &Feature, weight: Weight<'_>) -> Result<Vec<f32>, String> {
    let (wanted, got) = (feature.channels(), weight.len());
    if got != wanted && got != 1 {
        return Err(format!(
            "statistic `{}` has {got} values where `{}` has {wanted}",
            weight.name, feature.name
        ));
    }
    match weight.not_finite() {
        Some(problem) => Err(format!(
            "{problem}; its statistics were never computed, or the file is damaged"
        )),
        None => Ok(weight.to_f32().into_owned()),
    }
}
