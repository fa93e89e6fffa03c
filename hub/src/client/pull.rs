//! A repository onto this machine. Files that are there already are left alone; each of the others arrives whole,
//! checked, or not at all. What an interrupted pull left is used by the next.

use super::digest::is_content;
use super::error::{ClientError, ClientResult};
use super::hub::HubClient;
use super::parallel::for_each;
use super::repos::RepoHead;
use super::tree::Entry;
use super::xet::{Cas, DownloadOptions, Progress, Repository, download};
use crate::xet::Hash;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Files above this are fetched one after the other, each by several connections, bytes.
const LARGE_BYTES: u64 = 16 << 20;
/// Folder in the pulled one where files lie until they are whole.
const PARTS: &str = ".cache/sinew";

/// How a repository is pulled.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Files at the same time.
    pub connections: usize,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { connections: 8 }
    }
}

/// What a pull came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullReport {
    /// Files of the repository.
    pub files: u64,
    /// Files that had to be fetched.
    pub fetched: u64,
    /// Bytes of these.
    pub fetched_bytes: u64,
}

/// A pull that is under way.
struct Pull<'a> {
    hub: &'a HubClient,
    head: &'a RepoHead,
    folder: &'a Path,
    parts: PathBuf,
    cas: Option<Cas>,
    progress: &'a Progress,
}

/// Brings a folder to what `entries` say, which are the repository's at `head`. Files that only the folder has stay.
///
/// # Errors
/// If the hub cannot be reached or refuses, the disk is full, or a file is not what the repository says.
pub fn pull(
    hub: &HubClient,
    head: &RepoHead,
    entries: &[Entry],
    folder: &Path,
    options: &PullOptions,
    progress: &Progress,
) -> ClientResult<PullReport> {
    let files: Vec<&Entry> = entries.iter().filter(|entry| !entry.is_folder).collect();
    for entry in &files {
        entry.check()?;
        // The client's own place in the folder.
        if entry.path == PARTS || entry.path.starts_with(".cache/sinew/") {
            return Err(ClientError::protocol(
                &entry.path,
                "a repository may not hold the client's own files",
            ));
        }
    }
    let total: u64 = files.iter().map(|entry| entry.size).sum();
    Progress::add(
        &progress.total_bytes,
        usize::try_from(total).unwrap_or(usize::MAX),
    );
    Progress::add(&progress.total_files, files.len());
    let mut work = Pull {
        hub,
        head,
        folder,
        parts: folder.join(PARTS),
        cas: None,
        progress,
    };
    make_folder(folder)?;
    let missing = work.missing(&files, options.connections)?;
    if missing
        .iter()
        .any(|entry| entry.xet.is_some() && entry.size > 0)
    {
        work.cas = work.open_store()?;
    }
    make_folder(&work.parts)?;
    let (large, small): (Vec<&Entry>, Vec<&Entry>) = missing
        .iter()
        .copied()
        .partition(|entry| entry.size > LARGE_BYTES);
    let one_by_one = |entry: &&Entry| work.fetch(entry, 6);
    let together = |entry: &&Entry| work.fetch(entry, 1);
    for_each("hub-pull", options.connections, &small, together)?;
    for_each("hub-pull", 1, &large, one_by_one)?;
    work.tidy();
    Ok(PullReport {
        files: files.len() as u64,
        fetched: missing.len() as u64,
        fetched_bytes: missing.iter().map(|entry| entry.size).sum(),
    })
}

impl<'a> Pull<'a> {
    /// Files that are not there, or are something else.
    fn missing(&self, files: &[&'a Entry], threads: usize) -> ClientResult<Vec<&'a Entry>> {
        let there = for_each("hub-compare", threads, files, |entry| {
            let is_there = is_content(&self.folder.join(&entry.path), &entry.content, entry.size)?;
            if is_there {
                let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
                Progress::add(&self.progress.file_bytes, size);
                Progress::add(&self.progress.known_bytes, size);
                Progress::add(&self.progress.files, 1);
            }
            Ok(is_there)
        })?;
        let missing = files.iter().zip(there).filter(|(_, is_there)| !is_there);
        Ok(missing.map(|(entry, _)| *entry).collect())
    }

    /// `None` where the hub advertises names of a chunk store that it does not open.
    fn open_store(&self) -> ClientResult<Option<Cas>> {
        let repository = Repository {
            endpoint: self.hub.endpoint().to_owned(),
            token: self.hub.token().map(str::to_owned),
            kind: self.head.repo.kind.plural().to_owned(),
            id: self.head.repo.name.clone(),
            revision: self.head.commit.clone(),
        };
        let cas = Cas::of_repository(repository, false, &self.hub.options);
        Ok(cas.is_there()?.then_some(cas))
    }

    fn fetch(&self, entry: &Entry, connections: usize) -> ClientResult<()> {
        let place = self.folder.join(&entry.path);
        if let Some(above) = place.parent() {
            make_folder(above)?;
        }
        if place.is_dir() {
            return Err(ClientError::Usage(format!(
                "{} is a folder here and a file in the repository; move it away",
                place.display()
            )));
        }
        let part = self.part(entry);
        match (&entry.xet, &self.cas) {
            (Some(name), Some(cas)) if entry.size > 0 => {
                self.fetch_chunks(cas, name, entry, &part, connections)?;
            }
            _ => self.hub.fetch(
                &self.head.repo,
                &self.head.commit,
                entry,
                &part,
                self.progress,
            )?,
        }
        let moved = fs::rename(&part, &place);
        moved.map_err(|e| ClientError::io(format!("write {}", place.display()), e))?;
        Progress::add(&self.progress.files, 1);
        Ok(())
    }

    fn fetch_chunks(
        &self,
        cas: &Cas,
        name: &Hash,
        entry: &Entry,
        part: &Path,
        connections: usize,
    ) -> ClientResult<()> {
        let whole = part.with_extension("whole");
        let options = DownloadOptions {
            connections,
            part: Some(part.to_owned()),
        };
        download(cas, name, entry.size, &whole, &options, self.progress)?;
        fs::rename(&whole, part)
            .map_err(|e| ClientError::io(format!("write {}", part.display()), e))
    }

    /// Named by place and content: what was begun of something else is never gone on with.
    fn part(&self, entry: &Entry) -> PathBuf {
        let name = Sha256::new()
            .chain_update(entry.content.digits())
            .chain_update(b"\0")
            .chain_update(&entry.path)
            .finalize();
        let mut name = hex::encode(name);
        name.truncate(32);
        self.parts.join(format!("{name}.part"))
    }

    /// Everything is there: what older pulls left is of no use any more.
    fn tidy(&self) {
        let left = fs::read_dir(&self.parts).into_iter().flatten().flatten();
        for file in left.map(|found| found.path()) {
            if file
                .extension()
                .is_some_and(|ending| ending == "part" || ending == "whole")
            {
                let _ = fs::remove_file(file);
            }
        }
        // Only if they are empty.
        let _ = fs::remove_dir(&self.parts);
        let _ = self.parts.parent().map(fs::remove_dir);
    }
}

fn make_folder(folder: &Path) -> ClientResult<()> {
    fs::create_dir_all(folder)
        .map_err(|e| ClientError::io(format!("make the folder {}", folder.display()), e))
}
