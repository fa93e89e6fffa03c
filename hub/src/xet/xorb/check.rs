//! Is this a xorb, and the one that it claims to be? Answered while it arrives.

use super::table::XorbTable;
use super::unpack::Unpacker;
use super::{FOOTER_CHUNK_BYTES, FOOTER_FIXED_BYTES};
use crate::xet::error::{XetError, XetResult};
use crate::xet::hash::Hash;
use crate::xet::merkle::chunk_hash;

/// Checks a xorb, with or without a footer, in pieces of any size: limits, every chunk's packing and
/// size, the footer against the chunks, and the hash over all. Keeps one chunk and the table.
#[derive(Debug, Default)]
pub struct XorbCheck {
    unpacker: Unpacker,
    table: XorbTable,
    /// What has come of the footer.
    footer: Option<Vec<u8>>,
}

impl XorbCheck {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// As soon as something is wrong; what comes after does not matter then.
    pub fn push(&mut self, data: &[u8]) -> XetResult<()> {
        self.push_each(data, |_| Ok(()))
    }

    /// As [`XorbCheck::push`], and gives the raw bytes of every chunk to `each`.
    ///
    /// # Errors
    /// As soon as something is wrong, and those of `each`.
    pub fn push_each<E: From<XetError>>(
        &mut self,
        data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.footer.is_some() {
            return Ok(self.push_footer(data)?);
        }
        let table = &mut self.table;
        let footer = self.unpacker.push(data, |header, raw| {
            table.push(chunk_hash(raw), header.packed_len, raw.len())?;
            each(raw)
        })?;
        if let Some(rest) = footer {
            self.footer = Some(self.unpacker.unread().to_vec());
            self.push_footer(rest)?;
        }
        Ok(())
    }

    fn push_footer(&mut self, data: &[u8]) -> XetResult<()> {
        let footer = self.footer.get_or_insert_default();
        let most = FOOTER_FIXED_BYTES + FOOTER_CHUNK_BYTES * self.table.len();
        if footer.len() + data.len() > most {
            return Err(XetError::xorb("has bytes after its footer"));
        }
        footer.extend_from_slice(data);
        Ok(())
    }

    /// The xorb has ended: the table of its chunks.
    ///
    /// # Errors
    /// If it is not whole, or not the xorb named `expected`.
    pub fn finish(self, expected: &Hash) -> XetResult<XorbTable> {
        if let Some(footer) = &self.footer {
            if !self.table.is_footer(footer) {
                return Err(XetError::xorb("has a footer that does not fit its chunks"));
            }
        } else {
            self.unpacker.finish()?;
        }
        if self.table.is_empty() {
            return Err(XetError::xorb("has no chunks"));
        }
        let found = self.table.xorb_hash();
        if found != *expected {
            return Err(XetError::Misnamed {
                named: *expected,
                found,
            });
        }
        Ok(self.table)
    }
}

/// As [`XorbCheck`], for a xorb in memory.
///
/// # Errors
/// If it is not the xorb named `expected`.
pub fn check_xorb(bytes: &[u8], expected: &Hash) -> XetResult<XorbTable> {
    let mut check = XorbCheck::new();
    check.push(bytes)?;
    check.finish(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xet::compress::{Compression, Scheme};
    use crate::xet::xorb::{CHUNK_HEADER_BYTES, Xorb, XorbBuilder};
    use proptest::prelude::*;

    fn xorb(chunks: &[Vec<u8>], compression: Compression) -> Xorb {
        let mut builder = XorbBuilder::new(compression);
        for chunk in chunks {
            builder.push(chunk_hash(chunk), chunk).unwrap();
        }
        builder.finish().unwrap()
    }

    fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let chunk = (prop::collection::vec(0_u8..4, 1..50), 1_usize..60);
        let chunk = chunk.prop_map(|(bytes, times)| bytes.repeat(times));
        prop::collection::vec(chunk, 1..20)
    }

    fn compressions() -> impl Strategy<Value = Compression> {
        prop::sample::select(vec![
            Compression::ByContent,
            Compression::Always(Scheme::None),
            Compression::Always(Scheme::Lz4),
            Compression::Always(Scheme::GroupedLz4),
        ])
    }

    #[test]
    fn every_way_to_be_no_xorb_is_told() {
        let good = xorb(&[vec![1; 9000], vec![2; 9000]], Compression::ByContent);
        let says = |bytes: &[u8], name: &Hash| check_xorb(bytes, name).unwrap_err().to_string();
        assert!(says(b"", &good.hash).contains("no chunks"));
        assert!(says(&good.packed, &Hash::ZERO).contains("damaged on the way"));
        let cut = good.packed.len() - 1;
        assert!(says(&good.packed[..cut], &good.hash).contains("breaks off"));
        assert!(says(&good.packed[..5], &good.hash).contains("chunk 0"));
        let more = [&good.packed[..], &[0; 8]].concat();
        assert!(says(&more, &good.hash).contains("chunk 2"));
        let footed = [&good.packed[..], &good.table.to_footer()].concat();
        assert_eq!(check_xorb(&footed, &good.hash).unwrap(), good.table);
        assert!(says(&footed[..footed.len() - 1], &good.hash).contains("does not fit"));
        assert!(says(&[&footed[..], b"x"].concat(), &good.hash).contains("after its footer"));
        assert!(says(&good.table.to_footer(), &good.hash).contains("footer"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_built_is_accepted_in_pieces(chunks in chunks(), how in compressions(), piece in 1_usize..5000, footer: bool) {
            let built = xorb(&chunks, how);
            let mut bytes = built.packed.clone();
            if footer { bytes.extend(built.table.to_footer()); }
            let mut check = XorbCheck::new();
            let mut raw = Vec::new();
            for piece in bytes.chunks(piece) {
                check.push_each(piece, |chunk| { raw.push(chunk.to_vec()); Ok::<_, XetError>(()) }).unwrap();
            }
            prop_assert_eq!(check.finish(&built.hash), Ok(built.table));
            prop_assert_eq!(raw, chunks);
        }

        #[test]
        fn a_changed_byte_is_noticed_or_harmless(chunks in chunks(), how in compressions(), at: prop::sample::Index, by in 1_u8..) {
            let built = xorb(&chunks, how);
            let mut bytes = built.packed.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            // LZ4 can say the same in several ways: then the content is still what the name says.
            if let Ok(table) = check_xorb(&bytes, &built.hash) {
                prop_assert_eq!(table.hashes(), built.table.hashes());
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = check_xorb(&bytes, &Hash::ZERO);
            let footer = [b"XETBLOB", &bytes[..]].concat();
            let _ = check_xorb(&footer, &Hash::ZERO);
        }
    }

    #[test]
    fn chunks_have_headers_of_eight_bytes() {
        let built = xorb(&[vec![5]], Compression::ByContent);
        assert_eq!(built.packed.len(), CHUNK_HEADER_BYTES + 1);
        assert_eq!(built.hash, chunk_hash(&[5]));
    }
}
