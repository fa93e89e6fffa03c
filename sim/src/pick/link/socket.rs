//! A Unix socket whose clients have a thread each.

use super::protocol;
use crate::pick::error::PickError;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the listener looks for a new client.
const ACCEPT_POLL: Duration = Duration::from_millis(10);

/// Names of the threads, as `top` shows them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadNames {
    pub(crate) listener: &'static str,
    pub(crate) client: &'static str,
}

/// Listens until dropped; then the socket file is gone.
#[derive(Debug)]
pub(crate) struct SocketServer {
    path: PathBuf,
    names: ThreadNames,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SocketServer {
    /// Listens at `path`, for the owner alone. A socket that a dead program left there is replaced; one
    /// that still answers is not, nor is any other kind of file. `client` serves one connection until it
    /// ends or the flag is set; it is told how many others there are.
    ///
    /// # Errors
    /// [`PickError::Link`] with the system's reason, and [`PickError::Spawn`].
    pub(crate) fn start(
        path: &Path,
        names: ThreadNames,
        client: impl Fn(UnixStream, &AtomicBool, usize) -> Result<(), PickError> + Send + Sync + 'static,
    ) -> Result<Self, PickError> {
        let listener = listen(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, client) = (stop.clone(), Arc::new(client));
        let thread = std::thread::Builder::new()
            .name(names.listener.to_owned())
            .spawn(move || accept(&listener, names, &stopped, &client))
            .map_err(|e| PickError::Spawn {
                thread: names.listener,
                reason: e.to_string(),
            })?;
        Ok(Self {
            path: path.to_owned(),
            names,
            stop,
            thread: Some(thread),
        })
    }

    /// The socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still listens.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread {} panicked", self.names.listener);
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = ?self.path, %error, "cannot remove the socket");
        }
    }
}

/// Makes a connection wait for at most `poll` when it reads, and `write_timeout` when it writes.
pub(crate) fn with_timeouts(
    stream: &UnixStream,
    poll: Duration,
    write_timeout: Duration,
) -> Result<(), PickError> {
    let failed = |e: io::Error| protocol(format!("cannot set up the connection: {e}"));
    stream.set_nonblocking(false).map_err(failed)?;
    stream.set_read_timeout(Some(poll)).map_err(failed)?;
    stream
        .set_write_timeout(Some(write_timeout))
        .map_err(failed)
}

/// A socket whose `accept` does not wait.
fn listen(path: &Path) -> Result<UnixListener, PickError> {
    let failed = |e: io::Error| PickError::Link {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    clear_stale(path).map_err(failed)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn clear_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path is a file that is not a socket",
        ));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another simulator listens there",
        ));
    }
    std::fs::remove_file(path)
}

fn accept<C>(listener: &UnixListener, names: ThreadNames, stop: &Arc<AtomicBool>, client: &Arc<C>)
where
    C: Fn(UnixStream, &AtomicBool, usize) -> Result<(), PickError> + Send + Sync + 'static,
{
    let taken = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                if e.kind() != io::ErrorKind::WouldBlock {
                    tracing::warn!(error = %e, "{} cannot accept a client", names.listener);
                }
                std::thread::sleep(ACCEPT_POLL);
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        let (client, stop) = (client.clone(), stop.clone());
        let (slot, others) = Slot::take(&taken);
        let spawned = std::thread::Builder::new()
            .name(names.client.to_owned())
            .spawn(move || {
                let _slot = slot;
                if let Err(error) = client(stream, &stop, others) {
                    tracing::info!(%error, "a client of {} left", names.listener);
                }
            });
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => tracing::warn!(%error, "{} cannot start a thread", names.listener),
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread {} panicked", names.client);
        }
    }
}

/// A client's place among all, given back however its thread ends, a panic included.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// A place, and how many were taken before.
    fn take(taken: &Arc<AtomicUsize>) -> (Self, usize) {
        let others = taken.fetch_add(1, Ordering::AcqRel);
        (Self(taken.clone()), others)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_that_panics_gives_its_place_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let (slot, others) = Slot::take(&taken);
        let (second, before) = Slot::take(&taken);
        assert_eq!((others, before), (0, 1));
        let world = std::thread::Builder::new()
            .name("pick-world".to_owned())
            .spawn(move || {
                let _slot = slot;
                panic!("a defect of this world, as a test wants it");
            })
            .unwrap();
        assert!(world.join().is_err());
        drop(second);
        assert_eq!(taken.load(Ordering::Acquire), 0);
    }
}
