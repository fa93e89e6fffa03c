//! An encoder of ours on a thread of its own, behind a bounded queue.

use crate::error::{Error, Result};
use sinew_runtime::frame::Frame;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Frames that may wait.
const QUEUE_FRAMES: usize = 32;

/// What encodes.
pub(super) trait EncodeFrames: Send + 'static {
    /// Encodes the next frame and gives its packets away.
    fn frame(&mut self, frame: &Frame) -> Result<()>;
    /// Gives the last packets away.
    fn end(self) -> Result<()>;
}

/// The sending side.
#[derive(Debug)]
pub(super) struct Worker {
    path: PathBuf,
    frames: Option<SyncSender<Arc<Frame>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Worker {
    /// Starts the thread `name`; `path` is for messages.
    pub(super) fn start(name: &str, path: &Path, mut encoder: impl EncodeFrames) -> Result<Self> {
        let (frames, queue) = sync_channel::<Arc<Frame>>(QUEUE_FRAMES);
        let work = move || {
            for frame in queue {
                encoder.frame(&frame)?;
            }
            encoder.end()
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work);
        let thread = thread.map_err(|e| Error::Thread {
            problem: e.to_string(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            frames: Some(frames),
            thread: Some(thread),
        })
    }

    /// Queues the next frame. Waits while the queue is full.
    pub(super) fn push(&mut self, frame: Arc<Frame>) -> Result<()> {
        let sent = self.frames.as_ref().map(|frames| frames.send(frame));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.join().err().unwrap_or_else(|| self.stopped())),
        }
    }

    /// Encodes what is queued; when this returns, all packets have been given away.
    pub(super) fn finish(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.frames = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> Error {
        Error::video(&self.path, "the encoder stopped")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Whoever drops it does not care any more.
            let _ = self.join();
        }
    }
}
