//! What is done to requests before the database is asked, for fuzzing.

use super::{commits, git, lfs};
use crate::error::{Error, Result};
use futures_util::FutureExt;

/// The lines of a commit that comes in pieces of `piece` bytes: how many there are.
pub(crate) fn commit(body: &[u8], piece: usize) -> Result<usize> {
    let done = commits::rehearse(body, piece).now_or_never();
    done.unwrap_or_else(|| Err(Error::bad("a body in memory had to be waited for")))
}

/// A batch of git-lfs: how many objects it may bring.
pub(crate) fn lfs_batch(body: &[u8]) -> Result<usize> {
    lfs::rehearse(body)
}

/// Packet lines of a fetch or a push: how many refs the push would move.
pub(crate) fn packets(body: &[u8]) -> Option<usize> {
    git::rehearse(body)
}
