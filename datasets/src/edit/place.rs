//! Where a result is put together, and how it takes its place.

use super::Target;
use crate::error::{Error, Result};
use crate::fsio;
use crate::resume::{Claim, STAGING};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file whose lock says that an edit is at work in a staging folder.
const LOCK: &str = "lock";
/// Folders of a dataset that an edit makes anew or that are temporary.
const KNOWN_FOLDERS: [&str; 5] = ["meta", "data", "videos", "images", STAGING];

/// A hidden folder beside the final place. Dropping it without [`Self::publish`] removes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    staging: PathBuf,
    place: PathBuf,
    /// Set for an edit in place: the claim on the source.
    claim: Option<Claim>,
    _lock: File,
    published: bool,
}

impl Workspace {
    /// Makes the folder for the result of an edit of `sources`.
    pub(crate) fn begin(sources: &[&Path], target: &Target) -> Result<Self> {
        let (place, claim) = match (target, sources) {
            (Target::Folder(folder), _) => {
                check_new(folder, sources)?;
                (absolute(folder)?, None)
            }
            (Target::InPlace, [source]) => {
                let source = resolved(source)?;
                let claim = claim(&source)?;
                (source, Some(claim))
            }
            (Target::InPlace, _) => {
                let root = sources.first().copied().unwrap_or(Path::new(""));
                return Err(Error::edit(
                    root,
                    "several datasets cannot become one in place; name a new folder",
                ));
            }
        };
        let staging = beside(&place, ".", ".editing")?;
        let lock = claim_staging(&staging)?;
        Ok(Self {
            staging,
            place,
            claim,
            _lock: lock,
            published: false,
        })
    }

    /// Where to write.
    pub(crate) fn root(&self) -> &Path {
        &self.staging
    }

    /// Flushes every folder and moves the result to its place, which is returned.
    pub(crate) fn publish(mut self) -> Result<PathBuf> {
        let lock = self.staging.join(LOCK);
        fs::remove_file(&lock).map_err(Error::io("remove", &lock))?;
        sync_folders(&self.staging)?;
        if self.claim.is_some() {
            self.swap()?;
        } else {
            fsio::publish(&self.staging, &self.place)?;
        }
        self.published = true;
        Ok(self.place.clone())
    }

    /// Old away, new in, old removed. Between the two renames both are complete, and the name says
    /// which is which.
    fn swap(&self) -> Result<()> {
        let old = beside(&self.place, "", ".before-edit")?;
        if old.exists() {
            return Err(Error::edit(
                &self.place,
                format!(
                    "{} is left of an interrupted edit; keep what you need of it and remove it",
                    old.display()
                ),
            ));
        }
        fsio::publish(&self.place, &old)?;
        if let Err(error) = fsio::publish(&self.staging, &self.place) {
            // The first error is the one to report; if this fails too, the old one is found by name.
            let _ = fs::rename(&old, &self.place);
            return Err(error);
        }
        fs::remove_dir_all(&old).map_err(Error::io("remove the replaced dataset", &old))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

/// A path like `place` with another last name.
fn beside(place: &Path, before: &str, after: &str) -> Result<PathBuf> {
    let Some(name) = place.file_name() else {
        return Err(Error::edit(place, "this is no name for a dataset's folder"));
    };
    let mut new = OsString::from(before);
    new.push(name);
    new.push(after);
    Ok(place.with_file_name(new))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path))
}

fn resolved(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(Error::io("find", path))
}

/// Refuses places that hold something or lie inside a source.
fn check_new(folder: &Path, sources: &[&Path]) -> Result<()> {
    let folder = absolute(folder)?;
    let occupied = match fs::read_dir(&folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(Error::edit(
                &folder,
                "there is a file of this name; choose a new folder for the result",
            ));
        }
        Err(error) => return Err(Error::io("look into", &folder)(error)),
    };
    if occupied {
        return Err(Error::edit(
            &folder,
            "the folder for the result is not empty; choose a new one",
        ));
    }
    for source in sources {
        let source = resolved(source)?;
        let existing = folder.ancestors().find_map(|a| a.canonicalize().ok());
        if existing.is_some_and(|a| a.starts_with(&source)) {
            return Err(Error::edit(
                &source,
                "the result cannot go inside the source; choose a folder outside",
            ));
        }
    }
    Ok(())
}

/// Claims a dataset that is to be replaced, and refuses if something would get lost.
fn claim(root: &Path) -> Result<Claim> {
    for entry in fs::read_dir(root).map_err(Error::io("list", root))? {
        let path = entry.map_err(Error::io("list", root))?.path();
        let known = path
            .file_name()
            .is_some_and(|n| KNOWN_FOLDERS.iter().any(|k| n == *k));
        if path.is_dir() && !known {
            return Err(Error::edit(
                root,
                format!(
                    "it holds the folder {}, which an edit in place would lose; name a new folder for the result",
                    path.display()
                ),
            ));
        }
    }
    Claim::take(root)
}

/// Makes a staging folder; one that a crashed edit left is removed first.
fn claim_staging(staging: &Path) -> Result<File> {
    let path = staging.join(LOCK);
    let busy = || Error::edit(staging, "another edit is at work there; wait for it to end");
    if staging.exists() {
        // Without a lock file the edit died while it published or began; both leave nothing of use.
        if let Ok(lock) = File::open(&path)
            && matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Err(busy());
        }
        fs::remove_dir_all(staging).map_err(Error::io("remove", staging))?;
    }
    fsio::create_dir(staging)?;
    let lock = File::create(&path).map_err(Error::io("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(busy()),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// Makes the entries of all folders durable.
fn sync_folders(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let path = entry.map_err(Error::io("list", dir))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    fsio::sync_dir(dir)
}

/// Copies a file and flushes the copy.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fsio::create_dir(parent)?;
    }
    // Opened by hand: a copy of the permissions would make a read-only source's copy read-only.
    let mut source = File::open(from).map_err(Error::io("open", from))?;
    let mut target = File::create(to).map_err(Error::io("create", to))?;
    std::io::copy(&mut source, &mut target)
        .and_then(|_| target.sync_all())
        .map_err(Error::io("write", to))
}

/// Copies what a dataset's folder holds besides the dataset: files beside the known folders, and
/// metadata files that LeRobot does not know.
pub(super) fn copy_extras(source: &Path, target: &Path) -> Result<()> {
    let made = [
        "info.json",
        "stats.json",
        "tasks.parquet",
        // What older versions of the format had in their place.
        "episodes.jsonl",
        "episodes_stats.jsonl",
        "tasks.jsonl",
        "sinew_episodes.json",
        "sinew_levels.json",
    ];
    for folder in ["", "meta"] {
        let dir = source.join(folder);
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
            let path = entry.map_err(Error::io("list", &dir))?.path();
            let Some(name) = path.file_name() else {
                continue;
            };
            let ours = !folder.is_empty() && made.iter().any(|m| name == *m);
            if path.is_file() && !ours && path.extension().is_none_or(|e| e != "part") {
                copy_file(&path, &target.join(folder).join(name))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(dir: &Path) -> PathBuf {
        let root = dir.join("set");
        fs::create_dir_all(root.join("meta")).unwrap();
        fs::write(root.join("README.md"), "mine").unwrap();
        root
    }

    #[test]
    fn dropped_workspace_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dataset(dir.path());
        for target in [Target::Folder(dir.path().join("new")), Target::InPlace] {
            let work = Workspace::begin(&[&root], &target).unwrap();
            fs::write(work.root().join("half"), "x").unwrap();
            drop(work);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
        }
    }

    #[test]
    fn results_take_their_place_whole() {
        let dir = tempfile::tempdir().unwrap();
        let root = dataset(dir.path());
        for target in [Target::Folder(dir.path().join("new")), Target::InPlace] {
            let work = Workspace::begin(&[&root], &target).unwrap();
            fs::write(work.root().join("whole"), "x").unwrap();
            let place = work.publish().unwrap();
            let names: Vec<_> = fs::read_dir(&place)
                .unwrap()
                .flatten()
                .map(|e| e.file_name())
                .collect();
            assert_eq!(names, ["whole"]);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn places_where_something_would_be_lost_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dataset(dir.path());
        let refused = |target: Target| {
            matches!(
                Workspace::begin(&[&root], &target),
                Err(Error::Edit { .. } | Error::Locked { .. })
            )
        };
        assert!(refused(Target::Folder(root.clone())));
        assert!(refused(Target::Folder(root.join("a/b"))));
        let work = Workspace::begin(&[&root], &Target::InPlace).unwrap();
        assert!(refused(Target::InPlace), "two at a time");
        drop(work);
        fs::create_dir(root.join(STAGING)).unwrap();
        fs::write(root.join(STAGING).join("journal"), "x").unwrap();
        assert!(refused(Target::InPlace), "an unfinished recording");
        fs::remove_dir_all(root.join(STAGING)).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        assert!(refused(Target::InPlace), "a folder of the user's");
    }

    #[test]
    fn what_a_crashed_edit_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let root = dataset(dir.path());
        fs::create_dir_all(dir.path().join(".new.editing/data")).unwrap();
        let work = Workspace::begin(&[&root], &Target::Folder(dir.path().join("new"))).unwrap();
        assert!(!work.root().join("data").exists());
    }
}
