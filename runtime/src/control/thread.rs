//! The control loop in real time, on a thread of its own.

use super::{ControlCore, ControlError, ControlFailure, ControlReport, Flow};
use crate::clock::Clock;
use crate::rt::{self, RtReport};
use crate::stop::{StopCause, StopToken, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// A running control loop.
#[derive(Debug)]
pub struct ControlThread {
    handle: JoinHandle<Result<ControlReport, ControlFailure>>,
    rt: RtReport,
}

impl ControlThread {
    /// Starts the loop. It runs until `stop` is set, the source is finished or the source fails; in
    /// the latter cases it sets `stop`, so that everything else ends too.
    pub fn spawn(
        core: ControlCore,
        clock: Arc<dyn Clock>,
        stop: StopToken,
    ) -> Result<Self, ControlError> {
        let (ready, started) = sync_channel(1);
        let handle = Builder::new()
            .name("sinew-control".to_owned())
            .spawn(move || run(core, clock.as_ref(), &stop, &ready))?;
        // The sender goes away only if the thread dies first; `join` then says why.
        let rt = started.recv().unwrap_or_default();
        Ok(Self { handle, rt })
    }

    /// What the system granted, to be printed once.
    pub fn rt(&self) -> &RtReport {
        &self.rt
    }

    /// Whether the loop has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the end and says how it went.
    pub fn join(self) -> Result<ControlReport, ControlFailure> {
        self.handle.join().unwrap_or_else(|payload| {
            let error = ControlError::Panicked {
                message: panic_message(payload.as_ref()),
            };
            Err(ControlFailure {
                error,
                report: Box::default(),
            })
        })
    }
}

fn run(
    mut core: ControlCore,
    clock: &dyn Clock,
    stop: &StopToken,
    ready: &SyncSender<RtReport>,
) -> Result<ControlReport, ControlFailure> {
    let (report, _guard) = rt::apply(&core.config.rt);
    core.rt = report.clone();
    _ = ready.send(report);
    // The core is only used afterwards to read its counts.
    let ended =
        catch_unwind(AssertUnwindSafe(|| tick(&mut core, clock, stop))).unwrap_or_else(|payload| {
            Err(ControlError::Panicked {
                message: panic_message(payload.as_ref()),
            })
        });
    conclude(&mut core, stop, ended)
}

fn tick(core: &mut ControlCore, clock: &dyn Clock, stop: &StopToken) -> Result<(), ControlError> {
    core.start(clock.now());
    while !stop.is_set() {
        clock.sleep_until(core.deadline());
        let flow = core.step(clock.now())?;
        core.end_step(clock.now());
        if flow == Flow::Finished {
            break;
        }
    }
    Ok(())
}

/// Tells everybody that the loop is over and writes the report.
pub(crate) fn conclude(
    core: &mut ControlCore,
    stop: &StopToken,
    ended: Result<(), ControlError>,
) -> Result<ControlReport, ControlFailure> {
    stop.request(if ended.is_ok() {
        StopCause::Finished
    } else {
        StopCause::Control
    });
    core.publish_telemetry();
    let report = core.report();
    match ended {
        Ok(()) => Ok(report),
        Err(error) => Err(ControlFailure {
            error,
            report: Box::new(report),
        }),
    }
}
