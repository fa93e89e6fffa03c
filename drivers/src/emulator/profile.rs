//! The setpoint that a servo makes out of goal, velocity and acceleration: a trapezoid in speed.

/// What bounds a move. Ticks, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Cruise speed, ticks/s.
    pub(crate) velocity: f64,
    /// Ramp, ticks/s²; infinite for none.
    pub(crate) acceleration: f64,
}

/// Setpoint and its speed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Profile {
    /// Setpoint, ticks.
    pub(crate) position: f64,
    /// Its speed, ticks/s.
    pub(crate) velocity: f64,
}

impl Profile {
    /// Starts over at rest at `position`.
    pub(crate) fn rest_at(&mut self, position: f64) {
        *self = Self {
            position,
            velocity: 0.0,
        };
    }

    /// Moves towards `target` for `dt` seconds and comes to rest there.
    pub(crate) fn approach(&mut self, target: f64, limits: Limits, dt: f64) {
        let error = target - self.position;
        let wanted = error.signum() * fastest_that_stops(error.abs(), limits, dt);
        self.velocity = ramp(self.velocity, wanted, limits.acceleration * dt);
        let step = self.velocity * dt;
        if step.abs() >= error.abs() && step * error >= 0.0 && self.velocity.abs() <= wanted.abs() {
            self.rest_at(target);
        } else {
            self.position += step;
        }
    }

    /// Ramps to `velocity` ticks/s and moves on with it for `dt` seconds.
    pub(crate) fn run(&mut self, velocity: f64, limits: Limits, dt: f64) {
        let wanted = velocity.clamp(-limits.velocity, limits.velocity);
        self.velocity = ramp(self.velocity, wanted, limits.acceleration * dt);
        self.position += self.velocity * dt;
    }
}

/// The highest speed from which a ramp in steps of `dt` still stops within `distance`, and that
/// does not run past it within this step.
fn fastest_that_stops(distance: f64, limits: Limits, dt: f64) -> f64 {
    let a = limits.acceleration;
    let stopping = if a.is_finite() {
        let half = a * dt / 2.0;
        (half * half + 2.0 * a * distance).sqrt() - half
    } else {
        f64::INFINITY
    };
    stopping.min(limits.velocity).min(distance / dt)
}

fn ramp(from: f64, to: f64, by: f64) -> f64 {
    from + (to - from).clamp(-by, by)
}

/// The cruise speed that makes a move of `distance` ticks take `duration` seconds with ramps of
/// `acceleration`: `T = D/v + v/a` solved for `v`. The highest possible speed if there is no time.
pub(crate) fn cruise_for(distance: f64, duration: f64, acceleration: f64) -> f64 {
    if !acceleration.is_finite() {
        return distance / duration;
    }
    let at = acceleration * duration;
    let radicand = at * at - 4.0 * acceleration * distance;
    if radicand < 0.0 {
        f64::INFINITY
    } else {
        (at - radicand.sqrt()) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DT: f64 = 1e-3;

    fn move_to(target: f64, limits: Limits) -> (f64, f64) {
        let mut profile = Profile::default();
        let (mut fastest, mut steps) = (0.0f64, 0);
        while profile
            != (Profile {
                position: target,
                velocity: 0.0,
            })
            && steps < 100_000
        {
            profile.approach(target, limits, DT);
            fastest = fastest.max(profile.velocity.abs());
            steps += 1;
        }
        (f64::from(steps) * DT, fastest)
    }

    #[test]
    fn a_long_move_takes_the_time_of_a_trapezoid() {
        let (time, fastest) = move_to(
            2000.0,
            Limits {
                velocity: 1000.0,
                acceleration: 5000.0,
            },
        );
        assert!((time - (2.0 + 0.2)).abs() < 0.01, "{time}");
        assert_eq!(fastest, 1000.0);
    }

    #[test]
    fn a_short_move_is_a_triangle() {
        let (time, fastest) = move_to(
            -100.0,
            Limits {
                velocity: 1000.0,
                acceleration: 5000.0,
            },
        );
        assert!(
            (time - 2.0 * (100.0f64 / 5000.0).sqrt()).abs() < 0.01,
            "{time}"
        );
        assert!(fastest < 720.0, "{fastest}");
    }

    #[test]
    fn without_ramp_only_the_speed_counts() {
        let (time, _) = move_to(
            500.0,
            Limits {
                velocity: 1000.0,
                acceleration: f64::INFINITY,
            },
        );
        assert!((time - 0.5).abs() < 0.003, "{time}");
    }

    #[test]
    fn cruise_speed_meets_the_goal_time() {
        let velocity = cruise_for(1000.0, 1.5, 4000.0);
        let (time, _) = move_to(
            1000.0,
            Limits {
                velocity,
                acceleration: 4000.0,
            },
        );
        assert!((time - 1.5).abs() < 0.01, "{time}");
        assert_eq!(cruise_for(1000.0, 0.1, 4000.0), f64::INFINITY);
        assert_eq!(cruise_for(1000.0, 0.5, f64::INFINITY), 2000.0);
    }

    proptest! {
        /// Whatever the target does, speed and its change stay within the limits (a step may end
        /// early at the target), and the setpoint ends there.
        #[test]
        fn limits_hold_for_any_sequence_of_targets(
            targets in prop::collection::vec(-5000.0f64..5000.0, 1..6),
            velocity in 10.0f64..5000.0,
            acceleration in 500.0f64..50_000.0,
        ) {
            let limits = Limits { velocity, acceleration };
            let mut profile = Profile::default();
            for target in &targets {
                for _ in 0..300 {
                    let before = profile;
                    profile.approach(*target, limits, DT);
                    prop_assert!((profile.position - before.position).abs() <= velocity * DT * 1.0001 + 1e-9);
                    if profile.velocity != 0.0 {
                        prop_assert!((profile.velocity - before.velocity).abs() <= acceleration * DT * 1.0001 + 1e-9);
                    }
                }
            }
            let last = targets[targets.len() - 1];
            for _ in 0..1_100_000 {
                profile.approach(last, limits, DT);
                if profile.velocity == 0.0 && profile.position == last { break; }
            }
            prop_assert_eq!(profile.position, last);
        }
    }
}
