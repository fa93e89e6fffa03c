//! Memory that Rust filled and Python uses.
#![allow(
    unsafe_code,
    reason = "Python's buffer protocol; each block says why it is sound"
)]

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::any::Any;
use std::ffi::c_int;
use std::ptr::NonNull;

/// Numbers in one piece, aligned for their type, which numpy and PyTorch use without a copy and may
/// write to: nobody else holds them.
#[pyclass(frozen, module = "sinew_datasets._native")]
pub(crate) struct Buffer {
    data: NonNull<u8>,
    bytes: isize,
    /// The vector whose memory this is. It is never looked at again, only freed.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the memory stays where it is until the buffer is freed; Python orders accesses to it.
unsafe impl Send for Buffer {}
// SAFETY: as for Send; Rust itself does not access the memory again.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Takes over `numbers`, which are of a plain type.
    pub(crate) fn new<T: Copy + Send + Sync + 'static>(mut numbers: Vec<T>) -> Self {
        Self {
            data: NonNull::from(&mut numbers[..]).cast(),
            // A slice never has more than isize::MAX bytes.
            bytes: size_of_val(&numbers[..]) as isize,
            _owner: Box::new(numbers),
        }
    }
}

#[pymethods]
impl Buffer {
    fn __len__(&self) -> usize {
        self.bytes.unsigned_abs()
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no place for the view"));
        }
        let this = slf.get();
        // SAFETY: `view` is Python's to fill. The memory has `bytes` bytes and lives as long as this
        // object, of which the view takes a reference.
        let status = unsafe {
            let data = this.data.as_ptr().cast();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), data, this.bytes, 0, flags)
        };
        if status == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}
