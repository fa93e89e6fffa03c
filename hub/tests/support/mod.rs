//! A hub inside the test, and real clients that talk to it.
#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod program;
pub(crate) mod s3;

use axum::ServiceExt;
use axum::extract::Request;
use sinew_hub::server::{Hub, Options};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tower::steer::Steer;

/// A hub at a port of 127.0.0.1: on SQLite and a folder, unless the environment names others.
///
/// `SINEW_HUB_POSTGRES=postgres://user@host:port` gives it a new database there, `SINEW_HUB_S3=s3://bucket` (with the
/// usual `AWS_…` variables) a new place in that store, and `SINEW_HUB_REPLICAS=2` makes it two servers that answer
/// requests in turn.
pub(crate) struct Server {
    pub hub: Arc<Hub>,
    /// Of the first administrator, `admin`.
    pub token: String,
    address: SocketAddr,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    /// Where the hub keeps its data, unless it keeps them elsewhere.
    folder: TempDir,
    /// Where its objects lie as files.
    objects: PathBuf,
    /// Whose data these are.
    of: Option<Box<Server>>,
}

/// Each request to the next server.
async fn serve_in_turn(
    hubs: Vec<Arc<Hub>>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let next = Arc::new(AtomicUsize::new(0));
    let routers: Vec<axum::Router> = hubs.iter().map(|hub| hub.router()).collect();
    let steer = Steer::new(routers, move |_: &Request, routers: &[axum::Router]| {
        next.fetch_add(1, Ordering::Relaxed) % routers.len()
    });
    axum::serve(listener, ServiceExt::<Request>::into_make_service(steer))
        .with_graceful_shutdown(stop)
        .await
        .unwrap();
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
        let mut objects = folder.path().join("objects");
        if let Ok(bucket) = std::env::var("SINEW_HUB_S3") {
            let name = new_name();
            let files = std::env::var("SINEW_HUB_S3_FOLDER").expect("run scripts/hub-s3 COMMAND");
            objects = Path::new(&files).join(&name);
            options.objects = format!("{bucket}/{name}");
            options.spool = Some(folder.path().join("spool"));
            options.direct = true;
        }
        change(&mut options);
        let count = match std::env::var("SINEW_HUB_REPLICAS") {
            Ok(text) if options.tls.is_none() => text.parse().unwrap(),
            _ => 1,
        };
        let runtime = runtime();
        let (hubs, token) = runtime.block_on(async {
            let mut hubs = Vec::new();
            for _ in 0..count {
                hubs.push(Hub::open(&options).await.unwrap());
            }
            let token = hubs[0].first_admin("admin").await.unwrap().unwrap();
            (hubs, token)
        });
        Self::run_hubs(runtime, hubs, token, folder, objects)
    }

    /// Two servers on the same data that answer requests in turn, in any environment.
    pub(crate) fn start_twins() -> Self {
        let mut first = None;
        let server = Self::start_with(|options| first = Some(options.clone()));
        let twin = server.run(Hub::open(&first.unwrap())).unwrap();
        let Self { hub, token, .. } = &server;
        let (hubs, token) = (vec![Arc::clone(hub), twin], token.clone());
        let mut twins = Self::run_hubs(
            runtime(),
            hubs,
            token,
            TempDir::new().unwrap(),
            server.objects.clone(),
        );
        twins.of = Some(Box::new(server));
        twins
    }

    /// A hub that is open already, and a token for it.
    pub(crate) fn serve(hub: Arc<Hub>, token: String) -> Self {
        let folder = TempDir::new().unwrap();
        Self::run_hubs(runtime(), vec![hub], token, folder, PathBuf::new())
    }

    fn run_hubs(
        runtime: Runtime,
        hubs: Vec<Arc<Hub>>,
        token: String,
        folder: TempDir,
        objects: PathBuf,
    ) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let hub = Arc::clone(&hubs[0]);
        if hubs.len() == 1 {
            runtime.spawn(Arc::clone(&hub).serve(listener, stopped));
        } else {
            runtime.spawn(serve_in_turn(hubs, listener, stopped));
        }
        Self {
            hub,
            token,
            address,
            runtime,
            stop: Some(stop),
            folder,
            objects,
            of: None,
        }
    }

    /// Where uploads lie until they are checked.
    pub(crate) fn spool(&self) -> PathBuf {
        match std::env::var_os("SINEW_HUB_S3") {
            Some(_) => self.folder.path().join("spool"),
            None => self.objects.join("incoming"),
        }
    }

    /// Where the hub's objects lie as files.
    pub(crate) fn objects(&self) -> &Path {
        &self.objects
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
pub(crate) fn database(server: &str) -> String {
    let name = new_name();
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

/// A name that no other test has.
fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("hub_{}_{count}", std::process::id())
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

/// Where scripts/setup puts other people's programs.
pub(crate) fn peers() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from)
}

/// The Python of one of the peers' environments.
pub(crate) fn python(environment: &str) -> PathBuf {
    let python = peers().join(environment).join("bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup interop",
        python.display()
    );
    python
}

/// Brings all of a revision into a folder.
#[cfg(feature = "client")]
pub(crate) fn pull_all(
    hub: &sinew_hub::client::HubClient,
    repo: &sinew_hub::client::RepoId,
    revision: &str,
    folder: &Path,
) -> sinew_hub::client::ClientResult<sinew_hub::client::PullReport> {
    use sinew_hub::client::{PullOptions, pull};
    let head = hub.head(repo, revision)?;
    let entries = hub.tree(&head.repo, &head.commit, "", true)?;
    let (options, progress) = (PullOptions::default(), Default::default());
    pull(hub, &head, &entries, folder, &options, &progress)
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
