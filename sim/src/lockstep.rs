//! A simulated robot behind the same [`Robot`] trait as a real one, in lockstep with a stepped
//! clock.
//!
//! Physics moves only inside [`Robot::read`] and [`Robot::write`], which first bring the world up
//! to the clock. So a loop that waits on the [`SteppedClock`] runs as fast as the machine allows,
//! and the same model, seed and targets give the same bytes in every run.

use crate::model::{ActuatorId, Joint, Model};
use crate::world::is_one_axis;
use crate::{SimError, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sinew_runtime::{
    Clock, JointFault, JointNames, JointState, JointTarget, MAX_JOINTS, Nanos, Robot, RobotError,
    SteppedClock,
};
use std::sync::{Arc, Mutex, MutexGuard};

/// A world that a robot, cameras and a task use in turn, on one thread or several.
pub type SharedWorld = Arc<Mutex<World>>;

/// How goal positions become forces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// The model's own position actuators take the goal, as hobby and bus servos do.
    Position,
    /// A torque `kp * (goal - position) - kd * velocity` at every physics step, as legged robots'
    /// motor drivers do. The model's motors limit it by their control range.
    TorquePd {
        /// Stiffness, N·m/rad.
        kp: f64,
        /// Damping, N·m·s/rad.
        kd: f64,
    },
}

/// Joints bound by name to a model, with the goals they are driven to.
#[derive(Debug)]
pub struct JointDrive {
    joints: Vec<(Joint, ActuatorId, Drive)>,
    goals: Vec<f64>,
    powered: bool,
    released: Vec<bool>,
}

impl JointDrive {
    /// Binds `names` (in this order) to joints and their actuators. Powered, all goals zero: call
    /// [`JointDrive::hold`] or [`JointDrive::set_goals`] before stepping.
    pub fn bind(model: &Model, names: &[String], drive: Drive) -> Result<Self, SimError> {
        let each: Vec<_> = names.iter().map(|name| (name.as_str(), drive)).collect();
        Self::bind_each(model, &each)
    }

    /// The same, with a drive for each joint.
    pub fn bind_each(model: &Model, drives: &[(&str, Drive)]) -> Result<Self, SimError> {
        let joints = drives
            .iter()
            .map(|&(name, drive)| {
                let (joint, actuator) = bind_joint(model, name, drive)?;
                Ok((joint, actuator, drive))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            goals: vec![0.0; joints.len()],
            released: vec![false; joints.len()],
            joints,
            powered: true,
        })
    }

    /// The bound joints, in the order of the names.
    pub fn joints(&self) -> impl ExactSizeIterator<Item = Joint> + '_ {
        self.joints.iter().map(|(joint, ..)| *joint)
    }

    /// Sets goal positions, rad or m, one a joint. Refuses the wrong number of them and values
    /// that are not finite, and keeps the old goals then.
    pub fn set_goals(&mut self, world: &World, goals: &[f64]) -> Result<(), SimError> {
        let problem = if goals.len() != self.goals.len() {
            format!(
                "has {} positions for {} joints",
                goals.len(),
                self.goals.len()
            )
        } else if let Some(i) = goals.iter().position(|g| !g.is_finite()) {
            format!("is {} for joint number {i}", goals[i])
        } else {
            self.goals.copy_from_slice(goals);
            return Ok(());
        };
        Err(SimError::Value {
            world: world.name().to_owned(),
            what: "joint target".into(),
            problem,
        })
    }

    /// Makes the present positions the goals.
    pub fn hold(&mut self, world: &World) {
        for (goal, (joint, ..)) in self.goals.iter_mut().zip(&self.joints) {
            *goal = world.position(*joint);
        }
    }

    /// Lets go (`false`) or drives again (`true`), all joints.
    pub fn set_powered(&mut self, powered: bool) {
        self.powered = powered;
        self.released.fill(false);
    }

    /// Lets go of one joint until [`Self::set_powered`].
    pub fn release(&mut self, joint: usize) {
        if let Some(released) = self.released.get_mut(joint) {
            *released = true;
        }
    }

    /// Sets the controls for the next physics step.
    pub fn apply(&self, world: &mut World) {
        let joints = self.joints.iter().zip(&self.goals).zip(&self.released);
        for (((joint, actuator, drive), goal), released) in joints {
            let (position, powered) = (world.position(*joint), self.powered && !released);
            let control = match *drive {
                // A position actuator whose goal is where it is exerts no force but its damping,
                // like a geared servo without power.
                Drive::Position if powered => *goal,
                Drive::Position => position,
                Drive::TorquePd { kp, kd } if powered => {
                    kp * (goal - position) - kd * world.velocity(*joint)
                }
                Drive::TorquePd { .. } => 0.0,
            };
            world.set_control(*actuator, control);
        }
    }
}

fn bind_joint(model: &Model, name: &str, drive: Drive) -> Result<(Joint, ActuatorId), SimError> {
    let joint = model.joint(name)?;
    let unsuitable = |problem: &str| SimError::Unsuitable {
        world: model.name().to_owned(),
        kind: "joint",
        name: name.to_owned(),
        problem: problem.to_owned(),
    };
    if !is_one_axis(joint) {
        return Err(unsuitable(
            "is neither a hinge nor a slide, so it has no single position",
        ));
    }
    let actuator = model.actuator_of(joint)?;
    match (drive, model.is_position_servo(actuator)) {
        (Drive::Position, false) => Err(unsuitable(
            "has no <position> actuator; change the model or use Drive::TorquePd",
        )),
        (Drive::TorquePd { .. }, true) => Err(unsuitable(
            "has a <position> actuator; torque needs a <motor>, or use Drive::Position",
        )),
        _ => Ok((joint, actuator)),
    }
}

/// What a [`LockstepRobot`] needs to know besides its world.
#[derive(Debug, Clone)]
pub struct LockstepConfig {
    /// Joint names in the order of every array; each must exist in the model.
    pub joints: JointNames,
    /// How goals become forces.
    pub drive: Drive,
    /// Standard deviation of the noise on measured positions, rad; 0 for exact readings.
    pub position_noise: f64,
    /// Seed of the noise.
    pub seed: u64,
}

/// A robot in a simulated world. Starts powered and holds the position it is in.
///
/// One robot owns the passage of time in its world: do not step the world elsewhere.
#[derive(Debug)]
pub struct LockstepRobot {
    world: SharedWorld,
    clock: Arc<SteppedClock>,
    names: JointNames,
    drive: JointDrive,
    noise: Noise,
    name: String,
    timestep_ns: Nanos,
    origin_ns: Nanos,
    steps_done: u64,
    reads: u64,
}

impl LockstepRobot {
    /// A robot in `world`, whose time follows `clock` from now on.
    pub fn new(
        world: SharedWorld,
        clock: Arc<SteppedClock>,
        config: LockstepConfig,
    ) -> Result<Self, SimError> {
        let guard = lock(&world);
        let name = guard.name().to_owned();
        let invalid = |what: &str, problem: String| SimError::Value {
            world: name.clone(),
            what: what.into(),
            problem,
        };
        if config.joints.len() > MAX_JOINTS {
            let problem = format!(
                "are {}, at most {MAX_JOINTS} are supported",
                config.joints.len()
            );
            return Err(invalid("joints", problem));
        }
        if !(config.position_noise.is_finite() && config.position_noise >= 0.0) {
            return Err(invalid(
                "position_noise",
                format!("is {} rad", config.position_noise),
            ));
        }
        let mut drive = JointDrive::bind(guard.model(), &config.joints, config.drive)?;
        drive.hold(&guard);
        let timestep_ns = ((guard.timestep() * 1e9).round() as Nanos).max(1);
        drop(guard);
        Ok(Self {
            origin_ns: clock.now(),
            world,
            clock,
            names: config.joints,
            drive,
            noise: Noise::new(config.position_noise, config.seed),
            name,
            timestep_ns,
            steps_done: 0,
            reads: 0,
        })
    }

    /// The world, for cameras and tasks.
    pub fn world(&self) -> &SharedWorld {
        &self.world
    }

    /// Moves the clock forward by `by` ns and the world with it. For callers without a loop that
    /// waits on the clock.
    pub fn advance(&mut self, by: Nanos) -> Result<(), RobotError> {
        self.clock.advance(by);
        let world = self.world.clone();
        self.catch_up(&mut lock(&world))
    }

    /// Steps physics up to the clock.
    fn catch_up(&mut self, world: &mut World) -> Result<(), RobotError> {
        let due = self.clock.now().saturating_sub(self.origin_ns) / self.timestep_ns;
        let steps = due.saturating_sub(self.steps_done);
        if steps == 0 {
            return Ok(());
        }
        self.steps_done = due;
        let drive = &self.drive;
        world
            .step_with(steps as usize, |world| drive.apply(world))
            .map_err(|e| self.failed(&e))
    }

    fn measure(&mut self, world: &World, state: &mut JointState) {
        self.reads += 1;
        state.seq = self.reads;
        state.captured_ns = self.origin_ns + self.steps_done * self.timestep_ns;
        state.len = self.names.len();
        for (i, joint) in self.drive.joints().enumerate() {
            state.position[i] = world.position(joint) + self.noise.sample();
            state.velocity[i] = world.velocity(joint);
            state.effort[i] = world.effort(joint);
            state.fault[i] = JointFault::None;
        }
    }

    fn failed(&self, error: &SimError) -> RobotError {
        RobotError::Simulation {
            world: self.name.clone(),
            problem: error.to_string(),
        }
    }
}

impl Robot for LockstepRobot {
    fn joints(&self) -> &JointNames {
        &self.names
    }

    fn read(&mut self, state: &mut JointState) -> Result<(), RobotError> {
        let world = self.world.clone();
        let mut world = lock(&world);
        self.catch_up(&mut world)?;
        self.measure(&world, state);
        Ok(())
    }

    fn write(&mut self, target: &JointTarget) -> Result<(), RobotError> {
        let world = self.world.clone();
        let mut world = lock(&world);
        // The goal holds from now on, not from the last read.
        self.catch_up(&mut world)?;
        self.drive
            .set_goals(&world, target.positions())
            .map_err(|e| self.failed(&e))
    }

    fn set_torque(&mut self, on: bool) -> Result<(), RobotError> {
        let world = self.world.clone();
        let mut world = lock(&world);
        self.catch_up(&mut world)?;
        self.drive.hold(&world);
        self.drive.set_powered(on);
        Ok(())
    }

    fn release(&mut self, joint: usize) -> Result<(), RobotError> {
        let world = self.world.clone();
        let mut world = lock(&world);
        self.catch_up(&mut world)?;
        self.drive.release(joint);
        Ok(())
    }
}

/// A panic elsewhere leaves the world's numbers intact (MuJoCo's calls do not unwind), so a
/// poisoned lock is still good to use.
fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Seeded Gaussian noise.
#[derive(Debug)]
struct Noise {
    deviation: f64,
    random: SmallRng,
}

impl Noise {
    fn new(deviation: f64, seed: u64) -> Self {
        Self {
            deviation,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    fn sample(&mut self) -> f64 {
        if self.deviation == 0.0 {
            return 0.0;
        }
        // Box-Muller; 1 - u keeps the logarithm's argument above zero.
        let (u, v): (f64, f64) = (self.random.random(), self.random.random());
        self.deviation * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_deviation_that_was_asked_for() {
        let mut noise = Noise::new(0.01, 7);
        let n = 20_000;
        let values: Vec<f64> = (0..n).map(|_| noise.sample()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let deviation =
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n)).sqrt();
        assert!(
            mean.abs() < 5e-4 && (deviation - 0.01).abs() < 5e-4,
            "{mean} {deviation}"
        );
    }
}
