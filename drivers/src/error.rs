//! Everything that can go wrong with a device, in sentences that say what to do.

use crate::feetech::packet::PacketError;
use crate::feetech::registers::RangeError;
use sinew_runtime::RobotError;
use thiserror::Error;

/// What one servo did wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServoProblem {
    /// No reply in time, retries included.
    #[error("no reply; check its cable, its power and that its id is unique")]
    Timeout,
    /// Replies came, all damaged.
    #[error("only damaged replies; check the cable and that no other servo has this id")]
    Corrupt,
    /// The register reads back differently from what was written.
    #[error("wrote {wrote}, reads back {read}; power-cycle the servo and try again")]
    Mismatch {
        /// Value written.
        wrote: i32,
        /// Value read back.
        read: i32,
    },
    /// Writing a register that the servo only reports.
    #[error("this register is read-only")]
    ReadOnly,
    /// Another kind of servo than the blueprint says.
    #[error("model {found} where the blueprint says {expected}; check which servo has this id")]
    Model {
        /// Model number in the blueprint.
        expected: u16,
        /// Model number that the servo reports.
        found: u16,
    },
    /// The servo holds another calibration than the file.
    #[error(
        "servo holds {found}, the calibration file says {expected}; calibrate again, or write the file to the servo"
    )]
    Calibration {
        /// Value in the calibration.
        expected: i32,
        /// Value in the servo.
        found: i32,
    },
    /// The number does not fit.
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// Why a device could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DriverError {
    /// No such file.
    #[error(
        "{port} does not exist; plug the bus adapter in, or give the right path with --port (ls /dev/tty*)"
    )]
    PortMissing {
        /// Port path.
        port: String,
    },
    /// Somebody else holds the port.
    #[error("{port} is in use by another program; close that program, then start again")]
    PortBusy {
        /// Port path.
        port: String,
    },
    /// The user may not open the port.
    #[error("no permission to open {port}; add your user to the group 'dialout' and log in again")]
    PortDenied {
        /// Port path.
        port: String,
    },
    /// The path is not a terminal device.
    #[error("{port} is not a serial port; give the path of the bus adapter with --port")]
    NotSerial {
        /// Port path.
        port: String,
    },
    /// Opening failed otherwise.
    #[error(
        "{port} cannot be opened as a serial port at {baud} bit/s ({reason}); check the adapter and the baud rate"
    )]
    PortOpen {
        /// Port path.
        port: String,
        /// Bit rate asked for, bit/s.
        baud: u32,
        /// The system's own words.
        reason: String,
    },
    /// The device is gone.
    #[error("{port}: connection lost ({reason}); check the cable and power, then start again")]
    Disconnected {
        /// Port path.
        port: String,
        /// The system's own words.
        reason: String,
    },
    /// The port takes no more bytes.
    #[error("{port} accepted no bytes for {budget_ms} ms; unplug the adapter and plug it in again")]
    WriteStalled {
        /// Port path.
        port: String,
        /// Time waited, ms.
        budget_ms: u64,
    },
    /// No servo answered.
    #[error("{port}: no servo answered within {budget_ms} ms; check power and baud rate")]
    Silent {
        /// Port path.
        port: String,
        /// Time waited, ms.
        budget_ms: u64,
    },
    /// One servo made the operation impossible.
    #[error("{joint} (id {id}) on {port}, register {register}: {problem}")]
    Servo {
        /// Port path.
        port: String,
        /// Joint name, or "servo" where the id has none.
        joint: String,
        /// Bus id.
        id: u8,
        /// Register name, or "ping".
        register: &'static str,
        /// What went wrong.
        problem: ServoProblem,
    },
    /// Servos that should be there do not answer a ping.
    #[error(
        "{port}: no reply from {missing}; check power, cables and ids (found {found} of {expected} servos)"
    )]
    Missing {
        /// Port path.
        port: String,
        /// "name (id n), …".
        missing: String,
        /// Servos that answered.
        found: usize,
        /// Servos in the blueprint.
        expected: usize,
    },
    /// Servos of one bus run different firmware.
    #[error(
        "{port}: servos run different firmware ({versions}); update them to one version with Feetech's tool"
    )]
    MixedFirmware {
        /// Port path.
        port: String,
        /// "name 3.10, …".
        versions: String,
    },
    /// Two lists that belong together differ in length, or exceed what one packet carries.
    #[error(
        "{what}: {got} entries where {expected} are possible; fix the call or split the request"
    )]
    Count {
        /// Which lists.
        what: &'static str,
        /// Entries given.
        got: usize,
        /// Entries expected, or the limit.
        expected: usize,
    },
    /// A joint list that cannot be a robot.
    #[error("joint {joint}: {problem}; fix the blueprint or the calibration")]
    JointSpec {
        /// Joint name.
        joint: String,
        /// What is wrong.
        problem: String,
    },
    /// A packet that cannot be built.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A value that no register takes.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl DriverError {
    /// The same error as the control loop sees it; `device` stands in where this names no port.
    pub fn into_robot_error(self, device: &str) -> RobotError {
        match self {
            Self::Disconnected { port, reason } => RobotError::Disconnected {
                device: port,
                reason,
            },
            Self::Silent { port, budget_ms } => RobotError::Silent {
                device: port,
                budget_ms,
            },
            Self::Servo {
                port,
                joint,
                id,
                register,
                problem,
            } => RobotError::Joint {
                device: port,
                joint,
                id,
                problem: format!("register {register}: {problem}"),
            },
            Self::WriteStalled { port, budget_ms } => RobotError::Unusable {
                device: port,
                problem: format!(
                    "accepted no bytes for {budget_ms} ms; unplug the adapter and plug it in again"
                ),
            },
            other => {
                let text = other.to_string();
                let problem = text
                    .strip_prefix(&format!("{device}: "))
                    .unwrap_or(&text)
                    .to_owned();
                RobotError::Unusable {
                    device: device.to_owned(),
                    problem,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_is_called_one() {
        let port = || "/dev/x".to_owned();
        let stalled = DriverError::WriteStalled {
            port: port(),
            budget_ms: 5,
        };
        let count = DriverError::Count {
            what: "ids",
            got: 2,
            expected: 1,
        };
        let missing = DriverError::Missing {
            port: port(),
            missing: "elbow (id 3)".to_owned(),
            found: 1,
            expected: 2,
        };
        for (error, words) in [
            (stalled, "/dev/x: accepted no bytes for 5 ms"),
            (count, "/dev/x: ids: 2 entries"),
            (missing, "/dev/x: no reply from elbow (id 3)"),
        ] {
            let error = error.into_robot_error("/dev/x");
            assert!(matches!(error, RobotError::Unusable { .. }), "{error:?}");
            assert!(error.to_string().starts_with(words), "{error}");
        }
        let gone = DriverError::Disconnected {
            port: port(),
            reason: "it was pulled out".to_owned(),
        };
        assert!(matches!(
            gone.into_robot_error("/dev/x"),
            RobotError::Disconnected { .. }
        ));
    }
}
