//! What the end-to-end tests share: where the peers live, how to run them, free ports.

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
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(|| Path::new(&home).join(".cache/sinew-peers"), PathBuf::from);
    let python = peers.join(environment).join("bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/setup tests`", python.display());
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
    assert!(output.status.success(), "{script} {arguments:?} failed:\n{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{script} printed no JSON ({e}): {}\n{errors}", String::from_utf8_lossy(&output.stdout))
    })
}

/// A TCP port that was free a moment ago.
///
/// # Panics
/// When loopback has no free port.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("loopback has a free port").port()
}
