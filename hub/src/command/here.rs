//! A hub in this process, for whoever needs one for a moment: the demo, which pushes what it recorded.

use super::Failure;
use crate::client::Environment;
use crate::server::{Hub, Options};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The first administrator.
pub const ADMIN: &str = "admin";

/// A hub that only this machine reaches. It ends when it is dropped; its data stay.
pub struct LocalHub {
    address: SocketAddr,
    token: String,
    stop: Option<oneshot::Sender<()>>,
    // Dropped last: it waits for the tasks.
    _runtime: Runtime,
}

impl std::fmt::Debug for LocalHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalHub")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl LocalHub {
    /// Starts a new hub in a folder that has none.
    ///
    /// # Errors
    /// If there is a hub in the folder already, the disk is full, or no port is free.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let io =
            |e: std::io::Error| Failure::Failed(format!("cannot start a hub on this machine: {e}"));
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }
            .worker_threads(2)
            .enable_all()
            .thread_name("hub")
            .build()
            .map_err(io)?;
        let (hub, token) = runtime.block_on(async {
            let hub = Hub::open(&Options::in_folder(folder)).await?;
            let token = hub.first_admin(ADMIN).await?;
            Ok::<_, Failure>((hub, token))
        })?;
        let token = token.ok_or_else(|| {
            Failure::Usage(format!(
                "{} has a hub already; choose another folder",
                folder.display()
            ))
        })?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(Arc::clone(&hub).serve(listener, async {
            let _ = stopped.await;
        }));
        Ok(Self {
            address,
            token,
            stop: Some(stop),
            _runtime: runtime,
        })
    }

    /// The variables with which clients find it, as its administrator.
    pub fn environment(&self) -> Environment {
        Environment::of([
            ("HF_ENDPOINT", self.endpoint()),
            ("HF_TOKEN", self.token.clone()),
        ])
    }

    /// As clients are told.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for LocalHub {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
