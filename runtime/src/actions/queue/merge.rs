//! What happens where a new chunk overlaps an older one.

use crate::joints::MAX_JOINTS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How an asynchronous strategy joins chunks, by the names and weights of LeRobot's asynchronous client
/// (`AGGREGATE_FUNCTIONS` in `lerobot/async_inference/configs.py`, 0.6.1). What the old chunk had after
/// the new one's end is dropped in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// 0.3 of the old action and 0.7 of the new one.
    #[default]
    WeightedAverage,
    /// The new action.
    LatestOnly,
    /// Half of each.
    Average,
    /// 0.7 of the old action and 0.3 of the new one.
    Conservative,
}

impl Blend {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::WeightedAverage,
        Self::LatestOnly,
        Self::Average,
        Self::Conservative,
    ];

    /// LeRobot's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::WeightedAverage => "weighted_average",
            Self::LatestOnly => "latest_only",
            Self::Average => "average",
            Self::Conservative => "conservative",
        }
    }

    pub(super) fn weights(self) -> (f64, f64) {
        match self {
            Self::WeightedAverage => (0.3, 0.7),
            Self::LatestOnly => (0.0, 1.0),
            Self::Average => (0.5, 0.5),
            Self::Conservative => (0.7, 0.3),
        }
    }
}

impl fmt::Display for Blend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Blend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|blend| blend.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("unknown blend `{name}`; use one of {names}")
            })
    }
}

/// What happens where a new chunk overlaps older ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// The queued action and the new one are joined.
    Blend(Blend),
    /// A mean of everything that was ever predicted for the step, the prediction number `i` of them
    /// weighted by `exp(-coeff * i)`, the oldest being number 0 (ACT's temporal ensembling, Zhao et al.
    /// 2023, algorithm 2, in LeRobot's order of weights).
    Ensemble {
        /// How fast weights fall from old to new; 0 weighs all alike, below 0 favours the newest.
        coeff: f64,
    },
}

impl Default for Merge {
    /// LeRobot's.
    fn default() -> Self {
        Self::Blend(Blend::default())
    }
}

/// [`Merge`] with the weights that it needs, worked out once.
#[derive(Debug)]
pub(super) enum Merger {
    Blend {
        blend: Blend,
    },
    Ensemble {
        /// `exp(-coeff * i)`.
        weights: Vec<f64>,
        /// Sums of the first `i + 1` weights.
        sums: Vec<f64>,
    },
}

impl Merger {
    /// For chunks of at most `chunk` actions: a step is predicted at most that often.
    pub(super) fn new(merge: Merge, chunk: usize) -> Self {
        let coeff = match merge {
            Merge::Blend(blend) => return Self::Blend { blend },
            Merge::Ensemble { coeff } => coeff,
        };
        let weights: Vec<f64> = (0..chunk.max(2))
            .map(|i| (-coeff * i as f64).exp())
            .collect();
        let sums = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self::Ensemble { weights, sums }
    }

    /// Joins `fresh` to what is `held` already, which `count` predictions made.
    pub(super) fn join(&self, held: &mut [f64; MAX_JOINTS], count: u32, fresh: &[f64; MAX_JOINTS]) {
        match self {
            Self::Blend {
                blend: Blend::LatestOnly,
            } => *held = *fresh,
            Self::Blend { blend } => {
                let (old, new) = blend.weights();
                for (held, fresh) in held.iter_mut().zip(fresh) {
                    *held = old * *held + new * fresh;
                }
            }
            Self::Ensemble { weights, sums } => {
                // Only chunks that start at one step twice can predict a step more often than that.
                let count = (count as usize).clamp(1, weights.len() - 1);
                for (held, fresh) in held.iter_mut().zip(fresh) {
                    *held = (*held * sums[count - 1] + fresh * weights[count]) / sums[count];
                }
            }
        }
    }

    /// Whether the end of the newest chunk ends the queue.
    pub(super) fn drops_the_tail(&self) -> bool {
        matches!(self, Self::Blend { .. })
    }
}
