//! What the end-to-end tests share: the `sinew` command as a process, an arm in software, small
//! policies, independent peers, free ports.

mod arm;
mod network;
mod process;

pub use arm::{Arm, JOINTS};
pub use network::{Network, write_policy};
pub use process::{LIMIT, Outcome, Running, Simulator, sinew, wait_until};

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Python of a peers' environment (`light` or `lerobot`).
///
/// # Panics
/// When the environment is missing, with what to type.
pub fn peer_python(environment: &str) -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(
        || Path::new(&home).join(".cache/sinew-peers"),
        PathBuf::from,
    );
    let python = peers.join(environment).join("bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `scripts/setup {}`",
        python.display(),
        if environment == "lerobot" {
            "interop"
        } else {
            "tests"
        }
    );
    python
}

/// Runs a script of `tests/peers` and returns the JSON that it prints.
///
/// # Panics
/// When the script fails or prints no JSON: its own words are in the message.
pub fn run_peer(environment: &str, script: &str, arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(peer_python(environment))
        .arg(root().join("tests/peers").join(script))
        .args(arguments)
        .output()
        .expect("the peer's Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script} {arguments:?} failed:\n{errors}"
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{script} printed no JSON ({e}): {}\n{errors}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

/// A TCP port that was free a moment ago, from below the range of outgoing connections: a test that
/// polls a port of that range may end up connected to itself.
///
/// # Panics
/// When loopback has no free port.
pub fn free_port() -> u16 {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    (start..32_000)
        .find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("loopback has a free port")
}
