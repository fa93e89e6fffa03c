//! Reads protobuf fields in place: no allocation, no recursion, every length checked.

/// Contents of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// An integer.
    Varint(u64),
    /// Four or eight bytes, little-endian.
    Fixed(&'a [u8]),
    /// Contents, and their offset in the file.
    Bytes(&'a [u8], usize),
}

/// One field of a message.
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

/// The fields of one protobuf message.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(..count)?;
        self.bytes = &self.bytes[count..];
        self.at += count;
        Some(taken)
    }

    fn take_varint(&mut self) -> Option<u64> {
        let (value, rest) = varint(self.bytes)?;
        self.at += self.bytes.len() - rest.len();
        self.bytes = rest;
        Some(value)
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.take_varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.take_varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = usize::try_from(self.take_varint()?).ok()?;
                let at = self.at;
                Value::Bytes(self.take(length)?, at)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return None,
        };
        (tag >> 3 != 0).then_some(Field {
            number: tag >> 3,
            value,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let start = self.at;
        let field = self.field();
        if field.is_none() {
            // Nothing after a broken field can be trusted.
            self.bytes = &[];
        }
        Some(field.ok_or_else(|| broken(start)))
    }
}

/// The number at the start of `bytes`, and what follows it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// The message for bytes that are no protobuf.
pub(super) fn broken(at: usize) -> String {
    format!("it is damaged or cut off at byte {at}")
}
