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
        /// The class of the error, such as `RepoNotFound`; empty where the hub names none.
        code: String,
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
    /// A file is not what the repository says that it is.
    #[error(
        "{path} arrived with another content than the repository states ({expected}); run the same command again, and tell the hub's administrator if it stays so"
    )]
    Differs {
        /// In the repository.
        path: String,
        /// SHA-256, or git's SHA-1 of a small file.
        expected: String,
    },
    /// Files changed while they were being read.
    #[error(
        "{} changed while being pushed, and nothing of it was committed; run the same command again when nobody writes to it",
        listed(paths)
    )]
    Changed {
        /// In the folder.
        paths: Vec<String>,
    },
    /// What was asked for makes no sense as it stands.
    #[error("{0}")]
    Usage(String),
    /// Something is no xorb or shard.
    #[error(transparent)]
    Format(#[from] XetError),
}

impl ClientError {
    /// Whether the hub knows no such repository, or will not say.
    pub fn is_no_repository(&self) -> bool {
        self.is_refused("RepoNotFound")
    }

    /// Whether the repository has no such file or folder.
    pub fn is_missing_entry(&self) -> bool {
        self.is_refused("EntryNotFound")
    }

    /// Whether the hub refused for this class of reasons.
    pub(crate) fn is_refused(&self, class: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == class)
    }

    /// Whether whoever asked has to ask otherwise: nothing will change by trying again.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Usage(_) | Self::Refused { status: 400..=407 | 409..=428, .. }
        )
    }

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

/// The first of some paths, and how many more there are.
fn listed(paths: &[String]) -> String {
    let shown: Vec<&str> = paths.iter().take(3).map(String::as_str).collect();
    match paths.len() {
        0..=3 => shown.join(", "),
        all => format!("{} and {} more", shown.join(", "), all - 3),
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
