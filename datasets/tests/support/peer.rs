//! The real lerobot and other Python packages, in the virtual environments that `scripts/setup` makes.
#![allow(dead_code, reason = "each test program uses its own part")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A script of `tests/peers` in an environment (`light` or `lerobot`), to be given arguments. It runs
/// in `dir`, and the hub's packages keep their caches there.
pub(crate) fn script(environment: &str, name: &str, dir: &Path) -> Command {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    let python = peers.join(environment).join("bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup interop",
        python.display()
    );
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers");
    let mut command = Command::new(python);
    command
        .arg(scripts.join(name))
        .current_dir(dir)
        .env("HF_HOME", dir.join("hf-cache"));
    command
}

/// Runs it and returns what it prints; it must succeed.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it and returns the JSON in its last line.
pub(crate) fn report(command: &mut Command) -> Value {
    let text = output(command);
    serde_json::from_str(text.lines().last().expect("a last line")).unwrap()
}

/// Runs a script in lerobot's environment on the dataset in `root` and returns what it prints.
pub(crate) fn run(name: &str, root: &Path) -> String {
    output(script("lerobot", name, root.parent().unwrap()).arg(root))
}
