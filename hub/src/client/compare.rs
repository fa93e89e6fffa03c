//! In what a folder and a repository differ.

use super::digest::is_content;
use super::error::ClientResult;
use super::folder::LocalFile;
use super::parallel::for_each;
use super::tree::Entry;
use std::collections::{BTreeMap, HashSet};

/// How a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Only the folder has it.
    OnlyHere,
    /// Only the repository has it.
    OnlyThere,
    /// Both have it, with different contents.
    Content,
}

/// The files of a repository by path. Folders are left out.
pub fn by_path(entries: Vec<Entry>) -> BTreeMap<String, Entry> {
    let files = entries.into_iter().filter(|entry| !entry.is_folder);
    files.map(|entry| (entry.path.clone(), entry)).collect()
}

/// Every path at which they differ, in order. Contents are compared by their hashes.
///
/// # Errors
/// If a file cannot be read.
pub fn compare(
    local: &[LocalFile],
    remote: &BTreeMap<String, Entry>,
    threads: usize,
) -> ClientResult<Vec<(String, Difference)>> {
    let differs = for_each("hub-compare", threads, local, |file| {
        differs(file, remote.get(&file.path))
    })?;
    let here: HashSet<&str> = local.iter().map(|file| file.path.as_str()).collect();
    let mut all: Vec<(String, Difference)> = local
        .iter()
        .zip(differs)
        .filter_map(|(file, difference)| Some((file.path.clone(), difference?)))
        .collect();
    let there = remote.keys().filter(|path| !here.contains(path.as_str()));
    all.extend(there.map(|path| (path.clone(), Difference::OnlyThere)));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

fn differs(file: &LocalFile, entry: Option<&Entry>) -> ClientResult<Option<Difference>> {
    let Some(entry) = entry else {
        return Ok(Some(Difference::OnlyHere));
    };
    if file.size != entry.size {
        return Ok(Some(Difference::Content));
    }
    // Links are followed, as when the folder is pushed.
    let place = std::fs::canonicalize(&file.place);
    let place =
        place.map_err(|e| super::ClientError::io(format!("read {}", file.place.display()), e))?;
    let is_same = is_content(&place, &entry.content, entry.size)?;
    Ok((!is_same).then_some(Difference::Content))
}
