//! What a dataset's rows are made of.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

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

    /// What entry `at` of the statistics is called: a colour, its name if there is one, else its
    /// number. Single values have no name.
    pub fn stat_entry(&self, at: usize) -> Option<String> {
        let width = self.stat_width().filter(|width| *width > 1)?;
        let names = match self.is_camera() {
            true => Some(["red", "green", "blue"].map(str::to_owned).to_vec()),
            false => self.entry_names(),
        };
        let names = names.filter(|names| names.len() == width);
        let name = names.and_then(|names| names.into_iter().nth(at));
        Some(name.unwrap_or_else(|| at.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

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
