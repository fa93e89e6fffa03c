//! Evaluation: many seeded episodes, on several threads, and what they say together.
//!
//! Each worker has a world, cameras and a contestant of its own, and each episode begins anew, so the
//! results do not depend on how many workers there are or who plays what.

use crate::pick::{Episode, PickError, Rules, Stage, Surroundings};
use serde::{Deserialize, Serialize};
use sinew_runtime::StopToken;
use sinew_runtime::control::ActionSource;
use std::error::Error;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, ScopedJoinHandle};
use thiserror::Error;

/// 97.5 % quantile of the standard normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;
/// The most episodes of one evaluation: their results are kept in memory.
const MOST_EPISODES: u64 = 1_000_000;

/// Why an evaluation broke off.
#[derive(Debug, Error)]
pub enum EvalError {
    /// Nothing to do, or too much.
    #[error("{episodes} episodes; choose 1 to {MOST_EPISODES}")]
    Episodes {
        /// How many were asked for.
        episodes: u64,
    },
    /// The world failed, or whoever decides in it.
    #[error(transparent)]
    Pick(#[from] PickError),
    /// A contestant could not be made.
    #[error(transparent)]
    Contestant(Box<dyn Error + Send + Sync>),
    /// The system gave no thread.
    #[error("cannot start an evaluation thread: {0}; use fewer workers")]
    Spawn(#[from] std::io::Error),
    /// It was told to stop.
    #[error("stopped before all episodes were played")]
    Stopped,
    /// A worker panicked: a defect.
    #[error("an evaluation thread panicked; please report this as a bug")]
    Panicked,
}

/// Who is evaluated.
pub trait Contestant {
    /// Forgets what came before and prepares for the episode of `seed`, which also seeds whatever is
    /// random in it.
    fn begin(&mut self, seed: u64);
    /// Who decides during the episode.
    fn source(&mut self) -> &mut dyn ActionSource;
}

/// How many of some episodes succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Episodes played.
    pub episodes: u64,
    /// Those that succeeded.
    pub successes: u64,
    /// Their share.
    pub success_rate: f64,
    /// 95 % confidence interval of the share.
    pub interval_95: [f64; 2],
    /// Mean simulated time to success, s, over the successes.
    pub mean_time_to_success_s: Option<f64>,
}

impl Score {
    /// Counts episodes.
    pub fn of(episodes: &[Episode]) -> Self {
        let times: Vec<f64> = episodes.iter().filter_map(|e| e.time_s).collect();
        let (n, successes) = (episodes.len() as u64, times.len() as u64);
        Self {
            episodes: n,
            successes,
            success_rate: successes as f64 / (n as f64).max(1.0),
            interval_95: wilson_95(successes, n),
            mean_time_to_success_s: (successes > 0)
                .then(|| times.iter().sum::<f64>() / successes as f64),
        }
    }
}

/// Wilson's score interval of a share at 95 % (E. B. Wilson, Probable inference, the law of succession,
/// and statistical inference, JASA 22, 1927; recommended for any `n` by Brown, Cai and DasGupta, 2001).
/// From 0 to 1 where there is nothing to go by.
pub fn wilson_95(successes: u64, n: u64) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (n, z2) = (n as f64, Z_95 * Z_95);
    let share = successes as f64 / n;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// Plays the episodes of `seeds` on `workers` threads and returns how each ended, in the order of
/// seeds. `make` makes a worker's contestant, on the worker's thread; `done` is told of each episode as
/// it ends.
///
/// # Errors
/// The first error of any worker; the others stop then.
pub fn evaluate<C: Contestant>(
    seeds: Range<u64>,
    rules: Rules,
    workers: usize,
    make: impl Fn(Surroundings) -> Result<C, Box<dyn Error + Send + Sync>> + Sync,
    done: impl Fn(&Episode) + Sync,
    stop: &StopToken,
) -> Result<Vec<Episode>, EvalError> {
    let count = seeds.end.saturating_sub(seeds.start);
    if !(1..=MOST_EPISODES).contains(&count) {
        return Err(EvalError::Episodes { episodes: count });
    }
    let (next, broken) = (AtomicU64::new(0), AtomicBool::new(false));
    let going_on = || !broken.load(Ordering::Relaxed) && !stop.is_set();
    let work = || -> Result<Vec<Episode>, EvalError> {
        let mut stage = Stage::new(rules)?;
        let mut contestant = make(stage.surroundings()).map_err(EvalError::Contestant)?;
        let mut ended = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(ended);
            }
            let seed = seeds.start + index;
            contestant.begin(seed);
            let episode = stage
                .play(seed, contestant.source(), &going_on)?
                .ok_or(EvalError::Stopped)?;
            done(&episode);
            ended.push(episode);
        }
    };
    let guarded = || {
        let ended = work();
        broken.fetch_or(ended.is_err(), Ordering::Relaxed);
        ended
    };
    let workers = workers.clamp(1, usize::try_from(count).unwrap_or(usize::MAX));
    let all = std::thread::scope(|scope| {
        let spawned: Result<Vec<ScopedJoinHandle<'_, _>>, _> = (0..workers)
            .map(|number| {
                let name = format!("eval-{number}");
                Builder::new().name(name).spawn_scoped(scope, guarded)
            })
            .collect();
        if spawned.is_err() {
            broken.store(true, Ordering::Relaxed);
        }
        collect(spawned?)
    });
    let mut episodes = all?;
    episodes.sort_by_key(|episode| episode.seed);
    Ok(episodes)
}

/// Waits for all workers. The error that stopped the others goes before theirs.
fn collect(
    workers: Vec<ScopedJoinHandle<'_, Result<Vec<Episode>, EvalError>>>,
) -> Result<Vec<Episode>, EvalError> {
    let (mut episodes, mut error) = (Vec::new(), None);
    for worker in workers {
        match worker.join().unwrap_or(Err(EvalError::Panicked)) {
            Ok(some) => episodes.extend(some),
            Err(EvalError::Stopped) if error.is_some() => {}
            Err(new) => {
                if matches!(error, None | Some(EvalError::Stopped)) {
                    error = Some(new);
                }
            }
        }
    }
    error.map_or(Ok(episodes), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_gives_the_published_intervals() {
        // Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
        for (successes, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let [l, h] = wilson_95(successes, n);
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{l} {h}");
        }
        assert_eq!(wilson_95(0, 0), [0.0, 1.0]);
        assert_eq!(wilson_95(9, 9)[1], 1.0);
    }
}
