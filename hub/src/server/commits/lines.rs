//! Reading a commit request: NDJSON, one change a line, contents straight into a pack.

use crate::db::new_id;
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::{Spool, pack_key};
use crate::repos::commits::{Pack, PackedBlob, Request};
use crate::repos::edit::Change;
use crate::repos::git::{Facts, lfs_pointer, object_id, parse_pointer};
use crate::repos::names::{check_path, is_sha256};
use crate::repos::{Repo, files};
use crate::server::Hub;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// One line, as clients send it.
#[derive(Debug, Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
pub(crate) enum Line {
    /// First of all: what the commit is called.
    Header(Header),
    /// A file with its contents.
    File(File),
    /// A large file that was uploaded before.
    LfsFile(LfsFile),
    /// A file to be removed.
    DeletedFile(Deleted),
    /// A folder to be removed.
    DeletedFolder(Deleted),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    #[serde(default)]
    summary: String,
    description: Option<String>,
    parent_commit: Option<String>,
}

impl Header {
    fn check(&self) -> Result<()> {
        check_message(&self.summary)?;
        check_message(self.description.as_deref().unwrap_or_default())
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct File {
    path: String,
    content: String,
    encoding: Option<String>,
}

impl File {
    /// Its bytes, once its path and size are as they may be.
    fn content(&self) -> Result<Vec<u8>> {
        check_path(&self.path)?;
        let content = decode(self)?;
        if content.len() > limits::REGULAR {
            return Err(Error::bad(format!(
                "{:?} has {} bytes; files of more than {} go through Xet or LFS",
                self.path,
                content.len(),
                limits::REGULAR
            )));
        }
        Ok(content)
    }

    /// The change that it is.
    fn put(&self, content: &[u8]) -> Change {
        let size = content.len() as u64;
        let facts = match parse_pointer(content) {
            Some((sha256, content_size)) => Facts::Pointer {
                size,
                sha256,
                content_size,
            },
            None => Facts::Blob { size },
        };
        Change::Put {
            path: self.path.clone(),
            oid: object_id("blob", content),
            facts,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct LfsFile {
    path: String,
    oid: String,
    algo: Option<String>,
    size: Option<u64>,
}

impl LfsFile {
    fn check(&self) -> Result<()> {
        check_path(&self.path)?;
        let is_sha = self.algo.as_deref().is_none_or(|algo| algo == "sha256");
        if is_sha && is_sha256(&self.oid) {
            return Ok(());
        }
        Err(Error::bad(format!(
            "{:?}: large files are named by their SHA-256, 64 lower-case hex digits",
            self.path
        )))
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Deleted {
    path: String,
}

/// Reads one line.
pub(crate) fn parse(line: &[u8]) -> Result<Line> {
    serde_json::from_slice(line)
        .map_err(|error| Error::bad(format!("a line of the commit is not as expected: {error}")))
}

/// Reads a whole request. Its contents are in the object store when this returns.
pub(super) async fn receive(hub: &Hub, repo: &Repo, body: Body) -> Result<Request> {
    let mut lines = Lines::new(body.into_data_stream());
    let mut collector = Collector::new(hub);
    while let Some(line) = lines.next().await? {
        if !line.iter().all(u8::is_ascii_whitespace) {
            collector.take(parse(&line)?).await?;
        }
    }
    let digest = hex::encode(lines.digest.finalize());
    collector.finish(repo, digest).await
}

/// What is done to a request before the database is asked, with a body that comes in pieces of `piece` bytes:
/// how many changes it has. For fuzzing.
#[cfg(any(test, fuzzing))]
pub(crate) async fn rehearse(body: &[u8], piece: usize) -> Result<usize> {
    let pieces = body.chunks(piece.max(1)).map(Bytes::copy_from_slice);
    let mut lines = Lines::new(futures_util::stream::iter(pieces.map(Ok::<_, Error>)));
    let mut changes = 0;
    while let Some(line) = lines.next().await? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match parse(&line)? {
            Line::Header(header) => header.check()?,
            Line::File(file) => {
                file.put(&file.content()?);
            }
            Line::LfsFile(file) => file.check()?,
            Line::DeletedFile(deleted) | Line::DeletedFolder(deleted) => {
                let _ = check_path(&deleted.path);
            }
        }
        changes += 1;
    }
    Ok(changes)
}

/// Lines of a body, each of limited length.
struct Lines<S> {
    body: S,
    buffer: BytesMut,
    /// Bytes at the front of the buffer that hold no line end.
    searched: usize,
    total: u64,
    digest: Sha256,
    is_over: bool,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    fn new(body: S) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            total: 0,
            digest: Sha256::new(),
            is_over: false,
        }
    }

    async fn next(&mut self) -> Result<Option<BytesMut>> {
        loop {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|&byte| byte == b'\n');
            if let Some(at) = end {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.is_over {
                self.searched = 0;
                let rest = self.buffer.split();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        let Some(piece) = self.body.next().await else {
            self.is_over = true;
            return Ok(());
        };
        let piece = piece.map_err(|error| Error::bad(format!("the commit broke off: {error}")))?;
        self.total += piece.len() as u64;
        if self.total > limits::COMMIT || self.buffer.len() + piece.len() > limits::COMMIT_LINE {
            return Err(Error::refused(
                413,
                format!(
                    "a commit may have {} bytes, a line of it {}; send large files through Xet or LFS",
                    limits::COMMIT,
                    limits::COMMIT_LINE
                ),
            ));
        }
        self.digest.update(&piece);
        self.buffer.extend_from_slice(&piece);
        Ok(())
    }
}

/// What the lines so far amount to.
struct Collector<'a> {
    hub: &'a Hub,
    header: Option<Header>,
    changes: Vec<Change>,
    /// Large files with the sizes that the client claims.
    large: Vec<(String, LfsFile)>,
    blobs: Vec<PackedBlob>,
    pack: Option<Spool>,
}

impl<'a> Collector<'a> {
    fn new(hub: &'a Hub) -> Self {
        Self {
            hub,
            header: None,
            changes: Vec::new(),
            large: Vec::new(),
            blobs: Vec::new(),
            pack: None,
        }
    }

    async fn take(&mut self, line: Line) -> Result<()> {
        if self.changes.len() >= limits::COMMIT_CHANGES {
            return Err(Error::bad(format!(
                "a commit may have {} changes; split it",
                limits::COMMIT_CHANGES
            )));
        }
        match line {
            Line::Header(header) => {
                header.check()?;
                self.header = Some(header);
            }
            Line::File(file) => self.file(file).await?,
            Line::LfsFile(file) => self.large_file(file)?,
            Line::DeletedFile(deleted) => self.changes.push(Change::DeleteFile(deleted.path)),
            Line::DeletedFolder(deleted) => self.changes.push(Change::DeleteFolder(deleted.path)),
        }
        Ok(())
    }

    async fn file(&mut self, mut file: File) -> Result<()> {
        let content = file.content()?;
        // The text of the line is not needed beside its bytes.
        file.content = String::new();
        self.store(&content).await?;
        self.changes.push(file.put(&content));
        Ok(())
    }

    fn large_file(&mut self, file: LfsFile) -> Result<()> {
        file.check()?;
        self.large.push((file.oid.clone(), file));
        Ok(())
    }

    /// Appends a blob to the pack and returns its id.
    async fn store(&mut self, content: &[u8]) -> Result<String> {
        let oid = object_id("blob", content);
        if self.pack.is_none() {
            self.pack = Some(self.hub.objects.spool().await?);
        }
        if let Some(pack) = &mut self.pack {
            self.blobs.push(PackedBlob {
                oid: oid.clone(),
                size: content.len() as u64,
                start: pack.size(),
            });
            pack.write(content).await?;
        }
        Ok(oid)
    }

    async fn finish(mut self, repo: &Repo, digest: String) -> Result<Request> {
        self.resolve_large(repo).await?;
        let header = self.header.take();
        let header = header.ok_or_else(|| Error::bad("the commit has no line \"header\""))?;
        let mut pack = Pack::default();
        if let Some(spool) = self.pack {
            pack.id = new_id()?;
            pack.blobs = self.blobs;
            self.hub
                .objects
                .put_spool(&pack_key(&pack.id), spool)
                .await?;
        }
        let title = header.summary.lines().next().unwrap_or_default().trim();
        let rest = header.summary.get(title.len()..).unwrap_or_default().trim();
        let description = header.description.unwrap_or_default();
        Ok(Request {
            title: if title.is_empty() { "Upload" } else { title }.to_owned(),
            description: format!("{rest}\n\n{description}").trim().to_owned(),
            parent: header.parent_commit.filter(|parent| !parent.is_empty()),
            changes: self.changes,
            pack,
            digest,
        })
    }

    /// Large files count only when this repository was shown their contents.
    async fn resolve_large(&mut self, repo: &Repo) -> Result<()> {
        let digests: Vec<String> = self.large.iter().map(|large| large.0.clone()).collect();
        let known = files::large_to_use(&self.hub.db, repo, &digests).await?;
        for (sha256, file) in std::mem::take(&mut self.large) {
            let large = known.get(&sha256).ok_or_else(|| {
                Error::bad(format!(
                    "{:?}: the large file {sha256} was not uploaded to this repository; upload it before the commit",
                    file.path
                ))
            })?;
            if file.size.is_some_and(|size| size != large.size) {
                return Err(Error::bad(format!(
                    "{:?}: the large file has {} bytes, not {}",
                    file.path,
                    large.size,
                    file.size.unwrap_or_default()
                )));
            }
            let pointer = lfs_pointer(&sha256, large.size);
            let oid = self.store(pointer.as_bytes()).await?;
            self.changes.push(Change::Put {
                path: file.path,
                oid,
                facts: Facts::Pointer {
                    size: pointer.len() as u64,
                    sha256,
                    content_size: large.size,
                },
            });
        }
        Ok(())
    }
}

fn decode(file: &File) -> Result<Vec<u8>> {
    match file.encoding.as_deref() {
        None | Some("base64") => STANDARD.decode(&file.content).map_err(|error| {
            Error::bad(format!(
                "{:?}: the content is no base64: {error}",
                file.path
            ))
        }),
        Some("utf-8") => Ok(file.content.as_bytes().to_vec()),
        Some(other) => Err(Error::bad(format!(
            "{:?}: the encoding {other:?} is unknown; use base64",
            file.path
        ))),
    }
}

/// Titles and descriptions end up in git commits.
pub(in crate::server) fn check_message(text: &str) -> Result<()> {
    if text.len() > limits::MESSAGE || text.contains('\0') {
        return Err(Error::bad(format!(
            "a commit's message may have {} bytes and no NUL",
            limits::MESSAGE
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_clients_lines_parse() {
        for line in [
            r#"{"key":"header","value":{"summary":"s","description":"d"}}"#,
            r#"{"key":"file","value":{"content":"YQ==","path":"a","encoding":"base64"}}"#,
            r#"{"key":"lfsFile","value":{"path":"a","algo":"sha256","oid":"00","size":1}}"#,
            r#"{"key":"deletedFile","value":{"path":"a"}}"#,
            r#"{"key":"deletedFolder","value":{"path":"a"}}"#,
        ] {
            parse(line.as_bytes()).unwrap();
        }
        assert!(parse(b"{}").is_err());
        assert!(parse(br#"{"key":"other","value":{}}"#).is_err());
    }

    fn read(pieces: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let body = pieces
            .into_iter()
            .map(|piece| Ok::<_, String>(Bytes::from(piece)));
        let mut lines = Lines::new(futures_util::stream::iter(body));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut all = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                all.push(line.to_vec());
            }
            all
        })
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_pieces(text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), size in 1_usize..20) {
            let pieces = text.chunks(size).map(<[u8]>::to_vec).collect();
            let expected: Vec<Vec<u8>> = text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read(pieces), expected);
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&line);
        }
    }
}
