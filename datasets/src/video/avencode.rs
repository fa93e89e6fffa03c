//! FFmpeg's encoders, by the library that is installed: the counterpart of `avcodec.rs`.
#![allow(
    unsafe_code,
    reason = "calls into libavcodec; each block says why it is sound"
)]

use super::coder::{AGAIN, Coder, END};
use super::libav::api;
use crate::error::{Error, Result};
use crate::spec::CameraSpec;
use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr::{null, null_mut};

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
    coder: Coder,
    width: usize,
    height: usize,
}

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
        let mut encoder = Self {
            // SAFETY: the library found the codec.
            coder: unsafe { Coder::new(api, path, codec, "encoded")? },
            width: camera.width as usize,
            height: camera.height as usize,
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
        let status =
            unsafe { (api.avcodec_open2)(encoder.coder.context.as_ptr(), codec, null_mut()) };
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
            (self.coder.api.av_opt_set)(
                self.coder.context.as_ptr(),
                name.as_ptr(),
                value.as_ptr(),
                1,
            )
        };
        self.coder.check(path, status)
    }

    fn allocate(&mut self, path: &Path) -> Result<()> {
        // SAFETY: the frame is ours and empty; the library allocates its planes for what it is told.
        let status = unsafe {
            let frame = self.coder.frame.as_ptr();
            (*frame).width = self.width as c_int;
            (*frame).height = self.height as c_int;
            (*frame).format = (self.coder.api.av_get_pix_fmt)(GREY.as_ptr());
            (self.coder.api.av_frame_get_buffer)(frame, 0)
        };
        self.coder.check(path, status)
    }

    /// The stream's parameter sets.
    pub(super) fn headers(&self, path: &Path) -> Result<Vec<u8>> {
        let api = self.coder.api;
        // SAFETY: parameters are allocated by the library, filled from the open context, read within
        // the length they state, and freed.
        unsafe {
            let mut parameters = (api.avcodec_parameters_alloc)();
            if parameters.is_null() {
                return Err(Error::video(path, "no memory for an encoder"));
            }
            let status =
                (api.avcodec_parameters_from_context)(parameters, self.coder.context.as_ptr());
            let (data, size) = ((*parameters).extradata, (*parameters).extradata_size);
            let headers = match usize::try_from(size) {
                Ok(size) if !data.is_null() => std::slice::from_raw_parts(data, size).to_vec(),
                _ => Vec::new(),
            };
            (api.avcodec_parameters_free)(&mut parameters);
            self.coder.check(path, status).map(|()| headers)
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
            let frame = self.coder.frame.as_ptr();
            self.coder
                .check(path, (self.coder.api.av_frame_make_writable)(frame))?;
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
            self.coder.check(
                path,
                (self.coder.api.avcodec_send_frame)(self.coder.context.as_ptr(), frame),
            )
        }
    }

    /// Says that no more pictures come, so that the last packets come out.
    pub(super) fn finish(&mut self, path: &Path) -> Result<()> {
        // SAFETY: null means the end.
        let status =
            unsafe { (self.coder.api.avcodec_send_frame)(self.coder.context.as_ptr(), null()) };
        if status == END {
            return Ok(());
        }
        self.coder.check(path, status)
    }

    /// The next encoded picture, or `None` if the encoder wants more.
    pub(super) fn receive(&mut self, path: &Path) -> Result<Option<AvPicture>> {
        // SAFETY: the packet is ours, is filled by the library and read within its length.
        unsafe {
            let packet = self.coder.packet.as_ptr();
            match (self.coder.api.avcodec_receive_packet)(self.coder.context.as_ptr(), packet) {
                AGAIN | END => return Ok(None),
                status => self.coder.check(path, status)?,
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
            (self.coder.api.av_packet_unref)(packet);
            Ok(Some(picture))
        }
    }
}
