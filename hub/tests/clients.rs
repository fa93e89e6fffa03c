//! The real huggingface_hub, release by release, against the server. They need `scripts/setup interop`.

mod support;

use support::{Server, output};

fn passes(environment: &str, version: &str) {
    let server = Server::start();
    let printed = output(&mut server.script(environment, "flows.py"));
    assert!(
        printed.contains(&format!("huggingface_hub {version}")),
        "{printed}"
    );
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

#[test]
fn hf_auth_login_by_device() {
    let server = Server::start_with(|options| options.requests_per_window = Some(1000));
    let ada = sinew_hub::operate::create_user(&server.hub, "ada", Some("correct horse"), false);
    server.run(ada).unwrap();
    let printed = output(&mut server.script("hub-240", "login_flow.py"));
    assert!(printed.contains("passed rate limit"), "{printed}");
}

/// With the chunk store, which has a certificate check of its own.
#[test]
fn releases_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("hub.pem"), folder.path().join("hub.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = sinew_hub::server::Tls {
        certificate: certificate.clone(),
        key,
    };
    let server = Server::start_with(|options| options.tls = Some(tls));
    let endpoint = server
        .endpoint()
        .replace("http://127.0.0.1", "https://localhost");
    let mut script = server.script("hub-133", "flows.py");
    script
        .args(["identity", "large_files"])
        .env("HF_ENDPOINT", endpoint)
        .env("SSL_CERT_FILE", certificate);
    let printed = output(&mut script);
    assert!(printed.contains("passed large_files"), "{printed}");
}
