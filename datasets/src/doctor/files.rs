//! The files of a dataset's folder: which there are, which should be, and what a crash left.

use super::code::Code;
use super::episodes::Table;
use super::finding::{Findings, Place};
use super::head::Head;
use crate::resume::STAGING;
use std::collections::{BTreeMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Files looked at; a dataset of a million episodes has fewer.
const FILE_LIMIT: usize = 8_000_000;
/// Folder levels looked at.
const DEPTH_LIMIT: usize = 8;

/// What lies in the folder; paths are relative to it and sorted.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) data: Vec<PathBuf>,
    pub(super) episodes: Vec<PathBuf>,
    pub(super) videos: Vec<PathBuf>,
    /// Temporary pictures of LeRobot's recorder.
    images: Vec<PathBuf>,
    /// Half-written metadata.
    parts: Vec<PathBuf>,
    /// What lies in the recorder's staging folder, the lock excepted.
    staged: Vec<PathBuf>,
    pub(super) bytes: u64,
    files: usize,
}

impl Inventory {
    /// Looks through the folder. What cannot be listed counts as absent.
    pub(super) fn of(root: &Path) -> Self {
        let mut found = Self::default();
        found.list(root, &mut PathBuf::new(), DEPTH_LIMIT);
        let lists = [
            &mut found.data,
            &mut found.episodes,
            &mut found.videos,
            &mut found.images,
            &mut found.parts,
            &mut found.staged,
        ];
        lists.into_iter().for_each(|list| list.sort());
        found
    }

    fn list(&mut self, root: &Path, at: &mut PathBuf, depth: usize) {
        let Ok(entries) = std::fs::read_dir(root.join(&at)) else {
            return;
        };
        for entry in entries.flatten() {
            if self.files >= FILE_LIMIT {
                return;
            }
            self.files += 1;
            let name = entry.file_name();
            // The hub's cache and version control are not the dataset's.
            let foreign = name.to_string_lossy().starts_with('.') && name != STAGING;
            at.push(&name);
            match entry.file_type() {
                // Links to folders may lead in circles; links to files are the hub's own layout.
                Ok(kind) if kind.is_dir() && depth > 0 && !foreign => {
                    self.list(root, at, depth - 1)
                }
                Ok(kind) if !kind.is_dir() => self.file(root, at),
                _ => {}
            }
            at.pop();
        }
    }

    fn file(&mut self, root: &Path, at: &Path) {
        self.bytes += std::fs::metadata(root.join(at)).map_or(0, |m| m.len());
        let extension = at.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let list = match extension {
            _ if at.starts_with(STAGING) && at.ends_with("lock") => return,
            _ if at.starts_with(STAGING) => &mut self.staged,
            "part" | "tmp" => &mut self.parts,
            "parquet" if at.starts_with("meta/episodes") => &mut self.episodes,
            "parquet" if !at.starts_with("meta") => &mut self.data,
            "mp4" => &mut self.videos,
            "png" | "tiff" if at.starts_with("images") => &mut self.images,
            _ => return,
        };
        list.push(at.to_owned());
    }

    /// Reports what a recording that did not end properly left behind.
    pub(super) fn leftovers(&self, root: &Path, out: &mut Findings) {
        if is_locked(root) {
            let place = Place::file(&Path::new(STAGING).join("lock"));
            out.add(
                Code::RecordingActive,
                place,
                "the dataset is being recorded right now",
            );
            return;
        }
        let kinds = [
            (&self.staged, "files of an episode that was never saved"),
            (&self.parts, "half-written files"),
            (&self.images, "temporary pictures of LeRobot's recorder"),
        ];
        for (list, what) in kinds {
            if let Some(first) = list.first() {
                let message = format!("{} {what}", list.len());
                out.add(Code::RecordingLeftover, Place::file(first), message);
            }
        }
    }

    /// Looks at files one by one, for a dataset whose head cannot be read.
    pub(super) fn check_each(&self, root: &Path, out: &mut Findings) {
        let tables = self.episodes.iter().chain(&self.data);
        for file in tables {
            if let Err(problem) = crate::table::read(&root.join(file), |_| false, |_| Ok(())) {
                parquet_finding(root, file, &problem, out);
            }
        }
    }
}

/// Reports a parquet file that cannot be read; one without its footer by another name than others.
pub(super) fn parquet_finding(
    root: &Path,
    file: &Path,
    problem: &crate::Error,
    out: &mut Findings,
) {
    let (code, message) = match footer(&root.join(file)) {
        Ok(true) => (Code::ParquetDamaged, problem_of(problem)),
        Ok(false) => (
            Code::ParquetFooter,
            "the file does not end with a parquet footer; it was cut off or never finished"
                .to_owned(),
        ),
        Err(error) => (Code::ParquetDamaged, format!("cannot be read: {error}")),
    };
    out.add(code, Place::file(file), message);
}

/// The problem without the path, which the finding's place has.
pub(super) fn problem_of(error: &crate::Error) -> String {
    match error {
        crate::Error::Corrupt { problem, .. } | crate::Error::Video { problem, .. } => {
            problem.clone()
        }
        crate::Error::Io { action, source, .. } => format!("cannot {action} it: {source}"),
        other => other.to_string(),
    }
}

fn footer(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    if file.metadata()?.len() < 12 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut magic)?;
    Ok(&magic == b"PAR1")
}

/// Whether a recorder holds the dataset.
fn is_locked(root: &Path) -> bool {
    let Ok(file) = File::open(root.join(STAGING).join("lock")) else {
        return false;
    };
    // The lock goes with the handle.
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Which files the episode table names.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Data file of each episode, by position in the table.
    pub(super) data: Vec<Option<PathBuf>>,
    /// Data files that are named but absent.
    pub(super) absent: HashSet<PathBuf>,
    /// Video files, and the episodes in each: (camera, positions in the table).
    pub(super) videos: BTreeMap<PathBuf, (usize, Vec<usize>)>,
}

impl Named {
    /// Compares what the table names with what there is.
    pub(super) fn check(root: &Path, head: &Head, table: &Table, out: &mut Findings) -> Self {
        let mut named = Self::default();
        for (position, entry) in table.entries.iter().enumerate() {
            let data = entry.data.and_then(|at| head.data_file(at, out));
            named.data.push(data);
            for (camera, span) in entry.videos.iter().enumerate() {
                let file = span.and_then(|s| head.video_file(camera, s.file, out));
                if let Some(file) = file {
                    let episodes = named.videos.entry(file).or_insert((camera, Vec::new()));
                    episodes.1.push(position);
                }
            }
        }
        named.report_absent(root, table, out);
        named
    }

    fn report_absent(&mut self, root: &Path, table: &Table, out: &mut Findings) {
        let mut users: BTreeMap<&PathBuf, (u64, u64)> = BTreeMap::new();
        for (position, file) in self.data.iter().enumerate() {
            if let Some(file) = file {
                let number = table.number(position);
                users.entry(file).or_insert((number, 0)).1 += 1;
            }
        }
        for (file, (first, episodes)) in users {
            if !root.join(file).is_file() {
                let message = format!("the data file of {} is absent", of_episodes(episodes));
                out.add(Code::FileMissing, Place::file(file).episode(first), message);
                self.absent.insert(file.clone());
            }
        }
    }

    /// Reports files that the table does not name; `strays` are reported already.
    pub(super) fn report_unnamed(
        &self,
        head: &Head,
        inventory: &Inventory,
        strays: &HashSet<PathBuf>,
        out: &mut Findings,
    ) {
        let known: HashSet<&PathBuf> = self.data.iter().flatten().collect();
        let data = inventory.data.iter().filter(|f| {
            f.starts_with(head.data_top()) && !known.contains(f) && !strays.contains(*f)
        });
        let videos = inventory
            .videos
            .iter()
            .filter(|f| f.starts_with(head.video_top()) && !self.videos.contains_key(*f));
        for file in data.chain(videos) {
            out.add(
                Code::FileUnnamed,
                Place::file(file),
                "no row of the episode table names this file",
            );
        }
    }
}

/// `1 episode` or `n episodes`.
pub(super) fn of_episodes(count: u64) -> String {
    format!("{count} episode{}", if count == 1 { "" } else { "s" })
}
