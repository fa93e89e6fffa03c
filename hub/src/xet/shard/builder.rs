//! Writes shards: to be uploaded, to be stored, or to answer a client that asks for known chunks.

use super::footer::{CHUNK_LOOKUP_BYTES, FOOTER_BYTES, LOOKUP_BYTES, Lookup, ShardFooter};
use super::model::{FileEntry, XorbEntry};
use super::record::{HAS_RANGE_HASHES, HAS_SHA256, RECORD_BYTES, Record};
use super::{HEADER_BYTES, TAG, VERSION};
use crate::xet::error::{XetError, XetResult};
use crate::xet::hash::Hash;
use crate::xet::merkle::shielded_hash;
use std::collections::BTreeMap;

/// The times in a shard's footer, seconds since 1970. By default neither is told, and equal content makes
/// equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it is made; 0 for not told.
    pub created: u64,
    /// From when on clients must not use it; the largest number for never.
    pub expires: u64,
}

impl Default for Stamp {
    fn default() -> Self {
        Self {
            created: 0,
            expires: u64::MAX,
        }
    }
}

/// Collects files and xorbs for a shard. Both are written in the order of their hashes.
#[derive(Debug, Clone, Default)]
pub struct ShardBuilder {
    files: BTreeMap<Hash, FileEntry>,
    xorbs: BTreeMap<Hash, XorbEntry>,
}

impl ShardBuilder {
    /// A shard without content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, or replaces what was said of it.
    ///
    /// # Errors
    /// If it has another number of verification hashes than of terms, or a hash that no file has.
    pub fn add_file(&mut self, file: FileEntry) -> XetResult<()> {
        let hashes = file.range_hashes.as_ref().map(Vec::len);
        if hashes.is_some_and(|hashes| hashes != file.terms.len()) {
            return Err(XetError::file(
                file.hash,
                "it needs one verification hash a term",
            ));
        }
        if file.hash == Hash::BOOKEND || u32::try_from(file.terms.len()).is_err() {
            return Err(XetError::file(file.hash, "no shard can hold it"));
        }
        self.files.insert(file.hash, file);
        Ok(())
    }

    /// Adds a xorb, or replaces what was said of it.
    ///
    /// # Errors
    /// If it has a hash that no xorb has.
    pub fn add_xorb(&mut self, xorb: XorbEntry) -> XetResult<()> {
        if xorb.hash == Hash::BOOKEND || u32::try_from(xorb.chunks.len()).is_err() {
            let problem = "fits in no shard".to_owned();
            return Err(XetError::XorbList {
                xorb: xorb.hash,
                problem,
            });
        }
        self.xorbs.insert(xorb.hash, xorb);
        Ok(())
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.xorbs.is_empty()
    }

    /// Bytes of the shard as it is uploaded.
    pub fn upload_len(&self) -> usize {
        let files: usize = self.files.values().map(|file| 1 + records_of(file)).sum();
        let xorbs: usize = self.xorbs.values().map(|xorb| 1 + xorb.chunks.len()).sum();
        HEADER_BYTES + RECORD_BYTES * (files + 1 + xorbs + 1)
    }

    /// The shard as clients upload it: without lookup tables and footer.
    pub fn upload(&self) -> Vec<u8> {
        let mut out = self.header(0, self.upload_len());
        self.write_files(&mut out);
        self.write_xorbs(&mut out, &Hash::ZERO);
        out
    }

    /// The shard as it is stored: with lookup tables and footer.
    pub fn stored(&self, stamp: Stamp) -> Vec<u8> {
        let lookups = LOOKUP_BYTES * (self.files.len() + self.xorbs.len());
        let chunks: usize = self.xorbs.values().map(|xorb| xorb.chunks.len()).sum();
        let more = lookups + CHUNK_LOOKUP_BYTES * chunks + FOOTER_BYTES;
        let mut out = self.header(FOOTER_BYTES, self.upload_len() + more);
        let files = self.write_files(&mut out);
        let xorbs_at = out.len() as u64;
        let (xorbs, mut chunks) = self.write_xorbs(&mut out, &Hash::ZERO);
        chunks.sort_by_key(|(prefix, ..)| *prefix);
        let file_lookup = write_lookup(&mut out, &files);
        let xorb_lookup = write_lookup(&mut out, &xorbs);
        let chunk_lookup = Lookup {
            at: out.len() as u64,
            entries: chunks.len() as u64,
        };
        for (prefix, xorb, chunk) in chunks {
            out.extend(prefix.to_le_bytes());
            out.extend(xorb.to_le_bytes());
            out.extend(chunk.to_le_bytes());
        }
        let file_bytes = self.files.values().map(FileEntry::size).sum();
        let footer = ShardFooter {
            xorbs_at,
            file_lookup,
            xorb_lookup,
            chunk_lookup,
            file_bytes,
            ..self.footer(stamp, &out)
        };
        out.extend(footer.to_bytes());
        out
    }

    /// The xorbs alone, as a client gets them that asks for a chunk: hashes of chunks are shielded by
    /// `key`, or plain when it is zero. Lookup tables are left to the client.
    pub fn answer(&self, key: &Hash, stamp: Stamp) -> Vec<u8> {
        let mut out = self.header(FOOTER_BYTES, self.upload_len() + FOOTER_BYTES);
        out.extend(Record::BOOKEND.to_bytes());
        let xorbs_at = out.len() as u64;
        self.write_xorbs(&mut out, key);
        let none = Lookup {
            at: out.len() as u64,
            entries: 0,
        };
        let footer = ShardFooter {
            xorbs_at,
            file_lookup: none,
            xorb_lookup: none,
            chunk_lookup: none,
            key: *key,
            ..self.footer(stamp, &out)
        };
        out.extend(footer.to_bytes());
        out
    }

    fn header(&self, footer: usize, capacity: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(capacity);
        out.extend(TAG);
        out.extend(VERSION.to_le_bytes());
        out.extend((footer as u64).to_le_bytes());
        out
    }

    /// The parts of a footer at the end of `out` that are the same for all.
    fn footer(&self, stamp: Stamp, out: &[u8]) -> ShardFooter {
        let sum =
            |of: fn(&XorbEntry) -> u32| self.xorbs.values().map(|xorb| u64::from(of(xorb))).sum();
        ShardFooter {
            created: stamp.created,
            expires: stamp.expires,
            stored_bytes: sum(|xorb| xorb.stored_len),
            raw_bytes: sum(|xorb| xorb.raw_len),
            at: out.len() as u64,
            ..ShardFooter::default()
        }
    }

    /// Writes the section of files; gives its lookup table.
    fn write_files(&self, out: &mut Vec<u8>) -> Vec<(u64, u32)> {
        let mut record = 0;
        let mut lookup = Vec::with_capacity(self.files.len());
        for file in self.files.values() {
            lookup.push((file.hash.prefix(), record));
            record += 1 + records_of(file) as u32;
            let ranges = file.range_hashes.as_ref().map_or(0, |_| HAS_RANGE_HASHES);
            let sha256 = file.sha256.map_or(0, |_| HAS_SHA256);
            let header = Record::of(file.hash, [ranges | sha256, file.terms.len() as u32, 0, 0]);
            out.extend(header.to_bytes());
            file.terms
                .iter()
                .for_each(|term| out.extend(Record::term(term).to_bytes()));
            let hashes = file.range_hashes.iter().flatten().copied();
            for hash in hashes.chain(file.sha256.map(Hash::from_digest)) {
                out.extend(Record::of(hash, [0; 4]).to_bytes());
            }
        }
        out.extend(Record::BOOKEND.to_bytes());
        lookup
    }

    /// Writes the section of xorbs; gives the lookup tables of xorbs and chunks.
    #[allow(clippy::type_complexity)]
    fn write_xorbs(
        &self,
        out: &mut Vec<u8>,
        key: &Hash,
    ) -> (Vec<(u64, u32)>, Vec<(u64, u32, u32)>) {
        let (mut record, mut xorbs, mut chunks) = (0, Vec::new(), Vec::new());
        for xorb in self.xorbs.values() {
            xorbs.push((xorb.hash.prefix(), record));
            let header = [0, xorb.chunks.len() as u32, xorb.raw_len, xorb.stored_len];
            out.extend(Record::of(xorb.hash, header).to_bytes());
            for (i, chunk) in xorb.chunks.iter().enumerate() {
                let mut written = Record::chunk(chunk);
                if *key != Hash::ZERO {
                    written.hash = shielded_hash(key, &chunk.hash);
                }
                chunks.push((written.hash.prefix(), record, i as u32));
                out.extend(written.to_bytes());
            }
            record += 1 + xorb.chunks.len() as u32;
        }
        out.extend(Record::BOOKEND.to_bytes());
        (xorbs, chunks)
    }
}

/// Records of a file after its header.
fn records_of(file: &FileEntry) -> usize {
    let hashes = file.range_hashes.as_ref().map_or(0, Vec::len);
    file.terms.len() + hashes + usize::from(file.sha256.is_some())
}

fn write_lookup(out: &mut Vec<u8>, entries: &[(u64, u32)]) -> Lookup {
    let at = out.len() as u64;
    for (prefix, record) in entries {
        out.extend(prefix.to_le_bytes());
        out.extend(record.to_le_bytes());
    }
    Lookup {
        at,
        entries: entries.len() as u64,
    }
}
