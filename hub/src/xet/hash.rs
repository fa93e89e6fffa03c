//! The 32-byte hashes that name chunks, xorbs and files.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Hexadecimal digits of a printed hash.
pub const HASH_TEXT_LEN: usize = 64;
/// Bytes that are printed as one number, least significant first.
const WORD: usize = 8;

/// A hash of chunk, inner node, xorb or file.
///
/// Printed as four little-endian 64-bit numbers, so that the bytes of each eight appear reversed.
/// Ordered as it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash([u8; 32]);

/// Text that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{shown}` is no hash; a hash has {HASH_TEXT_LEN} hexadecimal digits in lower case")]
pub struct NotAHash {
    /// The beginning of the text, fit for a message.
    pub shown: String,
}

impl Hash {
    /// The hash of nothing, which also marks what is absent.
    pub const ZERO: Self = Self([0; 32]);
    /// What ends a section of a shard; never the hash of anything.
    pub(crate) const BOOKEND: Self = Self([0xFF; 32]);

    /// From the bytes as they are stored in xorbs and shards.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes as they are stored in xorbs and shards.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a digest in the usual order of bytes, such as SHA-256: shards store digests so that they
    /// print as everybody prints them.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(swap_words(digest))
    }

    /// The digest in the usual order of bytes; the inverse of [`Hash::from_digest`].
    pub const fn to_digest(self) -> [u8; 32] {
        swap_words(self.0)
    }

    /// The first word, by which lookup tables are sorted.
    pub(crate) const fn prefix(&self) -> u64 {
        let b = &self.0;
        u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// The fourth word modulo `n`, by which nodes are grouped and chunks are chosen; 0 for `n` = 0.
    pub(crate) const fn modulo(&self, n: u64) -> u64 {
        let b = &self.0;
        let word = u64::from_le_bytes([b[24], b[25], b[26], b[27], b[28], b[29], b[30], b[31]]);
        match word.checked_rem(n) {
            Some(rest) => rest,
            None => 0,
        }
    }
}

/// Reverses the bytes of each word.
const fn swap_words(bytes: [u8; 32]) -> [u8; 32] {
    let mut swapped = [0; 32];
    let mut i = 0;
    while i < 32 {
        swapped[i] = bytes[i / WORD * WORD + (WORD - 1 - i % WORD)];
        i += 1;
    }
    swapped
}

impl Ord for Hash {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_digest().cmp(&other.to_digest())
    }
}

impl PartialOrd for Hash {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_digest()))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    /// Only what [`Display`](fmt::Display) prints: a name has one spelling.
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let refused = || NotAHash {
            shown: text
                .chars()
                .filter(|c| !c.is_control())
                .take(HASH_TEXT_LEN + 1)
                .collect(),
        };
        if text.len() != HASH_TEXT_LEN {
            return Err(refused());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let high = nibble(pair[0]).ok_or_else(refused)?;
            let low = nibble(pair[1]).ok_or_else(refused)?;
            *byte = high << 4 | low;
        }
        Ok(Self::from_digest(digest))
    }
}

/// The value of a hexadecimal digit in lower case.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_printed_as_numbers() {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes[31] = 0xAB;
        let text = "0000000000000001".to_owned() + &"0".repeat(32) + "ab00000000000000";
        let hash = Hash::from_bytes(bytes);
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(hash.modulo(1 << 60), 0xAB_u64 << 56 & ((1 << 60) - 1));
    }

    #[test]
    fn a_digest_prints_as_everybody_prints_it() {
        let digest: [u8; 32] = std::array::from_fn(|i| i as u8);
        let text: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(Hash::from_digest(digest).to_string(), text);
        assert_eq!(Hash::from_digest(digest).to_digest(), digest);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = "0".repeat(64);
        for bad in [
            "",
            "0",
            &good[1..],
            &(good.clone() + "0"),
            &"G".repeat(64),
            &"A".repeat(64),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_json_are_read_back(bytes: [u8; 32]) {
            let hash = Hash::from_bytes(bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            let json = serde_json::to_string(&hash).unwrap();
            prop_assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        }

        #[test]
        fn the_order_is_that_of_the_text(a: [u8; 32], b: [u8; 32]) {
            let (a, b) = (Hash::from_bytes(a), Hash::from_bytes(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Hash>();
        }
    }
}
