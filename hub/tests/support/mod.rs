//! A hub inside the test, and real clients that talk to it.
#![allow(dead_code, reason = "each test program uses its own part")]

use sinew_hub::server::{Hub, Options};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// Where the hub keeps its data, unless it keeps them elsewhere.
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// A hub whose options are not the usual ones.
    pub(crate) fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut options = Options::in_folder(folder.path());
        if let Some(server) = std::env::var_os("SINEW_HUB_POSTGRES") {
            options.database = database(server.to_str().unwrap());
        }
        change(&mut options);
        let runtime = runtime();
        let (hub, token) = runtime.block_on(async {
            let hub = Hub::open(&options).await.unwrap();
            let token = hub.first_admin("admin").await.unwrap().unwrap();
            (hub, token)
        });
        Self::run_hub(runtime, hub, token, folder)
    }

    /// A hub that is open already, and a token for it.
    pub(crate) fn serve(hub: Arc<Hub>, token: String) -> Self {
        Self::run_hub(runtime(), hub, token, TempDir::new().unwrap())
    }

    fn run_hub(runtime: Runtime, hub: Arc<Hub>, token: String, folder: TempDir) -> Self {
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
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

    /// Where the hub keeps its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
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

/// A new database of a PostgreSQL server, whose address (`postgres://user@host:port`) `SINEW_HUB_POSTGRES` has.
fn database(server: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "hub_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let made = Command::new("psql")
        .args([
            "-q",
            &format!("{server}/postgres"),
            "-c",
            &format!("CREATE DATABASE {name}"),
        ])
        .status()
        .expect("psql is not installed");
    assert!(made.success(), "{server} makes no database");
    format!("{server}/{name}")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// The Python of one of the peers' environments.
pub(crate) fn python(environment: &str) -> PathBuf {
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

/// Posts JSON as the first administrator; it must succeed.
pub(crate) fn post(server: &Server, path: &str, body: &str) {
    let response = ureq::post(format!("{}{path}", server.endpoint()))
        .header("authorization", format!("Bearer {}", server.token))
        .header("content-type", "application/json")
        .send(body)
        .unwrap();
    assert!(
        response.status().is_success(),
        "{path}: {}",
        response.status()
    );
}

/// What the first administrator gets.
pub(crate) fn get(server: &Server, path: &str) -> String {
    ureq::get(format!("{}{path}", server.endpoint()))
        .header("authorization", format!("Bearer {}", server.token))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap()
}

/// Runs a script, which must succeed, and returns what it prints.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{errors}");
    printed.into_owned()
}
