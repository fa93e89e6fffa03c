//! The hub on a real server that speaks S3, to which it sends clients for the contents of large files. Run by
//! `make interop`.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::program::{program, serve};
use support::s3::S3;
use support::{output, python};
use tempfile::TempDir;

/// A hub as a process, its objects in the store.
struct Remote {
    store: S3,
    process: Child,
    endpoint: String,
    token: String,
    folder: TempDir,
}

impl Remote {
    fn start() -> Self {
        let (store, folder) = (S3::start(), TempDir::new().unwrap());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = operate(&store, &folder, &["serve", "--json", "--direct"]);
        command
            .args(["--host", "127.0.0.1", "--port", "0"])
            .env("RUST_LOG", "sinew_hub=debug")
            .stderr(log);
        let (process, said) = serve(&mut command);
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self {
            store,
            process,
            endpoint: text("endpoint"),
            token: text("token"),
            folder,
        }
    }

    fn operate(&self, arguments: &[&str]) -> String {
        output(&mut operate(&self.store, &self.folder, arguments))
    }

    /// `sinew hub push`, `pull` and the like.
    fn client(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_TOKEN", &self.token);
        output(&mut command)
    }

    fn script(&self, environment: &str) -> Command {
        let mut command = Command::new(python(environment));
        let home = self.folder.path().join(environment);
        fs::create_dir_all(&home).unwrap();
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/flows.py"))
            .current_dir(&home)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_TOKEN", &self.token)
            .env("HF_HOME", home.join("cache"))
            .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
            .env("HF_HUB_DISABLE_TELEMETRY", "1");
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn objects(&self, kind: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.store.bucket().join("here").join(kind)];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn operate(store: &S3, folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .arg("--data")
        .arg(folder.path().join("hub"))
        .args(["--store", "s3://hub/here"])
        .envs(store.variables())
        .stdin(Stdio::null());
    command
}

fn passes(environment: &str) {
    let remote = Remote::start();
    let printed = output(&mut remote.script(environment));
    assert!(printed.contains("passed strangers"), "{printed}");
    let log = remote.log();
    assert!(
        log.contains("was brought to the store"),
        "no grant was used: {log}"
    );
    assert!(
        log.contains("is had from the store"),
        "nothing was fetched from the store: {log}"
    );
    assert!(
        remote.objects("grants").is_empty(),
        "what is checked is put away"
    );
    remote.operate(&["fsck"]);
}

#[test]
fn release_1_33_and_its_store() {
    passes("hub-133");
}

#[test]
fn release_2_4_and_its_store() {
    passes("hub-240");
}

#[test]
fn clients_without_xet_are_sent_to_the_store() {
    let remote = Remote::start();
    let mut script = remote.script("hub-133");
    let printed = output(script.arg("large_files").env("HF_HUB_DISABLE_XET", "1"));
    assert!(printed.contains("passed large_files"), "{printed}");
    assert!(!remote.objects("lfs").is_empty());
    assert!(remote.log().contains("is had from the store"));
}

#[test]
fn our_client_and_the_operators_commands() {
    let remote = Remote::start();
    let up = remote.folder.path().join("up");
    fs::create_dir_all(&up).unwrap();
    // Larger than one part of an upload to the store.
    let large: Vec<u8> = (0..5_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(up.join("model.safetensors"), &large).unwrap();
    fs::write(up.join("config.json"), "{}").unwrap();
    let path = |name: &str| remote.folder.path().join(name).display().to_string();
    remote.client(&["push", &path("up"), "admin/act", "--quiet"]);
    remote.client(&["pull", "admin/act", &path("down"), "--quiet"]);
    assert!(fs::read(remote.folder.path().join("down/model.safetensors")).unwrap() == large);
    remote.operate(&["fsck"]);
    remote.operate(&["gc"]);
    remote.operate(&["stats"]);
    remote.operate(&["backup", &path("backup")]);
    // From S3 into a folder.
    let mut restore = Command::new(program());
    restore.args(["restore", &path("backup"), "--data", &path("copy")]);
    output(&mut restore);
    let mut check = Command::new(program());
    output(check.args(["fsck", "--data", &path("copy")]));
    // What is not what its name says stays invisible.
    let xorb = remote.objects("xorbs").remove(0);
    let mut bytes = fs::read(&xorb).unwrap();
    bytes[100] ^= 1;
    fs::write(&xorb, bytes).unwrap();
    let damaged = operate(&remote.store, &remote.folder, &["fsck"])
        .output()
        .unwrap();
    assert_eq!(damaged.status.code(), Some(4));
}
