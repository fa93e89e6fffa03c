//! Leaving features out.

use super::build::make;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::{Error, Result};
use std::path::Path;

/// Makes a dataset without the listed features; videos of cameras go with them.
///
/// # Errors
/// [`Error::Edit`] if a feature does not exist or is one of LeRobot's own.
pub fn drop_features(source: &Path, names: &[String], target: &Target) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    if names.is_empty() {
        return Err(Error::edit(source, "name at least one feature to drop"));
    }
    for name in names {
        plan.source().check_feature(name)?;
    }
    plan.features.retain(|f| !names.contains(&f.name));
    make(plan, target)
}
