//! What is in MCAP files: topics, types, rates, damage.

use super::scan::{Event, Message, Take, scan};
use crate::error::{Error, Result};
use serde::Serialize;
use sinew_runtime::ros::messages::{
    CompressedImageMsg, CompressedVideoMsg, ImageMsg, JointStateMsg, Message as _, MultiArray,
    StringMsg,
};
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Most topics that are listed.
const TOPIC_LIMIT: usize = 10_000;

/// What the messages of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicKind {
    /// sensor_msgs/JointState.
    Joints,
    /// std_msgs/Float64MultiArray or Float32MultiArray.
    Numbers,
    /// sensor_msgs/Image.
    Image,
    /// sensor_msgs/CompressedImage.
    CompressedImage,
    /// foxglove_msgs/CompressedVideo.
    CompressedVideo,
    /// std_msgs/String.
    Text,
    /// Anything else.
    Other,
}

/// A topic of an MCAP file or bag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopicInfo {
    /// Its name.
    pub topic: String,
    /// Its message type.
    pub ros_type: String,
    /// What that is.
    pub kind: TopicKind,
    /// Messages.
    pub messages: u64,
    /// Messages that are not of the type that they should be.
    pub damaged: u64,
    /// Time of the first message, ns since the epoch.
    pub first_ns: u64,
    /// Time of the last message, ns since the epoch.
    pub last_ns: u64,
}

impl TopicInfo {
    /// Messages a second, on average.
    pub fn rate_hz(&self) -> f64 {
        let seconds = self.last_ns.saturating_sub(self.first_ns) as f64 / 1e9;
        if seconds > 0.0 {
            self.messages.saturating_sub(1) as f64 / seconds
        } else {
            0.0
        }
    }
}

/// What is in an MCAP file or bag.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Inspection {
    /// Topics in the order of their first message.
    pub topics: Vec<TopicInfo>,
    /// What is damaged, in words.
    pub damage: Vec<String>,
    /// How much is damaged; more than there are words for.
    pub damage_count: u64,
}

/// Reads all of an MCAP file and decodes the messages of known types. Damage is said, not fatal;
/// memory is bounded whatever the bytes are.
///
/// # Errors
/// [`Error::Mcap`] if it does not begin like an MCAP file, [`Error::Io`] from reading.
pub fn inspect(source: impl Read) -> Result<Inspection> {
    let mut survey = Survey::default();
    survey.add(Path::new("the MCAP file"), source)?;
    Ok(survey.0)
}

#[derive(Default)]
pub(super) struct Survey(pub(super) Inspection);

impl Survey {
    pub(super) fn add(&mut self, path: &Path, source: impl Read) -> Result<()> {
        let found = &mut self.0;
        let damage = scan(path, source, &mut |event| {
            if let Event::Message(message) = event {
                note(&mut found.topics, &message);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        found.damage_count += damage.count;
        let words = damage.problems.into_iter();
        let room = 100_usize.saturating_sub(found.damage.len());
        found
            .damage
            .extend(words.map(|p| format!("{}: {p}", path.display())).take(room));
        Ok(())
    }
}

fn note(topics: &mut Vec<TopicInfo>, message: &Message<'_>) {
    let channel = message.channel;
    let place = match topics.iter().position(|t| t.topic == channel.topic) {
        Some(known) => known,
        None if topics.len() >= TOPIC_LIMIT => return,
        None => {
            topics.push(TopicInfo {
                topic: channel.topic.clone(),
                ros_type: channel.schema.clone(),
                kind: kind(&channel.schema, &channel.encoding),
                messages: 0,
                damaged: 0,
                first_ns: message.log_ns,
                last_ns: message.log_ns,
            });
            topics.len() - 1
        }
    };
    let topic = &mut topics[place];
    topic.messages += 1;
    topic.first_ns = topic.first_ns.min(message.log_ns);
    topic.last_ns = topic.last_ns.max(message.log_ns);
    if !decodes(topic.kind, &channel.schema, message.data) {
        topic.damaged += 1;
    }
}

fn kind(schema: &str, encoding: &str) -> TopicKind {
    if encoding != "cdr" {
        return TopicKind::Other;
    }
    match schema {
        "sensor_msgs/msg/JointState" => TopicKind::Joints,
        "std_msgs/msg/Float64MultiArray" | "std_msgs/msg/Float32MultiArray" => TopicKind::Numbers,
        "sensor_msgs/msg/Image" => TopicKind::Image,
        "sensor_msgs/msg/CompressedImage" => TopicKind::CompressedImage,
        "foxglove_msgs/msg/CompressedVideo" => TopicKind::CompressedVideo,
        "std_msgs/msg/String" => TopicKind::Text,
        _ => TopicKind::Other,
    }
}

fn decodes(kind: TopicKind, schema: &str, data: &[u8]) -> bool {
    match kind {
        TopicKind::Joints => JointStateMsg::decode(data).is_ok(),
        TopicKind::Numbers => numbers(schema, data).is_some(),
        TopicKind::Image => ImageMsg::decode(data).is_ok(),
        TopicKind::CompressedImage => CompressedImageMsg::decode(data).is_ok(),
        TopicKind::CompressedVideo => CompressedVideoMsg::decode(data).is_ok(),
        TopicKind::Text => StringMsg::decode(data).is_ok(),
        TopicKind::Other => true,
    }
}

/// The numbers of a Float64MultiArray or Float32MultiArray.
pub(super) fn numbers(schema: &str, data: &[u8]) -> Option<Vec<f64>> {
    if schema == MultiArray::<f32>::ros_name() {
        let message = MultiArray::<f32>::decode(data).ok()?;
        return Some(message.data.into_iter().map(f64::from).collect());
    }
    Some(MultiArray::<f64>::decode(data).ok()?.data)
}

/// Gives everything in the files of a bag to `take`, until it wants no more.
pub(super) fn scan_bag(files: &[PathBuf], take: Take<'_>) -> Result<()> {
    let mut done = false;
    for path in files {
        scan(path, open(path)?, &mut |event| {
            let flow = take(event)?;
            done = flow.is_break();
            Ok(flow)
        })?;
        if done {
            break;
        }
    }
    Ok(())
}

pub(super) fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    Ok(BufReader::with_capacity(1 << 18, file))
}
