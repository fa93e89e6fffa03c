//! Where bytes lie: a folder, or any store that speaks S3. What is written is on the disk when the call returns.

mod direct;
mod spool;

use direct::Direct;
pub(crate) use spool::Spool;

use crate::error::{Error, Result};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;

/// Bytes that one read from a folder takes: enough that going to another thread for it costs little, and little enough
/// for a hundred clients.
const READ: usize = 512 * 1024;
/// Bytes of one part of an upload to S3.
const PART: usize = 8 * 1024 * 1024;

/// A stream of bytes, for answers.
pub(crate) type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// An object of a list.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub key: String,
    pub size: u64,
    /// Since it was written last.
    pub age: Duration,
}

/// Kinds of object: the first parts of their keys.
pub(crate) const KINDS: [&str; 3] = ["lfs", "packs", "xorbs"];

/// First part of the keys of what is not checked yet.
pub(crate) const GRANTS: &str = "grants";

/// The object store.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Set when the store is a folder: then files are moved in and read without detours.
    folder: Option<PathBuf>,
    /// Where uploads lie until they are checked.
    spool: PathBuf,
    /// Set when clients may be sent to the store itself.
    direct: Option<Direct>,
}

impl Objects {
    /// Opens `s3://bucket/prefix` (keys, region and endpoint from the usual `AWS_…` variables) or a folder,
    /// which is made. Unchecked uploads lie in `spool`, or in the folder itself. `is_direct` lets clients be sent to
    /// an S3 store itself.
    ///
    /// # Errors
    /// When the store's name makes no sense or the folder cannot be made.
    pub(crate) fn open(location: &str, spool: Option<&Path>, is_direct: bool) -> Result<Self> {
        if location.starts_with("s3://") {
            return Self::open_s3(location, spool, is_direct);
        }
        if is_direct {
            return Err(Error::Setup(format!(
                "clients cannot be sent to the folder {location}: that needs a store that speaks S3 (s3://bucket/prefix)"
            )));
        }
        let folder = Path::new(location).to_owned();
        let spool = spool.map_or_else(|| folder.join("incoming"), Path::to_owned);
        make_folders(&folder).map_err(Error::io(format!("make {location}")))?;
        make_folder(&spool)?;
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        let folder =
            std::fs::canonicalize(&folder).map_err(Error::io(format!("open {location}")))?;
        Ok(Self {
            store: Arc::new(store),
            folder: Some(folder),
            spool,
            direct: None,
        })
    }

    fn open_s3(location: &str, spool: Option<&Path>, is_direct: bool) -> Result<Self> {
        // A provider is set once a process; a second time is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = AmazonS3Builder::from_env().with_url(location).build()?;
        let prefix = location.trim_start_matches("s3://").split_once('/');
        let prefix = Key::from(prefix.map_or("", |parts| parts.1));
        let direct = Direct {
            store: store.clone(),
            prefix: prefix.clone(),
        };
        let spool = spool.map_or_else(|| std::env::temp_dir().join("sinew-hub"), Path::to_owned);
        make_folder(&spool)?;
        Ok(Self {
            store: Arc::new(object_store::prefix::PrefixStore::new(store, prefix)),
            folder: None,
            spool,
            direct: is_direct.then_some(direct),
        })
    }

    /// A new file for an upload that is not checked yet.
    pub(crate) async fn spool(&self) -> Result<Spool> {
        Spool::new(&self.spool).await
    }

    /// A file without a name, for what has to be unpacked before it can be checked.
    pub(crate) async fn scratch(&self) -> Result<std::fs::File> {
        let folder = self.spool.clone();
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await;
        let made = made.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        made.map_err(Error::io("make a file for an upload"))
    }

    /// Stores a few bytes under a key.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let mut spool = self.spool().await?;
        spool.write(&bytes).await?;
        self.put_spool(key, spool).await
    }

    /// Stores a checked upload under a key.
    pub(crate) async fn put_spool(&self, key: &str, spool: Spool) -> Result<()> {
        let spool = spool.finish().await?;
        match &self.folder {
            Some(folder) => spool.move_to(folder.join(key)).await,
            None => self.upload(key, spool).await,
        }
    }

    async fn upload(&self, key: &str, spool: spool::Finished) -> Result<()> {
        let read = || Error::io("read an upload back");
        if spool.size() <= PART as u64 {
            let bytes = tokio::fs::read(spool.path()).await.map_err(read())?;
            self.store.put(&Key::from(key), bytes.into()).await?;
            return Ok(());
        }
        let file = tokio::fs::File::open(spool.path()).await.map_err(read())?;
        let upload = self.store.put_multipart(&Key::from(key)).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
        match send(&mut writer, file).await {
            Ok(()) => writer.finish().await.map(|_| ())?,
            Err(error) => {
                // Otherwise its parts would lie in the store for good.
                writer.abort().await?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes uploads that were cut off by a crash of a server, at least `age` ago.
    pub(crate) async fn tidy(&self, age: Duration) -> Result<()> {
        let folder = self.spool.clone();
        let tidied = tokio::task::spawn_blocking(move || spool::tidy(&folder, age)).await;
        let tidied = tidied.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        tidied.map_err(Error::io("remove what was left of uploads"))
    }

    /// Bytes of an object; `None` when there is none.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store.head(&Key::from(key)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All objects of a kind.
    pub(crate) fn list(&self, kind: &str) -> BoxStream<'static, Result<Listed>> {
        let listed = |meta: object_store::ObjectMeta| Listed {
            key: meta.location.to_string(),
            size: meta.size,
            age: SystemTime::now()
                .duration_since(meta.last_modified.into())
                .unwrap_or_default(),
        };
        let stream = self.store.list(Some(&Key::from(kind)));
        stream.map(move |meta| Ok(listed(meta?))).boxed()
    }

    /// Copies an object within the store; false when there is none.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<bool> {
        match self.store.copy(&Key::from(from), &Key::from(to)).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an object; it may be gone already.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Part of an object.
    pub(crate) async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(self.store.get_range(&Key::from(key), range).await?)
    }

    /// What `work` makes of part of an object, on a thread that may wait and compute.
    pub(crate) async fn read_with<T: Send + 'static>(
        &self,
        key: &str,
        range: Range<u64>,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T> {
        let done = match &self.folder {
            Some(folder) => {
                let path = folder.join(key);
                // Opened, read and worked on without another thread between.
                in_background(move || {
                    let bytes = Reading::open(&path, range)?.next(u64::MAX)?;
                    Ok(work(&bytes))
                })
                .await
            }
            None => {
                let bytes = self.read(key, range).await?;
                in_background(move || Ok(work(&bytes))).await
            }
        };
        done.map_err(Error::io(format!("read the object {key}")))
    }

    /// Part of an object, piece by piece.
    pub(crate) async fn stream(&self, key: &str, range: Range<u64>) -> Result<ByteStream> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let Some(folder) = &self.folder else {
            let options = object_store::GetOptions {
                range: Some(range.into()),
                ..Default::default()
            };
            let result = self.store.get_opts(&Key::from(key), options).await?;
            let stream = result.into_stream();
            return Ok(stream
                .map(|piece| piece.map_err(std::io::Error::other))
                .boxed());
        };
        let path = folder.join(key);
        let opened = in_background(move || Reading::open(&path, range)).await;
        let reading = opened.map_err(Error::io(format!("open the object {key}")))?;
        Ok(reading.into_stream().boxed())
    }
}

/// Work on a thread that may wait.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// Part of a file that is being read.
#[derive(Debug)]
struct Reading {
    file: std::fs::File,
    left: u64,
}

impl Reading {
    fn open(path: &Path, range: Range<u64>) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Self {
            file,
            left: range.end - range.start,
        })
    }

    /// The next bytes, at most so many; none at the end.
    fn next(&mut self, most: u64) -> std::io::Result<Vec<u8>> {
        let wanted = self.left.min(most);
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        (&self.file).take(wanted).read_to_end(&mut bytes)?;
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }

    /// Piece by piece; while one is sent, the next is read.
    fn into_stream(self) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
        let read = |mut reading: Self| {
            tokio::task::spawn_blocking(move || Ok((reading.next(READ as u64)?, reading)))
        };
        stream::try_unfold(read(self), move |reading| async move {
            let done = reading.await;
            let (bytes, reading) = done.unwrap_or_else(|e| Err(std::io::Error::other(e)))?;
            let is_over = bytes.is_empty();
            Ok((!is_over).then(|| (Bytes::from(bytes), read(reading))))
        })
    }
}

async fn send(writer: &mut WriteMultipart, mut file: tokio::fs::File) -> Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        let read = file.read(&mut buffer).await;
        let count = read.map_err(Error::io("read an upload back"))?;
        if count == 0 {
            return Ok(());
        }
        writer.wait_for_capacity(2).await?;
        writer.write(&buffer[..count]);
    }
}

/// Makes all folders that objects lie in. They are on the disk before the first object is: a process that finds one
/// cannot know whether the process that made it got as far as that.
fn make_folders(folder: &Path) -> std::io::Result<()> {
    let sync = |folder: &Path| std::fs::File::open(folder)?.sync_all();
    for kind in KINDS {
        let of_kind = folder.join(kind);
        for head in 0..=u8::MAX {
            std::fs::create_dir_all(of_kind.join(format!("{head:02x}")))?;
        }
        sync(&of_kind)?;
    }
    sync(folder)?;
    if let Some(above) = std::fs::canonicalize(folder)?.parent() {
        // It may be one that only others may read.
        let _ = sync(above);
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))
}

/// Where a xorb lies.
pub(crate) fn xorb_key(hash: &str) -> String {
    spread("xorbs", hash)
}

/// Where a large file lies that came without Xet.
pub(crate) fn lfs_key(sha256: &str) -> String {
    spread("lfs", sha256)
}

/// Where a xorb lies that a client brought by itself and that is not checked yet.
pub(crate) fn grant_key(id: &str) -> String {
    spread(GRANTS, id)
}

/// Where the blobs of a commit lie.
pub(crate) fn pack_key(id: &str) -> String {
    spread("packs", id)
}

/// Spreads objects over 256 folders. Names are hex of ours, never a client's text.
fn spread(kind: &str, name: &str) -> String {
    let head: String = name.chars().take(2).collect();
    format!("{kind}/{head}/{name}")
}
