//! What a dataset's rows are made of: features, and the specification of a new recording.

use crate::error::{Error, Result};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Name of the feature with the measured joint values.
pub const STATE: &str = "observation.state";
/// Name of the feature with the commanded joint values.
pub const ACTION: &str = "action";
/// Prefix of every camera feature.
pub const IMAGES: &str = "observation.images.";

/// More features than any dataset has.
pub(crate) const FEATURE_LIMIT: usize = 1000;
/// More values than any real feature's statistics have.
const STAT_WIDTH_LIMIT: u64 = 1 << 20;

/// The five columns that LeRobot appends to every dataset, with their types.
pub const DEFAULT_FEATURES: [(&str, &str); 5] = [
    ("timestamp", "float32"),
    ("frame_index", "int64"),
    ("episode_index", "int64"),
    ("index", "int64"),
    ("task_index", "int64"),
];

/// One entry of `features` in `meta/info.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// `float32`, `int64`, `bool`, `string`, `image`, `video`, …
    pub dtype: String,
    /// Vector length `[n]`, or `[height, width, channels]` of a camera.
    pub shape: Vec<u64>,
    /// Names of the vector's entries; a list, an object (old writers) or null.
    #[serde(default)]
    pub names: Value,
    /// Encoding facts of a video feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Map<String, Value>>,
    /// Keys that newer writers add; kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Feature {
    /// A vector of numbers, one name an entry.
    pub fn vector(dtype: &str, names: &[String]) -> Self {
        Self {
            dtype: dtype.into(),
            shape: vec![names.len() as u64],
            names: json!(names),
            info: None,
            other: Map::new(),
        }
    }

    /// A single unnamed value.
    pub fn scalar(dtype: &str) -> Self {
        Self {
            dtype: dtype.into(),
            shape: vec![1],
            names: Value::Null,
            info: None,
            other: Map::new(),
        }
    }

    /// A camera of `width`×`height` pixels, RGB.
    pub fn video(width: u32, height: u32, info: Map<String, Value>) -> Self {
        Self {
            dtype: "video".into(),
            shape: vec![height.into(), width.into(), 3],
            names: json!(["height", "width", "channels"]),
            info: Some(info),
            other: Map::new(),
        }
    }

    /// Whether the values live in MP4 files instead of a parquet column.
    pub fn is_video(&self) -> bool {
        self.dtype == "video"
    }

    /// Whether it holds pixels, in a video or in the parquet file.
    pub fn is_camera(&self) -> bool {
        matches!(self.dtype.as_str(), "video" | "image")
    }

    /// Whether its column holds numbers or booleans.
    pub fn is_numeric(&self) -> bool {
        !matches!(
            self.dtype.as_str(),
            "video" | "image" | "string" | "language"
        )
    }

    /// Values of its statistics: of a matrix, LeRobot takes those with the same place on the last
    /// axis together. `None` if the shape is impossible.
    pub(crate) fn stat_width(&self) -> Option<usize> {
        let last = self.shape.last().copied().unwrap_or(1);
        (1..=STAT_WIDTH_LIMIT)
            .contains(&last)
            .then_some(last as usize)
    }

    /// What entry `at` of the statistics is called: its name if there is one, else its number.
    /// Single values have no name.
    pub(crate) fn stat_entry(&self, at: usize) -> Option<String> {
        match self.stat_width() {
            Some(width) if width > 1 || self.entry_names().is_some() => {
                let names = self.entry_names().filter(|names| names.len() == width);
                let name = names.and_then(|names| names.into_iter().nth(at));
                Some(name.unwrap_or_else(|| at.to_string()))
            }
            _ => None,
        }
    }

    /// Entry names, whether written as a list or as an object with one list.
    pub fn entry_names(&self) -> Option<Vec<String>> {
        let list = match &self.names {
            Value::Array(list) => list,
            Value::Object(object) if object.len() == 1 => object.values().next()?.as_array()?,
            _ => return None,
        };
        list.iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect()
    }
}

/// Features in their order, which is the order of the parquet columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features(pub Vec<(String, Feature)>);

impl Features {
    /// The feature called `name`.
    pub fn get(&self, name: &str) -> Option<&Feature> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, f)| f)
    }

    /// Names and features in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Feature)> {
        self.0.iter().map(|(n, f)| (n.as_str(), f))
    }

    /// Names of the features that live in MP4 files.
    pub fn video_keys(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, f)| f.is_video()).map(|(n, _)| n)
    }

    /// Names, separated by commas: for messages.
    pub(crate) fn listing(&self) -> String {
        self.0
            .iter()
            .map(|(n, _)| n.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, feature) in &self.0 {
            map.serialize_entry(name, feature)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Features;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of features")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Features, A::Error> {
                let mut features: Vec<(String, Feature)> = Vec::new();
                while let Some((name, feature)) = map.next_entry::<String, Feature>()? {
                    if features.len() == FEATURE_LIMIT {
                        return Err(serde::de::Error::custom(format!(
                            "more than {FEATURE_LIMIT} features"
                        )));
                    }
                    if features.iter().any(|(n, _)| *n == name) {
                        return Err(serde::de::Error::custom(format!(
                            "feature {name} appears twice"
                        )));
                    }
                    features.push((name, feature));
                }
                Ok(Features(features))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Which video codec to record with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Codec {
    /// H.264: least work for the processor.
    H264,
    /// AV1: LeRobot's own default, smaller files, more work.
    Av1,
    /// H.264 if an encoder is installed, else AV1.
    #[default]
    Auto,
}

/// One camera of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraSpec {
    /// Short name (`front`); the feature becomes `observation.images.front`.
    pub name: String,
    /// Width, pixels; even.
    pub width: u32,
    /// Height, pixels; even.
    pub height: u32,
}

impl CameraSpec {
    /// The camera's feature name.
    pub fn key(&self) -> String {
        format!("{IMAGES}{}", self.name)
    }
}

/// An additional `float64` column group, e.g. true capture times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraSpec {
    /// Feature name. Must not begin with `observation` or `action`: LeRobot would feed it to policies.
    pub name: String,
    /// Names of its entries, units included (`state_capture_s`).
    pub entries: Vec<String>,
}

/// What to record: the description of a new dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// LeRobot's name of the robot, e.g. `so101_follower`.
    pub robot_type: String,
    /// Rows (and video frames) a second.
    pub fps: u32,
    /// Names of the state vector's entries, `<joint>.pos`.
    pub state_names: Vec<String>,
    /// Names of the action vector's entries, `<joint>.pos`.
    pub action_names: Vec<String>,
    /// Cameras, in the order in which rows give their frames.
    pub cameras: Vec<CameraSpec>,
    /// Additional columns, in the order in which rows give their values.
    pub extras: Vec<ExtraSpec>,
    /// Video codec.
    pub codec: Codec,
}

impl DatasetSpec {
    /// Values that each row must give for all [`ExtraSpec`]s together.
    pub fn extra_len(&self) -> usize {
        self.extras.iter().map(|e| e.entries.len()).sum()
    }

    /// Checks that LeRobot could read what this describes.
    pub fn check(&self) -> Result<()> {
        if self.fps == 0 || self.fps > 1000 {
            return Err(Error::spec(format!(
                "fps is {}; it must be 1 to 1000",
                self.fps
            )));
        }
        check_vector(STATE, &self.state_names)?;
        check_vector(ACTION, &self.action_names)?;
        let mut seen = HashSet::from([STATE.to_owned(), ACTION.to_owned()]);
        seen.extend(DEFAULT_FEATURES.iter().map(|(name, _)| (*name).to_owned()));
        for camera in &self.cameras {
            check_camera(camera)?;
            check_new(&mut seen, camera.key())?;
        }
        for extra in &self.extras {
            check_vector(&extra.name, &extra.entries)?;
            if extra.name.starts_with("observation") || extra.name.starts_with("action") {
                return Err(Error::spec(format!(
                    "extra column {} begins with `observation` or `action`, which LeRobot would give to policies; rename it, e.g. timing.{}",
                    extra.name, extra.name
                )));
            }
            check_new(&mut seen, extra.name.clone())?;
        }
        Ok(())
    }

    /// The features of such a dataset, given the encoding facts of its videos.
    pub(crate) fn features(
        &self,
        video_info: impl Fn(&CameraSpec) -> Map<String, Value>,
    ) -> Features {
        let mut features = vec![
            (
                STATE.to_owned(),
                Feature::vector("float32", &self.state_names),
            ),
            (
                ACTION.to_owned(),
                Feature::vector("float32", &self.action_names),
            ),
        ];
        for camera in &self.cameras {
            features.push((
                camera.key(),
                Feature::video(camera.width, camera.height, video_info(camera)),
            ));
        }
        for extra in &self.extras {
            features.push((
                extra.name.clone(),
                Feature::vector("float64", &extra.entries),
            ));
        }
        for (name, dtype) in DEFAULT_FEATURES {
            features.push((name.to_owned(), Feature::scalar(dtype)));
        }
        Features(features)
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    // LeRobot forbids the slash because column names of the episode table are joined with it; the
    // rest would leave the dataset's folder or break its path templates.
    let bad =
        name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '{', '}', '\0']);
    if bad {
        Err(Error::spec(format!("`{name}` is no usable feature name")))
    } else {
        Ok(())
    }
}

fn check_vector(name: &str, entries: &[String]) -> Result<()> {
    check_name(name)?;
    if entries.is_empty() {
        return Err(Error::spec(format!(
            "{name} has no entries; name at least one"
        )));
    }
    let mut seen = HashSet::new();
    for entry in entries {
        if !seen.insert(entry) {
            return Err(Error::spec(format!("{name} names {entry} twice")));
        }
    }
    Ok(())
}

fn check_camera(camera: &CameraSpec) -> Result<()> {
    check_name(&camera.name)?;
    let fits = |side: u32| (16..=8192).contains(&side) && side.is_multiple_of(2);
    if fits(camera.width) && fits(camera.height) {
        return Ok(());
    }
    Err(Error::spec(format!(
        "camera {} is {}×{}; both sides must be even and 16 to 8192 pixels (yuv420p)",
        camera.name, camera.width, camera.height
    )))
}

fn check_new(seen: &mut HashSet<String>, name: String) -> Result<()> {
    if seen.contains(&name) {
        return Err(Error::spec(format!("feature {name} appears twice")));
    }
    seen.insert(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> DatasetSpec {
        DatasetSpec {
            robot_type: "so101_follower".into(),
            fps: 30,
            state_names: vec!["a.pos".into(), "b.pos".into()],
            action_names: vec!["a.pos".into()],
            cameras: vec![CameraSpec {
                name: "front".into(),
                width: 320,
                height: 240,
            }],
            extras: vec![],
            codec: Codec::Auto,
        }
    }

    #[test]
    fn unusable_specs_are_refused() {
        assert!(spec().check().is_ok());
        let broken: [fn(&mut DatasetSpec); 7] = [
            |s| s.fps = 0,
            |s| s.state_names.clear(),
            |s| s.action_names.push("a.pos".into()),
            |s| s.cameras[0].width = 321,
            |s| s.cameras[0].name = "a/b".into(),
            |s| s.cameras.push(s.cameras[0].clone()),
            |s| {
                s.extras.push(ExtraSpec {
                    name: "observation.t".into(),
                    entries: vec!["t".into()],
                })
            },
        ];
        for breakage in broken {
            let mut s = spec();
            breakage(&mut s);
            assert!(matches!(s.check(), Err(Error::Spec { .. })), "{s:?}");
        }
    }

    #[test]
    fn old_object_names_are_understood() {
        let feature: Feature =
            serde_json::from_str(r#"{"dtype":"float32","shape":[2],"names":{"motors":["x","y"]}}"#)
                .unwrap();
        assert_eq!(
            feature.entry_names(),
            Some(vec!["x".to_owned(), "y".to_owned()])
        );
    }
}
