//! What a LeRobot checkpoint does not say: which joints, which units, how fast.
//!
//! A file `sinew.toml` beside `config.json` may say it. Every key may be missing:
//!
//! ```toml
//! robot = "so101"                     # blueprint that the policy was made for
//! rate_hz = 30.0                      # steps a second: the dataset's fps
//! state = ["shoulder_pan", "gripper"]   # joints in the order of observation.state
//! action = ["shoulder_pan", "gripper"]  # joints in the order of action
//! environment = ["cube.x", "cube.y"]    # names of observation.environment_state, SI units
//! units = "lerobot"                   # degrees, and 0..100 for grippers; or "degrees", "rad"
//! ranges = { gripper = [-0.17, 1.75] }  # rad at 0 and at 100; missing: from the robot's blueprint
//!
//! [cameras]                           # the policy's input = the robot's camera
//! "observation.images.front" = "overhead"
//! ```
//!
//! Where it is silent, the dataset of the training is asked if it is on this machine, and then:
//! joints are those of the robot's blueprint in its order if their number fits (with a warning), a
//! camera has the last part of its input's name, the unit is `lerobot`.

use super::features::Feature;
use super::training::DatasetNames;
use crate::engine::read_limited;
use crate::error::PolicyError;
use crate::manifest::{JointUnits, Unit};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;

/// The file in a checkpoint's folder.
pub const NAMES_FILE: &str = "sinew.toml";
/// Its largest size, bytes.
const LIMIT: u64 = 1 << 20;

/// Names, units and rate of a checkpoint's vectors, as far as they are known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Names {
    /// Blueprint that the policy was made for.
    pub robot: Option<String>,
    /// Steps a second, Hz.
    pub rate_hz: Option<f64>,
    /// Joints in the order of the state.
    pub state: Option<Vec<String>>,
    /// Joints in the order of the action.
    pub action: Option<Vec<String>>,
    /// Names of the surroundings' values.
    pub environment: Option<Vec<String>>,
    /// Unit of state and action. Joints that count 0..100 and have no range here take the robot's.
    pub units: JointUnits,
    /// The robot's camera for an input of the policy, where they are not of one name.
    pub cameras: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    robot: Option<String>,
    rate_hz: Option<Spanned<f64>>,
    state: Option<Spanned<Vec<String>>>,
    action: Option<Spanned<Vec<String>>>,
    environment: Option<Spanned<Vec<String>>>,
    units: Option<Unit>,
    ranges: Option<Spanned<BTreeMap<String, [f64; 2]>>>,
    #[serde(default)]
    cameras: BTreeMap<String, String>,
}

impl Names {
    /// Reads `sinew.toml` in the checkpoint folder `dir`, if it is there.
    ///
    /// # Errors
    /// When it is there and is not valid.
    pub fn read(dir: &Path) -> Result<Self, PolicyError> {
        let path = dir.join(NAMES_FILE);
        if !path.exists() {
            return Ok(Self::silent());
        }
        let bytes = read_limited(&path, LIMIT).map_err(|source| PolicyError::Read {
            path: path.clone(),
            source,
        })?;
        Self::parse(&path, &String::from_utf8_lossy(&bytes))
    }

    fn silent() -> Self {
        Self {
            units: JointUnits {
                unit: Unit::Lerobot,
                ranges: BTreeMap::new(),
            },
            ..Self::default()
        }
    }

    /// Parses the text of a `sinew.toml`; `path` is for messages.
    ///
    /// # Errors
    /// With the line of what is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let refuse = |offset: usize, problem: String| PolicyError::Manifest {
            path: path.to_owned(),
            line: 1 + text.as_bytes()[..offset.min(text.len())]
                .iter()
                .filter(|b| **b == b'\n')
                .count(),
            problem,
        };
        let raw: Raw = toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            refuse(start, e.message().to_owned())
        })?;
        let lists = [
            ("state", &raw.state),
            ("action", &raw.action),
            ("environment", &raw.environment),
        ];
        for (key, list) in lists {
            if let Some(list) = list
                && let Some(problem) = wrong_list(list.get_ref())
            {
                return Err(refuse(list.span().start, format!("`{key}` {problem}")));
            }
        }
        if let Some(rate) = raw
            .rate_hz
            .as_ref()
            .filter(|r| !(*r.get_ref() > 0.0 && *r.get_ref() <= 10_000.0))
        {
            return Err(refuse(
                rate.span().start,
                "`rate_hz` must be above 0 and at most 10000".to_owned(),
            ));
        }
        let unit = raw.units.unwrap_or(Unit::Lerobot);
        if let Some(ranges) = &raw.ranges {
            let fine = |[low, high]: &[f64; 2]| low != high && low.is_finite() && high.is_finite();
            if unit != Unit::Lerobot || !ranges.get_ref().values().all(fine) {
                let problem = "`ranges` is for units = \"lerobot\": two different numbers a joint, rad at 0 and at 100";
                return Err(refuse(ranges.span().start, problem.to_owned()));
            }
        }
        let ranges = raw.ranges.map(Spanned::into_inner).unwrap_or_default();
        Ok(Self {
            robot: raw.robot,
            rate_hz: raw.rate_hz.map(Spanned::into_inner),
            state: raw.state.map(Spanned::into_inner),
            action: raw.action.map(Spanned::into_inner),
            environment: raw.environment.map(Spanned::into_inner),
            units: JointUnits { unit, ranges },
            cameras: raw.cameras,
        })
    }

    /// Fills what is not said here with what the training's dataset says.
    pub(super) fn or_dataset(mut self, dataset: Option<DatasetNames>) -> Self {
        let Some(dataset) = dataset else { return self };
        self.rate_hz = self.rate_hz.or(dataset.fps);
        self.state = self.state.or(dataset.state);
        self.action = self.action.or(dataset.action);
        self
    }

    /// The robot's camera for an image of the policy.
    pub fn camera<'a>(&'a self, image: &'a Feature) -> &'a str {
        match self.cameras.get(&image.name) {
            Some(camera) => camera,
            None => image.camera(),
        }
    }
}

fn wrong_list(names: &[String]) -> Option<String> {
    if names.is_empty() {
        return Some("must not be empty".to_owned());
    }
    let mut numbered = names.iter().enumerate();
    let twice = numbered.find(|(i, name)| names[..*i].contains(name));
    twice.map(|(_, name)| format!("names `{name}` twice"))
}

/// Joints of a vector with `size` values: those that are `named`, or the robot's own in blueprint
/// order. The text is for a warning: it says what was assumed.
///
/// # Errors
/// What does not fit, as one clause.
pub fn joints_of(
    what: &str,
    size: usize,
    named: Option<&[String]>,
    robot: &[String],
) -> Result<(Vec<String>, Option<String>), String> {
    if let Some(named) = named {
        if named.len() != size {
            return Err(format!(
                "`{what}` has {size} values and {} names ({})",
                named.len(),
                named.join(", ")
            ));
        }
        if let Some(problem) = wrong_list(named) {
            return Err(format!("`{what}` {problem}"));
        }
        let absent: Vec<&str> = named
            .iter()
            .filter(|name| !robot.contains(name))
            .map(String::as_str)
            .collect();
        if !absent.is_empty() {
            return Err(format!(
                "`{what}` has the joints {}, which the robot does not have; it has {}",
                absent.join(", "),
                robot.join(", ")
            ));
        }
        return Ok((named.to_vec(), None));
    }
    if robot.len() == size {
        let assumed = format!(
            "nothing says which joints `{what}` has: taken as those of the robot, in order ({}); {NAMES_FILE} beside \
             config.json can name them",
            robot.join(", ")
        );
        return Ok((robot.to_vec(), Some(assumed)));
    }
    Err(format!(
        "`{what}` has {size} values and the robot has {} joints; name the joints in {NAMES_FILE} beside config.json",
        robot.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_is_named_once() {
        let robot = ["a", "b"].map(str::to_owned);
        let named = ["a", "a"].map(str::to_owned);
        let problem = joints_of("action", 2, Some(&named), &robot).unwrap_err();
        assert_eq!(problem, "`action` names `a` twice");
    }
}
