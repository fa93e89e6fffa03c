//! Exit codes: 0 done, 1 the run failed, 2 the request was wrong (what to do is in the message),
//! 130 ended by a signal before its work was done.

use std::process::ExitCode;
use thiserror::Error;

/// A request that cannot be carried out as it stands.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A run that a signal ended.
#[derive(Debug, Error)]
#[error("stopped by a signal")]
pub(crate) struct Interrupted;

/// Marks an error of a library as the caller's to mend: exit code 2.
pub(crate) fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// Prints the error as one sentence and chooses the exit code.
pub(crate) fn explain(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        return ExitCode::from(130);
    }
    eprintln!("sinew: {error:#}");
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}
