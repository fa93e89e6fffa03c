//! Downloads of files that are in no chunk store: one request each, resumed where an earlier one ended, checked
//! against the name of their content.

use super::digest::Digester;
use super::error::{ClientError, ClientResult};
use super::http::{Ask, Fault, Http, broken};
use super::hub::HubClient;
use super::names::{RepoId, path, segment};
use super::tree::Entry;
use super::xet::Progress;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode, header};

/// Bytes taken at once.
const PIECE_BYTES: usize = 128 << 10;

/// One download.
struct Job<'a> {
    hub: &'a HubClient,
    entry: &'a Entry,
    place: String,
    url: String,
    part: &'a Path,
    progress: &'a Progress,
}

impl HubClient {
    /// Downloads a file of a repository, as it is at `revision`, into `part`; what is there already is its
    /// beginning. The file is on the disk and is what the repository says when this returns.
    ///
    /// # Errors
    /// If it cannot be fetched or written, or is something else.
    pub(crate) fn fetch(
        &self,
        repo: &RepoId,
        revision: &str,
        entry: &Entry,
        part: &Path,
        progress: &Progress,
    ) -> ClientResult<()> {
        let job = Job {
            hub: self,
            entry,
            place: format!("fetching {} of {repo} from {}", entry.path, self.endpoint()),
            url: self.address(&format!(
                "{}/resolve/{}/{}",
                repo.web(),
                segment(revision),
                path(&entry.path)
            )),
            part,
            progress,
        };
        let mut file = job.open()?;
        let began = file.metadata().map_err(|e| job.io(e))?.len();
        if self.http.persist(|| job.attempt(&mut file))? {
            return job.seal(&file);
        }
        // What was left of an earlier try may have been of something else.
        file.set_len(0).map_err(|e| job.io(e))?;
        if began > 0 && self.http.persist(|| job.attempt(&mut file))? {
            return job.seal(&file);
        }
        let _ = std::fs::remove_file(part);
        Err(ClientError::Differs {
            path: entry.path.clone(),
            expected: entry.content.digits().to_owned(),
        })
    }
}

impl Job<'_> {
    fn io(&self, error: std::io::Error) -> ClientError {
        ClientError::io(
            format!("write {} for {}", self.part.display(), self.entry.path),
            error,
        )
    }

    fn open(&self) -> ClientResult<File> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.part).map_err(|e| self.io(e))
    }

    fn seal(&self, file: &File) -> ClientResult<()> {
        file.sync_data().map_err(|e| self.io(e))
    }

    /// Fetches what is missing; whether the whole is what it should be.
    fn attempt(&self, file: &mut File) -> Result<bool, Fault> {
        let size = self.entry.size;
        let mut digester = Digester::like(&self.entry.content, size);
        let mut have = file.metadata().map_err(|e| self.io(e))?.len();
        if have > size {
            file.set_len(0).map_err(|e| self.io(e))?;
            have = 0;
        }
        file.rewind().map_err(|e| self.io(e))?;
        digester.read(self.part, file)?;
        if have < size {
            let response = self.ask(have, size)?;
            if response.status() == StatusCode::OK && have > 0 {
                // The hub does not know ranges and begins at the beginning.
                file.set_len(0).map_err(|e| self.io(e))?;
                digester = Digester::like(&self.entry.content, size);
                have = 0;
            }
            file.seek(SeekFrom::Start(have)).map_err(|e| self.io(e))?;
            self.receive(response, file, &mut digester, size - have)?;
        }
        Ok(digester.finish() == self.entry.content)
    }

    fn ask(&self, have: u64, size: u64) -> Result<Response<Body>, Fault> {
        let ask = Ask {
            range: Some((have, size - 1)),
            ..Ask::default()
        };
        let response = self.hub.send(&self.place, &self.url, &ask)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers()) == Some(have) => {
                Ok(response)
            }
            StatusCode::PARTIAL_CONTENT => {
                Err(ClientError::protocol(&self.place, "not the part that was asked for").into())
            }
            _ => Err(Http::refusal(&self.place, response)),
        }
    }

    fn receive(
        &self,
        response: Response<Body>,
        file: &mut File,
        digester: &mut Digester,
        expected: u64,
    ) -> Result<(), Fault> {
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE_BYTES];
        let mut missing = expected;
        while missing > 0 {
            let room = piece
                .len()
                .min(usize::try_from(missing).unwrap_or(usize::MAX));
            let read = body.read(piece.get_mut(..room).unwrap_or_default());
            let read =
                read.map_err(|e| broken(&self.place, format!("the answer broke off ({e})")))?;
            if read == 0 {
                return Err(broken(&self.place, "the answer ended early".into()));
            }
            let bytes = piece.get(..read).unwrap_or_default();
            digester.update(bytes);
            file.write_all(bytes).map_err(|e| self.io(e))?;
            Progress::add(&self.progress.file_bytes, read);
            Progress::add(&self.progress.wire_bytes, read);
            missing -= read as u64;
        }
        // To the end, so that the connection can be used again.
        let rest = body.read(piece.get_mut(..1).unwrap_or_default());
        match rest {
            Ok(0) => Ok(()),
            _ => Err(
                ClientError::protocol(&self.place, "it is longer than the repository states")
                    .into(),
            ),
        }
    }
}

/// Where a part begins: `bytes 5-9/10`.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = range.trim().strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}
