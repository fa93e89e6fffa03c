//! Uploads that are not checked yet: files without a name that anyone could ask for.

use crate::error::{Error, Result};
use futures_util::{Stream, StreamExt};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempPath;

/// Bytes that are written to the file at a time.
const WRITE: usize = 256 * 1024;

/// What names of such files begin with.
const PREFIX: &str = ".upload-";

/// A file that is being received. It vanishes when it is dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    file: Arc<File>,
    path: TempPath,
    /// What is not in the file yet.
    waiting: Vec<u8>,
    size: u64,
}

/// A file that was received in whole.
#[derive(Debug)]
pub(crate) struct Finished {
    path: TempPath,
    size: u64,
}

impl Spool {
    pub(super) async fn new(folder: &Path) -> Result<Self> {
        let folder = folder.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)
        })
        .await;
        let made = made.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (file, path) = made
            .map_err(Error::io("make a file for an upload"))?
            .into_parts();
        Ok(Self {
            file: Arc::new(file),
            path,
            waiting: Vec::new(),
            size: 0,
        })
    }

    /// Adds bytes at the end.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() < WRITE {
            return Ok(());
        }
        self.flush().await
    }

    /// The same for whoever is on a thread that may wait for the disk.
    pub(crate) fn write_here(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        let mut file = &*self.file;
        let written = file
            .write_all(&self.waiting)
            .and_then(|()| file.write_all(bytes));
        self.waiting.clear();
        written.map_err(Error::io("store an upload"))
    }

    async fn flush(&mut self) -> Result<()> {
        let (file, bytes) = (Arc::clone(&self.file), std::mem::take(&mut self.waiting));
        let written = move || (&*file).write_all(&bytes).map(|()| bytes);
        let written = tokio::task::spawn_blocking(written).await;
        self.waiting = written
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(Error::io("store an upload"))?;
        self.waiting.clear();
        Ok(())
    }

    /// Adds a whole body of at most `limit` bytes, showing every piece to `look`.
    pub(crate) async fn fill<S, B, E>(
        &mut self,
        mut body: S,
        limit: u64,
        mut look: impl FnMut(&[u8]) + Send,
    ) -> Result<()>
    where
        S: Stream<Item = std::result::Result<B, E>> + Unpin + Send,
        B: AsRef<[u8]> + Send,
        E: std::fmt::Display + Send,
    {
        while let Some(piece) = body.next().await {
            let piece =
                piece.map_err(|error| Error::bad(format!("the upload broke off: {error}")))?;
            let piece = piece.as_ref();
            if self.size + piece.len() as u64 > limit {
                return Err(Error::refused(
                    413,
                    format!("the upload is larger than the {limit} bytes that are allowed"),
                ));
            }
            look(piece);
            self.write(piece).await?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Brings everything to the disk.
    pub(super) async fn finish(mut self) -> Result<Finished> {
        self.flush().await?;
        let file = Arc::clone(&self.file);
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(Error::io("store an upload"))?;
        Ok(Finished {
            path: self.path,
            size: self.size,
        })
    }
}

impl Finished {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Gives the file its name; it is there after a power cut once this returns.
    pub(super) async fn move_to(self, target: PathBuf) -> Result<()> {
        let shown = target.display().to_string();
        let moved = tokio::task::spawn_blocking(move || rename_durably(self.path, &target)).await;
        moved
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(Error::io(format!("move an upload to {shown}")))
    }
}

fn rename_durably(from: TempPath, to: &Path) -> std::io::Result<()> {
    let folder = to
        .parent()
        .ok_or_else(|| std::io::Error::other("the target has no folder"))?;
    from.persist(to).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Removes files that nobody has written to for longer than `age`. Several servers may share the folder.
pub(super) fn tidy(folder: &Path, age: Duration) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let modified = entry.metadata().and_then(|known| known.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed > age));
        match is_old.then(|| std::fs::remove_file(entry.path())) {
            // Its upload ended just now.
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
