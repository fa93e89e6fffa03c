//! The real huggingface_hub, release by release, against the server. They need `scripts/setup interop`.

mod support;

use support::{Server, output};

fn passes(environment: &str, version: &str) {
    let server = Server::start();
    let printed = output(&mut server.script(environment, "flows.py"));
    assert!(printed.contains(&format!("huggingface_hub {version}")), "{printed}");
    assert!(printed.contains("passed strangers"), "{printed}");
}

fn passes_without_xet(environment: &str) {
    let server = Server::start();
    let mut script = server.script(environment, "flows.py");
    let printed = output(script.args(["large_files"]).env("HF_HUB_DISABLE_XET", "1"));
    assert!(printed.contains("passed large_files"), "{printed}");
}

#[test]
fn release_1_33() {
    passes("hub-133", "1.33.0");
}

#[test]
fn release_2_4() {
    passes("hub-240", "2.4.0");
}

#[test]
fn release_1_19() {
    passes("hub-119", "1.19.0");
}

#[test]
fn release_1_6() {
    passes("hub-160", "1.6.0");
}

#[test]
fn releases_without_xet() {
    for environment in ["hub-133", "hub-240", "hub-160"] {
        passes_without_xet(environment);
    }
}
