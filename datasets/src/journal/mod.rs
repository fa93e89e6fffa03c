//! The running episode on disk, so that a crash costs at most its last second.
//!
//! In the staging folder an episode is one `rows.journal` (see [`records`]) and one file a camera
//! that grows packet by packet behind room for an MP4 index (see [`stream`]). A thread of its own
//! ([`writer`]) appends and fsyncs them; saving then only writes the indexes, the parquet files
//! and a plan of renames ([`commit`]). After a crash [`replay`] reads what is whole.

pub(crate) mod commit;
mod index;
pub(crate) mod marks;
pub(crate) mod plan;
pub(crate) mod records;
pub(crate) mod replay;
pub(crate) mod stream;
mod writer;

pub(crate) use index::StreamHead;
#[cfg(feature = "gstreamer")]
pub(crate) use index::av1_config;
pub(crate) use records::{Header, RowRecord};
pub(crate) use writer::{BALLAST, Closed, Journal, Packet, PacketSink, TakePackets, drop_ballast};
