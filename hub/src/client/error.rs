//! What goes wrong between a client and a hub, said so that a person can act on it.

use crate::xet::{Hash, XetError};
use thiserror::Error;

/// Shorthand for results of the client.
pub type ClientResult<T> = Result<T, ClientError>;

/// Why something could not be moved to or from a hub.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The file system refused.
    #[error("cannot {action}: {source}; check the path, its permissions and the free space")]
    Io {
        /// What was being done to what.
        action: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The hub or its store cannot be reached, or breaks off again and again.
    #[error("{place}: {words}; check the network and HF_ENDPOINT, then run the same command again")]
    Unreachable {
        /// What was being done, and where.
        place: String,
        /// How it failed.
        words: String,
    },
    /// The hub refuses.
    #[error("{place}: refused with status {status}{}{words}{}", separator(words), remedy(*status))]
    Refused {
        /// What was being done, and where.
        place: String,
        /// HTTP status.
        status: u16,
        /// The hub's own words, if it has any.
        words: String,
    },
    /// The hub answers what the protocol does not allow.
    #[error("{place}: {problem}; is this a hub? check HF_ENDPOINT")]
    Protocol {
        /// What was being done, and where.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// What came has not the content that its name promises.
    #[error(
        "file {expected} arrived as {found}; run the same command again, and tell the hub's administrator if it stays so"
    )]
    Damaged {
        /// The file that was asked for.
        expected: Hash,
        /// What came.
        found: Hash,
    },
    /// Something is no xorb or shard.
    #[error(transparent)]
    Format(#[from] XetError),
}

impl ClientError {
    pub(crate) fn io(action: impl Into<String>, source: std::io::Error) -> Self {
        let action = action.into();
        Self::Io { action, source }
    }

    pub(crate) fn protocol(place: &str, problem: impl Into<String>) -> Self {
        Self::Protocol {
            place: place.to_owned(),
            problem: problem.into(),
        }
    }
}

fn separator(words: &str) -> &'static str {
    if words.is_empty() { "" } else { ": " }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 => "; log in, or set HF_TOKEN",
        403 => "; ask for the right to do this",
        404 => "; check the name",
        413 => "; the hub takes no more at once",
        _ => "",
    }
}
