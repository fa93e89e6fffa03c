//! Xorbs: up to 64 MiB of chunks, packed one after another, and the table of where each one lies.
//!
//! A chunk is 8 bytes of header and its packed bytes. A footer with the table may follow; clients send
//! xorbs without it. Read first: `table.rs`.

mod builder;
mod check;
mod table;
mod unpack;

pub use builder::{Xorb, XorbBuilder};
pub use check::{XorbCheck, check_xorb};
pub use table::XorbTable;
pub use unpack::{ChunkHeader, Unpacker};

/// Most raw bytes of a xorb.
pub const MAX_XORB_RAW_BYTES: usize = 64 << 20;
/// Most chunks of a xorb.
pub const MAX_XORB_CHUNKS: usize = 8192;
/// Most packed bytes of a xorb without its footer: of chunks that do not compress, with their headers.
pub const MAX_XORB_PACKED_BYTES: usize = MAX_XORB_RAW_BYTES + MAX_XORB_CHUNKS * CHUNK_HEADER_BYTES;
/// Most bytes of a xorb and its footer.
pub const MAX_XORB_BYTES: usize =
    MAX_XORB_PACKED_BYTES + FOOTER_FIXED_BYTES + MAX_XORB_CHUNKS * FOOTER_CHUNK_BYTES;
/// Bytes before each packed chunk.
pub const CHUNK_HEADER_BYTES: usize = 8;

/// First bytes of a footer, where a chunk's header might be.
const FOOTER_IDENT: [u8; 7] = *b"XETBLOB";
/// Bytes of a footer besides those for each chunk, its length at the end included.
const FOOTER_FIXED_BYTES: usize = 96;
/// Bytes of a footer for each chunk: its hash and two offsets.
const FOOTER_CHUNK_BYTES: usize = 40;
