//! Cuts and joins MP4 files without decoding them: whole runs of compressed frames move from one
//! file to another, byte for byte.
//!
//! A run can be moved when it begins with a key frame and no frame inside it is stored outside it
//! (or the other way round); [`Track::run`] says whether that is so. Frames are known by their
//! number in the order in which they are shown, and every frame is written with the exact time
//! `number / fps`, whatever the rounding of the source's clock.

mod index;
mod write;

pub(crate) use index::Sample;
pub use index::Track;
pub use write::{Piece, join};

use super::VideoSpec;

/// Clock ticks of one frame in the files that are written here, and ticks a second.
pub(crate) fn clock(fps: u32) -> (u32, u32) {
    let timescale = VideoSpec::recording(0, 0, fps, super::Encoder::X264).timescale();
    (timescale / fps.max(1), timescale)
}
