//! The terminal's keys for the keyboard teleoperator of the drivers.

use crate::failure::usage;
use crate::session::Rig;
use crate::source::Operate;
use anyhow::Result;
use crossterm::event::{KeyCode, KeyEvent};
use sinew_drivers::teleop::{
    EpisodeCommand, JointKey, Key, KeySender, KeyboardOptions, KeyboardTeleop, StopRequest, Teleop,
};
use sinew_runtime::safety::{EStop, EStopReason};
use sinew_runtime::{JointState, JointTarget};
use std::sync::{Arc, Mutex};

/// What the keys do, for the panel's last line: the blueprint's own and those that all robots share.
pub(crate) fn help(rig: &Rig) -> String {
    let joints: Vec<String> = rig
        .names
        .iter()
        .filter_map(|joint| {
            let bindings = rig.blueprint.teleop.keyboard.iter();
            let keys: Vec<&str> = bindings
                .filter(|binding| binding.joint == *joint)
                .map(|binding| binding.key.as_str())
                .collect();
            (!keys.is_empty()).then(|| keys.join("/"))
        })
        .collect();
    format!(
        " joints: {} · speed: ↑ ↓ · space: emergency stop, Enter releases · → next ← redo t task Esc quit",
        joints.join(" ")
    )
}

/// What keys asked for besides motion, until the main thread takes it.
type Requests = Arc<Mutex<(StopRequest, Option<EpisodeCommand>)>>;

/// The main thread's end of the keyboard.
#[derive(Debug)]
pub(crate) struct Keyboard {
    keys: KeySender,
    requests: Requests,
}

impl Keyboard {
    /// A keyboard for the joints of `rig`, and the operator that its keys move.
    pub(crate) fn new(rig: &Rig) -> Result<(Self, Box<dyn Operate>)> {
        let blueprint = &rig.blueprint;
        let limits = blueprint
            .joints
            .iter()
            .map(|j| (j.limits_rad[0], j.limits_rad[1]));
        let keys = blueprint.teleop.keyboard.iter().filter_map(|binding| {
            Some(JointKey {
                key: binding.key.chars().next()?,
                joint: rig.names.index_of(&binding.joint)?,
                step: binding.step_rad,
            })
        });
        let options = KeyboardOptions::new(limits, keys);
        let teleop = KeyboardTeleop::new(options).map_err(usage)?;
        let requests = Requests::default();
        let keyboard = Self {
            keys: teleop.sender(),
            requests: requests.clone(),
        };
        Ok((keyboard, Box::new(Typed { teleop, requests })))
    }

    /// Hands a key on.
    pub(crate) fn press(&self, key: KeyEvent) {
        if let Some(key) = translate(key) {
            self.keys.press(key);
        }
    }

    /// What keys asked for since the last call.
    pub(crate) fn take_requests(&self) -> (StopRequest, Option<EpisodeCommand>) {
        self.requests
            .lock()
            .map(|mut r| std::mem::take(&mut *r))
            .unwrap_or_default()
    }
}

struct Typed {
    teleop: KeyboardTeleop,
    requests: Requests,
}

impl Operate for Typed {
    fn tick(&mut self, _now_s: f64, state: &JointState, target: &mut JointTarget) -> Result<bool> {
        let issued_ns = target.issued_ns;
        let status = self.teleop.target(state, target)?;
        target.issued_ns = issued_ns;
        if let Ok(mut requests) = self.requests.lock() {
            if status.stop as u8 > requests.0 as u8 {
                requests.0 = status.stop;
            }
            requests.1 = status.episode.or(requests.1);
        }
        Ok(true)
    }
}

/// What the keys do where they do not drive, for the panel's last line.
pub(crate) const WATCHING: &str = " space: emergency stop, Enter releases · Ctrl-C stops";

/// Carries out what a key asks of the emergency stop where the keyboard does not drive.
pub(crate) fn stop_or_release(key: KeyEvent, estop: &EStop) {
    match key.code {
        KeyCode::Char(' ') => estop.trip(EStopReason::Key),
        KeyCode::Enter => estop.reset(),
        _ => {}
    }
}

/// What a key asks of a recording when the keyboard does not drive.
pub(crate) fn episode_command(key: KeyEvent) -> Option<EpisodeCommand> {
    match key.code {
        KeyCode::Right | KeyCode::Char('n') => Some(EpisodeCommand::Next),
        KeyCode::Left | KeyCode::Char('r') => Some(EpisodeCommand::Redo),
        KeyCode::Char('t') => Some(EpisodeCommand::NextTask),
        KeyCode::Esc | KeyCode::Char('q') => Some(EpisodeCommand::Quit),
        _ => None,
    }
}

fn translate(key: KeyEvent) -> Option<Key> {
    Some(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Right => Key::Right,
        KeyCode::Left => Key::Left,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Esc => Key::Esc,
        KeyCode::Enter => Key::Enter,
        _ => return None,
    })
}
