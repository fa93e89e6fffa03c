//! A robot, its two real-time threads, its cameras, and what listens to them.

use crate::args::RobotArgs;
use crate::failure::usage;
use crate::world::World;
use anyhow::{Context, Result, anyhow};
use sinew_drivers::emulator::ServoConfig;
use sinew_drivers::feetech::bus::{BusOptions, FeetechBus};
use sinew_drivers::feetech::joint::{JointSpec, Protection};
use sinew_drivers::feetech::packet::{ALARM_OVERCURRENT, ALARM_OVERHEAT, ALARM_OVERLOAD};
use sinew_drivers::feetech::registers as reg;
use sinew_drivers::feetech::robot::{FeetechRobot, RobotOptions};
use sinew_hardware::blueprint::{BusKind, OnExit, OnOverload, OnWatchdog};
use sinew_hardware::{Blueprint, Calibration, Units};
use sinew_runtime::actions::{InferenceError, InferenceReport, InferenceThread};
use sinew_runtime::control::{
    ActionSource, ControlConfig, ControlCore, ControlReport, ControlTelemetry, ControlThread,
    TickRecord,
};
use sinew_runtime::device::{
    DeviceConfig, DeviceCore, DeviceReport, DeviceTelemetry, DeviceThread, Interpolation, OnStop,
    SafeOutcome, SentTarget,
};
use sinew_runtime::pace::period_of;
use sinew_runtime::ring::RingReader;
use sinew_runtime::safety::{EStop, JointLimits, OnAlarm, OnEStop, OnStarve, SafetyConfig};
use sinew_runtime::slot::{SlotReader, SlotWriter};
use sinew_runtime::stop::StopToken;
use sinew_runtime::{Clock, Frame, JointNames, JointState, JointTarget, MonotonicClock, Robot};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Time for the move to the rest pose at the end of a run.
const REST_OVER: Duration = Duration::from_secs(2);
/// Ticks that a slow listener may be behind before records are dropped, counted.
const SINK_TICKS: usize = 256;

/// What `on_overload` of a blueprint is for: too much torque, current or heat.
const OVERLOADED: u8 = ALARM_OVERLOAD | ALARM_OVERCURRENT | ALARM_OVERHEAT;

/// A robot's blueprint, calibration and units.
#[derive(Debug, Clone)]
pub(crate) struct Rig {
    pub(crate) blueprint: Blueprint,
    pub(crate) calibration: Calibration,
    pub(crate) units: Units,
    pub(crate) names: JointNames,
}

impl Rig {
    /// Loads the blueprint and the calibration that the arguments name.
    pub(crate) fn load(args: &RobotArgs) -> Result<Self> {
        let blueprint = Blueprint::load(&args.robot).map_err(usage)?;
        feetech_baud(&blueprint)?;
        let calibration = match &args.calibration {
            Some(named) => read_calibration(&blueprint, named)?,
            None => Calibration::from_blueprint(&blueprint).map_err(usage)?,
        };
        let units = Units::new(&blueprint, &calibration).map_err(usage)?;
        let names = blueprint.joint_names();
        Ok(Self {
            blueprint,
            calibration,
            units,
            names,
        })
    }

    fn joint_specs(&self) -> Vec<JointSpec> {
        let joints = self.blueprint.joints.iter();
        joints
            .filter_map(|joint| {
                let calibration = self.calibration.get(&joint.name)?;
                Some(JointSpec {
                    homing_offset: calibration.homing_offset,
                    range_min: calibration.range_min,
                    range_max: calibration.range_max,
                    drive_mode: calibration.drive_mode == 1,
                    center_rad: joint.center_rad,
                    protection: (joint.name == "gripper").then_some(Protection::GRIPPER),
                    stall_torque_nm: joint.max_torque_nm.unwrap_or(0.0),
                    ..JointSpec::new(joint.name.clone(), calibration.id)
                })
            })
            .collect()
    }

    /// Servos for the emulator that hold this calibration, each joint at rest.
    pub(crate) fn emulated_servos(&self) -> Vec<ServoConfig> {
        let joints = self.blueprint.joints.iter().zip(self.units.joints());
        joints
            .filter_map(|(joint, units)| {
                let calibration = self.calibration.get(&joint.name)?;
                Some(ServoConfig {
                    position_ticks: f64::from(units.raw_from_rad(joint.rest_rad)),
                    eeprom: vec![
                        (reg::HOMING_OFFSET, calibration.homing_offset),
                        (reg::MIN_POSITION_LIMIT, calibration.range_min),
                        (reg::MAX_POSITION_LIMIT, calibration.range_max),
                    ],
                    ..ServoConfig::new(calibration.id)
                })
            })
            .collect()
    }

    /// Opens the robot's bus and checks its servos.
    pub(crate) fn connect(&self, args: &RobotArgs) -> Result<Box<dyn Robot>> {
        Ok(Box::new(self.connect_feetech(args)?))
    }

    /// The same, as the concrete driver, for benchmarks.
    pub(crate) fn connect_feetech(&self, args: &RobotArgs) -> Result<FeetechRobot> {
        let baud = feetech_baud(&self.blueprint)?;
        let port = find_port(&self.blueprint, args)?;
        let bus = FeetechBus::open(
            &port,
            BusOptions {
                baud,
                ..BusOptions::default()
            },
        )
        .map_err(usage)?;
        FeetechRobot::connect(bus, self.joint_specs(), RobotOptions::default()).map_err(usage)
    }

    fn safety(&self) -> SafetyConfig {
        let limits = self.blueprint.joints.iter().map(|joint| JointLimits {
            min_rad: joint.limits_rad[0],
            max_rad: joint.limits_rad[1],
            max_velocity: joint.max_velocity_rad_s,
            max_step_rad: joint.max_step_rad,
        });
        let policy = &self.blueprint.safety;
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        SafetyConfig {
            limits: limits.collect(),
            ttl: millis(policy.watchdog_ms),
            on_starve: match policy.on_watchdog {
                OnWatchdog::Hold => OnStarve::Hold,
                OnWatchdog::HoldThenComply { hold_ms, ramp_ms } => OnStarve::HoldThenComply {
                    hold: millis(hold_ms),
                    ramp: millis(ramp_ms),
                },
            },
            on_alarm: match policy.on_overload {
                OnOverload::Report => OnAlarm::Report,
                OnOverload::ReleaseJoint => OnAlarm::ReleaseJoint,
                OnOverload::ReleaseAll => OnAlarm::Comply,
            },
            alarm_mask: OVERLOADED,
            on_estop: OnEStop::Hold,
        }
    }

    fn on_stop(&self) -> OnStop {
        match self.blueprint.safety.on_exit {
            OnExit::Comply => OnStop::Comply,
            OnExit::Hold => OnStop::Hold,
            OnExit::Rest => OnStop::Rest {
                pose: self.blueprint.rest(),
                over: REST_OVER,
            },
        }
    }
}

/// The rate of the robot's servo bus: the one kind of bus that is driven from here so far.
pub(crate) fn feetech_baud(blueprint: &Blueprint) -> Result<u32> {
    match blueprint.buses.first() {
        Some(bus) if bus.kind == BusKind::Feetech => Ok(bus.baud.unwrap_or(1_000_000)),
        Some(bus) => Err(usage(format!(
            "{} is on a bus of kind {}, which cannot be driven from here; `sinew sim go2-walk` runs a simulated one",
            blueprint.name, bus.kind
        ))),
        None => Err(usage(format!(
            "the blueprint of {} has no bus",
            blueprint.name
        ))),
    }
}

fn read_calibration(blueprint: &Blueprint, named: &str) -> Result<Calibration> {
    let path = if named.ends_with(".json") || named.contains('/') {
        PathBuf::from(named)
    } else {
        Calibration::default_path(&blueprint.robot_type, named).map_err(usage)?
    };
    Calibration::read(path).map_err(usage)
}

/// The port that the arguments name, or the only one that fits the blueprint.
fn find_port(blueprint: &Blueprint, args: &RobotArgs) -> Result<String> {
    match args.port.as_deref() {
        Some("sim") => Ok(crate::world::default_port().to_string_lossy().into_owned()),
        Some(port) => Ok(port.to_owned()),
        None => {
            let pattern = blueprint
                .buses
                .first()
                .and_then(|bus| bus.port.as_deref())
                .unwrap_or("/dev/ttyACM*");
            let mut found = matching(pattern);
            match (found.pop(), found.len()) {
                (Some(port), 0) => Ok(port),
                (None, _) => Err(usage(format!(
                    "no port matches {pattern}; plug the robot in, name its port with --port, or start `sinew sim so101-pick` and use --port sim"
                ))),
                (Some(last), more) => Err(usage(format!(
                    "{} ports match {pattern} ({}, {last}); choose one with --port",
                    more + 1,
                    found.join(", ")
                ))),
            }
        }
    }
}

/// Files that match `directory/prefix*`.
fn matching(pattern: &str) -> Vec<String> {
    let path = Path::new(pattern);
    let directory = path.parent().unwrap_or(Path::new("/dev"));
    let prefix = path
        .file_name()
        .map(|n| n.to_string_lossy().trim_end_matches('*').to_owned())
        .unwrap_or_default();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|e| e.file_name().to_string_lossy().starts_with(&prefix))
        .map(|e| e.path().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Rates of the two threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// Bus cycles a second.
    pub(crate) bus_hz: f64,
    /// Loop ticks a second.
    pub(crate) loop_hz: f64,
}

impl Rates {
    fn periods(self) -> Result<(Duration, Duration)> {
        let period = |hz: f64, what: &str| {
            period_of(hz).ok_or_else(|| usage(format!("{what} {hz} is not a rate in Hz")))
        };
        Ok((
            period(self.bus_hz, "--bus-rate")?,
            period(self.loop_hz, "the loop rate")?,
        ))
    }
}

/// A session before its threads run: listeners are added here.
#[derive(Debug)]
pub(crate) struct Setup {
    rig: Rig,
    device: DeviceCore,
    targets: SlotWriter<JointTarget>,
    control: ControlConfig,
    sinks: usize,
    #[cfg(feature = "topics")]
    node: Option<Arc<sinew_runtime::topics::Node>>,
    pub(crate) stop: StopToken,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Setup {
    /// Prepares the threads of `robot`.
    pub(crate) fn new(
        rig: Rig,
        robot: Box<dyn Robot>,
        rates: Rates,
        stop: StopToken,
    ) -> Result<Self> {
        let (bus_period, loop_period) = rates.periods()?;
        let mut config = DeviceConfig::new(bus_period, rig.safety());
        config.on_stop = rig.on_stop();
        config.interpolation = Interpolation::Linear(loop_period);
        let (device, targets) = DeviceCore::new(robot, config).map_err(usage)?;
        Ok(Self {
            rig,
            device,
            targets,
            control: ControlConfig::new(loop_period),
            sinks: 0,
            #[cfg(feature = "topics")]
            node: None,
            stop,
            clock: Arc::new(MonotonicClock),
        })
    }

    /// Newest joint states, for an operator.
    pub(crate) fn states(&mut self) -> SlotReader<JointState> {
        self.device.subscribe()
    }

    /// The emergency stop, for the topic that trips it.
    #[cfg(feature = "topics")]
    pub(crate) fn estop(&self) -> EStop {
        self.device.estop()
    }

    /// The session's one node on the topics, opened when it is first asked for.
    #[cfg(feature = "topics")]
    pub(crate) fn node(
        &mut self,
        output: &crate::args::OutputArgs,
    ) -> Result<Arc<sinew_runtime::topics::Node>> {
        let node = match self.node.take() {
            Some(node) => node,
            None => Arc::new(crate::topics::open_node(&self.rig, output)?),
        };
        self.node = Some(node.clone());
        Ok(node)
    }

    /// Asks for one more listener to every tick; they come with [`Session::sinks`].
    pub(crate) fn add_sink(&mut self) {
        self.sinks += 1;
    }

    /// When each target reached the motors, for one listener.
    pub(crate) fn sent_targets(&mut self) -> RingReader<SentTarget> {
        self.device.sent_targets(SINK_TICKS)
    }

    /// Ends the run when no action came for this many ticks.
    pub(crate) fn give_up_after(&mut self, starved_ticks: u32) {
        self.control.max_starved = Some(starved_ticks);
    }

    /// Starts everything.
    pub(crate) fn start(mut self, source: Box<dyn ActionSource>, world: &World) -> Result<Session> {
        let states = self.device.subscribe();
        let mut control = ControlCore::new(self.control, states, self.targets, source)?;
        let mut cameras = Vec::new();
        for camera in world.cameras() {
            cameras.push(forward_camera(
                camera,
                control.add_camera()?,
                self.stop.clone(),
            )?);
        }
        let sinks = (0..self.sinks)
            .map(|_| control.add_sink(SINK_TICKS))
            .collect();
        let (device_telemetry, control_telemetry) = (self.device.telemetry(), control.telemetry());
        let estop = self.device.estop();
        let device = DeviceThread::spawn(self.device, self.clock.clone(), self.stop.clone())?;
        let control = ControlThread::spawn(control, self.clock, self.stop.clone())?;
        if !device.rt().is_complete() {
            tracing::warn!("real-time set-up is incomplete: {}", device.rt());
        }
        Ok(Session {
            rig: self.rig,
            device,
            control,
            cameras,
            inference: None,
            sinks,
            device_telemetry,
            control_telemetry,
            estop,
            #[cfg(feature = "topics")]
            stop: self.stop,
        })
    }
}

/// Hands new frames to the loop; the loop takes the newest when it ticks.
fn forward_camera(
    feed: crate::world::Camera,
    mut slot: SlotWriter<Option<Arc<Frame>>>,
    stop: StopToken,
) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new()
        .name(format!("camera-{}", feed.name))
        .spawn(move || {
            let mut seen = 0;
            while !stop.is_set() {
                if let Some(frame) = feed.newer_than(seen) {
                    seen = frame.seq;
                    slot.publish(Some(frame));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
    thread.context("cannot start a camera thread")
}

/// A running session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) rig: Rig,
    device: DeviceThread,
    control: ControlThread,
    cameras: Vec<JoinHandle<()>>,
    inference: Option<InferenceThread>,
    /// One ring a listener that asked for it.
    pub(crate) sinks: Vec<RingReader<TickRecord>>,
    pub(crate) device_telemetry: SlotReader<DeviceTelemetry>,
    pub(crate) control_telemetry: SlotReader<ControlTelemetry>,
    pub(crate) estop: EStop,
    #[cfg(feature = "topics")]
    pub(crate) stop: StopToken,
}

/// What a session did.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct SessionReport {
    pub(crate) device: DeviceReport,
    pub(crate) control: ControlReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inference: Option<InferenceReport>,
}

impl Session {
    /// Remembers the inference thread, to be joined at the end.
    pub(crate) fn set_inference(&mut self, thread: InferenceThread) {
        self.inference = Some(thread);
    }

    /// Takes the listener that was asked for last.
    pub(crate) fn take_sink(&mut self) -> Result<RingReader<TickRecord>> {
        self.sinks
            .pop()
            .ok_or_else(|| anyhow!("no listener was asked for; please report this as a bug"))
    }

    /// Waits for both threads, the arm being safe, and says how it went. The device's failure is
    /// the cause when several failed.
    pub(crate) fn join(self) -> Result<SessionReport> {
        let control = self.control.join();
        let device = self.device.join();
        for camera in self.cameras {
            let _ = camera.join();
        }
        let inference = self
            .inference
            .map(|thread| thread.join(Duration::from_secs(2)));
        // A failure's own message ends with how the arm was left; what could not be told after an
        // orderly end must be said too, whatever else is reported.
        if let Ok(DeviceReport {
            left: left @ SafeOutcome::Unknown(_),
            ..
        }) = &device
        {
            eprintln!("  {left:#}");
        }
        let device = device?;
        let inference = inference
            .transpose()
            .map_err(|e: InferenceError| anyhow!(e))?;
        Ok(SessionReport {
            device,
            control: control?,
            inference,
        })
    }
}
