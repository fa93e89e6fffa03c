//! A hub's dataset as [`Files`]: metadata from the shelf, everything else by ranges.

use super::ahead::Streams;
use super::api;
use super::blocks::BLOCK_BYTES;
use super::hub::Hub;
use super::object::Object;
use super::shelf::Shelf;
use crate::error::{Error, HubFault, Result};
use crate::files::{FileEntry, Files, ReadAt};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The files of a dataset on a hub.
#[derive(Debug)]
pub(super) struct HubFiles {
    hub: Arc<Hub>,
    shelf: Shelf,
    /// Files that were opened: they know where their bytes are.
    open: Mutex<HashMap<PathBuf, Arc<HubFile>>>,
    listing: OnceLock<Vec<FileEntry>>,
}

/// One file, by ranges.
#[derive(Debug)]
pub(super) struct HubFile {
    hub: Arc<Hub>,
    number: u32,
    object: Object,
    streams: Mutex<Streams>,
}

/// A file as it is given out: it can be sent to the threads that read ahead.
#[derive(Debug)]
struct Shared(Arc<HubFile>);

impl HubFiles {
    pub(super) fn new(hub: Hub, shelf: Shelf) -> Self {
        Self {
            hub: Arc::new(hub),
            shelf,
            open: Mutex::default(),
            listing: OnceLock::new(),
        }
    }

    fn file(&self, path: &Path) -> Result<Arc<HubFile>> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = lock().get(path) {
            return Ok(file.clone());
        }
        let object = Object::open(&self.hub, &path.to_string_lossy())?;
        let mut open = lock();
        let number = open.len() as u32;
        let file = open.entry(path.to_owned()).or_insert_with(|| {
            Arc::new(HubFile {
                hub: self.hub.clone(),
                number,
                object,
                streams: Mutex::default(),
            })
        });
        Ok(file.clone())
    }

    fn listing(&self) -> Result<&[FileEntry]> {
        if let Some(known) = self.listing.get() {
            return Ok(known);
        }
        let hub = &self.hub;
        let place = hub.root().display().to_string();
        let all = api::list(
            &hub.client,
            &place,
            &hub.name.repo,
            &hub.commit,
            Path::new(""),
        )?;
        Ok(self.listing.get_or_init(|| all))
    }
}

impl Files for HubFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        if self.shelf.holds(path) {
            return self.shelf.files().open(path);
        }
        match self.file(path) {
            Ok(file) => Ok(Arc::new(Shared(file))),
            Err(error) => Err(as_io(error)),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<FileEntry>> {
        if self.shelf.holds(folder) {
            return self.shelf.files().list(folder);
        }
        let inside = |entry: &&FileEntry| entry.path.starts_with(folder);
        let listing = self.listing().map_err(as_io)?;
        Ok(listing.iter().filter(inside).cloned().collect())
    }
}

/// The seam speaks of I/O errors; this one carries its own words, see [`Error::io`].
fn as_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::Hub {
            fault: HubFault::File,
            ..
        } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl HubFile {
    /// Brings blocks in, unless they are here or on their way.
    pub(super) fn bring(&self, blocks: Range<u64>) -> Result<()> {
        self.hub
            .blocks
            .bring(&self.hub, self.number, &self.object, blocks)
    }

    /// The blocks that hold these bytes, as far as the file goes.
    fn blocks(&self, offset: u64, length: u64) -> Range<u64> {
        let end = offset.saturating_add(length).min(self.object.size());
        let first = (offset / BLOCK_BYTES).min(end.div_ceil(BLOCK_BYTES));
        first..end.div_ceil(BLOCK_BYTES)
    }

    fn copy(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let wanted = self.blocks(offset, into.len() as u64);
        let found = self
            .hub
            .blocks
            .get(&self.hub, self.number, &self.object, wanted)?;
        for (number, block) in found {
            let start = number * BLOCK_BYTES;
            // Where block and wish overlap, in the file's bytes.
            let from = start.max(offset);
            let to = (start + block.len() as u64).min(offset + into.len() as u64);
            let source = &block[(from - start) as usize..(to - start) as usize];
            into[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
        Ok(())
    }
}

impl ReadAt for Shared {
    fn size(&self) -> u64 {
        self.0.object.size()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let file = &self.0;
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if into.is_empty() {
            return Ok(());
        }
        let wanted = file.blocks(offset, into.len() as u64);
        let ahead = {
            let mut streams = file.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.note(&wanted, self.size().div_ceil(BLOCK_BYTES))
        };
        if let Some(ahead) = ahead {
            file.hub.ahead.ask(file.clone(), ahead);
        }
        file.copy(offset, into).map_err(as_io)
    }

    fn prepare(&self, offset: u64, length: u64) {
        let blocks = self.0.blocks(offset, length);
        if let Err(error) = self.0.bring(blocks) {
            tracing::debug!(%error, "bytes could not be fetched in advance");
        }
    }
}
