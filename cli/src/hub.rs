//! What commands want of hubs: policies and datasets by name, and a place for a recording. Without the feature
//! `hub` everything is a path.

use crate::failure::usage;
use anyhow::Result;
use sinew_datasets::{Dataset, HubName};
use std::path::{Path, PathBuf};

/// The folder or file of a policy: `place` itself, or what lies in the cache of the repository that it names.
#[cfg(feature = "hub")]
pub(crate) fn policy(place: &Path) -> Result<PathBuf> {
    sinew_hub::command::places::policy(place).map_err(as_error)
}

/// The folder or file of a policy: `place` itself.
#[cfg(not(feature = "hub"))]
pub(crate) fn policy(place: &Path) -> Result<PathBuf> {
    Ok(place.to_owned())
}

/// Opens a dataset in a folder, or on the hub of the login if `place` begins with `hub://` or `hf://datasets/`.
pub(crate) fn dataset(place: &Path) -> Result<Dataset> {
    if !HubName::is_meant(place) {
        return Dataset::open(place).map_err(usage);
    }
    remote(place)
}

#[cfg(all(feature = "hub", feature = "remote"))]
fn remote(place: &Path) -> Result<Dataset> {
    use sinew_datasets::{HubOptions, Token};
    use sinew_hub::client::{Environment, Session};
    let name: HubName = place.to_string_lossy().parse().map_err(usage)?;
    let session = Session::of(&Environment::of_process(), None).map_err(usage)?;
    let options = HubOptions {
        endpoint: session.endpoint.clone(),
        token: session.token().and_then(Token::new),
        ..HubOptions::from_env().map_err(usage)?
    };
    Dataset::open_hub(&name, &options).map_err(usage)
}

#[cfg(not(all(feature = "hub", feature = "remote")))]
fn remote(place: &Path) -> Result<Dataset> {
    Dataset::open_from(place).map_err(usage)
}

/// Where a recording is pushed when it is finished.
#[derive(Debug)]
pub(crate) struct Destination(#[cfg(feature = "hub")] sinew_hub::command::places::Destination);

impl Destination {
    /// Checks the name, the hub and the login, so that a mistake is found before the recording.
    #[cfg(feature = "hub")]
    pub(crate) fn check(repository: &str) -> Result<Self> {
        let checked = sinew_hub::command::places::Destination::check(repository);
        checked.map(Self).map_err(as_error)
    }

    /// Pushes the dataset's folder.
    #[cfg(feature = "hub")]
    pub(crate) fn push(&self, dataset: &Path) -> Result<()> {
        self.0.push(dataset).map_err(as_error)
    }

    /// There is nowhere to push to.
    #[cfg(not(feature = "hub"))]
    pub(crate) fn check(_repository: &str) -> Result<Self> {
        Err(usage(
            "this sinew was built without hubs; build it with `--features hub`",
        ))
    }

    /// Never called: there is no destination.
    #[cfg(not(feature = "hub"))]
    pub(crate) fn push(&self, _dataset: &Path) -> Result<()> {
        Ok(())
    }
}

/// Says it as the other commands do.
#[cfg(feature = "hub")]
pub(crate) fn as_error(failure: sinew_hub::command::Failure) -> anyhow::Error {
    use crate::failure::{Usage, Verdict};
    use sinew_hub::command::Failure;
    match failure {
        Failure::Usage(words) => Usage(words).into(),
        Failure::Failed(words) => anyhow::Error::msg(words),
        Failure::Verdict(code) => Verdict(code).into(),
    }
}
