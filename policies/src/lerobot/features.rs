//! What a policy takes and gives, as its configuration says: names, kinds and shapes, in order.

use super::header::shortened;
use super::json::{self, Fields};
use serde_json::{Map, Value};
use std::fmt;

/// Most features of a policy on each side.
const FEATURE_LIMIT: usize = 64;
/// Largest side of an image, and longest vector.
const SIZE_LIMIT: usize = 1 << 14;

/// LeRobot's name of the joints' state.
pub const STATE: &str = "observation.state";
/// LeRobot's name of the state of the surroundings.
pub const ENVIRONMENT: &str = "observation.environment_state";
/// LeRobot's name of what the policy gives.
pub const ACTION: &str = "action";
/// Before the names of cameras.
pub const IMAGES: &str = "observation.images.";

/// What a feature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeatureKind {
    /// Joints, as measured.
    State,
    /// A camera's image, `[colours, height, width]`.
    Visual,
    /// The state of the surroundings.
    Environment,
    /// Joints, as commanded.
    Action,
    /// A reward, which no policy here uses.
    Reward,
    /// A text, which no policy here uses yet.
    Language,
}

impl FeatureKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::State, "STATE"),
        (Self::Visual, "VISUAL"),
        (Self::Environment, "ENV"),
        (Self::Action, "ACTION"),
        (Self::Reward, "REWARD"),
        (Self::Language, "LANGUAGE"),
    ];

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rows = Self::ALL.iter().filter(|row| row.1 == text);
        rows.next().map(|row| row.0)
    }

    /// LeRobot's word for it.
    pub fn name(self) -> &'static str {
        let mut rows = Self::ALL.iter().filter(|row| row.0 == self);
        rows.next().map_or("", |row| row.1)
    }

    /// The kind that a feature of this name had before configurations said it.
    fn of_name(name: &str) -> Self {
        if name.starts_with("observation.image") {
            Self::Visual
        } else if name == ENVIRONMENT {
            Self::Environment
        } else if name == ACTION {
            Self::Action
        } else {
            Self::State
        }
    }
}

impl fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A named part of what a policy takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// For example `observation.images.front`.
    pub name: String,
    /// What it holds.
    pub kind: FeatureKind,
    /// Images are `[colours, height, width]`.
    pub shape: Vec<usize>,
}

impl Feature {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many statistics normalisation needs: one a colour for images, otherwise one a value.
    pub fn channels(&self) -> usize {
        match (self.kind, self.shape.first()) {
            (FeatureKind::Visual, Some(colours)) => *colours,
            _ => self.len(),
        }
    }

    /// The camera that the image is from: what follows `observation.images.`, or the last part of
    /// another name.
    pub fn camera(&self) -> &str {
        match self.name.strip_prefix(IMAGES) {
            Some(camera) => camera,
            None => self.name.rsplit('.').next().unwrap_or(&self.name),
        }
    }
}

/// Features as LeRobot writes them since 2025: `{name: {"type": …, "shape": […]}}`.
pub(super) fn current(map: &Map<String, Value>, field: &str, notes: &mut Fields) -> Vec<Feature> {
    collect(map, field, notes, |name, value, notes| {
        let kind = value.get("type").and_then(Value::as_str);
        let Some(kind) = kind.and_then(FeatureKind::parse) else {
            notes.problem(format!(
                "`type` of `{name}` in `{field}` must be STATE, VISUAL, ENV, ACTION, REWARD or LANGUAGE"
            ));
            return None;
        };
        let shape = value.get("shape").unwrap_or(&Value::Null);
        feature(name, kind, shape, field, notes)
    })
}

/// Features as LeRobot wrote them before: `{name: [sizes]}`, with the kind in the name.
pub(super) fn before_2025(
    map: &Map<String, Value>,
    field: &str,
    notes: &mut Fields,
) -> Vec<Feature> {
    collect(map, field, notes, |name, value, notes| {
        feature(name, FeatureKind::of_name(name), value, field, notes)
    })
}

fn collect(
    map: &Map<String, Value>,
    field: &str,
    notes: &mut Fields,
    one: impl Fn(&str, &Value, &mut Fields) -> Option<Feature>,
) -> Vec<Feature> {
    if map.len() > FEATURE_LIMIT {
        notes.problem(format!(
            "`{field}` names {} features where at most {FEATURE_LIMIT} are possible",
            map.len()
        ));
        return Vec::new();
    }
    let features = map.iter();
    features
        .filter_map(|(name, value)| one(name, value, notes))
        .collect()
}

fn feature(
    name: &str,
    kind: FeatureKind,
    shape: &Value,
    field: &str,
    notes: &mut Fields,
) -> Option<Feature> {
    let wrong = |notes: &mut Fields, wanted: &str| {
        let (name, shape) = (shortened(name), shortened(&shape.to_string()));
        notes.problem(format!(
            "the shape of `{name}` in `{field}` is {shape} where {wanted} is needed"
        ));
        None
    };
    let axes = if kind == FeatureKind::Visual { 3 } else { 1 };
    let sizes = json::sizes(shape, SIZE_LIMIT, 3);
    let Some(sizes) = sizes.filter(|s| s.len() == axes || (axes == 1 && !s.is_empty())) else {
        return if axes == 3 {
            wrong(
                notes,
                &format!("[colours, height, width], each 1 to {SIZE_LIMIT},"),
            )
        } else {
            wrong(notes, &format!("[size], 1 to {SIZE_LIMIT},"))
        };
    };
    if axes == 3 && !matches!(sizes[0], 1 | 3 | 4) {
        return wrong(notes, "1, 3 or 4 colours before height and width");
    }
    if axes == 1 && sizes.iter().product::<usize>() > SIZE_LIMIT {
        return wrong(notes, &format!("at most {SIZE_LIMIT} values"));
    }
    Some(Feature {
        name: name.to_owned(),
        kind,
        shape: sizes,
    })
}
