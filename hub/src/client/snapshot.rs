//! A repository's files in a cache on this machine, by commit: for programs that want a policy by its name and not
//! where it lies. Without the network the version that was fetched last is used.

use super::error::{ClientError, ClientResult};
use super::http::HttpOptions;
use super::hub::HubClient;
use super::names::{Kind, RepoId, RepoName};
use super::pull::{PullOptions, pull};
use super::repos::RepoHead;
use super::session::Environment;
use super::xet::Progress;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The branch that is meant when no revision is said.
const MAIN: &str = "main";
/// Longest name of a branch, tag or commit, bytes.
const REVISION_LIMIT: usize = 256;
/// Git's name of a commit, hexadecimal digits.
const COMMIT_DIGITS: usize = 40;

/// A version of a repository as a person writes it: `org/name`, `hub://org/name` or `hub://org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoVersion {
    /// The repository.
    pub name: RepoName,
    /// Branch, tag or commit.
    pub revision: String,
}

impl FromStr for RepoVersion {
    type Err = ClientError;

    fn from_str(text: &str) -> ClientResult<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let is_sound = (1..=REVISION_LIMIT).contains(&revision.len())
            && !revision
                .chars()
                .any(|c| c.is_control() || c.is_whitespace());
        if !is_sound {
            let shown: String = text.chars().take(200).collect();
            return Err(ClientError::Usage(format!(
                "{shown:?} has no name of a branch, tag or commit after the @; write org/name@revision"
            )));
        }
        Ok(Self {
            name: name.parse()?,
            revision: revision.to_owned(),
        })
    }
}

/// Files of a repository that lie in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder that holds them. Nobody may write into it.
    pub folder: PathBuf,
    /// Git's name of the commit.
    pub commit: String,
    /// Why the hub was not asked, if it could not be reached and an earlier version is used.
    pub stale: Option<String>,
}

/// The cache's folder: `$XDG_CACHE_HOME/sinew/hub`, or else `~/.cache/sinew/hub`.
///
/// # Errors
/// If there is no home folder.
pub fn snapshot_cache(environment: &Environment) -> ClientResult<PathBuf> {
    Ok(environment
        .folder("XDG_CACHE_HOME", ".cache")?
        .join("sinew/hub"))
}

/// The files of a version, fetched if they are not in the cache. `cache` may be deleted whenever nobody reads in it.
///
/// # Errors
/// If the hub refuses, or has no such repository; if it cannot be reached and no earlier version is there; if the
/// disk is full.
pub fn snapshot(
    hub: &HubClient,
    kind: Kind,
    version: &RepoVersion,
    cache: &Path,
    progress: &Progress,
) -> ClientResult<Snapshot> {
    let repo = RepoId {
        kind: version.name.kind.unwrap_or(kind),
        name: version.name.full(),
    };
    let shelf = Shelf::of(cache, hub.endpoint(), &repo);
    // A commit never becomes another: nobody need be asked.
    if is_commit(&version.revision) && shelf.has(&version.revision) {
        return Ok(shelf.snapshot(&version.revision, None));
    }
    let noted = shelf.noted(&version.revision);
    let head = match noted {
        // A robot that has what it needs does not stand about when the network is away.
        Some(_) => HubClient::new(hub.endpoint(), hub.token().map(str::to_owned), hurried())?
            .head(&repo, &version.revision),
        None => hub.head(&repo, &version.revision),
    };
    match head {
        Ok(head) => {
            shelf.fill(hub, &head, progress)?;
            shelf.note(&version.revision, &head.commit)?;
            Ok(shelf.snapshot(&head.commit, None))
        }
        Err(error @ ClientError::Unreachable { .. }) => match noted {
            Some(commit) => Ok(shelf.snapshot(&commit, Some(error.to_string()))),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn hurried() -> HttpOptions {
    HttpOptions {
        patience: Duration::from_secs(5),
        retries: 1,
        ..HttpOptions::default()
    }
}

/// Where the versions of one repository lie: `commits/COMMIT/NAME/` has the files, whole, in a folder that is called
/// like the repository, as programs call a policy by its folder; `revisions/…` names the commit that a branch or tag
/// was last time.
struct Shelf {
    folder: PathBuf,
    name: String,
}

impl Shelf {
    fn of(cache: &Path, endpoint: &str, repo: &RepoId) -> Self {
        // One folder name, and never `..`.
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        };
        let host: String = endpoint.chars().map(plain).collect();
        let folder = cache
            .join(format!("hub-{host}"))
            .join(repo.kind.plural())
            .join(&repo.name);
        let name = repo.name.rsplit('/').next().unwrap_or_default().to_owned();
        Self { folder, name }
    }

    fn files(&self, commit: &str) -> PathBuf {
        self.folder.join("commits").join(commit).join(&self.name)
    }

    fn has(&self, commit: &str) -> bool {
        self.files(commit).is_dir()
    }

    fn snapshot(&self, commit: &str, stale: Option<String>) -> Snapshot {
        Snapshot {
            folder: self.files(commit),
            commit: commit.to_owned(),
            stale,
        }
    }

    /// Fetches into a folder beside, which gets its name when everything is there.
    fn fill(&self, hub: &HubClient, head: &RepoHead, progress: &Progress) -> ClientResult<()> {
        if !is_commit(&head.commit) {
            return Err(ClientError::protocol(
                hub.endpoint(),
                "a commit has a name that git does not give",
            ));
        }
        if self.has(&head.commit) {
            return Ok(());
        }
        let whole = self.files(&head.commit);
        let part = self.folder.join("commits").join(&head.commit).join(".part");
        let entries = hub.tree(&head.repo, &head.commit, "", true)?;
        pull(
            hub,
            head,
            &entries,
            &part,
            &PullOptions::default(),
            progress,
        )?;
        match fs::rename(&part, &whole) {
            // Somebody else was faster with the same files.
            Err(_) if whole.is_dir() => Ok(()),
            moved => moved.map_err(|e| ClientError::io(format!("write {}", whole.display()), e)),
        }
    }

    fn revision_file(&self, revision: &str) -> PathBuf {
        let name = hex::encode(Sha256::digest(revision.as_bytes()));
        self.folder.join("revisions").join(name)
    }

    fn note(&self, revision: &str, commit: &str) -> ClientResult<()> {
        let file = self.revision_file(revision);
        let new = file.with_extension(std::process::id().to_string());
        let folder = self.folder.join("revisions");
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&new, commit));
        let done = written.and_then(|()| fs::rename(&new, &file));
        done.map_err(|e| ClientError::io(format!("write {}", file.display()), e))
    }

    /// The commit that the revision was last time, if its files are there.
    fn noted(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.revision_file(revision)).ok()?;
        (is_commit(&commit) && self.has(&commit)).then_some(commit)
    }
}

/// Whether this is git's name of a commit. As a name of a folder it is harmless.
fn is_commit(text: &str) -> bool {
    text.len() == COMMIT_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_read() {
        for (text, revision) in [
            ("a/b", "main"),
            ("hub://a/b", "main"),
            ("hub://a/b@v2", "v2"),
            ("models/a/b@refs/pr/1", "refs/pr/1"),
        ] {
            let version: RepoVersion = text.parse().unwrap();
            assert_eq!(
                (version.name.full().as_str(), version.revision.as_str()),
                ("a/b", revision),
                "{text}"
            );
        }
        for wrong in ["a", "a/b@", "a/b@x y", "hub://", "@v1"] {
            assert!(wrong.parse::<RepoVersion>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn everything_lies_in_the_cache(endpoint in ".{0,40}", revision in ".{0,40}") {
            let repo = RepoId { kind: Kind::Model, name: "a/b".into() };
            let shelf = Shelf::of(Path::new("/cache"), &endpoint, &repo);
            for place in [shelf.files("0"), shelf.revision_file(&revision)] {
                prop_assert!(place.starts_with("/cache"));
                prop_assert!(!place.components().any(|part| part == std::path::Component::ParentDir));
            }
            prop_assert!(shelf.noted(&revision).is_none());
        }
    }
}
