//! Datasets on a hub, read over HTTP without downloading them: metadata once, then of data and
//! videos only the ranges that are looked at.
//!
//! ```text
//! Dataset ── Files ──> HubFiles ──┬─> Shelf    metadata, kept on the disk by commit
//!                                 └─> HubFile  ranges: Blocks (kept in memory) <── Ahead (next ones)
//!                                        └─> Object   one file: address, ETag, resumed ranges
//!                                              └─> Client   connections, redirects, token, retries
//! ```
//!
//! The hub is any server that speaks the Hugging Face Hub's protocol. A dataset is opened at a commit,
//! so that what is read belongs together even while somebody pushes.

#[cfg(feature = "remote")]
mod ahead;
#[cfg(feature = "remote")]
mod api;
#[cfg(feature = "remote")]
mod blocks;
#[cfg(feature = "remote")]
mod client;
#[cfg(feature = "remote")]
mod disk;
#[cfg(feature = "remote")]
mod fault;
#[cfg(feature = "remote")]
mod files;
#[cfg(feature = "remote")]
mod gate;
#[cfg(feature = "remote")]
mod hub;
mod name;
#[cfg(feature = "remote")]
mod object;
#[cfg(feature = "remote")]
mod options;
#[cfg(feature = "remote")]
mod shelf;
#[cfg(feature = "remote")]
mod url;
#[cfg(feature = "remote")]
mod version;

pub use name::HubName;
#[cfg(feature = "remote")]
pub use options::{HubOptions, Token};

use crate::error::Result;
use crate::reader::Dataset;
use std::path::Path;

impl Dataset {
    /// Opens a dataset wherever it is: in a folder, or on a hub if `place` begins with `hub://` or
    /// `hf://datasets/`; which hub and as whom, the environment says (`HF_ENDPOINT`, `HF_TOKEN`).
    ///
    /// # Errors
    /// As for [`Self::open`], and if the hub cannot be reached or refuses.
    pub fn open_from(place: &Path) -> Result<Self> {
        if !HubName::is_meant(place) {
            return Self::open(place);
        }
        let name: HubName = place.to_string_lossy().parse()?;
        open_named(&name)
    }

    /// Opens the dataset `name` on a hub. Its metadata is fetched once for each commit; data and
    /// videos are fetched in parts when they are read.
    ///
    /// # Errors
    /// [`Error::Hub`](crate::Error::Hub) if the hub cannot be reached, refuses, or has no dataset of
    /// that name and version; otherwise as for [`Self::open`].
    #[cfg(feature = "remote")]
    pub fn open_hub(name: &HubName, options: &HubOptions) -> Result<Self> {
        let hub = hub::Hub::open(name, options)?;
        let shelf = shelf::Shelf::new(&hub);
        shelf.fill(&hub, options.connections)?;
        let root = hub.root();
        let files = files::HubFiles::new(hub, shelf.clone());
        let dataset = Self::open_with(&root, std::sync::Arc::new(files))?;
        shelf.seal()?;
        Ok(dataset)
    }
}

#[cfg(feature = "remote")]
fn open_named(name: &HubName) -> Result<Dataset> {
    Dataset::open_hub(name, &HubOptions::from_env()?)
}

#[cfg(not(feature = "remote"))]
fn open_named(name: &HubName) -> Result<Dataset> {
    let name = name.to_string();
    Err(crate::error::Error::NoHub { name })
}
