//! The row journal's records: length, checksum, contents, one after the other.
//!
//! A record is `length: u32, crc32: u32, kind: u8, body`, little-endian; `length` counts kind and
//! body, and the checksum covers length, kind and body. Reading stops at the first record that is
//! cut off or does not match its checksum: everything before it was written whole.

use super::index::StreamHead;
use crate::spec::DatasetSpec;
use crate::values::Values;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// Name of the row journal in the staging folder.
pub(crate) const JOURNAL: &str = "rows.journal";
/// The first bytes of every journal.
pub(crate) const MAGIC: [u8; 8] = *b"SNWJRNL2";
/// Longest kind and body, bytes. A header with hundreds of columns stays far below.
const RECORD_LIMIT: usize = 1 << 20;
/// Columns of a row, and values of a column, at most.
const COUNT_LIMIT: usize = 1 << 16;

/// What the episode is; the journal's first record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Number that the episode will have.
    pub(crate) episode: u64,
    /// Task sentence of the first rows.
    pub(crate) task: String,
    /// What a row holds.
    pub(crate) spec: DatasetSpec,
}

/// One row without its frames.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RowRecord {
    /// Row within the episode, from 0.
    pub(crate) number: u64,
    /// Rows dropped just before this one.
    pub(crate) dropped_before: u32,
    /// State, action and the extra columns.
    pub(crate) values: Vec<Values>,
}

/// One encoded frame in a camera's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PacketRecord {
    /// Camera, in the spec's order.
    pub(crate) camera: u16,
    /// Frame within the episode, from 0.
    pub(crate) number: u64,
    /// Size, bytes.
    pub(crate) size: u32,
    /// Checksum of its bytes.
    pub(crate) crc: u32,
    /// Whether decoding can begin here.
    pub(crate) key: bool,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Header(Box<Header>),
    Stream(u16, StreamHead),
    Row(RowRecord),
    Packet(PacketRecord),
    /// The rows from here on have this task sentence.
    Task(String),
}

/// Appends `record` to `out`.
pub(crate) fn append(out: &mut Vec<u8>, record: &Record) -> serde_json::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    match record {
        Record::Header(header) => {
            out.push(0);
            serde_json::to_writer(&mut *out, header)?;
        }
        Record::Stream(camera, head) => {
            out.push(1);
            out.extend_from_slice(&camera.to_le_bytes());
            serde_json::to_writer(&mut *out, head)?;
        }
        Record::Row(row) => {
            out.push(2);
            append_row(out, row);
        }
        Record::Packet(packet) => {
            out.push(3);
            out.extend_from_slice(&packet.camera.to_le_bytes());
            out.extend_from_slice(&packet.number.to_le_bytes());
            out.extend_from_slice(&packet.size.to_le_bytes());
            out.extend_from_slice(&packet.crc.to_le_bytes());
            out.push(packet.key.into());
        }
        Record::Task(task) => {
            out.push(4);
            out.extend_from_slice(task.as_bytes());
        }
    }
    let length = ((out.len() - start - 8) as u32).to_le_bytes();
    out[start..start + 4].copy_from_slice(&length);
    let crc = checksum(&length, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn append_row(out: &mut Vec<u8>, row: &RowRecord) {
    out.extend_from_slice(&row.number.to_le_bytes());
    out.extend_from_slice(&row.dropped_before.to_le_bytes());
    out.extend_from_slice(&(row.values.len() as u32).to_le_bytes());
    for values in &row.values {
        append_values(out, values);
    }
}

/// A type's number, the count of values, and the values.
fn append_values(out: &mut Vec<u8>, values: &Values) {
    fn list<const N: usize, T: Copy>(out: &mut Vec<u8>, values: &[T], bytes: fn(T) -> [u8; N]) {
        out.extend(values.iter().flat_map(|v| bytes(*v)));
    }
    let kind: u8 = match values {
        Values::F32(_) => 0,
        Values::F64(_) => 1,
        Values::I64(_) => 2,
        Values::Bool(_) => 3,
        Values::Text(_) => 4,
    };
    out.push(kind);
    out.extend_from_slice(&(values.len() as u32).to_le_bytes());
    match values {
        Values::F32(v) => list(out, v, f32::to_le_bytes),
        Values::F64(v) => list(out, v, f64::to_le_bytes),
        Values::I64(v) => list(out, v, i64::to_le_bytes),
        Values::Bool(v) => out.extend(v.iter().map(|b| u8::from(*b))),
        Values::Text(v) => {
            for text in v {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

pub(crate) fn checksum(length: &[u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads records until the first that is not whole.
#[derive(Debug)]
pub(crate) struct Records<R> {
    source: R,
    /// Whether the beginning was that of a journal and nothing bad has come yet.
    sound: bool,
}

impl<R: Read> Records<R> {
    pub(crate) fn new(mut source: R) -> Self {
        let mut magic = [0; MAGIC.len()];
        let sound = source.read_exact(&mut magic).is_ok() && magic == MAGIC;
        Self { source, sound }
    }

    fn read(&mut self) -> Option<Record> {
        let mut head = [0; 8];
        self.source.read_exact(&mut head).ok()?;
        let mut fields = Fields(&head);
        let (length, crc) = (fields.array::<4>()?, fields.u32()?);
        let size = u32::from_le_bytes(length) as usize;
        if size == 0 || size > RECORD_LIMIT {
            return None;
        }
        let mut payload = vec![0; size];
        self.source.read_exact(&mut payload).ok()?;
        (checksum(&length, &payload) == crc).then(|| parse(&payload))?
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if !self.sound {
            return None;
        }
        let record = self.read();
        self.sound = record.is_some();
        record
    }
}

fn parse(payload: &[u8]) -> Option<Record> {
    let (kind, body) = payload.split_first()?;
    let mut fields = Fields(body);
    match kind {
        0 => Some(Record::Header(serde_json::from_slice(body).ok()?)),
        1 => {
            let camera = u16::from_le_bytes(fields.array()?);
            Some(Record::Stream(
                camera,
                serde_json::from_slice(fields.0).ok()?,
            ))
        }
        2 => parse_row(fields).map(Record::Row),
        3 => {
            let packet = PacketRecord {
                camera: u16::from_le_bytes(fields.array()?),
                number: u64::from_le_bytes(fields.array()?),
                size: fields.u32()?,
                crc: fields.u32()?,
                key: fields.array::<1>()?[0] != 0,
            };
            fields.0.is_empty().then_some(Record::Packet(packet))
        }
        4 => Some(Record::Task(String::from_utf8(body.to_vec()).ok()?)),
        _ => None,
    }
}

fn parse_row(mut fields: Fields<'_>) -> Option<RowRecord> {
    let number = u64::from_le_bytes(fields.array()?);
    let dropped_before = fields.u32()?;
    let columns = fields.count()?;
    let values = (0..columns).map(|_| parse_values(&mut fields));
    let row = RowRecord {
        number,
        dropped_before,
        values: values.collect::<Option<_>>()?,
    };
    fields.0.is_empty().then_some(row)
}

fn parse_values(fields: &mut Fields<'_>) -> Option<Values> {
    let [kind] = fields.array()?;
    let count = fields.count()?;
    Some(match kind {
        0 => Values::F32(fields.list(count, f32::from_le_bytes)?),
        1 => Values::F64(fields.list(count, f64::from_le_bytes)?),
        2 => Values::I64(fields.list(count, i64::from_le_bytes)?),
        3 => Values::Bool(fields.list(count, |[b]| b != 0)?),
        4 => {
            let texts = (0..count).map(|_| fields.text());
            Values::Text(texts.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// What is left of a record's body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        let count = self.u32()? as usize;
        (count <= COUNT_LIMIT).then_some(count)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn list<const N: usize, T>(&mut self, count: usize, from: fn([u8; N]) -> T) -> Option<Vec<T>> {
        // Checked before memory is taken for it.
        if self.0.len() < count * N {
            return None;
        }
        (0..count).map(|_| self.array().map(from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Record {
        Record::Header(Box::new(Header {
            episode: 3,
            task: "pick the cube".into(),
            spec: DatasetSpec {
                robot_type: "arm".into(),
                fps: 30,
                state_names: vec!["a.pos".into()],
                action_names: vec!["a.pos".into()],
                ..DatasetSpec::default()
            },
        }))
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let values = prop_oneof![
            prop::collection::vec(-1e6..1e6_f32, 0..8).prop_map(Values::F32),
            prop::collection::vec(-1e9..1e9_f64, 0..8).prop_map(Values::F64),
            prop::collection::vec(any::<i64>(), 0..8).prop_map(Values::I64),
            prop::collection::vec(any::<bool>(), 0..8).prop_map(Values::Bool),
            prop::collection::vec("\\PC{0,20}", 0..3).prop_map(Values::Text),
        ];
        let row = (
            any::<u64>(),
            any::<u32>(),
            prop::collection::vec(values, 0..6),
        );
        prop_oneof![
            Just(header()),
            "\\PC{0,40}".prop_map(Record::Task),
            row.prop_map(|(number, dropped_before, values)| {
                Record::Row(RowRecord {
                    number,
                    dropped_before,
                    values,
                })
            }),
            any::<(u16, u64, u32, u32, bool)>().prop_map(|(camera, number, size, crc, key)| {
                Record::Packet(PacketRecord {
                    camera,
                    number,
                    size,
                    crc,
                    key,
                })
            }),
            (any::<u16>(), prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(camera, config)| Record::Stream(camera, StreamHead::sample(config))),
        ]
    }

    /// The journal of `records`, and where each ends.
    fn journal(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = MAGIC.to_vec();
        let ends = records
            .iter()
            .map(|record| {
                append(&mut bytes, record).unwrap();
                bytes.len()
            })
            .collect();
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn a_cut_journal_gives_the_records_before_the_cut(records in prop::collection::vec(any_record(), 0..12), cut in any::<prop::sample::Index>()) {
            let (bytes, ends) = journal(&records);
            let kept = cut.index(bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= kept).count();
            let read: Vec<Record> = Records::new(&bytes[..kept]).collect();
            prop_assert_eq!(&read[..], &records[..whole]);
        }

        #[test]
        fn a_changed_byte_ends_the_reading_there(records in prop::collection::vec(any_record(), 1..12), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let (mut bytes, ends) = journal(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let before = if at < MAGIC.len() { 0 } else { ends.iter().filter(|end| **end <= at).count() };
            let read: Vec<Record> = Records::new(&bytes[..]).collect();
            prop_assert_eq!(&read[..], &records[..before]);
        }

        #[test]
        fn noise_behind_a_sound_beginning_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut bytes, _) = journal(&[header()]);
            bytes.extend(noise);
            prop_assert!(Records::new(&bytes[..]).count() >= 1);
        }

        #[test]
        fn payloads_with_a_right_checksum_never_panic(payload in prop::collection::vec(any::<u8>(), 1..200), kind in 0..6_u8) {
            let mut payload = payload;
            payload[0] = kind;
            let length = (payload.len() as u32).to_le_bytes();
            let bytes = [&MAGIC[..], &length, &checksum(&length, &payload).to_le_bytes(), &payload].concat();
            prop_assert!(Records::new(&bytes[..]).count() <= 1);
        }
    }
}
