//! The values that a bag has over time, before they are put onto a grid of rows.

use super::mapping::{Chosen, Mapping, TimeSource};
use super::scan::{Event, Message};
use super::survey::{TopicInfo, numbers, scan_bag};
use crate::error::{Error, Result};
use sinew_runtime::ros::cdr::{Cdr, CdrReader};
use sinew_runtime::ros::messages::{JointStateMsg, Message as _, MultiArray, StringMsg, Time};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Most numbers of one topic that are held.
const VALUE_LIMIT: usize = 1 << 27;
/// Most messages of one topic whose times are held.
const MESSAGE_LIMIT: usize = 1 << 26;
/// Most joints of one topic.
const JOINT_LIMIT: usize = 1000;

/// Joint values over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Joints {
    pub(super) names: Vec<String>,
    /// ns since the epoch, in order.
    pub(super) times: Vec<u64>,
    /// A row of all joints for each time.
    values: Vec<f64>,
    /// The newest value of each joint.
    current: Vec<f64>,
}

impl Joints {
    /// The values at the time with this number.
    pub(super) fn row(&self, index: usize) -> &[f64] {
        let width = self.names.len();
        self.values
            .get(index * width..(index + 1) * width)
            .unwrap_or_default()
    }

    /// Takes a message, which may have only some of the joints.
    fn update(&mut self, time: u64, names: &[String], values: &[f64]) -> bool {
        if names.is_empty() || names.len() != values.len() {
            return false;
        }
        for (name, value) in names.iter().zip(values) {
            match self.names.iter().position(|n| n == name) {
                Some(place) => self.current[place] = *value,
                None if self.names.len() >= JOINT_LIMIT => return false,
                None => {
                    // The rows before lack this joint.
                    self.times.clear();
                    self.values.clear();
                    self.names.push(name.clone());
                    self.current.push(*value);
                }
            }
        }
        self.times.push(time);
        self.values.extend(&self.current);
        true
    }
}

/// All that a bag has, but for the pictures.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Series {
    pub(super) state: Joints,
    pub(super) action: Option<Joints>,
    /// When each message of each camera was.
    pub(super) cameras: Vec<Vec<u64>>,
    pub(super) tasks: Vec<(u64, String)>,
    /// Messages that are earlier than the one before them.
    pub(super) out_of_order: u64,
}

/// Reads the chosen topics of a bag. `input` is for messages.
pub(super) fn read(
    input: &Path,
    files: &[PathBuf],
    chosen: &Chosen,
    mapping: &Mapping,
) -> Result<Series> {
    let mut reading = Reading {
        input,
        source: mapping.time,
        series: Series {
            action: chosen.action.as_ref().map(|_| Joints::default()),
            cameras: vec![Vec::new(); chosen.cameras.len()],
            ..Series::default()
        },
        chosen,
    };
    scan_bag(files, &mut |event| {
        if let Event::Message(message) = event {
            reading.take(&message)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    reading.series.tasks.sort_by_key(|(time, _)| *time);
    Ok(reading.series)
}

struct Reading<'a> {
    input: &'a Path,
    source: TimeSource,
    chosen: &'a Chosen,
    series: Series,
}

impl Reading<'_> {
    fn take(&mut self, message: &Message<'_>) -> Result<()> {
        let is = |topic: &TopicInfo| topic.topic == message.channel.topic;
        let time = time_of(message, self.source);
        let series = &mut self.series;
        if is(&self.chosen.state) {
            let fallback = Vec::new();
            series.out_of_order += joints(&mut series.state, message, time, &fallback);
        } else if let (Some(topic), Some(action)) = (&self.chosen.action, &mut series.action)
            && is(topic)
        {
            series.out_of_order += joints(action, message, time, &series.state.names);
        } else if self.chosen.task.as_ref().is_some_and(is) {
            if let Ok(task) = StringMsg::decode(message.data) {
                series.tasks.push((time, task.data));
            }
        } else if let Some(camera) = self.chosen.cameras.iter().position(|(_, t)| is(t)) {
            // Later passes count the messages, so that none can be left out.
            let last = series.cameras[camera].last().copied().unwrap_or(0);
            series.out_of_order += u64::from(time < last);
            series.cameras[camera].push(time.max(last));
        }
        let joints = [Some(&series.state), series.action.as_ref()];
        let many = joints
            .iter()
            .flatten()
            .any(|j| j.values.len() > VALUE_LIMIT)
            || series.cameras.iter().any(|c| c.len() > MESSAGE_LIMIT)
            || series.tasks.len() > VALUE_LIMIT >> 8;
        if many {
            return Err(Error::mcap(
                self.input,
                "a topic has more messages than fit the memory",
            ));
        }
        Ok(())
    }
}

/// Takes a message of joints; 1 if it is out of order. What is damaged counts as not there.
fn joints(into: &mut Joints, message: &Message<'_>, time: u64, fallback: &[String]) -> u64 {
    if into.times.last().is_some_and(|last| time < *last) {
        return 1;
    }
    let schema = &message.channel.schema;
    if *schema == JointStateMsg::ros_name() {
        if let Ok(decoded) = JointStateMsg::decode(message.data) {
            into.update(time, &decoded.name, &decoded.position);
        }
    } else if let Some(values) = numbers(schema, message.data) {
        let labels = labels(message.data);
        let names = [labels, into.names.clone(), fallback.to_vec()]
            .into_iter()
            .find(|names| names.len() == values.len())
            .unwrap_or_else(|| {
                (0..values.len().min(JOINT_LIMIT))
                    .map(|i| format!("joint_{i}"))
                    .collect()
            });
        into.update(time, &names, &values);
    }
    0
}

/// Names in the label of an array's only side, as we write them.
fn labels(data: &[u8]) -> Vec<String> {
    // The layout comes first and is the same for all element types.
    let layout = MultiArray::<u8>::decode(data).map(|array| array.layout);
    let dim = layout.map(|l| l.dim).unwrap_or_default();
    match &dim[..] {
        [side] if side.label.contains(',') => side.label.split(',').map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The time of a message that counts, ns since the epoch.
pub(super) fn time_of(message: &Message<'_>, source: TimeSource) -> u64 {
    let stamped = source == TimeSource::Header
        && (message.channel.schema.starts_with("sensor_msgs/msg/")
            || message.channel.schema == "foxglove_msgs/msg/CompressedVideo");
    if !stamped {
        return message.log_ns;
    }
    // Both kinds begin with the time.
    let first = CdrReader::new(message.data).and_then(|mut reader| Time::read(&mut reader));
    let ns = first.ok().and_then(|t| {
        let seconds = u64::try_from(t.sec).ok().filter(|s| *s > 0)?;
        Some(seconds * 1_000_000_000 + u64::from(t.nanosec))
    });
    ns.unwrap_or(message.log_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joints_of_several_publishers_become_one_vector() {
        let name = |n: &str| vec![n.to_owned()];
        let mut joints = Joints::default();
        assert!(joints.update(1, &name("a"), &[1.0]));
        assert!(joints.update(2, &name("b"), &[2.0]));
        assert!(joints.update(3, &name("a"), &[3.0]));
        assert!(!joints.update(4, &name("a"), &[]));
        assert_eq!(joints.names, ["a", "b"]);
        assert_eq!(
            joints.times,
            [2, 3],
            "whole from the time when all are known"
        );
        assert_eq!(
            (joints.row(0), joints.row(1)),
            (&[1.0, 2.0][..], &[3.0, 2.0][..])
        );
    }
}
