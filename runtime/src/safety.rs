//! What stands between every target and the motors: limits, watchdog, emergency stop, alarms.
//!
//! The filter belongs to the device thread, below every policy and every teleoperator. Whatever
//! comes in, what goes out is finite, inside the position limits and within the velocity and step
//! limits of the position sent before. A joint that *starts* outside its limits is led back inside
//! at the limited speed and never further out.
//!
//! | what happens | what the arm does |
//! |---|---|
//! | target out of limits, or too far in one cycle | moves as far as allowed |
//! | target not finite, of another robot, or stamped in the future | holds, as if it had not come |
//! | no fresh target for [`SafetyConfig::ttl`] | [`OnStarve`] |
//! | servo alarm | [`OnAlarm`] |
//! | emergency stop | [`SafetyConfig::on_estop`] until [`EStop::reset`] |

mod estop;
#[cfg(test)]
mod tests;

pub use estop::{EStop, EStopReason};

use crate::clock::Nanos;
use crate::joints::{JointCounts, JointFault, JointState, JointTarget, MAX_JOINTS};
use crate::pace::nanos;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::time::Duration;

/// What one joint may do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JointLimits {
    /// Lowest position, rad.
    pub min_rad: f64,
    /// Highest position, rad.
    pub max_rad: f64,
    /// Highest speed, rad/s.
    pub max_velocity: f64,
    /// Farthest move of the goal in one device cycle, rad, whatever time has passed since the one
    /// before: after a stall the speed alone would allow a leap.
    pub max_step_rad: f64,
}

impl JointLimits {
    fn problem(&self) -> Option<&'static str> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !(self.min_rad.is_finite() && self.max_rad.is_finite() && self.min_rad <= self.max_rad) {
            Some("the lowest position must not be above the highest, and both must be finite")
        } else if !positive(self.max_velocity) {
            Some("the highest speed must be a positive number of rad/s")
        } else if !positive(self.max_step_rad) {
            Some("the farthest step must be a positive number of rad")
        } else {
            None
        }
    }
}

/// Limits of all joints, in blueprint order.
pub type SafetyLimits = Vec<JointLimits>;

/// What to do when targets stay away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStarve {
    /// Hold the last position until targets come again.
    Hold,
    /// Hold, then yield to whatever pushes the arm, then switch torque off until [`EStop::reset`].
    HoldThenComply {
        /// Time to hold.
        hold: Duration,
        /// Time over which the goals move from the held position to the measured one.
        ramp: Duration,
    },
}

/// What to do when a servo reports one of [`SafetyConfig::alarm_mask`]. Every alarm is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAlarm {
    /// Go on.
    Report,
    /// Hold that joint while the alarm lasts; the others go on.
    #[default]
    HoldJoint,
    /// Hold the whole arm while the alarm lasts.
    HoldAll,
    /// Switch that joint's torque off until [`EStop::reset`]; the others go on.
    ReleaseJoint,
    /// Switch torque off until [`EStop::reset`].
    Comply,
}

/// What to do while the emergency stop is tripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEStop {
    /// Hold the last position.
    #[default]
    Hold,
    /// Switch torque off.
    Comply,
}

/// A robot's safety policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SafetyConfig {
    /// Limits of each joint.
    pub limits: SafetyLimits,
    /// Age from which a target no longer counts.
    pub ttl: Duration,
    /// What to do when targets stay away.
    pub on_starve: OnStarve,
    /// What to do when a servo reports an alarm.
    pub on_alarm: OnAlarm,
    /// The alarm bits (device specific) that `on_alarm` is for; others are counted only.
    pub alarm_mask: u8,
    /// What to do while the emergency stop is tripped.
    pub on_estop: OnEStop,
}

impl SafetyConfig {
    /// Holds on everything, every alarm included; targets count for 200 ms.
    pub fn holding(limits: SafetyLimits) -> Self {
        Self {
            limits,
            ttl: Duration::from_millis(200),
            on_starve: OnStarve::Hold,
            on_alarm: OnAlarm::default(),
            alarm_mask: u8::MAX,
            on_estop: OnEStop::default(),
        }
    }

    /// Index of the first joint whose limits make no sense, and why.
    pub fn problem(&self) -> Option<(usize, &'static str)> {
        self.limits
            .iter()
            .enumerate()
            .find_map(|(joint, limits)| Some((joint, limits.problem()?)))
    }
}

/// Why the arm does not follow its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafetyCause {
    /// No acceptable target within the time allowed.
    Starved,
    /// The emergency stop is tripped.
    EStop,
    /// A servo reports an alarm.
    Alarm,
}

/// What the device thread must do this cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was ever sent and nothing can be: write nothing.
    Wait,
    /// Write the output, which follows the target.
    Follow,
    /// Write the output, which holds the last position.
    Hold(SafetyCause),
    /// Write the output, which gives way to the measured position.
    Yield(SafetyCause),
    /// Switch torque off and write nothing. The output is the measured position.
    Comply(SafetyCause),
}

/// How often safety stepped in. Cycles are device cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SafetyCounters {
    /// Cycles in which the target was followed.
    pub followed: u64,
    /// Cycles in which the last position was held.
    pub held: u64,
    /// Cycles in which the arm gave way.
    pub yielded: u64,
    /// Cycles with torque off.
    pub complied: u64,
    /// Joint goals moved into the position limits.
    pub position_limited: u64,
    /// Joint goals that the velocity limit shortened.
    pub velocity_limited: u64,
    /// Joint goals that the step limit shortened.
    pub step_limited: u64,
    /// Cycles with a target that was not finite.
    pub not_finite: u64,
    /// Cycles with a target for another number of joints.
    pub wrong_length: u64,
    /// Cycles with a target stamped in the future.
    pub from_future: u64,
    /// Cycles that could not start to move, because the measured position makes no sense.
    pub no_anchor: u64,
    /// Times that targets stayed away.
    pub starvations: u64,
    /// Times that the emergency stop was tripped.
    pub estops: u64,
    /// Alarms raised by each joint.
    pub alarms: JointCounts,
    /// Times that a joint was given up because of an alarm.
    pub releases: u64,
}

/// The last position sent, which the next one is measured against.
#[derive(Debug, Clone, Copy)]
struct Sent {
    position: [f64; MAX_JOINTS],
    at: Nanos,
}

/// The filter. One a robot; never allocates after [`Self::new`].
#[derive(Debug)]
pub struct SafetyFilter {
    config: SafetyConfig,
    estop: EStop,
    resets_seen: u64,
    sent: Option<Sent>,
    sent_before: Option<Sent>,
    starved_since: Option<Nanos>,
    yield_from: [f64; MAX_JOINTS],
    latched: Option<SafetyCause>,
    estop_seen: bool,
    alarmed: [bool; MAX_JOINTS],
    /// Joints whose alarm is one to react to.
    acting: [bool; MAX_JOINTS],
    released: [bool; MAX_JOINTS],
    counters: SafetyCounters,
}

impl SafetyFilter {
    /// A filter that has sent nothing yet. `config.limits` has one entry for each joint.
    pub fn new(config: SafetyConfig, estop: EStop) -> Self {
        let counters = SafetyCounters {
            alarms: JointCounts::new(config.limits.len()),
            ..SafetyCounters::default()
        };
        Self {
            config,
            resets_seen: estop.resets(),
            estop,
            sent: None,
            sent_before: None,
            starved_since: None,
            yield_from: [0.0; MAX_JOINTS],
            latched: None,
            estop_seen: false,
            alarmed: [false; MAX_JOINTS],
            acting: [false; MAX_JOINTS],
            released: [false; MAX_JOINTS],
            counters,
        }
    }

    /// Decides what to send at `now`, given the newest target and state. `out` always ends finite.
    pub fn apply(
        &mut self,
        target: &JointTarget,
        state: &JointState,
        now: Nanos,
        out: &mut JointTarget,
    ) -> Verdict {
        self.sent_before = self.sent;
        *out = JointTarget {
            len: self.joints(),
            ..*target
        };
        self.take_reset();
        self.take_anchor(state, now);
        let halt = self.halt(state);
        let verdict = match (self.latched, halt) {
            (Some(cause), _) => Verdict::Comply(cause),
            _ if self.sent.is_none() => Verdict::Wait,
            (None, Some(cause)) => Verdict::Hold(cause),
            (None, None) if self.accepts(target, now) => self.follow(target, now),
            (None, None) => self.starve(state, now),
        };
        self.finish(verdict, state, now, out);
        verdict
    }

    /// Takes back the last [`Self::apply`], whose output could not be sent.
    pub fn not_sent(&mut self) {
        self.sent = self.sent_before;
    }

    /// Forgets what was sent, because the arm may have been moved. The next cycle starts from the
    /// measured position.
    pub fn reanchor(&mut self) {
        self.sent = None;
    }

    /// The position last sent, rad; `None` before the first.
    pub fn sent(&self) -> Option<&[f64]> {
        self.sent
            .as_ref()
            .map(|sent| &sent.position[..self.config.limits.len().min(MAX_JOINTS)])
    }

    /// Joints to be kept without torque; the output holds the position that was sent to them last.
    pub fn released(&self) -> &[bool] {
        &self.released[..self.joints()]
    }

    /// The emergency stop that this filter obeys.
    pub fn estop(&self) -> &EStop {
        &self.estop
    }

    /// Counts so far.
    pub fn counters(&self) -> &SafetyCounters {
        &self.counters
    }

    fn joints(&self) -> usize {
        self.config.limits.len().min(MAX_JOINTS)
    }

    /// After a reset nothing that happened before counts, and the arm starts from where it is.
    fn take_reset(&mut self) {
        let resets = self.estop.resets();
        if resets != self.resets_seen {
            self.resets_seen = resets;
            self.latched = None;
            self.released = [false; MAX_JOINTS];
            self.starved_since = None;
            self.sent = None;
        }
    }

    /// Without a position sent before, the measured one is where motion starts.
    fn take_anchor(&mut self, state: &JointState, now: Nanos) {
        if self.sent.is_some() || state.seq == 0 {
            return;
        }
        let joints = self.joints();
        if state.len < joints || !self.is_plausible(state) {
            self.counters.no_anchor += 1;
            return;
        }
        let mut position = [0.0; MAX_JOINTS];
        position[..joints].copy_from_slice(&state.position[..joints]);
        self.sent = Some(Sent { position, at: now });
    }

    /// Whether every joint is within a turn of where it may be. An arm that
    /// reports anything else must not be driven from there.
    fn is_plausible(&self, state: &JointState) -> bool {
        let positions = self.config.limits.iter().zip(&state.position);
        positions.take(MAX_JOINTS).all(|(limits, position)| {
            (limits.min_rad - TAU..=limits.max_rad + TAU).contains(position)
        })
    }

    /// Emergency stop and alarms: latches what must latch, and says whether to hold.
    fn halt(&mut self, state: &JointState) -> Option<SafetyCause> {
        let alarm = self.note_alarms(state);
        let tripped = self.estop.tripped().is_some();
        self.counters.estops += u64::from(tripped && !self.estop_seen);
        self.estop_seen = tripped;
        if tripped {
            if self.config.on_estop == OnEStop::Comply {
                self.latched = Some(SafetyCause::EStop);
            }
            return Some(SafetyCause::EStop);
        }
        match self.config.on_alarm {
            OnAlarm::Comply if alarm => {
                self.latched.get_or_insert(SafetyCause::Alarm);
                Some(SafetyCause::Alarm)
            }
            OnAlarm::HoldAll if alarm => Some(SafetyCause::Alarm),
            _ => None,
        }
    }

    fn note_alarms(&mut self, state: &JointState) -> bool {
        let joints = self.joints();
        for joint in 0..joints {
            // A joint that was not heard this cycle keeps its alarm: silence is no all-clear.
            let (raised, acting) = match state.fault[joint] {
                JointFault::Alarm(bits) => (bits != 0, bits & self.config.alarm_mask != 0),
                JointFault::None => (false, false),
                JointFault::Timeout | JointFault::Corrupt => {
                    (self.alarmed[joint], self.acting[joint])
                }
            };
            self.counters.alarms[joint] += u64::from(raised && !self.alarmed[joint]);
            (self.alarmed[joint], self.acting[joint]) = (raised, acting);
            // It stays so when the alarm goes: without torque it always does.
            if acting && self.config.on_alarm == OnAlarm::ReleaseJoint && !self.released[joint] {
                self.released[joint] = true;
                self.counters.releases += 1;
            }
        }
        self.acting[..joints].contains(&true)
    }

    /// Whether a target may be followed at all; counts why not.
    fn accepts(&mut self, target: &JointTarget, now: Nanos) -> bool {
        let ttl = nanos(self.config.ttl);
        if target.seq == 0 {
            return false;
        }
        if target.len != self.joints() {
            self.counters.wrong_length += 1;
            return false;
        }
        if !target.positions().iter().all(|p| p.is_finite()) {
            self.counters.not_finite += 1;
            return false;
        }
        if target.issued_ns > now.saturating_add(ttl) {
            self.counters.from_future += 1;
            return false;
        }
        now.saturating_sub(target.issued_ns) <= ttl
    }

    fn follow(&mut self, target: &JointTarget, now: Nanos) -> Verdict {
        self.starved_since = None;
        let hold_alarmed = self.config.on_alarm == OnAlarm::HoldJoint;
        let Some(mut sent) = self.sent else {
            return Verdict::Wait;
        };
        let elapsed = now.saturating_sub(sent.at);
        for joint in 0..self.joints() {
            if !(hold_alarmed && self.acting[joint] || self.released[joint]) {
                sent.position[joint] =
                    self.limit(joint, sent.position[joint], target.position[joint], elapsed);
            }
        }
        self.sent = Some(sent);
        Verdict::Follow
    }

    /// The allowed position nearest to `wanted` that can be reached from `from` in `elapsed` ns.
    fn limit(&mut self, joint: usize, from: f64, wanted: f64, elapsed: Nanos) -> f64 {
        let limits = self.config.limits[joint];
        let inside = wanted.clamp(limits.min_rad, limits.max_rad);
        self.counters.position_limited += u64::from(inside != wanted);
        let by_velocity = limits.max_velocity * (elapsed as f64 * 1e-9);
        let reach = by_velocity.min(limits.max_step_rad);
        let distance = inside - from;
        if distance.abs() <= reach {
            return inside;
        }
        if by_velocity < limits.max_step_rad {
            self.counters.velocity_limited += 1;
        } else {
            self.counters.step_limited += 1;
        }
        // Rounding must not carry the goal past where it was going.
        (from + reach.copysign(distance)).clamp(from.min(inside), from.max(inside))
    }

    fn starve(&mut self, state: &JointState, now: Nanos) -> Verdict {
        if self.starved_since.is_none() {
            self.counters.starvations += 1;
            self.starved_since = Some(now);
            self.yield_from = self.sent.map_or([0.0; MAX_JOINTS], |sent| sent.position);
        }
        let elapsed = now.saturating_sub(self.starved_since.unwrap_or(now));
        let OnStarve::HoldThenComply { hold, ramp } = self.config.on_starve else {
            return Verdict::Hold(SafetyCause::Starved);
        };
        let (hold, ramp) = (nanos(hold), nanos(ramp));
        if elapsed < hold {
            Verdict::Hold(SafetyCause::Starved)
        } else if elapsed - hold < ramp {
            self.give_way(state, now, (elapsed - hold) as f64 / ramp as f64);
            Verdict::Yield(SafetyCause::Starved)
        } else {
            self.latched = Some(SafetyCause::Starved);
            Verdict::Comply(SafetyCause::Starved)
        }
    }

    /// Moves the goals from the held position to the measured one. A position servo pushes in
    /// proportion to the distance between the two, so its force fades as they meet.
    fn give_way(&mut self, state: &JointState, now: Nanos, share: f64) {
        let Some(mut sent) = self.sent else { return };
        let elapsed = now.saturating_sub(sent.at);
        for joint in 0..self.joints() {
            let measured = state.position[joint];
            if measured.is_finite() && state.fault[joint].is_fresh() {
                let from = self.yield_from[joint];
                let wanted = from + (measured - from) * share;
                sent.position[joint] = self.limit(joint, sent.position[joint], wanted, elapsed);
            }
        }
        self.sent = Some(sent);
    }

    /// Fills the output and counts the verdict.
    fn finish(&mut self, verdict: Verdict, state: &JointState, now: Nanos, out: &mut JointTarget) {
        let joints = self.joints();
        out.position = [0.0; MAX_JOINTS];
        let counter = match verdict {
            Verdict::Wait => None,
            Verdict::Follow => Some(&mut self.counters.followed),
            Verdict::Hold(_) => Some(&mut self.counters.held),
            Verdict::Yield(_) => Some(&mut self.counters.yielded),
            Verdict::Comply(_) => Some(&mut self.counters.complied),
        };
        if let Some(counter) = counter {
            *counter += 1;
        }
        let measured = &state.position[..joints];
        if matches!(verdict, Verdict::Comply(_)) && measured.iter().all(|p| p.is_finite()) {
            out.position[..joints].copy_from_slice(measured);
        } else if let Some(sent) = &mut self.sent {
            // Holding is sending the same again: time held gives no right to a leap afterwards.
            sent.at = sent.at.max(now);
            out.position[..joints].copy_from_slice(&sent.position[..joints]);
        }
    }
}
