//! What can go wrong in the server: a refusal, which the client is told in the words it understands, or a
//! failure of ours, which goes to the log and is told as an internal error.

use thiserror::Error;

/// Shorthand for results of the server.
pub type Result<T> = std::result::Result<T, Error>;

/// The classes of error that Hugging Face's clients tell apart, sent as `X-Error-Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No such repository, or none that this caller may know of.
    RepoNotFound,
    /// No such branch, tag or commit.
    RevisionNotFound,
    /// No such file or folder at this revision.
    EntryNotFound,
}

impl Code {
    /// As in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RepoNotFound => "RepoNotFound",
            Self::RevisionNotFound => "RevisionNotFound",
            Self::EntryNotFound => "EntryNotFound",
        }
    }
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The class of error, where clients know one.
    pub code: Option<Code>,
    /// What, where and what to do.
    pub message: String,
    /// The commit at which an entry is missing; clients then remember that it is missing.
    pub commit: Option<String>,
    /// More fields of the answer's JSON body.
    pub url: Option<String>,
}

/// Why the server could not do what it was asked to.
#[derive(Debug, Error)]
pub enum Error {
    /// The client is at fault, and is told.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The object store failed.
    #[error("object store: {0}")]
    Objects(#[from] object_store::Error),
    /// The file system failed.
    #[error("cannot {action}: {source}; check the data folder, its permissions and the free space")]
    Io {
        /// What was being done.
        action: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// What is stored contradicts itself.
    #[error("the hub's data are damaged: {0}")]
    Damaged(String),
    /// The hub was set up in a way that cannot work.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// A refusal with a status and a sentence.
    pub fn refused(status: u16, message: impl Into<String>) -> Self {
        Self::coded(status, None, message)
    }

    /// 400: the request itself is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::refused(400, message)
    }

    /// 404 of a class that clients know.
    pub fn missing(code: Code, message: impl Into<String>) -> Self {
        Self::coded(404, Some(code), message)
    }

    /// A refusal with all that clients look at.
    pub fn coded(status: u16, code: Option<Code>, message: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refusal {
            status,
            code,
            message: message.into(),
            commit: None,
            url: None,
        }))
    }

    /// The same, at a commit.
    pub fn at_commit(mut self, commit: &str) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.commit = Some(commit.to_owned());
        }
        self
    }

    /// The same, with the address of what is in the way.
    pub fn with_url(mut self, url: String) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.url = Some(url);
        }
        self
    }

    /// For `map_err` on file operations.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
