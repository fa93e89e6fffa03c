//! The header of a safetensors file: names, types, shapes and places of its tensors.
//!
//! A file is 8 bytes with the header's length (little-endian), the header (JSON), and the tensors'
//! bytes without gaps. Everything here comes from strangers, so it is checked before it is believed:
//! memory stays in proportion to the header, which has a limit.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Longest header that is read, bytes. LeRobot's largest policies need about 200 kB.
pub(super) const HEADER_LIMIT: u64 = 16 << 20;
/// Most tensors in a file.
pub(super) const TENSOR_LIMIT: usize = 1 << 16;
/// Most axes of a tensor.
const RANK_LIMIT: usize = 8;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// 16-bit float with the exponent of [`Dtype::F32`].
    Bf16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// Truth, one byte each.
    Bool,
}

impl Dtype {
    const ALL: [(Self, &'static str, usize); 13] = [
        (Self::F64, "F64", 8),
        (Self::F32, "F32", 4),
        (Self::F16, "F16", 2),
        (Self::Bf16, "BF16", 2),
        (Self::I64, "I64", 8),
        (Self::I32, "I32", 4),
        (Self::I16, "I16", 2),
        (Self::I8, "I8", 1),
        (Self::U64, "U64", 8),
        (Self::U32, "U32", 4),
        (Self::U16, "U16", 2),
        (Self::U8, "U8", 1),
        (Self::Bool, "BOOL", 1),
    ];

    fn row(self) -> (&'static str, usize) {
        let mut rows = Self::ALL.iter().filter(|row| row.0 == self);
        rows.next().map_or(("", 1), |row| (row.1, row.2))
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        self.row().1
    }

    /// Its name in a safetensors header.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rows = Self::ALL.iter().filter(|row| row.1 == text);
        rows.next().map(|row| row.0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One tensor: `start..end` counts from the end of the header.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The length of the header, from a file's first bytes and the file's length.
pub(super) fn length(first: Option<[u8; 8]>, file: u64) -> Result<usize, String> {
    let length = first.map(u64::from_le_bytes).ok_or_else(|| {
        format!("it has {file} bytes, and a safetensors file has at least 8; fetch it again")
    })?;
    if length > HEADER_LIMIT {
        return Err(format!(
            "its header claims {length} bytes where at most {HEADER_LIMIT} are read; it is no safetensors file, or damaged"
        ));
    }
    if length > file.saturating_sub(8) {
        return Err(format!(
            "it was cut short: the header claims {length} bytes and the file has {file}; fetch it again"
        ));
    }
    usize::try_from(length).map_err(|e| e.to_string())
}

/// Parses a header and checks it against the `data` bytes that follow it. The entries are sorted by name.
pub(super) fn parse(json: &[u8], data: usize) -> Result<Vec<Entry>, String> {
    let Header(mut entries) =
        serde_json::from_slice(json).map_err(|e| format!("its header is not valid: {e}"))?;
    entries.sort_by_key(|entry| (entry.start, entry.end));
    let mut next = 0;
    for entry in &entries {
        check(entry, next, data)?;
        next = entry.end;
    }
    if next != data {
        return Err(format!(
            "{} bytes at its end belong to no tensor; write it again",
            data - next
        ));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    match entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(format!("it holds tensor `{}` twice", pair[0].name)),
        None => Ok(entries),
    }
}

fn check(entry: &Entry, next: usize, data: usize) -> Result<(), String> {
    let Entry {
        name,
        dtype,
        shape,
        start,
        end,
    } = entry;
    let bytes = shape
        .iter()
        .try_fold(dtype.size(), |n, dim| n.checked_mul(*dim))
        .ok_or_else(|| format!("tensor `{name}` {shape:?} is larger than any memory"))?;
    if *end > data {
        return Err(format!(
            "it was cut short: tensor `{name}` ends at byte {end} of the {data} that are there; fetch it again"
        ));
    }
    if start > end || end - start != bytes {
        return Err(format!(
            "tensor `{name}` {shape:?} {dtype} takes {bytes} bytes and its place is {start}..{end}"
        ));
    }
    if *start < next {
        return Err(format!(
            "tensor `{name}` overlaps another one at byte {start}"
        ));
    }
    if *start > next {
        return Err(format!(
            "bytes {next}..{start}, before tensor `{name}`, belong to no tensor"
        ));
    }
    Ok(())
}

struct Header(Vec<Entry>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry a tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.len() == TENSOR_LIMIT {
                return Err(Error::custom(format!("more than {TENSOR_LIMIT} tensors")));
            }
            let raw: RawEntry = map.next_value()?;
            let dtype = Dtype::parse(&raw.dtype).ok_or_else(|| {
                Error::custom(format!(
                    "tensor `{name}` has the type `{}`, which is not supported; convert it to F32, F16 or BF16",
                    shortened(&raw.dtype)
                ))
            })?;
            let [start, end] = raw.data_offsets;
            entries.push(Entry {
                name,
                dtype,
                shape: raw.shape.0,
                start,
                end,
            });
        }
        Ok(Header(entries))
    }
}

/// A stranger's word, short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short + "…"
    } else {
        short
    }
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Shape,
    data_offsets: [usize; 2],
}

struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Axes)
    }
}

struct Axes;

impl<'de> Visitor<'de> for Axes {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {RANK_LIMIT} sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(size) = list.next_element()? {
            if shape.len() == RANK_LIMIT {
                return Err(Error::invalid_length(RANK_LIMIT + 1, &self));
            }
            shape.push(size);
        }
        Ok(Shape(shape))
    }
}
