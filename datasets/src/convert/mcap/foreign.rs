//! A robot's bags → a LeRobot v3.0 dataset: topics are put onto a grid of rows and recorded as if a
//! robot had sent them.
//!
//! Each bag is read three times: what topics there are, then the joints and all times, then the
//! pictures, which go through one by one.

use super::grid::{Segment, TopicUse, natural_rate, newest, segments, times, usage};
use super::mapping::{Chosen, Mapping, choose};
use super::pictures::{Camera, Wanted};
use super::scan::Event;
use super::series::{self, Joints, Series};
use super::survey::{Survey, open, scan_bag};
use super::units::Unit;
use crate::error::{Error, Result};
use crate::features::{ACTION, STATE};
use crate::recorder::{Recorder, Row};
use crate::spec::{CameraSpec, Codec, DatasetSpec, ExtraSpec, ExtraType};
use crate::values::ExtraValue;
use sinew_runtime::frame::Frame;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Memory for frames that wait for those of other cameras, bytes.
const WAITING_LIMIT: usize = 1 << 30;
/// Most rows that are made of a message.
const ROWS_A_MESSAGE: u64 = 1000;
/// The task of episodes without one.
const NO_TASK: &str = "unknown task";

/// What became of the bags.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) topics: Vec<TopicUse>,
    pub(super) notes: Vec<String>,
}

/// Records all bags into a new dataset in `root`. `progress` is told each row.
pub(super) fn record(
    input: &Path,
    bags: &[Vec<PathBuf>],
    root: &Path,
    mapping: &Mapping,
    progress: &mut dyn FnMut(u64),
) -> Result<Found> {
    let mut recording = Recording {
        input,
        root,
        mapping: mapping.clone(),
        recorder: None,
        names: None,
        found: Found::default(),
        progress,
    };
    for files in bags {
        recording.bag(files)?;
    }
    match recording.recorder.take() {
        Some(recorder) => recorder.finalize().map(|_| recording.found),
        None => Err(Error::convert(
            input,
            "there is no time at which all chosen topics have values",
        )),
    }
}

struct Recording<'a> {
    input: &'a Path,
    root: &'a Path,
    /// With a rate after the first bag.
    mapping: Mapping,
    recorder: Option<Recorder>,
    /// Names of the joints of state and action, in the first bag.
    names: Option<[Vec<String>; 2]>,
    found: Found,
    progress: &'a mut dyn FnMut(u64),
}

/// What is known of a bag before its pictures are read.
struct BagRows<'b> {
    chosen: &'b Chosen,
    series: &'b Series,
    segments: &'b [Segment],
    fps: u32,
}

impl Recording<'_> {
    fn bag(&mut self, files: &[PathBuf]) -> Result<()> {
        let mut survey = Survey::default();
        for path in files {
            survey.add(path, open(path)?)?;
        }
        self.found.notes.append(&mut survey.0.damage);
        let chosen = choose(self.input, &survey.0, &self.mapping)?;
        let series = series::read(self.input, files, &chosen, &self.mapping)?;
        self.check_names(files, &series)?;
        // All bags get the rate of the first.
        let fps = *self
            .mapping
            .fps
            .get_or_insert_with(|| natural_rate(&series));
        let (segments, empty) = segments(&series, fps);
        self.check_rows(files, &series, &segments)?;
        self.note(files, &series, empty);
        let rows = BagRows {
            chosen: &chosen,
            series: &series,
            segments: &segments,
            fps,
        };
        self.found.topics.extend(rows.usage());
        self.rows(files, &rows)
    }

    fn note(&mut self, files: &[PathBuf], series: &Series, empty: u64) {
        let name = files.first().map(|f| f.display().to_string());
        let name = name.unwrap_or_default();
        if empty > 0 {
            self.found.notes.push(format!(
                "{name}: {empty} episodes have no time at which all topics have values, and are left out"
            ));
        }
        if series.out_of_order > 0 {
            self.found.notes.push(format!(
                "{name}: {} messages are older than those before them; of joints they are left out",
                series.out_of_order
            ));
        }
    }

    /// Damaged times must not become years of rows.
    fn check_rows(&self, files: &[PathBuf], series: &Series, segments: &[Segment]) -> Result<()> {
        let messages: usize = times(series).iter().map(|t| t.len()).sum();
        let rows = segments
            .iter()
            .fold(0, |n: u64, s| n.saturating_add(s.rows));
        if rows <= ROWS_A_MESSAGE.saturating_mul(messages as u64) {
            return Ok(());
        }
        Err(Error::mcap(
            files.first().map_or(self.input, PathBuf::as_path),
            format!("its times make no sense: {rows} rows would be made of {messages} messages"),
        ))
    }

    /// All bags must have the same joints.
    fn check_names(&mut self, files: &[PathBuf], series: &Series) -> Result<()> {
        let action = series.action.as_ref().unwrap_or(&series.state);
        let names = [series.state.names.clone(), action.names.clone()];
        match &self.names {
            Some(known) if *known != names => Err(Error::convert(
                files.first().map_or(self.input, PathBuf::as_path),
                format!("its joints are {names:?}, those of the bags before {known:?}"),
            )),
            _ => {
                self.names = Some(names);
                Ok(())
            }
        }
    }

    /// Records the rows of a bag.
    fn rows(&mut self, files: &[PathBuf], bag: &BagRows<'_>) -> Result<()> {
        let mut cameras = bag.cameras();
        let mut next = Next::default();
        let topics: Vec<&str> = bag
            .chosen
            .cameras
            .iter()
            .map(|(_, t)| t.topic.as_str())
            .collect();
        if !topics.is_empty() {
            scan_bag(files, &mut |event| {
                let Event::Message(message) = event else {
                    return Ok(ControlFlow::Continue(()));
                };
                let Some(place) = topics.iter().position(|t| *t == message.channel.topic) else {
                    return Ok(ControlFlow::Continue(()));
                };
                cameras[place].take(message.data)?;
                self.emit(bag, &mut cameras, &mut next)?;
                if cameras.iter().map(Camera::waiting).sum::<usize>() > WAITING_LIMIT {
                    return Err(Error::mcap(
                        self.input,
                        "the cameras' messages are too far apart in the file; sort it by time first (`mcap sort`)",
                    ));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        cameras.iter_mut().try_for_each(Camera::finish)?;
        self.emit(bag, &mut cameras, &mut next)?;
        for (camera, topic) in cameras.iter().zip(topics) {
            if camera.cropped {
                self.found.notes.push(format!(
                    "{}: pictures have odd sides, which videos cannot have; the last column or row is left out",
                    topic.escape_debug()
                ));
            }
            if camera.undecodable > 0 {
                self.found.notes.push(format!(
                    "{}: {} pictures cannot be decoded; rows have the one before",
                    topic.escape_debug(),
                    camera.undecodable
                ));
            }
        }
        Ok(())
    }

    /// Records the rows that have all their frames.
    fn emit(&mut self, bag: &BagRows<'_>, cameras: &mut [Camera], next: &mut Next) -> Result<()> {
        while let Some(segment) = bag.segments.get(next.segment) {
            if !cameras.iter().all(Camera::is_ready) {
                return Ok(());
            }
            let frames: Vec<Arc<Frame>> = cameras.iter_mut().filter_map(Camera::pop).collect();
            let recorder = match &mut self.recorder {
                Some(recorder) => recorder,
                None => {
                    let spec = bag.spec(&self.mapping, &frames);
                    self.recorder.insert(Recorder::create(self.root, &spec)?)
                }
            };
            if next.row == 0 {
                let task = segment.task.as_ref().or(self.mapping.task.as_ref());
                recorder.start_episode(task.map_or(NO_TASK, String::as_str))?;
            }
            let (state, action, timing) = bag.values(segment, next.row, &self.mapping);
            recorder.add(Row {
                state: &state,
                action: &action,
                extra: &[ExtraValue::F64(&timing)],
                frames: &frames,
            })?;
            (self.progress)(1);
            next.row += 1;
            if next.row == segment.rows {
                recorder.save_episode()?;
                *next = Next {
                    segment: next.segment + 1,
                    row: 0,
                };
            }
        }
        Ok(())
    }
}

/// The row whose turn it is.
#[derive(Debug, Clone, Copy, Default)]
struct Next {
    segment: usize,
    row: u64,
}

impl BagRows<'_> {
    fn usage(&self) -> Vec<TopicUse> {
        let mut names = vec![(STATE.to_owned(), self.chosen.state.topic.as_str())];
        let action = self.chosen.action.as_ref();
        names.extend(action.map(|t| (ACTION.to_owned(), t.topic.as_str())));
        let cameras = self.chosen.cameras.iter();
        names.extend(
            cameras.map(|(name, t)| (format!("{}{name}", crate::IMAGES), t.topic.as_str())),
        );
        let each = names.iter().zip(times(self.series));
        each.map(|((feature, topic), times)| usage(feature, topic, times, self.segments, self.fps))
            .collect()
    }

    /// The cameras, each with the messages that rows need.
    fn cameras(&self) -> Vec<Camera> {
        let all = self.chosen.cameras.iter().zip(&self.series.cameras);
        let camera = |((_, topic), times): (&(String, _), &Vec<u64>)| {
            let topic: &super::survey::TopicInfo = topic;
            Camera::new(&topic.topic, topic.kind, self.wanted(times))
        };
        all.map(camera).collect()
    }

    fn wanted(&self, times: &[u64]) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = Vec::new();
        for segment in self.segments {
            for row in 0..segment.rows {
                let message = newest(times, segment.time(row, self.fps)).unwrap_or(0) as u64;
                match all.last_mut().filter(|last| last.message >= message) {
                    Some(last) => last.rows += 1,
                    None => all.push(Wanted { message, rows: 1 }),
                }
            }
        }
        all
    }

    /// The dataset to record, given the first frames.
    fn spec(&self, mapping: &Mapping, frames: &[Arc<Frame>]) -> DatasetSpec {
        let names = |joints: &Joints| {
            let named = |name: &String| {
                if name.ends_with(".pos") {
                    name.clone()
                } else {
                    format!("{name}.pos")
                }
            };
            joints.names.iter().map(named).collect()
        };
        let cameras = self.chosen.cameras.iter().zip(frames);
        let camera_times = self.chosen.cameras.iter();
        let mut entries = vec!["tick_s".to_owned(), "state_capture_s".to_owned()];
        entries.extend(camera_times.map(|(name, _)| format!("{name}_capture_s")));
        DatasetSpec {
            robot_type: mapping.robot.clone().unwrap_or_else(|| "unknown".into()),
            fps: self.fps,
            state_names: names(&self.series.state),
            action_names: names(self.series.action.as_ref().unwrap_or(&self.series.state)),
            cameras: cameras
                .map(|((name, _), frame)| CameraSpec::rgb(name, frame.width, frame.height))
                .collect(),
            extras: vec![ExtraSpec {
                shape: vec![entries.len() as u64],
                entries,
                ..ExtraSpec::scalar("timing", ExtraType::Float64)
            }],
            codec: Codec::Auto,
        }
    }

    /// State, action and true times of a row.
    fn values(
        &self,
        segment: &Segment,
        row: u64,
        mapping: &Mapping,
    ) -> (Vec<f32>, Vec<f32>, Vec<f64>) {
        let time = segment.time(row, self.fps);
        let held = |joints: &Joints, time: u64| newest(&joints.times, time).unwrap_or(0);
        let state_at = held(&self.series.state, time);
        let state = in_units(&self.series.state, state_at, mapping);
        let action = match &self.series.action {
            Some(action) => in_units(action, held(action, time), mapping),
            None => {
                let after = segment.time((row + 1).min(segment.rows - 1), self.fps);
                let state = &self.series.state;
                in_units(state, held(state, after), mapping)
            }
        };
        let seconds = |ns: u64| (ns as i128 - i128::from(segment.start_ns)) as f64 / 1e9;
        let captured = self.series.state.times.get(state_at);
        let mut timing = vec![seconds(time), seconds(captured.copied().unwrap_or(time))];
        for camera in &self.series.cameras {
            let shown = newest(camera, time).and_then(|i| camera.get(i));
            timing.push(seconds(shown.copied().unwrap_or(time)));
        }
        (state, action, timing)
    }
}

/// A row of joints in the dataset's units. Topics have SI units: rad, and a fraction for what is in
/// percent.
fn in_units(joints: &Joints, index: usize, mapping: &Mapping) -> Vec<f32> {
    let unit = |name: &String| {
        let plain = name.strip_suffix(".pos").unwrap_or(name);
        match mapping.units.get(plain).unwrap_or(&mapping.unit) {
            super::units::JointUnit::Degrees => Unit::Degrees,
            super::units::JointUnit::Percent => Unit::Percent,
            super::units::JointUnit::Radians => Unit::Plain,
        }
    };
    let values = joints.names.iter().zip(joints.row(index));
    values
        .map(|(name, value)| unit(name).of_si(*value) as f32)
        .collect()
}
