//! The server: routes by area, and what every route needs from whoever calls it.
//!
//! A request's path: `access.rs` finds the route in the table, asks who calls, which repository is meant and
//! whether that right is there → the handler of an area → `reply.rs` turns results into what clients understand.

mod access;
mod commits;
mod compare;
mod copies;
mod device;
mod discussions;
mod downloads;
mod git;
mod grants;
mod identity;
mod info;
mod lfs;
mod lifecycle;
mod links;
mod rates;
mod reads;
mod refs;
#[cfg(any(test, fuzzing))]
pub(crate) mod rehearsal;
mod reply;
mod resolve;
mod routes;
mod tls;
mod tree;
mod upload;
mod xet;

use crate::accounts;
use crate::accounts::tokens;
use crate::cas::xorbs::Tables;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::objects::Objects;
use axum::Router;
use axum::http::{HeaderMap, header};
use downloads::Downloads;
use links::Keys;
use rates::Rates;
use reads::Reads;
pub(crate) use reply::date;
pub use routes::table;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub use tls::Tls;
use tls::{Peer, TlsListener};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory that bodies of requests take together at most, MiB.
const MEMORY_MIB: usize = 192;
/// Tries to log in that one address has in five minutes.
const LOGINS: u32 = 40;

/// Where a hub keeps its data and how it is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:///path/hub.db?mode=rwc` or `postgres://…`.
    pub database: String,
    /// A folder, or `s3://bucket/prefix`.
    pub objects: String,
    /// Where unchecked uploads lie; by default in the folder of the objects.
    pub spool: Option<PathBuf>,
    /// Whether clients are sent to an S3 store itself for contents of large files, by signed addresses. It has to be
    /// reachable for them under the name that the hub uses.
    pub direct: bool,
    /// The address that clients use, without a slash at the end. By default the one that they asked for.
    pub public_url: Option<String>,
    /// Certificate and key; without them the hub speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Requests that one token, or one address without a token, may send in five minutes; `None` without a limit.
    /// Contents of large files are not counted.
    pub requests_per_window: Option<u32>,
}

impl Options {
    /// SQLite and objects in one folder.
    pub fn in_folder(folder: &std::path::Path) -> Self {
        Self {
            database: format!("sqlite://{}?mode=rwc", folder.join("hub.db").display()),
            objects: folder.join("objects").display().to_string(),
            spool: None,
            direct: false,
            public_url: None,
            tls: None,
            requests_per_window: None,
        }
    }
}

impl Options {
    /// Makes the folder of SQLite's file.
    pub(crate) fn make_folder(&self) -> Result<()> {
        let Some(path) = self.database.strip_prefix("sqlite://") else {
            return Ok(());
        };
        let path = path.split('?').next().unwrap_or(path);
        if let Some(folder) = std::path::Path::new(path).parent() {
            std::fs::create_dir_all(folder)
                .map_err(Error::io(format!("make {}", folder.display())))?;
        }
        Ok(())
    }
}

/// A hub: one of possibly several processes on the same database and object store.
#[derive(Debug)]
pub struct Hub {
    pub(crate) db: Db,
    pub(crate) objects: Objects,
    pub(crate) tables: Tables,
    pub(crate) keys: Keys,
    public_url: Option<String>,
    tls: Option<Arc<rustls::ServerConfig>>,
    downloads: Downloads,
    rates: Rates,
    /// Tries to log in.
    logins: Rates,
    reads: Reads,
    /// Memory for the bodies of requests, MiB.
    memory: Arc<Semaphore>,
}

impl Hub {
    /// Opens or makes a hub.
    ///
    /// # Errors
    /// When the database or the object store cannot be used.
    pub async fn open(options: &Options) -> Result<Arc<Self>> {
        options.make_folder()?;
        let tls = options.tls.as_ref().map(Tls::load).transpose()?;
        let db = Db::open(&options.database).await?;
        let objects = Objects::open(&options.objects, options.spool.as_deref(), options.direct)?;
        let keys = Keys::load(&db).await?;
        Ok(Arc::new(Self {
            tables: Tables::new(&db),
            db,
            objects,
            keys,
            public_url: options.public_url.clone(),
            tls,
            rates: Rates::new("api", options.requests_per_window),
            logins: Rates::new("login", Some(LOGINS)),
            reads: Reads::default(),
            downloads: Downloads::default(),
            memory: Arc::new(Semaphore::new(MEMORY_MIB)),
        }))
    }

    /// The database, for administration.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Creates the first administrator on an empty hub and returns their token; `None` when there are accounts.
    ///
    /// # Errors
    /// When the database fails or the name cannot be used.
    pub async fn first_admin(&self, name: &str) -> Result<Option<String>> {
        let any: Option<(String,)> = sqlx::query_as("SELECT id FROM accounts LIMIT 1")
            .fetch_optional(self.db.pool())
            .await?;
        if any.is_some() {
            return Ok(None);
        }
        let admin = accounts::create_user(&self.db, name, None, true).await?;
        let token = accounts::NewToken {
            name: "first".to_owned(),
            role: accounts::TokenRole::Write,
            expires_ms: None,
            grants: Vec::new(),
        };
        tokens::create(&self.db, &admin, &token).await.map(Some)
    }

    /// Makes what `gc` has marked older than it is, for tests.
    ///
    /// # Errors
    /// When the database fails.
    #[doc(hidden)]
    pub async fn shift_marks(&self, by: Duration) -> Result<()> {
        sqlx::query("UPDATE gc_marks SET since_ms = since_ms - $1")
            .bind(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
            .execute(self.db.pool())
            .await?;
        Ok(())
    }

    /// All routes.
    pub fn router(self: &Arc<Self>) -> Router {
        routes::router(self)
    }

    /// Serves until `stop` is done; requests that have begun are finished.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let service = self.router().into_make_service_with_connect_info::<Peer>();
        let served = match &self.tls {
            None => {
                axum::serve(listener, service)
                    .with_graceful_shutdown(stop)
                    .await
            }
            Some(tls) => {
                let listener = TlsListener::start(listener, Arc::clone(tls))?;
                axum::serve(listener, service)
                    .with_graceful_shutdown(stop)
                    .await
            }
        };
        served.map_err(Error::io("serve"))?;
        self.downloads.flush(&self.db).await;
        self.db.close().await;
        Ok(())
    }
}

/// Waits for memory for a request: `factor` times its body, at most `most`, both in MiB. Its body stays unread
/// meanwhile.
async fn memory(
    hub: &Hub,
    headers: &HeaderMap,
    factor: u32,
    most: u32,
) -> Result<OwnedSemaphorePermit> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .and_then(|bytes| u32::try_from(bytes >> 20).ok());
    let wanted = length.map_or(most, |mib| mib.saturating_mul(factor).saturating_add(1));
    Arc::clone(&hub.memory)
        .acquire_many_owned(wanted.min(most))
        .await
        .map_err(|_| Error::refused(503, "the hub is shutting down; try again"))
}
