//! What to record: the description of a new dataset.

use crate::error::{Error, Result};
use crate::features::{ACTION, DEFAULT_FEATURES, Feature, Features, IMAGES, STATE};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Values of one extra column in one row at most.
const VALUES_LIMIT: u64 = 1 << 14;
/// Dimensions of an extra column at most, LeRobot's limit.
const DIMENSIONS_LIMIT: usize = 5;

/// Which video codec to record with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Codec {
    /// H.264: least work for the processor.
    H264,
    /// H.265: smaller files, more work.
    Hevc,
    /// AV1: LeRobot's own default, smaller files, more work.
    Av1,
    /// The first that keeps up with the cameras: a hardware encoder, AV1, H.264.
    #[default]
    Auto,
}

/// Where a camera's pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Storage {
    /// In an MP4 file.
    #[default]
    Video,
    /// One by one and without loss in the parquet file: PNG, or TIFF for depth.
    Images,
}

/// One camera of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CameraSpec {
    /// Short name (`front`); the feature becomes `observation.images.front`.
    pub name: String,
    /// Width, pixels; even for colour video.
    pub width: u32,
    /// Height, pixels; even for colour video.
    pub height: u32,
    /// Whether the pictures are distances (mm) instead of colours. LeRobot ends such names in
    /// `_depth`.
    #[serde(default)]
    pub depth: bool,
    /// Where its pictures are kept.
    #[serde(default)]
    pub storage: Storage,
}

impl CameraSpec {
    /// A colour camera, kept as video.
    pub fn rgb(name: &str, width: u32, height: u32) -> Self {
        Self {
            name: name.to_owned(),
            width,
            height,
            ..Self::default()
        }
    }

    /// A depth camera, kept as video of 12-bit codes.
    pub fn depth(name: &str, width: u32, height: u32) -> Self {
        Self {
            depth: true,
            ..Self::rgb(name, width, height)
        }
    }

    /// The camera's feature name.
    pub fn key(&self) -> String {
        format!("{IMAGES}{}", self.name)
    }

    /// Whether an encoder for colour video is needed.
    pub(crate) fn is_colour_video(&self) -> bool {
        !self.depth && self.storage == Storage::Video
    }

    fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        let even = !self.is_colour_video() || (self.width | self.height).is_multiple_of(2);
        let fits = |side: u32| (16..=8192).contains(&side);
        if fits(self.width) && fits(self.height) && even {
            return Ok(());
        }
        Err(Error::spec(format!(
            "camera {} is {}×{}; sides must be 16 to 8192 pixels, and even in colour video",
            self.name, self.width, self.height
        )))
    }

    fn feature(&self, video_info: &dyn Fn(&Self) -> Map<String, Value>) -> Feature {
        let mut feature = Feature::video(self.width, self.height, Map::new());
        if self.depth {
            feature.shape[2] = 1;
        }
        feature.info = match (self.storage, self.depth) {
            (Storage::Video, _) => Some(video_info(self)),
            (Storage::Images, true) => Some(crate::video::depth::image_info()),
            (Storage::Images, false) => None,
        };
        if self.storage == Storage::Images {
            feature.dtype = "image".into();
        }
        feature
    }
}

/// Type of an extra column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ExtraType {
    /// `float32`.
    Float32,
    /// `float64`.
    #[default]
    Float64,
    /// `int64`.
    Int64,
    /// `bool`.
    Bool,
    /// `string`: one text a row, not empty-handed but possibly empty.
    Text,
}

impl ExtraType {
    /// LeRobot's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Text => "string",
        }
    }
}

/// An additional column, e.g. true capture times, `next.reward`, `next.done`, `next.success`,
/// `observation.environment_state` or `complementary_info.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExtraSpec {
    /// Feature name.
    pub name: String,
    /// Type of its values.
    pub dtype: ExtraType,
    /// Lengths of its dimensions, outermost first; `[1]` for a single value.
    pub shape: Vec<u64>,
    /// Names of the entries of a one-dimensional column, units included (`state_capture_s`); may be
    /// empty.
    pub entries: Vec<String>,
    /// LeRobot gives every feature whose name begins with `observation` or `action` to policies.
    /// Such a name is refused unless this says that it is meant so.
    #[serde(default)]
    pub for_policies: bool,
}

impl ExtraSpec {
    /// A column with one named entry after the other.
    pub fn vector(name: &str, dtype: ExtraType, entries: &[&str]) -> Self {
        let entries: Vec<String> = entries.iter().map(|e| (*e).to_owned()).collect();
        Self {
            shape: vec![entries.len() as u64],
            entries,
            ..Self::scalar(name, dtype)
        }
    }

    /// A column with a single unnamed value a row.
    pub fn scalar(name: &str, dtype: ExtraType) -> Self {
        Self {
            name: name.to_owned(),
            dtype,
            shape: vec![1],
            ..Self::default()
        }
    }

    /// A column of the given shape without names.
    pub fn tensor(name: &str, dtype: ExtraType, shape: &[u64]) -> Self {
        Self {
            shape: shape.to_vec(),
            ..Self::scalar(name, dtype)
        }
    }

    /// The same column, given to policies by LeRobot.
    pub fn for_policies(self) -> Self {
        Self {
            for_policies: true,
            ..self
        }
    }

    /// Values of one row.
    pub fn width(&self) -> usize {
        self.shape.iter().product::<u64>() as usize
    }

    fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        let name = &self.name;
        let problem = |problem: String| Err(Error::spec(format!("extra column {name} {problem}")));
        let values = self.shape.iter().try_fold(1_u64, |n, s| n.checked_mul(*s));
        let fits = values.is_some_and(|n| (1..=VALUES_LIMIT).contains(&n));
        if !fits || self.shape.len() > DIMENSIONS_LIMIT || self.shape.is_empty() {
            return problem(format!(
                "has the shape {:?}; it may have 1 to {DIMENSIONS_LIMIT} dimensions and 1 to {VALUES_LIMIT} values",
                self.shape
            ));
        }
        if self.dtype == ExtraType::Text && self.shape != [1] {
            return problem("holds text, so its shape must be [1]".into());
        }
        if !self.entries.is_empty() {
            if self.shape != [self.entries.len() as u64] {
                return problem(format!(
                    "has {} names for the shape {:?}",
                    self.entries.len(),
                    self.shape
                ));
            }
            check_entries(name, &self.entries)?;
        }
        let observed = name.starts_with("observation") || name.starts_with("action");
        if observed && !self.for_policies {
            return problem(format!(
                "begins with `observation` or `action`, which LeRobot gives to policies; set `for_policies` if it is meant for them, else rename it, e.g. timing.{name}"
            ));
        }
        Ok(())
    }

    fn feature(&self) -> Feature {
        let mut feature = Feature::scalar(self.dtype.name());
        feature.shape.clone_from(&self.shape);
        if !self.entries.is_empty() {
            feature.names = Value::from(self.entries.clone());
        }
        feature
    }
}

/// What to record: the description of a new dataset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// Video codec of the colour cameras.
    pub codec: Codec,
}

impl DatasetSpec {
    /// Checks that LeRobot could read what this describes.
    pub fn check(&self) -> Result<()> {
        if self.fps == 0 || self.fps > 1000 {
            return Err(Error::spec(format!(
                "fps is {}; it must be 1 to 1000",
                self.fps
            )));
        }
        for (name, entries) in [(STATE, &self.state_names), (ACTION, &self.action_names)] {
            if entries.is_empty() {
                return Err(Error::spec(format!(
                    "{name} has no entries; name at least one"
                )));
            }
            check_entries(name, entries)?;
        }
        let mut seen = HashSet::from([STATE.to_owned(), ACTION.to_owned()]);
        seen.extend(DEFAULT_FEATURES.iter().map(|(name, _)| (*name).to_owned()));
        for camera in &self.cameras {
            camera.check()?;
            check_new(&mut seen, camera.key())?;
        }
        for extra in &self.extras {
            extra.check()?;
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
        features.extend(
            self.cameras
                .iter()
                .map(|camera| (camera.key(), camera.feature(&video_info))),
        );
        features.extend(
            self.extras
                .iter()
                .map(|extra| (extra.name.clone(), extra.feature())),
        );
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

fn check_entries(name: &str, entries: &[String]) -> Result<()> {
    let mut seen = HashSet::new();
    for entry in entries {
        if !seen.insert(entry) {
            return Err(Error::spec(format!("{name} names {entry} twice")));
        }
    }
    Ok(())
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
            cameras: vec![CameraSpec::rgb("front", 320, 240)],
            ..DatasetSpec::default()
        }
    }

    #[test]
    fn unusable_specs_are_refused() {
        assert!(spec().check().is_ok());
        let broken: [fn(&mut DatasetSpec); 12] = [
            |s| s.fps = 0,
            |s| s.state_names.clear(),
            |s| s.action_names.push("a.pos".into()),
            |s| s.cameras[0].width = 321,
            |s| s.cameras[0].name = "a/b".into(),
            |s| s.cameras.push(s.cameras[0].clone()),
            |s| s.extras = vec![ExtraSpec::scalar("observation.t", ExtraType::Float32)],
            |s| s.extras = vec![ExtraSpec::scalar("timestamp", ExtraType::Float32)],
            |s| s.extras = vec![ExtraSpec::tensor("t", ExtraType::Text, &[2])],
            |s| s.extras = vec![ExtraSpec::tensor("t", ExtraType::Bool, &[])],
            |s| s.extras = vec![ExtraSpec::tensor("t", ExtraType::Bool, &[0])],
            |s| s.extras = vec![ExtraSpec::tensor("t", ExtraType::Int64, &[u64::MAX, 2])],
        ];
        for breakage in broken {
            let mut s = spec();
            breakage(&mut s);
            assert!(matches!(s.check(), Err(Error::Spec { .. })), "{s:?}");
        }
    }

    #[test]
    fn columns_for_policies_are_a_deliberate_choice() {
        let state = ExtraSpec::tensor("observation.environment_state", ExtraType::Float32, &[2, 3]);
        for (extra, allowed) in [(state.clone(), false), (state.for_policies(), true)] {
            let mut s = spec();
            s.extras.push(extra);
            assert_eq!(s.check().is_ok(), allowed);
        }
    }

    #[test]
    fn depth_and_images_need_no_even_sides() {
        let mut s = spec();
        s.cameras = vec![CameraSpec::depth("front_depth", 33, 31)];
        s.cameras.push(CameraSpec {
            storage: Storage::Images,
            ..CameraSpec::rgb("wrist", 33, 31)
        });
        s.check().unwrap();
        let features = s.features(|_| Map::new());
        let shape = |key: &str| {
            let feature = features.get(key).unwrap();
            (feature.dtype.clone(), feature.shape.clone())
        };
        assert_eq!(
            shape("observation.images.front_depth"),
            ("video".into(), vec![31, 33, 1])
        );
        assert_eq!(
            shape("observation.images.wrist"),
            ("image".into(), vec![31, 33, 3])
        );
    }
}
