//! The control loop: at a fixed rate, turns the newest observation into a target.
//!
//! Every tick: snapshot the newest joint state and frames → ask the [`ActionSource`] → publish the
//! target to the device thread → leave a [`TickRecord`] for recorder, topics and panel. The loop
//! never waits for any of them.
//!
//! | miss | policy |
//! |---|---|
//! | a tick is late | it runs at once, counted; whole periods missed are skipped and counted, and steps go on as if they had run |
//! | joint state missing or stale | counted; no target is sent, and the device's watchdog takes over |
//! | frame missing or stale | counted and flagged; the source decides with what there is; a policy is not asked, see [`crate::actions`] |
//! | no action for this step | counted; no target is sent, so the arm holds, then does what [`crate::safety::OnStarve`] says |
//! | a reader is too slow | its record is dropped and counted |

mod report;
mod thread;
mod tick;

pub use report::{ControlCounters, ControlError, ControlFailure, ControlReport, ControlTelemetry};
pub use thread::ControlThread;
pub(crate) use thread::conclude;
pub use tick::{FrameStamp, Frames, MAX_CAMERAS, Observation, Tick, TickFlags, TickRecord};

use crate::actions::QueueCounters;
use crate::clock::Nanos;
use crate::frame::Frame;
use crate::histogram::Stats;
use crate::joints::{JointState, JointTarget};
use crate::pace::{Arrival, Pace, nanos};
use crate::ring::{RingReader, RingWriter, ring};
use crate::rt::{RtReport, RtRequest};
use crate::slot::{SlotReader, SlotWriter, slot};
use std::sync::Arc;
use std::time::Duration;

/// How often counts and histograms are published.
const TELEMETRY_EVERY: Duration = Duration::from_secs(1);

/// What a source did with one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionOutcome {
    /// The target is filled in: send it.
    Act,
    /// Stay where the last target was, on purpose.
    Hold,
    /// Nothing yet, and nothing was promised: the first chunk is still being computed.
    Waiting,
    /// There should be an action for this step, but there is none.
    Starved,
    /// There will be no more actions: the run is complete.
    Finished,
    /// The source cannot go on; [`ActionSource::failure`] says why.
    Failed,
}

/// Decides what to do: an action queue, a teleoperator, a replay. Runs in the loop thread, so it
/// must not block or allocate.
pub trait ActionSource: Send {
    /// Decides for one tick. On [`ActionOutcome::Act`], `target.position` holds goals in rad for
    /// `target.len` joints; time and number are filled in by the loop.
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome;

    /// Why the last outcome was [`ActionOutcome::Failed`].
    fn failure(&mut self) -> Option<String> {
        None
    }

    /// Counts of the queue behind this source, if there is one.
    fn queue_counters(&self) -> Option<QueueCounters> {
        None
    }
}

impl<F> ActionSource for F
where
    F: FnMut(&Observation, &mut JointTarget) -> ActionOutcome + Send,
{
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        self(observation, target)
    }
}

/// How a loop is run.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Time between ticks.
    pub period: Duration,
    /// Offset of the deadlines from whole periods of the clock. Just after the device's read has
    /// ended is where observations are youngest.
    pub phase: Duration,
    /// Age from which a joint state counts as stale.
    pub max_state_age: Duration,
    /// Age from which a frame counts as stale.
    pub max_frame_age: Duration,
    /// Starved ticks in a row after which the loop gives up; `None` for never.
    pub max_starved: Option<u32>,
    /// What the thread asks of the system.
    pub rt: RtRequest,
}

impl ControlConfig {
    /// A loop at `period`; states are stale after 100 ms, frames after 200 ms.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            phase: Duration::ZERO,
            max_state_age: Duration::from_millis(100),
            max_frame_age: Duration::from_millis(200),
            max_starved: None,
            rt: RtRequest::CONTROL,
        }
    }
}

/// Whether a loop has more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Call the next step at its deadline.
    Continue,
    /// The source is finished.
    Finished,
}

/// One loop's tick, without a thread.
pub struct ControlCore {
    config: ControlConfig,
    pace: Pace,
    epoch: Nanos,
    states: SlotReader<JointState>,
    cameras: Vec<SlotReader<Option<Arc<Frame>>>>,
    source: Box<dyn ActionSource>,
    targets: SlotWriter<JointTarget>,
    sinks: Vec<RingWriter<TickRecord>>,
    telemetry: Vec<SlotWriter<ControlTelemetry>>,
    telemetry_due: Nanos,
    observation: Observation,
    target: JointTarget,
    starved: u32,
    stats: Stats,
    counters: ControlCounters,
    started: Nanos,
    rt: RtReport,
}

impl std::fmt::Debug for ControlCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlCore")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl ControlCore {
    /// A loop between one device's slots.
    pub fn new(
        config: ControlConfig,
        states: SlotReader<JointState>,
        targets: SlotWriter<JointTarget>,
        source: Box<dyn ActionSource>,
    ) -> Result<Self, ControlError> {
        if config.period.is_zero() {
            return Err(ControlError::Config {
                problem: "the period must be longer than zero".to_owned(),
            });
        }
        Ok(Self {
            pace: Pace::new(config.period, 0),
            config,
            epoch: 0,
            states,
            cameras: Vec::new(),
            source,
            targets,
            sinks: Vec::new(),
            telemetry: Vec::new(),
            telemetry_due: 0,
            observation: Observation::default(),
            target: JointTarget::default(),
            starved: 0,
            stats: Stats::default(),
            counters: ControlCounters::default(),
            started: 0,
            rt: RtReport::default(),
        })
    }

    /// Adds a camera and returns the slot that takes its frames.
    pub fn add_camera(&mut self) -> Result<SlotWriter<Option<Arc<Frame>>>, ControlError> {
        if self.cameras.len() == MAX_CAMERAS {
            return Err(ControlError::Config {
                problem: format!("more than {MAX_CAMERAS} cameras"),
            });
        }
        let (writer, reader) = slot(None);
        self.cameras.push(reader);
        self.observation.cameras = self.cameras.len();
        Ok(writer)
    }

    /// A ring of every tick, for one reader. It drops, counted, what does not fit.
    pub fn add_sink(&mut self, capacity: usize) -> RingReader<TickRecord> {
        let (writer, reader) = ring(capacity);
        self.sinks.push(writer);
        reader
    }

    /// A slot with counts and histograms, renewed about once a second.
    pub fn telemetry(&mut self) -> SlotReader<ControlTelemetry> {
        let (writer, reader) = slot(ControlTelemetry::default());
        self.telemetry.push(writer);
        reader
    }

    /// Sets the first deadline, which is step 0 of the timeline.
    pub fn start(&mut self, now: Nanos) {
        self.pace.align(now, self.config.phase);
        self.epoch = self.pace.deadline();
        self.telemetry_due = now.saturating_add(nanos(TELEMETRY_EVERY));
    }

    /// When to call [`Self::step`].
    pub fn deadline(&self) -> Nanos {
        self.pace.deadline()
    }

    /// Runs the tick that starts at `now`.
    pub fn step(&mut self, now: Nanos) -> Result<Flow, ControlError> {
        let arrival = self.pace.arrive(now);
        self.note_arrival(&arrival);
        let mut flags = TickFlags::default();
        flags.set(TickFlags::LATE, arrival.late);
        self.observe(&arrival, &mut flags);
        let overruns = self.overruns();
        let flow = self.decide(&mut flags);
        flags.set(TickFlags::OVERRUN, self.overruns() > overruns);
        self.record(&arrival, flags);
        flow
    }

    /// Notes that the tick ended at `now`, and publishes what is due.
    pub fn end_step(&mut self, now: Nanos) {
        self.stats.work.record(now.saturating_sub(self.started));
        if now >= self.telemetry_due {
            self.telemetry_due = now.saturating_add(nanos(TELEMETRY_EVERY));
            self.publish_telemetry();
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> ControlCounters {
        ControlCounters {
            pace: self.pace.counters(),
            dropped: self.sinks.iter().map(RingWriter::dropped).sum(),
            queue: self.source.queue_counters(),
            ..self.counters
        }
    }

    /// The report, as far as it goes now.
    pub fn report(&self) -> ControlReport {
        ControlReport {
            rt: self.rt.clone(),
            counters: self.counters(),
            stats: self.stats.summary(),
        }
    }

    fn overruns(&self) -> u64 {
        self.source
            .queue_counters()
            .map_or(0, |counters| counters.overruns)
    }

    fn note_arrival(&mut self, arrival: &Arrival) {
        self.started = arrival.started_ns;
        self.stats.wake_error.record(arrival.wake_error_ns);
        if let Some(period) = arrival.period_ns {
            self.stats.period.record(period);
        }
    }

    /// Takes the newest of everything and judges its age.
    fn observe(&mut self, arrival: &Arrival, flags: &mut TickFlags) {
        let now = arrival.started_ns;
        self.observation.now_ns = now;
        self.observation.step = (arrival.scheduled_ns - self.epoch) / self.pace.period_ns();
        self.observation.state = *self.states.latest();
        let no_state = self.states.seq() == 0;
        let state_age = if no_state {
            0
        } else {
            now.saturating_sub(self.observation.state.captured_ns)
        };
        flags.set(TickFlags::NO_STATE, no_state);
        flags.set(
            TickFlags::STALE_STATE,
            state_age > nanos(self.config.max_state_age),
        );
        self.observation.age_ns = state_age;
        self.observation.stale_cameras = 0;
        for camera in 0..self.cameras.len() {
            self.observe_camera(camera, now, flags);
        }
        if !no_state {
            self.stats.observation_age.record(self.observation.age_ns);
        }
    }

    fn observe_camera(&mut self, camera: usize, now: Nanos, flags: &mut TickFlags) {
        let held = &mut self.observation.frames[camera];
        // Let go before moving on: the slot still holds the same frame, so it is never the loop that
        // frees a frame. The camera thread does, when it publishes.
        *held = None;
        held.clone_from(self.cameras[camera].latest());
        let age = held
            .as_ref()
            .map(|frame| now.saturating_sub(frame.captured_ns));
        flags.set(TickFlags::NO_FRAME, age.is_none());
        let stale = age.is_some_and(|age| age > nanos(self.config.max_frame_age));
        flags.set(TickFlags::STALE_FRAME, stale);
        self.observation.stale_cameras |= u8::from(stale || age.is_none()) << camera;
        let age = age.unwrap_or(0);
        self.observation.age_ns = self.observation.age_ns.max(age);
    }

    /// Asks the source, if there is something to ask about, and sends what it says.
    fn decide(&mut self, flags: &mut TickFlags) -> Result<Flow, ControlError> {
        if flags.contains(TickFlags::NO_STATE) || flags.contains(TickFlags::STALE_STATE) {
            return Ok(Flow::Continue);
        }
        if self.target.seq == 0 {
            self.target.len = self.observation.state.len;
        }
        let outcome = self.source.act(&self.observation, &mut self.target);
        flags.set(TickFlags::STARVED, outcome == ActionOutcome::Starved);
        self.starved = if outcome == ActionOutcome::Starved {
            self.starved.saturating_add(1)
        } else {
            0
        };
        match outcome {
            ActionOutcome::Act => self.send(flags),
            ActionOutcome::Hold if self.target.seq > 0 => self.send(flags),
            ActionOutcome::Hold => {}
            ActionOutcome::Waiting => self.counters.waiting += 1,
            ActionOutcome::Starved => return self.tolerate_starvation(),
            ActionOutcome::Finished => return Ok(Flow::Finished),
            ActionOutcome::Failed => {
                let problem = self
                    .source
                    .failure()
                    .unwrap_or_else(|| "the source gave no reason".to_owned());
                return Err(ControlError::Source { problem });
            }
        }
        Ok(Flow::Continue)
    }

    fn send(&mut self, flags: &mut TickFlags) {
        flags.set(TickFlags::ACTED, true);
        self.counters.acted += 1;
        let now = self.observation.now_ns;
        self.counters.first_target_ns.get_or_insert(now);
        self.target.seq += 1;
        self.target.issued_ns = self.observation.now_ns;
        self.targets.publish(self.target);
    }

    fn tolerate_starvation(&self) -> Result<Flow, ControlError> {
        match self.config.max_starved {
            Some(most) if self.starved > most => Err(ControlError::Starved {
                ticks: self.starved,
            }),
            _ => Ok(Flow::Continue),
        }
    }

    /// Counts the tick's flags and leaves its record in every ring.
    fn record(&mut self, arrival: &Arrival, flags: TickFlags) {
        self.counters.no_state += u64::from(flags.contains(TickFlags::NO_STATE));
        self.counters.stale_state += u64::from(flags.contains(TickFlags::STALE_STATE));
        self.counters.no_frame += u64::from(flags.contains(TickFlags::NO_FRAME));
        self.counters.stale_frame += u64::from(flags.contains(TickFlags::STALE_FRAME));
        self.counters.starved += u64::from(flags.contains(TickFlags::STARVED));
        let tick = self.tick(arrival, flags);
        for sink in &mut self.sinks {
            sink.push(TickRecord {
                tick,
                frames: self.observation.frames.clone(),
            });
        }
    }

    fn tick(&self, arrival: &Arrival, flags: TickFlags) -> Tick {
        let Observation {
            step,
            now_ns,
            state,
            frames,
            cameras,
            age_ns,
            ..
        } = &self.observation;
        let stamp = |frame: &Option<Arc<Frame>>| {
            frame
                .as_ref()
                .map_or_else(FrameStamp::default, |frame| FrameStamp {
                    seq: frame.seq,
                    captured_ns: frame.captured_ns,
                })
        };
        Tick {
            seq: self.pace.counters().ticks,
            step: *step,
            scheduled_ns: arrival.scheduled_ns,
            started_ns: *now_ns,
            wake_error_ns: arrival.wake_error_ns,
            skipped: arrival.skipped,
            state: *state,
            state_age_ns: if state.seq == 0 {
                0
            } else {
                now_ns.saturating_sub(state.captured_ns)
            },
            frames: std::array::from_fn(|camera| stamp(&frames[camera])),
            cameras: *cameras,
            age_ns: *age_ns,
            target: self.target,
            flags,
        }
    }

    fn publish_telemetry(&mut self) {
        let counters = self.counters();
        for slot in &mut self.telemetry {
            slot.publish_with(|held| {
                held.counters = counters;
                held.stats.copy_from(&self.stats);
            });
        }
    }
}
