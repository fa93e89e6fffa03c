//! The real `datasets` and lerobot against the server. Run by `make interop`.

mod support;

use support::{Server, output};

#[test]
fn lerobot_pushes_and_loads() {
    let server = Server::start();
    let printed = output(&mut server.script("lerobot", "lerobot_flow.py"));
    assert!(printed.contains("passed policy"), "{printed}");
}

#[test]
fn a_push_that_ends_without_the_internet_can_be_loaded() {
    let server = Server::start();
    let mut script = server.script("lerobot", "lerobot_flow.py");
    // No way out, whatever this machine can reach.
    let nowhere = "http://127.0.0.1:9";
    let script = script
        .arg("bare")
        .env("HTTPS_PROXY", nowhere)
        .env("NO_PROXY", "127.0.0.1");
    let printed = output(script);
    assert!(printed.contains("the push ended early"), "{printed}");
    assert!(printed.contains("passed load"), "{printed}");
}

#[test]
fn datasets_pushes_loads_and_streams() {
    let server = Server::start();
    let printed = output(&mut server.script("hub-datasets", "datasets_flow.py"));
    assert!(printed.contains("passed second split"), "{printed}");
}
