//! libavcodec's interface: its functions, found at run time, and its structures.
//!
//! The structures are the leading fields of libavcodec's own, in the order of its headers of the
//! versions 59 to 62 (FFmpeg 5 to 8); everything else goes through functions. A version says little
//! about a library that somebody built or patched, so [`checked`] has the library itself fill in
//! every field that is used, before the first stranger's byte reaches it.
#![allow(
    unsafe_code,
    reason = "calls into libavcodec; each block says why it is sound"
)]

use crate::error::{Error, Result};
use libloading::Library;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::offset_of;
use std::sync::OnceLock;

/// AV_NOPTS_VALUE: no time is known.
const NO_TIME: i64 = i64::MIN;
/// The major versions whose structures are known, newest first.
const VERSIONS: [u32; 4] = [62, 61, 60, 59];

#[repr(C)]
pub(super) struct AvPacket {
    pub(super) buffer: *mut c_void,
    pub(super) pts: i64,
    pub(super) dts: i64,
    pub(super) data: *mut u8,
    pub(super) size: c_int,
    pub(super) stream_index: c_int,
    pub(super) flags: c_int,
}

#[repr(C)]
pub(super) struct AvFrame {
    pub(super) data: [*mut u8; 8],
    pub(super) linesize: [c_int; 8],
    pub(super) extended_data: *mut *mut u8,
    pub(super) width: c_int,
    pub(super) height: c_int,
    pub(super) nb_samples: c_int,
    pub(super) format: c_int,
    /// Key frame mark (older versions), picture type, aspect ratio: 16 bytes in all versions.
    pub(super) kind_and_aspect: [c_int; 4],
    pub(super) pts: i64,
}

const _: () = assert!(offset_of!(AvFrame, format) == 116 && offset_of!(AvFrame, pts) == 136);

#[repr(C)]
pub(super) struct AvCodecParameters {
    pub(super) codec_type: c_int,
    pub(super) codec_id: c_int,
    pub(super) codec_tag: c_uint,
    pub(super) extradata: *mut u8,
    pub(super) extradata_size: c_int,
}

/// Declares the functions that are used and how they are looked up.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        pub(super) struct Api {
            _library: Library,
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            fn from_library(library: Library) -> std::result::Result<Self, libloading::Error> {
                // SAFETY: the names are libavcodec's (libavutil's are found through it), with the
                // signatures of its headers; the library lives as long as the pointers.
                unsafe {
                    Ok(Self {
                        $($name: *library.get(concat!(stringify!($name), "\0").as_bytes())?,)*
                        _library: library,
                    })
                }
            }
        }
    };
}

functions! {
    avcodec_version: fn() -> c_uint;
    avcodec_find_decoder_by_name: fn(*const c_char) -> *const c_void;
    avcodec_alloc_context3: fn(*const c_void) -> *mut c_void;
    avcodec_free_context: fn(*mut *mut c_void);
    avcodec_parameters_alloc: fn() -> *mut AvCodecParameters;
    avcodec_parameters_free: fn(*mut *mut AvCodecParameters);
    avcodec_parameters_from_context: fn(*mut AvCodecParameters, *mut c_void) -> c_int;
    avcodec_parameters_to_context: fn(*mut c_void, *const AvCodecParameters) -> c_int;
    avcodec_open2: fn(*mut c_void, *const c_void, *mut *mut c_void) -> c_int;
    avcodec_send_packet: fn(*mut c_void, *const AvPacket) -> c_int;
    avcodec_receive_frame: fn(*mut c_void, *mut AvFrame) -> c_int;
    avcodec_flush_buffers: fn(*mut c_void);
    avcodec_find_encoder_by_name: fn(*const c_char) -> *const c_void;
    avcodec_send_frame: fn(*mut c_void, *const AvFrame) -> c_int;
    avcodec_receive_packet: fn(*mut c_void, *mut AvPacket) -> c_int;
    av_packet_alloc: fn() -> *mut AvPacket;
    av_packet_free: fn(*mut *mut AvPacket);
    av_packet_unref: fn(*mut AvPacket);
    av_new_packet: fn(*mut AvPacket, c_int) -> c_int;
    av_frame_alloc: fn() -> *mut AvFrame;
    av_frame_get_buffer: fn(*mut AvFrame, c_int) -> c_int;
    av_frame_make_writable: fn(*mut AvFrame) -> c_int;
    av_get_pix_fmt: fn(*const c_char) -> c_int;
    av_frame_free: fn(*mut *mut AvFrame);
    av_mallocz: fn(usize) -> *mut c_void;
    av_opt_set: fn(*mut c_void, *const c_char, *const c_char, c_int) -> c_int;
    av_opt_get_int: fn(*mut c_void, *const c_char, c_int, *mut i64) -> c_int;
    av_get_pix_fmt_name: fn(c_int) -> *const c_char;
    av_strerror: fn(c_int, *mut c_char, usize) -> c_int;
    av_log_set_level: fn(c_int);
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("libavcodec")
    }
}

/// The library, loaded and checked once.
pub(super) fn api() -> Result<&'static Api> {
    static API: OnceLock<std::result::Result<Api, String>> = OnceLock::new();
    let found = API.get_or_init(load);
    found.as_ref().map_err(|problem| Error::NoDecoder {
        wanted: "video".into(),
        problem: problem.clone(),
    })
}

/// The newest library that is installed and is what its version says; else what each lacked.
fn load() -> std::result::Result<Api, String> {
    let mut problems = Vec::new();
    for version in VERSIONS {
        let name = format!("libavcodec.so.{version}");
        // SAFETY: a system library whose initialisers have no preconditions.
        let Ok(library) = (unsafe { Library::new(&name) }) else {
            continue;
        };
        let checked = Api::from_library(library)
            .map_err(|e| e.to_string())
            .and_then(|api| checked(api, version));
        match checked {
            Ok(api) => return Ok(api),
            Err(problem) => problems.push(format!("{name} cannot be used: {problem}")),
        }
    }
    if problems.is_empty() {
        problems.push("none was found".into());
    }
    Err(problems.join("; "))
}

/// The library, if it has this version and its structures lie as declared here.
fn checked(api: Api, version: u32) -> std::result::Result<Api, String> {
    // SAFETY: no preconditions.
    let found = unsafe { (api.avcodec_version)() } >> 16;
    if found != version {
        return Err(format!("it says that its version is {found}"));
    }
    // SAFETY: no preconditions. Damage is reported by return values; −8 keeps it off stderr.
    unsafe { (api.av_log_set_level)(-8) };
    let checks = [
        ("AVPacket", check_packet(&api)),
        ("AVFrame", check_frame(&api)),
        ("AVCodecParameters", check_parameters(&api)),
    ];
    for (structure, sound) in checks {
        sound.ok_or_else(|| {
            format!(
                "its {structure} is not laid out as in FFmpeg's headers of version {version}; use an unmodified FFmpeg"
            )
        })?;
    }
    Ok(api)
}

/// Something only if `found` is as expected.
fn expect(found: bool) -> Option<()> {
    found.then_some(())
}

/// A packet of a size that no other field could hold by chance.
fn check_packet(api: &Api) -> Option<()> {
    const SIZE: c_int = 0x0012_3457;
    // SAFETY: the packet is the library's own; it is read within the part that every version has,
    // and freed.
    unsafe {
        let mut packet = (api.av_packet_alloc)();
        let fields = packet.as_ref()?;
        let empty = fields.pts == NO_TIME
            && fields.dts == NO_TIME
            && fields.data.is_null()
            && (fields.size, fields.stream_index, fields.flags) == (0, 0, 0);
        let filled = (api.av_new_packet)(packet, SIZE) == 0;
        let fields = &*packet;
        let sound = empty
            && filled
            && fields.size == SIZE
            && !fields.buffer.is_null()
            && !fields.data.is_null()
            && fields.pts == NO_TIME;
        (api.av_packet_free)(&mut packet);
        expect(sound)
    }
}

/// A frame whose size and format are set here and for which the library makes the planes.
fn check_frame(api: &Api) -> Option<()> {
    const WIDTH: c_int = 318;
    const HEIGHT: c_int = 22;
    // SAFETY: as for the packet; width, height and format are numbers that the library checks.
    unsafe {
        let mut frame = (api.av_frame_alloc)();
        let fields = frame.as_mut()?;
        let empty = fields.format == -1
            && fields.pts == NO_TIME
            && (fields.width, fields.height, fields.nb_samples) == (0, 0, 0)
            && fields.data.iter().all(|plane| plane.is_null())
            && fields.extended_data == fields.data.as_mut_ptr();
        // Format 0 is yuv420p in every version.
        (fields.width, fields.height, fields.format) = (WIDTH, HEIGHT, 0);
        let filled = empty && (api.av_frame_get_buffer)(frame, 0) == 0;
        let fields = &*frame;
        let planes = fields.data.map(|plane| !plane.is_null());
        let strides = fields.linesize;
        let sound = filled
            && planes == [true, true, true, false, false, false, false, false]
            && (WIDTH..4 * WIDTH).contains(&strides[0])
            && (WIDTH / 2..4 * WIDTH).contains(&strides[1])
            && strides[1] == strides[2]
            && strides[3..] == [0; 5];
        (api.av_frame_free)(&mut frame);
        expect(sound)
    }
}

/// A decoder's configuration that goes into a context and comes out again as a copy.
fn check_parameters(api: &Api) -> Option<()> {
    const CONFIG: &[u8] = b"some configuration";
    // SAFETY: structures of the library's own, given an allocation of the library that it frees with
    // them; a context of no codec is allowed and never opened.
    unsafe {
        let mut context = (api.avcodec_alloc_context3)(std::ptr::null());
        let mut given = (api.avcodec_parameters_alloc)();
        let mut back = (api.avcodec_parameters_alloc)();
        let config = (api.av_mallocz)(CONFIG.len() + 64).cast::<u8>();
        let mut sound = false;
        if let (Some(given), Some(back)) = (given.as_mut(), back.as_mut())
            && !context.is_null()
            && !config.is_null()
            && given.extradata.is_null()
            && (given.codec_type, given.codec_id, given.codec_tag) == (-1, 0, 0)
        {
            config.copy_from_nonoverlapping(CONFIG.as_ptr(), CONFIG.len());
            given.extradata = config;
            given.extradata_size = CONFIG.len() as c_int;
            sound = (api.avcodec_parameters_to_context)(context, given) >= 0
                && (api.avcodec_parameters_from_context)(back, context) >= 0
                && back.extradata_size == CONFIG.len() as c_int
                && !back.extradata.is_null()
                && back.extradata != config
                && std::slice::from_raw_parts(back.extradata, CONFIG.len()) == CONFIG;
        }
        (api.avcodec_parameters_free)(&mut given);
        (api.avcodec_parameters_free)(&mut back);
        (api.avcodec_free_context)(&mut context);
        expect(sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_library_is_what_its_version_says() {
        api().unwrap();
    }

    #[test]
    fn another_version_is_refused() {
        let library = |version: &u32| {
            // SAFETY: as in `load`.
            let library = unsafe { Library::new(format!("libavcodec.so.{version}")) };
            Some((*version, Api::from_library(library.ok()?).ok()?))
        };
        let (version, api) = VERSIONS.iter().find_map(library).unwrap();
        let problem = checked(api, version + 1).unwrap_err();
        assert!(
            problem.contains(&format!("version is {version}")),
            "{problem}"
        );
    }
}
