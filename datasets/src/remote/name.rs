//! Names of datasets on a hub: `hub://org/name[@revision]`.

use crate::error::{Error, HubFault, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Longest organisation, user or dataset name.
const PART_LIMIT: usize = 96;
/// Longest name of a branch, tag or commit.
const REVISION_LIMIT: usize = 256;
/// How such names begin; the second is huggingface_hub's spelling.
const SCHEMES: [&str; 2] = ["hub://", "hf://datasets/"];

/// A dataset on a hub, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubName {
    /// User or organisation, and name: `org/name`.
    pub repo: String,
    /// Branch, tag or commit; `None` for the newest version that this program reads.
    pub revision: Option<String>,
}

impl HubName {
    /// Whether this text is meant as the name of a dataset on a hub and not as a folder.
    pub fn is_meant(place: &Path) -> bool {
        let text = place.to_string_lossy();
        text.starts_with("hub://") || text.starts_with("hf://")
    }
}

impl FromStr for HubName {
    type Err = Error;

    /// Reads `hub://org/name`, `hub://org/name@revision` or the same after `hf://datasets/`.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |problem: &str| Error::Hub {
            place: text.chars().take(200).collect(),
            fault: HubFault::Name,
            problem: format!(
                "{problem}; write hub://organisation/dataset or hub://organisation/dataset@revision"
            ),
        };
        let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| refuse("this is no dataset on a hub"))?;
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (rest.trim_end_matches('/'), None),
        };
        let sound = repo
            .split_once('/')
            .is_some_and(|(owner, name)| is_part(owner) && is_part(name));
        if !sound {
            return Err(refuse("this is no name of a dataset"));
        }
        let printable = |r: &str| {
            let plain = r.chars().all(|c| !c.is_control() && !c.is_whitespace());
            plain && !r.is_empty() && r.len() <= REVISION_LIMIT
        };
        if revision.is_some_and(|r| !printable(r)) {
            return Err(refuse("this is no name of a branch, tag or commit"));
        }
        Ok(Self {
            repo: repo.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

/// Half of a repository's name, by the hub's own rules.
fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=PART_LIMIT).contains(&part.len())
        && part.chars().all(allowed)
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.ends_with(".git")
        && !part.contains("--")
        && !part.contains("..")
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hub://{}", self.repo)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_spellings_and_all_kinds_of_revisions() {
        let plain: HubName = "hub://lerobot/pusht".parse().unwrap();
        assert_eq!(
            (plain.repo.as_str(), &plain.revision),
            ("lerobot/pusht", &None)
        );
        assert_eq!(plain, "hf://datasets/lerobot/pusht/".parse().unwrap());
        for revision in ["main", "v3.0", "refs/pr/1", "0123abc"] {
            let name: HubName = format!("hub://a/b.c_d-e@{revision}").parse().unwrap();
            assert_eq!(name.revision.as_deref(), Some(revision));
            assert_eq!(name.to_string(), format!("hub://a/b.c_d-e@{revision}"));
        }
    }

    #[test]
    fn wrong_names_are_refused_with_an_example() {
        for wrong in [
            "hub://",
            "hub://a",
            "hub://a/",
            "hub:///b",
            "hub://a/b/c",
            "hub://a/../b",
            "hub://a/b@",
            "hub://a/..",
            "hub://.a/b",
            "hub://a--b/c",
            "hub://a/b.git",
            "hub://a/b c",
            "hf://a/b",
            "hub://a/b@x y",
            "hub://ä/b",
        ] {
            let error = wrong.parse::<HubName>().unwrap_err().to_string();
            assert!(
                error.contains("hub://organisation/dataset"),
                "{wrong}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn names_stay_inside_their_folder(text in "\\PC{0,40}") {
            if let Ok(name) = format!("hub://{text}").parse::<HubName>() {
                let inside = |c| matches!(c, std::path::Component::Normal(_));
                prop_assert!(Path::new(&name.repo).components().all(inside));
                prop_assert_eq!(name.repo.split('/').count(), 2);
            }
        }
    }
}
