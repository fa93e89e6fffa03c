//! Where each chunk of a xorb lies, and its hash; as a footer or in memory.

use super::{CHUNK_HEADER_BYTES, MAX_XORB_PACKED_BYTES, MAX_XORB_RAW_BYTES};
use super::{FOOTER_CHUNK_BYTES, FOOTER_FIXED_BYTES, FOOTER_IDENT, MAX_XORB_CHUNKS};
use crate::xet::chunking::MAX_CHUNK_BYTES;
use crate::xet::error::{XetError, XetResult};
use crate::xet::hash::Hash;
use crate::xet::merkle::xorb_hash;
use std::ops::Range;

const FOOTER_VERSION: u8 = 1;
const HASHES_IDENT: [u8; 8] = *b"XBLBHSH\0";
const OFFSETS_IDENT: [u8; 8] = *b"XBLBBND\x01";
/// Before the footer's length: bytes for anything, which readers do not look at.
const SPARE_BYTES: usize = 16;

/// The chunks of a xorb: hashes, and where their packed and raw bytes end.
///
/// At least one chunk and at most [`MAX_XORB_CHUNKS`]; no chunk is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XorbTable {
    hashes: Vec<Hash>,
    /// Headers included.
    packed_ends: Vec<u32>,
    raw_ends: Vec<u32>,
}

impl XorbTable {
    /// A table to be filled.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// Adds the next chunk; `packed_len` is without its header.
    pub(super) fn push(&mut self, hash: Hash, packed_len: usize, raw_len: usize) -> XetResult<()> {
        let packed_end = self.packed_len() as usize + CHUNK_HEADER_BYTES + packed_len;
        let raw_end = self.raw_len() as usize + raw_len;
        if self.len() >= MAX_XORB_CHUNKS {
            return Err(XetError::xorb(format!(
                "has more than {MAX_XORB_CHUNKS} chunks"
            )));
        }
        if raw_end > MAX_XORB_RAW_BYTES || packed_end > MAX_XORB_PACKED_BYTES {
            return Err(XetError::xorb(format!(
                "has more than {MAX_XORB_RAW_BYTES} bytes of content"
            )));
        }
        self.hashes.push(hash);
        // Both are far below 2³².
        self.packed_ends.push(packed_end as u32);
        self.raw_ends.push(raw_end as u32);
        Ok(())
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are no chunks; never so in a table that was read or built.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Bytes of all packed chunks with their headers, without a footer.
    pub fn packed_len(&self) -> u32 {
        self.packed_ends.last().copied().unwrap_or(0)
    }

    /// Bytes of all chunks.
    pub fn raw_len(&self) -> u32 {
        self.raw_ends.last().copied().unwrap_or(0)
    }

    /// The hashes of all chunks.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Raw size of a chunk, bytes.
    pub fn chunk_len(&self, chunk: usize) -> Option<u32> {
        Some(self.raw_ends.get(chunk)? - before(&self.raw_ends, chunk)?)
    }

    /// Hash and raw size of the chunks in a range; `None` when it is empty or not inside the xorb.
    pub fn chunks(&self, range: Range<u32>) -> Option<impl Iterator<Item = (Hash, u64)> + '_> {
        let range = self.indices(range)?;
        Some(range.map(|i| {
            let start = before(&self.raw_ends, i).unwrap_or(0);
            (self.hashes[i], u64::from(self.raw_ends[i] - start))
        }))
    }

    /// The hashes of the chunks in a range; `None` when it is empty or not inside the xorb.
    pub fn hashes_in(&self, range: Range<u32>) -> Option<&[Hash]> {
        self.hashes.get(self.indices(range)?)
    }

    /// Where the packed chunks of a range lie, headers included; `None` when it is empty or not inside
    /// the xorb.
    pub fn packed_range(&self, range: Range<u32>) -> Option<Range<u64>> {
        self.span(&self.packed_ends, range)
    }

    /// Where the chunks of a range lie in the xorb's raw bytes; `None` when it is empty or not inside the
    /// xorb.
    pub fn raw_range(&self, range: Range<u32>) -> Option<Range<u64>> {
        self.span(&self.raw_ends, range)
    }

    /// The xorb's name, computed from its chunks.
    pub fn xorb_hash(&self) -> Hash {
        let all = self.chunks(0..self.len() as u32);
        all.map_or(Hash::ZERO, xorb_hash)
    }

    fn indices(&self, range: Range<u32>) -> Option<Range<usize>> {
        let range = range.start as usize..range.end as usize;
        (range.start < range.end && range.end <= self.len()).then_some(range)
    }

    fn span(&self, ends: &[u32], range: Range<u32>) -> Option<Range<u64>> {
        let range = self.indices(range)?;
        let start = before(ends, range.start)?;
        Some(u64::from(start)..u64::from(*ends.get(range.end - 1)?))
    }

    /// The footer of the xorb, its length at the end included.
    pub fn to_footer(&self) -> Vec<u8> {
        let count = (self.len() as u32).to_le_bytes();
        let offsets_len = OFFSETS_IDENT.len() + 4 + 8 * self.len() + 12 + SPARE_BYTES;
        let hashes_len = HASHES_IDENT.len() + 4 + 32 * self.len() + offsets_len;
        let mut out = Vec::with_capacity(FOOTER_FIXED_BYTES + FOOTER_CHUNK_BYTES * self.len());
        out.extend(FOOTER_IDENT);
        out.push(FOOTER_VERSION);
        out.extend(self.xorb_hash().as_bytes());
        out.extend(HASHES_IDENT);
        out.extend(count);
        self.hashes
            .iter()
            .for_each(|hash| out.extend(hash.as_bytes()));
        out.extend(OFFSETS_IDENT);
        out.extend(count);
        let offsets = self.packed_ends.iter().chain(&self.raw_ends);
        offsets.for_each(|end| out.extend(end.to_le_bytes()));
        out.extend(count);
        out.extend((hashes_len as u32).to_le_bytes());
        out.extend((offsets_len as u32).to_le_bytes());
        out.extend([0; SPARE_BYTES]);
        out.extend((out.len() as u32).to_le_bytes());
        out
    }

    /// Reads a footer, from its first byte to its length at the end.
    ///
    /// # Errors
    /// If it is not exactly what [`XorbTable::to_footer`] writes for some table, but for the spare bytes. The
    /// name of a xorb covers its content alone, so that packed sizes may still be wrong, and the size of a lone chunk.
    pub fn from_footer(footer: &[u8]) -> XetResult<Self> {
        let refused = |problem: &str| XetError::xorb(format!("has a footer that {problem}"));
        let content = footer.len().checked_sub(FOOTER_FIXED_BYTES);
        let count = content
            .filter(|len| len.is_multiple_of(FOOTER_CHUNK_BYTES))
            .map(|len| len / FOOTER_CHUNK_BYTES)
            .filter(|count| (1..=MAX_XORB_CHUNKS).contains(count))
            .ok_or_else(|| refused("has a wrong length"))?;
        let hashes_at = 8 + 32 + HASHES_IDENT.len() + 4;
        let packed_at = hashes_at + 32 * count + OFFSETS_IDENT.len() + 4;
        let raw_at = packed_at + 4 * count;
        let number = |at: usize| {
            let bytes = footer
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes) as usize
        };
        let mut table = Self::empty();
        for i in 0..count {
            let at = hashes_at + 32 * i;
            let bytes = footer
                .get(at..at + 32)
                .and_then(|bytes| bytes.try_into().ok());
            let hash = Hash::from_bytes(bytes.unwrap_or_default());
            let packed = number(packed_at + 4 * i).checked_sub(table.packed_len() as usize);
            let raw = number(raw_at + 4 * i).checked_sub(table.raw_len() as usize);
            let packed = packed.and_then(|len| len.checked_sub(CHUNK_HEADER_BYTES));
            let (Some(packed @ 1..), Some(raw @ 1..=MAX_CHUNK_BYTES)) = (packed, raw) else {
                return Err(refused(&format!("gives chunk {i} an impossible size")));
            };
            table.push(hash, packed, raw)?;
        }
        if !table.is_footer(footer) {
            return Err(refused("contradicts itself"));
        }
        Ok(table)
    }

    /// Whether these bytes are this table's footer, whatever the spare bytes say.
    pub(super) fn is_footer(&self, footer: &[u8]) -> bool {
        let own = self.to_footer();
        let spare = own.len() - 4 - SPARE_BYTES;
        own.len() == footer.len()
            && own[..spare] == footer[..spare]
            && own[spare + SPARE_BYTES..] == footer[spare + SPARE_BYTES..]
    }
}

/// The end of the chunk before `chunk`.
fn before(ends: &[u32], chunk: usize) -> Option<u32> {
    match chunk {
        0 => Some(0),
        _ => ends.get(chunk - 1).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xet::merkle::chunk_hash;
    use proptest::prelude::*;

    fn table(sizes: &[(usize, usize)]) -> XorbTable {
        let mut table = XorbTable::empty();
        for (i, (packed, raw)) in sizes.iter().enumerate() {
            table
                .push(chunk_hash(&i.to_le_bytes()), *packed, *raw)
                .unwrap();
        }
        table
    }

    #[test]
    fn ranges_are_found() {
        let table = table(&[(10, 100), (20, 200), (30, 300)]);
        assert_eq!(table.packed_range(0..3), Some(0..84));
        assert_eq!(table.packed_range(1..2), Some(18..46));
        assert_eq!(table.raw_range(1..3), Some(100..600));
        assert_eq!(table.chunk_len(2), Some(300));
        assert_eq!(table.chunk_len(3), None);
        assert_eq!(
            table.chunks(1..3).unwrap().map(|c| c.1).collect::<Vec<_>>(),
            [200, 300]
        );
        let backwards = std::ops::Range { start: 2, end: 1 };
        for bad in [0..0, backwards, 0..4, 3..4, u32::MAX..u32::MAX] {
            assert_eq!(table.packed_range(bad.clone()), None);
            assert!(table.chunks(bad.clone()).is_none() && table.hashes_in(bad).is_none());
        }
    }

    #[test]
    fn a_xorb_has_its_limits() {
        let mut table = table(&vec![(1, 1); MAX_XORB_CHUNKS]);
        assert!(table.push(Hash::ZERO, 1, 1).is_err());
        let mut table = self::table(&vec![(131_072, 131_072); 512]);
        assert!(table.push(Hash::ZERO, 1, 1).is_err());
    }

    proptest! {
        #[test]
        fn a_footer_is_read_back(sizes in prop::collection::vec((1_usize..200_000, 1_usize..131_073), 1..60), spare: u8) {
            let table = table(&sizes);
            let mut footer = table.to_footer();
            prop_assert_eq!(footer.len(), FOOTER_FIXED_BYTES + FOOTER_CHUNK_BYTES * sizes.len());
            prop_assert_eq!(XorbTable::from_footer(&footer), Ok(table.clone()));
            let at = footer.len() - 10;
            footer[at] = spare;
            prop_assert_eq!(XorbTable::from_footer(&footer), Ok(table));
        }

        #[test]
        fn a_changed_footer_is_refused(count in 2_usize..9, at: prop::sample::Index, by in 1_u8..) {
            let mut footer = table(&vec![(50, 60); count]).to_footer();
            let at = at.index(footer.len());
            footer[at] ^= by;
            let spare = footer.len() - 4 - SPARE_BYTES..footer.len() - 4;
            // The name of a xorb does not cover how its chunks are packed.
            let packed_at = 64 + 32 * count;
            let packed = packed_at..packed_at + 4 * count;
            if !packed.contains(&at) {
                prop_assert_eq!(XorbTable::from_footer(&footer).is_ok(), spare.contains(&at));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, count in 0_usize..4, len in 0_usize..300) {
            let _ = XorbTable::from_footer(&bytes);
            let mut sized = bytes;
            sized.resize(FOOTER_FIXED_BYTES + count * FOOTER_CHUNK_BYTES, len as u8);
            let _ = XorbTable::from_footer(&sized);
        }
    }
}
