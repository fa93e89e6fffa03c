//! Where a dataset's data and video files come from: the seam for ranged reads.
//!
//! Reading asks for a file by its path inside the dataset and then for byte ranges of it. A folder
//! answers from the disk; a store elsewhere can answer by fetching just those ranges.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of which any part can be read.
pub trait ReadAt: Debug + Send + Sync {
    /// Size, bytes.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on; an error if the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Opens a dataset's files by their path inside the dataset.
pub trait Files: Debug + Send + Sync {
    /// Opens the file `path`, which is relative and never leaves the dataset.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;
}

/// The files of a dataset in a local folder.
#[derive(Debug, Clone)]
pub struct LocalFiles {
    root: PathBuf,
}

impl LocalFiles {
    /// Files below `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }
}

impl Files for LocalFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(LocalFile::open(&self.root.join(path))?))
    }
}

/// A file on the disk.
#[derive(Debug)]
pub(crate) struct LocalFile {
    file: File,
    size: u64,
}

impl LocalFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ReadAt for LocalFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, into, offset)
    }
}

/// A file in memory.
impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        let found = rest.and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
