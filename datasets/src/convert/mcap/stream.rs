//! Encoded frames as MP4 files have them, and as foxglove_msgs/CompressedVideo wants them.
//!
//! H.264 and H.265: MP4 puts the length before each unit and the parameter sets into its index;
//! messages put start codes between the units ("Annex B") and the parameter sets into each key
//! frame. AV1: the frame's bytes are the same, with a sequence header in each key frame. VP9: no
//! difference. The way back gives the frames' bytes as they were.

use crate::error::{Error, Result};
use crate::video::samples::sample_entry;
use std::path::Path;

/// Between two units of a message.
const START: [u8; 4] = [0, 0, 0, 1];
/// Kinds of H.264 units.
const H264_SPS: u8 = 7;
const H264_DELIMITER: u8 = 9;
/// Kinds of H.265 units.
const H265_SPS: u8 = 33;
const H265_DELIMITER: u8 = 35;
/// Kind of AV1's sequence header.
const AV1_SEQUENCE: u8 = 1;
/// Units looked at in one frame.
const UNIT_LIMIT: usize = 10_000;

/// How a message's `format` calls a codec, and MP4 files.
const CODECS: [(&str, Codec, &[&str]); 4] = [
    ("h264", Codec::H264, &["avc1", "avc3"]),
    ("h265", Codec::H265, &["hvc1", "hev1"]),
    ("av1", Codec::Av1, &["av01"]),
    ("vp9", Codec::Vp9, &["vp09"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    H264,
    H265,
    Av1,
    Vp9,
}

/// One video stream's codec.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stream {
    codec: Codec,
    /// Bytes of the lengths before units.
    length_bytes: usize,
    /// Parameter sets or the sequence header, as key frames need them.
    parameters: Vec<Vec<u8>>,
}

impl Stream {
    /// Of an MP4 file whose `stsd` box has the body `description`. `path` is for messages.
    pub(super) fn of(path: &Path, description: &[u8]) -> Result<Self> {
        let entry = sample_entry(description);
        let (name, config) = entry.unwrap_or_default();
        let known = CODECS.iter().find(|(_, _, names)| names.contains(&&*name));
        let Some((_, codec, _)) = known else {
            return Err(Error::video(
                path,
                format!(
                    "the codec `{}` has no place in a CompressedVideo message; re-encode the camera first (`sinew dataset edit reencode`)",
                    name.escape_debug()
                ),
            ));
        };
        let parameters = match codec {
            Codec::H264 => h264_parameters(&config),
            Codec::H265 => h265_parameters(&config),
            Codec::Av1 => Some((0, vec![config.get(4..).unwrap_or_default().to_vec()])),
            Codec::Vp9 => Some((0, Vec::new())),
        };
        let (length_bytes, mut parameters) = parameters
            .ok_or_else(|| Error::video(path, "its decoder configuration makes no sense"))?;
        parameters.retain(|p| !p.is_empty());
        Ok(Self {
            codec: *codec,
            length_bytes,
            parameters,
        })
    }

    /// The message's `format`.
    pub(super) fn format(&self) -> &'static str {
        let found = CODECS.iter().find(|(_, codec, _)| *codec == self.codec);
        found.map_or("", |(format, ..)| format)
    }

    /// A stored frame as a message's data.
    pub(super) fn to_message(&self, path: &Path, sample: &[u8], key: bool) -> Result<Vec<u8>> {
        let broken = || Error::video(path, "a frame is not made of whole units");
        match self.codec {
            Codec::Vp9 => Ok(sample.to_vec()),
            Codec::Av1 => {
                let bare = key && !has_sequence(sample);
                let before: &[Vec<u8>] = if bare { &self.parameters } else { &[] };
                Ok([before.concat(), sample.to_vec()].concat())
            }
            Codec::H264 | Codec::H265 => {
                let units = lengths(sample, self.length_bytes).ok_or_else(broken)?;
                // Whether or not the frame has its own, so that the way back knows what to leave out.
                let added: &[Vec<u8>] = if key { &self.parameters } else { &[] };
                let (first, rest) = units.split_at(self.delimiters(&units));
                let added = added.iter().map(Vec::as_slice);
                let mut out = Vec::with_capacity(sample.len() + 128);
                for unit in first
                    .iter()
                    .copied()
                    .chain(added)
                    .chain(rest.iter().copied())
                {
                    out.extend(START);
                    out.extend(unit);
                }
                Ok(out)
            }
        }
    }

    /// A message's data as a stored frame, and whether it is a key frame. `None` if it makes no sense.
    pub(super) fn to_sample(&self, data: &[u8]) -> Option<(Vec<u8>, bool)> {
        match self.codec {
            Codec::Vp9 => Some((data.to_vec(), vp9_key(data))),
            Codec::Av1 => Some((data.to_vec(), has_sequence(data))),
            Codec::H264 | Codec::H265 => {
                let units = start_codes(data)?;
                let key = units.iter().any(|unit| self.is_sps(unit));
                let (first, rest) = units.split_at(self.delimiters(&units));
                let count = self.parameters.len();
                let added =
                    rest.len() > count && self.parameters.iter().zip(rest).all(|(p, u)| p == u);
                let rest = if key && added { &rest[count..] } else { rest };
                let mut out = Vec::with_capacity(data.len() + 16);
                for unit in first.iter().chain(rest) {
                    let length = u32::try_from(unit.len()).ok()?.to_be_bytes();
                    out.extend(&length[4 - self.length_bytes..]);
                    out.extend(*unit);
                }
                Some((out, key))
            }
        }
    }

    fn is_sps(&self, unit: &[u8]) -> bool {
        self.is(unit, H264_SPS, H265_SPS)
    }

    /// How many units at the beginning only say that a frame begins: nothing may come before them.
    fn delimiters(&self, units: &[&[u8]]) -> usize {
        let is_delimiter = |unit: &&&[u8]| self.is(unit, H264_DELIMITER, H265_DELIMITER);
        units.iter().take_while(is_delimiter).count()
    }

    /// Whether a unit is of a kind, given as H.264 and as H.265 number it.
    fn is(&self, unit: &[u8], h264: u8, h265: u8) -> bool {
        unit.first().is_some_and(|head| match self.codec {
            Codec::H264 => head & 31 == h264,
            _ => head >> 1 & 63 == h265,
        })
    }
}

/// The MP4 name of a message's `format`, for a decoder.
pub(super) fn codec_of(format: &str) -> Option<&'static str> {
    let found = CODECS.iter().find(|(name, ..)| *name == format)?;
    found.2.first().copied()
}

/// The parameter sets in an `avcC`: ISO/IEC 14496-15, 5.3.3.1.
fn h264_parameters(config: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let length_bytes = usize::from(config.get(4)? & 3) + 1;
    let mut rest = config.get(5..)?;
    let mut sets = Vec::new();
    for mask in [31, 255] {
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..count & mask {
            sets.push(short_unit(&mut rest)?);
        }
    }
    Some((length_bytes, sets))
}

/// The parameter sets in an `hvcC`: ISO/IEC 14496-15, 8.3.3.1.
fn h265_parameters(config: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let length_bytes = usize::from(config.get(21)? & 3) + 1;
    let (arrays, mut rest) = config.get(22..)?.split_first()?;
    let mut sets = Vec::new();
    for _ in 0..*arrays {
        let (head, after) = rest.split_first_chunk::<3>()?;
        rest = after;
        for _ in 0..u16::from_be_bytes([head[1], head[2]]) {
            sets.push(short_unit(&mut rest)?);
        }
    }
    Some((length_bytes, sets))
}

/// Takes a unit with a 16-bit length.
fn short_unit(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let unit = after.get(..usize::from(u16::from_be_bytes(*length)))?;
    *rest = &after[unit.len()..];
    Some(unit.to_vec())
}

/// The units of a stored frame.
fn lengths(mut sample: &[u8], length_bytes: usize) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !sample.is_empty() {
        let length = sample.get(..length_bytes)?;
        let length = length.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
        let unit = sample[length_bytes..].get(..length)?;
        sample = &sample[length_bytes + length..];
        units.push(unit);
        if units.len() > UNIT_LIMIT {
            return None;
        }
    }
    Some(units)
}

/// The units between the start codes.
fn start_codes(data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    let mut start: Option<usize> = None;
    let mut at = 0;
    while let Some(found) = data
        .get(at..)
        .and_then(|rest| rest.windows(3).position(|w| w == [0, 0, 1]))
    {
        let code = at + found;
        push_unit(data, start, code, &mut units);
        at = code + 3;
        start = Some(at);
        if units.len() > UNIT_LIMIT {
            return None;
        }
    }
    push_unit(data, start, data.len(), &mut units);
    (!units.is_empty()).then_some(units)
}

/// Adds the unit from `start` to `end`, without zeros that belong to the next start code: no unit
/// ends with one.
fn push_unit<'a>(data: &'a [u8], start: Option<usize>, end: usize, units: &mut Vec<&'a [u8]>) {
    let Some(mut unit) = start.and_then(|start| data.get(start..end)) else {
        return;
    };
    while let Some((0, shorter)) = unit.split_last() {
        unit = shorter;
    }
    if !unit.is_empty() {
        units.push(unit);
    }
}

/// Whether an AV1 frame has a sequence header.
fn has_sequence(mut data: &[u8]) -> bool {
    // Headers come before frames, so a few units are enough.
    for _ in 0..8 {
        let Some((head, rest)) = data.split_first() else {
            return false;
        };
        if head >> 3 & 15 == AV1_SEQUENCE {
            return true;
        }
        let (extended, sized) = (head & 4 != 0, head & 2 != 0);
        let Some(rest) = rest.get(usize::from(extended)..) else {
            return false;
        };
        let Some((length, used)) = leb128(rest).filter(|_| sized) else {
            return false;
        };
        let Some(next) = used.checked_add(length).and_then(|n| rest.get(n..)) else {
            return false;
        };
        data = next;
    }
    false
}

/// A number of AV1's variable length, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (i, byte) in bytes.iter().take(8).enumerate() {
        value |= usize::from(byte & 127).checked_shl(7 * i as u32)?;
        if byte & 128 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Whether a VP9 frame is a key frame: its uncompressed header, section 6.2 of the specification.
fn vp9_key(data: &[u8]) -> bool {
    let Some(head) = data.first() else {
        return false;
    };
    // Frame marker (2 bits), profile (2, and a reserved one in profile 3), an existing frame is
    // shown again, the frame's type.
    let after = if head >> 4 & 3 == 3 { 5 } else { 4 };
    head >> 6 == 2 && head << after & 0b1100_0000 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn h264() -> Stream {
        Stream {
            codec: Codec::H264,
            length_bytes: 4,
            parameters: vec![vec![0x67, 1, 2], vec![0x68, 3]],
        }
    }

    fn stored(units: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in units {
            out.extend((unit.len() as u32).to_be_bytes());
            out.extend(*unit);
        }
        out
    }

    #[test]
    fn key_frames_carry_their_parameters_and_come_back_without() {
        let sample = stored(&[&[0x65, 9, 0, 0, 3, 1], &[0x06, 5]]);
        let message = h264().to_message(Path::new("x"), &sample, true).unwrap();
        assert!(message.starts_with(&[
            0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65
        ]));
        assert_eq!(h264().to_sample(&message), Some((sample, true)));
        let own = stored(&[&[0x67, 1, 2], &[0x68, 3], &[0x65, 9]]);
        let message = h264().to_message(Path::new("x"), &own, true).unwrap();
        assert_eq!(h264().to_sample(&message), Some((own, true)));
        let delimited = stored(&[&[0x09, 0xf0], &[0x65, 9]]);
        let message = h264().to_message(Path::new("x"), &delimited, true).unwrap();
        assert!(message.starts_with(&[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x67]));
        assert_eq!(h264().to_sample(&message), Some((delimited, true)));
        let other = stored(&[&[0x41, 7]]);
        let message = h264().to_message(Path::new("x"), &other, false).unwrap();
        assert_eq!(message, [0, 0, 0, 1, 0x41, 7]);
        assert_eq!(h264().to_sample(&message), Some((other, false)));
    }

    #[test]
    fn configurations_are_taken_apart() {
        let avc = [1, 66, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];
        assert_eq!(
            h264_parameters(&avc),
            Some((4, vec![vec![0x67, 9], vec![0x68]]))
        );
        let mut hevc = vec![0; 21];
        hevc.extend([3, 1, 0x20, 0, 1, 0, 2, 0x40, 1]);
        assert_eq!(h265_parameters(&hevc), Some((4, vec![vec![0x40, 1]])));
    }

    #[test]
    fn sequence_headers_and_key_frames_are_seen() {
        // Temporal delimiter, then a sequence header of two bytes.
        assert!(has_sequence(&[0x12, 0, 0x0a, 2, 1, 1, 0x32, 1, 7]));
        assert!(!has_sequence(&[0x12, 0, 0x32, 1, 7]));
        assert!(vp9_key(&[0b1000_0010]) && !vp9_key(&[0b1000_0110]));
        assert!(vp9_key(&[0b1011_0000]) && !vp9_key(&[0b1011_0010]));
    }

    proptest! {
        #[test]
        fn units_survive_the_way_to_a_message_and_back(
            units in prop::collection::vec(prop::collection::vec(1_u8..=255, 1..20), 1..6),
            key in any::<bool>(),
        ) {
            // The first byte decides on the kind; parameter sets within frames are another case.
            let units: Vec<Vec<u8>> = units.into_iter().map(|mut u| { u[0] = 0x65; u }).collect();
            let sample = stored(&units.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let message = h264().to_message(Path::new("x"), &sample, key).unwrap();
            prop_assert_eq!(h264().to_sample(&message), Some((sample, key)));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..200)) {
            for codec in [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9] {
                let stream = Stream { codec, ..h264() };
                let _ = stream.to_sample(&bytes);
                let _ = stream.to_message(Path::new("x"), &bytes, true);
            }
            let _ = (h264_parameters(&bytes), h265_parameters(&bytes));
            let _ = Stream::of(Path::new("x"), &bytes);
        }
    }
}
