//! The row journal's records: length, checksum, contents, one after the other.
//!
//! A record is `length: u32, crc32: u32, kind: u8, body`, little-endian; `length` counts kind and
//! body, and the checksum covers length, kind and body. Reading stops at the first record that is
//! cut off or does not match its checksum: everything before it was written whole.

use super::index::StreamHead;
use crate::features::DatasetSpec;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// Name of the row journal in the staging folder.
pub(crate) const JOURNAL: &str = "rows.journal";
/// The first bytes of every journal.
pub(crate) const MAGIC: [u8; 8] = *b"SNWJRNL1";
/// Longest kind and body, bytes. A header with hundreds of columns stays far below.
const RECORD_LIMIT: usize = 1 << 20;
/// Values of one kind in a row at most, which keeps a damaged count from taking memory.
const VALUE_LIMIT: usize = 1 << 16;

/// What the episode is; the journal's first record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Number that the episode will have.
    pub(crate) episode: u64,
    /// Task sentence.
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
    pub(crate) state: Vec<f32>,
    pub(crate) action: Vec<f32>,
    pub(crate) extra: Vec<f64>,
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
    for count in [row.state.len(), row.action.len(), row.extra.len()] {
        out.extend_from_slice(&(count as u32).to_le_bytes());
    }
    for value in row.state.iter().chain(&row.action) {
        out.extend_from_slice(&value.to_le_bytes());
    }
    for value in &row.extra {
        out.extend_from_slice(&value.to_le_bytes());
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
        _ => None,
    }
}

fn parse_row(mut fields: Fields<'_>) -> Option<RowRecord> {
    let number = u64::from_le_bytes(fields.array()?);
    let dropped_before = fields.u32()?;
    let counts = [fields.u32()?, fields.u32()?, fields.u32()?].map(|n| n as usize);
    if counts.iter().any(|n| *n > VALUE_LIMIT) {
        return None;
    }
    let row = RowRecord {
        number,
        dropped_before,
        state: fields.list(counts[0], f32::from_le_bytes)?,
        action: fields.list(counts[1], f32::from_le_bytes)?,
        extra: fields.list(counts[2], f64::from_le_bytes)?,
    };
    fields.0.is_empty().then_some(row)
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
    use crate::features::Codec;
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
                cameras: vec![],
                extras: vec![],
                codec: Codec::Auto,
            },
        }))
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let values = || prop::collection::vec(-1e6..1e6_f32, 0..8);
        let row = (
            any::<u64>(),
            any::<u32>(),
            values(),
            values(),
            prop::collection::vec(-1e9..1e9_f64, 0..8),
        );
        prop_oneof![
            Just(header()),
            row.prop_map(|(number, dropped_before, state, action, extra)| {
                Record::Row(RowRecord {
                    number,
                    dropped_before,
                    state,
                    action,
                    extra,
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
        fn payloads_with_a_right_checksum_never_panic(payload in prop::collection::vec(any::<u8>(), 1..200), kind in 0..5_u8) {
            let mut payload = payload;
            payload[0] = kind;
            let length = (payload.len() as u32).to_le_bytes();
            let bytes = [&MAGIC[..], &length, &checksum(&length, &payload).to_le_bytes(), &payload].concat();
            prop_assert!(Records::new(&bytes[..]).count() <= 1);
        }
    }
}
