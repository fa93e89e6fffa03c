//! The `metadata.yaml` of a rosbag2 folder: version 9, as Jazzy and later write it.

use super::writer::FileTally;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// A topic of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicCount {
    /// Its name.
    pub topic: String,
    /// Its message type.
    pub ros_type: String,
    /// Its messages.
    pub messages: u64,
    /// The hash of the type's description.
    #[serde(skip)]
    hash: &'static str,
}

/// The files of a bag.
#[derive(Debug, Default)]
pub(super) struct Bag {
    files: Vec<(String, FileTally)>,
}

impl Bag {
    pub(super) fn add(&mut self, path: &Path, tally: FileTally) {
        let name = path.file_name().unwrap_or_default();
        self.files
            .push((name.to_string_lossy().into_owned(), tally));
    }

    /// All topics, in the order of their first appearance.
    pub(super) fn topics(&self) -> Vec<TopicCount> {
        let mut all: Vec<TopicCount> = Vec::new();
        for tally in self.files.iter().flat_map(|(_, tally)| &tally.topics) {
            match all.iter_mut().find(|t| t.topic == tally.topic) {
                Some(known) => known.messages += tally.messages,
                None => all.push(TopicCount {
                    topic: tally.topic.clone(),
                    ros_type: tally.ros_type.clone(),
                    messages: tally.messages,
                    hash: tally.hash,
                }),
            }
        }
        all
    }

    /// The file's text.
    pub(super) fn metadata(&self) -> String {
        let tallies = || self.files.iter().map(|(_, tally)| tally);
        let first = tallies().filter_map(|t| t.first_ns).min().unwrap_or(0);
        let last = tallies().map(|t| t.last_ns).max().unwrap_or(0);
        let topics = self.topics();
        let total: u64 = topics.iter().map(|t| t.messages).sum();
        let mut out = format!(
            "rosbag2_bagfile_information:\n  version: 9\n  storage_identifier: mcap\n{}  message_count: {total}\n  topics_with_message_count:\n",
            span(first, last, 2)
        );
        // Writing to a String cannot fail.
        for topic in &topics {
            let _ = write!(
                out,
                "    - topic_metadata:\n        name: {}\n        type: {}\n        serialization_format: cdr\n        offered_qos_profiles: []\n        type_description_hash: {}\n      message_count: {}\n",
                topic.topic, topic.ros_type, topic.hash, topic.messages
            );
        }
        out.push_str(
            "  compression_format: \"\"\n  compression_mode: \"\"\n  relative_file_paths:\n",
        );
        for (name, _) in &self.files {
            let _ = writeln!(out, "    - {}", quoted(name));
        }
        out.push_str("  files:\n");
        for (name, tally) in &self.files {
            let messages: u64 = tally.topics.iter().map(|t| t.messages).sum();
            let _ = write!(
                out,
                "    - path: {}\n{}      message_count: {messages}\n",
                quoted(name),
                span(tally.first_ns.unwrap_or(0), tally.last_ns, 6)
            );
        }
        out.push_str("  custom_data: ~\n  ros_distro: jazzy\n");
        out
    }
}

/// Start and duration, indented.
fn span(first_ns: u64, last_ns: u64, indent: usize) -> String {
    let duration = last_ns.saturating_sub(first_ns);
    let pad = " ".repeat(indent);
    format!(
        "{pad}duration:\n{pad}  nanoseconds: {duration}\n{pad}starting_time:\n{pad}  nanoseconds_since_epoch: {first_ns}\n"
    )
}

/// A text as YAML has it in double quotes, which is also JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
