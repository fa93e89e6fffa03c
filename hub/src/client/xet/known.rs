//! Chunks that need not be uploaded: those of this upload, and those that the store told of.

use crate::client::error::ClientResult;
use crate::xet::shard::Shard;
use crate::xet::{Hash, shielded_hash};
use std::collections::HashMap;

/// Chunks of this upload that are remembered, about 400 MB of memory; enough for 250 GB of files.
const OWN_LIMIT: usize = 4_000_000;
/// Chunks that the store told of that are remembered.
const TOLD_LIMIT: usize = 2_000_000;
/// Answers that are remembered; each costs a hash for every chunk.
const ANSWERS_LIMIT: usize = 64;

/// A xorb that is named already, or one of this upload by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XorbRef {
    Named(Hash),
    Own(usize),
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) xorb: XorbRef,
    /// Its number there.
    pub(super) chunk: u32,
}

/// One answer of the store: its chunks, under hashes that only who has them can recognise.
#[derive(Debug)]
struct Told {
    key: Hash,
    /// Place and size, by shielded hash.
    chunks: HashMap<Hash, (Place, u32)>,
}

/// All chunks that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    own: HashMap<Hash, Place>,
    told: Vec<Told>,
    told_chunks: usize,
}

impl Known {
    /// Where a chunk of this size is, if it is known.
    pub(super) fn find(&self, chunk: &Hash, len: usize) -> Option<Place> {
        self.own
            .get(chunk)
            .copied()
            .or_else(|| self.find_told(chunk, len))
    }

    /// Where the store says that a chunk of this size is.
    pub(super) fn find_told(&self, chunk: &Hash, len: usize) -> Option<Place> {
        // The newest answer first: files are read on where it was given.
        self.told.iter().rev().find_map(|told| {
            let shielded = match told.key {
                Hash::ZERO => *chunk,
                key => shielded_hash(&key, chunk),
            };
            let (place, known_len) = told.chunks.get(&shielded)?;
            (*known_len as usize == len).then_some(*place)
        })
    }

    /// A chunk of this upload.
    pub(super) fn add(&mut self, chunk: Hash, xorb: usize, number: u32) {
        if self.own.len() < OWN_LIMIT {
            let xorb = XorbRef::Own(xorb);
            self.own.insert(
                chunk,
                Place {
                    xorb,
                    chunk: number,
                },
            );
        }
    }

    /// Takes in an answer of the store: a shard whose list of xorbs matters. It is not believed more
    /// than needed: a chunk that is not where it says makes the store refuse our shard.
    pub(super) fn learn(&mut self, answer: &[u8], now: u64) -> ClientResult<()> {
        let shard = Shard::read(answer)?;
        let footer = shard.footer().copied().unwrap_or_default();
        if footer.expires != 0 && footer.expires <= now {
            return Ok(());
        }
        let mut chunks = HashMap::new();
        for xorb in shard.xorbs() {
            for (number, chunk) in xorb.chunks.iter().enumerate() {
                let place = Place {
                    xorb: XorbRef::Named(xorb.hash),
                    chunk: number as u32,
                };
                chunks.entry(chunk.hash).or_insert((place, chunk.raw_len));
            }
        }
        self.told_chunks += chunks.len();
        self.told.push(Told {
            key: footer.key,
            chunks,
        });
        while self.told.len() > ANSWERS_LIMIT
            || self.told_chunks > TOLD_LIMIT && self.told.len() > 1
        {
            self.told_chunks -= self.told.remove(0).chunks.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xet::chunk_hash;
    use crate::xet::shard::{ShardBuilder, Stamp, XorbEntry};
    use crate::xet::xorb::XorbBuilder;

    #[test]
    fn chunks_are_recognised_under_any_key_until_the_answer_expires() {
        let mut xorb = XorbBuilder::default();
        for byte in 0..3_u8 {
            let chunk = vec![byte; 50];
            xorb.push(chunk_hash(&chunk), &chunk).unwrap();
        }
        let xorb = xorb.finish().unwrap();
        let mut shard = ShardBuilder::new();
        shard
            .add_xorb(XorbEntry::of(xorb.hash, &xorb.table))
            .unwrap();
        let stamp = Stamp {
            created: 0,
            expires: 100,
        };
        for key in [Hash::ZERO, chunk_hash(b"key")] {
            let answer = shard.answer(&key, stamp);
            let mut known = Known::default();
            known.learn(&answer, 100).unwrap();
            let wanted = chunk_hash(&[1; 50]);
            assert_eq!(known.find(&wanted, 50), None, "expired");
            known.learn(&answer, 99).unwrap();
            let place = Place {
                xorb: XorbRef::Named(xorb.hash),
                chunk: 1,
            };
            assert_eq!(known.find(&wanted, 50), Some(place));
            assert_eq!(known.find(&wanted, 51), None);
            assert_eq!(known.find(&chunk_hash(b"else"), 50), None);
        }
    }

    #[test]
    fn own_chunks_come_first() {
        let mut known = Known::default();
        let chunk = chunk_hash(b"a");
        known.add(chunk, 7, 3);
        assert_eq!(
            known.find(&chunk, 1),
            Some(Place {
                xorb: XorbRef::Own(7),
                chunk: 3
            })
        );
    }
}
