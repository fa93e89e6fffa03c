//! The content-addressed store of large files: xorbs with their tables, files as lists of terms, and who may
//! refer to what.
//!
//! An upload's path: [`xorbs`] checks and stores xorbs → [`register`] checks the files of a shard against them and
//! recomputes their digests → a commit names the digest. Reading goes [`files`] → [`read`]. Who may refer to what,
//! and find out that it is here, is decided in [`dedup`].

pub(crate) mod dedup;
pub(crate) mod files;
pub(crate) mod grants;
pub(crate) mod read;
pub(crate) mod reconstruction;
pub(crate) mod register;
pub(crate) mod xorbs;

use crate::error::Error;
use crate::xet::XetError;

impl From<XetError> for Error {
    /// Only uploads are parsed, so what does not parse is the client's.
    fn from(error: XetError) -> Self {
        Self::bad(error.to_string())
    }
}
