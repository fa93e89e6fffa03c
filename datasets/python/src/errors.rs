//! Errors of the reader as Python's exceptions, with their own words.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{
    PyFileNotFoundError, PyIndexError, PyOSError, PyRuntimeError, PyValueError,
};
use sinew_datasets::Error;
use std::io::ErrorKind;

create_exception!(
    sinew_datasets,
    DatasetError,
    PyValueError,
    "A file of the dataset is damaged, or rows and video do not belong together."
);

/// The exception that says what `error` says.
pub(crate) fn exception(error: Error) -> PyErr {
    let words = error.to_string();
    match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            PyFileNotFoundError::new_err(words)
        }
        Error::Io { .. } => PyOSError::new_err(words),
        Error::NotFound { .. } => PyIndexError::new_err(words),
        Error::Query { .. } => PyValueError::new_err(words),
        Error::Corrupt { .. } | Error::Video { .. } => DatasetError::new_err(words),
        _ => PyRuntimeError::new_err(words),
    }
}
