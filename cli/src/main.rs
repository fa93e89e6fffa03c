//! The `sinew` command: parses arguments, wires the libraries together, prints. What it wires is
//! in [`session`] (a robot, its threads and what listens to them) and [`source`] (who decides the
//! next action); one file in [`commands`] a verb.

mod args;
mod commands;
mod failure;
mod hub;
mod keyboard;
mod monitor;
mod native;
mod panel;
mod pipe;
mod player;
mod recording;
mod report;
mod session;
mod source;
#[cfg(feature = "topics")]
mod supervision;
#[cfg(feature = "topics")]
mod topics;
mod units;
mod view;
mod world;

use clap::Parser;
use sinew_runtime::{Clock, MonotonicClock, Nanos};
use std::process::ExitCode;
use std::sync::LazyLock;

/// When the program started, monotonic clock.
pub(crate) fn started_ns() -> Nanos {
    static STARTED: LazyLock<Nanos> = LazyLock::new(|| MonotonicClock.now());
    *STARTED
}

fn main() -> ExitCode {
    started_ns();
    let cli = args::Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::explain(&error),
    }
}
