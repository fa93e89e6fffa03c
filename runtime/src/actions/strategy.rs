//! When a policy is asked, and what becomes of its chunks.

use super::{Blend, ChunkStart, Merge, QueueConfig};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// How long a synchronous strategy keeps sending the last target while it waits for a chunk.
const HOLD: Duration = Duration::from_secs(1);
/// Share of a chunk that is left when the next one is asked for: the default of LeRobot's client.
const REFILL: f64 = 0.5;
/// Largest ratio of the weights of an ensemble, as a power of e: beyond it they are not numbers.
const MAX_EXPONENT: f64 = 600.0;

/// The strategies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyKind {
    /// Play a part of a chunk, stand still while the next one is computed.
    Sync,
    /// Ask for the next chunk while the present one is played, and blend them.
    Async,
    /// Ask at every step, and act on the mean of all predictions.
    Ensemble,
}

impl StrategyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sync, Self::Async, Self::Ensemble];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
            Self::Ensemble => "ensemble",
        }
    }
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StrategyKind {
    type Err = StrategyError;

    fn from_str(name: &str) -> Result<Self, StrategyError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| StrategyError::Unknown(name.to_owned()))
    }
}

/// When a policy is asked, and what becomes of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Strategy {
    /// The first `n_action_steps` actions of a chunk are played; then the policy is asked, and the arm
    /// holds until the next chunk is there (LeRobot's `select_action`).
    Sync {
        /// Actions of a chunk that are played.
        n_action_steps: usize,
    },
    /// The policy is asked when at most the share `refill` of a chunk is left after the present step's
    /// action. A chunk starts at the step of its observation: what comes too late is discarded, what
    /// overlaps is blended (LeRobot's asynchronous inference).
    Async {
        /// Share of a chunk, 0 to 1.
        refill: f64,
        /// How overlapping actions are joined.
        blend: Blend,
    },
    /// The policy is asked at every step, or as often as it can answer, and each step's action is a mean
    /// of all predictions for it (ACT's temporal ensembling; see [`Merge::Ensemble`]).
    Ensemble {
        /// How fast weights fall from old to new.
        coeff: f64,
    },
}

/// What a policy's author says about its chunks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkUse {
    /// Actions in a chunk.
    pub chunk: usize,
    /// Actions that should be played before the policy is asked again.
    pub n_action_steps: usize,
    /// Coefficient of temporal ensembling, where the policy wants it.
    pub ensemble_coeff: Option<f64>,
}

/// What a person asks for. Everything left out follows from the policy.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StrategyWish {
    /// Which strategy. Default: `ensemble` where the policy has a coefficient for it, `async` otherwise.
    pub kind: Option<StrategyKind>,
    /// For `async`. Default: half a chunk, or as much as leaves `n_action_steps` to be played before.
    pub refill: Option<f64>,
    /// For `async`.
    pub blend: Option<Blend>,
    /// For `ensemble`. Default: the policy's, or 0.01, which is ACT's.
    pub coeff: Option<f64>,
    /// For `sync` and `async`.
    pub n_action_steps: Option<usize>,
}

/// Why a strategy cannot be had.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StrategyError {
    /// No strategy has that name.
    #[error("unknown strategy `{0}`; use sync, async or ensemble")]
    Unknown(String),
    /// An option of another strategy.
    #[error(
        "{option} means nothing to strategy {kind}; leave it out, or choose --strategy {other}"
    )]
    Foreign {
        /// The option.
        option: &'static str,
        /// The strategy that was chosen.
        kind: StrategyKind,
        /// The one that the option belongs to.
        other: StrategyKind,
    },
    /// A number out of its range.
    #[error("{option} {value}: choose {allowed}")]
    Range {
        /// The option.
        option: &'static str,
        /// What was asked for.
        value: f64,
        /// What may be asked for.
        allowed: String,
    },
}

impl StrategyWish {
    /// The strategy for a policy.
    pub fn resolve(&self, policy: &ChunkUse) -> Result<Strategy, StrategyError> {
        let kind = self.kind.unwrap_or(match policy.ensemble_coeff {
            Some(_) => StrategyKind::Ensemble,
            None => StrategyKind::Async,
        });
        self.refuse_foreign(kind)?;
        let steps = self.n_action_steps.unwrap_or(policy.n_action_steps);
        if !(1..=policy.chunk).contains(&steps) {
            return Err(StrategyError::Range {
                option: "--n-action-steps",
                value: steps as f64,
                allowed: format!("1 to {}, the length of this policy's chunks", policy.chunk),
            });
        }
        let strategy = match kind {
            StrategyKind::Sync => Strategy::Sync {
                n_action_steps: steps,
            },
            StrategyKind::Async => Strategy::Async {
                refill: self
                    .refill
                    .unwrap_or_else(|| REFILL.max(1.0 - steps as f64 / policy.chunk as f64)),
                blend: self.blend.unwrap_or_default(),
            },
            StrategyKind::Ensemble => Strategy::Ensemble {
                coeff: self.coeff.or(policy.ensemble_coeff).unwrap_or(0.01),
            },
        };
        strategy.check(policy.chunk)?;
        Ok(strategy)
    }

    fn refuse_foreign(&self, kind: StrategyKind) -> Result<(), StrategyError> {
        let asynchronous = [
            ("--refill", self.refill.is_some()),
            ("--blend", self.blend.is_some()),
        ]
        .map(|(option, given)| (option, given, StrategyKind::Async));
        let others = [
            (
                "--ensemble-coeff",
                self.coeff.is_some(),
                StrategyKind::Ensemble,
            ),
            (
                "--n-action-steps",
                self.n_action_steps.is_some() && kind == StrategyKind::Ensemble,
                StrategyKind::Sync,
            ),
        ];
        let foreign = asynchronous
            .into_iter()
            .chain(others)
            .find(|&(_, given, owner)| given && owner != kind);
        match foreign {
            Some((option, _, other)) => Err(StrategyError::Foreign {
                option,
                kind,
                other,
            }),
            None => Ok(()),
        }
    }
}

impl Strategy {
    /// Which one it is.
    pub fn kind(&self) -> StrategyKind {
        match self {
            Self::Sync { .. } => StrategyKind::Sync,
            Self::Async { .. } => StrategyKind::Async,
            Self::Ensemble { .. } => StrategyKind::Ensemble,
        }
    }

    /// Settings of a queue for chunks of `chunk` actions of `joints` joints, one a `period`.
    pub fn queue(&self, joints: usize, chunk: usize, period: Duration) -> QueueConfig {
        let base = QueueConfig::new(joints, chunk);
        match *self {
            Self::Sync { n_action_steps } => QueueConfig {
                used: n_action_steps,
                refill_at: 0,
                start: ChunkStart::AtArrival,
                hold: (HOLD.as_secs_f64() / period.as_secs_f64()) as u64,
                ..base
            },
            // LeRobot looks at its queue after it took the step's action; here it is still in.
            Self::Async { refill, blend } => QueueConfig {
                refill_at: (refill * chunk as f64).floor() as usize + 1,
                merge: Merge::Blend(blend),
                ..base
            },
            Self::Ensemble { coeff } => QueueConfig {
                refill_at: usize::MAX,
                merge: Merge::Ensemble { coeff },
                ..base
            },
        }
    }

    fn check(&self, chunk: usize) -> Result<(), StrategyError> {
        let out_of_range = |option, value, allowed| {
            Err(StrategyError::Range {
                option,
                value,
                allowed,
            })
        };
        match *self {
            Self::Async { refill, .. } if !(0.0..=1.0).contains(&refill) => out_of_range(
                "--refill",
                refill,
                "a share of a chunk from 0 to 1".to_owned(),
            ),
            Self::Ensemble { coeff } => {
                let most = MAX_EXPONENT / chunk.max(1) as f64;
                if coeff.abs() <= most {
                    return Ok(());
                }
                let allowed = format!("−{most} to {most}; 0.01 is ACT's");
                out_of_range("--ensemble-coeff", coeff, allowed)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync { n_action_steps } => write!(f, "sync, {n_action_steps} steps a chunk"),
            Self::Async { refill, blend } => write!(f, "async, refill at {refill}, {blend}"),
            Self::Ensemble { coeff } => write!(f, "ensemble, coefficient {coeff}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACT: ChunkUse = ChunkUse {
        chunk: 100,
        n_action_steps: 100,
        ensemble_coeff: None,
    };

    fn async_at(refill: f64) -> Strategy {
        Strategy::Async {
            refill,
            blend: Blend::WeightedAverage,
        }
    }

    #[test]
    fn what_is_left_out_follows_from_the_policy() {
        let wish = StrategyWish::default();
        assert_eq!(wish.resolve(&ACT), Ok(async_at(0.5)));
        let short = ChunkUse {
            n_action_steps: 10,
            ..ACT
        };
        assert_eq!(wish.resolve(&short), Ok(async_at(0.9)));
        let ensembled = ChunkUse {
            ensemble_coeff: Some(0.05),
            n_action_steps: 1,
            ..ACT
        };
        assert_eq!(
            wish.resolve(&ensembled),
            Ok(Strategy::Ensemble { coeff: 0.05 })
        );
        let sync = StrategyWish {
            kind: Some(StrategyKind::Sync),
            ..wish
        };
        assert_eq!(
            sync.resolve(&short),
            Ok(Strategy::Sync { n_action_steps: 10 })
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let refused = |wish: StrategyWish| wish.resolve(&ACT).unwrap_err().to_string();
        let sync = StrategyWish {
            kind: Some(StrategyKind::Sync),
            ..StrategyWish::default()
        };
        let wish = StrategyWish {
            refill: Some(0.2),
            ..sync
        };
        assert!(refused(wish).contains("--refill means nothing to strategy sync"));
        for (wish, said) in [
            (
                StrategyWish {
                    n_action_steps: Some(101),
                    ..sync
                },
                "1 to 100",
            ),
            (
                StrategyWish {
                    refill: Some(f64::NAN),
                    ..StrategyWish::default()
                },
                "from 0 to 1",
            ),
            (
                StrategyWish {
                    kind: Some(StrategyKind::Ensemble),
                    coeff: Some(7.0),
                    ..StrategyWish::default()
                },
                "−6 to 6",
            ),
        ] {
            let message = refused(wish);
            assert!(message.contains(said), "{message}");
        }
        let error = "soon".parse::<StrategyKind>().unwrap_err();
        assert!(error.to_string().contains("sync, async or ensemble"));
    }

    #[test]
    fn thresholds_count_the_present_step() {
        let period = Duration::from_millis(20);
        let config = async_at(0.5).queue(6, 9, period);
        assert_eq!((config.refill_at, config.hold), (5, 0));
        let config = Strategy::Sync { n_action_steps: 3 }.queue(6, 9, period);
        assert_eq!((config.refill_at, config.used, config.hold), (0, 3, 50));
    }
}
