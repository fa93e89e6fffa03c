//! `sinew record --lockstep --take-over`: a policy begins the episode, the operator ends it.
//!
//! A policy that imitates is lost where nobody has shown it the way: in the places that its own errors
//! lead to. Demonstrations that start there show it (Ross, Gordon and Bagnell 2011, "DAgger"; Kelly et al.
//! 2019, "HG-DAgger", lets a person take over as it is done here).

use crate::args::StrategyArgs;
use crate::failure::usage;
use crate::player::{Loaded, Player, features_of};
use crate::session::Rig;
use anyhow::{Result, anyhow};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sinew_policies::{Channel, LoadOptions};
use sinew_runtime::control::{ActionOutcome, Observation as Seen};
use sinew_runtime::stop::StopToken;
use sinew_runtime::{JointState, JointTarget};
use sinew_sim::eval::Contestant;
use sinew_sim::pick::{CAMERAS, DOF, ENVIRONMENT, LockstepPick, Observation, Surroundings};
use std::ops::RangeInclusive;
use std::path::Path;

/// When the operator takes over, s after the start: while the policy is on its way as well as when it has
/// got stuck.
const AFTER_S: RangeInclusive<f64> = 1.0..=12.0;
/// Told apart from the seed of [`sinew_sim::pick::Disturbance`], whose first draw would otherwise be this one:
/// late ends would all be noisy.
const SEED: u64 = 0x7461_6b65_6f76_6572;

/// A policy that begins episodes.
pub(super) struct Beginner {
    player: Player,
    surroundings: Surroundings,
    rate_hz: f64,
}

impl Beginner {
    /// The policy in `folder`, which must decide at the recording's rate.
    pub(super) fn new(folder: &Path, rig: &Rig, fps: u32) -> Result<Self> {
        let features = features_of(&rig.blueprint, &rig.units)
            .with_cameras(CAMERAS)
            .with_values(Channel::Environment, ENVIRONMENT);
        // One network from the first to the last step: the same arguments give the same rows.
        let options = LoadOptions {
            threads: 1,
            self_check: false,
            ..LoadOptions::default()
        };
        let loaded = Loaded::new(folder, options, &StrategyArgs::default(), features)?;
        let rate_hz = loaded.rate_hz;
        if (rate_hz - f64::from(fps)).abs() > 1e-6 {
            return Err(usage(format!(
                "--take-over {}: the policy decides {rate_hz} times a second; record with --fps {rate_hz:.0}",
                folder.display()
            )));
        }
        let surroundings = Surroundings::default();
        Ok(Self {
            player: Player::new(loaded, surroundings.clone(), 0),
            surroundings,
            rate_hz,
        })
    }

    /// Lets the policy play the episode of `seed` until the operator is to take over. `false` when it has
    /// done the task before.
    pub(super) fn play(
        &mut self,
        world: &mut LockstepPick,
        seed: u64,
        stop: &StopToken,
    ) -> Result<bool> {
        self.player.begin(seed);
        let after_s = after_s(seed);
        let mut target = JointTarget {
            len: DOF,
            ..JointTarget::default()
        };
        target.position[..DOF].copy_from_slice(&world.task().scene().home);
        for step in 0..(after_s * self.rate_hz) as u64 {
            let seen = world.observe()?;
            if seen.state.success {
                return Ok(false);
            }
            if stop.is_set() {
                break;
            }
            self.surroundings.set(seen.state.environment());
            let source = self.player.source();
            match source.act(&self::seen(step, &seen), &mut target) {
                ActionOutcome::Failed => {
                    let reason = source.failure().unwrap_or_default();
                    return Err(anyhow!("the policy failed in episode {seed}: {reason}"));
                }
                ActionOutcome::Finished => break,
                _ => {}
            }
            let told = std::array::from_fn(|i| target.position[i]);
            world.advance(&told, 1.0 / self.rate_hz)?;
        }
        Ok(true)
    }
}

/// When the operator takes over in the episode of `seed`, s.
fn after_s(seed: u64) -> f64 {
    SmallRng::seed_from_u64(seed ^ SEED).random_range(AFTER_S)
}

/// What the world shows, as the control loop tells it to policies.
fn seen(step: u64, observation: &Observation) -> Seen {
    let mut state = JointState {
        seq: step + 1,
        captured_ns: observation.now_ns,
        len: DOF,
        ..JointState::default()
    };
    state.position[..DOF].copy_from_slice(&observation.positions);
    state.velocity[..DOF].copy_from_slice(&observation.velocities);
    let mut seen = Seen {
        step,
        now_ns: observation.now_ns,
        state,
        cameras: observation.frames.len(),
        ..Seen::default()
    };
    for (slot, frame) in seen.frames.iter_mut().zip(&observation.frames) {
        *slot = Some(frame.clone());
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_taking_over_says_nothing_about_the_noise() {
        let pairs: Vec<(f64, f64)> = (0..500)
            .map(|seed| {
                let noise: f64 = SmallRng::seed_from_u64(seed).random();
                (noise - 0.5, after_s(seed) - 6.5)
            })
            .collect();
        let sum = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
        let correlation = sum(|p| p.0 * p.1) / (sum(|p| p.0 * p.0) * sum(|p| p.1 * p.1)).sqrt();
        assert!(correlation.abs() < 0.15, "{correlation}");
    }
}
