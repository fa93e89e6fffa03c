//! Shards: which chunks of which xorbs make which file, and which chunks a xorb has.
//!
//! A header, a section of files, a section of xorbs, all in records of 48 bytes, each section ended by a
//! record of ones. Clients upload shards like that. Stored and answered shards go on with three lookup
//! tables and a footer. Read first: `model.rs`.

mod builder;
mod footer;
mod model;
mod reader;
mod record;

#[cfg(test)]
mod tests;

pub use builder::{ShardBuilder, Stamp};
pub use footer::ShardFooter;
pub use model::{FileEntry, Term, XorbChunk, XorbEntry};
pub use reader::{Files, Shard, Xorbs};

/// Most bytes of a shard.
pub const MAX_SHARD_BYTES: usize = 64 << 20;

/// First bytes of a shard.
const TAG: [u8; 32] = [
    b'H', b'F', b'R', b'e', b'p', b'o', b'M', b'e', b't', b'a', b'D', b'a', b't', b'a', 0, 85, 105,
    103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169,
];
/// Version of header and sections.
const VERSION: u64 = 2;
/// Bytes of the header: tag, version, size of the footer.
const HEADER_BYTES: usize = 48;
