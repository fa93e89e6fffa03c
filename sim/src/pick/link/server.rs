//! The simulator's end of the link.

use super::socket::{SocketServer, ThreadNames, with_timeouts};
use super::{ClientMessage, Decoder, LINK_VERSION, ServerMessage, read_message, write_message};
use crate::pick::error::PickError;
use crate::pick::realtime::Shared;
use crate::pick::scene::WORLD;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a connection looks for news; also how soon it answers.
const POLL: Duration = Duration::from_millis(4);
/// A client that takes nothing for this long is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const MOST_CLIENTS: usize = 8;

/// Listens until dropped; then the socket file is gone.
#[derive(Debug)]
pub struct LinkServer {
    _socket: SocketServer,
}

impl LinkServer {
    /// Listens at `path`, as [`SocketServer::start`] does.
    pub(crate) fn start(path: &Path, shared: Arc<Shared>) -> Result<Self, PickError> {
        let names = ThreadNames {
            listener: "pick-link",
            client: "pick-link-client",
        };
        let client = move |stream, stop: &AtomicBool, others| {
            if others >= MOST_CLIENTS {
                tracing::warn!("simulator link refuses a client: {MOST_CLIENTS} are connected");
                return Ok(());
            }
            serve(stream, &shared, stop)
        };
        SocketServer::start(path, names, client).map(|_socket| Self { _socket })
    }
}

/// One client: says hello, then alternates between listening for [`POLL`] and sending news.
fn serve(mut stream: UnixStream, shared: &Shared, stop: &AtomicBool) -> Result<(), PickError> {
    with_timeouts(&stream, POLL, WRITE_TIMEOUT)?;
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
