//! What a decoder and an encoder of libavcodec have in common: a context, a packet, a frame, and a
//! status that says what went wrong.
#![allow(
    unsafe_code,
    reason = "calls into libavcodec; each block says why it is sound"
)]

use super::libav::{Api, AvFrame, AvPacket};
use crate::error::{Error, Result};
use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

/// "Feed me more", −EAGAIN of Linux.
pub(super) const AGAIN: c_int = -11;
/// "No more": −('E' | 'O'<<8 | 'F'<<16 | ' '<<24).
pub(super) const END: c_int = -0x2046_4f45;

/// The three, allocated and freed together.
#[derive(Debug)]
pub(super) struct Coder {
    pub(super) api: &'static Api,
    pub(super) context: NonNull<c_void>,
    pub(super) packet: NonNull<AvPacket>,
    pub(super) frame: NonNull<AvFrame>,
    /// What it is for, in messages: "decoded".
    work: &'static str,
}

// SAFETY: the library's contexts may move between threads as long as one uses them at a time; using
// them takes the owner's `&mut self`.
unsafe impl Send for Coder {}

impl Coder {
    /// Allocates them for a codec.
    ///
    /// # Safety
    /// `codec` is one that the library found.
    pub(super) unsafe fn new(
        api: &'static Api,
        path: &Path,
        codec: *const c_void,
        work: &'static str,
    ) -> Result<Self> {
        // SAFETY: as the caller promises; allocations are checked. What is allocated before one fails
        // is freed too.
        unsafe {
            let mut context = (api.avcodec_alloc_context3)(codec);
            let mut packet = (api.av_packet_alloc)();
            let mut frame = (api.av_frame_alloc)();
            let all = (
                NonNull::new(context),
                NonNull::new(packet),
                NonNull::new(frame),
            );
            if let (Some(context), Some(packet), Some(frame)) = all {
                return Ok(Self {
                    api,
                    context,
                    packet,
                    frame,
                    work,
                });
            }
            (api.av_frame_free)(&mut frame);
            (api.av_packet_free)(&mut packet);
            (api.avcodec_free_context)(&mut context);
        }
        Err(Error::video(
            path,
            format!("no memory; it cannot be {work}"),
        ))
    }

    /// An error for a negative status.
    pub(super) fn check(&self, path: &Path, status: c_int) -> Result<()> {
        if status >= 0 {
            return Ok(());
        }
        let problem = format!("cannot be {}: {}", self.work, self.words(status));
        Err(Error::video(path, problem))
    }

    /// The library's words for a status.
    fn words(&self, status: c_int) -> String {
        let mut text = [0_u8; 128];
        // SAFETY: the buffer has the length given and is left null-terminated.
        unsafe { (self.api.av_strerror)(status, text.as_mut_ptr().cast(), text.len()) };
        let words = CStr::from_bytes_until_nul(&text).unwrap_or(c"unknown error");
        words.to_string_lossy().into_owned()
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        let mut packet = self.packet.as_ptr();
        let mut frame = self.frame.as_ptr();
        // SAFETY: allocated by these functions' counterparts and not used afterwards; each takes null.
        unsafe {
            (self.api.av_frame_free)(&mut frame);
            (self.api.av_packet_free)(&mut packet);
            (self.api.avcodec_free_context)(&mut context);
        }
    }
}
