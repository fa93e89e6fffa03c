//! Leaving episodes out.

use super::build::make;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Makes a dataset without the listed episodes; those that stay are numbered anew.
///
/// # Errors
/// [`Error::Edit`] if an episode does not exist or none would be left.
pub fn delete(source: &Path, episodes: &[u64], target: &Target) -> Result<Report> {
    let plan = Plan::of(source)?;
    plan.source().check_episodes(episodes)?;
    if episodes.is_empty() {
        return Err(Error::edit(source, "name at least one episode to delete"));
    }
    let kept = (0..plan.source().episodes.len() as u64)
        .filter(|e| !episodes.contains(e))
        .collect();
    make_of(plan, &kept, source, target)
}

/// Makes a dataset of the listed episodes, in the order of the source.
///
/// # Errors
/// [`Error::Edit`] if an episode does not exist or the list is empty.
pub fn keep(source: &Path, episodes: &[u64], target: &Target) -> Result<Report> {
    let plan = Plan::of(source)?;
    plan.source().check_episodes(episodes)?;
    make_of(plan, &episodes.iter().copied().collect(), source, target)
}

fn make_of(
    mut plan: Plan<'_>,
    kept: &BTreeSet<u64>,
    source: &Path,
    target: &Target,
) -> Result<Report> {
    if kept.is_empty() {
        return Err(Error::edit(source, "no episode would be left"));
    }
    plan.keep(kept);
    make(plan, target)
}
