//! Noise on what the arm is told, so that demonstrations show how to come back from errors.
//!
//! A policy that imitates clean demonstrations has never seen the places that its own errors lead
//! to. So the arm is told something slightly wrong while the recorded action stays what the
//! operator wanted (Laskey et al. 2017, "DART").

use super::scene::DOF;
use super::scripted::Phase;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Correlation time of the noise, s.
const TIME_S: f64 = 0.35;
/// Share of the noise that is left where a cube is between the jaws or beside them.
const CAREFUL: f64 = 0.35;
/// Share of the noise that the gripper gets: its squeeze is a small angle, and more would drop the
/// cube.
const GRIPPER_SHARE: f64 = 0.3;
const GRIPPER: usize = DOF - 1;
const WRIST_ROLL: usize = DOF - 2;

/// How far the jaws come down turned from how the operator wants them, at most, as a multiple of the noise. A
/// policy cannot always see which way to turn them; jaws that are 30° off still catch the cube, which turns
/// between them, if only they come down.
const TURN: f64 = 8.0;

/// First-order filtered white noise, one value a joint, of a standard deviation drawn for the
/// episode: some episodes are clean, some rough. The wrist is turned besides, until the cube is held.
#[derive(Debug, Clone)]
pub struct Disturbance {
    random: SmallRng,
    deviation: f64,
    /// What the wrist's turn is drawn to before the cube is held, rad.
    turn: f64,
    turned: f64,
    /// Share of the old value that a tick keeps.
    keep: f64,
    value: [f64; DOF],
}

impl Disturbance {
    /// Noise for the episode of `seed`, at `rate_hz` ticks a second, of a standard deviation up to
    /// `deviation` (rad).
    pub fn new(seed: u64, deviation: f64, rate_hz: f64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let turn = TURN * deviation * (2.0 * random.random::<f64>() - 1.0);
        let deviation = deviation * random.random::<f64>();
        Self {
            random,
            deviation,
            turn,
            turned: 0.0,
            keep: (-1.0 / (rate_hz * TIME_S)).exp(),
            value: [0.0; DOF],
        }
    }

    /// The noise of the next tick, rad, while the operator is in `phase`.
    pub fn next(&mut self, phase: Phase) -> [f64; DOF] {
        let scale = match phase {
            Phase::Reach | Phase::Carry | Phase::Retreat | Phase::Home | Phase::Ready => 1.0,
            _ => CAREFUL,
        };
        for joint in 0..DOF {
            let fresh = self.deviation * (1.0 - self.keep * self.keep).sqrt() * self.gauss();
            self.value[joint] = self.keep * self.value[joint] + fresh;
        }
        let turn = if grasping(phase) { self.turn } else { 0.0 };
        self.turned = turn + self.keep * (self.turned - turn);
        let mut noise = self.value.map(|value| value * scale);
        noise[GRIPPER] *= GRIPPER_SHARE;
        noise[WRIST_ROLL] += self.turned;
        noise
    }

    /// Box and Muller 1958.
    fn gauss(&mut self) -> f64 {
        let (u, v): (f64, f64) = (self.random.random(), self.random.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// Whether the cube is being reached for, and not held yet.
fn grasping(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Reach | Phase::Descend | Phase::Settle | Phase::Close | Phase::Squeeze
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_noise_and_no_deviation_gives_none() {
        let values = |seed, deviation| {
            let mut noise = Disturbance::new(seed, deviation, 30.0);
            (0..40)
                .map(|_| noise.next(Phase::Reach))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(3, 0.05), values(3, 0.05));
        assert_ne!(values(3, 0.05), values(4, 0.05));
        assert!(values(3, 0.0).iter().flatten().all(|v| *v == 0.0));
    }

    #[test]
    fn the_grasp_is_disturbed_less() {
        let largest = |phase| {
            let mut noise = Disturbance::new(3, 0.05, 30.0);
            (0..200)
                .flat_map(|_| noise.next(phase))
                .fold(0.0, |a: f64, b| a.max(b.abs()))
        };
        assert!(largest(Phase::Close) < 0.4 * largest(Phase::Reach));
    }
}
