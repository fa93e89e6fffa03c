//! The renames that make a finished episode part of the dataset, written down before the first.
//!
//! Once the plan is on the disk the episode is saved: whatever interrupts the renames, doing them
//! again from the plan ends in the same place.

use crate::error::{Error, Result};
use crate::fsio;
use crate::info::to_indented_json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

const NAME: &str = "commit.json";
/// More than the plan of any episode.
const LIMIT_BYTES: u64 = 1 << 20;

/// One file takes its final name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Name in the staging folder.
    pub(crate) staged: PathBuf,
    /// Path from the dataset's root.
    pub(crate) target: PathBuf,
}

/// All renames of one episode; the last makes it visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Number of the episode.
    pub(crate) episode: u64,
    /// Its rows.
    pub(crate) rows: u64,
    /// Its task sentence.
    pub(crate) task: String,
    pub(crate) moves: Vec<Move>,
}

impl Plan {
    /// Puts the plan on the disk: from here on the episode is saved.
    pub(crate) fn write(&self, staging: &Path) -> Result<()> {
        fsio::replace(&staging.join(NAME), &to_indented_json(self)?)
    }

    /// The plan that an interrupted save left in `staging`.
    pub(crate) fn read(staging: &Path) -> Result<Option<Self>> {
        let path = staging.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        Self::parse(&path, &fsio::read_limited(&path, LIMIT_BYTES)?).map(Some)
    }

    /// As [`Self::read`], from the file's contents. `path` is for messages.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let plan: Self =
            serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, e.to_string()))?;
        let inside = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        let sound = plan.moves.iter().all(|step| {
            inside(&step.staged)
                && step.staged.components().count() == 1
                && inside(&step.target)
                && step.target.components().count() > 1
        });
        if !sound || plan.moves.is_empty() {
            return Err(Error::corrupt(path, "it names files outside the dataset"));
        }
        Ok(plan)
    }

    /// Does the renames that are not done yet. `stop` ends it before that rename, as a crash would.
    pub(crate) fn carry_out(&self, root: &Path, staging: &Path, stop: Option<usize>) -> Result<()> {
        let Some((last, first)) = self.moves.split_last() else {
            return Ok(());
        };
        let mut folders = BTreeSet::new();
        for (step, Move { staged, target }) in first.iter().enumerate() {
            interrupted(stop, step)?;
            let target = root.join(target);
            fsio::rename_once(&staging.join(staged), &target)?;
            folders.extend(target.parent().map(Path::to_owned));
        }
        // All names are durable before the one that refers to them.
        for folder in &folders {
            fsio::sync_dir(folder)?;
        }
        interrupted(stop, first.len())?;
        let target = root.join(&last.target);
        fsio::rename_once(&staging.join(&last.staged), &target)?;
        target.parent().map_or(Ok(()), fsio::sync_dir)
    }
}

fn interrupted(stop: Option<usize>, step: usize) -> Result<()> {
    if stop == Some(step) {
        return Err(Error::Order {
            problem: "stopped by a test",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(staged: &str, target: &str) -> Plan {
        Plan {
            episode: 0,
            rows: 1,
            task: "pick".into(),
            moves: vec![Move {
                staged: staged.into(),
                target: target.into(),
            }],
        }
    }

    #[test]
    fn plans_cannot_leave_the_dataset() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Plan::read(dir.path()).unwrap(), None);
        for (staged, target, sound) in [
            ("info.json", "meta/info.json", true),
            ("../info.json", "meta/info.json", false),
            ("a/b", "meta/info.json", false),
            ("info.json", "/etc/info.json", false),
            ("info.json", "meta/../../info.json", false),
            ("info.json", "", false),
        ] {
            plan(staged, target).write(dir.path()).unwrap();
            assert_eq!(
                Plan::read(dir.path()).is_ok(),
                sound,
                "{staged} to {target}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_an_error_unless_it_has_arrived() {
        let dir = tempfile::tempdir().unwrap();
        let (root, staging) = (dir.path(), dir.path().join("staging"));
        std::fs::create_dir(&staging).unwrap();
        let plan = plan("info.json", "meta/info.json");
        assert!(plan.carry_out(root, &staging, None).is_err());
        std::fs::write(staging.join("info.json"), "x").unwrap();
        for _ in 0..2 {
            plan.carry_out(root, &staging, None).unwrap();
            assert_eq!(std::fs::read(root.join("meta/info.json")).unwrap(), b"x");
        }
    }

    proptest! {
        #[test]
        fn hostile_plans_never_panic(text in "\\PC{0,200}") {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(NAME), text).unwrap();
            let _ = Plan::read(dir.path());
        }
    }
}
