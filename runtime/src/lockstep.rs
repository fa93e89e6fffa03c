//! Device and loop on one thread and one stepped clock: as fast as the machine allows, the same
//! bytes every time.

use crate::clock::{Clock, SteppedClock};
use crate::control::{ControlCore, ControlFailure, ControlReport, Flow};
use crate::device::{DeviceCore, DeviceFailure, DeviceReport};
use crate::stop::StopToken;
use thiserror::Error;

/// What a lockstep run did.
#[derive(Debug, Clone, PartialEq)]
pub struct LockstepReport {
    /// The device's part.
    pub device: DeviceReport,
    /// The loop's part.
    pub control: ControlReport,
}

/// Why a lockstep run broke off. The arm was left safe.
#[derive(Debug, Error)]
pub enum LockstepError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceFailure),
    /// The loop failed.
    #[error(transparent)]
    Control(#[from] ControlFailure),
}

/// Runs `steps` ticks of the loop, or fewer if the source finishes or `stop` is set first, and the
/// device cycles between them. Where both are due at one instant the device goes first, so that the
/// loop sees the newest state.
pub fn run_lockstep(
    mut device: DeviceCore,
    mut control: ControlCore,
    clock: &SteppedClock,
    stop: &StopToken,
    steps: u64,
) -> Result<LockstepReport, LockstepError> {
    device.start(clock.now());
    control.start(clock.now());
    let mut device_end = Ok(());
    let mut control_end = Ok(());
    let mut left = steps;
    while left > 0 && !stop.is_set() {
        let (device_due, control_due) = (device.deadline(), control.deadline());
        clock.sleep_until(device_due.min(control_due));
        if device_due <= control_due {
            device_end = device.step(clock.now());
            device.end_step(clock.now());
        } else {
            left -= 1;
            let flow = control.step(clock.now());
            control.end_step(clock.now());
            left = if matches!(flow, Ok(Flow::Finished)) {
                0
            } else {
                left
            };
            control_end = flow.map(drop);
        }
        if device_end.is_err() || control_end.is_err() {
            break;
        }
    }
    // The device first: it must be made safe whatever the loop says.
    let device = crate::device::conclude(&mut device, clock, stop, device_end);
    let control = crate::control::conclude(&mut control, stop, control_end);
    Ok(LockstepReport {
        device: device?,
        control: control?,
    })
}
