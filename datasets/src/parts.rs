//! A dataset's file as the parquet reader wants it: in parts, wherever it lies.

use crate::error::Error;
use crate::files::ReadAt;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::fmt::Display;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Page headers are small; the pages themselves are read at once.
const HEADER_BYTES: usize = 4096;

/// A parquet file.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    file: Arc<dyn ReadAt>,
    /// The last failure to read: the parquet reader keeps only its words.
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Parts {
    pub(crate) fn new(file: Arc<dyn ReadAt>) -> Self {
        Self {
            file,
            failure: Arc::default(),
        }
    }

    /// See [`ReadAt::prepare`].
    pub(crate) fn prepare(&self, offset: u64, length: u64) {
        self.file.prepare(offset, length);
    }

    /// What went wrong when the parquet reader said `words`: the file could not be read, or else it
    /// is damaged.
    pub(crate) fn explain(&self, path: &Path, words: &dyn Display) -> Error {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match failure.take() {
            Some(failure) => Error::io("read", path)(failure),
            None => Error::corrupt(path, words.to_string()),
        }
    }

    /// The rest of the file from `at` on.
    pub(crate) fn rest(&self, at: u64) -> Rest {
        Rest {
            parts: self.clone(),
            at,
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into).map_err(|error| {
            let words = io::Error::new(error.kind(), error.to_string());
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            words
        })
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.file.size()
    }
}

impl ChunkReader for Parts {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::with_capacity(HEADER_BYTES, self.rest(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.file.size()) {
            return Err(ParquetError::EOF("a page lies outside the file".into()));
        }
        let mut bytes = vec![0; length];
        self.read_at(start, &mut bytes)?;
        Ok(bytes.into())
    }
}

/// The rest of a file, in order.
#[derive(Debug)]
pub(crate) struct Rest {
    parts: Parts,
    at: u64,
}

impl Read for Rest {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.parts.file.size().saturating_sub(self.at);
        let count = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.parts.read_at(self.at, &mut into[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}
