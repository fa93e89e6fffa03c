//! Which topic carries which feature, and how.

use super::units::{JointUnit, Unit};
use crate::features::{ACTION, DEFAULT_FEATURES, Feature, IMAGES, STATE};
use crate::info::Info;
use crate::video::depth::is_depth;
use sinew_runtime::ros::messages::{
    CompressedImageMsg, CompressedVideoMsg, JointStateMsg, Message, MultiArray, StringMsg,
};

/// Channel metadata that says which feature a topic carries, exactly.
pub(super) const FEATURE_KEY: &str = "sinew.feature";
/// Channel metadata with the units of the dataset, one an entry, separated by commas.
pub(super) const UNITS_KEY: &str = "sinew.units";
/// Metadata record with the dataset's head.
pub(super) const DATASET_RECORD: &str = "sinew.dataset";
/// Metadata record before each episode's messages.
pub(super) const EPISODE_RECORD: &str = "sinew.episode";

/// How a feature's values travel.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Carrier {
    /// sensor_msgs/JointState with the positions of these joints.
    Joints(Vec<(String, Unit)>),
    /// The std_msgs `*MultiArray` of the values' type.
    Numbers,
    /// std_msgs/String.
    Text,
    /// sensor_msgs/CompressedImage with the bytes of the picture's file.
    Picture,
    /// foxglove_msgs/CompressedVideo with the encoded frame.
    Video,
    /// sensor_msgs/CompressedImage with the decoded frame as PNG.
    Decoded,
}

/// A topic to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Topic {
    pub(super) feature: String,
    pub(super) name: String,
    pub(super) carrier: Carrier,
    /// Whether the feature can be restored from it bit for bit.
    pub(super) exact: bool,
}

/// How cameras' videos are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cameras {
    /// The encoded frames as they are (foxglove_msgs/CompressedVideo).
    #[default]
    Video,
    /// Every frame decoded, as PNG (sensor_msgs/CompressedImage): for readers that decode no video,
    /// at several times the size. The result is no exact copy of the dataset any more.
    Png,
    /// Left out.
    None,
}

/// The robot's part of topic names.
pub(super) fn robot(info: &Info) -> String {
    let name = info.robot_type.as_deref().unwrap_or_default();
    segment(if name.is_empty() { "robot" } else { name })
}

/// The topics of a dataset, and the features that cannot be expressed.
pub(super) fn topics(
    info: &Info,
    cameras: Cameras,
    joints: JointUnit,
) -> (Vec<Topic>, Vec<String>) {
    let robot = robot(info);
    let (mut topics, mut left_out): (Vec<Topic>, Vec<String>) = (Vec::new(), Vec::new());
    let mut add = |feature: &str, name: String, carrier: Carrier, exact: bool| {
        let name = format!("/{robot}/{name}");
        let taken = |name: &str| topics.iter().any(|t: &Topic| t.name == name);
        let mut free = name.clone();
        let mut number = 2;
        while taken(&free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        topics.push(Topic {
            feature: feature.to_owned(),
            name: free,
            carrier,
            exact,
        });
    };
    for (name, feature) in info.features.iter() {
        if DEFAULT_FEATURES.iter().any(|(n, _)| *n == name) {
            continue;
        }
        let camera = segments(name.strip_prefix(IMAGES).unwrap_or(name));
        match feature.dtype.as_str() {
            "language" => left_out.push(name.to_owned()),
            "string" => add(name, segments(name), Carrier::Text, true),
            "image" => add(name, format!("{camera}/compressed"), Carrier::Picture, true),
            "video" => match cameras {
                Cameras::Video => add(name, format!("{camera}/video"), Carrier::Video, true),
                // A depth code is no picture that a PNG viewer could show.
                Cameras::Png if !is_depth(feature) => {
                    add(
                        name,
                        format!("{camera}/compressed"),
                        Carrier::Decoded,
                        false,
                    );
                }
                _ => left_out.push(name.to_owned()),
            },
            _ => match (joint_topic(name), joint_names(feature, joints)) {
                (Some(topic), Some(names)) => {
                    // Doubles may differ in the last bit after the way through other units.
                    let exact = feature.dtype == "float32"
                        || names.iter().all(|(_, unit)| *unit == Unit::Plain);
                    add(name, topic.to_owned(), Carrier::Joints(names), exact);
                    if !exact {
                        add(name, segments(name), Carrier::Numbers, true);
                    }
                }
                _ => add(name, segments(name), Carrier::Numbers, true),
            },
        }
    }
    (topics, left_out)
}

fn joint_topic(feature: &str) -> Option<&'static str> {
    match feature {
        STATE => Some("joint_states"),
        ACTION => Some("joint_target"),
        _ => None,
    }
}

/// Names of a joint vector, as ROS has them, and the units of its entries.
fn joint_names(feature: &Feature, joints: JointUnit) -> Option<Vec<(String, Unit)>> {
    if !matches!(feature.dtype.as_str(), "float32" | "float64") || feature.shape.len() != 1 {
        return None;
    }
    let names = feature.entry_names()?;
    (names.len() as u64 == feature.shape[0]).then(|| {
        let joint = |name: &String| {
            let plain = name.strip_suffix(".pos").unwrap_or(name);
            (plain.to_owned(), Unit::of(name, joints))
        };
        names.iter().map(joint).collect()
    })
}

/// A feature's name as the end of a topic's: dots become levels.
fn segments(name: &str) -> String {
    name.split('.').map(segment).collect::<Vec<_>>().join("/")
}

/// A part of a topic's name: letters, digits and underscores, no digit first.
fn segment(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut text: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text.insert_str(0, "x_");
    }
    // ROS forbids two underscores in a row.
    while text.contains("__") {
        text = text.replace("__", "_");
    }
    text
}

/// Name and hash of a message type.
pub(super) fn ros_type<M: Message>() -> (String, &'static str) {
    (M::ros_name(), M::HASH)
}

impl Carrier {
    /// Name and hash of the message type; numbers have the element type `dtype`.
    pub(super) fn ros_type(&self, dtype: &str) -> Option<(String, &'static str)> {
        Some(match self {
            Self::Joints(_) => ros_type::<JointStateMsg>(),
            Self::Text => ros_type::<StringMsg>(),
            Self::Picture | Self::Decoded => ros_type::<CompressedImageMsg>(),
            Self::Video => ros_type::<CompressedVideoMsg>(),
            Self::Numbers => match dtype {
                "float32" => ros_type::<MultiArray<f32>>(),
                "float64" => ros_type::<MultiArray<f64>>(),
                "int8" => ros_type::<MultiArray<i8>>(),
                "int16" => ros_type::<MultiArray<i16>>(),
                "int32" => ros_type::<MultiArray<i32>>(),
                "int64" => ros_type::<MultiArray<i64>>(),
                "uint8" | "bool" => ros_type::<MultiArray<u8>>(),
                "uint16" | "float16" => ros_type::<MultiArray<u16>>(),
                "uint32" => ros_type::<MultiArray<u32>>(),
                "uint64" => ros_type::<MultiArray<u64>>(),
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_those_that_ros_allows() {
        assert_eq!(
            segments("observation.environment_state"),
            "observation/environment_state"
        );
        assert_eq!(segments("a..b-c.3d"), "a/x_/b_c/x_3d");
        assert_eq!(segments("próba"), "pr_ba");
    }
}
