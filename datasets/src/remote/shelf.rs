//! A dataset's metadata on the local disk, one folder a commit. A commit never changes, so what is
//! here is good for ever.

use super::api;
use super::blocks::BLOCK_BYTES;
use super::hub::Hub;
use super::object::Object;
use crate::episodes::{EPISODES_FOLDER, is_episode_file};
use crate::error::{Error, HubFault, Result};
use crate::files::{FileEntry, LocalFiles};
use crate::fsio;
use crate::info::{INFO_PATH, Info};
use crate::tasks::TASKS_PATH;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The statistics, inside the dataset.
const STATS_PATH: &str = "meta/stats.json";
/// Written last: says that nothing is missing.
const COMPLETE: &str = "complete";
/// Most bytes of all metadata of a dataset.
const LIMIT_BYTES: u64 = 8 << 30;
/// Bytes that are fetched and written at a time.
const PART_BYTES: u64 = 64 * BLOCK_BYTES;

/// Numbers the files that are being fetched.
static STAGED: AtomicUsize = AtomicUsize::new(0);

/// The folder of a dataset's metadata at one commit.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    root: PathBuf,
}

impl Shelf {
    /// The metadata of the commit at which `hub` was opened.
    pub(super) fn new(hub: &Hub) -> Self {
        Self {
            root: hub.folder.clone(),
        }
    }

    /// Whether `path`, inside the dataset, is kept here.
    pub(super) fn holds(&self, path: &Path) -> bool {
        path.starts_with("meta")
    }

    /// The files that are here.
    pub(super) fn files(&self) -> LocalFiles {
        LocalFiles::new(&self.root)
    }

    /// Fetches what is not here yet; [`Self::seal`] says afterwards that it can be read.
    pub(super) fn fill(&self, hub: &Hub, connections: usize) -> Result<()> {
        if self.root.join(COMPLETE).is_file() {
            return Ok(());
        }
        // The head first: it says whether this is a dataset that can be read at all.
        self.fetch(hub, Path::new(INFO_PATH))
            .map_err(|error| no_dataset(hub, error))?;
        let info = Info::read_from(&hub.root(), &self.files())?;
        if info.total_episodes > 0 {
            self.fill_tables(hub, connections)?;
        }
        Ok(())
    }

    /// Notes that nothing is missing, so that nothing is asked for again.
    pub(super) fn seal(&self) -> Result<()> {
        let complete = self.root.join(COMPLETE);
        if complete.is_file() {
            return Ok(());
        }
        fsio::replace(&complete, b"")
    }

    fn fill_tables(&self, hub: &Hub, connections: usize) -> Result<()> {
        let folder = Path::new(EPISODES_FOLDER);
        let place = hub.place(EPISODES_FOLDER);
        let mut wanted = api::list(&hub.client, &place, &hub.name.repo, &hub.commit, folder)?;
        wanted.retain(|entry| is_episode_file(&entry.path));
        check_size(&place, &wanted)?;
        let mut wanted: Vec<PathBuf> = wanted.into_iter().map(|entry| entry.path).collect();
        wanted.push(TASKS_PATH.into());
        wanted.push(STATS_PATH.into());
        tracing::info!(files = wanted.len(), dataset = %hub.name, "fetching metadata");
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || {
            while let Some(path) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.fetch_if_there(hub, path) {
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    // Nobody begins another.
                    next.store(wanted.len(), Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..connections.min(wanted.len()) {
                let builder = std::thread::Builder::new().name("sinew-fetch".into());
                // No thread to be had: the others do the work.
                let _ = builder.spawn_scoped(scope, work);
            }
            work();
        });
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }

    /// Some recorders write no statistics; nothing here needs them.
    fn fetch_if_there(&self, hub: &Hub, path: &Path) -> Result<()> {
        match self.fetch(hub, path) {
            Err(Error::Hub {
                fault: HubFault::File,
                ..
            }) if path == Path::new(STATS_PATH) => Ok(()),
            other => other,
        }
    }

    /// Fetches one file whole.
    fn fetch(&self, hub: &Hub, path: &Path) -> Result<()> {
        let target = self.root.join(path);
        if target.is_file() {
            return Ok(());
        }
        let object = Object::open(hub, &path.to_string_lossy())?;
        if object.size() > LIMIT_BYTES {
            return Err(too_large(
                &hub.place(&path.to_string_lossy()),
                object.size(),
            ));
        }
        if let Some(parent) = target.parent() {
            fsio::create_dir(parent).map_err(no_cache)?;
        }
        // Others may fetch the same file at the same time, in this process or another.
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let staged = target.with_extension(format!("{}-{number}.part", std::process::id()));
        let written = self.write(hub, &object, &staged);
        let published = written.and_then(|()| fsio::publish(&staged, &target));
        published.inspect_err(|_| {
            let _ = std::fs::remove_file(&staged);
        })
    }

    fn write(&self, hub: &Hub, object: &Object, staged: &Path) -> Result<()> {
        let mut file = File::create(staged).map_err(Error::io("create", staged))?;
        let mut at = 0;
        while at < object.size() {
            let end = object.size().min(at + PART_BYTES);
            let bytes = object.fetch(hub, at..end)?;
            file.write_all(&bytes).map_err(Error::io("write", staged))?;
            at = end;
        }
        file.sync_all().map_err(Error::io("flush", staged))
    }
}

/// A repository without a head is not a broken dataset but something else.
fn no_dataset(hub: &Hub, error: Error) -> Error {
    match error {
        Error::Hub {
            fault: HubFault::File,
            ..
        } => Error::Hub {
            place: hub.name.to_string(),
            fault: HubFault::NoDataset,
            problem: format!("this is no LeRobot dataset: it has no {INFO_PATH}; check the name"),
        },
        other => other,
    }
}

fn no_cache(error: Error) -> Error {
    Error::Hub {
        place: "the folder for metadata".into(),
        fault: HubFault::Cache,
        problem: format!("{error}, or choose another folder with XDG_CACHE_HOME"),
    }
}

fn check_size(place: &str, entries: &[FileEntry]) -> Result<()> {
    let whole = entries.iter().map(|entry| entry.size);
    let whole = whole.fold(0_u64, u64::saturating_add);
    if whole > LIMIT_BYTES {
        return Err(too_large(place, whole));
    }
    Ok(())
}

fn too_large(place: &str, bytes: u64) -> Error {
    Error::Hub {
        place: place.to_owned(),
        fault: HubFault::Protocol,
        problem: format!(
            "{bytes} bytes of metadata are more than the {LIMIT_BYTES} that are fetched"
        ),
    }
}
