//! Files that are either wholly there or not at all: write beside, fsync, rename, fsync the folder.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

/// Creates `path` and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create the folder", path))
}

/// Forces the contents of a file that another library finished to the disk.
#[cfg(feature = "gstreamer")]
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(Error::io("flush", path))
}

/// Forces the entries of a folder to the disk, so that a rename survives a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(Error::io("flush the folder", path))
}

/// Moves a finished, flushed file to its final name and makes the move durable.
pub(crate) fn publish(staged: &Path, target: &Path) -> Result<()> {
    let parent = target
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !parent.is_dir() {
        create_dir_durably(parent)?;
    }
    fs::rename(staged, target).map_err(Error::io("put in place", target))?;
    sync_dir(parent)
}

/// Moves a finished, flushed file to its final name unless that was done before. The folder that
/// it goes to must be flushed afterwards.
pub(crate) fn rename_once(staged: &Path, target: &Path) -> Result<()> {
    if !staged.exists() && target.is_file() {
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        create_dir_durably(parent)?;
    }
    fs::rename(staged, target).map_err(Error::io("put in place", target))
}

/// Creates a folder with all its parents and makes each new entry durable.
fn create_dir_durably(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dir_durably(parent)?;
    }
    create_dir(path)?;
    parent.map_or(Ok(()), sync_dir)
}

/// Writes `bytes` to a new file and flushes it.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", path))
}

/// Replaces `path` by `bytes` in one step: a reader sees the old or the new contents.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = path.with_extension("part");
    if let Some(parent) = path.parent() {
        create_dir_durably(parent)?;
    }
    write_synced(&staged, bytes)?;
    publish(&staged, path)
}

/// Reads a whole file of at most `limit` bytes; more is an error, because metadata is small and a
/// stranger's file must not fill the memory.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::corrupt(
            path,
            format!("larger than the {limit} bytes that such a file may have"),
        ));
    }
    Ok(bytes)
}
