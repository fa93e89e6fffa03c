//! A dataset on a hub at one commit, and everything that is shared between its files.

use super::ahead::Ahead;
use super::api;
use super::blocks::Blocks;
use super::client::Client;
use super::disk::Disk;
use super::name::HubName;
use super::options::HubOptions;
use crate::error::Result;
use std::path::PathBuf;

/// A dataset on a hub, opened at a commit.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) client: Client,
    pub(super) name: HubName,
    /// All files are read at this commit, whatever becomes of the branch.
    pub(super) commit: String,
    /// Where the cache keeps what belongs to this commit: `<host>/<repository>/<commit>`.
    pub(super) folder: PathBuf,
    pub(super) blocks: Blocks,
    pub(super) ahead: Ahead,
}

impl Hub {
    /// Finds out which commit `name` means.
    pub(super) fn open(name: &HubName, options: &HubOptions) -> Result<Self> {
        let client = Client::new(options)?;
        let commit = api::commit(&client, name)?;
        // Names of repositories and commits are checked, so that this stays inside.
        let hub = options.cache.join(client.endpoint().folder_name());
        let folder = hub.join(&name.repo).join(&commit);
        let disk =
            (options.disk_bytes > 0).then(|| Disk::new(folder.join("blocks"), options.disk_bytes));
        Ok(Self {
            client,
            name: name.clone(),
            commit,
            folder,
            blocks: Blocks::new(options.memory_bytes, disk),
            ahead: Ahead::start(),
        })
    }

    /// A file's name in messages.
    pub(super) fn place(&self, path: &str) -> String {
        self.root().join(path).display().to_string()
    }

    /// The dataset's name in messages.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(self.name.to_string())
    }
}
