//! What files a repository has.

use super::error::{ClientError, ClientResult};
use super::http::Ask;
use super::hub::HubClient;
use super::names::{RepoId, path, segment};
use crate::xet::Hash;
use serde::Deserialize;
use std::fmt::Write;

/// Most paths of one question.
const PATHS_AT_ONCE: usize = 500;

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the top of the repository, without a slash at either end. As the hub sent it: see
    /// [`Entry::check`] before writing anything under this name.
    pub path: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Size in bytes; of a folder 0.
    pub size: u64,
    /// What names its content.
    pub content: Content,
    /// Its name in the chunk store, if it is there.
    pub xet: Option<Hash>,
}

/// What names a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Content {
    /// A small file: git's id of it, SHA-1, 40 hex digits.
    Git(String),
    /// A large file: SHA-256, 64 hex digits.
    Sha256(String),
}

impl Content {
    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Git(digits) | Self::Sha256(digits) => digits,
        }
    }
}

/// As the hub sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: String,
    #[serde(default)]
    lfs: Option<Lfs>,
    #[serde(default)]
    xet_hash: Option<String>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Entry {
    fn of(line: Line) -> ClientResult<Self> {
        let wrong = |what: &str| ClientError::protocol(&format!("listing {:?}", line.path), what);
        let is_digits = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let content = match &line.lfs {
            // Some hubs write the algorithm before it.
            Some(lfs) => Content::Sha256(lfs.oid.trim_start_matches("sha256:").to_lowercase()),
            None => Content::Git(line.oid.to_lowercase()),
        };
        let is_named = match &content {
            Content::Sha256(oid) => is_digits(oid, 64),
            Content::Git(oid) => is_digits(oid, 40),
        };
        if !is_named {
            return Err(wrong("its content has no name that is understood"));
        }
        let xet = line.xet_hash.as_deref().map(str::parse::<Hash>);
        let xet = xet
            .transpose()
            .map_err(|_| wrong("its name in the chunk store is none"))?;
        Ok(Self {
            is_folder: line.kind == "directory",
            size: line.lfs.map_or(line.size, |lfs| lfs.size),
            path: line.path,
            content,
            xet,
        })
    }

    /// Whether its path may be written to a disk.
    ///
    /// # Errors
    /// If not: it leads out of the folder, or to where no file should be.
    pub fn check(&self) -> ClientResult<()> {
        match crate::paths::problem(&self.path) {
            None => Ok(()),
            Some(problem) => {
                let shown: String = self.path.chars().take(200).collect();
                let problem = format!("the path {shown:?} {problem}, and is not written");
                Err(ClientError::protocol("what the repository holds", problem))
            }
        }
    }
}

/// The entries of a JSON answer.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse_entries(body: &[u8]) -> ClientResult<Vec<Entry>> {
    let lines: Vec<Line> =
        serde_json::from_slice(body).map_err(|e| ClientError::protocol("a tree", e.to_string()))?;
    lines.into_iter().map(Entry::of).collect()
}

impl HubClient {
    /// What is in a folder of a repository (`""` for its top), or everything below it.
    ///
    /// # Errors
    /// If there is no such repository, revision or folder, or the hub cannot be asked.
    pub fn tree(
        &self,
        repo: &RepoId,
        revision: &str,
        folder: &str,
        is_recursive: bool,
    ) -> ClientResult<Vec<Entry>> {
        let place = format!("listing {repo} on {}", self.endpoint());
        let mut at = format!("{}/tree/{}", repo.api(), segment(revision));
        if !folder.is_empty() {
            let _ = write!(at, "/{}", path(folder));
        }
        let _ = write!(at, "?recursive={is_recursive}&expand=false");
        let lines: Vec<Line> = self.pages(&place, &at)?;
        lines.into_iter().map(Entry::of).collect()
    }

    /// Files and folders by their paths; those that are not there are left out.
    ///
    /// # Errors
    /// As [`HubClient::tree`].
    pub fn paths_info(
        &self,
        repo: &RepoId,
        revision: &str,
        paths: &[String],
    ) -> ClientResult<Vec<Entry>> {
        let place = format!("asking for files of {repo} on {}", self.endpoint());
        let at = format!("{}/paths-info/{}", repo.api(), segment(revision));
        let mut found = Vec::new();
        for some in paths.chunks(PATHS_AT_ONCE) {
            let pairs: Vec<String> = some
                .iter()
                .map(|path| format!("paths={}", segment(path)))
                .collect();
            let body = format!("{}&expand=false", pairs.join("&"));
            let ask = Ask {
                body: Some(body.as_bytes()),
                content_type: Some("application/x-www-form-urlencoded"),
                ..Ask::default()
            };
            let lines: Vec<Line> = self.json(&place, &at, ask)?;
            for line in lines {
                found.push(Entry::of(line)?);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_read_as_hubs_send_them() {
        let git = "0123456789012345678901234567890123456789";
        let sha = "a".repeat(64);
        let body = format!(
            r#"[{{"type":"directory","path":"d","oid":"{git}","size":0}},
                {{"type":"file","path":"d/a","oid":"{git}","size":3}},
                {{"type":"file","path":"b","oid":"{git}","size":134,"lfs":{{"oid":"{sha}","size":9,"pointerSize":134}},"xetHash":"{sha}"}}]"#
        );
        let entries = parse_entries(body.as_bytes()).unwrap();
        assert!(entries[0].is_folder);
        assert_eq!(
            (entries[1].size, &entries[1].content),
            (3, &Content::Git(git.into()))
        );
        assert_eq!(
            (entries[2].size, &entries[2].content),
            (9, &Content::Sha256(sha.clone()))
        );
        assert!(entries[2].xet.is_some());
        assert!(parse_entries(body.replace(git, "12").as_bytes()).is_err());
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in [
            "../a",
            "/etc/passwd",
            "a/../../b",
            ".git/hooks/x",
            "a\\b",
            "a\0",
        ] {
            let body = format!(
                r#"[{{"type":"file","path":{},"oid":"{}","size":3}}]"#,
                serde_json::to_string(path).unwrap(),
                "0".repeat(40)
            );
            assert!(
                parse_entries(body.as_bytes()).unwrap()[0].check().is_err(),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            let _ = parse_entries(&bytes);
            let line = format!(r#"[{{"type":"file","path":"a","oid":{},"size":3}}]"#, serde_json::to_string(&text).unwrap());
            let _ = parse_entries(line.as_bytes());
        }
    }
}
