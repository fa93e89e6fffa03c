//! How commands end. Exit codes are Sinew's: 0 done, 1 it failed, 2 the request was wrong; 1 without words when `diff`
//! found differences, 4 without words when `fsck` found damage.

use crate::client::ClientError;
use crate::error::Error;
use thiserror::Error as ThisError;

/// Why a command ends otherwise than well.
#[derive(Debug, ThisError)]
pub enum Failure {
    /// The request cannot be carried out as it stands; the message says what to do.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// It was carried out and found something, which is printed already.
    #[error("something was found")]
    Verdict(u8),
}

impl Failure {
    /// For the shell.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
            Self::Verdict(code) => *code,
        }
    }

    /// Whether everything has been said already.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Verdict(_))
    }

    /// Results could not be printed.
    pub(super) fn output(error: std::io::Error) -> Self {
        Self::Failed(format!("cannot write the output: {error}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error.is_usage() {
            true => Self::Usage(error.to_string()),
            false => Self::Failed(error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(_) | Error::Setup(_) => Self::Usage(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
