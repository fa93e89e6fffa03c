//! Moving a robot with the keys of a terminal.
//!
//! Terminals tell of presses and repeats, never of releases, so each press is one step of one
//! joint. Reading the terminal is the caller's job: it turns what it reads into [`Key`]s and
//! sends them through a [`KeySender`] from any thread.
//!
//! | keys | meaning |
//! |---|---|
//! | letters | joints, as the robot's blueprint binds them |
//! | `-` `+` | smaller and larger steps |
//! | `.` | stop where the robot is |
//! | space | emergency stop |
//! | Enter | release the emergency stop, whoever asked for it |
//! | `→` `n` | next episode |
//! | `←` `r` | record this episode again |
//! | Esc `q` | end the recording |

use super::{EpisodeCommand, StopRequest, Teleop, TeleopStatus};
use crate::error::DriverError;
use sinew_runtime::{JointState, JointTarget, MAX_JOINTS};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A key that was pressed or repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A printing key; letters count the same in either case.
    Char(char),
    /// Right arrow.
    Right,
    /// Left arrow.
    Left,
    /// Up arrow.
    Up,
    /// Down arrow.
    Down,
    /// Escape.
    Esc,
    /// Enter.
    Enter,
}

/// Keys that may wait between two calls; more are dropped.
const QUEUE: usize = 64;
/// Smallest and largest step, as a multiple of the configured one.
const SCALE: (f64, f64) = (1.0 / 8.0, 8.0);

/// What one key does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointKey {
    /// The key, in lower case.
    pub key: char,
    /// Index of the joint that it moves.
    pub joint: usize,
    /// Change that a press makes, rad.
    pub step: f64,
}

/// How the keyboard moves a robot.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyboardOptions {
    /// Smallest and largest goal of each joint, rad, in blueprint order.
    pub limits: Vec<(f64, f64)>,
    /// The keys. Joints without one hold still.
    pub keys: Vec<JointKey>,
    /// How far a goal may run ahead of its joint, rad, so that a blocked joint does not store up
    /// motion.
    pub max_lead: f64,
}

impl KeyboardOptions {
    /// These limits (rad) and keys, goals at most 0.35 rad ahead.
    pub fn new(
        limits: impl IntoIterator<Item = (f64, f64)>,
        keys: impl IntoIterator<Item = JointKey>,
    ) -> Self {
        Self {
            limits: limits.into_iter().collect(),
            keys: keys.into_iter().collect(),
            max_lead: 0.35,
        }
    }

    fn check(&self) -> Result<(), DriverError> {
        if self.limits.is_empty() || self.limits.len() > MAX_JOINTS {
            let (what, got) = ("joints of the keyboard", self.limits.len());
            return Err(DriverError::Count {
                what,
                got,
                expected: MAX_JOINTS,
            });
        }
        for (i, (min, max)) in self.limits.iter().enumerate() {
            if !(min.is_finite() && max.is_finite() && min <= max) {
                return Err(DriverError::JointSpec {
                    joint: format!("number {}", i + 1),
                    problem: format!("keyboard limits {min}..{max} rad"),
                });
            }
        }
        for key in &self.keys {
            if key.joint >= self.limits.len() || !key.step.is_finite() {
                return Err(DriverError::JointSpec {
                    joint: format!("number {}", key.joint + 1),
                    problem: format!("key `{}` cannot move it by {} rad", key.key, key.step),
                });
            }
        }
        if self.max_lead > 0.0 {
            return Ok(());
        }
        let problem = format!(
            "goals may run {} rad ahead, which allows no motion",
            self.max_lead
        );
        Err(DriverError::JointSpec {
            joint: "keyboard".to_owned(),
            problem,
        })
    }
}

/// Hands keys to a [`KeyboardTeleop`], from any thread.
#[derive(Debug, Clone)]
pub struct KeySender(SyncSender<Key>);

impl KeySender {
    /// Sends one key; `false` when it was dropped because nobody took the earlier ones.
    pub fn press(&self, key: Key) -> bool {
        self.0.try_send(key).is_ok()
    }
}

/// Joint targets from key presses.
#[derive(Debug)]
pub struct KeyboardTeleop {
    options: KeyboardOptions,
    keys: Receiver<Key>,
    sender: KeySender,
    goal: [f64; MAX_JOINTS],
    started: bool,
    stopped: bool,
    scale: f64,
    seq: u64,
}

impl KeyboardTeleop {
    /// A keyboard whose first target is where the robot is.
    pub fn new(options: KeyboardOptions) -> Result<Self, DriverError> {
        options.check()?;
        let (sender, keys) = sync_channel(QUEUE);
        Ok(Self {
            options,
            keys,
            sender: KeySender(sender),
            goal: [0.0; MAX_JOINTS],
            started: false,
            stopped: false,
            scale: 1.0,
            seq: 0,
        })
    }

    /// Where to send keys.
    pub fn sender(&self) -> KeySender {
        self.sender.clone()
    }

    fn handle(&mut self, key: Key, state: &JointState, status: &mut TeleopStatus) {
        let key = match key {
            Key::Char(c) => Key::Char(c.to_ascii_lowercase()),
            other => other,
        };
        match key {
            Key::Right | Key::Char('n') => status.episode = Some(EpisodeCommand::Next),
            Key::Left | Key::Char('r') => status.episode = Some(EpisodeCommand::Redo),
            Key::Char('t') => status.episode = Some(EpisodeCommand::NextTask),
            Key::Esc | Key::Char('q') => status.episode = Some(EpisodeCommand::Quit),
            Key::Char(' ') => self.stop(state, status, StopRequest::Emergency),
            Key::Char('.') => self.stop(state, status, StopRequest::Hold),
            Key::Enter => self.release(state, status),
            Key::Up | Key::Char('+' | '=') => self.scale = (self.scale * 2.0).min(SCALE.1),
            Key::Down | Key::Char('-') => self.scale = (self.scale / 2.0).max(SCALE.0),
            Key::Char(c) => self.step(c, state, status),
        }
    }

    /// Both stops put the goals back to where the joints are.
    fn stop(&mut self, state: &JointState, status: &mut TeleopStatus, request: StopRequest) {
        self.start_from(state);
        self.stopped |= request == StopRequest::Emergency;
        status.moved = true;
        // An emergency stop is never weakened by a key that follows it in the same call.
        if status.stop != StopRequest::Emergency {
            status.stop = request;
        }
    }

    /// Also when no key of this keyboard stopped the robot: a message may have.
    fn release(&mut self, state: &JointState, status: &mut TeleopStatus) {
        if status.stop != StopRequest::Emergency {
            self.stopped = false;
            self.start_from(state);
            status.stop = StopRequest::Release;
        }
    }

    fn step(&mut self, c: char, state: &JointState, status: &mut TeleopStatus) {
        let Some(key) = self.options.keys.iter().find(|key| key.key == c) else {
            return;
        };
        let i = key.joint;
        let Some((min, max)) = self.options.limits.get(i).filter(|_| !self.stopped) else {
            return;
        };
        let (here, lead) = (state.position[i], self.options.max_lead);
        let wanted = self.goal[i] + key.step * self.scale;
        // Limits last: a robot that stands outside them is led back in, however far that is.
        let goal = wanted.max(here - lead).min(here + lead).clamp(*min, *max);
        status.moved |= goal != self.goal[i];
        self.goal[i] = goal;
    }

    fn start_from(&mut self, state: &JointState) {
        for (i, goal) in self
            .goal
            .iter_mut()
            .enumerate()
            .take(self.options.limits.len())
        {
            *goal = state.position[i];
        }
    }
}

impl Teleop for KeyboardTeleop {
    fn target(
        &mut self,
        state: &JointState,
        target: &mut JointTarget,
    ) -> Result<TeleopStatus, DriverError> {
        let count = self.options.limits.len();
        if state.len != count {
            return Err(DriverError::Count {
                what: "joints that the keyboard moves",
                got: state.len,
                expected: count,
            });
        }
        let mut status = TeleopStatus::default();
        if !self.started {
            self.start_from(state);
            (self.started, status.moved) = (true, true);
        }
        // Bounded, so that a sender that never stops cannot hold the loop.
        for _ in 0..QUEUE {
            let Ok(key) = self.keys.try_recv() else { break };
            self.handle(key, state, &mut status);
        }
        self.seq += 1;
        target.seq = self.seq;
        target.issued_ns = state.captured_ns;
        target.len = count;
        target.position[..count].copy_from_slice(&self.goal[..count]);
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(positions: [f64; 6]) -> JointState {
        let mut state = JointState {
            len: 6,
            ..JointState::default()
        };
        state.position[..6].copy_from_slice(&positions);
        state
    }

    const STEP: f64 = 0.03;
    /// Down and up keys of six joints.
    const PAIRS: [(char, char); 6] = [
        ('a', 'd'),
        ('s', 'w'),
        ('k', 'i'),
        ('j', 'l'),
        ('f', 'g'),
        ('x', 'z'),
    ];

    fn keyboard() -> KeyboardTeleop {
        let keys = PAIRS.iter().enumerate().flat_map(|(joint, (down, up))| {
            [(*down, -STEP), (*up, STEP)].map(|(key, step)| JointKey { key, joint, step })
        });
        KeyboardTeleop::new(KeyboardOptions::new([(-1.0, 1.0); 6], keys)).unwrap()
    }

    fn press(
        teleop: &mut KeyboardTeleop,
        state: &JointState,
        keys: &[Key],
    ) -> (TeleopStatus, JointTarget) {
        let mut target = JointTarget::default();
        let sender = teleop.sender();
        for key in keys {
            assert!(sender.press(*key));
        }
        let status = teleop.target(state, &mut target).unwrap();
        (status, target)
    }

    #[test]
    fn first_target_is_where_the_robot_is() {
        let here = state([0.1, -0.2, 0.3, 0.4, -0.5, 0.6]);
        let (_, target) = press(&mut keyboard(), &here, &[]);
        assert_eq!(target.positions(), here.positions());
    }

    #[test]
    fn each_joint_has_its_pair_of_keys() {
        for (i, (down, up)) in PAIRS.iter().enumerate() {
            let (_, a) = press(&mut keyboard(), &state([0.0; 6]), &[Key::Char(*up)]);
            let (_, b) = press(
                &mut keyboard(),
                &state([0.0; 6]),
                &[Key::Char(down.to_ascii_uppercase())],
            );
            for j in 0..6 {
                let expected = if i == j { STEP } else { 0.0 };
                assert_eq!((a.position[j], b.position[j]), (expected, -expected));
            }
        }
    }

    #[test]
    fn a_blocked_joint_does_not_store_up_motion() {
        let mut teleop = keyboard();
        let here = state([0.0; 6]);
        let (_, target) = press(&mut teleop, &here, &[Key::Char('d'); 60]);
        assert_eq!(target.position[0], 0.35);
    }

    #[test]
    fn emergency_stop_wins_and_keeps_motion_off_until_enter() {
        let mut teleop = keyboard();
        let here = state([0.2; 6]);
        let keys = [
            Key::Char('d'),
            Key::Char(' '),
            Key::Char('.'),
            Key::Enter,
            Key::Char('d'),
        ];
        let (status, target) = press(&mut teleop, &here, &keys);
        assert_eq!(status.stop, StopRequest::Emergency);
        assert_eq!(target.position[0], 0.2);
        let (status, target) = press(&mut teleop, &here, &[Key::Char('d')]);
        assert_eq!((status.moved, target.position[0]), (false, 0.2));
        let (status, target) = press(&mut teleop, &here, &[Key::Enter, Key::Char('d')]);
        assert_eq!(status.stop, StopRequest::Release);
        assert!(target.position[0] > 0.2);
    }

    #[test]
    fn enter_releases_a_stop_that_came_from_elsewhere() {
        let mut teleop = keyboard();
        press(&mut teleop, &state([0.2; 6]), &[Key::Char('d')]);
        let (status, target) = press(&mut teleop, &state([0.1; 6]), &[Key::Enter]);
        assert_eq!(status.stop, StopRequest::Release);
        assert_eq!(target.positions(), [0.1; 6], "it starts from where it is");
    }

    #[test]
    fn episode_keys_are_lerobots() {
        for (keys, command) in [
            ([Key::Right, Key::Char('n')], EpisodeCommand::Next),
            ([Key::Left, Key::Char('r')], EpisodeCommand::Redo),
            ([Key::Esc, Key::Char('q')], EpisodeCommand::Quit),
        ] {
            for key in keys {
                let (status, _) = press(&mut keyboard(), &state([0.0; 6]), &[key]);
                assert_eq!(status.episode, Some(command));
            }
        }
    }

    #[test]
    fn a_robot_with_other_joints_is_refused() {
        let mut target = JointTarget::default();
        let other = JointState {
            len: 7,
            ..JointState::default()
        };
        assert!(keyboard().target(&other, &mut target).is_err());
        assert!(KeyboardTeleop::new(KeyboardOptions::new([(1.0, -1.0)], [])).is_err());
        let nobodys = JointKey {
            key: 'a',
            joint: 1,
            step: STEP,
        };
        assert!(KeyboardTeleop::new(KeyboardOptions::new([(-1.0, 1.0)], [nobodys])).is_err());
    }

    proptest! {
        #[test]
        fn goals_stay_within_limits_and_lead(keys in prop::collection::vec(any::<char>().prop_map(Key::Char), 0..60),
            letters in prop::collection::vec("[a-z+=.-]", 0..60), here in -0.9f64..0.9) {
            let mut teleop = keyboard();
            let here = state([here; 6]);
            press(&mut teleop, &here, &keys);
            let letters: Vec<_> = letters.iter().filter_map(|s| s.chars().next()).map(Key::Char).collect();
            let (_, target) = press(&mut teleop, &here, &letters);
            for goal in target.positions() {
                prop_assert!((-1.0..=1.0).contains(goal) && (goal - here.position[0]).abs() <= 0.35 + 1e-12);
            }
        }
    }
}
