//! A folder on this machine: which files of it belong into a repository, and what kind of repository it is.

use super::error::{ClientError, ClientResult};
use super::names::Kind;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders that are never pushed: git's own, and what clients keep beside downloads.
const LEFT_OUT: [&str; 2] = [".git", ".cache"];
/// Deepest folder that is looked into.
const DEPTH_LIMIT: usize = 64;

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// In the repository, with slashes.
    pub path: String,
    /// On this machine.
    pub place: PathBuf,
    /// Size in bytes when it was found.
    pub size: u64,
}

/// What tells that a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(crate) fn of(known: &Metadata) -> Self {
        Self {
            size: known.len(),
            modified: known.modified().ok(),
        }
    }
}

impl LocalFile {
    /// Opens it.
    pub(crate) fn open(&self) -> ClientResult<(File, Stamp)> {
        let io = |e| ClientError::io(format!("read {}", self.place.display()), e);
        let file = File::open(&self.place).map_err(io)?;
        let stamp = Stamp::of(&file.metadata().map_err(io)?);
        Ok((file, stamp))
    }

    /// Whether the open file is still as it was.
    pub(crate) fn is_same(&self, file: &File, stamp: Stamp) -> ClientResult<bool> {
        let known = file.metadata();
        let known =
            known.map_err(|e| ClientError::io(format!("read {}", self.place.display()), e))?;
        Ok(Stamp::of(&known) == stamp)
    }

    /// Its beginning, `limit` bytes of it.
    pub(crate) fn beginning(&self, limit: u64) -> ClientResult<Vec<u8>> {
        let (file, _) = self.open()?;
        let mut bytes = Vec::new();
        let read = file.take(limit).read_to_end(&mut bytes);
        read.map_err(|e| ClientError::io(format!("read {}", self.place.display()), e))?;
        Ok(bytes)
    }
}

/// All files below a folder, by path. Links to files count as files; links to folders are refused, since
/// they may lead anywhere.
///
/// # Errors
/// If it is no folder, cannot be read, or holds what no repository can.
pub fn scan(folder: &Path) -> ClientResult<Vec<LocalFile>> {
    let known = fs::metadata(folder).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            ClientError::Usage(format!("there is no folder {}", folder.display()))
        }
        _ => ClientError::io(format!("look at {}", folder.display()), e),
    })?;
    if !known.is_dir() {
        return Err(ClientError::Usage(format!(
            "{} is no folder",
            folder.display()
        )));
    }
    let mut files = Vec::new();
    walk(folder, "", 0, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(folder: &Path, above: &str, depth: usize, files: &mut Vec<LocalFile>) -> ClientResult<()> {
    let io = |e| ClientError::io(format!("list {}", folder.display()), e);
    if depth > DEPTH_LIMIT {
        return Err(ClientError::Usage(format!(
            "{} is too deep",
            folder.display()
        )));
    }
    for found in fs::read_dir(folder).map_err(io)? {
        let found = found.map_err(io)?;
        let place = found.path();
        let name = found.file_name();
        let Some(name) = name.to_str() else {
            return Err(ClientError::Usage(format!(
                "{} has no name in UTF-8; rename it",
                place.display()
            )));
        };
        if LEFT_OUT.contains(&name) {
            continue;
        }
        let path = if above.is_empty() {
            name.to_owned()
        } else {
            format!("{above}/{name}")
        };
        // Of what a link leads to.
        let known = fs::metadata(&place)
            .map_err(|e| ClientError::io(format!("look at {}", place.display()), e))?;
        if known.is_dir() {
            let is_link = found.file_type().is_ok_and(|kind| kind.is_symlink());
            if is_link {
                return Err(ClientError::Usage(format!(
                    "{} is a link to a folder; copy what is to be pushed, or push that folder",
                    place.display()
                )));
            }
            walk(&place, &path, depth + 1, files)?;
        } else if known.is_file() {
            if let Some(problem) = crate::paths::problem(&path) {
                return Err(ClientError::Usage(format!(
                    "{}: the path {problem}; rename it",
                    place.display()
                )));
            }
            files.push(LocalFile {
                path,
                size: known.len(),
                place,
            });
        } else {
            return Err(ClientError::Usage(format!(
                "{} is neither file nor folder",
                place.display()
            )));
        }
    }
    Ok(())
}

/// What kind of repository a folder is, from its files; `None` when they do not tell.
pub fn guess_kind(files: &[LocalFile]) -> Option<Kind> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    if has("meta/info.json") {
        return Some(Kind::Dataset);
    }
    let is_model = ["config.json", "policy.toml", "robot.toml"]
        .into_iter()
        .any(has);
    is_model.then_some(Kind::Model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_what_its_files_say() {
        let file = |path: &str| LocalFile {
            path: path.into(),
            place: PathBuf::new(),
            size: 1,
        };
        assert_eq!(
            guess_kind(&[file("meta/info.json"), file("config.json")]),
            Some(Kind::Dataset)
        );
        assert_eq!(guess_kind(&[file("policy.toml")]), Some(Kind::Model));
        assert_eq!(guess_kind(&[file("sub/config.json")]), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_place_in_a_repository_is_left_out_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a", "d/b", ".git/config", ".cache/x", ".gitattributes"] {
            let place = folder.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, path).unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("link")).unwrap();
        let paths: Vec<String> = scan(folder.path())
            .unwrap()
            .into_iter()
            .map(|file| file.path)
            .collect();
        assert_eq!(paths, [".gitattributes", "a", "d/b", "link"]);
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        assert!(scan(folder.path()).is_err());
        assert!(scan(&folder.path().join("a")).is_err());
        assert!(scan(&folder.path().join("none")).is_err());
    }
}
