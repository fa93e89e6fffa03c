//! Records of 48 bytes: a hash and 16 bytes of numbers.

use super::model::{Term, XorbChunk};
use crate::xet::hash::Hash;

/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 48;
/// A file's header: verification hashes follow its terms.
pub(super) const HAS_RANGE_HASHES: u32 = 1 << 31;
/// A file's header: a record with the SHA-256 of its content is the last.
pub(super) const HAS_SHA256: u32 = 1 << 30;
/// A chunk may be found by global deduplication.
const IS_ELIGIBLE: u32 = 1 << 31;

/// One record: its hash and its four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) hash: Hash,
    pub(super) numbers: [u32; 4],
}

impl Record {
    /// What ends a section.
    pub(super) const BOOKEND: Self = Self::of(Hash::BOOKEND, [0; 4]);

    pub(super) const fn of(hash: Hash, numbers: [u32; 4]) -> Self {
        Self { hash, numbers }
    }

    /// Whether it ends a section: by its hash alone.
    pub(super) fn is_bookend(&self) -> bool {
        self.hash == Hash::BOOKEND
    }

    pub(super) fn term(term: &Term) -> Self {
        Self::of(term.xorb, [0, term.raw_len, term.start, term.end])
    }

    pub(super) fn to_term(self) -> Term {
        let [_, raw_len, start, end] = self.numbers;
        Term {
            xorb: self.hash,
            raw_len,
            start,
            end,
        }
    }

    pub(super) fn chunk(chunk: &XorbChunk) -> Self {
        let flags = if chunk.eligible { IS_ELIGIBLE } else { 0 };
        Self::of(chunk.hash, [chunk.raw_start, chunk.raw_len, flags, 0])
    }

    pub(super) fn to_chunk(self) -> XorbChunk {
        let [raw_start, raw_len, flags, _] = self.numbers;
        XorbChunk {
            hash: self.hash,
            raw_start,
            raw_len,
            eligible: flags & IS_ELIGIBLE != 0,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (hash, numbers) = bytes.split_at_mut(32);
        hash.copy_from_slice(self.hash.as_bytes());
        for (to, number) in numbers.chunks_exact_mut(4).zip(self.numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// The record at `at`, if it is whole.
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let record = bytes.get(at..)?.first_chunk::<RECORD_BYTES>()?;
        let (hash, numbers) = record.split_first_chunk::<32>()?;
        let mut read = [0; 4];
        for (to, from) in read.iter_mut().zip(numbers.chunks_exact(4)) {
            *to = u32::from_le_bytes(from.try_into().unwrap_or_default());
        }
        Some(Self::of(Hash::from_bytes(*hash), read))
    }
}
