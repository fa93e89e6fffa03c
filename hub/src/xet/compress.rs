//! The three ways in which a chunk is stored, and the choice among them.

use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use std::io::{Read, Write};

/// First bytes of an LZ4 frame.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4D, 0x18];
/// Bytes of one number, whose bytes of equal weight are brought together.
const GROUPS: usize = 4;
/// Numbers of ones that a byte can have.
const WEIGHTS: usize = 9;
/// Divergence, in nats, from which grouping bytes pays; found empirically by Xet's authors.
const GROUPING_THRESHOLD: f64 = 0.02;

/// How a chunk's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scheme {
    /// As they are.
    None = 0,
    /// As one LZ4 frame.
    Lz4 = 1,
    /// Regrouped by their place in each four, then as one LZ4 frame: good for arrays of numbers.
    GroupedLz4 = 2,
}

/// How a xorb's builder chooses a chunk's scheme. Whatever is chosen, a chunk that does not become shorter
/// is stored as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// By the chunk's content.
    #[default]
    ByContent,
    /// The same for all.
    Always(Scheme),
}

impl Compression {
    /// The scheme for a chunk.
    pub fn scheme(self, chunk: &[u8]) -> Scheme {
        match self {
            Self::Always(scheme) => scheme,
            Self::ByContent if is_grouping_better(chunk) => Scheme::GroupedLz4,
            Self::ByContent => Scheme::Lz4,
        }
    }
}

impl Scheme {
    /// The scheme with this number, as a chunk's header says it.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::GroupedLz4),
            _ => None,
        }
    }

    /// Appends the stored form of `raw` to `out`; says in which scheme, because what would not become
    /// shorter stays as it is.
    pub fn pack(self, raw: &[u8], out: &mut Vec<u8>) -> Self {
        let start = out.len();
        let packed = match self {
            Self::None => false,
            Self::Lz4 => lz4_frame(raw, out),
            Self::GroupedLz4 => lz4_frame(&group(raw), out),
        };
        if packed && out.len() - start < raw.len() {
            return self;
        }
        out.truncate(start);
        out.extend_from_slice(raw);
        Self::None
    }

    /// The `raw_len` bytes that `packed` stands for: itself, or `space` with what it unpacks to.
    ///
    /// # Errors
    /// As [`Scheme::unpack`].
    pub(super) fn raw<'a>(
        self,
        packed: &'a [u8],
        raw_len: usize,
        space: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], String> {
        if self == Self::None {
            check_len(packed.len(), raw_len)?;
            return Ok(packed);
        }
        self.unpack(packed, raw_len, space)?;
        Ok(space)
    }

    /// Puts the `raw_len` bytes that `packed` stands for into `out`, in place of what is there. Memory is
    /// bounded by the largest LZ4 block, 4 MiB, whatever `packed` claims.
    ///
    /// # Errors
    /// Says what is wrong with `packed`, as part of a sentence.
    pub fn unpack(self, packed: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<(), String> {
        out.clear();
        match self {
            Self::None => {
                check_len(packed.len(), raw_len)?;
                out.extend_from_slice(packed);
                Ok(())
            }
            Self::Lz4 => unframe(packed, raw_len, out),
            Self::GroupedLz4 => {
                let mut grouped = Vec::new();
                unframe(packed, raw_len, &mut grouped)?;
                ungroup(&grouped, out);
                Ok(())
            }
        }
    }
}

/// Appends one LZ4 frame; false when that fails.
fn lz4_frame(raw: &[u8], out: &mut Vec<u8>) -> bool {
    let mut encoder = FrameEncoder::new(out);
    encoder.write_all(raw).is_ok() && encoder.finish().is_ok()
}

fn unframe(packed: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<(), String> {
    if !packed.starts_with(&LZ4_MAGIC) {
        return Err("its bytes are no LZ4 frame".into());
    }
    let mut decoder = FrameDecoder::new(packed);
    out.reserve_exact(raw_len);
    // One byte more than wanted tells a frame that is too long.
    let limit = raw_len as u64 + 1;
    let read = decoder.by_ref().take(limit).read_to_end(out);
    read.map_err(|e| format!("its LZ4 frame is damaged ({e})"))?;
    check_len(out.len(), raw_len)?;
    match decoder.get_ref().len() {
        0 => Ok(()),
        rest => Err(format!("{rest} bytes follow its LZ4 frame")),
    }
}

fn check_len(found: usize, stated: usize) -> Result<(), String> {
    match found {
        _ if found == stated => Ok(()),
        _ if found > stated => Err(format!("it unpacks to more than the {stated} bytes stated")),
        _ => Err(format!(
            "it unpacks to {found} bytes and {stated} are stated"
        )),
    }
}

/// All first bytes of each four, then all second bytes, and so on.
fn group(raw: &[u8]) -> Vec<u8> {
    let mut grouped = vec![0; raw.len()];
    let mut rest = &mut grouped[..];
    for first in 0..GROUPS {
        let len = group_len(raw.len(), first);
        let (to, others) = rest.split_at_mut(len);
        for (to, from) in to.iter_mut().zip(raw.iter().skip(first).step_by(GROUPS)) {
            *to = *from;
        }
        rest = others;
    }
    grouped
}

/// The inverse of [`group`], appended to `out`, which is empty.
fn ungroup(grouped: &[u8], out: &mut Vec<u8>) {
    out.resize(grouped.len(), 0);
    let mut rest = grouped;
    for first in 0..GROUPS {
        let (from, others) = rest.split_at(group_len(grouped.len(), first));
        for (to, from) in out.iter_mut().skip(first).step_by(GROUPS).zip(from) {
            *to = *from;
        }
        rest = others;
    }
}

/// Bytes at places `first`, `first` + 4, … of `len`.
const fn group_len(len: usize, first: usize) -> usize {
    (len + GROUPS - 1 - first) / GROUPS
}

/// Whether the bytes at some place of each four are unlike the average byte: then numbers of four bytes lie
/// there, and bytes of equal weight compress better together. The measure is the Kullback-Leibler divergence
/// of the number of ones in a byte. A place where some number of ones never occurs, as in text, is no
/// evidence.
fn is_grouping_better(chunk: &[u8]) -> bool {
    let counts = ones_by_place(chunk);
    let is_evidence = |place: &&[u32; WEIGHTS]| place.iter().all(|count| *count > 0);
    let divergence = |place: &[u32; WEIGHTS]| -> f64 {
        let total = f64::from(place.iter().sum::<u32>());
        let term = |weight: usize| {
            // One more than counted, so that nothing is impossible.
            let all: u32 = 1 + counts.iter().map(|place| place[weight]).sum::<u32>();
            let p = f64::from(place[weight]) / total;
            let q = f64::from(all) / chunk.len() as f64;
            p * (p / q).ln()
        };
        (0..WEIGHTS).map(term).sum()
    };
    let mut evidence = counts.iter().filter(is_evidence);
    evidence.any(|place| divergence(place) > GROUPING_THRESHOLD)
}

/// For each place in four, how many bytes have how many ones.
fn ones_by_place(chunk: &[u8]) -> [[u32; WEIGHTS]; GROUPS] {
    let mut counts = [[0; WEIGHTS]; GROUPS];
    for four in chunk.chunks(GROUPS) {
        for (place, byte) in counts.iter_mut().zip(four) {
            place[byte.count_ones() as usize] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Scheme; 3] = [Scheme::None, Scheme::Lz4, Scheme::GroupedLz4];

    fn unpacked(scheme: Scheme, packed: &[u8], raw_len: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![9; 3];
        scheme.unpack(packed, raw_len, &mut out).map(|()| out)
    }

    #[test]
    fn bytes_are_grouped_by_their_place_in_four() {
        assert_eq!(group(b"abcdABCDxyz"), b"aAxbBycCzdD");
        let mut back = Vec::new();
        ungroup(b"aAxbBycCzdD", &mut back);
        assert_eq!(back, b"abcdABCDxyz");
    }

    #[test]
    fn numbers_are_grouped_and_text_is_not() {
        let numbers: Vec<u8> = (0..16_384_u32)
            .flat_map(|i| (i as f32 * 1.000_1).to_le_bytes())
            .collect();
        let text = "the arm moves to the cube and closes the gripper; ".repeat(1000);
        assert_eq!(Compression::ByContent.scheme(&numbers), Scheme::GroupedLz4);
        assert_eq!(Compression::ByContent.scheme(text.as_bytes()), Scheme::Lz4);
        let len = |scheme: Scheme| {
            let mut out = Vec::new();
            scheme.pack(&numbers, &mut out);
            out.len()
        };
        assert!(len(Scheme::GroupedLz4) < len(Scheme::Lz4));
    }

    #[test]
    fn what_does_not_compress_stays_as_it_is() {
        let raw: Vec<u8> = (0..=255).collect();
        for scheme in ALL {
            let mut out = vec![1];
            assert_eq!(scheme.pack(&raw, &mut out), Scheme::None);
            assert_eq!(out[1..], raw);
        }
    }

    #[test]
    fn what_is_too_long_too_short_or_followed_by_more_is_refused() {
        let mut packed = Vec::new();
        assert_eq!(Scheme::Lz4.pack(&[7; 5000], &mut packed), Scheme::Lz4);
        let says = |len, packed: &[u8]| unpacked(Scheme::Lz4, packed, len).unwrap_err();
        assert!(says(4999, &packed).contains("more than"));
        assert!(says(5001, &packed).contains("5000 bytes"));
        assert!(says(5000, &[&packed[..], b"x"].concat()).contains("1 bytes follow"));
        assert!(says(5000, &packed[..packed.len() / 2]).contains("damaged"));
        assert!(says(5000, b"").contains("no LZ4 frame"));
        // The older framing, in which a block may be twice as large.
        assert!(says(5000, &[0x02, 0x21, 0x4C, 0x18, 0, 0, 0, 0]).contains("no LZ4 frame"));
    }

    proptest! {
        #[test]
        fn every_scheme_gives_back_what_it_was_given(words in prop::collection::vec(0_u8..5, 0..3000)) {
            for scheme in ALL {
                let mut packed = Vec::new();
                let used = scheme.pack(&words, &mut packed);
                prop_assert!(packed.len() <= words.len());
                prop_assert_eq!(unpacked(used, &packed, words.len()), Ok(words.clone()));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(mut bytes: Vec<u8>, len in 0_usize..5000, at: usize, to: u8) {
            for scheme in ALL {
                let _ = unpacked(scheme, &bytes, len);
                let mut framed = Vec::new();
                scheme.pack(&vec![3; len + 64], &mut framed);
                let at = at % framed.len();
                framed[at] = to;
                let _ = unpacked(scheme, &framed, len + 64);
            }
            bytes.splice(0..0, LZ4_MAGIC);
            let _ = unpacked(Scheme::Lz4, &bytes, len);
        }
    }
}
