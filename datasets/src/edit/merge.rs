//! One dataset from several.

use super::build::make;
use super::plan::{Plan, Source};
use super::{Report, Target};
use crate::error::{Error, Result};
use crate::features::Feature;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Facts about how a video was encoded that may differ within a dataset; where they do, nothing is
/// said about them, as LeRobot does.
const ENCODER_FACTS: [&str; 6] = [
    "video.g",
    "video.crf",
    "video.preset",
    "video.fast_decode",
    "video.extra_options",
    "video.video_backend",
];

/// Appends the datasets to each other in the folder `out`; equal task sentences become one task.
/// They must have the same rate, features, codecs and robot; `robot_type` names the robot of
/// datasets that name it differently.
///
/// # Errors
/// [`Error::Edit`] if there are no datasets or they do not fit together.
pub fn merge(sources: &[PathBuf], out: &Path, robot_type: Option<&str>) -> Result<Report> {
    if sources.is_empty() {
        return Err(Error::edit(out, "name at least one dataset to merge"));
    }
    let opened = sources
        .iter()
        .map(|root| Source::open(root))
        .collect::<Result<Vec<_>>>()?;
    let mut plan = Plan::of_sources(opened);
    if let Some(name) = robot_type {
        plan.robot_type = Some(name.to_owned());
    }
    for other in &plan.sources[1..] {
        check(plan.source(), other, robot_type.is_some())?;
    }
    let mut differing = Vec::new();
    for planned in plan.features.iter_mut().filter(|f| f.feature.is_video()) {
        let others = plan.sources[1..]
            .iter()
            .filter_map(|s| s.info.features.get(&planned.name));
        if forget_differences(&mut planned.feature, others) {
            differing.push(planned.name.clone());
        }
    }
    if !differing.is_empty() {
        plan.notes.push(format!(
            "the datasets encoded {} with different settings; info.json does not name those",
            differing.join(", ")
        ));
    }
    make(plan, &Target::Folder(out.to_owned()))
}

fn check(first: &Source, other: &Source, any_robot: bool) -> Result<()> {
    let refuse = |problem: String| Err(Error::edit(&other.root, problem));
    let with = first.root.display();
    if other.info.fps != first.info.fps {
        return refuse(format!(
            "it has {} fps and {with} {} fps; only datasets of one rate can be merged",
            other.info.fps, first.info.fps
        ));
    }
    if !any_robot && other.info.robot_type != first.info.robot_type {
        return refuse(format!(
            "its robot is {:?} and that of {with} {:?}; name the robot (--robot-type) if they are the same",
            other.info.robot_type.as_deref().unwrap_or("unnamed"),
            first.info.robot_type.as_deref().unwrap_or("unnamed")
        ));
    }
    for (name, feature) in first.info.features.iter() {
        let Some(theirs) = other.info.features.get(name) else {
            return refuse(format!(
                "it has no feature {name}, which {with} has; drop it there first"
            ));
        };
        if let Some(what) = difference(feature, theirs) {
            return refuse(format!(
                "its feature {name} differs in {what} from that of {with}"
            ));
        }
    }
    match other
        .info
        .features
        .iter()
        .find(|(n, _)| first.info.features.get(n).is_none())
    {
        Some((name, _)) => refuse(format!(
            "it has a feature {name}, which {with} lacks; drop it first"
        )),
        None => Ok(()),
    }
}

/// In what two features differ so that they cannot be one.
fn difference(a: &Feature, b: &Feature) -> Option<String> {
    if a.dtype != b.dtype {
        return Some(format!("type ({} and {})", b.dtype, a.dtype));
    }
    if a.shape != b.shape {
        return Some(format!("shape ({:?} and {:?})", b.shape, a.shape));
    }
    if a.names != b.names && a.entry_names() != b.entry_names() {
        return Some(format!(
            "the names of its entries ({} and {})",
            b.names, a.names
        ));
    }
    let (Some(mine), Some(theirs)) = (&a.info, &b.info) else {
        return None;
    };
    let fact = mine.iter().find(|(key, value)| {
        !ENCODER_FACTS.contains(&key.as_str()) && theirs.get(*key).is_some_and(|t| t != *value)
    })?;
    Some(format!(
        "{} ({} and {}); re-encode it first",
        fact.0, theirs[fact.0], fact.1
    ))
}

/// Removes what the datasets say differently about their encoders, and tells whether there was any.
fn forget_differences<'a>(
    feature: &mut Feature,
    others: impl Iterator<Item = &'a Feature>,
) -> bool {
    let none = Map::new();
    let others: Vec<&Map<String, Value>> =
        others.map(|f| f.info.as_ref().unwrap_or(&none)).collect();
    let Some(info) = &mut feature.info else {
        return false;
    };
    let mut any = false;
    for fact in ENCODER_FACTS {
        if let Some(value) = info.get_mut(fact)
            && others.iter().any(|o| o.get(fact) != Some(value))
        {
            // lerobot takes only its own backend's name.
            *value = match fact {
                "video.extra_options" => json!({}),
                "video.video_backend" => json!("pyav"),
                _ => Value::Null,
            };
            any = true;
        }
    }
    any
}
