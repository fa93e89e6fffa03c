//! A folder into a repository: only what changed, large files first, then the commit that makes everything visible.
//! Interrupted, it is run again and sends what is missing.

use super::commit::{Candidate, Change, Committed, Message, Mode, PullRequest, SAMPLE_BYTES};
use super::compare::{Difference, compare};
use super::digest::Digester;
use super::error::{ClientError, ClientResult};
use super::folder::{LocalFile, Stamp};
use super::hub::HubClient;
use super::lfs::LfsFile;
use super::names::RepoId;
use super::parallel::for_each;
use super::tree::Entry;
use super::xet::{Cas, Progress, Repository, UploadOptions, UploadedFile, Uploader};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// Bytes of contents in one commit.
const COMMIT_BYTES: u64 = 64 << 20;
/// Changes of one commit.
const COMMIT_CHANGES: usize = 2500;
/// Bytes of new xorbs after which the files so far are registered.
const CHECKPOINT_BYTES: u64 = 1 << 30;
/// Times that a file is read which is being written to.
const READS: usize = 3;

/// How a folder is pushed.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// The branch.
    pub branch: String,
    /// Whether the changes go into a new pull request for the branch `main` instead.
    pub opens_pull_request: bool,
    /// What the commit is called.
    pub message: Message,
    /// Whether files that only the repository has are deleted there.
    pub deletes: bool,
    /// Files that are compared or read at the same time.
    pub threads: usize,
    /// How the chunk store is used.
    pub upload: UploadOptions,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            branch: "main".into(),
            opens_pull_request: false,
            message: Message::default(),
            deletes: false,
            threads: 8,
            upload: UploadOptions::default(),
        }
    }
}

/// What a push came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Files of the folder.
    pub files: u64,
    /// Files that were new or had changed.
    pub changed: u64,
    /// Bytes of these.
    pub changed_bytes: u64,
    /// Files that were deleted in the repository.
    pub deleted: u64,
    /// Files that the `.gitignore` leaves out.
    pub ignored: u64,
    /// Bytes that had to be sent for the large ones.
    pub sent_bytes: u64,
    /// The commits, none if nothing changed.
    pub commits: Vec<Committed>,
    /// The pull request that has them, if one was asked for.
    pub pull_request: Option<PullRequest>,
}

/// A push that is under way.
struct Push<'a> {
    hub: &'a HubClient,
    repo: &'a RepoId,
    options: &'a PushOptions,
    progress: &'a Arc<Progress>,
}

/// A large file as the commit names it.
struct Stored {
    sha256: String,
    size: u64,
}

/// Brings a branch to what a folder holds. `remote` is what the branch holds now.
///
/// # Errors
/// If the hub cannot be reached or refuses, a file cannot be read, or changes while it is read.
pub fn push(
    hub: &HubClient,
    repo: &RepoId,
    local: &[LocalFile],
    remote: &BTreeMap<String, Entry>,
    options: &PushOptions,
    progress: &Arc<Progress>,
) -> ClientResult<PushReport> {
    let work = Push {
        hub,
        repo,
        options,
        progress,
    };
    let differences = compare(local, remote, options.threads)?;
    let by_path: HashMap<&str, &LocalFile> = local
        .iter()
        .map(|file| (file.path.as_str(), file))
        .collect();
    let mut changed: Vec<&LocalFile> = differences
        .iter()
        .filter(|(_, difference)| *difference != Difference::OnlyThere)
        .filter_map(|(path, _)| by_path.get(path.as_str()).copied())
        .collect();
    // What describes a data set comes last: whoever finds it finds the rest as well.
    changed.sort_by_key(|file| {
        (
            file.path == "meta/info.json",
            file.path.starts_with("meta/"),
        )
    });
    let gone = differences.iter().filter(|(path, difference)| {
        *difference == Difference::OnlyThere && options.deletes && path != ".gitattributes"
    });
    let gone: Vec<String> = gone.map(|(path, _)| path.clone()).collect();
    let modes = work.modes(local, &changed)?;
    let ignored = modes.iter().filter(|mode| **mode == Mode::Ignored).count();
    let wanted: Vec<(&LocalFile, Mode)> = changed
        .into_iter()
        .zip(modes)
        .filter(|(_, mode)| *mode != Mode::Ignored)
        .collect();
    let changed_bytes = wanted.iter().map(|(file, _)| file.size).sum();
    Progress::add(
        &progress.total_bytes,
        usize::try_from(changed_bytes).unwrap_or(usize::MAX),
    );
    Progress::add(&progress.total_files, wanted.len());
    let large: Vec<&LocalFile> = wanted
        .iter()
        .filter(|(_, mode)| *mode == Mode::Large)
        .map(|(file, _)| *file)
        .collect();
    let (stored, sent_bytes) = work.store(&large)?;
    let has_changes = !wanted.is_empty() || !gone.is_empty();
    let pull_request = (options.opens_pull_request && has_changes)
        .then(|| hub.open_pull_request(repo, &options.message))
        .transpose()?;
    let branch = pull_request.as_ref().map(PullRequest::branch);
    let branch = branch.as_ref().unwrap_or(&options.branch);
    let commits = work.commit(branch, &wanted, &stored, &gone)?;
    Ok(PushReport {
        files: local.len() as u64,
        changed: wanted.len() as u64,
        changed_bytes,
        deleted: gone.len() as u64,
        ignored: ignored as u64,
        sent_bytes,
        commits,
        pull_request,
    })
}

impl Push<'_> {
    /// How each changed file is to be brought.
    fn modes(&self, local: &[LocalFile], changed: &[&LocalFile]) -> ClientResult<Vec<Mode>> {
        let candidates = for_each("hub-sample", self.options.threads, changed, |file| {
            Ok(Candidate {
                path: file.path.clone(),
                size: file.size,
                sample: file.beginning(SAMPLE_BYTES as u64)?,
            })
        })?;
        let ignore = local.iter().find(|file| file.path == ".gitignore");
        let ignore = ignore.map(|file| file.beginning(1 << 20)).transpose()?;
        let ignore = ignore.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.hub.preupload(
            self.repo,
            &self.options.branch,
            &candidates,
            ignore.as_deref(),
        )
    }

    /// Uploads large files; what they are called, and the bytes that were sent.
    fn store(&self, files: &[&LocalFile]) -> ClientResult<(HashMap<String, Stored>, u64)> {
        if files.is_empty() {
            return Ok((HashMap::new(), 0));
        }
        let repository = Repository {
            endpoint: self.hub.endpoint().to_owned(),
            token: self.hub.token().map(str::to_owned),
            kind: self.repo.kind.plural().to_owned(),
            id: self.repo.name.clone(),
            revision: self.options.branch.clone(),
        };
        let cas = Cas::of_repository(repository, true, &self.hub.options);
        match cas.is_there()? {
            true => self.store_chunks(Arc::new(cas), files),
            false => self.store_whole(files),
        }
    }

    fn store_chunks(
        &self,
        cas: Arc<Cas>,
        files: &[&LocalFile],
    ) -> ClientResult<(HashMap<String, Stored>, u64)> {
        let mut uploader = Uploader::new(cas, self.options.upload.clone(), self.progress.clone())?;
        let mut stored = HashMap::new();
        let mut changing = Vec::new();
        let mut checked_bytes = 0;
        for file in files {
            match self.read_steadily(file, |content| {
                uploader.add_sized(&file.path, file.size, content)
            })? {
                Some(UploadedFile { sha256, size, .. }) => {
                    let done = Stored {
                        sha256: hex::encode(sha256),
                        size,
                    };
                    stored.insert(file.path.clone(), done);
                }
                None => changing.push(file.path.clone()),
            }
            Progress::add(&self.progress.files, 1);
            if uploader.report().packed_bytes >= checked_bytes + CHECKPOINT_BYTES {
                uploader.checkpoint()?;
                checked_bytes = uploader.report().packed_bytes;
            }
        }
        let report = uploader.finish()?;
        steady(changing)?;
        Ok((stored, report.packed_bytes))
    }

    /// For hubs without a chunk store.
    fn store_whole(&self, files: &[&LocalFile]) -> ClientResult<(HashMap<String, Stored>, u64)> {
        let done = for_each("hub-send", 4, files, |file| self.store_one(file))?;
        let sent = done
            .iter()
            .flatten()
            .filter(|(_, is_new)| *is_new)
            .map(|(stored, _)| stored.size);
        let sent = sent.sum();
        let changing = files.iter().zip(&done).filter(|(_, done)| done.is_none());
        steady(changing.map(|(file, _)| file.path.clone()).collect())?;
        let named = files.iter().zip(done);
        let stored = named.filter_map(|(file, done)| Some((file.path.clone(), done?.0)));
        Ok((stored.collect(), sent))
    }

    fn store_one(&self, file: &LocalFile) -> ClientResult<Option<(Stored, bool)>> {
        let (mut content, stamp) = file.open()?;
        let mut digester = Digester::Sha256(Sha256::new());
        digester.read(&file.place, &mut content)?;
        let sha256 = digester.finish().digits().to_owned();
        if !file.is_same(&content, stamp)? {
            return Ok(None);
        }
        let named = LfsFile {
            path: &file.path,
            sha256: &sha256,
            size: stamp.size,
        };
        let sent = self.hub.put_lfs(self.repo, &named, &content);
        if !file.is_same(&content, stamp)? {
            return Ok(None);
        }
        let is_new = sent?;
        let size = usize::try_from(stamp.size).unwrap_or(usize::MAX);
        Progress::add(&self.progress.file_bytes, size);
        Progress::add(&self.progress.files, 1);
        Ok(Some((
            Stored {
                sha256,
                size: stamp.size,
            },
            is_new,
        )))
    }

    /// Reads a file until it did not change meanwhile; `None` if it always did.
    fn read_steadily<T>(
        &self,
        file: &LocalFile,
        mut read: impl FnMut(&File) -> ClientResult<T>,
    ) -> ClientResult<Option<T>> {
        for _ in 0..READS {
            let (content, stamp) = file.open()?;
            let done = read(&content)?;
            if file.is_same(&content, stamp)? && self.is_in_place(file, stamp) {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Whether the file of that name is still this one: many programs write anew and rename.
    fn is_in_place(&self, file: &LocalFile, stamp: Stamp) -> bool {
        std::fs::metadata(&file.place).is_ok_and(|known| Stamp::of(&known) == stamp)
    }

    /// Commits everything, in one commit if it is not too much for one.
    fn commit(
        &self,
        branch: &str,
        files: &[(&LocalFile, Mode)],
        stored: &HashMap<String, Stored>,
        gone: &[String],
    ) -> ClientResult<Vec<Committed>> {
        let mut commits = Vec::new();
        let mut batches = batches(files);
        if batches.is_empty() && !gone.is_empty() {
            batches.push(&[]);
        }
        let count = batches.len();
        for (number, batch) in batches.into_iter().enumerate() {
            let mut changes = self.changes(batch, stored)?;
            if number == 0 {
                changes.extend(gone.iter().cloned().map(Change::Delete));
            }
            let mut message = self.options.message.clone();
            if count > 1 {
                message.title = format!("{} (part {} of {count})", message.title, number + 1);
            }
            if number > 0 {
                message.parent = None;
            }
            commits.push(self.hub.commit(self.repo, branch, &message, &changes)?);
        }
        Ok(commits)
    }

    fn changes(
        &self,
        files: &[(&LocalFile, Mode)],
        stored: &HashMap<String, Stored>,
    ) -> ClientResult<Vec<Change>> {
        let changes = for_each("hub-read", self.options.threads, files, |(file, mode)| {
            let path = file.path.clone();
            if let (Mode::Large, Some(stored)) = (mode, stored.get(&file.path)) {
                let (sha256, size) = (stored.sha256.clone(), stored.size);
                return Ok(Some(Change::Large { path, sha256, size }));
            }
            let content = self.read_steadily(file, |mut content| {
                let mut bytes = Vec::new();
                let read = content.by_ref().take(COMMIT_BYTES).read_to_end(&mut bytes);
                read.map_err(|e| ClientError::io(format!("read {}", file.place.display()), e))?;
                Ok(bytes)
            })?;
            let Some(content) = content else {
                return Ok(None);
            };
            Progress::add(&self.progress.file_bytes, content.len());
            Progress::add(&self.progress.files, 1);
            Ok(Some(Change::File { path, content }))
        })?;
        let changing = files
            .iter()
            .zip(&changes)
            .filter(|(_, change)| change.is_none());
        steady(changing.map(|((file, _), _)| file.path.clone()).collect())?;
        Ok(changes.into_iter().flatten().collect())
    }
}

fn steady(changing: Vec<String>) -> ClientResult<()> {
    match changing.is_empty() {
        true => Ok(()),
        false => Err(ClientError::Changed { paths: changing }),
    }
}

/// Divides files so that no commit is too much for a hub.
fn batches<'f, 'l>(files: &'f [(&'l LocalFile, Mode)]) -> Vec<&'f [(&'l LocalFile, Mode)]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0_u64);
    for (at, (file, mode)) in files.iter().enumerate() {
        let size = if *mode == Mode::Inline { file.size } else { 0 };
        let is_full = bytes.saturating_add(size) > COMMIT_BYTES || at - start >= COMMIT_CHANGES;
        if is_full && at > start {
            batches.extend(files.get(start..at));
            (start, bytes) = (at, 0);
        }
        bytes = bytes.saturating_add(size);
    }
    batches.extend(files.get(start..).filter(|rest| !rest.is_empty()));
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_commit_is_too_much() {
        let file = |size| LocalFile {
            path: "a".into(),
            place: "a".into(),
            size,
        };
        let small = file(10);
        let many: Vec<_> = (0..6000).map(|_| (&small, Mode::Inline)).collect();
        let sizes: Vec<usize> = batches(&many).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [2500, 2500, 1000]);
        let heavy = file(30 << 20);
        let three: Vec<_> = (0..3).map(|_| (&heavy, Mode::Inline)).collect();
        assert_eq!(batches(&three).len(), 2);
        let stored: Vec<_> = (0..3).map(|_| (&heavy, Mode::Large)).collect();
        assert_eq!(batches(&stored).len(), 1);
        assert!(batches(&[]).is_empty());
    }
}
