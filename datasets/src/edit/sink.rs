//! Which data file the rows of a result go to.
//!
//! An edit makes one file of each source file, so that what did not change stays where it was. A
//! file is then one row group as long as it fits the memory: its columns lie together over all
//! episodes, and the columns that an edit leaves alone keep their bytes.
//!
//! Packing fills files up to a size, one row group an episode, as LeRobot writes them.

use super::columns::schema;
use super::plan::Planned;
use crate::error::Result;
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::table::TableWriter;
use arrow_array::ArrayRef;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Memory for a row group in progress, bytes; LeRobot's files are smaller.
const GROUP_BYTES: usize = 256 << 20;

/// The data files of a result in progress.
pub(super) struct Sink<'a> {
    info: &'a Info,
    root: &'a Path,
    /// Size that a packed file stays below, bytes; `None` for a file a source file.
    limit: Option<u64>,
    at: FileIndex,
    open: Option<OpenFile>,
    /// Most bytes a row of any episode so far.
    densest: f64,
    files: Vec<PathBuf>,
}

struct OpenFile {
    writer: TableWriter,
    /// Rows of the episode in progress.
    rows: u64,
    /// Size before it, bytes.
    before: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(info: &'a Info, root: &'a Path, limit: Option<u64>) -> Self {
        Self {
            info,
            root,
            limit,
            at: FileIndex::default(),
            open: None,
            densest: 0.0,
            files: Vec::new(),
        }
    }

    /// Makes room for an episode of `rows` rows; the file that it goes to.
    pub(super) fn begin_episode(&mut self, rows: u64) -> Result<FileIndex> {
        if let (Some(limit), Some(file)) = (self.limit, &self.open)
            && file.writer.written_bytes() as f64 + self.densest * rows as f64 >= limit as f64
        {
            self.close()?;
        }
        Ok(self.at)
    }

    /// Writes rows of the episode; the columns come from the file `source`.
    pub(super) fn append(
        &mut self,
        source: &Path,
        features: &[Planned],
        columns: Vec<ArrayRef>,
    ) -> Result<()> {
        let file = match &mut self.open {
            Some(file) => file,
            None => {
                let path = self.root.join(self.info.data_file(self.at)?);
                if let Some(parent) = path.parent() {
                    fsio::create_dir(parent)?;
                }
                let (schema, metadata) = schema(features, &columns);
                let writer = TableWriter::create(&path, Arc::new(schema), &metadata)?;
                self.files.push(path);
                self.open.insert(OpenFile {
                    writer,
                    rows: 0,
                    before: 0,
                })
            }
        };
        let batch = file.writer.batch(source, columns)?;
        file.writer.write(&batch)?;
        file.rows += batch.num_rows() as u64;
        if file.writer.pending_bytes() > GROUP_BYTES {
            file.writer.end_group()?;
        }
        Ok(())
    }

    pub(super) fn end_episode(&mut self) -> Result<()> {
        if let (Some(_), Some(file)) = (self.limit, &mut self.open) {
            file.writer.end_group()?;
            let size = file.writer.written_bytes();
            let bytes = size.saturating_sub(file.before) as f64;
            self.densest = self.densest.max(bytes / file.rows.max(1) as f64);
            (file.before, file.rows) = (size, 0);
        }
        Ok(())
    }

    /// Notes that what follows comes from another file.
    pub(super) fn end_source(&mut self) -> Result<()> {
        if self.limit.is_none() {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(file) = self.open.take() {
            file.writer.finish()?;
            self.at = self.at.next(self.info.chunks_size);
        }
        Ok(())
    }

    /// Ends the last file; all of them.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>> {
        self.close()?;
        Ok(self.files)
    }
}
