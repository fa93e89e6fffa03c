//! Follows a running session for people: the live panel where there is a terminal, topics and the
//! Rerun recording where asked for.

use crate::args::{Operator, OutputArgs};
use crate::failure::usage;
use crate::panel::{JointLine, Panel, Shared, Snapshot};
use crate::report;
use crate::session::{Rig, Session, Setup};
use crate::view::View;
use crate::world::World;
use anyhow::{Context, Result};
use crossterm::event::KeyEvent;
use sinew_runtime::JointFault;
use sinew_runtime::control::{ControlTelemetry, TickRecord};
use sinew_runtime::device::DeviceTelemetry;
use sinew_runtime::ring::RingReader;
use sinew_runtime::safety::EStop;
use sinew_runtime::slot::SlotReader;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the monitor looks.
const EVERY: Duration = Duration::from_millis(20);
const KEY_QUEUE: usize = 64;

/// Listeners of one session.
#[derive(Debug)]
pub(crate) struct Monitor {
    shared: Shared,
    keys: Receiver<KeyEvent>,
    panel: Option<Panel>,
    threads: Vec<JoinHandle<()>>,
}

/// What must be known before the threads start.
#[derive(Debug)]
pub(crate) struct Wanted {
    panel: bool,
    view: Option<View>,
    #[cfg(feature = "topics")]
    topics: Option<crate::topics::Topics>,
}

/// Refuses a keyboard that cannot be read: keys come from the panel, and that needs a terminal.
pub(crate) fn check_keyboard(who: Operator, output: &OutputArgs) -> Result<()> {
    if who != Operator::Keyboard || wants_panel(output) && Panel::is_possible() {
        return Ok(());
    }
    Err(usage(
        "the keyboard needs a terminal; run this in one without --json and --no-panel, or use --teleop scripted or topic",
    ))
}

fn wants_panel(output: &OutputArgs) -> bool {
    !output.no_panel && !output.json
}

/// Adds the listeners that the arguments ask for.
pub(crate) fn prepare(
    setup: &mut Setup,
    rig: &Rig,
    world: &World,
    output: &OutputArgs,
) -> Result<Wanted> {
    let view = output
        .view
        .as_deref()
        .map(|to| View::open(to, rig, world))
        .transpose()?;
    setup.add_sink();
    if view.is_some() {
        setup.add_sink();
    }
    #[cfg(feature = "topics")]
    let topics = if output.wants_topics() {
        setup.add_sink();
        Some(crate::topics::Topics::open(
            rig,
            world,
            setup.node(output)?,
            setup.estop(),
            output.supervisor.as_deref(),
        )?)
    } else {
        None
    };
    #[cfg(not(feature = "topics"))]
    if output.wants_topics() {
        return Err(usage(
            "this sinew was built without topics; build it with `--features topics`",
        ));
    }
    Ok(Wanted {
        panel: wants_panel(output) && Panel::is_possible(),
        view,
        #[cfg(feature = "topics")]
        topics,
    })
}

impl Monitor {
    /// Starts the listeners.
    pub(crate) fn start(
        session: &mut Session,
        wanted: Wanted,
        title: &str,
        help: &str,
    ) -> Result<Self> {
        let mut threads = Vec::new();
        #[cfg(feature = "topics")]
        if let Some(topics) = wanted.topics {
            threads.push(topics.publish(session.take_sink()?, session.stop.clone())?);
        }
        if let Some(view) = wanted.view {
            threads.push(view.follow(session.take_sink()?)?);
        }
        let snapshot = Snapshot {
            title: title.to_owned(),
            help: help.to_owned(),
            ..Snapshot::default()
        };
        let shared: Shared = Arc::new(Mutex::new(snapshot));
        let (key_sender, keys) = sync_channel(KEY_QUEUE);
        let follower = Follower {
            rig: session.rig.clone(),
            ticks: session.take_sink()?,
            device: std::mem::replace(
                &mut session.device_telemetry,
                sinew_runtime::slot::slot(DeviceTelemetry::default()).1,
            ),
            control: std::mem::replace(
                &mut session.control_telemetry,
                sinew_runtime::slot::slot(ControlTelemetry::default()).1,
            ),
            estop: session.estop.clone(),
            shared: shared.clone(),
        };
        threads.push(
            std::thread::Builder::new()
                .name("monitor".into())
                .spawn(move || follower.run())
                .context("cannot start the monitor's thread")?,
        );
        let panel = if wanted.panel {
            Some(Panel::start(shared.clone(), key_sender)?)
        } else {
            None
        };
        Ok(Self {
            shared,
            keys,
            panel,
            threads,
        })
    }

    /// Says what is going on: on the panel, or as a line where there is none and it changed.
    pub(crate) fn phase(&self, phase: &str, progress: Option<f64>) {
        let Ok(mut snapshot) = self.shared.lock() else {
            return;
        };
        if self.panel.is_none() && snapshot.phase != phase {
            eprintln!("  {phase}");
        }
        phase.clone_into(&mut snapshot.phase);
        snapshot.progress = progress;
    }

    /// The next key that was pressed.
    pub(crate) fn key(&self) -> Option<KeyEvent> {
        self.keys.try_recv().ok()
    }

    /// Lets keys trip and release the emergency stop, where nothing else listens to them.
    pub(crate) fn serve_estop(&self, estop: &EStop) {
        while let Some(key) = self.key() {
            crate::keyboard::stop_or_release(key, estop);
        }
    }

    /// Waits for the listeners, after the session's threads have ended.
    pub(crate) fn finish(self) {
        drop(self.panel);
        for thread in self.threads {
            // A listener that panicked has said so; the run itself was not touched.
            let _ = thread.join();
        }
    }
}

/// Keeps the panel's snapshot current.
struct Follower {
    rig: Rig,
    ticks: RingReader<TickRecord>,
    device: SlotReader<DeviceTelemetry>,
    control: SlotReader<ControlTelemetry>,
    estop: EStop,
    shared: Shared,
}

impl Follower {
    fn run(mut self) {
        loop {
            let closed = self.ticks.is_closed();
            let mut newest = None;
            while let Some(record) = self.ticks.pop() {
                newest = Some(record);
            }
            if let Some(record) = newest {
                self.show(&record);
            }
            if closed {
                return;
            }
            std::thread::sleep(EVERY);
        }
    }

    fn show(&mut self, record: &TickRecord) {
        let joints = self.joint_lines(record);
        let mut alarms: Vec<String> = joints
            .iter()
            .filter(|j| !j.fault.is_empty())
            .map(|j| format!("{}: {}", j.name, j.fault))
            .collect();
        if let Some(reason) = self.estop.tripped() {
            alarms.push(format!("emergency stop: {reason} (Enter releases it)"));
        }
        let released = &self.device.latest().released;
        let given_up = self.rig.names.iter().zip(released).filter(|(_, is)| **is);
        alarms.extend(given_up.map(|(name, _)| {
            format!("{name}: without torque after an alarm (Enter takes it up again)")
        }));
        let figures = self.figures();
        if let Ok(mut snapshot) = self.shared.lock() {
            snapshot.joints = joints;
            snapshot.alarms = alarms;
            snapshot.figures = figures;
        }
    }

    fn joint_lines(&self, record: &TickRecord) -> Vec<JointLine> {
        let state = &record.tick.state;
        let line = |(i, joint): (usize, &sinew_hardware::blueprint::Joint)| {
            let units = &self.rig.units.joints()[i];
            let [low, high] = joint.limits_rad;
            JointLine {
                name: joint.name.clone(),
                measured: units.to_lerobot(state.position[i]),
                target: units.to_lerobot(record.tick.target.position[i]),
                unit: crate::units::suffix(joint.norm),
                fraction: (state.position[i] - low) / (high - low),
                fault: match state.fault[i] {
                    JointFault::None => String::new(),
                    JointFault::Timeout => "no reply".to_owned(),
                    JointFault::Corrupt => "damaged reply".to_owned(),
                    JointFault::Alarm(bits) => crate::units::alarm(bits),
                },
            }
        };
        self.rig
            .blueprint
            .joints
            .iter()
            .enumerate()
            .map(line)
            .collect()
    }

    fn figures(&mut self) -> Vec<(String, String)> {
        let (control, device) = (self.control.latest(), self.device.latest());
        let (loop_stats, bus_stats) = (control.stats.summary(), device.stats.summary());
        let three = |s: &sinew_runtime::histogram::Summary| {
            format!(
                "p50 {}   p99 {}   max {}",
                report::time(s.p50_us),
                report::time(s.p99_us),
                report::time(s.max_us)
            )
        };
        let counts = format!(
            "late {}   skipped {}   stale frames {}   starved {}   time-outs {}",
            control.counters.pace.late,
            control.counters.pace.skipped,
            control.counters.stale_frame,
            control.counters.starved,
            device.counters.joint_timeouts.iter().sum::<u64>()
        );
        [
            (
                "loop",
                format!("{:.1} Hz", report::rate(&loop_stats.period)),
            ),
            ("wake-up error", three(&loop_stats.wake_error)),
            ("observation age", three(&loop_stats.observation_age)),
            ("bus", format!("{:.1} Hz", report::rate(&bus_stats.period))),
            ("bus cycle", three(&bus_stats.work)),
            ("misses", counts),
        ]
        .map(|(label, value)| (label.to_owned(), value))
        .into()
    }
}
