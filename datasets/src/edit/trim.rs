//! Shorter episodes.

use super::build::make;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::{Error, Result};
use std::path::Path;

/// The frames of an episode that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Episode number.
    pub episode: u64,
    /// First frame that stays.
    pub from: u64,
    /// Frame after the last that stays; `None` for the episode's end.
    pub to: Option<u64>,
}

/// Cuts frames off the beginnings and ends of episodes. Frame numbers and timestamps begin at 0
/// again. A cut that begins at a video's key frame moves its frames as they are; others re-encode
/// that one episode.
///
/// # Errors
/// [`Error::Edit`] if an episode does not exist or is cut twice, or no frame would be left of it.
pub fn trim(source: &Path, cuts: &[Cut], target: &Target) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    if cuts.is_empty() {
        return Err(Error::edit(source, "name at least one episode to cut"));
    }
    plan.source()
        .check_episodes(cuts.iter().map(|c| &c.episode))?;
    for cut in cuts {
        if cuts.iter().filter(|c| c.episode == cut.episode).count() > 1 {
            return Err(Error::edit(
                source,
                format!("episode {} is cut twice", cut.episode),
            ));
        }
        let Some(segment) = plan
            .segments
            .iter_mut()
            .find(|s| s.episode as u64 == cut.episode)
        else {
            continue;
        };
        let (from, to) = (cut.from, cut.to.unwrap_or(segment.to));
        if from >= to || to > segment.to {
            return Err(Error::edit(
                source,
                format!(
                    "frames {from} to {to} of episode {} cannot stay; it has frames 0 to {}",
                    cut.episode, segment.to
                ),
            ));
        }
        (segment.from, segment.to) = (from, to);
    }
    make(plan, target)
}
