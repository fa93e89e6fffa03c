//! FFmpeg's decoders, by the library that is installed.
//!
//! LeRobot's readers (PyAV, torchcodec) decode with libavcodec, and so does GStreamer's libav
//! plugin. Loading the same library at run time gives the same pictures, frame by frame and
//! without a pipeline's threads, and knows LeRobot's depth format (12-bit grey HEVC), for which
//! GStreamer has no pixel format. A build needs no FFmpeg.
#![allow(
    unsafe_code,
    reason = "calls into libavcodec; each block says why it is sound"
)]

use super::coder::{AGAIN, Coder, END};
use super::colors::{Matrix, Plane, Planes};
use super::libav::api;
use super::samples::Track;
use crate::error::{Error, Result};
use std::ffi::{CStr, c_int};
use std::path::Path;
use std::ptr::null_mut;

/// Larger pictures are refused, pixels on a side.
const SIDE_LIMIT: c_int = 8192;

/// The decoders that may read a sample entry, best first.
fn decoder_names(codec: &str) -> &'static [&'static CStr] {
    match codec {
        "avc1" | "avc3" => &[c"h264"],
        "hvc1" | "hev1" => &[c"hevc"],
        // dav1d is by far the fastest; libavcodec's own AV1 needs a graphics card.
        "av01" => &[c"libdav1d", c"libaom-av1"],
        "vp09" => &[c"vp9"],
        "mp4v" => &[c"mpeg4"],
        _ => &[],
    }
}

/// How the planes of a pixel format lie.
struct Format {
    /// Bytes of one value.
    bytes: usize,
    /// By how many bits the chroma planes are narrower and lower, if there are such.
    chroma: Option<(usize, usize)>,
}

/// The formats that are read, by FFmpeg's names.
fn format_of(name: &str) -> Option<Format> {
    let (bytes, chroma) = match name {
        "gray" => (1, None),
        "gray12le" => (2, None),
        "yuv420p" | "yuvj420p" => (1, Some((1, 1))),
        "yuv422p" | "yuvj422p" => (1, Some((1, 0))),
        "yuv444p" | "yuvj444p" => (1, Some((0, 0))),
        "yuv420p12le" => (2, Some((1, 1))),
        _ => return None,
    };
    Some(Format { bytes, chroma })
}

/// A decoder for one track. Runs in the caller's thread only.
#[derive(Debug)]
pub(crate) struct Decoder(Coder);

impl Decoder {
    /// A decoder for the pictures of `track`. `path` is for messages.
    pub(crate) fn open(path: &Path, track: &Track) -> Result<Self> {
        let api = api()?;
        let missing = || Error::NoDecoder {
            wanted: track.codec.clone(),
            problem: "the one that is installed lacks this codec".into(),
        };
        // SAFETY: the names are C strings.
        let find = |name: &&CStr| unsafe { (api.avcodec_find_decoder_by_name)(name.as_ptr()) };
        let mut found = decoder_names(&track.codec).iter().map(find);
        let codec = found.find(|c| !c.is_null()).ok_or_else(missing)?;
        // SAFETY: the library found the codec.
        let decoder = Self(unsafe { Coder::new(api, path, codec, "decoded")? });
        decoder.configure(path, track)?;
        // SAFETY: the context was allocated for this codec and is not open yet.
        let status = unsafe { (api.avcodec_open2)(decoder.0.context.as_ptr(), codec, null_mut()) };
        decoder.0.check(path, status)?;
        Ok(decoder)
    }

    fn configure(&self, path: &Path, track: &Track) -> Result<()> {
        let api = self.0.api;
        let context = self.0.context.as_ptr();
        // One thread: several readers run side by side, and frames come out at once.
        let pixels = c"67108864";
        for (name, value) in [(c"threads", c"1"), (c"max_pixels", pixels)] {
            // SAFETY: a context and C strings.
            let status = unsafe { (api.av_opt_set)(context, name.as_ptr(), value.as_ptr(), 0) };
            self.0.check(path, status)?;
        }
        let full = || Error::video(path, "no memory for a decoder");
        // SAFETY: the parameters are allocated by the library, filled from the context, given an
        // allocation of the library that it frees with them, copied into the context and freed.
        unsafe {
            let mut parameters = (api.avcodec_parameters_alloc)();
            if parameters.is_null() {
                return Err(full());
            }
            let mut status = (api.avcodec_parameters_from_context)(parameters, context);
            let config = &track.config;
            // The library reads up to 64 bytes beyond the end.
            let copy = (api.av_mallocz)(config.len() + 64).cast::<u8>();
            if !copy.is_null() && status >= 0 && !config.is_empty() {
                copy.copy_from_nonoverlapping(config.as_ptr(), config.len());
                (*parameters).extradata = copy;
                (*parameters).extradata_size = config.len() as c_int;
                status = (api.avcodec_parameters_to_context)(context, parameters);
            }
            (api.avcodec_parameters_free)(&mut parameters);
            if copy.is_null() {
                Err(full())
            } else {
                self.0.check(path, status)
            }
        }
    }

    /// Gives the decoder one encoded frame, which `fill` writes into its `size` bytes.
    pub(crate) fn send(
        &mut self,
        path: &Path,
        size: u32,
        pts: i64,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let size = c_int::try_from(size)
            .map_err(|_| Error::corrupt(path, format!("a frame claims {size} bytes")))?;
        // SAFETY: `packet` is ours; av_new_packet gives it `size` bytes (zeroed behind the end, not
        // within, so they are cleared before they become a slice).
        unsafe {
            let packet = self.0.packet.as_ptr();
            self.0
                .check(path, (self.0.api.av_new_packet)(packet, size))?;
            (*packet).data.write_bytes(0, size as usize);
            let bytes = std::slice::from_raw_parts_mut((*packet).data, size as usize);
            let filled = fill(bytes);
            (*packet).pts = pts;
            let status = match filled {
                Ok(()) => (self.0.api.avcodec_send_packet)(self.0.context.as_ptr(), packet),
                Err(_) => 0,
            };
            (self.0.api.av_packet_unref)(packet);
            filled?;
            self.0.check(path, status)
        }
    }

    /// Says that no more encoded frames come, so that the last pictures come out.
    pub(crate) fn finish(&mut self, path: &Path) -> Result<()> {
        // SAFETY: null means the end.
        let status =
            unsafe { (self.0.api.avcodec_send_packet)(self.0.context.as_ptr(), std::ptr::null()) };
        if status == END {
            Ok(())
        } else {
            self.0.check(path, status)
        }
    }

    /// Forgets everything sent, before a jump to a key frame.
    pub(crate) fn flush(&mut self) {
        // SAFETY: an open context.
        unsafe { (self.0.api.avcodec_flush_buffers)(self.0.context.as_ptr()) }
    }

    /// Takes the next decoded picture, which [`Self::picture`] then shows; its time in ticks, or
    /// `None` if the decoder wants more.
    pub(crate) fn receive(&mut self, path: &Path) -> Result<Option<i64>> {
        // SAFETY: the frame is ours and is overwritten.
        unsafe {
            let frame = self.0.frame.as_ptr();
            match (self.0.api.avcodec_receive_frame)(self.0.context.as_ptr(), frame) {
                AGAIN | END => Ok(None),
                status => self.0.check(path, status).map(|()| Some((*frame).pts)),
            }
        }
    }

    /// The picture that [`Self::receive`] took last.
    pub(crate) fn picture(&self, path: &Path) -> Result<Planes<'_>> {
        // SAFETY: the frame is ours; its fields are initialised since its allocation.
        let frame = unsafe { self.0.frame.as_ref() };
        let (width, height) = (frame.width, frame.height);
        if !(1..=SIDE_LIMIT).contains(&width) || !(1..=SIDE_LIMIT).contains(&height) {
            return Err(Error::video(
                path,
                format!("pictures of {width}×{height} are not read"),
            ));
        }
        // SAFETY: gives a static C string or null.
        let format = unsafe {
            let name = (self.0.api.av_get_pix_fmt_name)(frame.format);
            if name.is_null() {
                c"unknown"
            } else {
                CStr::from_ptr(name)
            }
        };
        let format = format.to_str().unwrap_or("unknown");
        let (width, height) = (width as usize, height as usize);
        let plane = |number: usize, (columns, rows, bytes): (usize, usize, usize)| {
            let (data, stride) = (frame.data[number], frame.linesize[number]);
            let stride = usize::try_from(stride).unwrap_or(0);
            let row = columns * bytes;
            if data.is_null() || stride < row {
                return Plane::EMPTY;
            }
            // Cropping moves `data` into the plane, so that its last row is shorter than the others.
            let length = stride * (rows - 1) + row;
            // SAFETY: a decoded plane of this format has `linesize` bytes from each of its rows to
            // the next (libavutil's frame.h), and stays until the next `receive`, which needs
            // `&mut self`.
            let data = unsafe { std::slice::from_raw_parts(data, length) };
            Plane { data, stride }
        };
        let planes = match format_of(format) {
            Some(Format {
                bytes,
                chroma: None,
            }) => [plane(0, (width, height, bytes)), Plane::EMPTY, Plane::EMPTY],
            Some(Format {
                bytes,
                chroma: Some((x, y)),
            }) => {
                let size = ((width + x) >> x, (height + y) >> y, bytes);
                [
                    plane(0, (width, height, bytes)),
                    plane(1, size),
                    plane(2, size),
                ]
            }
            None => [Plane::EMPTY; 3],
        };
        Ok(Planes {
            width,
            height,
            format,
            planes,
            // As numbered by ITU-T H.273: colorspace 1 is BT.709; color_range 2 is full.
            matrix: Matrix::new(
                self.option(c"colorspace") == 1,
                self.option(c"color_range") == 2 || format.starts_with("yuvj"),
            ),
        })
    }

    fn option(&self, name: &CStr) -> i64 {
        let mut value = 0;
        // SAFETY: an open context, a C string and a place for the number.
        unsafe {
            (self.0.api.av_opt_get_int)(self.0.context.as_ptr(), name.as_ptr(), 0, &mut value);
        }
        value
    }
}
