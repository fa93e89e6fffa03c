//! Fills the device cycles between two targets of a slower loop.

use crate::clock::Nanos;
use crate::joints::{JointTarget, MAX_JOINTS};
use crate::pace::nanos;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How targets reach a device that runs faster than the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Each target is sent as it is until the next one comes.
    #[default]
    Step,
    /// A straight line to each target over this time, normally the loop's period. Smooth, and later
    /// by as much.
    Linear(Duration),
}

/// The straight line being followed.
#[derive(Debug)]
pub(crate) struct Interpolator {
    mode: Interpolation,
    device_period: Nanos,
    goal: JointTarget,
    from: [f64; MAX_JOINTS],
    start: Nanos,
}

impl Interpolator {
    pub(crate) fn new(mode: Interpolation, device_period: Nanos) -> Self {
        Self {
            mode,
            device_period,
            goal: JointTarget::default(),
            from: [0.0; MAX_JOINTS],
            start: 0,
        }
    }

    /// Starts towards a new target from the position last sent.
    pub(crate) fn aim(&mut self, goal: &JointTarget, sent: Option<&[f64]>, now: Nanos) {
        self.from = goal.position;
        if let Some(sent) = sent {
            self.from[..sent.len()].copy_from_slice(sent);
        }
        self.goal = *goal;
        self.start = now;
    }

    /// Where to be in the cycle that starts at `now`. The cycle that receives the target already
    /// moves, so that with equal rates nothing is delayed.
    pub(crate) fn at(&self, now: Nanos) -> JointTarget {
        let Interpolation::Linear(over) = self.mode else {
            return self.goal;
        };
        let elapsed = now
            .saturating_sub(self.start)
            .saturating_add(self.device_period);
        let over = nanos(over);
        if elapsed >= over {
            return self.goal;
        }
        let share = elapsed as f64 / over as f64;
        let mut target = self.goal;
        for (position, from) in target.position.iter_mut().zip(self.from) {
            *position = from + (*position - from) * share;
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(position: f64) -> JointTarget {
        JointTarget::from_positions(&[position]).expect("one joint")
    }

    #[test]
    fn a_line_ends_with_the_loop_period() {
        let mut line = Interpolator::new(Interpolation::Linear(Duration::from_nanos(400)), 100);
        line.aim(&goal(8.0), Some(&[4.0]), 1000);
        let path = [1000, 1100, 1200, 1300, 1400].map(|now| line.at(now).position[0]);
        assert_eq!(path, [5.0, 6.0, 7.0, 8.0, 8.0]);
    }

    #[test]
    fn equal_rates_and_steps_add_no_delay() {
        for mode in [
            Interpolation::Step,
            Interpolation::Linear(Duration::from_nanos(100)),
        ] {
            let mut line = Interpolator::new(mode, 100);
            line.aim(&goal(8.0), Some(&[4.0]), 0);
            assert_eq!(line.at(0).position[0], 8.0);
        }
    }

    #[test]
    fn without_a_sent_position_the_goal_is_taken_as_it_is() {
        let mut line = Interpolator::new(Interpolation::Linear(Duration::from_secs(1)), 100);
        line.aim(&goal(8.0), None, 0);
        assert_eq!(line.at(0).position[0], 8.0);
    }
}
