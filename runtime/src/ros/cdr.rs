//! CDR little-endian (XCDR1), the encoding of ROS 2 messages: a 4-byte header, then each value
//! aligned to its own size, counted from after the header.

use thiserror::Error;

/// The encapsulation header of CDR little-endian.
pub const HEADER: [u8; 4] = [0x00, 0x01, 0x00, 0x00];

/// Why bytes are not the message that their key expression promises.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CdrError {
    /// The encapsulation header is not CDR little-endian.
    #[error("the encapsulation header is {0:02x?}; only CDR little-endian (00 01) is understood")]
    Header([u8; 4]),
    /// The bytes end inside a value.
    #[error("the message ends at byte {at}, where {wanted} more bytes were expected")]
    Truncated {
        /// Offset after the header.
        at: usize,
        /// Bytes missing.
        wanted: usize,
    },
    /// A string is not UTF-8 or lacks its terminating zero.
    #[error("the string at byte {at} is not zero-terminated UTF-8")]
    String {
        /// Offset after the header.
        at: usize,
    },
}

/// Appends values to a buffer that keeps its capacity between messages.
#[derive(Debug)]
pub struct CdrWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> CdrWriter<'a> {
    /// Starts a message: clears `out` and writes the header.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&HEADER);
        let start = out.len();
        Self { out, start }
    }

    fn align(&mut self, to: usize) {
        let misaligned = (self.out.len() - self.start) % to;
        if misaligned != 0 {
            self.out.resize(self.out.len() + to - misaligned, 0);
        }
    }

    fn length(&mut self, length: usize) {
        // A message of 4 GiB cannot be expressed; nothing here comes near it.
        u32::try_from(length).unwrap_or(u32::MAX).write(self);
    }
}

/// Takes values from received bytes; every length is checked against what is left.
#[derive(Debug)]
pub struct CdrReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> CdrReader<'a> {
    /// Checks the header.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CdrError> {
        let Some((header, body)) = bytes.split_first_chunk::<4>() else {
            return Err(CdrError::Truncated { at: 0, wanted: 4 });
        };
        if header[..2] != HEADER[..2] {
            return Err(CdrError::Header(*header));
        }
        Ok(Self { bytes: body, at: 0 })
    }

    fn take(&mut self, size: usize, align: usize) -> Result<&'a [u8], CdrError> {
        let start = self.at.next_multiple_of(align);
        let end = start.saturating_add(size);
        let Some(taken) = self.bytes.get(start..end) else {
            return Err(CdrError::Truncated {
                at: self.bytes.len(),
                wanted: end.saturating_sub(self.bytes.len()),
            });
        };
        self.at = end;
        Ok(taken)
    }

    /// Reads a sequence length and refuses one that the remaining bytes cannot hold.
    fn length(&mut self) -> Result<usize, CdrError> {
        let length = u32::read(self)? as usize;
        let left = self.bytes.len() - self.at;
        if length > left {
            return Err(CdrError::Truncated {
                at: self.bytes.len(),
                wanted: length - left,
            });
        }
        Ok(length)
    }
}

/// A value with a CDR form.
pub trait Cdr: Sized {
    /// Appends the value.
    fn write(&self, out: &mut CdrWriter<'_>);
    /// Takes the value.
    fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError>;
    /// Appends the items of a sequence; bytes override it with one copy.
    fn write_items(items: &[Self], out: &mut CdrWriter<'_>) {
        items.iter().for_each(|item| item.write(out));
    }
    /// Takes the items of a sequence; bytes override it with one copy.
    fn read_items(count: usize, from: &mut CdrReader<'_>) -> Result<Vec<Self>, CdrError> {
        // Not reserved up front: `count` is the sender's word.
        (0..count).map(|_| Self::read(from)).collect()
    }
}

macro_rules! cdr_number {
    ($($number:ty),*) => {$(
        impl Cdr for $number {
            fn write(&self, out: &mut CdrWriter<'_>) {
                out.align(size_of::<Self>());
                out.out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError> {
                let bytes = from.take(size_of::<Self>(), size_of::<Self>())?;
                let mut array = [0; size_of::<Self>()];
                array.copy_from_slice(bytes);
                Ok(Self::from_le_bytes(array))
            }
        }
    )*};
}
cdr_number!(i8, i16, u16, i32, u32, i64, u64, f32, f64);

impl Cdr for u8 {
    fn write(&self, out: &mut CdrWriter<'_>) {
        out.out.push(*self);
    }
    fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError> {
        Ok(from.take(1, 1)?[0])
    }
    fn write_items(items: &[Self], out: &mut CdrWriter<'_>) {
        out.out.extend_from_slice(items);
    }
    fn read_items(count: usize, from: &mut CdrReader<'_>) -> Result<Vec<Self>, CdrError> {
        Ok(from.take(count, 1)?.to_vec())
    }
}

impl Cdr for String {
    fn write(&self, out: &mut CdrWriter<'_>) {
        out.length(self.len() + 1);
        out.out.extend_from_slice(self.as_bytes());
        out.out.push(0);
    }
    fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError> {
        let length = from.length()?;
        let at = from.at;
        let Some((0, text)) = from.take(length, 1)?.split_last() else {
            // Some writers send the empty string as length 0.
            return if length == 0 {
                Ok(Self::new())
            } else {
                Err(CdrError::String { at })
            };
        };
        std::str::from_utf8(text)
            .map(str::to_owned)
            .map_err(|_| CdrError::String { at })
    }
}

impl<T: Cdr> Cdr for Vec<T> {
    fn write(&self, out: &mut CdrWriter<'_>) {
        out.length(self.len());
        T::write_items(self, out);
    }
    fn read(from: &mut CdrReader<'_>) -> Result<Self, CdrError> {
        let count = from.length()?;
        T::read_items(count, from)
    }
}
