//! A hub in one folder: its database as JSON lines, its objects as they are. Either kind of database and store can be
//! filled from it.

use super::tables::{self, Line};
use crate::db::{Db, from_hex};
use crate::error::{Error, Result};
use crate::objects::{KINDS, Objects};
use crate::server::{Hub, Options};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Version of the folder's layout.
const VERSION: u32 = 1;
/// Bytes of one line of the database: a commit or a tree of 16 MiB, in hex.
const LINE: u64 = 64 * 1024 * 1024;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Rows of the database.
    pub rows: u64,
    /// Objects that the folder has now.
    pub objects: u64,
    /// Bytes of those that were copied this time; the others were there from an earlier backup.
    pub copied_bytes: u64,
}

/// What the folder says of itself; written last.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    rows: u64,
    objects: u64,
    /// Of the database's file.
    sha256: String,
}

fn database_file(folder: &Path) -> PathBuf {
    folder.join("database.jsonl")
}

fn manifest_file(folder: &Path) -> PathBuf {
    folder.join("backup.json")
}

/// Copies the hub into a folder, beside running servers, but not beside `gc`. A second backup into the same folder
/// copies new objects only. The folder has the hub's signing key and is to be kept as the hub itself is.
///
/// # Errors
/// When something cannot be read or written.
pub async fn backup(hub: &Hub, folder: &Path) -> Result<BackupReport> {
    make_private(folder)?;
    let io = |path: &Path| Error::io(format!("write {}", path.display()));
    // An older backup counts as none until this one is complete.
    match std::fs::remove_file(manifest_file(folder)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io(&manifest_file(folder))(error));
        }
        _ => {}
    }
    let path = database_file(folder);
    let file = File::create(&path).map_err(io(&path))?;
    let mut writer = Hashed::new(BufWriter::new(file));
    let rows = tables::dump(&hub.db, &mut writer).await?;
    let (sha256, writer) = writer.finish();
    let file = writer
        .into_inner()
        .map_err(|error| io(&path)(error.into_error()))?;
    file.sync_all().map_err(io(&path))?;
    // What the rows lead to was written before them, so it is among the objects now.
    let (objects, copied_bytes) = copy_out(&hub.objects, &folder.join("objects")).await?;
    let manifest = Manifest {
        version: VERSION,
        rows,
        objects,
        sha256,
    };
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| Error::Damaged(format!("the backup's description: {error}")))?;
    let partial = folder.join("backup.json.partial");
    std::fs::write(&partial, text + "\n").map_err(io(&partial))?;
    std::fs::rename(&partial, manifest_file(folder)).map_err(io(&manifest_file(folder)))?;
    Ok(BackupReport {
        rows,
        objects,
        copied_bytes,
    })
}

/// Makes a folder that only its owner may read.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let io = || Error::io(format!("make {}", folder.display()));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io())?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(io())
}

async fn copy_out(objects: &Objects, folder: &Path) -> Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for kind in KINDS {
        let mut list = objects.list(kind);
        while let Some(object) = list.next().await {
            let object = object?;
            let path = folder.join(&object.key);
            count += 1;
            // Objects never change.
            if std::fs::metadata(&path).is_ok_and(|there| there.len() == object.size) {
                continue;
            }
            let mut stream = objects.stream(&object.key, 0..object.size).await?;
            let io = || Error::io(format!("write {}", path.display()));
            let above = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(above).map_err(io())?;
            let mut partial = tempfile::NamedTempFile::new_in(above).map_err(io())?;
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(Error::io(format!("read the object {}", object.key)))?;
                partial.write_all(&piece).map_err(io())?;
            }
            partial.as_file().sync_all().map_err(io())?;
            partial.persist(&path).map_err(|error| io()(error.error))?;
            bytes += object.size;
        }
    }
    Ok((count, bytes))
}

/// Fills an empty hub (a database without accounts) from a backup's folder. The kinds of database and store may differ
/// from those of the hub that was backed up. After an interruption it can be run again.
///
/// # Errors
/// When the hub is not empty, the backup is incomplete or damaged, or something cannot be written.
pub async fn restore(folder: &Path, options: &Options) -> Result<BackupReport> {
    let manifest = read_manifest(folder)?;
    check_database(folder, &manifest)?;
    options.make_folder()?;
    let db = Db::open(&options.database).await?;
    let any: Option<(String,)> = sqlx::query_as("SELECT id FROM accounts LIMIT 1")
        .fetch_optional(db.pool())
        .await?;
    if any.is_some() {
        return Err(Error::Setup(
            "the hub to be filled has accounts already; restore into an empty one".to_owned(),
        ));
    }
    let objects = Objects::open(&options.objects, options.spool.as_deref(), false)?;
    let (count, copied_bytes) = copy_in(&objects, &folder.join("objects")).await?;
    if count < manifest.objects {
        return Err(damaged(folder, "objects are missing"));
    }
    let file = open(&database_file(folder))?;
    let rows = tables::fill(&db, lines(BufReader::new(file))).await?;
    if rows != manifest.rows {
        return Err(damaged(folder, "rows are missing"));
    }
    db.close().await;
    Ok(BackupReport {
        rows,
        objects: count,
        copied_bytes,
    })
}

fn damaged(folder: &Path, problem: &str) -> Error {
    Error::Setup(format!(
        "the backup in {}: {problem}; use another one",
        folder.display()
    ))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io(format!("read {}", path.display())))
}

fn read_manifest(folder: &Path) -> Result<Manifest> {
    let mut text = String::new();
    let file = File::open(manifest_file(folder));
    let file = file.map_err(|_| {
        damaged(
            folder,
            "it has no backup.json, so it is none, or was not completed",
        )
    })?;
    let done = file.take(64 * 1024).read_to_string(&mut text);
    done.map_err(Error::io("read backup.json"))?;
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|error| damaged(folder, &format!("backup.json: {error}")))?;
    if manifest.version != VERSION {
        return Err(damaged(
            folder,
            "it was made by another version of this program",
        ));
    }
    Ok(manifest)
}

fn check_database(folder: &Path, manifest: &Manifest) -> Result<()> {
    let mut file = open(&database_file(folder))?;
    let mut hasher = Hashed::new(std::io::sink());
    std::io::copy(&mut file, &mut hasher).map_err(Error::io("read the backup"))?;
    if hasher.finish().0 != manifest.sha256 {
        return Err(damaged(
            folder,
            "database.jsonl is not the file that was written",
        ));
    }
    Ok(())
}

/// The lines of the database's file, each of limited length.
fn lines(mut reader: impl BufRead) -> impl Iterator<Item = Result<Line>> {
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(tables::parse(&line)),
            Err(error) => Some(Err(Error::io("read the backup")(error))),
        }
    })
}

async fn copy_in(objects: &Objects, folder: &Path) -> Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for kind in KINDS {
        for (key, path) in files(folder, kind)? {
            let size = std::fs::metadata(&path)
                .map_err(Error::io(format!("read {}", path.display())))?
                .len();
            count += 1;
            if objects.size(&key).await? == Some(size) {
                continue;
            }
            let mut spool = objects.spool().await?;
            let file = tokio::fs::File::open(&path).await;
            let file = file.map_err(Error::io(format!("read {}", path.display())))?;
            spool
                .fill(
                    tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024),
                    size,
                    |_| {},
                )
                .await?;
            objects.put_spool(&key, spool).await?;
            bytes += size;
        }
    }
    Ok((count, bytes))
}

/// Keys and paths of the objects of a kind: `kind/xx/name`. Other files, such as cut-off ones, are passed over.
fn files(folder: &Path, kind: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for head in names(&folder.join(kind))? {
        for name in names(&folder.join(kind).join(&head))? {
            if name.starts_with(&head)
                && from_hex(&head).is_some()
                && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                let path = folder.join(kind).join(&head).join(&name);
                found.push((format!("{kind}/{head}/{name}"), path));
            }
        }
    }
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(format!("read {}", folder.display())))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(format!("read {}", folder.display())))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Hashes what is written.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    fn finish(self) -> (String, W) {
        (hex::encode(self.hasher.finalize()), self.inner)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
