//! `sinew hub …` without the rest of Sinew: the same arguments, the same exit codes.
//!
//! `cargo run -p sinew-hub --example hub -- serve`, then, elsewhere, `… -- login --endpoint http://127.0.0.1:8010`.

use clap::Parser;
use sinew_hub::command::Hub;
use std::process::ExitCode;

/// A self-hosted hub for Hugging Face's clients, and a client for hubs.
#[derive(Debug, Parser)]
#[command(
    name = "hub",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    hub: Hub,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match cli.hub.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told() {
                eprintln!("hub: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
