//! Downloads: pieces of a file are fetched at the same time, written in order, and checked.

use super::Progress;
use super::cas::Cas;
use crate::client::error::{ClientError, ClientResult};
use crate::xet::reconstruction::{AnswerTerm, V2, XorbSpan};
use crate::xet::xorb::{ChunkHeader, Unpacker};
use crate::xet::{Chunker, Hash, Tree, XetError, chunk_hash};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

/// Bytes of a file that one thread fetches at a time. It holds them twice, packed and unpacked.
const PIECE_BYTES: u64 = 16 << 20;
/// Times that the store is asked for new addresses of one piece.
const FRESH_ADDRESSES: usize = 3;
/// Most raw bytes that a store may make us fetch for one piece.
const FETCH_LIMIT_BYTES: usize = 8 * PIECE_BYTES as usize;

/// How a file is downloaded.
#[derive(Debug, Clone)]
pub struct DownloadOptions {
    /// Pieces that are fetched at the same time.
    pub connections: usize,
    /// Where it is written before it is checked, on the same file system; beside it, with `.part` added to
    /// its name, unless said otherwise.
    pub part: Option<PathBuf>,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        Self {
            connections: 6,
            part: None,
        }
    }
}

/// A part of a file, and the chunks that it was made from.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// Where each chunk begins in the file, its hash and size. The first and the last may reach out of the
    /// piece.
    chunks: Vec<(u64, Hash, u64)>,
}

/// Downloads the file named `file`, `size` bytes long, to `path`. It is written beside it under the name
/// with `.part` added, checked, and moved; what an interrupted download left there is used.
///
/// # Errors
/// If it cannot be fetched or written, or is not what was asked for.
pub fn download(
    cas: &Cas,
    file: &Hash,
    size: u64,
    path: &Path,
    options: &DownloadOptions,
    progress: &Progress,
) -> ClientResult<()> {
    let beside = || {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        path.with_file_name(name)
    };
    let part = options.part.clone().unwrap_or_else(beside);
    let job = Job {
        cas,
        file,
        size,
        options,
        progress,
        part: &part,
    };
    let mut out = job.open()?;
    let resumed = job.resume(&mut out, size)?;
    let kept = resumed.size();
    let done = match job.fetch(&mut out, resumed) {
        // What was left of an earlier try is of something else.
        Err(ClientError::Damaged { .. } | ClientError::Protocol { .. }) if kept > 0 => {
            let anew = job.resume(&mut out, 0)?;
            job.fetch(&mut out, anew)
        }
        done => done,
    };
    if let Err(ClientError::Damaged { .. }) = done {
        let _ = std::fs::remove_file(&part);
    }
    done?;
    out.sync_all().map_err(|e| job.io("write", e))?;
    let moved = std::fs::rename(&part, path);
    moved.map_err(|e| ClientError::io(format!("write {}", path.display()), e))
}

/// The bytes in a range of a file; fewer when the file ends. Not checked against the file's hash.
///
/// # Errors
/// If they cannot be fetched.
pub fn read_range(cas: &Cas, file: &Hash, range: Range<u64>) -> ClientResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let piece = fetch_piece(
            cas,
            file,
            at..range.end.min(at + PIECE_BYTES),
            &Progress::default(),
        )?;
        let wanted = range.end.min(at + PIECE_BYTES) - at;
        at += piece.bytes.len() as u64;
        let ended = (piece.bytes.len() as u64) < wanted;
        bytes.extend(piece.bytes);
        if ended {
            break;
        }
    }
    Ok(bytes)
}

/// One download.
#[derive(Debug, Clone, Copy)]
struct Job<'a> {
    cas: &'a Cas,
    file: &'a Hash,
    size: u64,
    options: &'a DownloadOptions,
    progress: &'a Progress,
    /// Where it is written.
    part: &'a Path,
}

impl Job<'_> {
    fn io(&self, action: &str, error: std::io::Error) -> ClientError {
        ClientError::io(format!("{action} {}", self.part.display()), error)
    }

    fn open(&self) -> ClientResult<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.part).map_err(|e| self.io("write", e))
    }

    /// Cuts the file off after the last chunk that is certainly whole within `size` bytes; the tree of
    /// what stays.
    fn resume(&self, out: &mut File, size: u64) -> ClientResult<Tree> {
        let mut tree = Tree::new();
        let mut chunker = Chunker::new();
        let mut piece = vec![0; 1 << 20];
        out.rewind().map_err(|e| self.io("read", e))?;
        let mut content = Read::by_ref(out).take(size);
        loop {
            let read = content.read(&mut piece).map_err(|e| self.io("read", e))?;
            if read == 0 {
                break;
            }
            chunker.push(piece.get(..read).unwrap_or_default(), |chunk| {
                tree.push(chunk_hash(chunk), chunk.len() as u64);
                Ok::<_, ClientError>(())
            })?;
        }
        out.set_len(tree.size()).map_err(|e| self.io("write", e))?;
        let end = out.seek(SeekFrom::Start(tree.size()));
        end.map_err(|e| self.io("write", e))?;
        Progress::add(&self.progress.file_bytes, tree.size() as usize);
        Ok(tree)
    }

    /// Fetches everything after what `tree` has, appends it to `out`, and compares the hash of the whole.
    fn fetch(&self, out: &mut File, mut tree: Tree) -> ClientResult<()> {
        let start = tree.size();
        let pieces = self.size.saturating_sub(start).div_ceil(PIECE_BYTES);
        let range_of = |piece: u64| {
            let at = start + piece * PIECE_BYTES;
            at..self.size.min(at + PIECE_BYTES)
        };
        let stop = AtomicBool::new(false);
        let workers = pieces.min(self.options.connections.max(1) as u64);
        std::thread::scope(|scope| {
            let mut results = Vec::new();
            for number in 0..workers {
                // A finished piece waits with its thread until its turn to be written.
                let (done, result) = sync_channel(0);
                let stop = &stop;
                let thread = std::thread::Builder::new().name(format!("hub-fetch-{number}"));
                // Pieces go round the threads, so that the writer knows whose turn it is.
                let fetch = move || {
                    for piece in (number..pieces).step_by(workers as usize) {
                        let fetched =
                            fetch_piece(self.cas, self.file, range_of(piece), self.progress);
                        if stop.load(Ordering::Relaxed) || done.send(fetched).is_err() {
                            return;
                        }
                    }
                };
                let spawned = thread.spawn_scoped(scope, fetch);
                spawned.map_err(|e| ClientError::io("start a thread", e))?;
                results.push(result);
            }
            for (piece, result) in (0..pieces).zip(results.iter().cycle()) {
                let lost =
                    |_| ClientError::protocol("download", "a thread that fetches has panicked");
                let fetched = result.recv().map_err(lost).flatten();
                let written = fetched
                    .and_then(|fetched| self.write(out, &mut tree, &fetched, range_of(piece)));
                if written.is_err() {
                    stop.store(true, Ordering::Relaxed);
                    return written;
                }
            }
            Ok(())
        })?;
        self.check(tree)
    }

    fn write(
        &self,
        out: &mut File,
        tree: &mut Tree,
        piece: &Piece,
        range: Range<u64>,
    ) -> ClientResult<()> {
        if piece.bytes.len() as u64 != range.end - range.start {
            return Err(self.misfit());
        }
        add_chunks(self.file, tree, &piece.chunks)?;
        out.write_all(&piece.bytes)
            .map_err(|e| self.io("write", e))?;
        Progress::add(&self.progress.file_bytes, piece.bytes.len());
        Ok(())
    }

    fn check(&self, tree: Tree) -> ClientResult<()> {
        if tree.size() != self.size {
            return Err(self.misfit());
        }
        match tree.file_hash() {
            found if found == *self.file => Ok(()),
            found => Err(ClientError::Damaged {
                expected: *self.file,
                found,
            }),
        }
    }

    fn misfit(&self) -> ClientError {
        let problem = format!(
            "it has not the {} bytes that its repository states",
            self.size
        );
        ClientError::protocol(&format!("file {}", self.file), problem)
    }
}

/// Adds the chunks that the tree does not have yet: the first of a piece is often the last of the one before.
fn add_chunks(file: &Hash, tree: &mut Tree, chunks: &[(u64, Hash, u64)]) -> ClientResult<()> {
    for (start, hash, len) in chunks {
        if start + len <= tree.size() {
            continue;
        }
        if *start != tree.size() {
            return Err(ClientError::protocol(
                &format!("file {file}"),
                "its chunks do not follow each other",
            ));
        }
        tree.push(*hash, *len);
    }
    Ok(())
}

/// Fetches a range of a file, which is not empty. Addresses that have expired are asked for again.
fn fetch_piece(
    cas: &Cas,
    file: &Hash,
    range: Range<u64>,
    progress: &Progress,
) -> ClientResult<Piece> {
    for _ in 0..FRESH_ADDRESSES {
        let plan = cas.reconstruction(file, &range)?;
        if let Some(spans) = fetch_spans(cas, &plan, progress)? {
            return assemble(file, &plan, &spans, &range);
        }
    }
    Err(ClientError::protocol(
        &format!("file {file}"),
        "the store's addresses are refused by the store",
    ))
}

/// The raw chunks of a span of a xorb: their bytes, and where each ends.
#[derive(Debug, Default)]
struct SpanChunks {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// All spans of a plan by xorb and first chunk; `None` when an address has expired.
type Spans = HashMap<Hash, Vec<(XorbSpan, SpanChunks)>>;

fn fetch_spans(cas: &Cas, plan: &V2, progress: &Progress) -> ClientResult<Option<Spans>> {
    let mut spans = Spans::new();
    let mut fetched = 0;
    for (xorb, fetches) in &plan.xorbs {
        for (url, span) in fetches
            .iter()
            .flat_map(|fetch| fetch.ranges.iter().map(|span| (&fetch.url, span)))
        {
            let Some(packed) = cas.fetch(url, &span.bytes)? else {
                return Ok(None);
            };
            Progress::add(&progress.wire_bytes, packed.len());
            let mut chunks = SpanChunks::default();
            let mut unpacker = Unpacker::new();
            unpacker.push(&packed, |_: ChunkHeader, raw: &[u8]| {
                chunks.bytes.extend_from_slice(raw);
                chunks.ends.push(chunks.bytes.len());
                Ok::<_, XetError>(())
            })?;
            unpacker.finish()?;
            fetched += chunks.bytes.len();
            if fetched > FETCH_LIMIT_BYTES {
                let problem = format!(
                    "more than {FETCH_LIMIT_BYTES} bytes are to be fetched for {PIECE_BYTES}"
                );
                return Err(ClientError::protocol("fetching a file", problem));
            }
            spans.entry(*xorb).or_default().push((*span, chunks));
        }
    }
    Ok(Some(spans))
}

/// Puts the terms together and cuts out the range.
fn assemble(file: &Hash, plan: &V2, spans: &Spans, range: &Range<u64>) -> ClientResult<Piece> {
    let wrong = |problem: String| ClientError::protocol(&format!("file {file}"), problem);
    let start = range.start.checked_sub(plan.offset_into_first_range);
    let mut at = start.ok_or_else(|| wrong("it begins before its beginning".into()))?;
    let wanted = (range.end - range.start) as usize;
    let mut piece = Piece {
        bytes: Vec::with_capacity(wanted),
        chunks: Vec::new(),
    };
    for term in &plan.terms {
        let before = at;
        if piece.bytes.len() == wanted {
            return Err(wrong("it has more parts than asked for".into()));
        }
        for chunk in
            chunks_of(term, spans).ok_or_else(|| wrong("a part of it is missing".into()))?
        {
            piece
                .chunks
                .push((at, chunk_hash(chunk), chunk.len() as u64));
            let skip = range.start.saturating_sub(at).min(chunk.len() as u64) as usize;
            let room = wanted - piece.bytes.len();
            let rest = chunk.get(skip..).unwrap_or_default();
            piece
                .bytes
                .extend_from_slice(rest.get(..room.min(rest.len())).unwrap_or_default());
            at += chunk.len() as u64;
        }
        if at - before != u64::from(term.unpacked_length) {
            return Err(wrong("a part of it has another size than stated".into()));
        }
    }
    Ok(piece)
}

/// The raw chunks of a term.
fn chunks_of<'s>(term: &AnswerTerm, spans: &'s Spans) -> Option<impl Iterator<Item = &'s [u8]>> {
    let (start, end) = (term.range.start, term.range.end);
    let is_inside = |span: &XorbSpan| span.chunks.start <= start && end <= span.chunks.end;
    let (span, chunks) = spans
        .get(&term.hash)?
        .iter()
        .find(|(span, _)| is_inside(span))?;
    let first = (start - span.chunks.start) as usize;
    let ends = chunks.ends.get(first..(end - span.chunks.start) as usize)?;
    let start = match first {
        0 => 0,
        _ => *chunks.ends.get(first - 1)?,
    };
    Some(ends.iter().scan(start, |at, end| {
        let chunk = chunks.bytes.get(*at..*end)?;
        *at = *end;
        Some(chunk)
    }))
}
