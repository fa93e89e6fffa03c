//! Removing what nothing refers to.

use crate::error::{Error, Result};
use crate::server::Hub;
use std::time::Duration;

/// Clients refer to xorbs that they have known for up to four weeks; nothing younger than this is removed.
pub const KEPT_AT_LEAST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcOptions {
    /// Only what has been there for longer; never less than [`KEPT_AT_LEAST`].
    pub older_than: Duration,
    /// Only count.
    pub is_dry_run: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { older_than: KEPT_AT_LEAST, is_dry_run: false }
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcReport {
    /// Commits that no branch or tag leads to.
    pub commits: u64,
    /// Trees and blobs of git.
    pub git_objects: u64,
    /// Large files.
    pub files: u64,
    /// Xorbs.
    pub xorbs: u64,
    /// Objects of the store, packs among them.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Removes what nothing refers to and has been there for long enough.
///
/// # Errors
/// When `older_than` is too short, or the database or the store fails.
pub async fn gc(hub: &Hub, options: &GcOptions) -> Result<GcReport> {
    let _ = (hub, options);
    Err(Error::Setup("not built yet".to_owned()))
}
