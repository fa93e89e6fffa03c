//! The native half of the Python package `sinew_datasets`.
//!
//! Reads with [`sinew_datasets`], packs what was read into buffers that PyTorch and numpy take as
//! they are, and hands them over. All work on files and pictures is done without Python's lock.
//! What a user sees is in `python/sinew_datasets/`.

mod buffer;
mod dataset;
mod errors;
mod pack;
mod reader;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::buffer::Buffer;
    #[pymodule_export]
    use crate::dataset::Dataset;
    #[pymodule_export]
    use crate::errors::DatasetError;
    #[pymodule_export]
    use crate::reader::{Loader, Reader};
}
