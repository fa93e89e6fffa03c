//! Which version of a repository is read when none is named: LeRobot's rule.
//!
//! Branches and tags that are version numbers count. The layout that this program reads is taken, or
//! else the newest one of the same major version that is older.

use crate::info::CODEBASE_VERSION;

/// What the rule says about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// This branch or tag.
    Take(String),
    /// All versions are older; the newest of them.
    TooOld(String),
    /// All versions are newer; the oldest of them.
    TooNew(String),
    /// Nothing is named like a version.
    None,
}

type Version = (u32, u32, u32);

/// Chooses among the names of branches and tags.
pub(super) fn choose<'a>(names: impl Iterator<Item = &'a str>) -> Choice {
    let mut found: Vec<(Version, &str)> = names.filter_map(|n| Some((parse(n)?, n))).collect();
    found.sort_unstable();
    let Some(wanted) = parse(CODEBASE_VERSION) else {
        return Choice::None;
    };
    let exact = found.iter().find(|(version, _)| *version == wanted);
    let fits = |v: &Version| v.0 == wanted.0 && v.1 <= wanted.1;
    let compatible = exact.or_else(|| found.iter().rfind(|(version, _)| fits(version)));
    if let Some((_, name)) = compatible {
        return Choice::Take((*name).to_owned());
    }
    let older = found.iter().rfind(|(version, _)| version.0 < wanted.0);
    match (older, found.first()) {
        (Some((_, name)), _) => Choice::TooOld((*name).to_owned()),
        (None, Some((_, name))) => Choice::TooNew((*name).to_owned()),
        (None, None) => Choice::None,
    }
}

/// `v3.0`, `3.0`, `v3.0.1`.
fn parse(name: &str) -> Option<Version> {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok())?
    };
    let parts = name.strip_prefix('v').unwrap_or(name).split('.');
    let parts: Vec<u32> = parts.map(number).collect::<Option<_>>()?;
    match parts[..] {
        [major, minor] => Some((major, minor, 0)),
        [major, minor, patch] => Some((major, minor, patch)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_is_that_of_lerobot() {
        let choice = |names: &[&str]| choose(names.iter().copied());
        let take = |name: &str| Choice::Take(name.into());
        assert_eq!(choice(&["main", "v2.1", "v3.0", "v3.1"]), take("v3.0"));
        assert_eq!(choice(&["main", "3.0"]), take("3.0"));
        assert_eq!(choice(&["v3.0", "v3.0.1"]), take("v3.0"));
        assert_eq!(choice(&["v2.1", "v3.0.1"]), take("v3.0.1"));
        assert_eq!(
            choice(&["main", "v2.0", "v2.1"]),
            Choice::TooOld("v2.1".into())
        );
        assert_eq!(choice(&["v3.1", "v4.0"]), Choice::TooNew("v3.1".into()));
        assert_eq!(choice(&["v2.1", "v4.0"]), Choice::TooOld("v2.1".into()));
        assert_eq!(
            choice(&["main", "v3", "vx.0", "3.0.0.0", "v3.0rc1", "v3.0.x"]),
            Choice::None
        );
    }

    proptest! {
        #[test]
        fn hostile_names_never_panic(names in prop::collection::vec("\\PC{0,12}", 0..6)) {
            let _ = choose(names.iter().map(String::as_str));
        }
    }
}
