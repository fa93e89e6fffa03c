//! A parquet file as the decoder wants it, with limits on what a page may claim.
//!
//! The decoder believes page headers: a page of thirty bytes may say that it holds two thousand
//! million numbers, or that it takes 2 GiB when unpacked, and memory for that is taken at once. So
//! each header is looked at on its way to the decoder.

use crate::parts::{Parts, Rest};
use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most values, of all columns that are read together, for one batch of rows.
const VALUES: u64 = 1 << 26;
/// Snappy packs at most 64 bytes into three; more is a lie.
const MOST_PACKED: u64 = 24;
/// What a page of any size may unpack to, bytes.
const SMALL_PAGE: u64 = 64 << 10;
/// Bytes of a page header in which all that is looked at lies.
const HEADER: usize = 4096;

/// A file of which pages are read, with what their values may take. Clones share that.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    file: Parts,
    left: Arc<AtomicU64>,
}

impl Pages {
    /// The pages of `file`, with values for one batch of rows.
    pub(crate) fn of(file: Parts) -> Self {
        Self {
            file,
            left: Arc::new(AtomicU64::new(VALUES)),
        }
    }

    /// Allows the values of another batch.
    pub(crate) fn refill(&self) {
        self.left.store(VALUES, Ordering::Relaxed);
    }

    fn check(&self, header: &[u8]) -> io::Result<()> {
        let refuse = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        let Some(claims) = Claims::of(header) else {
            return refuse("a page has a damaged header".into());
        };
        if claims.unpacked > claims.packed.saturating_mul(MOST_PACKED).max(SMALL_PAGE) {
            return refuse(format!(
                "a page of {} bytes claims to be {} bytes unpacked",
                claims.packed, claims.unpacked
            ));
        }
        let take = |left: u64| left.checked_sub(claims.values);
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => Ok(()),
            Err(_) => refuse(format!("more than {VALUES} values stand in a few rows")),
        }
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Pages {
    type T = BufReader<Header>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        // Page headers are small; the pages themselves come through get_bytes.
        let header = Header {
            pages: self.clone(),
            rest: self.file.rest(start),
            checked: false,
        };
        Ok(BufReader::with_capacity(HEADER, header))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.file.get_bytes(start, length)
    }
}

/// The rest of a file from a page header on, which is looked at first.
#[derive(Debug)]
pub(crate) struct Header {
    pages: Pages,
    rest: Rest,
    checked: bool,
}

impl Read for Header {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(into)?;
        if !self.checked {
            self.pages.check(&into[..count])?;
            self.checked = true;
        }
        Ok(count)
    }
}

/// What a page says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Claims {
    packed: u64,
    unpacked: u64,
    values: u64,
}

impl Claims {
    /// Reads `PageHeader` of parquet.thrift, in Thrift's compact protocol, as far as it is needed:
    /// fields as every writer orders them, by number.
    fn of(header: &[u8]) -> Option<Self> {
        let mut fields = Fields {
            bytes: header,
            last: 0,
        };
        fields.number(1)?;
        let unpacked = fields.number(2)?;
        let packed = fields.number(3)?;
        let mut page = fields.next()?;
        if page == (4, I32) {
            // Checksum, of any sign.
            fields.varint()?;
            page = fields.next()?;
        }
        let values = match page {
            // Data page, dictionary, data page of the second kind: each begins with its count.
            (5 | 7 | 8, STRUCT) => {
                fields.last = 0;
                fields.number(1)?
            }
            (6, STRUCT) => 0,
            _ => return None,
        };
        Some(Self {
            packed,
            unpacked,
            values,
        })
    }
}

/// Thrift's compact type codes.
const I32: u8 = 5;
const STRUCT: u8 = 12;

/// Fields of a Thrift structure, in ascending order.
struct Fields<'a> {
    bytes: &'a [u8],
    /// Number of the field before.
    last: u8,
}

impl Fields<'_> {
    /// Number and type of the next field.
    fn next(&mut self) -> Option<(u8, u8)> {
        let byte = self.byte()?;
        self.last = self.last.checked_add(byte >> 4).filter(|_| byte >> 4 > 0)?;
        Some((self.last, byte & 15))
    }

    /// The value of the next field, which must be number `id` and not negative.
    fn number(&mut self, id: u8) -> Option<u64> {
        if self.next()? != (id, I32) {
            return None;
        }
        let zigzag = self.varint()?;
        (zigzag & 1 == 0).then_some(zigzag >> 1)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for place in 0..5 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A data page: kind 0, sizes, count.
    fn page(unpacked: u8, packed: u8, values: u8) -> Vec<u8> {
        vec![
            0x15,
            0,
            0x15,
            unpacked << 1,
            0x15,
            packed << 1,
            0x2c,
            0x15,
            values << 1,
            0x15,
            0,
            0,
            0,
        ]
    }

    #[test]
    fn claims_of_every_kind_of_page_are_read() {
        let claims = |packed, unpacked, values| {
            Some(Claims {
                packed,
                unpacked,
                values,
            })
        };
        assert_eq!(Claims::of(&page(40, 30, 20)), claims(30, 40, 20));
        // With a checksum, a dictionary of three.
        let dictionary = [0x15, 4, 0x15, 80, 0x15, 60, 0x15, 9, 0x3c, 0x15, 6];
        assert_eq!(Claims::of(&dictionary), claims(30, 40, 3));
        assert_eq!(Claims::of(&[0x15, 0, 0x15, 1]), None, "negative");
        assert_eq!(Claims::of(b"PAR1PAR1"), None);
    }

    #[test]
    fn pages_that_would_take_too_much_are_refused() {
        let pages = Pages::of(Parts::new(Arc::new(Vec::new())));
        assert!(pages.check(&page(40, 30, 60)).is_ok());
        let huge = [
            0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 60, 0x2c, 0x15, 2,
        ];
        assert!(
            pages
                .check(&huge)
                .unwrap_err()
                .to_string()
                .contains("unpacked")
        );
        let many = [
            0x15, 0, 0x15, 60, 0x15, 60, 0x2c, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f,
        ];
        assert!(
            pages
                .check(&many)
                .unwrap_err()
                .to_string()
                .contains("values")
        );
    }

    proptest! {
        #[test]
        fn any_header_is_borne(header in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Claims::of(&header);
        }
    }
}
