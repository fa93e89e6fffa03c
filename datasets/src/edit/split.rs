//! Several datasets from one.

use super::build::build;
use super::place::Workspace;
use super::plan::Plan;
use super::{Report, Target};
use crate::error::{Error, Result};
use crate::spec::check_name;
use std::collections::BTreeSet;
use std::path::Path;

/// What a part gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Share {
    /// These episodes.
    Episodes(Vec<u64>),
    /// This fraction of all episodes, taken in order after those of the parts before.
    Fraction(f64),
}

/// One of the datasets that a split makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of its folder.
    pub name: String,
    /// Its episodes.
    pub share: Share,
}

/// Makes a dataset a part, in the folders `out/NAME`, all or none of them. Parts are given by
/// episodes or by fractions, not both; fractions are rounded down, and where they add up to one the
/// last part gets what rounding left.
///
/// # Errors
/// [`Error::Edit`] if a part is empty or ill-named, an episode is in two parts, or fractions are
/// not between 0 and 1 together.
pub fn split(source: &Path, parts: &[Part], out: &Path) -> Result<Vec<Report>> {
    let count = Plan::of(source)?.source().episodes.len() as u64;
    let wanted = assign(source, parts, count)?;
    let work = Workspace::begin(&[source], &Target::Folder(out.to_owned()))?;
    let mut reports = Vec::new();
    for (part, episodes) in parts.iter().zip(&wanted) {
        let mut plan = Plan::of(source)?;
        plan.source().check_episodes(episodes)?;
        plan.keep(episodes);
        reports.push(build(plan, &work.root().join(&part.name))?);
    }
    let out = work.publish()?;
    for (report, part) in reports.iter_mut().zip(parts) {
        report.root = out.join(&part.name);
    }
    Ok(reports)
}

/// The episodes of each part.
fn assign(source: &Path, parts: &[Part], count: u64) -> Result<Vec<BTreeSet<u64>>> {
    let refuse = |problem: String| Err(Error::edit(source, problem));
    if parts.is_empty() {
        return refuse("name at least one part".into());
    }
    let mut names = BTreeSet::new();
    for part in parts {
        if check_name(&part.name).is_err() || !names.insert(&part.name) {
            return refuse(format!(
                "`{}` is no usable folder name, or is given twice",
                part.name
            ));
        }
    }
    let fractions: Vec<f64> = parts
        .iter()
        .filter_map(|p| match p.share {
            Share::Fraction(f) => Some(f),
            Share::Episodes(_) => None,
        })
        .collect();
    let wanted = if fractions.is_empty() {
        parts
            .iter()
            .map(|p| match &p.share {
                Share::Episodes(list) => list.iter().copied().collect(),
                Share::Fraction(_) => BTreeSet::new(),
            })
            .collect()
    } else if fractions.len() == parts.len() {
        match ranges(&fractions, count) {
            Some(ranges) => ranges,
            None => return refuse("fractions must be more than 0 and add up to at most 1".into()),
        }
    } else {
        return refuse("give all parts as episodes, or all as fractions".into());
    };
    let mut seen = BTreeSet::new();
    for (part, episodes) in parts.iter().zip(&wanted) {
        if episodes.is_empty() {
            return refuse(format!(
                "part {} would have no episodes of the {count}",
                part.name
            ));
        }
        if let Some(twice) = episodes.iter().find(|e| !seen.insert(**e)) {
            return refuse(format!("episode {twice} is in two parts"));
        }
    }
    Ok(wanted)
}

/// Episodes in order, cut at the fractions; `None` if they make no sense.
fn ranges(fractions: &[f64], count: u64) -> Option<Vec<BTreeSet<u64>>> {
    let sum: f64 = fractions.iter().sum();
    let rounding = 1e-9;
    if !fractions.iter().all(|f| *f > 0.0) || sum.is_nan() || sum > 1.0 + rounding {
        return None;
    }
    let mut start = 0;
    let mut ranges = Vec::new();
    for (i, fraction) in fractions.iter().enumerate() {
        let last = i + 1 == fractions.len() && sum > 1.0 - rounding;
        let taken = (count as f64 * fraction + rounding).floor() as u64;
        let end = if last {
            count
        } else {
            (start + taken).min(count)
        };
        ranges.push((start..end).collect());
        start = end;
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fractions(list: &[f64], count: u64) -> Result<Vec<u64>> {
        let parts: Vec<Part> = list
            .iter()
            .enumerate()
            .map(|(i, f)| Part {
                name: format!("p{i}"),
                share: Share::Fraction(*f),
            })
            .collect();
        assign(Path::new("set"), &parts, count)
            .map(|parts| parts.iter().map(|p| p.len() as u64).collect())
    }

    #[test]
    fn fractions_share_out_every_episode_once() {
        assert_eq!(fractions(&[0.8, 0.2], 10).unwrap(), [8, 2]);
        assert_eq!(fractions(&[0.7, 0.2, 0.1], 10).unwrap(), [7, 2, 1]);
        assert_eq!(fractions(&[0.5, 0.5], 5).unwrap(), [2, 3]);
        assert_eq!(
            fractions(&[0.29, 0.1], 100).unwrap(),
            [29, 10],
            "the rest is left out"
        );
        for wrong in [&[0.9, 0.2][..], &[-0.5], &[f64::NAN], &[0.01, 0.5], &[]] {
            assert!(fractions(wrong, 10).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn parts_that_overlap_or_leave_the_folder_are_refused() {
        let part = |name: &str, list: &[u64]| Part {
            name: name.into(),
            share: Share::Episodes(list.to_vec()),
        };
        let refused = |parts: &[Part]| assign(Path::new("set"), parts, 10).is_err();
        assert!(!refused(&[part("a", &[0, 2]), part("b", &[1])]));
        assert!(refused(&[part("a", &[0, 2]), part("b", &[2])]));
        assert!(refused(&[part("a", &[0]), part("a", &[1])]));
        assert!(refused(&[part("../a", &[0])]));
        assert!(refused(&[part("a", &[])]));
        let half = Part {
            name: "b".into(),
            share: Share::Fraction(0.5),
        };
        assert!(refused(&[part("a", &[0]), half]));
    }
}
