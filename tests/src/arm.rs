//! An SO-101 in software, inside the test: its servos' registers are the proof of how a program
//! left the arm.

use crate::{Running, wait_until};
use sinew_drivers::emulator::{
    EmulatedChain, FaultHandle, InertialPlant, PlantThread, PtyOptions, PtyServer, ServoConfig,
    SharedChain,
};
use sinew_drivers::feetech::registers::{self as reg, Register};
use sinew_hardware::{Blueprint, Calibration, Units};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Joints of the SO-101 in the order of their ids, which start at 1.
pub const JOINTS: [&str; 6] = [
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
];

/// Six servos that hold the blueprint's calibration, behind a pseudo-terminal. Links are in `dir`.
#[derive(Debug)]
pub struct Arm {
    chain: SharedChain,
    server: Option<PtyServer>,
    units: Units,
    rest: Vec<i32>,
    port: String,
    _plant: PlantThread,
    _folder: TempDir,
}

impl Arm {
    /// Powers the arm up at rest.
    ///
    /// # Panics
    /// When the system has no pseudo-terminal.
    pub fn start() -> Self {
        let blueprint = Blueprint::load("so101").expect("the built-in blueprint");
        let calibration = Calibration::from_blueprint(&blueprint).expect("its calibration");
        let units = Units::new(&blueprint, &calibration).expect("its units");
        let raw = |(joint, rad): (usize, f64)| units.joints()[joint].raw_from_rad(rad);
        let rest: Vec<i32> = blueprint.rest().into_iter().enumerate().map(raw).collect();
        let servo = |(name, ticks): (&str, &i32)| {
            let joint = calibration.get(name).expect("a calibrated joint");
            ServoConfig {
                position_ticks: f64::from(*ticks),
                eeprom: vec![
                    (reg::HOMING_OFFSET, joint.homing_offset),
                    (reg::MIN_POSITION_LIMIT, joint.range_min),
                    (reg::MAX_POSITION_LIMIT, joint.range_max),
                ],
                ..ServoConfig::new(joint.id)
            }
        };
        let servos: Vec<ServoConfig> = JOINTS.into_iter().zip(&rest).map(servo).collect();
        let folder = TempDir::new().expect("a temporary folder");
        let link = folder.path().join("arm.port");
        let chain = SharedChain::new(EmulatedChain::new(&servos).expect("six servos"));
        let plant = PlantThread::start(
            chain.clone(),
            InertialPlant::new(),
            Duration::from_millis(2),
        );
        let options = PtyOptions {
            link: Some(link.clone()),
            ..PtyOptions::default()
        };
        let server = PtyServer::start(chain.clone(), &options).expect("a pseudo-terminal");
        let port = link.to_string_lossy().into_owned();
        Self {
            chain,
            server: Some(server),
            units,
            rest,
            port,
            _plant: plant.expect("a thread"),
            _folder: folder,
        }
    }

    /// The servo bus.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// What goes wrong on the bus.
    pub fn faults(&self) -> FaultHandle {
        self.chain.faults()
    }

    /// Switches a fault on.
    ///
    /// # Panics
    /// When `text` is no fault.
    pub fn inject(&self, text: &str) {
        self.faults().inject(text.parse().expect("a fault"));
    }

    /// Whether the port can be opened.
    pub fn is_plugged(&self) -> bool {
        Path::new(&self.port).exists()
    }

    /// Ends the emulator; the servos' registers stay to be looked at.
    pub fn kill_emulator(&mut self) {
        self.server = None;
    }

    /// A register of every servo, in the order of [`JOINTS`].
    pub fn registers(&self, register: &Register) -> Vec<i32> {
        self.chain
            .lock()
            .servos()
            .iter()
            .map(|servo| servo.get(register))
            .collect()
    }

    /// Where the joints are, ticks.
    pub fn ticks(&self) -> Vec<i32> {
        self.registers(&reg::PRESENT_POSITION)
    }

    /// Where a joint is, rad.
    pub fn position(&self, joint: usize) -> f64 {
        self.units.joints()[joint].rad_from_raw(self.ticks()[joint])
    }

    /// Whether every servo is off.
    pub fn is_limp(&self) -> bool {
        self.registers(&reg::TORQUE_ENABLE)
            .iter()
            .all(|&on| on == 0)
    }

    /// Whether every servo holds.
    pub fn is_stiff(&self) -> bool {
        self.registers(&reg::TORQUE_ENABLE)
            .iter()
            .all(|&on| on == 1)
    }

    /// Distance of the joint that is farthest from the rest pose, ticks.
    pub fn ticks_from_rest(&self) -> i32 {
        let away = self
            .ticks()
            .into_iter()
            .zip(&self.rest)
            .map(|(is, rest)| (is - rest).abs());
        away.max().unwrap_or(0)
    }

    /// Waits until a program has switched the arm on and moved it well away from rest.
    ///
    /// # Panics
    /// When that does not happen, or the program ends.
    pub fn wait_for_motion(&self, by: &mut Running) {
        wait_until("the arm moves", || {
            by.still_runs();
            self.is_stiff() && self.ticks_from_rest() > 150
        });
    }
}
