//! Packs chunks into a xorb.

use super::table::XorbTable;
use super::unpack::ChunkHeader;
use super::{CHUNK_HEADER_BYTES, MAX_XORB_CHUNKS, MAX_XORB_RAW_BYTES};
use crate::xet::chunking::MAX_CHUNK_BYTES;
use crate::xet::compress::Compression;
use crate::xet::error::{XetError, XetResult};
use crate::xet::hash::Hash;

/// A xorb that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xorb {
    /// Its name.
    pub hash: Hash,
    /// Its packed chunks, without a footer: what is uploaded.
    pub packed: Vec<u8>,
    /// Where each chunk lies.
    pub table: XorbTable,
}

/// Collects chunks until a xorb is full.
#[derive(Debug, Clone, Default)]
pub struct XorbBuilder {
    compression: Compression,
    packed: Vec<u8>,
    table: XorbTable,
}

impl XorbBuilder {
    /// A xorb without chunks.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            ..Self::default()
        }
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no chunks yet.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Its chunks so far: hashes and raw sizes in bytes, in order.
    pub fn table(&self) -> &XorbTable {
        &self.table
    }

    /// Whether a chunk of `raw_len` bytes still fits, so that the packed xorb stays within 64 MiB even
    /// when nothing compresses.
    pub fn fits(&self, raw_len: usize) -> bool {
        let headers = (self.len() + 1) * CHUNK_HEADER_BYTES;
        self.len() < MAX_XORB_CHUNKS
            && self.table.raw_len() as usize + raw_len + headers <= MAX_XORB_RAW_BYTES
    }

    /// Adds the next chunk, whose hash the caller has; says its number in the xorb.
    ///
    /// # Errors
    /// If it does not fit or has no length that a chunk can have.
    pub fn push(&mut self, hash: Hash, raw: &[u8]) -> XetResult<u32> {
        if !(1..=MAX_CHUNK_BYTES).contains(&raw.len()) {
            return Err(XetError::Chunk {
                chunk: self.len(),
                problem: format!(
                    "it has {} bytes, and 1 to {MAX_CHUNK_BYTES} are allowed",
                    raw.len()
                ),
            });
        }
        if !self.fits(raw.len()) {
            return Err(XetError::xorb("is full"));
        }
        let start = self.packed.len();
        self.packed.extend([0; CHUNK_HEADER_BYTES]);
        let scheme = self.compression.scheme(raw).pack(raw, &mut self.packed);
        let header = ChunkHeader {
            scheme,
            packed_len: self.packed.len() - start - CHUNK_HEADER_BYTES,
            raw_len: raw.len(),
        };
        self.packed[start..start + CHUNK_HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let number = self.len() as u32;
        self.table.push(hash, header.packed_len, raw.len())?;
        Ok(number)
    }

    /// Closes the xorb; nothing when it has no chunks.
    pub fn finish(self) -> Option<Xorb> {
        (!self.is_empty()).then(|| Xorb {
            hash: self.table.xorb_hash(),
            packed: self.packed,
            table: self.table,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xet::compress::Scheme;
    use crate::xet::merkle::chunk_hash;

    #[test]
    fn a_xorb_fills_up_by_bytes() {
        let mut builder = XorbBuilder::new(Compression::Always(Scheme::None));
        let chunk = vec![1; MAX_CHUNK_BYTES];
        let hash = chunk_hash(&chunk);
        while builder.fits(chunk.len()) {
            builder.push(hash, &chunk).unwrap();
        }
        assert_eq!(builder.len(), 511, "headers count too");
        assert!(builder.push(hash, &chunk).is_err());
        assert!(builder.finish().unwrap().packed.len() <= 64 << 20);
    }

    #[test]
    fn a_xorb_fills_up_by_chunks() {
        let mut builder = XorbBuilder::default();
        (0..MAX_XORB_CHUNKS)
            .for_each(|i| assert!(builder.push(chunk_hash(&i.to_le_bytes()), b"x").is_ok()));
        assert!(!builder.fits(1));
    }

    #[test]
    fn impossible_chunks_are_refused() {
        let mut builder = XorbBuilder::default();
        assert!(builder.push(Hash::ZERO, b"").is_err());
        assert!(
            builder
                .push(Hash::ZERO, &vec![0; MAX_CHUNK_BYTES + 1])
                .is_err()
        );
        assert!(builder.finish().is_none());
    }
}
