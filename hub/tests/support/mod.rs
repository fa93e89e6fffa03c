//! A hub inside the test, and real clients that talk to it.
#![allow(dead_code, reason = "each test program uses its own part")]

use sinew_hub::server::{Hub, Options};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A hub on SQLite and a folder, at a port of 127.0.0.1.
pub(crate) struct Server {
    pub hub: Arc<Hub>,
    /// Of the first administrator, `admin`.
    pub token: String,
    address: SocketAddr,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (hub, token, listener) = runtime.block_on(async {
            let hub = Hub::open(&Options::in_folder(folder.path())).await.unwrap();
            let token = hub.first_admin("admin").await.unwrap().unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            (hub, token, listener)
        });
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(Arc::clone(&hub).serve(listener, async {
            let _ = stopped.await;
        }));
        Self {
            hub,
            token,
            address,
            runtime,
            stop: Some(stop),
            folder,
        }
    }

    /// As clients are told.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs something on the hub's runtime.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A script of `tests/peers` in the environment `hub-…` of the peers, as a user of this hub.
    pub(crate) fn script(&self, environment: &str, name: &str) -> Command {
        let mut command = Command::new(python(environment));
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let home = self.folder.path().join("clients").join(environment);
        std::fs::create_dir_all(&home).unwrap();
        command
            .arg(scripts.join(name))
            .current_dir(&home)
            .env("HF_ENDPOINT", self.endpoint())
            .env("HF_TOKEN", &self.token)
            .env("HF_HOME", home.join("cache"))
            .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
            .env("HF_HUB_DISABLE_TELEMETRY", "1");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

fn python(environment: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    let python = peers.join(environment).join("bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup interop",
        python.display()
    );
    python
}

/// Runs a script, which must succeed, and returns what it prints.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{errors}");
    printed.into_owned()
}
