//! Reads a shard that may come from anybody: everything is checked to lie inside it before anything is
//! believed, and nothing is kept beside the bytes themselves.

use super::footer::{FOOTER_BYTES, ShardFooter};
use super::model::{FileEntry, XorbEntry};
use super::record::{HAS_RANGE_HASHES, HAS_SHA256, RECORD_BYTES, Record};
use super::{HEADER_BYTES, MAX_SHARD_BYTES, TAG, VERSION};
use crate::xet::error::{XetError, XetResult};
use crate::xet::merkle::is_dedup_eligible;
use crate::xet::xorb::MAX_XORB_CHUNKS;
use crate::xet::{Hash, MAX_CHUNK_BYTES};
use std::collections::{BTreeMap, BTreeSet};

/// A shard of sound structure. What it says of files and xorbs is not checked against any xorb.
#[derive(Debug, Clone, Copy)]
pub struct Shard<'a> {
    bytes: &'a [u8],
    /// Where the section of xorbs begins.
    xorbs_at: usize,
    footer: Option<ShardFooter>,
}

impl<'a> Shard<'a> {
    /// Reads a shard with or without a footer.
    ///
    /// # Errors
    /// If a part is missing, too large or unknown, or something follows that has no business there.
    pub fn read(bytes: &'a [u8]) -> XetResult<Self> {
        if bytes.len() > MAX_SHARD_BYTES {
            let problem = format!("it has more than {MAX_SHARD_BYTES} bytes");
            return Err(XetError::shard(MAX_SHARD_BYTES, problem));
        }
        let footer_len = read_header(bytes)?;
        let xorbs_at = end_of_section(bytes, HEADER_BYTES, records_of_file)?;
        let end = end_of_section(bytes, xorbs_at, records_of_xorb)?;
        let footer = match footer_len {
            0 if bytes.len() == end => None,
            0 => {
                return Err(XetError::shard(
                    end,
                    "something follows the section of xorbs",
                ));
            }
            _ => Some(ShardFooter::read(bytes, xorbs_at, end)?),
        };
        Ok(Self {
            bytes,
            xorbs_at,
            footer,
        })
    }

    /// The footer, if there is one.
    pub fn footer(&self) -> Option<&ShardFooter> {
        self.footer.as_ref()
    }

    /// The files, in the order of the shard.
    pub fn files(&self) -> Files<'a> {
        Files {
            bytes: self.bytes,
            at: HEADER_BYTES,
        }
    }

    /// The xorbs, in the order of the shard.
    pub fn xorbs(&self) -> Xorbs<'a> {
        Xorbs {
            bytes: self.bytes,
            at: self.xorbs_at,
        }
    }

    /// The chunks of the shard's xorbs that global deduplication may find: marked ones, those whose hash
    /// says so, and the first of every file. A hit on one of them leads to its xorb.
    pub fn dedup_chunks(&self) -> BTreeSet<(Hash, Hash)> {
        let mut firsts: BTreeMap<Hash, BTreeSet<u32>> = BTreeMap::new();
        for first in self.files().filter_map(|file| file.terms.first().copied()) {
            firsts.entry(first.xorb).or_default().insert(first.start);
        }
        let mut found = BTreeSet::new();
        for xorb in self.xorbs() {
            let firsts = firsts.get(&xorb.hash);
            for (i, chunk) in xorb.chunks.iter().enumerate() {
                let is_first = firsts.is_some_and(|firsts| firsts.contains(&(i as u32)));
                if is_first || chunk.eligible || is_dedup_eligible(&chunk.hash) {
                    found.insert((chunk.hash, xorb.hash));
                }
            }
        }
        found
    }
}

/// The files of a shard.
#[derive(Debug, Clone)]
pub struct Files<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Files<'_> {
    fn record(&mut self) -> Option<Record> {
        let record = Record::at(self.bytes, self.at)?;
        self.at += RECORD_BYTES;
        Some(record)
    }

    fn records(&mut self, count: u32) -> Option<Vec<Record>> {
        (0..count).map(|_| self.record()).collect()
    }
}

impl Iterator for Files<'_> {
    type Item = FileEntry;

    fn next(&mut self) -> Option<FileEntry> {
        let header = Record::at(self.bytes, self.at).filter(|header| !header.is_bookend())?;
        self.at += RECORD_BYTES;
        let [flags, count, ..] = header.numbers;
        let terms = self.records(count)?;
        let range_hashes = match flags & HAS_RANGE_HASHES {
            0 => None,
            _ => Some(self.records(count)?),
        };
        let sha256 = match flags & HAS_SHA256 {
            0 => None,
            _ => Some(self.record()?.hash.to_digest()),
        };
        Some(FileEntry {
            hash: header.hash,
            terms: terms.into_iter().map(Record::to_term).collect(),
            range_hashes: range_hashes.map(|hashes| hashes.into_iter().map(|r| r.hash).collect()),
            sha256,
        })
    }
}

/// The xorbs of a shard.
#[derive(Debug, Clone)]
pub struct Xorbs<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for Xorbs<'_> {
    type Item = XorbEntry;

    fn next(&mut self) -> Option<XorbEntry> {
        let header = Record::at(self.bytes, self.at).filter(|header| !header.is_bookend())?;
        let [_, count, raw_len, stored_len] = header.numbers;
        let first = self.at + RECORD_BYTES;
        let record = |i: u32| Record::at(self.bytes, first + RECORD_BYTES * i as usize);
        let chunks: Vec<_> = (0..count).map_while(record).map(Record::to_chunk).collect();
        self.at = first + RECORD_BYTES * chunks.len();
        Some(XorbEntry {
            hash: header.hash,
            raw_len,
            stored_len,
            chunks,
        })
    }
}

/// Checks the header; says how long the footer is.
fn read_header(bytes: &[u8]) -> XetResult<usize> {
    let number = |at: usize| {
        let number = bytes.get(at..).and_then(|rest| rest.first_chunk());
        number.copied().map(u64::from_le_bytes)
    };
    if !bytes.starts_with(&TAG) {
        return Err(XetError::shard(0, "it does not begin as a shard does"));
    }
    match (number(32), number(40)) {
        (Some(VERSION), Some(0)) => Ok(0),
        (Some(VERSION), Some(len)) if len == FOOTER_BYTES as u64 => Ok(FOOTER_BYTES),
        (Some(VERSION), Some(_)) => Err(XetError::shard(40, "the footer's size is not known")),
        (Some(_), Some(_)) => Err(XetError::shard(32, "its version is not known")),
        _ => Err(XetError::shard(bytes.len(), "it breaks off")),
    }
}

/// How many records follow this one, which is the header of a file.
fn records_of_file(header: &Record) -> Result<u64, String> {
    let [flags, count, ..] = header.numbers;
    if flags & !(HAS_RANGE_HASHES | HAS_SHA256) != 0 {
        return Err(format!("the flags {flags:#x} of a file are not known"));
    }
    let lists = 1 + u64::from(flags & HAS_RANGE_HASHES != 0);
    Ok(lists * u64::from(count) + u64::from(flags & HAS_SHA256 != 0))
}

/// How many records follow this one, which is the header of a xorb.
fn records_of_xorb(header: &Record) -> Result<u64, String> {
    let [_, count, raw_len, _] = header.numbers;
    if count as usize > MAX_XORB_CHUNKS {
        return Err(format!(
            "a xorb has {count} chunks, and {MAX_XORB_CHUNKS} are allowed"
        ));
    }
    if u64::from(raw_len) > u64::from(count) * MAX_CHUNK_BYTES as u64 {
        return Err(format!(
            "a xorb of {count} chunks cannot have {raw_len} bytes"
        ));
    }
    Ok(count.into())
}

/// Walks a section that begins at `at`; says where it ends.
fn end_of_section(
    bytes: &[u8],
    mut at: usize,
    records_after: fn(&Record) -> Result<u64, String>,
) -> XetResult<usize> {
    loop {
        let header = Record::at(bytes, at).ok_or_else(|| XetError::shard(at, "it breaks off"))?;
        let start = at;
        at += RECORD_BYTES;
        if header.is_bookend() {
            return Ok(at);
        }
        let records = records_after(&header).map_err(|problem| XetError::shard(start, problem))?;
        // Compared before anything is multiplied or set aside.
        let room = (bytes.len() - at) / RECORD_BYTES;
        match usize::try_from(records)
            .ok()
            .filter(|records| *records <= room)
        {
            Some(records) => at += records * RECORD_BYTES,
            None => {
                return Err(XetError::shard(
                    start,
                    format!("{records} records are announced and {room} follow"),
                ));
            }
        }
    }
}
