//! From the loop's ticks to rows of a LeRobot dataset.

use crate::args::Record;
use crate::session::Rig;
use crate::world::World;
use anyhow::{Context, Result};
use sinew_datasets::video::Quality;
use sinew_datasets::{
    CameraSpec, DatasetSpec, ExtraSpec, ExtraType, LoopRow, Offered, RecordOptions, Recorder,
    RowSender, Storage,
};
use sinew_hardware::Units;
use sinew_runtime::Nanos;
use sinew_runtime::control::{TickFlags, TickRecord};
use sinew_runtime::device::SentTarget;
use sinew_runtime::ring::RingReader;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Times of each row that do not depend on the cameras.
const FIXED_TIMES: [&str; 4] = ["tick_s", "action_sent_s", "state_capture_s", "state_age_s"];
/// Says in `action_sent_s` that the robot never got the action.
const NEVER_SENT: f64 = -1.0;
/// A row waits this long to learn when its action was sent. The bus takes a few milliseconds.
const SENT_WITHIN_NS: Nanos = 100_000_000;

/// What a recording of this robot in this world holds.
///
/// The extra columns keep what LeRobot's synthetic `timestamp` hides: when each tick really began,
/// when its action had been sent to the servos, and when its joints and frames were captured, in s
/// from the episode's first row; and how old they were at the tick, s.
pub(crate) fn spec(rig: &Rig, world: &World, args: &Record) -> DatasetSpec {
    let cameras = world.cameras();
    let cameras = cameras.iter().map(|c| (c.name.as_str(), c.width, c.height));
    spec_of(rig, &cameras.collect::<Vec<_>>(), args)
}

/// The same for cameras of these names, widths and heights.
pub(crate) fn spec_of(rig: &Rig, cameras: &[(&str, u32, u32)], args: &Record) -> DatasetSpec {
    let names = rig.units.names().to_vec();
    let of_cameras = cameras
        .iter()
        .flat_map(|(name, _, _)| ["capture", "age"].map(|what| format!("{name}_{what}_s")));
    let timing: Vec<String> = FIXED_TIMES
        .map(str::to_owned)
        .into_iter()
        .chain(of_cameras)
        .collect();
    let timing: Vec<&str> = timing.iter().map(String::as_str).collect();
    let storage = if args.images {
        Storage::Images
    } else {
        Storage::Video
    };
    DatasetSpec {
        robot_type: rig.blueprint.robot_type.clone(),
        fps: args.fps,
        state_names: names.clone(),
        action_names: names,
        cameras: cameras
            .iter()
            .map(|&(name, width, height)| CameraSpec {
                storage,
                ..CameraSpec::rgb(name, width, height)
            })
            .collect(),
        extras: vec![ExtraSpec::vector("timing", ExtraType::Float64, &timing)],
        codec: args.codec.into(),
    }
}

/// How to record, as the arguments say.
pub(crate) fn options(args: &Record) -> RecordOptions {
    RecordOptions {
        quality: Quality {
            gop: args.gop,
            crf: args.crf,
            pix_fmt: args.pix_fmt,
        },
        camera_timeout: (args.camera_timeout > 0.0)
            .then(|| Duration::from_secs_f64(args.camera_timeout)),
    }
}

/// The encoder and why it was chosen, in one line; `None` without colour video.
pub(crate) fn video_line(recorder: &Recorder) -> Option<String> {
    let choice = recorder.encoder()?;
    let mut line = format!("video: {}", choice.encoder);
    if let Some(speed) = choice.speed {
        line += &format!(", {speed:.1} times as fast as the cameras");
    }
    let tried = choice.passed_over.iter();
    let reasons: Vec<String> = tried.map(|(e, reason)| format!("{e}: {reason}")).collect();
    if !reasons.is_empty() {
        line += &format!(" (passed over: {})", reasons.join("; "));
    }
    if choice.speed.is_some_and(|speed| speed < 1.0) {
        line += "; it does not keep up, so rows will be dropped: lower --fps or the cameras' size";
    }
    Some(line)
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

/// Offers every complete tick to the recorder until the session ends. `sent` tells when the actions
/// reached the servos.
pub(crate) fn forward(
    rig: &Rig,
    ticks: RingReader<TickRecord>,
    sent: RingReader<SentTarget>,
    rows: RowSender,
) -> Result<(Arc<Counts>, JoinHandle<()>)> {
    let counts = Arc::new(Counts::default());
    let forwarder = Forwarder {
        ticks,
        sent,
        rows,
        counts: counts.clone(),
        units: rig.units.clone(),
        waiting: VecDeque::new(),
        epoch_ns: 0,
        idle: true,
    };
    let thread = std::thread::Builder::new()
        .name("recording".into())
        .spawn(move || forwarder.run());
    Ok((counts, thread.context("cannot start the recording thread")?))
}

struct Forwarder {
    ticks: RingReader<TickRecord>,
    sent: RingReader<SentTarget>,
    rows: RowSender,
    counts: Arc<Counts>,
    units: Units,
    /// Ticks whose actions may still be on their way.
    waiting: VecDeque<TickRecord>,
    /// Start of the episode's first row: times that count from there survive LeRobot's float32.
    epoch_ns: Nanos,
    idle: bool,
}

impl Forwarder {
    fn run(mut self) {
        loop {
            let closed = self.ticks.is_closed();
            while let Some(record) = self.ticks.pop() {
                self.waiting.push_back(record);
                self.offer_sent();
            }
            self.offer_sent();
            if closed {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Offers the ticks that are known to be sent, and those of which it will not be known.
    fn offer_sent(&mut self) {
        while let Some(sent) = self.sent.pop() {
            // A target that was replaced before the bus got it was never sent.
            while let Some(record) = self.waiting.pop_front_if(|r| r.tick.target.seq < sent.seq) {
                self.offer(&record, None);
            }
            while let Some(record) = self.waiting.pop_front_if(|r| r.tick.target.seq == sent.seq) {
                self.offer(&record, Some(sent.sent_ns));
            }
        }
        let newest = self.waiting.back().map_or(0, |r| r.tick.started_ns);
        let expired = |r: &mut TickRecord| r.tick.started_ns + SENT_WITHIN_NS < newest;
        while let Some(record) = self.waiting.pop_front_if(expired) {
            self.offer(&record, None);
        }
    }

    fn offer(&mut self, record: &TickRecord, sent_ns: Option<Nanos>) {
        if self.idle {
            self.epoch_ns = record.tick.started_ns;
        }
        let row = complete_row(record, &self.units, self.epoch_ns, sent_ns);
        let offered = row.map(|row| self.rows.offer(row));
        self.idle = offered.map_or(self.idle, |offered| offered == Offered::Idle);
        let counter = match offered {
            Some(Offered::Taken) => &self.counts.rows,
            Some(Offered::Dropped) => &self.counts.dropped,
            Some(Offered::Idle) => return,
            None => &self.counts.incomplete,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The row of a tick that has an action, a joint state and a frame of each camera; times in s from
/// `epoch_ns`.
fn complete_row(
    record: &TickRecord,
    units: &Units,
    epoch_ns: Nanos,
    sent_ns: Option<Nanos>,
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
    row.extra[1] = sent_ns.map_or(NEVER_SENT, seconds);
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
