//! Files to and from a hub's chunk store.
//!
//! Up: [`Uploader`] cuts files into chunks, looks for those that the store has, packs the others into
//! xorbs that threads upload while it reads on, and sends the shard last: until then nothing refers to
//! what was uploaded. Down: [`download`] asks for a file's reconstruction piece by piece, fetches several
//! at once, writes them in order and checks the file's hash. Both can be interrupted and run again.

mod access;
mod cas;
mod download;
mod known;
mod upload;

pub use access::Repository;
pub use cas::{Cas, CasToken};
pub use download::{DownloadOptions, download, read_range};
pub use upload::{UploadOptions, UploadReport, UploadedFile, Uploader};

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a transfer is, for whoever shows it. All in bytes; counted by the threads that do the work.
#[derive(Debug, Default)]
pub struct Progress {
    /// Of files: read for an upload, or written by a download.
    pub file_bytes: AtomicU64,
    /// Of files: found to be in the store already.
    pub known_bytes: AtomicU64,
    /// Sent or received.
    pub wire_bytes: AtomicU64,
    /// Of all files; 0 until it is known.
    pub total_bytes: AtomicU64,
    /// Files that are done.
    pub files: AtomicU64,
    /// All files.
    pub total_files: AtomicU64,
}

impl Progress {
    pub(crate) fn add(counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
