//! Leaving the arm safe, whatever ended the thread.

use super::{DeviceCore, DeviceError, SafeOutcome};
use crate::clock::{Clock, Nanos};
use crate::joints::JointTarget;
use crate::pace::nanos;
use crate::stop::StopToken;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often switching torque off is tried: noise on the bus must not leave an arm stiff.
const ATTEMPTS: usize = 3;
/// Distance from the rest pose at which the arm counts as being there, rad.
const AT_REST_RAD: f64 = 1e-3;

/// How the arm is left when its thread ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// Torque off.
    #[default]
    Comply,
    /// Hold the last position, torque on (but for joints that were given up after an alarm).
    Hold,
    /// Move to a rest pose, then torque off. After a failure, and when asked to stop at once, torque
    /// goes off where the arm is.
    Rest {
        /// Rest positions, rad.
        pose: Vec<f64>,
        /// Time for the move. The joints' speed limits may make it longer, at most twice as long.
        over: Duration,
    },
}

impl OnStop {
    pub(super) fn check(&self, joints: usize) -> Result<(), String> {
        match self {
            Self::Rest { pose, .. } if pose.len() != joints => Err(format!(
                "{joints} joints, but a rest pose for {}",
                pose.len()
            )),
            Self::Rest { pose, .. } if !pose.iter().all(|p| p.is_finite()) => {
                Err("the rest pose has positions that are not numbers".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl DeviceCore {
    /// Leaves the arm as configured. `orderly` means that the robot still works, so that a move to
    /// the rest pose makes sense.
    pub fn make_safe(&mut self, clock: &dyn Clock, stop: &StopToken, orderly: bool) -> SafeOutcome {
        if !self.config.drive {
            return SafeOutcome::Untouched;
        }
        match self.config.on_stop.clone() {
            OnStop::Hold if self.torque == Some(true) => self.hold(),
            OnStop::Hold if self.torque.is_none() => SafeOutcome::Untouched,
            OnStop::Rest { pose, over } if orderly && self.torque == Some(true) => {
                let rested = self.rest(clock, stop, &pose, over);
                match self.go_limp() {
                    SafeOutcome::Limp if rested => SafeOutcome::Resting,
                    outcome => outcome,
                }
            }
            _ => self.go_limp(),
        }
    }

    fn go_limp(&mut self) -> SafeOutcome {
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match self.robot.set_torque(false) {
                Ok(()) => {
                    self.torque = Some(false);
                    return SafeOutcome::Limp;
                }
                Err(error) => {
                    self.counters.torque_failures += 1;
                    reason = error.to_string();
                }
            }
        }
        SafeOutcome::Unknown(reason)
    }

    /// The servos keep the goal that they have; sending it again covers a lost last write.
    fn hold(&mut self) -> SafeOutcome {
        let Some(sent) = self.filter.sent().and_then(JointTarget::from_positions) else {
            return self.go_limp();
        };
        self.out = JointTarget {
            seq: self.out.seq,
            issued_ns: self.out.issued_ns,
            ..sent
        };
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match self.robot.write(&self.out) {
                Ok(()) => return SafeOutcome::Holding,
                Err(error) => {
                    self.counters.write_failures += 1;
                    reason = error.to_string();
                }
            }
        }
        SafeOutcome::Unknown(reason)
    }

    /// Moves to the rest pose in ordinary cycles, through safety. Whether it got there.
    fn rest(&mut self, clock: &dyn Clock, stop: &StopToken, pose: &[f64], over: Duration) -> bool {
        let begin = clock.now();
        let over = nanos(over).max(1);
        let Some(from) = self.filter.sent().and_then(JointTarget::from_positions) else {
            return false;
        };
        while !stop.is_immediate() && self.filter.estop().tripped().is_none() {
            clock.sleep_until(self.deadline());
            let now = clock.now();
            let elapsed = now.saturating_sub(begin);
            if self
                .rest_step(&from, pose, now, elapsed as f64 / over as f64)
                .is_err()
            {
                return false;
            }
            self.end_step(clock.now());
            if elapsed >= over && self.is_at(pose) {
                // A joint without torque lies where it fell, and that is not the rest pose.
                return !self.released.contains(&true);
            }
            if elapsed >= over.saturating_mul(2) {
                return false;
            }
        }
        false
    }

    fn rest_step(
        &mut self,
        from: &JointTarget,
        pose: &[f64],
        now: Nanos,
        share: f64,
    ) -> Result<(), DeviceError> {
        let arrival = self.pace.arrive(now);
        self.note_arrival(&arrival);
        self.sense(now)?;
        let mut wanted = JointTarget {
            seq: self.out.seq + 1,
            issued_ns: now,
            ..*from
        };
        for (position, &rest) in wanted.position.iter_mut().zip(pose) {
            *position += (rest - *position) * share.min(1.0);
        }
        self.drive(&wanted, now)
    }

    /// Whether the joints that have torque were sent to `pose`.
    fn is_at(&self, pose: &[f64]) -> bool {
        let sent = self.filter.sent().unwrap_or_default();
        sent.iter()
            .zip(pose)
            .zip(&self.released)
            .all(|((sent, rest), released)| *released || (sent - rest).abs() < AT_REST_RAD)
    }
}
