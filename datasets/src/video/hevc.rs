//! H.265 as encoders give it → as MP4 files hold it: ISO/IEC 14496-15, section 8.3; ITU-T H.265,
//! section 7.3.2.

/// NAL units of a stream with start codes.
pub(super) fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let unit = rest?;
        let next = after_start_code(unit);
        rest = next;
        let end = next.map_or(unit.len(), |next| unit.len() - next.len() - 3);
        let zeros = unit[..end].iter().rev().take_while(|b| **b == 0).count();
        Some(&unit[..end - zeros])
    })
    .filter(|unit| unit.len() > 2)
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|w| w == [0, 0, 1])?;
    bytes.get(at + 3..)
}

/// The same units, each behind its length.
pub(super) fn length_prefixed(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stream.len() + 8);
    for unit in units(stream) {
        out.extend((unit.len() as u32).to_be_bytes());
        out.extend_from_slice(unit);
    }
    out
}

fn kind(unit: &[u8]) -> u8 {
    unit[0] >> 1 & 0x3f
}

/// Contents of `hvcC` from the stream's parameter sets; `None` if they say too little.
pub(super) fn configuration(headers: &[u8]) -> Option<Vec<u8>> {
    const SETS: [u8; 3] = [32, 33, 34];
    let sets: Vec<&[u8]> = units(headers).collect();
    let of = |wanted: u8| sets.iter().filter(move |unit| kind(unit) == wanted);
    let sequence = Sequence::parse(of(33).next()?)?;
    let mut out = vec![1];
    out.extend(sequence.profile_and_level);
    // No statement about segmentation and parallelism.
    out.extend([0xf0, 0x00, 0xfc]);
    out.push(0xfc | sequence.chroma_format);
    out.push(0xf8 | sequence.luma_depth_above_8);
    out.push(0xf8 | sequence.chroma_depth_above_8);
    // No average frame rate; one temporal layer; lengths of four bytes.
    out.extend([0, 0, 1 << 3 | u8::from(sequence.nested) << 2 | 3]);
    out.push(SETS.len() as u8);
    for wanted in SETS {
        // All sets of this kind are here.
        out.push(0x80 | wanted);
        out.extend((of(wanted).count() as u16).to_be_bytes());
        for unit in of(wanted) {
            out.extend(u16::try_from(unit.len()).ok()?.to_be_bytes());
            out.extend_from_slice(unit);
        }
    }
    Some(out)
}

/// What `hvcC` repeats of a sequence parameter set with one layer.
struct Sequence {
    profile_and_level: [u8; 12],
    nested: bool,
    chroma_format: u8,
    luma_depth_above_8: u8,
    chroma_depth_above_8: u8,
}

impl Sequence {
    fn parse(unit: &[u8]) -> Option<Self> {
        let bytes = without_emulation(unit.get(2..)?);
        let (first, rest) = bytes.split_first()?;
        if first >> 1 & 7 != 0 {
            return None;
        }
        let (profile, rest) = rest.split_first_chunk::<12>()?;
        let mut bits = Bits { bytes: rest, at: 0 };
        let _id = bits.number()?;
        let chroma_format = bits.number()?;
        if chroma_format == 3 {
            bits.bit()?;
        }
        let (_width, _height) = (bits.number()?, bits.number()?);
        if bits.bit()? == 1 {
            for _ in 0..4 {
                bits.number()?;
            }
        }
        let (luma, chroma) = (bits.number()?, bits.number()?);
        let small = |value: u32, limit: u32| (value <= limit).then_some(value as u8);
        Some(Self {
            profile_and_level: *profile,
            nested: first & 1 == 1,
            chroma_format: small(chroma_format, 3)?,
            luma_depth_above_8: small(luma, 7)?,
            chroma_depth_above_8: small(chroma, 7)?,
        })
    }
}

/// Without the bytes that keep start codes out of the contents.
fn without_emulation(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// An Exp-Golomb number.
    fn number(&mut self) -> Option<u32> {
        let mut length = 0;
        while self.bit()? == 0 {
            length += 1;
            if length > 31 {
                return None;
            }
        }
        (0..length)
            .try_fold(1_u32, |value, _| Some(value << 1 | self.bit()?))
            .map(|v| v - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// VPS, SPS and PPS of x265 for 640×480 12-bit grey.
    const HEADERS: [&str; 3] = [
        "40010c01ffff04080000030099c80000030000ffba024000",
        "42010104080000030099c80000030000ffc0140807845296e92930b9a020000003002000000303c1",
        "4401c07189120",
    ];

    fn headers() -> Vec<u8> {
        let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
        let bytes = |set: &str| -> Vec<u8> {
            let pairs = set.as_bytes().chunks_exact(2);
            pairs
                .map(|p| byte(std::str::from_utf8(p).unwrap()))
                .collect()
        };
        HEADERS
            .iter()
            .flat_map(|set| [vec![0, 0, 0, 1], bytes(set)].concat())
            .collect()
    }

    #[test]
    fn configuration_describes_twelve_bit_grey() {
        let found = configuration(&headers()).unwrap();
        // Version; range extensions profile, main tier.
        assert_eq!(found[..2], [1, 4]);
        assert_eq!(found[16..19], [0xfc, 0xf8 | 4, 0xf8 | 4]);
        assert_eq!(found[21] & 3, 3, "lengths of four bytes");
        assert_eq!((found[22], found[23]), (3, 0x80 | 32));
    }

    #[test]
    fn units_get_their_lengths() {
        let stream = [0, 0, 0, 1, 0x28, 1, 9, 0, 0, 1, 0x02, 1, 7, 8, 0];
        let expected = [0, 0, 0, 3, 0x28, 1, 9, 0, 0, 0, 4, 0x02, 1, 7, 8];
        assert_eq!(length_prefixed(&stream), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
            let _ = configuration(&bytes);
            prop_assert!(length_prefixed(&bytes).len() <= bytes.len() + 200);
            let mut headers = headers();
            headers.truncate(cut.index(headers.len()));
            let _ = configuration(&headers);
        }
    }
}
