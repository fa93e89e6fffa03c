//! The index (`moov`) of an MP4 file with one video track whose frames lie one after the other.
//!
//! Written here and not by a muxer element, because the frames must be in their final place before
//! their number is known: that is what makes saving independent of an episode's length. Boxes as
//! in ISO/IEC 14496-12 and -15; `av1C` as in the AV1 ISOBMFF binding, section 2.3.

use serde::{Deserialize, Serialize};

/// What a decoder must know before the first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamHead {
    /// Sample entry: `avc1`, `hvc1` or `av01`.
    pub(crate) codec: String,
    /// Contents of the decoder configuration box (`avcC`, `hvcC`, `av1C`).
    pub(crate) config: Vec<u8>,
    /// Width, pixels.
    pub(crate) width: u16,
    /// Height, pixels.
    pub(crate) height: u16,
    /// Clock ticks a second.
    pub(crate) timescale: u32,
    /// Clock ticks a frame.
    pub(crate) ticks: u32,
    /// Colour primaries, transfer and matrix as in ISO/IEC 23091-2, and whether full range.
    pub(crate) colour: Option<(u16, u16, u16, bool)>,
}

impl StreamHead {
    fn config_box(&self) -> &'static [u8; 4] {
        match self.codec.as_str() {
            "av01" => b"av1C",
            "hvc1" => b"hvcC",
            _ => b"avcC",
        }
    }

    #[cfg(test)]
    pub(crate) fn sample(config: Vec<u8>) -> Self {
        Self {
            codec: "avc1".into(),
            config,
            width: 320,
            height: 240,
            timescale: 15360,
            ticks: 512,
            colour: Some((1, 1, 1, false)),
        }
    }
}

/// The file type box, for any of our codecs.
pub(super) fn file_type() -> Vec<u8> {
    boxed(
        b"ftyp",
        &[b"isom", &512_u32.to_be_bytes()[..], b"isomiso2avc1mp41"].concat(),
    )
}

/// The index of frames of `sizes` bytes that lie from `start` on; `keys` are the numbers, from 1,
/// of those where decoding can begin.
pub(super) fn movie(head: &StreamHead, start: u64, sizes: &[u32], keys: &[u32]) -> Vec<u8> {
    let frames = sizes.len() as u32;
    let duration = u64::from(frames) * u64::from(head.ticks);
    let (w, h) = (u32::from(head.width) << 16, u32::from(head.height) << 16);
    let mut mvhd = full(1, 0, &[&times(head.timescale, duration)]);
    mvhd.extend(words(&[0x0001_0000, 0x0100_0000, 0, 0]));
    mvhd.extend(words(&MATRIX));
    mvhd.extend(words(&[0, 0, 0, 0, 0, 0, 2]));
    // Enabled and part of the presentation.
    let mut tkhd = full(1, 3, &[&[0; 16], &words(&[1, 0]), &duration.to_be_bytes()]);
    tkhd.extend(words(&[0, 0, 0, 0]));
    tkhd.extend(words(&MATRIX));
    tkhd.extend(words(&[w, h]));
    // Language `und`.
    let mdhd = full(
        1,
        0,
        &[&times(head.timescale, duration), &[0x55, 0xc4, 0, 0]],
    );
    let hdlr = full(
        0,
        0,
        &[&[0; 4], b"vide", &[0; 12], b"VideoHandler\0".as_slice()],
    );
    let url = boxed(b"url ", &full(0, 1, &[]));
    let dref = boxed(b"dref", &full(0, 0, &[&words(&[1]), &url]));
    let minf = [
        boxed(b"vmhd", &full(0, 1, &[&[0; 8]])),
        boxed(b"dinf", &dref),
        boxed(b"stbl", &sample_table(head, start, sizes, keys)),
    ]
    .concat();
    let mdia = [
        boxed(b"mdhd", &mdhd),
        boxed(b"hdlr", &hdlr),
        boxed(b"minf", &minf),
    ]
    .concat();
    let trak = [boxed(b"tkhd", &tkhd), boxed(b"mdia", &mdia)].concat();
    boxed(
        b"moov",
        &[boxed(b"mvhd", &mvhd), boxed(b"trak", &trak)].concat(),
    )
}

/// The picture is not turned, in 16.16 and 2.30 fixed point.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

fn sample_table(head: &StreamHead, start: u64, sizes: &[u32], keys: &[u32]) -> Vec<u8> {
    let frames = sizes.len() as u32;
    [
        boxed(
            b"stsd",
            &full(0, 0, &[&words(&[1]), &boxed_sample_entry(head)]),
        ),
        boxed(b"stts", &full(0, 0, &[&words(&[1, frames, head.ticks])])),
        boxed(
            b"stss",
            &full(0, 0, &[&words(&[keys.len() as u32]), &words(keys)]),
        ),
        // All frames are one chunk.
        boxed(b"stsc", &full(0, 0, &[&words(&[1, 1, frames, 1])])),
        boxed(b"stsz", &full(0, 0, &[&words(&[0, frames]), &words(sizes)])),
        boxed(
            b"co64",
            &full(0, 0, &[&words(&[1]), &start.to_be_bytes()[..]]),
        ),
    ]
    .concat()
}

fn boxed_sample_entry(head: &StreamHead) -> Vec<u8> {
    let mut entry = vec![0; 6];
    entry.extend([0, 1]);
    entry.extend([0; 16]);
    entry.extend(head.width.to_be_bytes());
    entry.extend(head.height.to_be_bytes());
    // 72 dpi, one frame a sample, no compressor name, 24 bits, no colour table.
    entry.extend(words(&[0x0048_0000, 0x0048_0000, 0]));
    entry.extend([0, 1]);
    entry.extend([0; 32]);
    entry.extend([0, 24, 0xff, 0xff]);
    entry.extend(boxed(head.config_box(), &head.config));
    if let Some((primaries, transfer, matrix, full_range)) = head.colour {
        let mut colr = b"nclx".to_vec();
        for code in [primaries, transfer, matrix] {
            colr.extend(code.to_be_bytes());
        }
        colr.push(u8::from(full_range) << 7);
        entry.extend(boxed(b"colr", &colr));
    }
    entry.extend(boxed(b"pasp", &words(&[1, 1])));
    let kind = match head.codec.as_str() {
        "av01" => b"av01",
        "hvc1" => b"hvc1",
        _ => b"avc1",
    };
    boxed(kind, &entry)
}

/// Creation and modification time (unknown), clock and duration of a version 1 header.
fn times(timescale: u32, duration: u64) -> Vec<u8> {
    [
        &[0; 16][..],
        &timescale.to_be_bytes(),
        &duration.to_be_bytes(),
    ]
    .concat()
}

pub(super) fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

/// The body of a box with version and flags.
fn full(version: u8, flags: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[version, 0, 0, flags][..], &parts.concat()].concat()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

/// Contents of `av1C` for a stream that begins with `packet`: 8 bits, 4:2:0, as we encode. `None`
/// if the packet has no sequence header.
#[cfg(any(feature = "gstreamer", test))]
pub(crate) fn av1_config(packet: &[u8]) -> Option<Vec<u8>> {
    let header = sequence_header(packet)?;
    let body = obu_body(header)?;
    let mut bits = Bits { bytes: body, at: 0 };
    let profile = bits.take(3)?;
    let (level, tier) = level_and_tier(&mut bits)?;
    let mut config = vec![
        0x81,
        (profile << 5 | level) as u8,
        (tier << 7) as u8 | 0b0000_1100,
        0,
    ];
    config.extend_from_slice(header);
    Some(config)
}

/// Level and tier of the first operating point: AV1 specification, section 5.5.1.
#[cfg(any(feature = "gstreamer", test))]
fn level_and_tier(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let (_still, reduced) = (bits.take(1)?, bits.take(1)?);
    if reduced == 1 {
        return Some((bits.take(5)?, 0));
    }
    let timing = bits.take(1)?;
    if timing == 1 {
        // Timing information changes the layout of what follows; 31 means "no stated level".
        return Some((31, 0));
    }
    let (_delay, _points, _idc) = (bits.take(1)?, bits.take(5)?, bits.take(12)?);
    let level = bits.take(5)?;
    let tier = if level > 7 { bits.take(1)? } else { 0 };
    Some((level, tier))
}

#[cfg(any(feature = "gstreamer", test))]
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

#[cfg(any(feature = "gstreamer", test))]
impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = u32::from(*self.bytes.get(self.at / 8)?);
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | bit)
        })
    }
}

/// The sequence header among the OBUs of a packet.
#[cfg(any(feature = "gstreamer", test))]
fn sequence_header(mut rest: &[u8]) -> Option<&[u8]> {
    const SEQUENCE_HEADER: u8 = 1;
    loop {
        let (head, size) = obu_lengths(rest)?;
        let obu = rest.get(..head.checked_add(size)?)?;
        if rest.first()? >> 3 & 15 == SEQUENCE_HEADER {
            return Some(obu);
        }
        rest = rest.get(obu.len()..)?;
    }
}

#[cfg(any(feature = "gstreamer", test))]
fn obu_body(obu: &[u8]) -> Option<&[u8]> {
    let (head, size) = obu_lengths(obu)?;
    obu.get(head..head.checked_add(size)?)
}

/// Bytes of an OBU's header and of its body; without a size field it reaches to the end.
#[cfg(any(feature = "gstreamer", test))]
fn obu_lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    let head = 1 + usize::from(first >> 2 & 1);
    if first >> 1 & 1 == 0 {
        return Some((head, bytes.len().checked_sub(head)?));
    }
    let mut size = 0_usize;
    for i in 0..5 {
        let byte = *bytes.get(head + i)?;
        size |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((head + i + 1, size));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn av1_configuration_holds_the_sequence_header() {
        // Temporal delimiter; sequence header of profile 0, level 4; a frame.
        let sequence = [0x0a, 0x05, 0x00, 0x00, 0x00, 0x02, 0x42];
        let packet = [&[0x12, 0x00][..], &sequence, &[0x32, 0x01, 0xff]].concat();
        let config = av1_config(&packet).unwrap();
        assert_eq!(config[..4], [0x81, 0, 0b0000_1100, 0]);
        assert_eq!(config[4..], sequence);
        assert_eq!(av1_config(&[0x32, 0x01, 0xff]), None);
    }

    proptest! {
        #[test]
        fn any_packet_is_borne(packet in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(config) = av1_config(&packet) {
                prop_assert!(config.len() > 4);
            }
        }
    }
}
