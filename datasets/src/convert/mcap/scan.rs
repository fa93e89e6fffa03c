//! Reads an MCAP file from start to end, whole or damaged, with bounded memory.
//!
//! The file's own index is not used: a file that was cut off has none, and one pass needs none. What
//! is damaged is left out and said; what is whole is given on.

use super::unpack::unpack;
use crate::error::{Error, Result};
use mcap::records::{ChunkHeader, Metadata, Record, op};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

/// Largest record that is read, bytes; chunks have a megabyte or so.
const RECORD_LIMIT: u64 = 256 << 20;
/// Memory for the descriptions of all channels, bytes.
const CHANNELS_LIMIT: usize = 64 << 20;
/// Problems that are kept in words; what lies beyond is only counted.
const PROBLEM_LIMIT: usize = 20;
/// Opcode and length.
const RECORD_HEAD: usize = 9;

/// A topic of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Channel {
    pub(crate) topic: String,
    /// The message type, such as `sensor_msgs/msg/JointState`.
    pub(crate) schema: String,
    /// How messages are encoded; `cdr` is ROS 2.
    pub(crate) encoding: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A message on a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) channel: &'a Rc<Channel>,
    pub(crate) sequence: u32,
    /// When it was recorded, ns since the epoch.
    pub(crate) log_ns: u64,
    pub(crate) data: &'a [u8],
}

/// What a file holds, in the order in which it holds it.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A topic, before its first message.
    Channel(&'a Channel),
    Message(Message<'a>),
    Metadata(&'a Metadata),
}

/// What of a file is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Damage {
    /// In words, with the place.
    pub(crate) problems: Vec<String>,
    /// How many there are.
    pub(crate) count: u64,
}

impl Damage {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        self.count += 1;
        if self.problems.len() < PROBLEM_LIMIT {
            self.problems.push(problem());
        }
    }
}

/// Whoever takes what a file holds, and whether more is wanted.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Event<'_>) -> Result<ControlFlow<()>>;

/// Gives everything in the file `source` to `take`. `path` is for messages.
///
/// # Errors
/// [`Error::Mcap`] if this is no MCAP file at all, [`Error::Io`] from reading, and what `take` gives.
pub(crate) fn scan(path: &Path, source: impl Read, take: Take<'_>) -> Result<Damage> {
    let mut scan = Scan {
        path,
        take,
        schemas: HashMap::new(),
        channels: HashMap::new(),
        held: 0,
        damage: Damage::default(),
    };
    // A break is no failure: nothing more was wanted.
    let _: ControlFlow<()> = scan.file(source)?;
    Ok(scan.damage)
}

struct Scan<'a> {
    path: &'a Path,
    take: Take<'a>,
    /// Names of the message types.
    schemas: HashMap<u16, String>,
    channels: HashMap<u16, Rc<Channel>>,
    /// Memory for channels, bytes.
    held: usize,
    damage: Damage,
}

impl Scan<'_> {
    fn file(&mut self, mut source: impl Read) -> Result<ControlFlow<()>> {
        let mut magic = Vec::new();
        self.fill(&mut source, mcap::MAGIC.len() as u64, &mut magic)?;
        if magic != mcap::MAGIC {
            return Err(Error::mcap(
                self.path,
                "it does not begin like an MCAP file; ROS 1 bags and other formats are not read",
            ));
        }
        let mut at = magic.len() as u64;
        let (mut head, mut body) = (Vec::new(), Vec::new());
        loop {
            self.fill(&mut source, RECORD_HEAD as u64, &mut head)?;
            let Some((opcode, length)) = record_head(&head) else {
                self.cut_off(at);
                return Ok(ControlFlow::Continue(()));
            };
            match opcode {
                // What follows is the index.
                op::DATA_END | op::FOOTER => return Ok(ControlFlow::Continue(())),
                0 => {
                    self.damage
                        .add(|| format!("damaged at byte {at}; what follows cannot be found"));
                    return Ok(ControlFlow::Continue(()));
                }
                _ => {}
            }
            let wanted = opcode == op::CHUNK || is_known(opcode);
            let read = if wanted && length <= RECORD_LIMIT {
                self.fill(&mut source, length, &mut body)?;
                body.len() as u64
            } else {
                if wanted {
                    self.damage
                        .add(|| format!("the record at byte {at} claims {length} bytes"));
                }
                std::io::copy(&mut source.by_ref().take(length), &mut std::io::sink())
                    .map_err(Error::io("read", self.path))?
            };
            if read < length {
                self.cut_off(at);
            }
            if wanted && length <= RECORD_LIMIT {
                let flow = match opcode {
                    op::CHUNK => self.chunk(&body, at, read == length)?,
                    _ if read == length => self.record(opcode, &body, at)?,
                    _ => ControlFlow::Continue(()),
                };
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            if read < length {
                return Ok(ControlFlow::Continue(()));
            }
            at += RECORD_HEAD as u64 + length;
        }
    }

    fn cut_off(&mut self, at: u64) {
        self.damage
            .add(|| format!("the file was cut off, in the record at byte {at}"));
    }

    /// Reads up to `length` bytes; less only at the end of the file. Memory grows with what is there.
    fn fill(&self, source: &mut impl Read, length: u64, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        source
            .by_ref()
            .take(length)
            .read_to_end(into)
            .map_err(Error::io("read", self.path))?;
        Ok(())
    }

    /// The records of a chunk, of which the end may be missing.
    fn chunk(&mut self, body: &[u8], at: u64, whole: bool) -> Result<ControlFlow<()>> {
        let Some((header, data)) = chunk_parts(body) else {
            if whole {
                self.damage
                    .add(|| format!("the chunk at byte {at} makes no sense"));
            }
            return Ok(ControlFlow::Continue(()));
        };
        let unpacked = unpack(&header.compression, data, header.uncompressed_size, whole);
        let records = match unpacked {
            Ok(records) => records,
            Err(problem) => {
                self.damage
                    .add(|| format!("the chunk at byte {at} is lost: {problem}"));
                return Ok(ControlFlow::Continue(()));
            }
        };
        let crc = header.uncompressed_crc;
        if whole && crc != 0 && crc32fast::hash(&records) != crc {
            self.damage
                .add(|| format!("the chunk at byte {at} is lost: its checksum does not fit"));
            return Ok(ControlFlow::Continue(()));
        }
        let mut rest = &records[..];
        while let Some((opcode, length)) = record_head(rest) {
            let end = usize::try_from(length)
                .ok()
                .and_then(|n| n.checked_add(RECORD_HEAD));
            let Some(record) = end.and_then(|end| rest.get(RECORD_HEAD..end)) else {
                if whole {
                    self.damage
                        .add(|| format!("records of the chunk at byte {at} are lost"));
                }
                return Ok(ControlFlow::Continue(()));
            };
            if self.record(opcode, record, at)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            rest = &rest[RECORD_HEAD + record.len()..];
        }
        Ok(ControlFlow::Continue(()))
    }

    fn record(&mut self, opcode: u8, body: &[u8], at: u64) -> Result<ControlFlow<()>> {
        if !is_known(opcode) {
            return Ok(ControlFlow::Continue(()));
        }
        let parsed = texts_fit(opcode, body).then(|| mcap::parse_record(opcode, body));
        let Some(Ok(record)) = parsed else {
            self.damage
                .add(|| format!("a record at byte {at} makes no sense"));
            return Ok(ControlFlow::Continue(()));
        };
        match record {
            Record::Schema { header, .. } => {
                if self.hold(header.name.len()) {
                    self.schemas.insert(header.id, header.name);
                }
                Ok(ControlFlow::Continue(()))
            }
            Record::Channel(channel) => self.channel(channel),
            Record::Message { header, data } => {
                let Some(channel) = self.channels.get(&header.channel_id) else {
                    self.damage
                        .add(|| format!("a message at byte {at} belongs to no topic"));
                    return Ok(ControlFlow::Continue(()));
                };
                (self.take)(Event::Message(Message {
                    channel,
                    sequence: header.sequence,
                    log_ns: header.log_time,
                    data: &data,
                }))
            }
            Record::Metadata(metadata) => (self.take)(Event::Metadata(&metadata)),
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn channel(&mut self, channel: mcap::records::Channel) -> Result<ControlFlow<()>> {
        let texts = channel.metadata.iter().map(|(k, v)| k.len() + v.len());
        let size = texts.sum::<usize>() + channel.topic.len() + channel.message_encoding.len();
        // Repeated in every chunk by some writers.
        if self.channels.contains_key(&channel.id) || !self.hold(size) {
            return Ok(ControlFlow::Continue(()));
        }
        let schema = self.schemas.get(&channel.schema_id).cloned();
        let described = Channel {
            topic: channel.topic,
            schema: schema.unwrap_or_default(),
            encoding: channel.message_encoding,
            metadata: channel.metadata,
        };
        let flow = (self.take)(Event::Channel(&described))?;
        self.channels.insert(channel.id, Rc::new(described));
        Ok(flow)
    }

    /// Whether there is memory for another description.
    fn hold(&mut self, size: usize) -> bool {
        let fits = self.held + size <= CHANNELS_LIMIT;
        if fits {
            self.held += size + 64;
        } else {
            self.damage
                .add(|| "it describes more topics than are read".into());
        }
        fits
    }
}

/// Records that are looked at.
fn is_known(opcode: u8) -> bool {
    matches!(
        opcode,
        op::SCHEMA | op::CHANNEL | op::MESSAGE | op::METADATA
    )
}

/// Whether the texts of a record end within it. The parser takes memory for as many bytes as a text
/// claims to have, before it looks for them.
fn texts_fit(opcode: u8, body: &[u8]) -> bool {
    /// The rest after `count` texts, each with its length before it.
    fn after(mut rest: &[u8], count: usize) -> Option<&[u8]> {
        for _ in 0..count {
            let (length, text) = rest.split_first_chunk()?;
            rest = text.get(u32::from_le_bytes(*length) as usize..)?;
        }
        Some(rest)
    }
    /// Whether a table of texts, its bytes counted before it, holds whole ones.
    fn table(rest: &[u8]) -> Option<()> {
        let (length, rest) = rest.split_first_chunk()?;
        let mut rest = rest.get(..u32::from_le_bytes(*length) as usize)?;
        while !rest.is_empty() {
            rest = after(rest, 2)?;
        }
        Some(())
    }
    let fits = match opcode {
        // Number; name, encoding, data.
        op::SCHEMA => body.get(2..).and_then(|rest| after(rest, 3)).map(drop),
        // Number, schema; topic, encoding; table.
        op::CHANNEL => body
            .get(4..)
            .and_then(|rest| after(rest, 2))
            .and_then(table),
        op::METADATA => after(body, 1).and_then(table),
        _ => Some(()),
    };
    fits.is_some()
}

fn record_head(bytes: &[u8]) -> Option<(u8, u64)> {
    let (opcode, rest) = bytes.split_first()?;
    Some((*opcode, u64::from_le_bytes(*rest.first_chunk()?)))
}

/// The head of a chunk and its records, of which the end may be missing.
fn chunk_parts(body: &[u8]) -> Option<(ChunkHeader, &[u8])> {
    // Start, end, size (8 bytes each), checksum (4), name of the compression, compressed size (8).
    let name_length = u32::from_le_bytes(*body.get(28..)?.first_chunk()?) as usize;
    let name = body.get(32..)?.get(..name_length)?;
    let rest = &body[32 + name_length..];
    let long = |at: usize| Some(u64::from_le_bytes(*body.get(at..)?.first_chunk()?));
    let compressed_size = u64::from_le_bytes(*rest.first_chunk()?);
    let data = &rest[8..];
    let data = match usize::try_from(compressed_size) {
        Ok(size) if size < data.len() => &data[..size],
        _ => data,
    };
    let header = ChunkHeader {
        message_start_time: long(0)?,
        message_end_time: long(8)?,
        uncompressed_size: long(16)?,
        uncompressed_crc: u32::from_le_bytes(*body.get(24..)?.first_chunk()?),
        compression: String::from_utf8_lossy(name).into_owned(),
        compressed_size,
    };
    Some((header, data))
}
