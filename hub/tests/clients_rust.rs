//! Hugging Face's client in Rust, `hf-hub`, against the server. It is built here, in the workspace of the oracle, since
//! what it needs should not be compiled with Sinew. The first build takes minutes and wants the package registry.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Server, output};

/// Builds the peer beside the other things that are built.
fn peer() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../oracle");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", "hf-hub-peer"])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        // Meant for the workspace that this test is part of.
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "the peer in hub/oracle/hf-hub cannot be built; `cargo build -p hf-hub-peer` in hub/oracle says more:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("debug/hf-hub-peer")
}

#[test]
fn hf_hub_of_rust() {
    let peer = peer();
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let printed = output(
        Command::new(peer)
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("HF_HOME", home.path().join("cache"))
            .env("HF_ENDPOINT", server.endpoint())
            .env("HF_TOKEN", &server.token),
    );
    assert!(printed.contains("hf-hub 1.0.0"), "{printed}");
    assert!(printed.contains("passed compare"), "{printed}");
}
