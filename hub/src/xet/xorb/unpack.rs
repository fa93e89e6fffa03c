//! Packed chunks as they arrive, in pieces of any size.

use super::{CHUNK_HEADER_BYTES, FOOTER_IDENT};
use crate::xet::chunking::MAX_CHUNK_BYTES;
use crate::xet::compress::Scheme;
use crate::xet::error::{XetError, XetResult};

/// The version of chunk headers.
const VERSION: u8 = 0;
/// Most packed bytes of a chunk that other writers may produce.
const MAX_PACKED_CHUNK_BYTES: usize = 2 * MAX_CHUNK_BYTES;

/// What stands before a packed chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// How it is packed.
    pub scheme: Scheme,
    /// Packed bytes, without the header.
    pub packed_len: usize,
    /// Raw bytes.
    pub raw_len: usize,
}

impl ChunkHeader {
    /// Version, three bytes of packed length, scheme, three bytes of raw length; little-endian.
    pub fn to_bytes(self) -> [u8; CHUNK_HEADER_BYTES] {
        let [p0, p1, p2, _] = (self.packed_len as u32).to_le_bytes();
        let [r0, r1, r2, _] = (self.raw_len as u32).to_le_bytes();
        [VERSION, p0, p1, p2, self.scheme as u8, r0, r1, r2]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Says what is wrong with it, as part of a sentence.
    pub fn from_bytes(bytes: [u8; CHUNK_HEADER_BYTES]) -> Result<Self, String> {
        let [version, p0, p1, p2, scheme, r0, r1, r2] = bytes;
        if version != VERSION {
            return Err(format!(
                "its header has version {version}, which is not known"
            ));
        }
        let known = Scheme::from_number(scheme);
        let scheme = known.ok_or_else(|| format!("its compression {scheme} is not known"))?;
        let packed_len = u32::from_le_bytes([p0, p1, p2, 0]) as usize;
        let raw_len = u32::from_le_bytes([r0, r1, r2, 0]) as usize;
        if !(1..=MAX_CHUNK_BYTES).contains(&raw_len) {
            return Err(format!(
                "it has {raw_len} bytes, and 1 to {MAX_CHUNK_BYTES} are allowed"
            ));
        }
        if !(1..=MAX_PACKED_CHUNK_BYTES).contains(&packed_len) {
            return Err(format!(
                "it has {packed_len} packed bytes, and 1 to {MAX_PACKED_CHUNK_BYTES} are allowed"
            ));
        }
        Ok(Self {
            scheme,
            packed_len,
            raw_len,
        })
    }
}

/// Unpacks consecutive chunks of a xorb; keeps at most one chunk's bytes.
#[derive(Debug, Clone, Default)]
pub struct Unpacker {
    /// The beginning of a chunk that has not fully arrived.
    open: Vec<u8>,
    raw: Vec<u8>,
    chunks: usize,
}

impl Unpacker {
    /// Before a chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of chunks unpacked.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Takes in the next bytes and gives header and raw bytes of every chunk that ends in them to `each`.
    /// Where a footer begins, the bytes after its first eight are given back.
    ///
    /// # Errors
    /// Of `each`, and when the bytes are no chunks; the unpacker is of no use after that.
    pub fn push<'d, E: From<XetError>>(
        &mut self,
        mut data: &'d [u8],
        mut each: impl FnMut(ChunkHeader, &[u8]) -> Result<(), E>,
    ) -> Result<Option<&'d [u8]>, E> {
        loop {
            data = self.fill(data, CHUNK_HEADER_BYTES);
            let Some(header) = self.open.first_chunk::<CHUNK_HEADER_BYTES>() else {
                return Ok(None);
            };
            if header.starts_with(&FOOTER_IDENT) {
                return Ok(Some(data));
            }
            let header =
                ChunkHeader::from_bytes(*header).map_err(|problem| self.refused(problem))?;
            // A chunk that lies whole in `data` is not copied.
            let whole = match self.open.len() {
                CHUNK_HEADER_BYTES => data.split_at_checked(header.packed_len),
                _ => None,
            };
            let packed = match whole {
                Some((packed, rest)) => {
                    data = rest;
                    packed
                }
                None => {
                    data = self.fill(data, CHUNK_HEADER_BYTES + header.packed_len);
                    if self.open.len() < CHUNK_HEADER_BYTES + header.packed_len {
                        return Ok(None);
                    }
                    &self.open[CHUNK_HEADER_BYTES..]
                }
            };
            let raw = header.scheme.raw(packed, header.raw_len, &mut self.raw);
            let raw = raw.map_err(|problem| XetError::Chunk {
                chunk: self.chunks,
                problem,
            })?;
            each(header, raw)?;
            self.open.clear();
            self.chunks += 1;
        }
    }

    /// Whether everything that came has been unpacked.
    ///
    /// # Errors
    /// If the last chunk is not whole.
    pub fn finish(&self) -> XetResult<()> {
        match self.open.len() {
            0 => Ok(()),
            arrived => Err(self.refused(format!("it breaks off after {arrived} bytes"))),
        }
    }

    /// The bytes that came and are no whole chunk: where a footer begins, its first eight.
    pub(super) fn unread(&self) -> &[u8] {
        &self.open
    }

    /// Moves bytes from `data` until `len` are there; gives back what is left.
    fn fill<'d>(&mut self, data: &'d [u8], len: usize) -> &'d [u8] {
        let missing = len.saturating_sub(self.open.len()).min(data.len());
        let (take, rest) = data.split_at(missing);
        self.open.extend_from_slice(take);
        rest
    }

    fn refused(&self, problem: String) -> XetError {
        XetError::Chunk {
            chunk: self.chunks,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(scheme: Scheme, packed_len: usize, raw_len: usize) -> ChunkHeader {
        ChunkHeader {
            scheme,
            packed_len,
            raw_len,
        }
    }

    #[test]
    fn a_header_is_laid_out_as_specified() {
        let bytes = header(Scheme::GroupedLz4, 0x01_02_03, 0x01_00_02).to_bytes();
        assert_eq!(bytes, [0, 3, 2, 1, 2, 2, 0, 1]);
        assert_eq!(
            ChunkHeader::from_bytes(bytes),
            Ok(header(Scheme::GroupedLz4, 0x01_02_03, 0x01_00_02))
        );
    }

    #[test]
    fn impossible_headers_are_refused() {
        let good = header(Scheme::Lz4, 9, 9).to_bytes();
        for (at, to) in [(0, 1), (4, 3), (4, 99), (3, 255), (7, 255), (1, 0), (5, 0)] {
            let mut bad = good;
            bad[at] = to;
            assert!(ChunkHeader::from_bytes(bad).is_err(), "byte {at} = {to}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, piece in 1_usize..40) {
            let mut unpacker = Unpacker::new();
            for piece in bytes.chunks(piece) {
                let each = |header: ChunkHeader, raw: &[u8]| {
                    assert_eq!(header.raw_len, raw.len());
                    Ok::<_, XetError>(())
                };
                if !matches!(unpacker.push(piece, each), Ok(None)) { break; }
            }
            let _ = unpacker.finish();
        }
    }
}
