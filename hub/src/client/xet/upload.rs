//! Uploads: one thread reads, cuts and packs; others send.

use super::Progress;
use super::cas::Cas;
use super::known::{Known, Place, XorbRef};
use crate::client::error::{ClientError, ClientResult};
use crate::xet::shard::{FileEntry, ShardBuilder, Term, XorbEntry};
use crate::xet::xorb::{Xorb, XorbBuilder};
use crate::xet::{Chunker, Compression, Hash, Tree, chunk_hash, is_dedup_eligible, range_hash};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Chunks between two that the store is asked for, as in Xet's own client.
const CHUNKS_BETWEEN_QUESTIONS: u64 = 256;
/// Files below this are not worth a question: to send one takes about as long, bytes.
const ASKED_FROM_BYTES: u64 = 256 << 10;
/// A shard is sent when it is as large, bytes.
const SHARD_BYTES: usize = 16 << 20;

/// How files are uploaded.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    /// Xorbs that are sent at the same time. Each takes up to 64 MiB of memory.
    pub connections: usize,
    /// How chunks are packed.
    pub compression: Compression,
    /// Whether the store is asked for chunks that others have uploaded.
    pub ask_for_chunks: bool,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            connections: 3,
            compression: Compression::ByContent,
            ask_for_chunks: true,
        }
    }
}

/// A file that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadedFile {
    /// Its name in the chunk store; zero when it is empty, and then it is nowhere.
    pub hash: Hash,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of its content, by which a commit refers to it.
    pub sha256: [u8; 32],
}

/// What an upload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UploadReport {
    /// Files in it.
    pub files: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Bytes that were known already.
    pub known_bytes: u64,
    /// Xorbs made.
    pub xorbs: u64,
    /// Bytes of all xorbs made.
    pub packed_bytes: u64,
}

/// Uploads files to a chunk store. Nothing refers to them before [`Uploader::finish`].
#[derive(Debug)]
pub struct Uploader {
    cas: Arc<Cas>,
    options: UploadOptions,
    progress: Arc<Progress>,
    known: Known,
    open: XorbBuilder,
    /// Xorbs of this upload, by number; the open one is not among them.
    made: Vec<XorbEntry>,
    /// Xorbs among them that are registered.
    registered: usize,
    /// Files that are not registered yet.
    files: Vec<ReadFile>,
    report: UploadReport,
    senders: Senders,
}

/// A file whose xorbs may not have names yet.
#[derive(Debug)]
struct ReadFile {
    file: UploadedFile,
    terms: Vec<(XorbRef, Term, Hash)>,
}

impl Uploader {
    /// Begins an upload.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(
        cas: Arc<Cas>,
        options: UploadOptions,
        progress: Arc<Progress>,
    ) -> ClientResult<Self> {
        let senders = Senders::start(&cas, &progress, options.connections.max(1))?;
        Ok(Self {
            open: XorbBuilder::new(options.compression),
            cas,
            options,
            progress,
            known: Known::default(),
            made: Vec::new(),
            registered: 0,
            files: Vec::new(),
            report: UploadReport::default(),
            senders,
        })
    }

    /// What it came to so far.
    pub fn report(&self) -> UploadReport {
        self.report
    }

    /// Reads a file to its end and takes care of its chunks. `name` is for messages.
    ///
    /// # Errors
    /// If it cannot be read, or the upload has failed meanwhile.
    pub fn add(&mut self, name: &str, content: impl Read) -> ClientResult<UploadedFile> {
        self.add_sized(name, u64::MAX, content)
    }

    /// The same of a file of about `size` bytes: for a small one the store is not asked what it knows of it.
    ///
    /// # Errors
    /// As [`Uploader::add`].
    pub fn add_sized(
        &mut self,
        name: &str,
        size: u64,
        mut content: impl Read,
    ) -> ClientResult<UploadedFile> {
        let mut reading = Reading {
            asks: self.options.ask_for_chunks && size >= ASKED_FROM_BYTES,
            ..Reading::default()
        };
        let mut chunker = Chunker::new();
        let mut sha256 = Sha256::new();
        let mut piece = vec![0; READ_BYTES];
        loop {
            let read = match content.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(ClientError::io(format!("read {name}"), e)),
            };
            let data = piece.get(..read).unwrap_or_default();
            sha256.update(data);
            chunker.push(data, |chunk| self.take(chunk, &mut reading))?;
            Progress::add(&self.progress.file_bytes, read);
        }
        chunker.finish(|chunk| self.take(chunk, &mut reading))?;
        let file = UploadedFile {
            size: reading.tree.size(),
            sha256: sha256.finalize().into(),
            hash: reading.tree.clone().file_hash(),
        };
        self.report.files += 1;
        self.report.file_bytes += file.size;
        let terms = reading.into_terms();
        // What is empty has no chunks and needs no store.
        if file.size > 0 {
            self.files.push(ReadFile { file, terms });
        }
        Ok(file)
    }

    /// Finds or packs one chunk of a file.
    fn take(&mut self, chunk: &[u8], reading: &mut Reading) -> ClientResult<()> {
        let hash = chunk_hash(chunk);
        let mut place = self.known.find(&hash, chunk.len());
        if place.is_none() && reading.may_ask(&hash) {
            self.ask_for(&hash);
            place = self.known.find(&hash, chunk.len());
        }
        let place = match place {
            Some(place) => {
                self.report.known_bytes += chunk.len() as u64;
                Progress::add(&self.progress.known_bytes, chunk.len());
                place
            }
            None => self.pack(hash, chunk)?,
        };
        reading.add(hash, chunk.len(), place);
        Ok(())
    }

    /// A store that cannot tell costs nothing but bytes.
    fn ask_for(&mut self, chunk: &Hash) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_secs());
        let learnt = self.cas.find_chunk(chunk).and_then(|answer| match answer {
            Some(answer) => self.known.learn(&answer, now),
            None => Ok(()),
        });
        if let Err(error) = learnt {
            tracing::debug!(%error, "the store does not tell which chunks it has");
        }
    }

    fn pack(&mut self, hash: Hash, chunk: &[u8]) -> ClientResult<Place> {
        if !self.open.fits(chunk.len()) {
            self.close_xorb()?;
        }
        let xorb = self.made.len();
        let number = self.open.push(hash, chunk)?;
        self.known.add(hash, xorb, number);
        Ok(Place {
            xorb: XorbRef::Own(xorb),
            chunk: number,
        })
    }

    /// Gives the open xorb to the threads that send.
    fn close_xorb(&mut self) -> ClientResult<()> {
        let next = XorbBuilder::new(self.options.compression);
        if let Some(xorb) = std::mem::replace(&mut self.open, next).finish() {
            self.made.push(XorbEntry::of(xorb.hash, &xorb.table));
            self.report.xorbs += 1;
            self.report.packed_bytes += xorb.packed.len() as u64;
            self.senders.send(xorb)?;
        }
        Ok(())
    }

    /// Registers what was read so far, so that an interruption does not lose it.
    ///
    /// # Errors
    /// As [`Uploader::finish`].
    pub fn checkpoint(&mut self) -> ClientResult<()> {
        self.register()?;
        self.senders = Senders::start(&self.cas, &self.progress, self.options.connections.max(1))?;
        Ok(())
    }

    /// Waits until every xorb is in the store, then registers the files.
    ///
    /// # Errors
    /// If the store refuses or cannot be reached. The same upload, begun again, sends only what the store
    /// does not have.
    pub fn finish(mut self) -> ClientResult<UploadReport> {
        self.register()?;
        Ok(self.report)
    }

    fn register(&mut self) -> ClientResult<()> {
        self.close_xorb()?;
        self.senders.wait()?;
        let mut shard = ShardBuilder::new();
        for file in std::mem::take(&mut self.files) {
            shard.add_file(self.entry(&file)?)?;
            self.send_shard(&mut shard, SHARD_BYTES)?;
        }
        for xorb in self.made.get(self.registered..).unwrap_or_default() {
            shard.add_xorb(xorb.clone())?;
            self.send_shard(&mut shard, SHARD_BYTES)?;
        }
        self.registered = self.made.len();
        self.send_shard(&mut shard, 0)
    }

    fn send_shard(&self, shard: &mut ShardBuilder, from: usize) -> ClientResult<()> {
        if !shard.is_empty() && shard.upload_len() >= from {
            self.cas.put_shard(&std::mem::take(shard).upload())?;
        }
        Ok(())
    }

    /// What a shard says of a file, now that all xorbs have names.
    fn entry(&self, read: &ReadFile) -> ClientResult<FileEntry> {
        let mut terms = Vec::with_capacity(read.terms.len());
        let mut range_hashes = Vec::with_capacity(read.terms.len());
        for (xorb, term, range_hash) in &read.terms {
            let name = match xorb {
                XorbRef::Named(name) => Some(*name),
                XorbRef::Own(number) => self.made.get(*number).map(|xorb| xorb.hash),
            };
            let unnamed = || ClientError::protocol("upload", "a xorb has no name");
            terms.push(Term {
                xorb: name.ok_or_else(unnamed)?,
                ..*term
            });
            range_hashes.push(*range_hash);
        }
        Ok(FileEntry {
            hash: read.file.hash,
            terms,
            range_hashes: Some(range_hashes),
            sha256: Some(read.file.sha256),
        })
    }
}

/// A file that is being read: its terms so far.
#[derive(Debug, Default)]
struct Reading {
    tree: Tree,
    terms: Vec<(XorbRef, Term, Hash)>,
    /// The term that the next chunk may belong to.
    open: Option<(XorbRef, Term)>,
    /// The hashes of its chunks.
    open_hashes: Vec<Hash>,
    /// Whether the store is asked at all.
    asks: bool,
    /// The number of the chunk from which on the store may be asked.
    ask_from: u64,
}

impl Reading {
    /// Whether the store should be asked for the next chunk, which is this one.
    fn may_ask(&mut self, chunk: &Hash) -> bool {
        let number = self.tree.chunks();
        let may = self.asks && (number == 0 || number >= self.ask_from && is_dedup_eligible(chunk));
        if may {
            self.ask_from = number + CHUNKS_BETWEEN_QUESTIONS;
        }
        may
    }

    fn add(&mut self, hash: Hash, len: usize, place: Place) {
        self.tree.push(hash, len as u64);
        let len = len as u32;
        match &mut self.open {
            Some((xorb, term))
                if *xorb == place.xorb
                    && term.end == place.chunk
                    && term.raw_len.checked_add(len).is_some() =>
            {
                term.end += 1;
                term.raw_len += len;
            }
            _ => {
                self.close();
                let term = Term {
                    xorb: Hash::ZERO,
                    raw_len: len,
                    start: place.chunk,
                    end: place.chunk + 1,
                };
                self.open = Some((place.xorb, term));
            }
        }
        self.open_hashes.push(hash);
    }

    fn close(&mut self) {
        if let Some((xorb, term)) = self.open.take() {
            self.terms.push((xorb, term, range_hash(&self.open_hashes)));
        }
        self.open_hashes.clear();
    }

    fn into_terms(mut self) -> Vec<(XorbRef, Term, Hash)> {
        self.close();
        self.terms
    }
}

/// Threads that send xorbs.
#[derive(Debug)]
struct Senders {
    queue: Option<SyncSender<Xorb>>,
    failure: Arc<Mutex<Option<ClientError>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    fn start(cas: &Arc<Cas>, progress: &Arc<Progress>, count: usize) -> ClientResult<Self> {
        // No room in the queue: a xorb waits with the thread that made it.
        let (queue, xorbs) = sync_channel(0);
        let xorbs = Arc::new(Mutex::new(xorbs));
        let mut senders = Self {
            queue: Some(queue),
            failure: Arc::default(),
            threads: Vec::with_capacity(count),
        };
        for number in 0..count {
            let (cas, progress) = (cas.clone(), progress.clone());
            let (xorbs, failure) = (xorbs.clone(), senders.failure.clone());
            let thread = std::thread::Builder::new().name(format!("hub-send-{number}"));
            let thread = thread.spawn(move || send_all(&cas, &progress, &xorbs, &failure));
            let thread = thread.map_err(|e| ClientError::io("start a thread", e))?;
            senders.threads.push(thread);
        }
        Ok(senders)
    }

    /// Waits for a free thread.
    fn send(&mut self, xorb: Xorb) -> ClientResult<()> {
        let sent = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.send(xorb).is_ok());
        self.check()?;
        match sent {
            true => Ok(()),
            false => Err(ClientError::protocol(
                "upload",
                "the threads that send have ended",
            )),
        }
    }

    fn check(&self) -> ClientResult<()> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }

    /// Waits until everything is sent.
    fn wait(&mut self) -> ClientResult<()> {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                return Err(ClientError::protocol(
                    "upload",
                    "a thread that sends has panicked",
                ));
            }
        }
        self.check()
    }
}

/// Sends xorbs until there are no more or one fails for good; after that takes them without sending, so
/// that nobody waits.
fn send_all(
    cas: &Cas,
    progress: &Progress,
    xorbs: &Mutex<Receiver<Xorb>>,
    failure: &Mutex<Option<ClientError>>,
) {
    let mut failed = false;
    loop {
        let next = xorbs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(xorb) = next else { return };
        if failed {
            continue;
        }
        // After an interruption most xorbs are there already.
        let sent = match cas.has_xorb(&xorb.hash) {
            Ok(true) => Ok(()),
            _ => cas.put_xorb(&xorb),
        };
        match sent {
            Ok(()) => Progress::add(&progress.wire_bytes, xorb.packed.len()),
            Err(error) => {
                failed = true;
                let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
            }
        }
    }
}
