//! JSON files of a checkpoint: read within limits, field by field, with every problem noted.

use super::header::shortened;
use crate::engine::read_limited;
use crate::error::PolicyError;
use serde_json::{Map, Value};
use std::path::Path;

/// Largest config.json or processor file, bytes. Real ones have a few thousand.
pub(super) const FILE_LIMIT: u64 = 1 << 20;

/// An object from a file of at most `limit` bytes. Nesting deeper than 128 is an error of the parser.
pub(super) fn read_object(path: &Path, limit: u64) -> Result<Map<String, Value>, PolicyError> {
    let bytes = read_limited(path, limit).map_err(|source| PolicyError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse_object(path, &bytes)
}

/// An object from bytes; `path` is for messages.
pub(super) fn parse_object(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, PolicyError> {
    serde_json::from_slice(bytes).map_err(|e| PolicyError::Checkpoint {
        path: path.to_owned(),
        problem: format!("it is not a valid JSON object: {e}"),
    })
}

/// Takes an object apart. Wrong values are noted and replaced by the default, so that one message
/// can tell them all.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    problems: Vec<String>,
}

impl Fields {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        Self {
            map,
            problems: Vec::new(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Takes a field; `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        // Not `swap_remove`: what is left is shown in the order of the file.
        self.map.shift_remove(name).filter(|v| !v.is_null())
    }

    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.map.shift_remove(*name);
        }
    }

    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Notes a problem unless `holds`.
    pub(super) fn require(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            let problem = problem();
            self.problem(problem);
        }
    }

    fn wrong(&mut self, name: &str, found: &Value, wanted: &str) {
        let found = shortened(&found.to_string());
        self.problem(format!("`{name}` is {found} where {wanted} is needed"));
    }

    fn typed<T>(
        &mut self,
        name: &str,
        wanted: &str,
        get: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(name)?;
        let typed = get(&value);
        if typed.is_none() {
            self.wrong(name, &value, wanted);
        }
        typed
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.typed(name, "a text", |v| v.as_str().map(str::to_owned))
    }

    /// `true` and `false`, and 0 and 1, which some configurations use for them.
    pub(super) fn truth(&mut self, name: &str, default: bool) -> bool {
        let get = |v: &Value| match v.as_u64() {
            Some(n @ 0..=1) => Some(n == 1),
            _ => v.as_bool(),
        };
        self.typed(name, "true or false", get).unwrap_or(default)
    }

    /// A whole number of `1..=most`.
    pub(super) fn size(&mut self, name: &str, default: usize, most: usize) -> usize {
        self.size_or_null(name, most).unwrap_or(default)
    }

    pub(super) fn size_or_null(&mut self, name: &str, most: usize) -> Option<usize> {
        self.typed(name, &format!("a whole number of 1 to {most}"), |v| {
            size(v, most)
        })
    }

    pub(super) fn sizes(&mut self, name: &str, most: usize, count: usize) -> Option<Vec<usize>> {
        let wanted = format!("a list of at most {count} whole numbers of 1 to {most}");
        self.typed(name, &wanted, |v| sizes(v, most, count))
    }

    pub(super) fn number(&mut self, name: &str, default: f64) -> f64 {
        self.number_or_null(name).unwrap_or(default)
    }

    pub(super) fn number_or_null(&mut self, name: &str) -> Option<f64> {
        let finite = |v: &Value| v.as_f64().filter(|n| n.is_finite());
        self.typed(name, "a number", finite)
    }

    pub(super) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        let value = self.take(name)?;
        match value {
            Value::Object(map) => Some(map),
            other => {
                self.wrong(name, &other, "an object");
                None
            }
        }
    }

    /// The names of what nobody took.
    pub(super) fn left(&self) -> Vec<String> {
        self.map.keys().map(|name| shortened(name)).collect()
    }

    /// Fails when a problem was noted.
    pub(super) fn finish(self, path: &Path) -> Result<(), PolicyError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(PolicyError::Checkpoint {
            path: path.to_owned(),
            problem: self.problems.join("; "),
        })
    }
}

/// A whole number of `1..=most`; LeRobot sometimes writes 84.0.
pub(super) fn size(value: &Value, most: usize) -> Option<usize> {
    let whole = |f: f64| (f.fract() == 0.0 && f >= 1.0 && f <= most as f64).then_some(f as usize);
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
    number
        .or_else(|| value.as_f64().and_then(whole))
        .filter(|n| (1..=most).contains(n))
}

/// At most `count` whole numbers of `1..=most`.
pub(super) fn sizes(value: &Value, most: usize, count: usize) -> Option<Vec<usize>> {
    let list = value.as_array().filter(|list| list.len() <= count)?;
    list.iter().map(|v| size(v, most)).collect()
}

/// A list of texts.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?;
    list.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}
