//! Exit codes: 0 done, 1 the run failed, 2 the request was wrong (what to do is in the message),
//! 130 ended by a signal before its work was done. `sinew dataset doctor` ends with 3 when it finds
//! warnings and with 4 when it finds errors; `sinew policy check` with 3 when a policy fits with
//! reservations and with 4 when it does not; `sinew hub fsck` with 4 when something is not sound, and
//! `sinew hub diff` with 1 when something differs.

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

/// An examination that was carried out and found something: the report is printed already, and the
/// exit code says how bad it is.
#[derive(Debug, Error)]
#[error("something is wrong with what was examined")]
pub(crate) struct Verdict(pub(crate) u8);

/// Marks an error of a library as the caller's to mend: exit code 2.
pub(crate) fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// Prints the error as one sentence and chooses the exit code.
pub(crate) fn explain(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        return ExitCode::from(130);
    }
    if let Some(Verdict(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("sinew: {}", sentence(error));
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// The error and its causes, each said once: many messages carry their cause's words already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let between = if text.is_empty() { "" } else { ": " };
            text.extend([between, &cause]);
        }
    }
    text
}

/// A time that a person asked for with `option`, s.
pub(crate) fn check_seconds(option: &str, seconds: Option<f64>) -> anyhow::Result<()> {
    match seconds {
        // Not-a-number is no time either.
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => Err(usage(format!(
            "{option} {seconds}: choose a time of 0 s or more"
        ))),
        _ => Ok(()),
    }
}
