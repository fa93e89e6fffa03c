//! FFmpeg's encoders, by the library that is installed: the counterpart of `avcodec.rs`.
#![allow(
    unsafe_code,
    reason = "calls into libavcodec; each block says why it is sound"
)]

use super::avcodec::{AGAIN, END, words};
use super::libav::{Api, AvFrame, AvPacket, api};
use crate::error::{Error, Result};
use crate::spec::CameraSpec;
use std::ffi::{CStr, CString, c_int, c_void};
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};

/// The pixel format of the pictures given.
const GREY: &CStr = c"gray12le";

/// An encoded picture.
#[derive(Debug)]
pub(super) struct AvPicture {
    /// Which one, as it was sent.
    pub(super) pts: i64,
    /// Whether decoding can begin here.
    pub(super) key: bool,
    /// Its bytes, as the encoder gives them.
    pub(super) bytes: Vec<u8>,
}

/// An encoder of 12-bit grey pictures. Runs in the caller's thread only.
#[derive(Debug)]
pub(super) struct AvEncoder {
    api: &'static Api,
    context: NonNull<c_void>,
    packet: NonNull<AvPacket>,
    frame: NonNull<AvFrame>,
    width: usize,
    height: usize,
}

// SAFETY: the library's contexts may move between threads as long as one uses them at a time, which
// `&mut self` ensures.
unsafe impl Send for AvEncoder {}

impl AvEncoder {
    /// The encoder `name` for a camera's pictures with these settings. `path` is for messages.
    pub(super) fn open(
        path: &Path,
        name: &CStr,
        camera: &CameraSpec,
        fps: u32,
        settings: &[(&str, String)],
    ) -> Result<Self> {
        let api = api()?;
        let missing = || Error::NoDepthEncoder;
        // SAFETY: a C string.
        let codec = unsafe { (api.avcodec_find_encoder_by_name)(name.as_ptr()) };
        if codec.is_null() {
            return Err(missing());
        }
        let full = || Error::video(path, "no memory for an encoder");
        // SAFETY: `codec` is a codec; allocations are checked before use. `Self` frees them.
        let mut encoder = unsafe {
            let context = NonNull::new((api.avcodec_alloc_context3)(codec)).ok_or_else(full)?;
            let packet = NonNull::new((api.av_packet_alloc)());
            let frame = NonNull::new((api.av_frame_alloc)());
            Self {
                api,
                context,
                packet: packet.ok_or_else(full)?,
                frame: frame.ok_or_else(full)?,
                width: camera.width as usize,
                height: camera.height as usize,
            }
        };
        let fixed = [
            ("video_size", format!("{}x{}", camera.width, camera.height)),
            ("pixel_format", GREY.to_string_lossy().into_owned()),
            ("time_base", format!("1/{fps}")),
            ("threads", "1".to_owned()),
            // The parameter sets go into the file's index.
            ("flags", "+global_header".to_owned()),
        ];
        for (key, value) in fixed.iter().chain(settings) {
            encoder.set(path, key, value)?;
        }
        // SAFETY: the context was allocated for this codec and is not open yet.
        let status = unsafe { (api.avcodec_open2)(encoder.context.as_ptr(), codec, null_mut()) };
        if status < 0 {
            // x265 may be built without 12 bits.
            return Err(missing());
        }
        encoder.allocate(path)?;
        Ok(encoder)
    }

    fn set(&self, path: &Path, key: &str, value: &str) -> Result<()> {
        let text = |text: &str| CString::new(text).map_err(|e| Error::video(path, e.to_string()));
        let (name, value) = (text(key)?, text(value)?);
        // SAFETY: a context and C strings; 1 lets the name be one of the encoder's own.
        let status = unsafe {
            (self.api.av_opt_set)(self.context.as_ptr(), name.as_ptr(), value.as_ptr(), 1)
        };
        self.check(path, status)
    }

    fn allocate(&mut self, path: &Path) -> Result<()> {
        // SAFETY: the frame is ours and empty; the library allocates its planes for what it is told.
        let status = unsafe {
            let frame = self.frame.as_ptr();
            (*frame).width = self.width as c_int;
            (*frame).height = self.height as c_int;
            (*frame).format = (self.api.av_get_pix_fmt)(GREY.as_ptr());
            (self.api.av_frame_get_buffer)(frame, 0)
        };
        self.check(path, status)
    }

    /// The stream's parameter sets.
    pub(super) fn headers(&self, path: &Path) -> Result<Vec<u8>> {
        let api = self.api;
        // SAFETY: parameters are allocated by the library, filled from the open context, read within
        // the length they state, and freed.
        unsafe {
            let mut parameters = (api.avcodec_parameters_alloc)();
            if parameters.is_null() {
                return Err(Error::video(path, "no memory for an encoder"));
            }
            let status = (api.avcodec_parameters_from_context)(parameters, self.context.as_ptr());
            let (data, size) = ((*parameters).extradata, (*parameters).extradata_size);
            let headers = match usize::try_from(size) {
                Ok(size) if !data.is_null() => std::slice::from_raw_parts(data, size).to_vec(),
                _ => Vec::new(),
            };
            (api.avcodec_parameters_free)(&mut parameters);
            self.check(path, status).map(|()| headers)
        }
    }

    /// Encodes the next picture, given row by row.
    pub(super) fn send(
        &mut self,
        path: &Path,
        pts: i64,
        mut pixels: impl Iterator<Item = u16>,
    ) -> Result<()> {
        // SAFETY: the frame is ours; after av_frame_make_writable its first plane has `linesize`
        // bytes for each row, which is checked to hold the pixels of one.
        unsafe {
            let frame = self.frame.as_ptr();
            self.check(path, (self.api.av_frame_make_writable)(frame))?;
            let stride = usize::try_from((*frame).linesize[0]).unwrap_or(0);
            let plane = (*frame).data[0];
            if plane.is_null() || stride < 2 * self.width {
                return Err(Error::video(path, "the encoder's picture is too small"));
            }
            let plane = std::slice::from_raw_parts_mut(plane, stride * self.height);
            for row in plane.chunks_exact_mut(stride) {
                for pixel in row[..2 * self.width].chunks_exact_mut(2) {
                    let value = pixels.next().unwrap_or(0);
                    pixel.copy_from_slice(&value.to_le_bytes());
                }
            }
            (*frame).pts = pts;
            self.check(
                path,
                (self.api.avcodec_send_frame)(self.context.as_ptr(), frame),
            )
        }
    }

    /// Says that no more pictures come, so that the last packets come out.
    pub(super) fn finish(&mut self, path: &Path) -> Result<()> {
        // SAFETY: null means the end.
        let status = unsafe { (self.api.avcodec_send_frame)(self.context.as_ptr(), null()) };
        if status == END {
            return Ok(());
        }
        self.check(path, status)
    }

    /// The next encoded picture, or `None` if the encoder wants more.
    pub(super) fn receive(&mut self, path: &Path) -> Result<Option<AvPicture>> {
        // SAFETY: the packet is ours, is filled by the library and read within its length.
        unsafe {
            let packet = self.packet.as_ptr();
            match (self.api.avcodec_receive_packet)(self.context.as_ptr(), packet) {
                AGAIN | END => return Ok(None),
                status => self.check(path, status)?,
            }
            let size = usize::try_from((*packet).size).unwrap_or(0);
            let bytes = if (*packet).data.is_null() {
                Vec::new()
            } else {
                std::slice::from_raw_parts((*packet).data, size).to_vec()
            };
            let picture = AvPicture {
                pts: (*packet).pts,
                key: (*packet).flags & 1 == 1,
                bytes,
            };
            (self.api.av_packet_unref)(packet);
            Ok(Some(picture))
        }
    }

    fn check(&self, path: &Path, status: c_int) -> Result<()> {
        if status >= 0 {
            return Ok(());
        }
        let problem = format!("cannot be encoded: {}", words(self.api, status));
        Err(Error::video(path, problem))
    }
}

impl Drop for AvEncoder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        let mut packet = self.packet.as_ptr();
        let mut frame = self.frame.as_ptr();
        // SAFETY: allocated by these functions' counterparts and not used afterwards.
        unsafe {
            (self.api.av_frame_free)(&mut frame);
            (self.api.av_packet_free)(&mut packet);
            (self.api.avcodec_free_context)(&mut context);
        }
    }
}
