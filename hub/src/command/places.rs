//! What Sinew's other commands want of hubs: a policy from one, and a recording to one.

use super::progress::Ticker;
use super::{Failure, Hub, Scene};
use crate::client::xet::Progress;
use crate::client::{
    Environment, HttpOptions, HubClient, Kind, RepoName, RepoVersion, Session, Snapshot, snapshot,
    snapshot_cache,
};
use clap::Parser;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a path is meant as the name of a repository: `hub://org/name`, or `org/name` where no such path is.
pub fn is_repository(place: &Path) -> bool {
    is_marked(place) || !place.exists() && version_of(place).is_some()
}

/// Whether a path cannot be anything else than the name of a repository.
fn is_marked(place: &Path) -> bool {
    let text = place.to_string_lossy();
    text.starts_with("hub://") || text.starts_with("hf://")
}

fn version_of(place: &Path) -> Option<RepoVersion> {
    place.to_str()?.parse().ok()
}

/// The folder of a policy that may be on a hub. It is fetched if it is not on this machine; if the hub cannot be
/// reached, the version that was fetched last is used, which is said on stderr.
///
/// # Errors
/// If it is neither a path nor on the hub, or cannot be fetched.
pub fn policy(place: &Path) -> Result<PathBuf, Failure> {
    if !is_repository(place) {
        return Ok(place.to_owned());
    }
    let version: RepoVersion = place.to_string_lossy().parse()?;
    let environment = Environment::of_process();
    let session = Session::of(&environment, None)?;
    let hub = session.client(HttpOptions::default())?;
    let progress = Arc::new(Progress::default());
    let ticker = Ticker::start("pull", &progress, true);
    let found = snapshot(
        &hub,
        Kind::Model,
        &version,
        &snapshot_cache(&environment)?,
        &progress,
    );
    drop(ticker);
    let found = found.map_err(|error| match is_marked(place) {
        true => Failure::from(error),
        false => Failure::Usage(format!(
            "{} is neither a folder here nor a policy on {}: {error}",
            place.display(),
            hub.endpoint()
        )),
    })?;
    if let Snapshot {
        commit,
        stale: Some(why),
        ..
    } = &found
    {
        eprintln!(
            "{}: the version {commit} that was fetched before is used, because {why}",
            version.name
        );
    }
    Ok(found.folder)
}

/// Where a recording goes when it is finished.
#[derive(Debug)]
pub struct Destination {
    repo: RepoName,
    environment: Environment,
}

impl Destination {
    /// Asks the hub who the user is, so that a mistake is found before the work and not after it.
    ///
    /// # Errors
    /// If the text names no repository, the hub cannot be reached, or does not know the user.
    pub fn check(text: &str) -> Result<Self, Failure> {
        Self::check_in(text, Environment::of_process())
    }

    /// The same with other variables than the process has.
    ///
    /// # Errors
    /// As [`Destination::check`].
    pub fn check_in(text: &str, environment: Environment) -> Result<Self, Failure> {
        let repo: RepoName = text.parse()?;
        if repo.kind.is_some_and(|kind| kind != Kind::Dataset) {
            return Err(Failure::Usage(format!(
                "{repo} is no name of a dataset; write org/name"
            )));
        }
        let hub: HubClient = Session::of(&environment, None)?.client(HttpOptions::default())?;
        hub.whoami()?;
        Ok(Self { repo, environment })
    }

    /// Pushes the dataset's folder, as `sinew hub push` does; the report goes to stderr.
    ///
    /// # Errors
    /// If it cannot be pushed; the message says how to try again. The folder stays as it is.
    pub fn push(&self, folder: &Path) -> Result<(), Failure> {
        let pushed = run_line(
            &[
                "push".into(),
                "--type".into(),
                "dataset".into(),
                "--".into(),
                folder.into(),
                self.repo.full().into(),
            ],
            &mut Scene {
                environment: self.environment.clone(),
                out: &mut std::io::stderr(),
                shows_progress: true,
            },
        );
        pushed.map_err(|failure| {
            Failure::Failed(format!(
                "the recording is safe in {0}, but was not pushed: {failure}\ntry again with: sinew hub push {0} {1}",
                folder.display(),
                self.repo.full()
            ))
        })
    }
}

/// Carries out a command line of `sinew hub`, written without these words.
///
/// # Errors
/// As the command's.
pub fn run_line(line: &[OsString], scene: &mut Scene<'_>) -> Result<(), Failure> {
    #[derive(Debug, Parser)]
    #[command(name = "hub")]
    struct Line {
        #[command(flatten)]
        hub: Hub,
    }
    let words = std::iter::once(OsString::from("hub")).chain(line.iter().cloned());
    let parsed = Line::try_parse_from(words).map_err(|e| Failure::Usage(e.to_string()))?;
    parsed.hub.run_in(scene)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_repositories() {
        let here = tempfile::tempdir().unwrap();
        for (place, expected) in [
            ("hub://a/b", true),
            ("hf://a/b@v1", true),
            ("nobody/nothing-of-that-name", true),
            ("one/two/three", false),
            ("policies", false),
            ("/a/b", false),
            ("./a/b", false),
            ("../b", false),
        ] {
            assert_eq!(is_repository(Path::new(place)), expected, "{place}");
        }
        assert!(!is_repository(here.path()));
    }

    #[test]
    fn wrong_destinations_are_refused_before_anything_is_asked() {
        for wrong in ["", "pick", "models/a/b", "a/b/c"] {
            let refused = Destination::check_in(wrong, Environment::default()).unwrap_err();
            assert!(matches!(refused, Failure::Usage(_)), "{wrong}: {refused}");
        }
    }
}
