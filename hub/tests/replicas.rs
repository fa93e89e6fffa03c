//! Two servers on one database and one store that answer requests in turn: nobody can tell them from one. All other
//! tests of the hub run on two servers with `SINEW_HUB_REPLICAS=2`.

mod support;

use rand::{RngCore, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use sinew_hub::client::{HttpOptions, HubClient, Kind, PushOptions, RepoId, by_path, push, scan};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::{Server, get, post, pull_all};

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn repo() -> RepoId {
    RepoId {
        kind: Kind::Dataset,
        name: "admin/pick".into(),
    }
}

fn client(server: &Server) -> HubClient {
    let token = Some(server.token.clone());
    HubClient::new(&server.endpoint(), token, HttpOptions::default()).unwrap()
}

fn push_all(hub: &HubClient, folder: &Path) -> u64 {
    let head = hub.head(&repo(), "main").unwrap();
    let remote = by_path(hub.tree(&repo(), &head.commit, "", true).unwrap());
    let local = scan(folder).unwrap();
    let options = PushOptions::default();
    push(hub, &repo(), &local, &remote, &options, &Arc::default())
        .unwrap()
        .sent_bytes
}

#[test]
fn what_one_server_took_the_other_has() {
    let server = Server::start_twins();
    let hub = client(&server);
    hub.create_repo(&repo(), true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    let mut large = noise(9_000_000, 1);
    fs::create_dir_all(up.join("meta")).unwrap();
    fs::write(up.join("data.bin"), &large).unwrap();
    fs::write(up.join("meta/info.json"), r#"{"codebase_version":"v3.0"}"#).unwrap();
    assert!(push_all(&hub, &up) > 8_000_000);
    // A chunk that one server was shown, the other one knows.
    large.splice(4_000_000..4_000_000, noise(1000, 2));
    fs::write(up.join("data.bin"), &large).unwrap();
    assert!(push_all(&hub, &up) < 1_000_000);
    pull_all(&hub, &repo(), "v3.0", &down).unwrap();
    assert!(fs::read(down.join("data.bin")).unwrap() == large);
}

#[test]
fn git_and_addresses_that_are_signed() {
    let server = Server::start_twins();
    post(
        &server,
        "/api/repos/create",
        r#"{"name":"git","private":true}"#,
    );
    let address = server.endpoint().replace("http://", "");
    let url = format!("http://admin:{}@{address}/admin/git", server.token);
    let home = tempfile::tempdir().unwrap();
    let git = |folder: &str, arguments: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=A Tester", "-c", "user.email=a@b"])
            .args(arguments)
            .current_dir(home.path().join(folder))
            .env("HOME", home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git is not installed");
        assert!(
            done.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    git(".", &["clone", "-q", &url, "one"]);
    for round in 0..4 {
        fs::write(home.path().join("one/a.txt"), format!("{round}")).unwrap();
        git("one", &["add", "-A"]);
        git("one", &["commit", "-q", "-m", "Round"]);
        git("one", &["push", "-q", "origin", "HEAD"]);
        assert_eq!(
            get(&server, "/admin/git/resolve/main/a.txt"),
            round.to_string()
        );
    }
    git(".", &["clone", "-q", &url, "two"]);
    assert_eq!(fs::read(home.path().join("two/a.txt")).unwrap(), b"3");
    // An object of LFS: one server signs, the other checks.
    let bytes = noise(100_000, 3);
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
    let oid: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    for operation in ["upload", "download"] {
        let request =
            json!({"operation": operation, "objects": [{"oid": oid, "size": bytes.len()}]});
        let answer = ureq::post(format!(
            "{}/admin/git.git/info/lfs/objects/batch",
            server.endpoint()
        ))
        .header("authorization", format!("Bearer {}", server.token))
        .send(request.to_string())
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let href = answer["objects"][0]["actions"][operation]["href"]
            .as_str()
            .unwrap();
        if operation == "upload" {
            ureq::put(href).send(&bytes[..]).unwrap();
        } else {
            assert!(
                ureq::get(href)
                    .call()
                    .unwrap()
                    .body_mut()
                    .read_to_vec()
                    .unwrap()
                    == bytes
            );
        }
    }
}
