//! What is wrong with bytes that claim to be a xorb or a shard.

use super::hash::Hash;
use thiserror::Error;

/// Shorthand for results of this module.
pub type XetResult<T> = Result<T, XetError>;

/// Why a xorb, a shard or a request for a file's parts is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XetError {
    /// A chunk inside a xorb.
    #[error(
        "chunk {chunk} of the xorb: {problem}; send it again, or update the client that made it"
    )]
    Chunk {
        /// From 0.
        chunk: usize,
        /// What is wrong.
        problem: String,
    },
    /// A xorb as a whole.
    #[error("the xorb {problem}; send it again, or update the client that made it")]
    Xorb {
        /// What is wrong.
        problem: String,
    },
    /// A xorb's content does not have the hash that it is sent under.
    #[error(
        "the xorb is named {named} and its content is {found}; it was damaged on the way, send it again"
    )]
    Misnamed {
        /// The name it came with.
        named: Hash,
        /// The hash of what came.
        found: Hash,
    },
    /// The structure of a shard.
    #[error("byte {at} of the shard: {problem}; send it again, or update the client that made it")]
    Shard {
        /// Where, in bytes from its beginning.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// What a shard says of a file.
    #[error("file {file}: {problem}")]
    File {
        /// The file.
        file: Hash,
        /// What is wrong and what to do.
        problem: String,
    },
    /// What a shard says of a xorb.
    #[error("the shard's list of chunks of xorb {xorb} {problem}; upload the file again")]
    XorbList {
        /// The xorb.
        xorb: Hash,
        /// What is wrong.
        problem: String,
    },
    /// A part of a file that begins beyond its end.
    #[error(
        "the range begins at byte {start} and the file has {size} bytes; ask for bytes inside the file"
    )]
    Range {
        /// First byte asked for.
        start: u64,
        /// Bytes of the file.
        size: u64,
    },
}

impl XetError {
    pub(crate) fn xorb(problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Xorb { problem }
    }

    pub(crate) fn shard(at: usize, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Shard { at, problem }
    }

    pub(crate) fn file(file: Hash, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::File { file, problem }
    }
}
