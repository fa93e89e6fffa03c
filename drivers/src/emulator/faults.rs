//! Faults that can be switched on and off while the emulator serves.
//!
//! Written as `kind[:id][=value][@probability]`; without an id (or with `*`) every servo has it.
//!
//! | text | effect |
//! |---|---|
//! | `silent:3` | servo 3 hears and obeys, but does not answer |
//! | `noise:0.01` | each byte on the line, either way, is damaged or preceded by a random one with this probability |
//! | `truncate:2@0.1` | one reply in ten of servo 2 loses its end |
//! | `delay:4=5ms` | servo 4 answers 5 ms late (`us`, `ms`, `s`) |
//! | `checksum:1@0.5` | every other reply of servo 1 has a wrong checksum |
//! | `double:5` | one byte of each reply of servo 5 comes twice |
//! | `overload:6`, `overheat:6`, `overcurrent:6`, `voltage:6`, `angle:6` | the servo has this alarm |
//! | `duplicate:2` | a second servo with id 2 answers at the same time |
//! | `unplug` | the adapter is pulled out: the port disappears |

use super::EmulatorError;
use super::pty::Waker;
use crate::feetech::packet::{
    ALARM_ANGLE, ALARM_OVERCURRENT, ALARM_OVERHEAT, ALARM_OVERLOAD, ALARM_VOLTAGE, MAX_ID,
};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest delay that can be asked for: an emulator that is being stopped waits for it.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No replies.
    Silent,
    /// Random bytes; the fault's probability is per byte.
    Noise,
    /// Replies lose their end.
    Truncate,
    /// Replies come late by this much.
    Delay(Duration),
    /// Replies have a wrong checksum.
    Checksum,
    /// One byte of a reply is repeated.
    Double,
    /// The servo reports these alarm bits and acts on them.
    Alarm(u8),
    /// Another servo with the same id answers at the same time.
    Duplicate,
    /// The port disappears.
    Unplug,
}

/// One fault: what, whose, how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The servo's id; `None` for every servo.
    pub id: Option<u8>,
    /// Share of replies (of bytes for noise) that it strikes, 0..1.
    pub probability: f64,
}

const NAMES: [(&str, FaultKind); 12] = [
    ("silent", FaultKind::Silent),
    ("noise", FaultKind::Noise),
    ("truncate", FaultKind::Truncate),
    ("checksum", FaultKind::Checksum),
    ("double", FaultKind::Double),
    ("duplicate", FaultKind::Duplicate),
    ("unplug", FaultKind::Unplug),
    ("overload", FaultKind::Alarm(ALARM_OVERLOAD)),
    ("overheat", FaultKind::Alarm(ALARM_OVERHEAT)),
    ("overcurrent", FaultKind::Alarm(ALARM_OVERCURRENT)),
    ("voltage", FaultKind::Alarm(ALARM_VOLTAGE)),
    ("angle", FaultKind::Alarm(ALARM_ANGLE)),
];

impl Fault {
    /// `kind` always, on servo `id`.
    pub fn on(id: u8, kind: FaultKind) -> Self {
        Self {
            kind,
            id: Some(id),
            probability: 1.0,
        }
    }

    /// `kind` always, on every servo.
    pub fn everywhere(kind: FaultKind) -> Self {
        Self {
            kind,
            id: None,
            probability: 1.0,
        }
    }

    fn strikes(&self, id: u8) -> bool {
        self.id.is_none_or(|own| own == id)
    }
}

impl FromStr for Fault {
    type Err = EmulatorError;

    fn from_str(text: &str) -> Result<Self, EmulatorError> {
        parse(text.trim()).map_err(|reason| EmulatorError::Fault {
            text: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Fault, String> {
    let (rest, probability) = match text.split_once('@') {
        Some((rest, p)) => (rest, probability(p)?),
        None => (text, 1.0),
    };
    let (rest, value) = match rest.split_once('=') {
        Some((rest, value)) => (rest, Some(value)),
        None => (rest, None),
    };
    let (name, id) = match rest.split_once(':') {
        Some((name, id)) => (name, Some(id)),
        None => (rest, None),
    };
    if name == "noise" {
        let rate = id
            .or(value)
            .ok_or("noise needs a probability, as in noise:0.01")?;
        return Ok(Fault {
            probability: self::probability(rate)?,
            ..Fault::everywhere(FaultKind::Noise)
        });
    }
    let kind = match value {
        Some(value) if name == "delay" => FaultKind::Delay(duration(value)?),
        Some(_) => return Err(format!("{name} takes no value after =")),
        None if name == "delay" => return Err("delay needs a time, as in delay:4=5ms".to_owned()),
        None => kind(name)?,
    };
    let id = match id {
        None | Some("*") => None,
        Some(_) if kind == FaultKind::Unplug => return Err("unplug takes no id".to_owned()),
        Some(id) => Some(servo_id(id)?),
    };
    Ok(Fault {
        kind,
        id,
        probability,
    })
}

fn kind(name: &str) -> Result<FaultKind, String> {
    NAMES
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, kind)| *kind)
        .ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(n, _)| *n).chain(["delay"]).collect();
            format!(
                "no fault is called {name:?}; there are {}",
                names.join(", ")
            )
        })
}

fn servo_id(text: &str) -> Result<u8, String> {
    let id = text.parse::<u8>().ok().filter(|id| *id <= MAX_ID);
    id.ok_or_else(|| format!("{text:?} is no servo id (0 to {MAX_ID})"))
}

fn probability(text: &str) -> Result<f64, String> {
    let p = text.parse::<f64>().ok().filter(|p| (0.0..=1.0).contains(p));
    p.ok_or_else(|| format!("{text:?} is no probability (0 to 1)"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let seconds = units.iter().find_map(|(unit, scale)| {
        text.strip_suffix(unit)
            .and_then(|number| number.parse::<f64>().ok())
            .map(|n| n * scale)
    });
    seconds
        .filter(|s| (0.0..=MAX_DELAY.as_secs_f64()).contains(s))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            format!(
                "{text:?} is no time up to {} s with its unit, as 5ms",
                MAX_DELAY.as_secs()
            )
        })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == FaultKind::Noise {
            return write!(f, "noise:{}", self.probability);
        }
        let name = NAMES.iter().find(|(_, kind)| *kind == self.kind);
        f.write_str(name.map_or(
            if matches!(self.kind, FaultKind::Delay(_)) {
                "delay"
            } else {
                "alarm"
            },
            |n| n.0,
        ))?;
        if let Some(id) = self.id {
            write!(f, ":{id}")?;
        }
        if let FaultKind::Delay(time) = self.kind {
            write!(f, "={}us", time.as_micros())?;
        }
        if self.probability < 1.0 {
            write!(f, "@{}", self.probability)?;
        }
        Ok(())
    }
}

/// Switches faults on and off from any thread; clones share one set of faults.
#[derive(Debug, Clone, Default)]
pub struct FaultHandle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    active: Mutex<Vec<Fault>>,
    waker: Mutex<Option<Waker>>,
}

impl FaultHandle {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Switches `fault` on.
    pub fn inject(&self, fault: Fault) {
        self.active().push(fault);
        self.wake();
    }

    /// Switches every fault equal to `fault` off.
    pub fn remove(&self, fault: &Fault) {
        self.active().retain(|f| f != fault);
        self.wake();
    }

    /// Switches all faults off. A port that was unplugged comes back under a new path (the same
    /// link, if it has one).
    pub fn clear(&self) {
        self.active().clear();
        self.wake();
    }

    /// The faults that are on.
    pub fn list(&self) -> Vec<Fault> {
        self.active().clone()
    }

    /// Whether the port is pulled out.
    pub fn unplugged(&self) -> bool {
        self.active().iter().any(|f| f.kind == FaultKind::Unplug)
    }

    /// Who must notice at once when the faults change.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    fn wake(&self) {
        if let Some(waker) = &*self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
    }

    fn active(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Probability per byte that the line is disturbed.
    pub(crate) fn noise(&self) -> f64 {
        let active = self.active();
        active
            .iter()
            .filter(|f| f.kind == FaultKind::Noise)
            .map(|f| f.probability)
            .fold(0.0, f64::max)
    }

    /// Alarm bits injected into servo `id`.
    pub(crate) fn alarms(&self, id: u8) -> u8 {
        let active = self.active();
        active
            .iter()
            .filter(|f| f.strikes(id))
            .fold(0, |bits, f| match f.kind {
                FaultKind::Alarm(alarm) => bits | alarm,
                _ => bits,
            })
    }

    /// What happens to the next reply of servo `id`; `chance` gives numbers in 0..1.
    pub(crate) fn reply_faults(&self, id: u8, mut chance: impl FnMut() -> f64) -> ReplyFaults {
        let mut out = ReplyFaults::default();
        for fault in self.active().iter().filter(|f| f.strikes(id)) {
            if fault.probability < 1.0 && chance() >= fault.probability {
                continue;
            }
            match fault.kind {
                FaultKind::Silent => out.silent = true,
                FaultKind::Truncate => out.truncate = true,
                FaultKind::Delay(by) => out.delay = out.delay.max(by),
                FaultKind::Checksum => out.checksum = true,
                FaultKind::Double => out.double = true,
                FaultKind::Duplicate => out.duplicate = true,
                FaultKind::Noise | FaultKind::Alarm(_) | FaultKind::Unplug => {}
            }
        }
        out
    }
}

/// What happens to one reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReplyFaults {
    pub(crate) silent: bool,
    pub(crate) truncate: bool,
    pub(crate) delay: Duration,
    pub(crate) checksum: bool,
    pub(crate) double: bool,
    pub(crate) duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn every_documented_form_parses() {
        assert_eq!(fault("silent:3"), Fault::on(3, FaultKind::Silent));
        assert_eq!(fault("silent:*"), Fault::everywhere(FaultKind::Silent));
        assert_eq!(
            fault("noise:0.01"),
            Fault {
                probability: 0.01,
                ..Fault::everywhere(FaultKind::Noise)
            }
        );
        assert_eq!(
            fault("truncate:2@0.1"),
            Fault {
                probability: 0.1,
                ..Fault::on(2, FaultKind::Truncate)
            }
        );
        assert_eq!(
            fault("delay:4=5ms"),
            Fault::on(4, FaultKind::Delay(Duration::from_millis(5)))
        );
        assert_eq!(
            fault("delay=250us").kind,
            FaultKind::Delay(Duration::from_micros(250))
        );
        assert_eq!(fault("overload:6"), Fault::on(6, FaultKind::Alarm(32)));
        assert_eq!(fault("unplug"), Fault::everywhere(FaultKind::Unplug));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, part) in [
            ("loud:3", "no fault is called"),
            ("silent:253", "no servo id"),
            ("silent:x", "no servo id"),
            ("noise", "needs a probability"),
            ("noise:2", "no probability"),
            ("truncate:1@x", "no probability"),
            ("delay:4", "needs a time"),
            ("delay:4=5", "with its unit"),
            ("delay:4=1e9s", "no time"),
            ("delay:4=NaNs", "no time"),
            ("silent:1=5ms", "no value"),
            ("unplug:1", "no id"),
        ] {
            let message = text.parse::<Fault>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn faults_strike_their_servo_only_and_can_be_taken_back() {
        let handle = FaultHandle::new();
        handle.inject(fault("silent:3"));
        handle.clone().inject(fault("overload:2"));
        assert!(handle.reply_faults(3, || 0.0).silent);
        assert_eq!(handle.reply_faults(4, || 0.0), ReplyFaults::default());
        assert_eq!((handle.alarms(2), handle.alarms(3)), (32, 0));
        handle.remove(&fault("silent:3"));
        assert!(!handle.reply_faults(3, || 0.0).silent);
        handle.clear();
        assert!(handle.list().is_empty());
    }

    #[test]
    fn probability_decides_by_chance() {
        let handle = FaultHandle::new();
        handle.inject(fault("double:1@0.25"));
        assert!(handle.reply_faults(1, || 0.2).double);
        assert!(!handle.reply_faults(1, || 0.3).double);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,40}") {
            if let Ok(fault) = text.parse::<Fault>() {
                let again: Fault = fault.to_string().parse().unwrap();
                prop_assert_eq!(again.id, fault.id);
            }
        }

        #[test]
        fn what_is_printed_parses_back(index in 0..NAMES.len(), id in prop::option::of(0u8..=252), thousandths in 1u32..1000) {
            let kind = NAMES[index].1;
            let id = id.filter(|_| !matches!(kind, FaultKind::Unplug | FaultKind::Noise));
            let fault = Fault { kind, id, probability: f64::from(thousandths) / 1000.0 };
            prop_assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
    }
}
