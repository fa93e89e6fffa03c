//! The real lerobot package in its virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    let python = peers.join("lerobot/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup interop",
        python.display()
    );
    python
}

/// Runs a script of `tests/peers` on the dataset in `root` and returns what it prints.
pub(crate) fn run(script: &str, root: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/peers")
        .join(script);
    let cache = root.parent().unwrap().join("hf-cache");
    let output = Command::new(python())
        .arg(script)
        .arg(root)
        .env("HF_HOME", cache)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
