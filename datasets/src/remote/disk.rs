//! Blocks on the disk, for whoever reads the same dataset again and again, as training does.
//!
//! Beside each file of blocks lies one with their checksums. A block whose checksum does not fit was
//! never wholly written and counts as absent. Files belong to a commit, so nothing here grows old.

use super::blocks::BLOCK_BYTES;
use bytes::Bytes;
use lru::LruCache;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a checksum: CRC-32, and its complement, which no hole in a file imitates.
const ENTRY_BYTES: u64 = 8;
/// Files that are kept open, two for each of a dataset's.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Folder levels of a dataset.
const DEPTH_LIMIT: usize = 8;

/// The blocks of a dataset at one commit.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    limit: u64,
    used: AtomicU64,
    open: Mutex<LruCache<String, Arc<Pair>>>,
}

/// One file's blocks, and their checksums.
#[derive(Debug)]
struct Pair {
    blocks: File,
    checksums: File,
}

impl Disk {
    /// Blocks below `root`, which are no more added to when they take `limit` bytes.
    pub(super) fn new(root: PathBuf, limit: u64) -> Self {
        let used = AtomicU64::new(taken(&root, DEPTH_LIMIT));
        Self {
            root,
            limit,
            used,
            open: Mutex::new(LruCache::new(OPEN_FILES)),
        }
    }

    /// Block `number` of the file `path`, which has `length` bytes in it.
    pub(super) fn get(&self, path: &str, number: u64, length: usize) -> Option<Bytes> {
        let pair = self.pair(path).ok()?;
        let mut entry = [0; ENTRY_BYTES as usize];
        pair.checksums
            .read_exact_at(&mut entry, number * ENTRY_BYTES)
            .ok()?;
        let mut block = vec![0; length];
        pair.blocks
            .read_exact_at(&mut block, number * BLOCK_BYTES)
            .ok()?;
        (entry == checksum(&block)).then(|| block.into())
    }

    /// Keeps a block if there is room. A disk that refuses costs nothing but the saving.
    pub(super) fn put(&self, path: &str, number: u64, block: &[u8]) {
        let bytes = block.len() as u64;
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        let written = self.pair(path).and_then(|pair| {
            pair.blocks.write_all_at(block, number * BLOCK_BYTES)?;
            pair.checksums
                .write_all_at(&checksum(block), number * ENTRY_BYTES)
        });
        if let Err(error) = written {
            tracing::debug!(%error, path, "a block is not kept on the disk");
        }
    }

    fn pair(&self, path: &str) -> io::Result<Arc<Pair>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = open.get(path) {
            return Ok(pair.clone());
        }
        let blocks = self.root.join(path);
        fs::create_dir_all(blocks.parent().unwrap_or(&self.root))?;
        let file = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            options.open(path)
        };
        let mut checksums = blocks.clone().into_os_string();
        checksums.push(".crc");
        let pair = Arc::new(Pair {
            blocks: file(&blocks)?,
            checksums: file(Path::new(&checksums))?,
        });
        open.push(path.to_owned(), pair.clone());
        Ok(pair)
    }
}

fn checksum(block: &[u8]) -> [u8; ENTRY_BYTES as usize] {
    let crc = crc32fast::hash(block);
    let mut entry = [0; ENTRY_BYTES as usize];
    entry[..4].copy_from_slice(&crc.to_le_bytes());
    entry[4..].copy_from_slice(&(!crc).to_le_bytes());
    entry
}

/// Bytes that the files below a folder take on the disk; holes take none.
fn taken(folder: &Path, depth: usize) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() && depth > 0 => taken(&entry.path(), depth - 1),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let block = vec![7; BLOCK_BYTES as usize];
        let disk = Disk::new(dir.path().to_owned(), 10 * BLOCK_BYTES);
        disk.put("data/a", 3, &block);
        disk.put("data/a", 4, &[1, 2, 3]);
        let again = Disk::new(dir.path().to_owned(), 10 * BLOCK_BYTES);
        assert_eq!(
            again.get("data/a", 3, block.len()).as_deref(),
            Some(&block[..])
        );
        assert_eq!(again.get("data/a", 4, 3).as_deref(), Some(&[1, 2, 3][..]));
        for absent in [0, 2, 5] {
            assert_eq!(again.get("data/a", absent, block.len()), None);
        }
        let damaged = File::options()
            .write(true)
            .open(dir.path().join("data/a"))
            .unwrap();
        damaged.write_all_at(&[8], 3 * BLOCK_BYTES + 100).unwrap();
        assert_eq!(again.get("data/a", 3, block.len()), None);
    }

    #[test]
    fn a_full_disk_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_owned(), 2 * BLOCK_BYTES);
        let block = vec![7; BLOCK_BYTES as usize];
        (0..5).for_each(|number| disk.put("a", number, &block));
        let kept = (0..5).filter(|n| disk.get("a", *n, block.len()).is_some());
        assert_eq!(kept.count(), 2);
        let again = Disk::new(dir.path().to_owned(), 2 * BLOCK_BYTES);
        again.put("a", 4, &block);
        assert_eq!(again.get("a", 4, block.len()), None);
    }
}
