//! From a wanted velocity to the command that a policy needs to reach it.

use super::CONTROL_PERIOD;

/// Limits how fast the command changes, and trims it by the integral of what is missing.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    slewed: [f64; 3],
    measured: [f64; 3],
    trim: [f64; 3],
    /// The command: forward m/s, left m/s, turn rad/s.
    pub(super) output: [f64; 3],
}

impl Tracker {
    /// Largest change of the command in one control period.
    const SLEW: [f64; 3] = [0.05, 0.04, 0.10];
    /// Time constant of the low-pass filter on the measured velocity, s: about one stride.
    const FILTER: f64 = 0.3;
    const GAIN: [f64; 3] = [1.5, 1.5, 2.0];
    const LIMIT: [f64; 3] = [0.4, 0.3, 0.6];

    /// After each control period: what is wanted, and how fast it went.
    pub(super) fn update(&mut self, wanted: [f64; 3], velocity: [f64; 3]) {
        let blend = CONTROL_PERIOD / (Self::FILTER + CONTROL_PERIOD);
        for axis in 0..3 {
            let step =
                (wanted[axis] - self.slewed[axis]).clamp(-Self::SLEW[axis], Self::SLEW[axis]);
            self.slewed[axis] += step;
            self.measured[axis] += blend * (velocity[axis] - self.measured[axis]);
            let missing = self.slewed[axis] - self.measured[axis];
            let trim = self.trim[axis] + Self::GAIN[axis] * missing * CONTROL_PERIOD;
            self.trim[axis] = trim.clamp(-Self::LIMIT[axis], Self::LIMIT[axis]);
            self.output[axis] = self.slewed[axis] + self.trim[axis];
        }
    }
}
