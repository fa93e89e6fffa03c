//! Xet's formats: chunks, hashes, xorbs, shards and reconstructions.
//!
//! A file is cut into chunks (`chunking.rs`), each named by its hash (`merkle.rs`); chunks that nobody
//! has yet are packed into xorbs (`xorb/`), and a shard (`shard/`) says which chunks of which xorbs make
//! the file. Whether a shard tells the truth is asked in `claims.rs`. Whoever wants the
//! file back asks for its reconstruction (`reconstruction.rs`). All of it is
//! functions on bytes and plain data: no disk, no network, no clock.
//!
//! Read first: `hash.rs`, then `chunking.rs`, then `xorb/table.rs`. Source of constants and layouts: Xet's
//! specification, version 1.1.0; `hub/oracle/` compares with Hugging Face's own implementation.

mod chunking;
mod claims;
mod compress;
mod error;
mod hash;
mod merkle;
pub mod reconstruction;
pub mod shard;
pub mod xorb;

pub use chunking::{Chunker, Cutter, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, TARGET_CHUNK_BYTES};
pub use claims::{CheckedFile, FileCheck, check_file, check_xorb_entry};
pub use compress::{Compression, Scheme};
pub use error::{XetError, XetResult};
pub use hash::{HASH_TEXT_LEN, Hash, NotAHash};
pub use merkle::{
    Tree, chunk_hash, file_hash, is_dedup_eligible, range_hash, shielded_hash, xorb_hash,
};
