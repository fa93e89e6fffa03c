//! Where a dataset's files come from: the seam between what is read and where it lies.
//!
//! Reading asks for a file by its path inside the dataset and then for byte ranges of it. A folder
//! answers from the disk; a hub answers by fetching just those ranges.

use crate::error::{Error, Result};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder levels that are looked through.
const DEPTH_LIMIT: usize = 8;
/// Most files of a dataset.
pub(crate) const FILES_LIMIT: usize = 1_000_000;

/// A file of which any part can be read.
pub trait ReadAt: Debug + Send + Sync {
    /// Size, bytes.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on; an error if the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Says that these bytes are read next, most of them at least. A file that is far away fetches
    /// them at once instead of piece by piece; a failure shows when they are read.
    fn prepare(&self, _offset: u64, _length: u64) {}
}

/// A file of a dataset, as a listing gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Inside the dataset.
    pub path: PathBuf,
    /// Size, bytes.
    pub size: u64,
}

/// Opens a dataset's files by their path inside the dataset.
pub trait Files: Debug + Send + Sync {
    /// Opens the file `path`, which is relative and never leaves the dataset.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;

    /// All files in `folder` and the folders in it, in no particular order. The empty path is the
    /// dataset itself.
    fn list(&self, folder: &Path) -> io::Result<Vec<FileEntry>>;
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

    fn add(&self, folder: &Path, depth: usize, found: &mut Vec<FileEntry>) -> io::Result<()> {
        for entry in std::fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            // Hub caches hold links; what counts is what they point to.
            let Ok(behind) = std::fs::metadata(entry.path()) else {
                continue;
            };
            if behind.is_dir() && depth > 0 {
                self.add(&path, depth - 1, found)?;
            } else if behind.is_file() && found.len() < FILES_LIMIT {
                let size = behind.len();
                found.push(FileEntry { path, size });
            }
        }
        Ok(())
    }
}

impl Files for LocalFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(LocalFile::open(&self.root.join(path))?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<FileEntry>> {
        let mut found = Vec::new();
        self.add(folder, DEPTH_LIMIT, &mut found)?;
        Ok(found)
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

/// Reads a whole file of at most `limit` bytes; more is an error, because metadata is small and a
/// stranger's file must not fill the memory. `root` is the dataset's name in messages.
pub(crate) fn read_whole(
    root: &Path,
    files: &dyn Files,
    path: &Path,
    limit: u64,
) -> Result<Vec<u8>> {
    let named = root.join(path);
    let file = files.open(path).map_err(Error::io("open", &named))?;
    if file.size() > limit {
        return Err(Error::corrupt(
            &named,
            format!("larger than the {limit} bytes that such a file may have"),
        ));
    }
    let mut bytes = vec![0; file.size() as usize];
    file.read_at(0, &mut bytes)
        .map_err(Error::io("read", &named))?;
    Ok(bytes)
}
