//! A scripted teleoperator: looks at the privileged task state and moves the arm as a careful
//! person would. It stands where a leader arm stands, and returns one joint target a tick.

use super::error::PickError;
use super::reach::{ARM_DOF, Aim, Arm};
use super::scene::{CUBE_EDGE, DOF};
use super::task::{PickTask, TaskState};
use nalgebra::Point3;

/// Tool point while the jaws are open, gripper frame, m: between the pads, nearer to the fixed
/// one, which must not land on the cube; the moving jaw then pushes the cube against it.
const OPEN_TOOL: [f64; 3] = [0.0125, 0.0, -0.094];
/// Height of the tool point when the jaws close, m: the tips stay 5 mm above the table.
const GRASP_HEIGHT: f64 = 0.016;
const HOVER_HEIGHT: f64 = 0.065;
/// The cube is let go a little above the table, m, so that sag does not press it down.
const RELEASE_HEIGHT: f64 = CUBE_EDGE / 2.0 + 0.0015;
/// Higher than this the cube has been lifted, m.
const LIFTED: f64 = 0.035;
const OPEN: f64 = 0.9;
/// Where closing would end without a cube, rad.
const CLOSED: f64 = -0.1;
/// The jaws have met the cube when the gripper lags its target by this, rad. While it closes on
/// nothing it lags by less than 0.07 rad, bus latency included.
const CONTACT_LAG: f64 = 0.10;
/// How far the gripper aims past the cube while it holds it, rad: 7 N at the pads, 21 % of the
/// servo's torque, below the 25 % at which a gripper set up as LeRobot does protects itself.
const SQUEEZE: f64 = 0.04;
const RELEASE_OPENING: f64 = 0.5;
/// Attempts at grasping (or placing) before giving up.
const ATTEMPTS: u32 = 2;
/// Share of the remaining position error that is added to the targets each second: real servos
/// and simulated ones sag under gravity by some degrees.
const SAG_RATE: f64 = 2.4;
const SAG_LIMIT: f64 = 0.12;
/// Joints this close to home are at home, rad.
const AT_HOME: f64 = 0.15;
/// How far an arm that is taken over somewhere first goes towards home, as a share of the way: up, clear
/// of the cube.
const CLEAR: f64 = 0.35;
const KNOTS: usize = 6;
/// A tick later than this after the last one does not move the plan on by more, s.
const LONGEST_TICK_S: f64 = 0.1;

/// What the operator is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Moving to the home pose first, because the arm was found elsewhere.
    Ready,
    /// Moving above the cube, jaws opening.
    Reach,
    /// Coming down on the cube.
    Descend,
    /// Waiting until the arm is still.
    Settle,
    /// Closing the jaws.
    Close,
    /// Squeezing until the grasp is firm.
    Squeeze,
    /// Raising the cube.
    Lift,
    /// Moving above the zone.
    Carry,
    /// Lowering the cube onto the zone.
    Lower,
    /// Waiting until the cube is still.
    Rest,
    /// Opening the jaws.
    Release,
    /// Moving up, away from the cube.
    Retreat,
    /// Opening and moving up after a failed grasp.
    BackOff,
    /// Returning home.
    Home,
    /// Nothing left to do; the last target is held.
    Done,
}

impl Phase {
    /// How long the phase takes, s. [`Phase::Close`] ends earlier, at contact.
    fn seconds(self) -> f64 {
        match self {
            Self::Ready => 1.2,
            Self::Reach => 1.6,
            Self::Descend => 1.0,
            Self::Settle | Self::Rest => 0.2,
            Self::Close => 1.2,
            Self::Lower => 0.9,
            Self::Squeeze => 0.15,
            Self::Lift => 0.8,
            Self::Carry | Self::Home => 1.4,
            Self::Release => 0.5,
            Self::Retreat => 0.7,
            Self::BackOff => 0.5,
            Self::Done => 0.0,
        }
    }
}

/// A path through joint space, passed at minimum jerk.
#[derive(Debug, Clone)]
struct Motion {
    knots: Vec<[f64; ARM_DOF]>,
    grip: (f64, f64),
}

/// The scripted operator of one episode.
#[derive(Debug, Clone)]
pub struct ScriptedPick {
    arm: Arm,
    phase: Phase,
    elapsed: f64,
    last_tick: Option<f64>,
    motion: Motion,
    /// Where the arm should be now, sag not yet made up for.
    wanted: [f64; DOF],
    sag: [f64; ARM_DOF],
    /// Aim of the present approach, for the way back up.
    aim: Aim,
    attempt: u32,
    /// Whether the next plan starts somewhere on the way, rather than at home.
    taken_over: bool,
}

impl ScriptedPick {
    /// An operator for the world of `task`. It holds no reference to it, so it can drive the same
    /// world on another thread or in another process.
    ///
    /// # Errors
    /// [`PickError::Sim`] when the arm's geometry cannot be read.
    pub fn new(task: &PickTask) -> Result<Self, PickError> {
        Ok(Self::with_arm(Arm::new(task.world(), task.scene())?))
    }

    /// An operator for an arm of known geometry.
    pub fn with_arm(arm: Arm) -> Self {
        Self {
            wanted: arm.home(),
            arm,
            phase: Phase::Home,
            elapsed: 0.0,
            last_tick: None,
            motion: Motion {
                knots: Vec::new(),
                grip: (0.0, 0.0),
            },
            sag: [0.0; ARM_DOF],
            aim: Aim {
                point: Point3::origin(),
                yaw: 0.0,
                tool: Point3::from(OPEN_TOOL),
            },
            attempt: 0,
            taken_over: false,
        }
    }

    /// Forgets the episode; the next tick starts a new one, by way of home.
    pub fn restart(&mut self) {
        *self = Self::with_arm(self.arm.clone());
    }

    /// Forgets the episode; the next tick goes on with what somebody else has begun: with carrying if the
    /// cube is held, otherwise with reaching for it, from where the arm then is.
    pub fn take_over(&mut self) {
        self.restart();
        self.taken_over = true;
    }

    /// What the operator is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Attempts made so far.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// The joint target (rad) for time `now_s` (any monotonic clock), from measured joint
    /// positions and the present task state. Call it at 30 Hz or faster.
    ///
    /// # Errors
    /// [`PickError::Unreachable`] when cube or zone lie where the arm cannot go.
    pub fn tick(
        &mut self,
        now_s: f64,
        measured: &[f64; DOF],
        state: &TaskState,
    ) -> Result<[f64; DOF], PickError> {
        let dt = match self.last_tick.replace(now_s) {
            Some(last) => (now_s - last).clamp(0.0, LONGEST_TICK_S),
            None => {
                self.begin(measured, state)?;
                0.0
            }
        };
        self.make_up_for_sag(measured, dt);
        self.elapsed += dt;
        let met = self.phase == Phase::Close
            && self.elapsed > 0.1
            && measured[ARM_DOF] - self.wanted[ARM_DOF] > CONTACT_LAG;
        if met || self.elapsed >= self.phase.seconds() {
            self.finish_motion(met);
            self.next_phase(measured, state)?;
        }
        self.follow();
        let mut target = self.wanted;
        for (value, sag) in target.iter_mut().zip(self.sag) {
            *value += sag;
        }
        Ok(target)
    }

    /// Compares where the arm is with where it was told to be, and leans against the difference.
    fn make_up_for_sag(&mut self, measured: &[f64; DOF], dt: f64) {
        for ((sag, wanted), is) in self.sag.iter_mut().zip(self.wanted).zip(measured) {
            *sag = (*sag + SAG_RATE * dt * (wanted - is)).clamp(-SAG_LIMIT, SAG_LIMIT);
        }
    }

    fn finish_motion(&mut self, met: bool) {
        if let Some(end) = self.motion.knots.last() {
            self.wanted[..ARM_DOF].copy_from_slice(end);
        }
        if !met {
            self.wanted[ARM_DOF] = self.motion.grip.1;
        }
        self.elapsed = 0.0;
    }

    fn follow(&mut self) {
        let seconds = self.phase.seconds();
        if seconds <= 0.0 {
            return;
        }
        let share = (self.elapsed / seconds).clamp(0.0, 1.0);
        let eased = minimum_jerk(share);
        // Jaws close at a constant rate, so that contact is noticed by a lag that grows evenly.
        let grip_share = if self.phase == Phase::Close {
            share
        } else {
            eased
        };
        let (from, to) = self.motion.grip;
        self.wanted[ARM_DOF] = from + (to - from) * grip_share;
        if let Some(pose) = along(&self.motion.knots, eased) {
            self.wanted[..ARM_DOF].copy_from_slice(&pose);
        }
    }

    fn next_phase(&mut self, measured: &[f64; DOF], state: &TaskState) -> Result<(), PickError> {
        match self.phase {
            Phase::Ready => self.plan_reach(state)?,
            Phase::Reach => self.plan_descend(state)?,
            Phase::Descend => self.hold(Phase::Settle),
            Phase::Settle => {
                self.hold(Phase::Close);
                self.motion.grip.1 = CLOSED;
            }
            Phase::Close => {
                self.hold(Phase::Squeeze);
                let squeezing = measured[ARM_DOF] - SQUEEZE;
                self.motion.grip = (squeezing, squeezing);
            }
            Phase::Squeeze => self.plan_line(Phase::Lift, HOVER_HEIGHT, self.wanted[ARM_DOF])?,
            Phase::Lift if state.cube_position[2] >= LIFTED => self.plan_carry(measured, state)?,
            Phase::Carry if state.cube_position[2] >= LIFTED => {
                self.plan_line(Phase::Lower, RELEASE_HEIGHT, self.wanted[ARM_DOF])?;
            }
            Phase::Lift | Phase::Carry => self.back_off(),
            Phase::Lower => self.hold(Phase::Rest),
            Phase::Rest => {
                self.hold(Phase::Release);
                self.motion.grip.1 = measured[ARM_DOF] + RELEASE_OPENING;
            }
            Phase::Release => self.plan_line(Phase::Retreat, HOVER_HEIGHT, self.wanted[ARM_DOF])?,
            Phase::Retreat if !state.success && self.attempt < ATTEMPTS => {
                self.plan_reach(state)?
            }
            Phase::BackOff if self.attempt < ATTEMPTS => self.plan_reach(state)?,
            Phase::Retreat | Phase::BackOff => self.go_home(Phase::Home),
            Phase::Home | Phase::Done => self.phase = Phase::Done,
        }
        Ok(())
    }

    /// Stays where it is for the length of `phase`.
    fn hold(&mut self, phase: Phase) {
        let grip = self.wanted[ARM_DOF];
        self.motion = Motion {
            knots: vec![self.arm_wanted(); 2],
            grip: (grip, grip),
        };
        self.phase = phase;
    }

    fn back_off(&mut self) {
        self.hold(Phase::BackOff);
        self.motion.grip.1 = OPEN;
    }

    /// Straight to the cube from home; by way of home from anywhere else, since a straight move
    /// between two low poses may lead through the table.
    fn begin(&mut self, measured: &[f64; DOF], state: &TaskState) -> Result<(), PickError> {
        self.wanted = *measured;
        if self.taken_over {
            return self.go_on(measured, state);
        }
        let away = measured
            .iter()
            .zip(self.arm.home())
            .take(ARM_DOF)
            .any(|(is, home)| (is - home).abs() > AT_HOME);
        if away {
            self.go_home(Phase::Ready);
            return Ok(());
        }
        self.plan_reach(state)
    }

    fn go_on(&mut self, measured: &[f64; DOF], state: &TaskState) -> Result<(), PickError> {
        if state.touched && state.cube_position[2] >= LIFTED {
            self.wanted[ARM_DOF] -= SQUEEZE;
            return self.plan_carry(measured, state);
        }
        if measured[ARM_DOF] < OPEN / 2.0 {
            self.back_off();
            return Ok(());
        }
        self.plan_reach(state)
    }

    fn go_home(&mut self, phase: Phase) {
        let home = self.arm.home();
        self.start(phase, vec![std::array::from_fn(|i| home[i])], home[ARM_DOF]);
    }

    fn plan_reach(&mut self, state: &TaskState) -> Result<(), PickError> {
        self.attempt += 1;
        self.aim = self.aim_at_cube(state, HOVER_HEIGHT);
        // A cube looks the same after a quarter turn. The nearest turn is one that a policy can see, too:
        // whichever way the jaws are off, they turn back.
        let roll = self.wanted[ARM_DOF - 1];
        let above = self
            .arm
            .reach_turned(&self.aim, roll)
            .or_else(|| self.arm.reach_afresh(&self.aim))
            .ok_or_else(|| unreachable("reach the cube", &self.aim))?;
        let (from, home) = (self.arm_wanted(), self.arm.home());
        let way = match std::mem::take(&mut self.taken_over) {
            true => vec![
                std::array::from_fn(|i| from[i] + CLEAR * (home[i] - from[i])),
                above,
            ],
            false => vec![above],
        };
        self.start(Phase::Reach, way, OPEN);
        Ok(())
    }

    /// Looks again before going down: the cube may have been pushed since.
    fn plan_descend(&mut self, state: &TaskState) -> Result<(), PickError> {
        self.aim = self.aim_at_cube(state, HOVER_HEIGHT);
        self.plan_line(Phase::Descend, GRASP_HEIGHT, OPEN)
    }

    /// Moves the tool point straight up or down to `height`.
    fn plan_line(&mut self, phase: Phase, height: f64, grip: f64) -> Result<(), PickError> {
        let to = Point3::new(self.aim.point.x, self.aim.point.y, height);
        let knots = self
            .arm
            .line(&self.aim, to, &self.arm_wanted(), KNOTS)
            .ok_or_else(|| unreachable("move straight up or down", &self.aim))?;
        self.aim.point = to;
        self.start(phase, knots, grip);
        Ok(())
    }

    /// Above the zone with the cube's centre, wherever in the jaws it was caught, turned so that
    /// the arm has to move least.
    fn plan_carry(&mut self, measured: &[f64; DOF], state: &TaskState) -> Result<(), PickError> {
        let held = std::array::from_fn(|i| measured[i]);
        let tool = self.arm.gripper(&held).inverse() * Point3::from(state.cube_position);
        let point = Point3::new(state.zone[0], state.zone[1], HOVER_HEIGHT);
        let from = self.arm_wanted();
        let far = |q: &[f64; ARM_DOF]| {
            q.iter()
                .zip(from)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max)
        };
        let best = (-4..4)
            .map(|i| Aim {
                point,
                yaw: f64::from(i) * std::f64::consts::PI / 16.0,
                tool,
            })
            .filter_map(|aim| Some((aim, self.arm.reach_afresh(&aim)?)))
            .min_by(|a, b| far(&a.1).total_cmp(&far(&b.1)));
        let aim = Aim {
            point,
            yaw: 0.0,
            tool,
        };
        let (aim, above) = best.ok_or_else(|| unreachable("carry the cube to the zone", &aim))?;
        self.aim = aim;
        self.start(Phase::Carry, vec![above], self.wanted[ARM_DOF]);
        Ok(())
    }

    fn start(&mut self, phase: Phase, mut knots: Vec<[f64; ARM_DOF]>, grip: f64) {
        knots.insert(0, self.arm_wanted());
        self.motion = Motion {
            knots,
            grip: (self.wanted[ARM_DOF], grip),
        };
        self.phase = phase;
    }

    fn aim_at_cube(&self, state: &TaskState, height: f64) -> Aim {
        let [x, y, _] = state.cube_position;
        Aim {
            point: Point3::new(x, y, height),
            yaw: state.cube_yaw(),
            tool: Point3::from(OPEN_TOOL),
        }
    }

    fn arm_wanted(&self) -> [f64; ARM_DOF] {
        std::array::from_fn(|i| self.wanted[i])
    }
}

fn unreachable(action: &'static str, aim: &Aim) -> PickError {
    PickError::Unreachable {
        action,
        x: aim.point.x,
        y: aim.point.y,
    }
}

/// Position at share `t` of the time on a path with zero speed and acceleration at both ends
/// (Flash and Hogan 1985).
fn minimum_jerk(t: f64) -> f64 {
    t * t * t * (10.0 + t * (6.0 * t - 15.0))
}

/// The point at share `s` of a path through evenly spaced knots.
fn along(knots: &[[f64; ARM_DOF]], s: f64) -> Option<[f64; ARM_DOF]> {
    let spans = knots.len().checked_sub(1)?;
    let at = s * spans as f64;
    let first = (at as usize).min(spans.saturating_sub(1));
    let (a, b) = (knots.get(first)?, knots.get(first + 1).or(knots.last())?);
    let f = at - first as f64;
    Some(std::array::from_fn(|i| a[i] + (b[i] - a[i]) * f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_jerk_starts_and_ends_at_rest() {
        assert_eq!(
            (minimum_jerk(0.0), minimum_jerk(1.0), minimum_jerk(0.5)),
            (0.0, 1.0, 0.5)
        );
        assert!(minimum_jerk(0.01) < 1e-5);
    }

    #[test]
    fn paths_pass_their_knots() {
        let knots = [[0.0; ARM_DOF], [1.0; ARM_DOF], [4.0; ARM_DOF]];
        assert_eq!(along(&knots, 0.5), Some([1.0; ARM_DOF]));
        assert_eq!(along(&knots, 1.0), Some([4.0; ARM_DOF]));
        assert_eq!(along(&knots[..1], 1.0), Some([0.0; ARM_DOF]));
        assert_eq!(along(&[], 0.2), None);
    }
}
