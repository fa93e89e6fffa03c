//! Data to compare with, and names in both worlds.
#![allow(dead_code, reason = "each test uses some")]

use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use sinew_hub::xet::Hash;
use xet_core_structures::merklehash::MerkleHash;

/// The same hash in their type.
pub fn theirs(hash: &Hash) -> MerkleHash {
    MerkleHash::from(hash.as_bytes())
}

/// The same hash in our type.
pub fn ours(hash: &MerkleHash) -> Hash {
    Hash::from_bytes((*hash).into())
}

/// `len` bytes of several kinds in turn: noise, zeros, text, numbers, repetition.
pub fn mixed(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut data = Vec::with_capacity(len + 300_000);
    while data.len() < len {
        let part = rng.random_range(1..300_000);
        let start = data.len();
        match rng.random_range(0..5) {
            0 => data.resize(start + part, rng.random()),
            1 => data.extend((0..part / 4).flat_map(|i| (i as f32 * 0.37).to_le_bytes())),
            2 => data.extend(
                b"the gripper closes on the cube; "
                    .iter()
                    .cycle()
                    .take(part),
            ),
            3 if start > 0 => data.extend_from_within(start.saturating_sub(part)..),
            _ => {
                data.resize(start + part, 0);
                rng.fill_bytes(&mut data[start..]);
            }
        }
    }
    data.truncate(len);
    data
}
