//! Cuts a stream of bytes into chunks at places that its content chooses, so that an insertion moves
//! the cuts near it and no others.
//!
//! A gear hash over the last 64 bytes decides. Bytes that no decision can depend on are not hashed.

use gearhash::Hasher;

/// Mean length of chunks of random bytes, about.
pub const TARGET_CHUNK_BYTES: usize = 64 << 10;
/// Shortest chunk, except the last of a file.
pub const MIN_CHUNK_BYTES: usize = 8 << 10;
/// Longest chunk.
pub const MAX_CHUNK_BYTES: usize = 128 << 10;

/// A cut falls where these bits of the hash are zero.
const MASK: u64 = 0xFFFF_0000_0000_0000;
/// Bytes that the hash remembers.
const WINDOW_BYTES: usize = 64;
/// Bytes at a chunk's beginning that are not hashed.
const SKIPPED_BYTES: usize = MIN_CHUNK_BYTES - WINDOW_BYTES - 1;

/// Finds the cuts, without keeping any bytes.
#[derive(Clone)]
pub struct Cutter {
    hasher: Hasher<'static>,
    /// Bytes of the open chunk.
    len: usize,
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cutter")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Default for Cutter {
    fn default() -> Self {
        Self::new()
    }
}

impl Cutter {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self {
            hasher: Hasher::default(),
            len: 0,
        }
    }

    /// How many bytes of `data`, which goes on where the last call ended, belong to the open chunk, if
    /// it ends in them. Without a cut all of `data` has been taken in.
    pub fn next_cut(&mut self, data: &[u8]) -> Option<usize> {
        let end = data.len().min(MAX_CHUNK_BYTES - self.len);
        let mut at = SKIPPED_BYTES.saturating_sub(self.len).min(end);
        while let Some(matched) = self.hasher.next_match(&data[at..end], MASK) {
            at += matched;
            if self.len + at >= MIN_CHUNK_BYTES {
                return Some(self.cut(at));
            }
        }
        if self.len + end == MAX_CHUNK_BYTES {
            return Some(self.cut(end));
        }
        self.len += end;
        None
    }

    fn cut(&mut self, at: usize) -> usize {
        *self = Self::new();
        at
    }
}

/// Cuts a stream into chunks; keeps at most one chunk's bytes.
#[derive(Debug, Clone, Default)]
pub struct Chunker {
    cutter: Cutter,
    open: Vec<u8>,
}

impl Chunker {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `data` and gives every chunk that ends in it to `each`, in order. After an error of
    /// `each` the chunker is of no use any more.
    pub fn push<E>(
        &mut self,
        mut data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(cut) = self.cutter.next_cut(data) {
            let (end, rest) = data.split_at(cut);
            if self.open.is_empty() {
                each(end)?;
            } else {
                self.open.extend_from_slice(end);
                each(&self.open)?;
                self.open.clear();
            }
            data = rest;
        }
        self.open.extend_from_slice(data);
        Ok(())
    }

    /// Gives the last chunk, if there is one, to `each`; then begins anew.
    pub fn finish<E>(&mut self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.cutter = Cutter::new();
        if !self.open.is_empty() {
            each(&self.open)?;
            self.open.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngCore, SeedableRng, rngs::SmallRng};
    use std::convert::Infallible;

    fn random(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        bytes
    }

    fn chunks(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut keep = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            Ok::<_, Infallible>(())
        };
        let mut chunker = Chunker::new();
        for piece in pieces {
            chunker.push(piece, &mut keep).unwrap();
        }
        chunker.finish(&mut keep).unwrap();
        chunks
    }

    /// The definition: hash from the first byte that may matter, cut at the first place that may be one.
    fn plainly(data: &[u8]) -> Vec<usize> {
        let (mut lens, mut start) = (Vec::new(), 0);
        while start < data.len() {
            let rest = &data[start..];
            let mut hash = 0_u64;
            let cut = rest
                .iter()
                .enumerate()
                .skip(SKIPPED_BYTES)
                .position(|(i, byte)| {
                    hash = (hash << 1).wrapping_add(gearhash::DEFAULT_TABLE[usize::from(*byte)]);
                    i + 1 >= MIN_CHUNK_BYTES && hash & MASK == 0 || i + 1 == MAX_CHUNK_BYTES
                });
            let len = cut.map_or(rest.len(), |i| i + SKIPPED_BYTES + 1);
            lens.push(len);
            start += len;
        }
        lens
    }

    fn lens(chunks: &[Vec<u8>]) -> Vec<usize> {
        chunks.iter().map(Vec::len).collect()
    }

    #[test]
    fn nothing_has_no_chunks() {
        assert!(chunks(&[]).is_empty());
        assert!(chunks(&[b"", b""]).is_empty());
    }

    #[test]
    fn zeros_are_cut_at_the_longest_chunk() {
        assert_eq!(
            lens(&chunks(&[&vec![0; 300_000]])),
            [131_072, 131_072, 37_856]
        );
        assert_eq!(lens(&chunks(&[&vec![0; 131_072]])), [131_072]);
    }

    #[test]
    fn an_insertion_moves_the_cuts_near_it_only() {
        let before = random(4 << 20, 1);
        let mut after = before.clone();
        after.splice(1_000_000..1_000_000, random(1000, 2));
        let known = chunks(&[&before]);
        let fresh = chunks(&[&after])
            .into_iter()
            .filter(|chunk| !known.contains(chunk));
        assert!(fresh.map(|chunk| chunk.len()).sum::<usize>() < 600_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn pieces_do_not_matter(len in 0_usize..1_500_000, seed: u64, piece in 1_usize..200_000) {
            let data = random(len, seed);
            let whole = chunks(&[&data]);
            prop_assert_eq!(whole.concat(), data.clone());
            prop_assert_eq!(lens(&whole), plainly(&data));
            let pieces: Vec<_> = data.chunks(piece).collect();
            prop_assert_eq!(chunks(&pieces), whole);
        }

        #[test]
        fn repeating_content_is_cut_as_defined(period in 1_usize..3000, seed: u64) {
            let data = random(period, seed).repeat(600_000 / period);
            prop_assert_eq!(lens(&chunks(&[&data])), plainly(&data));
        }
    }
}
