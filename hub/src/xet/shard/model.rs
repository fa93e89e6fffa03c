//! What a shard says, as plain data.

use crate::xet::hash::Hash;
use crate::xet::merkle::is_dedup_eligible;
use crate::xet::xorb::XorbTable;
use std::ops::Range;

/// A part of a file: consecutive chunks of one xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The xorb.
    pub xorb: Hash,
    /// Bytes of these chunks together.
    pub raw_len: u32,
    /// First chunk.
    pub start: u32,
    /// The chunk after the last.
    pub end: u32,
}

impl Term {
    /// The chunks as a range.
    pub fn chunks(&self) -> Range<u32> {
        self.start..self.end
    }
}

/// A file: the terms that make it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The file's hash.
    pub hash: Hash,
    /// Its parts, none for an empty file.
    pub terms: Vec<Term>,
    /// For each term the hash over its chunks' hashes, in uploads.
    pub range_hashes: Option<Vec<Hash>>,
    /// SHA-256 of the content, in the usual order of bytes, for files of repositories.
    pub sha256: Option<[u8; 32]>,
}

impl FileEntry {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.terms.iter().map(|term| u64::from(term.raw_len)).sum()
    }
}

/// A chunk of a xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XorbChunk {
    /// Its hash; shielded by the footer's key in keyed shards.
    pub hash: Hash,
    /// Where it begins in the xorb's raw bytes.
    pub raw_start: u32,
    /// Raw bytes.
    pub raw_len: u32,
    /// Whether the shard marks it as one that global deduplication may find.
    pub eligible: bool,
}

impl XorbChunk {
    /// Whether global deduplication may find it: by its mark or by its hash, which must not be shielded.
    pub fn is_eligible(&self) -> bool {
        self.eligible || is_dedup_eligible(&self.hash)
    }
}

/// A xorb: the chunks that it has, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XorbEntry {
    /// The xorb's hash.
    pub hash: Hash,
    /// Raw bytes of all chunks.
    pub raw_len: u32,
    /// Bytes of the xorb in the store; 0 in uploads.
    pub stored_len: u32,
    /// Its chunks.
    pub chunks: Vec<XorbChunk>,
}

impl XorbEntry {
    /// The entry for a xorb in the store or about to be uploaded; no chunk is marked.
    pub fn of(hash: Hash, table: &XorbTable) -> Self {
        let mut raw_start = 0;
        let chunks = table.hashes().iter().enumerate().map(|(i, hash)| {
            let raw_len = table.chunk_len(i).unwrap_or(0);
            let chunk = XorbChunk {
                hash: *hash,
                raw_start,
                raw_len,
                eligible: false,
            };
            raw_start += raw_len;
            chunk
        });
        Self {
            hash,
            chunks: chunks.collect(),
            raw_len: table.raw_len(),
            stored_len: 0,
        }
    }
}
