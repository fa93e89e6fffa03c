//! The simulator's end of the link.

use super::{ClientMessage, Decoder, LINK_VERSION, ServerMessage, read_message, write_message};
use crate::pick::error::PickError;
use crate::pick::realtime::Shared;
use crate::pick::scene::WORLD;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a connection looks for news; also how soon it answers.
const POLL: Duration = Duration::from_millis(4);
/// How often the listener looks for a new client.
const ACCEPT_POLL: Duration = Duration::from_millis(20);
/// A client that takes nothing for this long is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const MOST_CLIENTS: usize = 8;

/// Listens until dropped; then the socket file is gone.
#[derive(Debug)]
pub struct LinkServer {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LinkServer {
    /// Listens at `path`. A socket that a dead simulator left there is replaced; one that still
    /// answers is not, nor is any other kind of file.
    pub(crate) fn start(path: &Path, shared: Arc<Shared>) -> Result<Self, PickError> {
        let listener = listen(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("pick-link".to_owned())
            .spawn(move || accept(&listener, &shared, &stopped))
            .map_err(|e| PickError::Spawn {
                thread: "pick-link",
                reason: e.to_string(),
            })?;
        Ok(Self {
            path: path.to_owned(),
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for LinkServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the simulator link's thread panicked");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = ?self.path, %error, "cannot remove the simulator link's socket");
        }
    }
}

/// A socket at `path` for the owner alone, whose `accept` does not wait. Replaces a socket on which
/// nobody listens any more, and nothing else.
///
/// # Errors
/// [`PickError::Link`] with the system's reason.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, PickError> {
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

fn accept(listener: &UnixListener, shared: &Arc<Shared>, stop: &Arc<AtomicBool>) {
    let clients = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Acquire) && !shared.stopping() {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                if e.kind() != io::ErrorKind::WouldBlock {
                    tracing::warn!(error = %e, "simulator link cannot accept a client");
                }
                std::thread::sleep(ACCEPT_POLL);
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        if clients.load(Ordering::Acquire) >= MOST_CLIENTS {
            tracing::warn!("simulator link refuses a client: {MOST_CLIENTS} are connected");
            continue;
        }
        clients.fetch_add(1, Ordering::AcqRel);
        let (shared, stop, count) = (shared.clone(), stop.clone(), clients.clone());
        let spawned = std::thread::Builder::new()
            .name("pick-link-client".to_owned())
            .spawn(move || {
                if let Err(error) = serve(stream, &shared, &stop) {
                    tracing::info!(%error, "simulator link client left");
                }
                count.fetch_sub(1, Ordering::AcqRel);
            });
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                tracing::warn!(%error, "simulator link cannot start a thread");
                clients.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a simulator link client's thread panicked");
        }
    }
}

/// One client: says hello, then alternates between listening for [`POLL`] and sending news.
fn serve(mut stream: UnixStream, shared: &Shared, stop: &AtomicBool) -> Result<(), PickError> {
    let failed = |e: io::Error| super::protocol(format!("cannot set up the connection: {e}"));
    stream.set_nonblocking(false).map_err(failed)?;
    stream.set_read_timeout(Some(POLL)).map_err(failed)?;
    stream
        .set_write_timeout(Some(WRITE_TIMEOUT))
        .map_err(failed)?;
    let mut scratch = Vec::new();
    let hello = ServerMessage::Hello {
        version: LINK_VERSION,
        world: WORLD.to_owned(),
        device: shared.device.to_string_lossy().into_owned(),
        cameras: shared
            .feeds
            .iter()
            .map(|feed| feed.info().clone())
            .collect(),
    };
    write_message(&mut stream, &mut scratch, &hello, &[])?;
    let mut decoder = Decoder::default();
    let mut seen = vec![0; shared.feeds.len()];
    while !stop.load(Ordering::Acquire) && !shared.stopping() {
        match read_message::<ClientMessage>(&mut stream, &mut decoder) {
            Ok((ClientMessage::Reset { seed }, _)) => {
                let error = shared.reset(seed).err().map(|e| e.to_string());
                write_message(
                    &mut stream,
                    &mut scratch,
                    &ServerMessage::ResetDone { seed, error },
                    &[],
                )?;
            }
            Err(e) if e.is_timeout() => {}
            Err(e) => return e.into_result(),
        }
        send_news(&mut stream, &mut scratch, shared, &mut seen)?;
    }
    Ok(())
}

fn send_news(
    stream: &mut UnixStream,
    scratch: &mut Vec<u8>,
    shared: &Shared,
    seen: &mut [u64],
) -> Result<(), PickError> {
    let state = shared.task_state()?;
    write_message(stream, scratch, &ServerMessage::State { state }, &[])?;
    for (feed, seen) in shared.feeds.iter().zip(seen) {
        let Some(frame) = feed.newer_than(*seen) else {
            continue;
        };
        *seen = frame.seq;
        let message = ServerMessage::Frame {
            camera: feed.info().name.clone(),
            seq: frame.seq,
            captured_ns: frame.captured_ns,
            width: frame.width,
            height: frame.height,
        };
        write_message(stream, scratch, &message, &frame.data)?;
    }
    Ok(())
}
