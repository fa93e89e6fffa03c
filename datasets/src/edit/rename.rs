//! Other names of features.

use super::build::make;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::{Error, Result};
use crate::spec::check_name;
use std::path::Path;

/// Renames features, given as (old, new), cameras included.
///
/// # Errors
/// [`Error::Edit`] if a feature does not exist, is one of LeRobot's own, or the new name is not
/// usable or taken.
pub fn rename(source: &Path, names: &[(String, String)], target: &Target) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    if names.is_empty() {
        return Err(Error::edit(source, "name at least one feature to rename"));
    }
    for (old, new) in names {
        plan.source().check_feature(old)?;
        if check_name(new).is_err() {
            return Err(Error::edit(
                source,
                format!("`{new}` is no usable feature name"),
            ));
        }
        if names.iter().filter(|(o, _)| o == old).count() > 1 {
            return Err(Error::edit(source, format!("{old} gets two names")));
        }
    }
    for planned in &mut plan.features {
        if let Some((_, new)) = names.iter().find(|(old, _)| *old == planned.name) {
            planned.name.clone_from(new);
        }
    }
    let taken = |name: &String| plan.features.iter().filter(|f| f.name == *name).count() > 1;
    if let Some((_, name)) = names.iter().find(|(_, new)| taken(new)) {
        return Err(Error::edit(
            source,
            format!("there is a feature {name} already"),
        ));
    }
    make(plan, target)
}
