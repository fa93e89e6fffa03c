//! The edge to MuJoCo's C interface: arrays, texts, virtual files.

use crate::SimError;
use mujoco_rs::mujoco_c as mj;
use mujoco_rs::wrappers::mj_logging;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::Once;

/// A slice over an array that MuJoCo allocated.
///
/// # Safety
/// `ptr` must point to `len` initialised values that outlive `'a` and are not written meanwhile.
pub(crate) unsafe fn slice<'a, T>(ptr: *const T, len: usize) -> &'a [T] {
    if ptr.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}

/// As [`slice`], to write.
///
/// # Safety
/// As [`slice`], and nothing else may read or write the values during `'a`.
pub(crate) unsafe fn slice_mut<'a, T>(ptr: *mut T, len: usize) -> &'a mut [T] {
    if ptr.is_null() || len == 0 {
        return &mut [];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(ptr, len) }
}

/// Copies a C string; empty for null.
///
/// # Safety
/// `text` must be null or NUL-terminated.
pub(crate) unsafe fn owned_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .trim()
        .to_owned()
}

pub(crate) fn c_string(world: &str, what: &str, text: &str) -> Result<CString, SimError> {
    CString::new(text).map_err(|e| SimError::Model {
        world: world.to_owned(),
        reason: format!("the {what} has a NUL byte at offset {}", e.nul_position()),
    })
}

/// Stops MuJoCo from writing MUJOCO_LOG.TXT into whatever folder the user happens to be in;
/// warnings reach the caller as [`SimError`].
pub(crate) fn quiet_log_file() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: every use of MuJoCo in this crate starts with a model, and every model starts
        // here, so no other thread is inside MuJoCo yet.
        unsafe { mj_logging::set_log_config(mj_logging::log_config().with_logto_file(false)) };
    });
}

/// A virtual file system that is freed with the value.
pub(crate) struct Vfs(mj::mjVFS);

impl Vfs {
    pub(crate) fn as_ptr(&self) -> *const mj::mjVFS {
        &self.0
    }

    pub(crate) fn new() -> Self {
        let mut vfs = mj::mjVFS {
            impl_: std::ptr::null_mut(),
        };
        // SAFETY: a valid place for MuJoCo to initialise.
        unsafe { mj::mj_defaultVFS(&mut vfs) };
        Self(vfs)
    }

    pub(crate) fn add(&mut self, world: &str, path: &str, bytes: &[u8]) -> Result<(), SimError> {
        let name = c_string(world, "file name", path)?;
        let refused = |reason: &str| SimError::Model {
            world: world.to_owned(),
            reason: format!("virtual file `{path}` {reason}"),
        };
        let size = c_int::try_from(bytes.len()).map_err(|_| refused("is larger than 2 GiB"))?;
        // SAFETY: MuJoCo copies `size` bytes from a buffer that has them.
        match unsafe {
            mj::mj_addBufferVFS(&mut self.0, name.as_ptr(), bytes.as_ptr().cast(), size)
        } {
            0 => Ok(()),
            2 => Err(refused("was given twice")),
            _ => Err(refused("could not be loaded")),
        }
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, freed once.
        unsafe { mj::mj_deleteVFS(&mut self.0) };
    }
}

pub(crate) struct ErrorText([c_char; 1024]);

impl ErrorText {
    pub(crate) fn new() -> Self {
        Self([0; 1024])
    }
    pub(crate) fn ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }
    pub(crate) fn len(&self) -> c_int {
        self.0.len() as c_int
    }
    pub(crate) fn text(&self) -> String {
        // SAFETY: MuJoCo terminates what it writes; the buffer starts as zeros.
        unsafe { owned_text(self.0.as_ptr()) }
    }
}
