//! The thread that puts the running episode on the disk.
//!
//! Rows come from the recorder, packets from the encoders, over one bounded channel: when the disk
//! cannot keep up, encoders and recorder wait, and in the end the loop's ring drops whole rows.
//! Four times a second the cameras' files are flushed, then the records that speak of them.

use super::index::StreamHead;
use super::records::{self, Header, JOURNAL, MAGIC, PacketRecord, Record, RowRecord};
use super::stream::StreamFile;
use crate::error::{Error, Result};
use crate::fsio;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// From one flush to the next: a crash loses this and what the encoders hold.
const SYNC_EVERY: Duration = Duration::from_millis(250);
/// Rows and packets that wait for the disk.
const WAITING: usize = 64;
/// Name of the file that keeps space for finishing an episode on a full disk.
pub(crate) const BALLAST: &str = "ballast";
/// Its size grows in these steps, bytes.
const BALLAST_STEP: u64 = 2 << 20;

/// One encoded frame.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Frame within the episode, from 0.
    pub(crate) number: u64,
    /// As it stands in an MP4 file.
    pub(crate) bytes: Vec<u8>,
    /// Whether decoding can begin here.
    pub(crate) key: bool,
}

enum Message {
    Row(RowRecord),
    Task(String),
    Stream(u16, StreamHead),
    Packet(u16, Packet),
    Close,
}

/// What the writer's thread tells the others.
#[derive(Debug, Default)]
struct Status {
    /// Why writing ended.
    failed: OnceLock<String>,
    /// Rows that are on the disk with all their frames.
    durable: AtomicU64,
}

/// Where an encoder's thread puts its packets.
#[derive(Debug, Clone)]
pub(crate) struct PacketSink {
    camera: u16,
    messages: SyncSender<Message>,
}

/// Something that takes an encoder's packets.
pub(crate) trait TakePackets: Send + 'static {
    /// Gives the stream's description, before its first packet. False when nobody takes it.
    fn head(&self, head: StreamHead) -> bool;
    /// Gives a packet; may wait. False when nobody takes it.
    fn packet(&self, packet: Packet) -> bool;
}

impl TakePackets for PacketSink {
    fn head(&self, head: StreamHead) -> bool {
        self.messages
            .send(Message::Stream(self.camera, head))
            .is_ok()
    }

    /// Waits for the disk.
    fn packet(&self, packet: Packet) -> bool {
        self.messages
            .send(Message::Packet(self.camera, packet))
            .is_ok()
    }
}

/// What the writer leaves when it closes.
#[derive(Debug)]
pub(crate) struct Closed {
    /// The cameras' files, not yet finished.
    pub(crate) streams: Vec<StreamFile>,
    /// Rows written.
    pub(crate) rows: u64,
    /// Why not everything was written.
    pub(crate) failure: Option<Error>,
}

/// The recorder's side of the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    messages: SyncSender<Message>,
    thread: Option<JoinHandle<Closed>>,
    status: Arc<Status>,
}

impl Journal {
    /// Begins a journal in the empty folder `staging`, with one file for each of `streams`.
    pub(crate) fn start(staging: &Path, header: Header, streams: &[PathBuf]) -> Result<Self> {
        let status = Arc::new(Status::default());
        let writer = Writer::create(staging, header, streams, status.clone())?;
        let (messages, inbox) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&inbox))
            .map_err(|e| Error::Thread {
                problem: e.to_string(),
            })?;
        Ok(Self {
            messages,
            thread: Some(thread),
            status,
        })
    }

    /// Where the encoder of `camera` puts its packets.
    pub(crate) fn sink(&self, camera: u16) -> PacketSink {
        PacketSink {
            camera,
            messages: self.messages.clone(),
        }
    }

    /// Adds a row; waits for the disk. What became of it, [`Self::failure`] and [`Self::close`] say.
    pub(crate) fn row(&self, row: RowRecord) {
        let _ = self.messages.send(Message::Row(row));
    }

    /// Says that the rows from here on have another task.
    pub(crate) fn task(&self, task: &str) {
        let _ = self.messages.send(Message::Task(task.to_owned()));
    }

    /// Why something could not be written; what was before it is whole.
    pub(crate) fn failure(&self) -> Option<String> {
        self.status.failed.get().cloned()
    }

    /// Rows that a power cut would not take any more, frames included.
    pub(crate) fn durable(&self) -> u64 {
        self.status.durable.load(Ordering::Acquire)
    }

    /// Writes what waits and ends the thread. The encoders must have ended before.
    pub(crate) fn close(mut self) -> Result<Closed> {
        self.join().ok_or_else(|| Error::Thread {
            problem: "the journal's thread panicked".into(),
        })
    }

    fn join(&mut self) -> Option<Closed> {
        let _ = self.messages.send(Message::Close);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

struct Writer {
    staging: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes of the journal that are written whole.
    length: u64,
    /// Records that speak of data not yet flushed.
    pending: Vec<u8>,
    streams: Vec<StreamFile>,
    rows: u64,
    ballast: u64,
    /// Bytes of single pictures at the last look.
    pictures: u64,
    failure: Option<Error>,
    status: Arc<Status>,
}

impl Writer {
    fn create(
        staging: &Path,
        header: Header,
        streams: &[PathBuf],
        status: Arc<Status>,
    ) -> Result<Self> {
        let ballast = grow_ballast(staging, BALLAST_STEP)?;
        let path = staging.join(JOURNAL);
        let streams = streams
            .iter()
            .map(|path| StreamFile::create(path))
            .collect::<Result<Vec<_>>>()?;
        let mut bytes = MAGIC.to_vec();
        records::append(&mut bytes, &Record::Header(Box::new(header)))
            .map_err(|e| Error::spec(format!("the episode cannot be described: {e}")))?;
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&bytes).map(|()| file))
            .and_then(|file| file.sync_all().map(|()| file))
            .map_err(Error::io("write", &path))?;
        for stream in &streams {
            stream.sync()?;
        }
        fsio::sync_dir(staging)?;
        Ok(Self {
            staging: staging.to_owned(),
            path,
            file,
            length: bytes.len() as u64,
            pending: Vec::new(),
            streams,
            rows: 0,
            ballast,
            pictures: 0,
            failure: None,
            status,
        })
    }

    fn run(mut self, inbox: &Receiver<Message>) -> Closed {
        let mut synced = Instant::now();
        loop {
            let message = inbox.recv_timeout(SYNC_EVERY.saturating_sub(synced.elapsed()));
            match message {
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) if self.failure.is_none() => {
                    if let Err(error) = self.take(message) {
                        self.fail(error);
                    }
                }
                // After a failure senders must not wait for ever.
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            if synced.elapsed() >= SYNC_EVERY {
                if self.failure.is_none()
                    && let Err(error) = self.sync()
                {
                    self.fail(error);
                }
                synced = Instant::now();
            }
        }
        // The frames are flushed when their files are finished; here the records must be complete.
        if self.failure.is_none()
            && let Err(error) = self.write_pending()
        {
            self.fail(error);
        }
        Closed {
            streams: self.streams,
            rows: self.rows,
            failure: self.failure,
        }
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Row(row) => {
                self.record(&Record::Row(row))?;
                self.rows += 1;
            }
            Message::Task(task) => self.record(&Record::Task(task))?,
            Message::Stream(camera, head) => {
                self.record(&Record::Stream(camera, head.clone()))?;
                self.stream(camera)?.set_head(head);
            }
            Message::Packet(camera, packet) => {
                let stream = self.stream(camera)?;
                let crc = stream.append(&packet.bytes, packet.key)?;
                self.record(&Record::Packet(PacketRecord {
                    camera,
                    number: packet.number,
                    size: packet.bytes.len() as u32,
                    crc,
                    key: packet.key,
                }))?;
            }
            Message::Close => {}
        }
        Ok(())
    }

    fn stream(&mut self, camera: u16) -> Result<&mut StreamFile> {
        self.streams
            .get_mut(usize::from(camera))
            .ok_or_else(|| Error::spec(format!("there is no camera {camera}")))
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        records::append(&mut self.pending, record)
            .map_err(|e| Error::spec(format!("a record cannot be written: {e}")))
    }

    fn sync(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let frames = self.streams.iter().map(StreamFile::frames).min();
        let durable = frames.map_or(self.rows, |frames| frames.min(self.rows));
        for stream in &self.streams {
            stream.sync()?;
        }
        self.write_pending()?;
        self.file
            .sync_data()
            .map_err(Error::io("flush", &self.path))?;
        self.status.durable.store(durable, Ordering::Release);
        // The parquet file of these rows is about as large as they are here.
        // Pictures are copied into it. Until the next look they may become more.
        let pictures: u64 = self.streams.iter().map(StreamFile::bytes_to_copy).sum();
        let more = 2 * (pictures - std::mem::replace(&mut self.pictures, pictures));
        let wanted = (2 * self.length + pictures + more).next_multiple_of(BALLAST_STEP);
        if wanted > self.ballast {
            self.ballast = grow_ballast(&self.staging, wanted)?;
        }
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        if let Err(source) = self.file.write_all_at(&self.pending, self.length) {
            let _ = self.file.set_len(self.length);
            return Err(Error::Io {
                action: "write",
                path: self.path.clone(),
                source,
            });
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Keeps the first failure, and gives up the ballast so that what is good can be finished.
    fn fail(&mut self, error: Error) {
        drop_ballast(&self.staging);
        tracing::error!("the recording stops: {error}");
        if let Err(again) = self.write_pending() {
            tracing::error!("the last rows are lost too: {again}");
        }
        let _ = self.status.failed.set(error.to_string());
        self.failure = Some(error);
    }
}

/// Makes the ballast at least `wanted` bytes long, in real blocks, and returns its length.
fn grow_ballast(staging: &Path, wanted: u64) -> Result<u64> {
    let path = staging.join(BALLAST);
    let io = || Error::io("keep space in", &path);
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(io())?;
    let mut length = file.metadata().map_err(io())?.len();
    let zeros = vec![0; 1 << 16];
    while length < wanted {
        (&file).write_all(&zeros).map_err(io())?;
        length += zeros.len() as u64;
    }
    Ok(length)
}

/// Frees the space that was kept for finishing an episode.
pub(crate) fn drop_ballast(staging: &Path) {
    let _ = std::fs::remove_file(staging.join(BALLAST));
}
