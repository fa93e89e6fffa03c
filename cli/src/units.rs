//! Words for screens.

use sinew_drivers::feetech::packet::ALARM_NAMES;
use sinew_hardware::Norm;

/// The unit of a joint's LeRobot value.
pub(crate) fn suffix(norm: Norm) -> &'static str {
    match norm {
        Norm::Degrees => "deg",
        Norm::Range0To100 | Norm::RangeM100To100 => "%",
        Norm::Radians => "rad",
    }
}

/// The alarms that are set in a servo's status byte.
pub(crate) fn alarm(bits: u8) -> String {
    let names: Vec<&str> = ALARM_NAMES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        format!("alarm {bits:#04x}")
    } else {
        names.join(", ")
    }
}
