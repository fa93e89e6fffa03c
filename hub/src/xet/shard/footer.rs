//! A shard's last 200 bytes: where its parts lie, the key of its hashes, and until when it is valid.

use super::HEADER_BYTES;
use crate::xet::error::{XetError, XetResult};
use crate::xet::hash::Hash;

/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 200;
const VERSION: u64 = 1;
/// Bytes of an entry in the lookup tables of files and xorbs: prefix of the hash, number of the record.
pub(super) const LOOKUP_BYTES: usize = 12;
/// Bytes of an entry in the lookup table of chunks: prefix, number of the xorb's record, number of the chunk.
pub(super) const CHUNK_LOOKUP_BYTES: usize = 16;

/// Where a lookup table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lookup {
    pub(super) at: u64,
    pub(super) entries: u64,
}

/// What follows the sections of a stored or answered shard. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardFooter {
    pub(super) xorbs_at: u64,
    pub(super) file_lookup: Lookup,
    pub(super) xorb_lookup: Lookup,
    pub(super) chunk_lookup: Lookup,
    /// The key that shields the hashes of chunks; zero when they are plain.
    pub key: Hash,
    /// When the shard was made; 0 when that is not told.
    pub created: u64,
    /// From when on it must not be used; the largest number, or 0 by some writers, for never.
    pub expires: u64,
    /// Bytes in the store of all xorbs.
    pub stored_bytes: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Raw bytes of all xorbs.
    pub raw_bytes: u64,
    /// Where the footer begins.
    pub(super) at: u64,
}

impl ShardFooter {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let tables = [self.file_lookup, self.xorb_lookup, self.chunk_lookup];
        let mut numbers = vec![VERSION, HEADER_BYTES as u64, self.xorbs_at];
        numbers.extend(tables.iter().flat_map(|table| [table.at, table.entries]));
        let mut out: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        out.extend(self.key.as_bytes());
        let times = [self.created, self.expires];
        let sizes = [self.stored_bytes, self.file_bytes, self.raw_bytes, self.at];
        for number in times.iter().chain(&[0; 6]).chain(&sizes) {
            out.extend(number.to_le_bytes());
        }
        out
    }

    /// Reads the footer of a shard whose sections of files and xorbs end at `xorbs_at` and `tables_at`.
    pub(super) fn read(shard: &[u8], xorbs_at: usize, tables_at: usize) -> XetResult<Self> {
        let at = shard.len().saturating_sub(FOOTER_BYTES);
        let refused = |problem: &str| Err(XetError::shard(at, problem));
        if at < tables_at {
            return refused("there is no room for the footer that the header announces");
        }
        let number = |index: usize| {
            let bytes = shard.get(at + index..).and_then(|rest| rest.first_chunk());
            bytes.copied().map_or(0, u64::from_le_bytes)
        };
        if number(0) != VERSION {
            return refused("the footer's version is not known");
        }
        let lookup = |index: usize| Lookup {
            at: number(index),
            entries: number(index + 8),
        };
        let key = shard.get(at + 72..).and_then(|rest| rest.first_chunk());
        let footer = Self {
            xorbs_at: number(16),
            file_lookup: lookup(24),
            xorb_lookup: lookup(40),
            chunk_lookup: lookup(56),
            key: Hash::from_bytes(key.copied().unwrap_or_default()),
            created: number(104),
            expires: number(112),
            stored_bytes: number(168),
            file_bytes: number(176),
            raw_bytes: number(184),
            at: number(192),
        };
        let sections = number(8) == HEADER_BYTES as u64 && footer.xorbs_at == xorbs_at as u64;
        if !sections || footer.at != at as u64 || !footer.are_tables_inside(tables_at as u64) {
            return refused("the footer does not say where the shard's parts are");
        }
        Ok(footer)
    }

    /// Whether every lookup table lies between sections and footer.
    fn are_tables_inside(&self, tables_at: u64) -> bool {
        let is_inside = |table: Lookup, entry: usize| {
            let end = table
                .entries
                .checked_mul(entry as u64)
                .and_then(|len| len.checked_add(table.at));
            table.at >= tables_at && end.is_some_and(|end| end <= self.at)
        };
        is_inside(self.file_lookup, LOOKUP_BYTES)
            && is_inside(self.xorb_lookup, LOOKUP_BYTES)
            && is_inside(self.chunk_lookup, CHUNK_LOOKUP_BYTES)
    }
}
