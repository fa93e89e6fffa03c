//! `sinew hub serve`, and where a hub's data are.

use super::args::{Data, Serve};
use super::{Failure, Scene};
use crate::client::Environment;
use crate::server::{Hub, Options, Tls};
use serde_json::json;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;

impl Data {
    /// The hub's folder.
    fn folder(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.data {
            return Ok(folder.clone());
        }
        let named = environment
            .get("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute());
        let home = || Some(Path::new(environment.get("HOME")?).join(".local/share"));
        let base = named.or_else(home).ok_or_else(|| {
            Failure::Usage(
                "there is no home folder to keep the hub's data in; say where with --data".into(),
            )
        })?;
        Ok(base.join("sinew/hub"))
    }

    /// What opens the hub.
    pub(super) fn options(&self, environment: &Environment) -> Result<Options, Failure> {
        let folder = self.folder(environment)?;
        let mut options = Options::in_folder(&folder);
        if let Some(database) = &self.database {
            options.database.clone_from(database);
        }
        if let Some(store) = &self.store {
            options.objects.clone_from(store);
            // What is not checked yet lies on this machine.
            if store.contains("://") {
                options.spool = Some(folder.join("spool"));
            }
        }
        Ok(options)
    }

    /// Opens a hub that is there, for looking at it or changing it.
    pub(super) async fn open(&self, environment: &Environment) -> Result<Arc<Hub>, Failure> {
        let options = self.options(environment)?;
        if self.database.is_none() {
            let file = self.folder(environment)?.join("hub.db");
            if !file.exists() {
                return Err(Failure::Usage(format!(
                    "there is no hub at {}; say where it is with --data, or --database and --store",
                    file.display()
                )));
            }
        }
        Ok(Hub::open(&options).await?)
    }
}

/// Does asynchronous work to its end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("hub")
        .build();
    let runtime = runtime.map_err(|e| Failure::Failed(format!("cannot start threads: {e}")))?;
    runtime.block_on(work)
}

pub(super) fn serve(args: &Serve, scene: &mut Scene<'_>) -> Result<(), Failure> {
    block_on(run(args, scene))
}

async fn run(args: &Serve, scene: &mut Scene<'_>) -> Result<(), Failure> {
    // Before the data are touched: a hub that cannot be reached should not make an administrator.
    let listener = listen(args).await?;
    let mut options = args.data.options(&scene.environment)?;
    options.public_url.clone_from(&args.public_url);
    options.direct = args.direct;
    options.requests_per_window = args.rate_limit;
    options.tls = args
        .tls_cert
        .clone()
        .zip(args.tls_key.clone())
        .map(|(certificate, key)| Tls { certificate, key });
    let hub = Hub::open(&options).await?;
    let token = hub.first_admin(&args.admin).await?;
    let address = listener
        .local_addr()
        .map_err(|e| Failure::Failed(format!("cannot listen: {e}")))?;
    tell(args, scene, &address_of(args, address), token.as_deref())?;
    hub.serve(listener, stopped()).await?;
    Ok(())
}

async fn listen(args: &Serve) -> Result<TcpListener, Failure> {
    let address = SocketAddr::new(args.host, args.port);
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Failure::Usage(format!(
            "port {} of {} is taken, perhaps by another hub; stop that, or choose another with --port",
            args.port, args.host
        )),
        ErrorKind::PermissionDenied => Failure::Usage(format!(
            "the system does not let you listen on port {}; choose one above 1023 with --port",
            args.port
        )),
        ErrorKind::AddrNotAvailable => {
            Failure::Usage(format!("this machine has no address {}; choose another with --host", args.host))
        }
        _ => Failure::Failed(format!("cannot listen on {address}: {error}")),
    })
}

/// As clients are to be told.
fn address_of(args: &Serve, address: SocketAddr) -> String {
    let scheme = if args.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    match &args.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        // Any address is none that can be asked.
        None if address.ip().is_unspecified() => {
            format!("{scheme}://{}:{}", host_name(), address.port())
        }
        None => format!("{scheme}://{address}"),
    }
}

/// What the machine is called; others may know it by another name.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

fn tell(
    args: &Serve,
    scene: &mut Scene<'_>,
    address: &str,
    token: Option<&str>,
) -> Result<(), Failure> {
    if args.json {
        scene.json(
            &json!({"endpoint": address, "admin": token.map(|_| &args.admin), "token": token}),
        )?;
    } else {
        if let Some(token) = token {
            scene.say(&format!(
                "made the administrator {}; this is the token, and it is shown only now:\n{token}",
                args.admin
            ))?;
        }
        scene.say(&format!(
            "hub at {address}; use it with HF_ENDPOINT={address}, end it with ctrl-c"
        ))?;
    }
    scene.out.flush().map_err(Failure::output)
}

/// Done when the process is asked to end. A second ctrl-c does not wait for requests that have begun.
async fn stopped() {
    first_signal().await;
    eprintln!("ending; requests that have begun are finished first");
    tokio::spawn(async {
        first_signal().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn first_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn first_signal() {
    let _ = tokio::signal::ctrl_c().await;
}
