//! Which topics of a robot's bag become which features.

use super::survey::{Inspection, TopicInfo, TopicKind};
use super::units::JointUnit;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Ends of topic names that say what is commanded.
const COMMANDS: [&str; 4] = ["target", "command", "action", "cmd"];
/// Ends of camera topics that do not name the camera.
const TRANSPORTS: [&str; 8] = [
    "compressed",
    "video",
    "image",
    "image_raw",
    "image_color",
    "image_rect",
    "image_rect_color",
    "color",
];
/// The action is where the robot is in the next row.
pub const NEXT_STATE: &str = "next-state";

/// Which time of a message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// When it was recorded: one clock for all topics.
    #[default]
    Log,
    /// Its header's stamp: when it was measured, by the clock of whoever measured.
    Header,
}

/// Which topics become which features; what is not given is chosen by type and name. As TOML:
///
/// ```toml
/// state = "/joint_states"
/// action = "/joint_command"   # or "next-state"
/// task_topic = "/task"
/// fps = 30
/// unit = "degrees"
/// [cameras]
/// front = "/camera/image_raw/compressed"
/// [units]
/// gripper = "percent"
/// ```
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Topic of `observation.state`: JointState or a float MultiArray.
    pub state: Option<String>,
    /// Topic of `action`, of the same kinds, or [`NEXT_STATE`].
    pub action: Option<String>,
    /// Camera names and their topics: Image, CompressedImage or CompressedVideo.
    pub cameras: BTreeMap<String, String>,
    /// Topic (String) whose messages are task sentences; each begins an episode.
    pub task_topic: Option<String>,
    /// The task of everything, where no topic says it.
    pub task: Option<String>,
    /// Rows a second; by default the usual rate of the slowest camera, or of the state.
    pub fps: Option<u32>,
    /// Unit of joint positions in the dataset.
    pub unit: JointUnit,
    /// Units of single joints that differ.
    pub units: BTreeMap<String, JointUnit>,
    /// LeRobot's name of the robot.
    pub robot: Option<String>,
    /// Which time of a message counts.
    pub time: TimeSource,
}

impl Mapping {
    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// [`Error::Convert`] with the place in the file.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::convert(path, e.to_string().trim_end()))
    }
}

/// The choice of topics.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    pub(super) state: TopicInfo,
    /// `None` for the state of the next row.
    pub(super) action: Option<TopicInfo>,
    /// Camera names and topics.
    pub(super) cameras: Vec<(String, TopicInfo)>,
    pub(super) task: Option<TopicInfo>,
}

/// Chooses topics of a bag. `input` is for messages.
pub(super) fn choose(input: &Path, found: &Inspection, mapping: &Mapping) -> Result<Chosen> {
    let choice = Choice { input, found };
    let state = match &mapping.state {
        Some(topic) => choice.named("--state", topic, &[TopicKind::Joints, TopicKind::Numbers])?,
        None => choice.state()?,
    };
    let action = match mapping.action.as_deref() {
        Some(NEXT_STATE) => None,
        Some(topic) => {
            Some(choice.named("--action", topic, &[TopicKind::Joints, TopicKind::Numbers])?)
        }
        None => Some(choice.action(&state)?),
    };
    let cameras = if mapping.cameras.is_empty() {
        choice.cameras()
    } else {
        let kinds = [
            TopicKind::Image,
            TopicKind::CompressedImage,
            TopicKind::CompressedVideo,
        ];
        let named = mapping.cameras.iter();
        named
            .map(|(name, topic)| Ok((name.clone(), choice.named("--camera", topic, &kinds)?)))
            .collect::<Result<_>>()?
    };
    let task = match (&mapping.task_topic, &mapping.task) {
        (Some(topic), _) => Some(choice.named("--task-topic", topic, &[TopicKind::Text])?),
        (None, Some(_)) => None,
        (None, None) => choice.of_kind(TopicKind::Text, |t| t.topic.ends_with("/task")),
    };
    Ok(Chosen {
        state,
        action,
        cameras,
        task,
    })
}

struct Choice<'a> {
    input: &'a Path,
    found: &'a Inspection,
}

impl Choice<'_> {
    fn refuse<T>(&self, problem: &str) -> Result<T> {
        let topics = self.found.topics.iter();
        let list: Vec<String> = topics
            .take(50)
            .map(|t| {
                let (name, kind) = (t.topic.escape_debug(), t.ros_type.escape_debug());
                format!("{name} ({kind}, {:.1} Hz)", t.rate_hz())
            })
            .collect();
        let list = if list.is_empty() {
            "there are none".to_owned()
        } else {
            list.join(", ")
        };
        Err(Error::convert(
            self.input,
            format!("{problem}; topics: {list}"),
        ))
    }

    fn named(&self, option: &str, topic: &str, kinds: &[TopicKind]) -> Result<TopicInfo> {
        match self.found.topics.iter().find(|t| t.topic == topic) {
            Some(found) if kinds.contains(&found.kind) => Ok(found.clone()),
            Some(found) => self.refuse(&format!(
                "{option} {topic} has messages of {}, which do not fit there",
                found.ros_type
            )),
            None => self.refuse(&format!("there is no topic {topic} ({option})")),
        }
    }

    fn of_kind(&self, kind: TopicKind, fits: impl Fn(&TopicInfo) -> bool) -> Option<TopicInfo> {
        let mut all = self
            .found
            .topics
            .iter()
            .filter(|t| t.kind == kind && fits(t));
        let first = all.next()?;
        all.next().is_none().then(|| first.clone())
    }

    fn state(&self) -> Result<TopicInfo> {
        let measured = |t: &TopicInfo| t.topic.ends_with("joint_states");
        let other = |t: &TopicInfo| !is_command(&t.topic);
        match self
            .of_kind(TopicKind::Joints, measured)
            .or_else(|| self.of_kind(TopicKind::Joints, other))
        {
            Some(found) => Ok(found),
            None => self
                .refuse("it is not clear which topic has the joints' state; name it with --state"),
        }
    }

    fn action(&self, state: &TopicInfo) -> Result<TopicInfo> {
        let command = |t: &TopicInfo| t.topic != state.topic && is_command(&t.topic);
        match self
            .of_kind(TopicKind::Joints, command)
            .or_else(|| self.of_kind(TopicKind::Numbers, command))
        {
            Some(found) => Ok(found),
            None => self.refuse(
                "it is not clear which topic has the commanded joints; name it with --action, or let the next row's state be the action with --action next-state",
            ),
        }
    }

    /// All cameras; of several topics of one, the least data.
    fn cameras(&self) -> Vec<(String, TopicInfo)> {
        let mut chosen: Vec<(Vec<&str>, &TopicInfo)> = Vec::new();
        for topic in &self.found.topics {
            let rank = cost(topic.kind);
            if rank == u8::MAX || topic.topic.to_ascii_lowercase().contains("depth") {
                continue;
            }
            let base = base(&topic.topic);
            match chosen.iter_mut().find(|(b, _)| *b == base) {
                Some((_, known)) if cost(known.kind) > rank => *known = topic,
                Some(_) => {}
                None => chosen.push((base, topic)),
            }
        }
        let short = |base: &[&str]| base.last().copied().unwrap_or("camera").to_owned();
        let clash = |base: &[&str]| {
            chosen
                .iter()
                .filter(|(b, _)| short(b) == short(base))
                .count()
                > 1
        };
        let name = |base: &[&str]| {
            if clash(base) {
                base.join("_")
            } else {
                short(base)
            }
        };
        let named = chosen
            .iter()
            .map(|(base, topic)| (name(base), (*topic).clone()));
        named.collect()
    }
}

fn is_command(topic: &str) -> bool {
    let end = topic.rsplit('/').next().unwrap_or_default();
    COMMANDS.iter().any(|word| end.contains(word))
}

fn cost(kind: TopicKind) -> u8 {
    match kind {
        TopicKind::CompressedVideo => 0,
        TopicKind::CompressedImage => 1,
        TopicKind::Image => 2,
        _ => u8::MAX,
    }
}

/// The parts of a camera topic's name that name the camera.
fn base(topic: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = topic.split('/').filter(|part| !part.is_empty()).collect();
    while parts.len() > 1 && parts.last().is_some_and(|last| TRANSPORTS.contains(last)) {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, kind: TopicKind) -> TopicInfo {
        TopicInfo {
            topic: name.into(),
            ros_type: "x".into(),
            kind,
            messages: 61,
            damaged: 0,
            first_ns: 1_000_000_000,
            last_ns: 3_000_000_000,
        }
    }

    fn bag(topics: &[(&str, TopicKind)]) -> Inspection {
        Inspection {
            topics: topics.iter().map(|(n, k)| topic(n, *k)).collect(),
            ..Inspection::default()
        }
    }

    #[test]
    fn usual_bags_need_no_mapping() {
        use TopicKind::*;
        let found = bag(&[
            ("/joint_states", Joints),
            ("/forward_position_controller/commands", Numbers),
            ("/left/camera/image_raw", Image),
            ("/left/camera/image_raw/compressed", CompressedImage),
            ("/right/camera/image_raw", Image),
            ("/wrist/video", CompressedVideo),
            ("/head/depth/image_raw", Image),
            ("/task", Text),
            ("/tf", Other),
        ]);
        let chosen = choose(Path::new("bag"), &found, &Mapping::default()).unwrap();
        assert_eq!(chosen.state.topic, "/joint_states");
        assert_eq!(
            chosen.action.unwrap().topic,
            "/forward_position_controller/commands"
        );
        let cameras: Vec<_> = chosen
            .cameras
            .iter()
            .map(|(n, t)| (n.as_str(), t.topic.as_str()))
            .collect();
        assert_eq!(
            cameras,
            [
                ("left_camera", "/left/camera/image_raw/compressed"),
                ("right_camera", "/right/camera/image_raw"),
                ("wrist", "/wrist/video")
            ]
        );
        assert_eq!(chosen.task.unwrap().topic, "/task");
    }

    #[test]
    fn what_is_not_clear_is_asked_for_with_the_topics_there_are() {
        use TopicKind::*;
        let found = bag(&[("/a", Joints), ("/b", Joints)]);
        let error = choose(Path::new("bag"), &found, &Mapping::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--state") && error.contains("/b (x, 30.0 Hz)"),
            "{error}"
        );
        let mapping = Mapping {
            state: Some("/a".into()),
            ..Mapping::default()
        };
        let error = choose(Path::new("bag"), &found, &mapping)
            .unwrap_err()
            .to_string();
        assert!(error.contains("next-state"), "{error}");
        let mapping = Mapping {
            action: Some(NEXT_STATE.into()),
            cameras: BTreeMap::from([("front".into(), "/a".into())]),
            ..mapping
        };
        assert!(choose(Path::new("bag"), &found, &mapping).is_err());
    }

    #[test]
    fn mapping_files_are_checked() {
        let parse = |text| Mapping::parse(Path::new("map.toml"), text);
        let mapping =
            parse("state = '/j'\nunit = 'radians'\ntime = 'header'\n[cameras]\nfront = '/c'\n")
                .unwrap();
        assert_eq!(
            (mapping.unit, mapping.time),
            (JointUnit::Radians, TimeSource::Header)
        );
        assert!(parse("stat = 1").unwrap_err().to_string().contains("stat"));
    }
}
