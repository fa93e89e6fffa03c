//! From the loop's ticks to rows of a LeRobot dataset.

use crate::session::Rig;
use crate::world::World;
use anyhow::{Context, Result};
use sinew_datasets::{CameraSpec, Codec, DatasetSpec, ExtraSpec, LoopRow, Offered, RowSender};
use sinew_runtime::Nanos;
use sinew_runtime::control::{TickFlags, TickRecord};
use sinew_runtime::ring::RingReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Times of each row that do not depend on the cameras.
const FIXED_TIMES: [&str; 4] = [
    "tick_s",
    "action_issued_s",
    "state_capture_s",
    "state_age_s",
];

/// What a recording of this robot in this world holds.
///
/// The extra columns keep what LeRobot's synthetic `timestamp` hides: when each tick really began,
/// when the loop issued its action, and when its joints and frames were captured, in s from the
/// episode's first row; and how old they then were, s.
pub(crate) fn spec(rig: &Rig, world: &World, fps: u32, codec: Codec) -> DatasetSpec {
    let names = rig.units.names().to_vec();
    let cameras = world.cameras();
    let mut timing: Vec<String> = FIXED_TIMES.map(str::to_owned).into();
    timing.extend(
        cameras
            .iter()
            .flat_map(|camera| ["capture", "age"].map(|what| format!("{}_{what}_s", camera.name))),
    );
    DatasetSpec {
        robot_type: rig.blueprint.robot_type.clone(),
        fps,
        state_names: names.clone(),
        action_names: names,
        cameras: cameras
            .into_iter()
            .map(|camera| CameraSpec {
                name: camera.name,
                width: camera.width,
                height: camera.height,
            })
            .collect(),
        extras: vec![ExtraSpec {
            name: "timing".to_owned(),
            entries: timing,
        }],
        codec,
    }
}

/// Counts of the thread that turns ticks into rows.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Rows offered to the recorder and taken.
    pub(crate) rows: AtomicU64,
    /// Ticks left out because an input or the action was missing.
    pub(crate) incomplete: AtomicU64,
    /// Rows that the recorder had no room for.
    pub(crate) dropped: AtomicU64,
}

/// Offers every complete tick to the recorder until the session ends.
pub(crate) fn forward(
    rig: &Rig,
    mut ticks: RingReader<TickRecord>,
    mut rows: RowSender,
) -> Result<(Arc<Counts>, JoinHandle<()>)> {
    let counts = Arc::new(Counts::default());
    let (shared, units) = (counts.clone(), rig.units.clone());
    let thread = std::thread::Builder::new()
        .name("recording".into())
        .spawn(move || {
            // Times count from an episode's first row: they then survive LeRobot's float32.
            let (mut epoch_ns, mut idle) = (0, true);
            loop {
                let closed = ticks.is_closed();
                while let Some(record) = ticks.pop() {
                    if idle {
                        epoch_ns = record.tick.started_ns;
                    }
                    let offered =
                        complete_row(&record, &units, epoch_ns).map(|row| rows.offer(row));
                    idle = offered.map_or(idle, |offered| offered == Offered::Idle);
                    let counter = match offered {
                        Some(Offered::Taken) => &shared.rows,
                        Some(Offered::Dropped) => &shared.dropped,
                        Some(Offered::Idle) => continue,
                        None => &shared.incomplete,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                if closed {
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
    Ok((counts, thread.context("cannot start the recording thread")?))
}

/// The row of a tick that has an action, a joint state and a frame of each camera; times in s from
/// `epoch_ns`.
fn complete_row(
    record: &TickRecord,
    units: &sinew_hardware::Units,
    epoch_ns: Nanos,
) -> Option<LoopRow> {
    let tick = &record.tick;
    if !tick.flags.contains(TickFlags::ACTED) || tick.flags.contains(TickFlags::NO_FRAME) {
        return None;
    }
    let mut row = LoopRow::default();
    let joints = tick.state.len;
    units.to_lerobot(tick.state.positions(), &mut row.state[..joints]);
    units.to_lerobot(tick.target.positions(), &mut row.action[..joints]);
    let seconds = |at: Nanos| (at as i64 - epoch_ns as i64) as f64 * 1e-9;
    row.extra[0] = seconds(tick.started_ns);
    row.extra[1] = seconds(tick.target.issued_ns);
    row.extra[2] = seconds(tick.state.captured_ns);
    row.extra[3] = tick.state_age_ns as f64 * 1e-9;
    for camera in 0..tick.cameras.min(row.frames.len()) {
        let captured_ns = tick.frames[camera].captured_ns;
        let times = FIXED_TIMES.len() + 2 * camera;
        row.extra[times] = seconds(captured_ns);
        row.extra[times + 1] = tick.started_ns.saturating_sub(captured_ns) as f64 * 1e-9;
        row.frames[camera].clone_from(&record.frames[camera]);
    }
    Some(row)
}
