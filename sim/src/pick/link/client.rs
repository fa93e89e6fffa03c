//! The other process's end of the link.

use super::{
    ClientMessage, Decoder, LINK_VERSION, ServerMessage, frame_from_parts, protocol, read_message,
    write_message,
};
use crate::pick::error::PickError;
use crate::pick::feed::CameraFeed;
use crate::pick::task::TaskState;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
const RESET_TIMEOUT: Duration = Duration::from_secs(6);
/// How soon the reading thread notices that the client was dropped.
const POLL: Duration = Duration::from_millis(50);

/// Answers that nobody picked up are kept up to this number.
const MOST_ANSWERS: usize = 8;

type ResetAnswer = (u64, Option<String>);

#[derive(Debug, Default)]
struct Received {
    state: Mutex<Option<TaskState>>,
    ended: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// A connection to a simulator in another process. Cameras and task state are kept up to date by
/// a thread; dropping the client ends it.
#[derive(Debug)]
pub struct LinkClient {
    path: PathBuf,
    device: PathBuf,
    cameras: Vec<CameraFeed>,
    received: Arc<Received>,
    /// Held while a reset waits for its answer, so that two never mix theirs up.
    commands: Mutex<(UnixStream, Receiver<ResetAnswer>)>,
    thread: Option<JoinHandle<()>>,
}

impl LinkClient {
    /// Connects to the simulator that listens at `path`.
    ///
    /// # Errors
    /// [`PickError::Link`] when nobody listens there, [`PickError::Protocol`] when it is no
    /// simulator of this version.
    pub fn connect(path: &Path) -> Result<Self, PickError> {
        let failed = |e: std::io::Error| PickError::Link {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        let mut stream = UnixStream::connect(path).map_err(failed)?;
        stream
            .set_read_timeout(Some(HELLO_TIMEOUT))
            .map_err(failed)?;
        let mut decoder = Decoder::default();
        let (device, cameras) = greet(&mut stream, &mut decoder)?;
        stream.set_read_timeout(Some(POLL)).map_err(failed)?;
        let commands = stream.try_clone().map_err(failed)?;
        commands
            .set_write_timeout(Some(HELLO_TIMEOUT))
            .map_err(failed)?;
        let received = Arc::<Received>::default();
        let (answers, answered) = sync_channel(MOST_ANSWERS);
        let (feeds, shared) = (cameras.clone(), received.clone());
        let thread = std::thread::Builder::new()
            .name("pick-link-reader".to_owned())
            .spawn(move || {
                if let Err(e) = listen(&mut stream, &mut decoder, &feeds, &shared, &answers) {
                    *lock(&shared.ended) = Some(e.to_string());
                }
            })
            .map_err(|e| PickError::Spawn {
                thread: "pick-link-reader",
                reason: e.to_string(),
            })?;
        let path = path.to_owned();
        Ok(Self {
            path,
            device,
            cameras,
            received,
            commands: Mutex::new((commands, answered)),
            thread: Some(thread),
        })
    }

    /// The servo bus's pseudo-terminal.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// The cameras.
    pub fn cameras(&self) -> &[CameraFeed] {
        &self.cameras
    }

    /// The newest privileged task state; `None` before the first.
    ///
    /// # Errors
    /// [`PickError::Link`] once the connection has ended.
    pub fn task_state(&self) -> Result<Option<TaskState>, PickError> {
        self.check()?;
        Ok(*lock(&self.received.state))
    }

    /// Whether the connection still stands.
    ///
    /// # Errors
    /// [`PickError::Link`] once it has ended.
    pub fn check(&self) -> Result<(), PickError> {
        match &*lock(&self.received.ended) {
            Some(reason) => Err(self.failed(reason.clone())),
            None => Ok(()),
        }
    }

    /// Starts the episode of `seed` and waits until it has begun.
    ///
    /// # Errors
    /// [`PickError::Refused`] in the simulator's words, for example because the arm is in the way.
    pub fn reset(&self, seed: u64) -> Result<(), PickError> {
        self.check()?;
        let mut commands = lock(&self.commands);
        let (stream, answers) = &mut *commands;
        // An answer that came after its time-out is not ours.
        while answers.try_recv().is_ok() {}
        write_message(stream, &mut Vec::new(), &ClientMessage::Reset { seed }, &[])?;
        loop {
            match answers.recv_timeout(RESET_TIMEOUT) {
                Ok((for_seed, None)) if for_seed == seed => return Ok(()),
                Ok((for_seed, Some(reason))) if for_seed == seed => {
                    return Err(PickError::Refused { seed, reason });
                }
                Ok(_) => {}
                Err(_) => {
                    self.check()?;
                    let waited_ms = RESET_TIMEOUT.as_millis() as u64;
                    return Err(PickError::Timeout {
                        request: "reset",
                        waited_ms,
                    });
                }
            }
        }
    }

    fn failed(&self, reason: String) -> PickError {
        PickError::Link {
            path: self.path.clone(),
            reason,
        }
    }
}

impl Drop for LinkClient {
    fn drop(&mut self) {
        self.received.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the simulator link's reading thread panicked");
        }
    }
}

fn greet(
    stream: &mut UnixStream,
    decoder: &mut Decoder,
) -> Result<(PathBuf, Vec<CameraFeed>), PickError> {
    let first = read_message::<ServerMessage>(stream, decoder);
    let (message, _) = first.map_err(|e| e.into_error("the simulator did not say hello"))?;
    match message {
        ServerMessage::Hello {
            version: LINK_VERSION,
            device,
            cameras,
            ..
        } => Ok((
            device.into(),
            cameras.into_iter().map(CameraFeed::new).collect(),
        )),
        ServerMessage::Hello { version, .. } => Err(protocol(format!(
            "the simulator speaks version {version}, this is version {LINK_VERSION}"
        ))),
        _ => Err(protocol("the first message is not a hello".to_owned())),
    }
}

fn listen(
    stream: &mut UnixStream,
    decoder: &mut Decoder,
    cameras: &[CameraFeed],
    received: &Received,
    answers: &SyncSender<ResetAnswer>,
) -> Result<(), PickError> {
    while !received.stop.load(Ordering::Acquire) {
        let (message, payload) = match read_message::<ServerMessage>(stream, decoder) {
            Ok(message) => message,
            Err(e) if e.is_timeout() => continue,
            Err(e) => return Err(e.into_error("the simulator ended")),
        };
        match message {
            ServerMessage::Frame {
                camera,
                seq,
                captured_ns,
                width,
                height,
            } => {
                let frame = frame_from_parts(seq, captured_ns, width, height, payload)?;
                if let Some(feed) = cameras.iter().find(|feed| feed.info().name == camera) {
                    feed.publish(frame);
                }
            }
            ServerMessage::State { state } => *lock(&received.state) = Some(state),
            // Nobody may be waiting any more.
            ServerMessage::ResetDone { seed, error } => drop(answers.try_send((seed, error))),
            ServerMessage::Hello { .. } => return Err(protocol("a second hello".to_owned())),
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
