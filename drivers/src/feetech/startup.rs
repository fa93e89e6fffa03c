//! What is checked and set on every servo before a robot moves, in LeRobot's order.

use super::bus::FeetechBus;
use super::joint::JointSpec;
use super::registers::{self as reg, Register};
use crate::error::{DriverError, ServoProblem};

/// What to do about servos that hold another calibration than the joint list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CalibrationPolicy {
    /// Refuse to start and say which register differs.
    #[default]
    Check,
    /// Write the joint list's calibration to the servos.
    Write,
    /// Use the joint list for angles and leave the servos alone.
    Ignore,
}

/// Bytes of the table that are read at start: everything kept without power, and torque.
const HEAD: usize = 41;
/// `Phase` bit that LeRobot clears on an STS3215.
const PHASE_FEEDBACK: i32 = 0x10;
/// `Phase` bit: velocities count single ticks a second, not fifty.
const PHASE_FINE_VELOCITY: i32 = 0x04;

/// What one servo held when it was found.
#[derive(Debug, Clone, Copy)]
struct Head([u8; HEAD]);

impl Head {
    fn get(&self, register: &Register) -> i32 {
        register.decode_from(self.0.get(usize::from(register.addr)..).unwrap_or(&[]))
    }
}

/// Checks and configures every servo. Returns each joint's velocity unit, ticks/s.
pub(super) fn run(
    bus: &mut FeetechBus,
    specs: &[JointSpec],
    calibration: CalibrationPolicy,
    configure: bool,
) -> Result<Vec<f64>, DriverError> {
    ping_all(bus, specs)?;
    let heads = specs
        .iter()
        .map(|s| read_head(bus, s))
        .collect::<Result<Vec<_>, _>>()?;
    check_models(bus, specs, &heads)?;
    check_firmware(bus, specs, &heads)?;
    for (spec, head) in specs.iter().zip(&heads) {
        match calibration {
            CalibrationPolicy::Check => check_calibration(bus, spec, head)?,
            CalibrationPolicy::Write => apply(bus, spec, head, &calibration_of(spec))?,
            CalibrationPolicy::Ignore => {}
        }
        if configure {
            configure_servo(bus, spec, head)?;
        }
    }
    let fine = |head: &Head| head.get(&reg::PHASE) & PHASE_FINE_VELOCITY != 0;
    Ok(heads
        .iter()
        .map(|head| if fine(head) { 1.0 } else { 50.0 })
        .collect())
}

fn ping_all(bus: &mut FeetechBus, specs: &[JointSpec]) -> Result<(), DriverError> {
    let mut missing = Vec::new();
    for spec in specs {
        if bus.ping(spec.id)?.is_none() {
            missing.push(format!("{} (id {})", spec.name, spec.id));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let found = specs.len() - missing.len();
    Err(DriverError::Missing {
        port: bus.path().to_owned(),
        missing: missing.join(", "),
        found,
        expected: specs.len(),
    })
}

fn read_head(bus: &mut FeetechBus, spec: &JointSpec) -> Result<Head, DriverError> {
    let mut head = [0; HEAD];
    bus.read_block(spec.id, &reg::FIRMWARE_MAJOR, &mut head)?;
    Ok(Head(head))
}

fn check_models(bus: &FeetechBus, specs: &[JointSpec], heads: &[Head]) -> Result<(), DriverError> {
    for (spec, head) in specs.iter().zip(heads) {
        let found = head.get(&reg::MODEL_NUMBER) as u16;
        if found != spec.model {
            let problem = ServoProblem::Model {
                expected: spec.model,
                found,
            };
            return Err(bus.servo_error(spec.id, &reg::MODEL_NUMBER, problem));
        }
    }
    Ok(())
}

fn check_firmware(
    bus: &FeetechBus,
    specs: &[JointSpec],
    heads: &[Head],
) -> Result<(), DriverError> {
    let version = |head: &Head| {
        (
            head.get(&reg::FIRMWARE_MAJOR),
            head.get(&reg::FIRMWARE_MINOR),
        )
    };
    if heads
        .windows(2)
        .all(|pair| version(&pair[0]) == version(&pair[1]))
    {
        return Ok(());
    }
    let list: Vec<_> = specs
        .iter()
        .zip(heads)
        .map(|(spec, head)| {
            let (major, minor) = version(head);
            format!("{} {major}.{minor}", spec.name)
        })
        .collect();
    Err(DriverError::MixedFirmware {
        port: bus.path().to_owned(),
        versions: list.join(", "),
    })
}

fn calibration_of(spec: &JointSpec) -> [(Register, i32); 3] {
    [
        (reg::HOMING_OFFSET, spec.homing_offset),
        (reg::MIN_POSITION_LIMIT, spec.range_min),
        (reg::MAX_POSITION_LIMIT, spec.range_max),
    ]
}

fn check_calibration(bus: &FeetechBus, spec: &JointSpec, head: &Head) -> Result<(), DriverError> {
    for (register, expected) in calibration_of(spec) {
        let found = head.get(&register);
        if found != expected {
            return Err(bus.servo_error(
                spec.id,
                &register,
                ServoProblem::Calibration { expected, found },
            ));
        }
    }
    Ok(())
}

fn configure_servo(bus: &mut FeetechBus, spec: &JointSpec, head: &Head) -> Result<(), DriverError> {
    let phase = head.get(&reg::PHASE) & !PHASE_FEEDBACK;
    apply(
        bus,
        spec,
        head,
        &[
            (reg::RETURN_DELAY_TIME, 0),
            (reg::RESPONSE_STATUS_LEVEL, 1),
            (reg::PHASE, phase),
            (reg::P_COEFFICIENT, 16),
            (reg::I_COEFFICIENT, 0),
            (reg::D_COEFFICIENT, 32),
            (reg::OPERATING_MODE, 0),
        ],
    )?;
    if let Some(limits) = spec.protection {
        let max_torque = i32::from(limits.max_torque);
        let settings = [
            (reg::MAX_TORQUE_LIMIT, max_torque),
            (reg::PROTECTION_CURRENT, limits.current.into()),
            (reg::OVERLOAD_TORQUE, limits.overload_torque.into()),
        ];
        apply(bus, spec, head, &settings)?;
        // The servo copies Max_Torque_Limit here at power-on only.
        bus.ensure(spec.id, &reg::TORQUE_LIMIT, max_torque)?;
    }
    bus.ensure(spec.id, &reg::MAXIMUM_ACCELERATION, 254)?;
    bus.ensure(spec.id, &reg::ACCELERATION, 254)?;
    Ok(())
}

/// Writes the settings that differ. A servo that holds is made limp first, because a change of
/// offset or mode under torque makes it jump; one that needs no change keeps holding.
fn apply(
    bus: &mut FeetechBus,
    spec: &JointSpec,
    head: &Head,
    settings: &[(Register, i32)],
) -> Result<(), DriverError> {
    let differs = settings
        .iter()
        .any(|(register, value)| head.get(register) != *value);
    if differs && head.get(&reg::TORQUE_ENABLE) != 0 {
        bus.set_torque(spec.id, false)?;
    }
    for (register, value) in settings
        .iter()
        .filter(|(register, value)| head.get(register) != *value)
    {
        bus.ensure(spec.id, register, *value)?;
    }
    Ok(())
}
