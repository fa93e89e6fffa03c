//! Rate, robot and features.

use crate::features::{DEFAULT_FEATURES, Feature};
use crate::info::Info;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Something that the heads say differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeadDiff {
    /// What: `fps`, `robot_type`, or a feature and what of it.
    pub what: String,
    /// What `a` says; `None` if nothing.
    pub a: Option<String>,
    /// What `b` says; `None` if nothing.
    pub b: Option<String>,
}

pub(super) fn compare(a: &Info, b: &Info) -> Vec<HeadDiff> {
    let mut out = Vec::new();
    let mut check = |what: &str, a: Option<String>, b: Option<String>| {
        if a != b {
            let what = what.to_owned();
            out.push(HeadDiff { what, a, b });
        }
    };
    check("fps", Some(a.fps.to_string()), Some(b.fps.to_string()));
    check("robot_type", a.robot_type.clone(), b.robot_type.clone());
    let keys: BTreeSet<&String> = a.other.keys().chain(b.other.keys()).collect();
    for key in keys {
        check(key, said(a.other.get(key)), said(b.other.get(key)));
    }
    for (name, mine) in a.features.iter() {
        match b.features.get(name) {
            Some(theirs) => facts(name, mine, theirs, &mut check),
            None => check(&format!("feature {name}"), Some(describe(mine)), None),
        }
    }
    for (name, theirs) in b.features.iter() {
        if a.features.get(name).is_none() {
            check(&format!("feature {name}"), None, Some(describe(theirs)));
        }
    }
    out
}

type Check<'a> = &'a mut dyn FnMut(&str, Option<String>, Option<String>);

fn facts(name: &str, a: &Feature, b: &Feature, check: Check<'_>) {
    let what = |fact: &str| format!("feature {name}, {fact}");
    check(&what("type"), Some(a.dtype.clone()), Some(b.dtype.clone()));
    let shape = |f: &Feature| Some(format!("{:?}", f.shape));
    check(&what("shape"), shape(a), shape(b));
    if a.entry_names() != b.entry_names() {
        check(&what("names"), said(Some(&a.names)), said(Some(&b.names)));
    }
    let info = |f: &Feature| f.info.clone().unwrap_or_default();
    let (a, b) = (info(a), info(b));
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        check(&what(key), said(a.get(key)), said(b.get(key)));
    }
}

fn said(value: Option<&Value>) -> Option<String> {
    value.filter(|v| !v.is_null()).map(Value::to_string)
}

fn describe(feature: &Feature) -> String {
    format!("{} {:?}", feature.dtype, feature.shape)
}

/// The features that both have with the same kind and number of values, without those that only
/// number rows.
pub(super) fn common(a: &Info, b: &Info) -> Vec<String> {
    let numbering = |name: &str| {
        let own = DEFAULT_FEATURES.iter().any(|(n, _)| *n == name);
        own && name != "timestamp"
    };
    let kind = |f: &Feature| (f.is_numeric(), f.is_camera(), f.is_video());
    let comparable = |name: &str, mine: &Feature| {
        let theirs = b.features.get(name);
        theirs.is_some_and(|theirs| kind(mine) == kind(theirs) && mine.shape == theirs.shape)
    };
    a.features
        .iter()
        .filter(|(name, mine)| !numbering(name) && comparable(name, mine))
        .map(|(name, _)| name.to_owned())
        .collect()
}
