//! The device cycle in real time, on a thread of its own.

use super::{DeviceCore, DeviceError, DeviceFailure, DeviceReport, SafeOutcome};
use crate::clock::Clock;
use crate::rt::{self, RtReport};
use crate::stop::{StopCause, StopToken, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// A running device thread.
#[derive(Debug)]
pub struct DeviceThread {
    handle: JoinHandle<Result<DeviceReport, DeviceFailure>>,
    rt: RtReport,
}

impl DeviceThread {
    /// Starts the thread. It runs until `stop` is set or the robot fails, then leaves the arm safe;
    /// when it fails it sets `stop`, so that everything else ends too.
    pub fn spawn(
        core: DeviceCore,
        clock: Arc<dyn Clock>,
        stop: StopToken,
    ) -> Result<Self, DeviceError> {
        let (ready, started) = sync_channel(1);
        let handle = Builder::new()
            .name("sinew-device".to_owned())
            .spawn(move || run(core, clock.as_ref(), &stop, &ready))?;
        // The sender goes away only if the thread dies first; `join` then says why.
        let rt = started.recv().unwrap_or_default();
        Ok(Self { handle, rt })
    }

    /// What the system granted, to be printed once.
    pub fn rt(&self) -> &RtReport {
        &self.rt
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the end and says how it went.
    pub fn join(self) -> Result<DeviceReport, DeviceFailure> {
        self.handle.join().unwrap_or_else(|payload| {
            let error = DeviceError::Panicked {
                message: panic_message(payload.as_ref()),
            };
            let left =
                SafeOutcome::Unknown("the thread died while it left the arm safe".to_owned());
            Err(DeviceFailure {
                error,
                report: Box::new(DeviceReport {
                    left,
                    ..DeviceReport::default()
                }),
            })
        })
    }
}

fn run(
    mut core: DeviceCore,
    clock: &dyn Clock,
    stop: &StopToken,
    ready: &SyncSender<RtReport>,
) -> Result<DeviceReport, DeviceFailure> {
    let (report, _guard) = rt::apply(&core.config.rt);
    core.rt = report.clone();
    _ = ready.send(report);
    // The core is only used afterwards to stop the robot, which must be tried in any state.
    let ended = catch_unwind(AssertUnwindSafe(|| cycle(&mut core, clock, stop))).unwrap_or_else(
        |payload| {
            Err(DeviceError::Panicked {
                message: panic_message(payload.as_ref()),
            })
        },
    );
    if ended.is_err() {
        stop.request(StopCause::Device);
    }
    conclude(&mut core, clock, stop, ended)
}

fn cycle(core: &mut DeviceCore, clock: &dyn Clock, stop: &StopToken) -> Result<(), DeviceError> {
    core.start(clock.now());
    while !stop.is_set() {
        clock.sleep_until(core.deadline());
        core.step(clock.now())?;
        core.end_step(clock.now());
    }
    Ok(())
}

/// Leaves the arm safe and writes the report.
pub(crate) fn conclude(
    core: &mut DeviceCore,
    clock: &dyn Clock,
    stop: &StopToken,
    ended: Result<(), DeviceError>,
) -> Result<DeviceReport, DeviceFailure> {
    let orderly = ended.is_ok() && stop.cause() != Some(StopCause::Panic);
    let left = catch_unwind(AssertUnwindSafe(|| core.make_safe(clock, stop, orderly)))
        .unwrap_or_else(|payload| SafeOutcome::Unknown(panic_message(payload.as_ref())));
    core.publish_telemetry();
    let report = core.report(left);
    match ended {
        Ok(()) => Ok(report),
        Err(error) => Err(DeviceFailure {
            error,
            report: Box::new(report),
        }),
    }
}
