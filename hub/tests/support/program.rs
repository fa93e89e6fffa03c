//! `sinew hub` as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The example `hub`, built beside the running test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let program = folder.join("examples/hub");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p sinew-hub --examples` first",
        program.display()
    );
    program
}

/// Starts `hub serve --json` and returns it with what it says once it can be asked.
pub(crate) fn serve(command: &mut std::process::Command) -> (Child, serde_json::Value) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    // One value of several lines; the hub keeps its end of the pipe open.
    let mut values = serde_json::Deserializer::from_reader(output).into_iter();
    let said = values.next().and_then(Result::ok);
    (child, said.expect("the hub does not start"))
}
