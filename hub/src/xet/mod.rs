//! Xet's formats: chunks, hashes, xorbs, shards and reconstructions.
//!
//! Pure functions on bytes and plain data. Read first: `hash.rs`, then `chunking.rs`.
//! Source of every constant: Xet's specification, version 1.1.0.

mod hash;

pub use hash::{HASH_TEXT_LEN, Hash, NotAHash};
