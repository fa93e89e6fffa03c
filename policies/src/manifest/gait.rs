//! A walking policy's clock: which part of its stride a foot is in.

use serde::Deserialize;
use toml::Spanned;

/// Which function of the phase an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wave {
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

/// The phase of each foot, as a sine or cosine. The clock starts when a velocity is first commanded,
/// runs while one is, and stands at half a stride for all feet otherwise, as walkers are trained.
#[derive(Debug, Clone, PartialEq)]
pub struct GaitPhase {
    /// Sine or cosine.
    pub wave: Wave,
    /// Time of a stride, s.
    pub period_s: f64,
    /// Where in the stride each foot starts, as a share of it: `[0.0, 0.5]` for two feet in turn.
    pub offsets: Vec<f64>,
}

/// The keys of an input of kind `gait_phase`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    wave: Wave,
    period_s: f64,
    offsets: Vec<f64>,
}

impl GaitPhase {
    /// Checks the keys; the error holds their place in the text.
    pub(super) fn check(raw: Spanned<Raw>) -> Result<Self, (usize, String)> {
        let start = raw.span().start;
        let Raw {
            wave,
            period_s,
            offsets,
        } = raw.into_inner();
        if !(0.01..=100.0).contains(&period_s) {
            return Err((start, "`period_s` of `gait` must be 0.01 to 100".to_owned()));
        }
        if !(1..=16).contains(&offsets.len()) || offsets.iter().any(|o| !(0.0..=1.0).contains(o)) {
            let problem = "`offsets` of `gait` must be 1 to 16 numbers from 0 to 1, one a foot";
            return Err((start, problem.to_owned()));
        }
        Ok(Self {
            wave,
            period_s,
            offsets,
        })
    }
}
