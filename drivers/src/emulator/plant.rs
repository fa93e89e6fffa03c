//! What the servos move: the seam to a physics engine, and a simple stand-in for one.

use super::EmulatorError;
use super::chain::SharedChain;
use sinew_runtime::{Clock, MonotonicClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a servo drives its motor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriveMode {
    /// Follow `setpoint_ticks`; also the step mode.
    #[default]
    Position,
    /// Turn with `setpoint_velocity`; `setpoint_ticks` moves along.
    Velocity,
    /// Apply `duty` open loop.
    Pwm,
}

/// What one servo asks of its motor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ServoDrive {
    /// Whether the motor is powered; if not, the joint is free.
    pub torque_on: bool,
    /// Where the output shaft should be, raw encoder ticks (homing offset not applied), continuous
    /// over turns.
    pub setpoint_ticks: f64,
    /// Speed of the setpoint, ticks/s.
    pub setpoint_velocity: f64,
    /// Share of the motor's torque that may be used, 0..1.
    pub torque_limit: f64,
    /// Control mode.
    pub mode: DriveMode,
    /// Motor drive in [`DriveMode::Pwm`], −1..1.
    pub duty: f64,
}

/// What one servo's sensors say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ServoMeasurement {
    /// Shaft position, raw encoder ticks (homing offset not applied), continuous over turns.
    pub position_ticks: f64,
    /// Shaft speed, ticks/s.
    pub velocity_ticks_per_s: f64,
    /// Motor effort as a share of stall torque, −1..1.
    pub load: f64,
}

/// The world behind the servos.
pub trait Plant: Send {
    /// Lets `dt_s` seconds pass under `drives` and fills `measured`, one entry a servo in chain
    /// order. On entry `measured` holds the last values.
    fn step(&mut self, dt_s: f64, drives: &[ServoDrive], measured: &mut [ServoMeasurement]);
}

/// Stall acceleration of an unloaded joint, ticks/s², and its no-load speed, ticks/s.
const STALL_ACCELERATION: f64 = 200_000.0;
const FREE_SPEED: f64 = 5_500.0;
/// Full torque at that position error, ticks; damping per tick/s.
const FULL_TORQUE_ERROR: f64 = 50.0;
const DAMPING: f64 = 4.0e-4;
/// Longest internal step, s.
const MAX_STEP_S: f64 = 1.0e-3;

/// A motor with inertia and friction for each servo, joints independent, no gravity.
#[derive(Debug, Clone, Default)]
pub struct InertialPlant {
    stops: Vec<Option<(f64, f64)>>,
}

impl InertialPlant {
    /// Free joints.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts hard stops at these raw ticks around servo `index`, or takes them away.
    pub fn set_stops(&mut self, index: usize, stops: Option<(f64, f64)>) {
        if self.stops.len() <= index {
            self.stops.resize(index + 1, None);
        }
        self.stops[index] = stops;
    }
}

impl Plant for InertialPlant {
    fn step(&mut self, dt_s: f64, drives: &[ServoDrive], measured: &mut [ServoMeasurement]) {
        let parts = (dt_s / MAX_STEP_S).ceil().clamp(1.0, 1000.0);
        for (i, (drive, state)) in drives.iter().zip(measured).enumerate() {
            let stops = self.stops.get(i).copied().flatten();
            for _ in 0..parts as usize {
                advance(dt_s / parts, drive, state, stops);
            }
        }
    }
}

fn advance(dt: f64, drive: &ServoDrive, state: &mut ServoMeasurement, stops: Option<(f64, f64)>) {
    let effort = effort(drive, state);
    let friction = STALL_ACCELERATION / FREE_SPEED;
    // Friction is taken implicitly, so that no step size makes it add energy.
    let velocity =
        (state.velocity_ticks_per_s + effort * STALL_ACCELERATION * dt) / (1.0 + friction * dt);
    state.load = effort;
    state.velocity_ticks_per_s = velocity;
    state.position_ticks += velocity * dt;
    if let Some((low, high)) = stops
        && !(low..=high).contains(&state.position_ticks)
    {
        state.position_ticks = state.position_ticks.clamp(low, high);
        state.velocity_ticks_per_s = 0.0;
    }
}

fn effort(drive: &ServoDrive, state: &ServoMeasurement) -> f64 {
    if !drive.torque_on {
        return 0.0;
    }
    let slip = drive.setpoint_velocity - state.velocity_ticks_per_s;
    let feed_forward = drive.setpoint_velocity / FREE_SPEED;
    let error = drive.setpoint_ticks - state.position_ticks;
    let wanted = match drive.mode {
        DriveMode::Position | DriveMode::Velocity => {
            error / FULL_TORQUE_ERROR + DAMPING * slip + feed_forward
        }
        DriveMode::Pwm => drive.duty,
    };
    let limit = drive.torque_limit.clamp(0.0, 1.0);
    wanted.clamp(-limit, limit)
}

/// Steps a chain in real time on a thread of its own until dropped.
#[derive(Debug)]
pub struct PlantThread {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl PlantThread {
    /// Steps `plant` behind `chain` every `period`. A late step is longer, not lost.
    pub fn start(
        chain: SharedChain,
        mut plant: impl Plant + 'static,
        period: Duration,
    ) -> Result<Self, EmulatorError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let period_ns = period.as_nanos().clamp(100_000, 1_000_000_000) as u64;
        let thread = std::thread::Builder::new()
            .name("servo-plant".to_owned())
            .spawn(move || {
                let clock = MonotonicClock;
                let mut last = clock.now();
                let mut due = last;
                while !stopped.load(Ordering::Acquire) {
                    due = (due + period_ns).max(clock.now());
                    clock.sleep_until(due);
                    let now = clock.now();
                    chain.step((now - last) as f64 * 1e-9, &mut plant);
                    last = now;
                }
            })
            .map_err(|source| EmulatorError::System {
                what: "start a thread",
                source,
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for PlantThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the plant behind the emulated servos panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(target: f64, limit: f64) -> ServoDrive {
        ServoDrive {
            torque_on: true,
            setpoint_ticks: target,
            torque_limit: limit,
            ..ServoDrive::default()
        }
    }

    fn run(
        plant: &mut InertialPlant,
        drive: ServoDrive,
        state: &mut ServoMeasurement,
        seconds: f64,
        dt: f64,
    ) {
        for _ in 0..(seconds / dt) as usize {
            plant.step(dt, &[drive], std::slice::from_mut(state));
        }
    }

    #[test]
    fn a_joint_settles_at_its_setpoint_whatever_the_step() {
        for dt in [1e-4, 1e-3, 2e-2] {
            let mut state = ServoMeasurement::default();
            run(
                &mut InertialPlant::new(),
                hold(500.0, 1.0),
                &mut state,
                1.0,
                dt,
            );
            assert!(
                (state.position_ticks - 500.0).abs() < 0.5,
                "{dt}: {state:?}"
            );
        }
    }

    #[test]
    fn without_torque_a_joint_coasts_to_rest() {
        let mut state = ServoMeasurement {
            velocity_ticks_per_s: 1000.0,
            ..Default::default()
        };
        run(
            &mut InertialPlant::new(),
            ServoDrive::default(),
            &mut state,
            1.0,
            1e-3,
        );
        assert!(state.velocity_ticks_per_s.abs() < 1e-3);
        assert_eq!(state.load, 0.0);
    }

    #[test]
    fn a_blocked_joint_pushes_with_its_torque_limit() {
        let mut plant = InertialPlant::new();
        plant.set_stops(0, Some((-100.0, 100.0)));
        let mut state = ServoMeasurement::default();
        run(&mut plant, hold(1000.0, 0.4), &mut state, 1.0, 1e-3);
        assert_eq!((state.position_ticks, state.load), (100.0, 0.4));
    }

    #[test]
    fn duty_turns_the_motor_open_loop() {
        let mut state = ServoMeasurement::default();
        let drive = ServoDrive {
            duty: -0.5,
            mode: DriveMode::Pwm,
            ..hold(0.0, 1.0)
        };
        run(&mut InertialPlant::new(), drive, &mut state, 1.0, 1e-3);
        assert!((state.velocity_ticks_per_s + 0.5 * FREE_SPEED).abs() < 1.0);
    }
}
