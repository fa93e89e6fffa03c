//! MCAP files as rosbag2 writes them, and the place where they are put together.

use super::definitions::definition;
use crate::convert::as_conversion;
use crate::edit::Target;
use crate::edit::place::Workspace;
use crate::error::{Error, Result};
use crate::fsio;
use mcap::records::{MessageHeader, Metadata};
use mcap::{WriteOptions, Writer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::export::Container;

/// Size of a chunk, bytes: rosbag2's own choice.
const CHUNK_BYTES: u64 = 786_432;

/// What a file holds of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) topic: String,
    pub(super) ros_type: String,
    pub(super) hash: &'static str,
    pub(super) messages: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileTally {
    pub(super) topics: Vec<Tally>,
    /// Time of the first message, ns since the epoch.
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: u64,
}

/// A file in progress. Chunks are not compressed: encoded video cannot be made smaller, and is most
/// of it.
pub(super) struct FileWriter {
    path: PathBuf,
    file: File,
    writer: Writer<BufWriter<File>>,
    /// Number in the file, and time of the last message, of each topic.
    channels: Vec<(u16, u64)>,
    tally: FileTally,
}

impl FileWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(Error::io("create", path))?;
        let other = file.try_clone().map_err(Error::io("open", path))?;
        let writer = WriteOptions::new()
            .compression(None)
            .profile("ros2")
            .library(concat!("sinew ", env!("CARGO_PKG_VERSION")))
            .chunk_size(Some(CHUNK_BYTES))
            .create(BufWriter::with_capacity(1 << 16, other))
            .map_err(broken(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            writer,
            channels: Vec::new(),
            tally: FileTally::default(),
        })
    }

    /// The number of a topic, which is added if it is new. `about` becomes its metadata.
    pub(super) fn channel(
        &mut self,
        topic: &str,
        ros_type: &str,
        hash: &'static str,
        mut about: BTreeMap<String, String>,
    ) -> Result<usize> {
        if let Some(known) = self.tally.topics.iter().position(|t| t.topic == topic) {
            return Ok(known);
        }
        // rosbag2 looks for it; empty for the default.
        about.insert("offered_qos_profiles".into(), String::new());
        let text = definition(ros_type);
        let schema = self
            .writer
            .add_schema(ros_type, "ros2msg", text.as_bytes())
            .map_err(broken(&self.path))?;
        let id = self
            .writer
            .add_channel(schema, topic, "cdr", &about)
            .map_err(broken(&self.path))?;
        self.channels.push((id, 0));
        self.tally.topics.push(Tally {
            topic: topic.to_owned(),
            ros_type: ros_type.to_owned(),
            hash,
            messages: 0,
        });
        Ok(self.channels.len() - 1)
    }

    /// Appends a message to a topic. Time does not run backwards on a topic: readers sort by it.
    pub(super) fn write(
        &mut self,
        channel: usize,
        sequence: u32,
        stamp_ns: u64,
        data: &[u8],
    ) -> Result<()> {
        let Some((id, last)) = self.channels.get_mut(channel) else {
            return Ok(());
        };
        let log_ns = stamp_ns.max(*last);
        *last = log_ns;
        let header = MessageHeader {
            channel_id: *id,
            sequence,
            log_time: log_ns,
            publish_time: stamp_ns,
        };
        self.writer
            .write_to_known_channel(&header, data)
            .map_err(broken(&self.path))?;
        self.tally.topics[channel].messages += 1;
        let first = self.tally.first_ns.get_or_insert(log_ns);
        *first = (*first).min(log_ns);
        self.tally.last_ns = self.tally.last_ns.max(log_ns);
        Ok(())
    }

    /// Appends a metadata record, before all messages that follow.
    pub(super) fn metadata<'a>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<()> {
        let entries = entries.into_iter().map(|(k, v)| (k.to_owned(), v));
        let record = Metadata {
            name: name.to_owned(),
            metadata: entries.collect(),
        };
        self.writer
            .write_metadata(&record)
            .map_err(broken(&self.path))
    }

    /// Writes the index and flushes the file to the disk.
    pub(super) fn finish(mut self) -> Result<FileTally> {
        self.writer.finish().map_err(broken(&self.path))?;
        // The writer holds a buffer, which goes to the file when it is dropped; flushed before, so
        // that an error is seen.
        let mut inner = self.writer.into_inner();
        std::io::Write::flush(&mut inner).map_err(Error::io("write", &self.path))?;
        self.file
            .sync_all()
            .map_err(Error::io("flush", &self.path))?;
        Ok(self.tally)
    }
}

fn broken(path: &Path) -> impl FnOnce(mcap::McapError) -> Error {
    let path = path.to_owned();
    move |error| Error::Io {
        action: "write",
        path,
        source: match error {
            mcap::McapError::Io(error) => error,
            other => std::io::Error::other(other),
        },
    }
}

/// The result of an export, which appears when it is complete: put together in a hidden folder
/// beside its place, which is gone afterwards whatever happens.
pub(super) struct Output {
    work: Workspace,
    container: Container,
    place: PathBuf,
    name: OsString,
}

impl Output {
    pub(super) fn begin(root: &Path, out: &Path, container: Container) -> Result<Self> {
        let Some(name) = out.file_name() else {
            return Err(Error::convert(out, "this is no name for a result"));
        };
        if container == Container::File && out.exists() {
            return Err(Error::convert(out, "it exists already; choose a new name"));
        }
        let target = Target::Folder(out.to_owned());
        Ok(Self {
            work: Workspace::begin(&[root], &target).map_err(as_conversion)?,
            container,
            place: out.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Where to write the MCAP file with this number.
    pub(super) fn file(&self, number: usize) -> PathBuf {
        let mut name = self.name.clone();
        name.push(format!("_{number}.mcap"));
        self.work.root().join(name)
    }

    /// Writes another file of a folder.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fsio::write_synced(&self.work.root().join(name), bytes)
    }

    /// Moves the result to its place, which is returned.
    pub(super) fn publish(self) -> Result<PathBuf> {
        match self.container {
            Container::Bag => self.work.publish(),
            Container::File => {
                fsio::publish(&self.file(0), &self.place)?;
                Ok(self.place)
            }
        }
    }
}
