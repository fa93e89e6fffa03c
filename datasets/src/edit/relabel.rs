//! Other task sentences.

use super::build::make;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// New task sentences. For a row, the first of these that applies counts: the sentence of its
/// episode, the replacement of its sentence, the sentence for all; else it keeps its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relabel {
    /// Sentences of whole episodes, by the episodes' numbers.
    pub episodes: BTreeMap<u64, String>,
    /// New sentences by old ones.
    pub replace: BTreeMap<String, String>,
    /// The sentence of all other rows.
    pub all: Option<String>,
}

impl Relabel {
    /// The new sentence of a row.
    pub(super) fn sentence<'a>(&'a self, episode: u64, old: &'a str) -> &'a str {
        let own = self
            .episodes
            .get(&episode)
            .or_else(|| self.replace.get(old));
        own.or(self.all.as_ref()).map_or(old, String::as_str)
    }
}

/// Gives rows other task sentences; sentences that no row has any more disappear.
///
/// # Errors
/// [`Error::Edit`] if nothing is to be changed, a sentence is empty, or an episode or sentence to be
/// replaced does not exist.
pub fn relabel(source: &Path, labels: &Relabel, target: &Target) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    plan.source().check_episodes(labels.episodes.keys())?;
    let new: Vec<&String> = labels
        .episodes
        .values()
        .chain(labels.replace.values())
        .chain(&labels.all)
        .collect();
    if new.is_empty() {
        return Err(Error::edit(source, "name at least one new task"));
    }
    if new.iter().any(|s| s.trim().is_empty()) {
        return Err(Error::edit(
            source,
            "a task is empty; say what the robot is to do",
        ));
    }
    let known = plan.source().tasks.sentences();
    if let Some(unknown) = labels.replace.keys().find(|s| !known.contains(s)) {
        return Err(Error::edit(
            source,
            format!(
                "there is no task `{unknown}`; it has `{}`",
                known.join("`, `")
            ),
        ));
    }
    plan.relabel = Some(labels);
    make(plan, target)
}
