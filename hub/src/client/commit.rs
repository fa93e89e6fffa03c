//! Changes of a repository: how each file is to be brought, and the commit.

use super::error::{ClientError, ClientResult};
use super::http::Ask;
use super::hub::HubClient;
use super::names::{RepoId, segment};
use super::repos::{is_commit, json_ask};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

/// Files of one preupload question; hubs take 256.
pub(crate) const PREUPLOAD_FILES: usize = 256;
/// Bytes of a file's beginning from which a hub judges whether it is text.
pub const SAMPLE_BYTES: usize = 512;

/// A file that may be uploaded.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it is to be in the repository.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Its beginning, up to [`SAMPLE_BYTES`].
    pub sample: Vec<u8>,
}

/// How a file is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With the commit.
    Inline,
    /// Before it, through the chunk store or LFS.
    Large,
    /// Not at all: the `.gitignore` leaves it out.
    Ignored,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A small file with its content.
    File {
        /// Where.
        path: String,
        /// What.
        content: Vec<u8>,
    },
    /// A large file whose content is with the hub already.
    Large {
        /// Where.
        path: String,
        /// SHA-256, hex.
        sha256: String,
        /// Bytes.
        size: u64,
    },
    /// A file that is removed.
    Delete(String),
    /// A folder that is removed with everything in it.
    DeleteFolder(String),
}

/// What a commit is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// More.
    pub description: String,
    /// Only if the branch is still at this commit.
    pub parent: Option<String>,
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// 40 hex digits.
    pub commit: String,
    /// Where it can be seen.
    pub url: String,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Wish>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitAnswer {
    commit_oid: String,
    #[serde(default)]
    commit_url: String,
}

impl Change {
    /// As a line of a commit, without the line's end.
    fn line(&self) -> String {
        let value = match self {
            Self::File { path, content } => json!({
                "key": "file",
                "value": {"path": path, "content": STANDARD.encode(content), "encoding": "base64"},
            }),
            Self::Large { path, sha256, size } => json!({
                "key": "lfsFile",
                "value": {"path": path, "algo": "sha256", "oid": sha256, "size": size},
            }),
            Self::Delete(path) => json!({"key": "deletedFile", "value": {"path": path}}),
            Self::DeleteFolder(path) => json!({"key": "deletedFolder", "value": {"path": path}}),
        };
        value.to_string()
    }
}

impl HubClient {
    /// Asks how files are to be brought, in their order. `ignore` is the folder's `.gitignore`.
    ///
    /// # Errors
    /// If the hub refuses, or forgets one.
    pub fn preupload(
        &self,
        repo: &RepoId,
        revision: &str,
        files: &[Candidate],
        ignore: Option<&str>,
    ) -> ClientResult<Vec<Mode>> {
        let place = format!("preparing the upload to {repo} on {}", self.endpoint());
        let at = format!("{}/preupload/{}", repo.api(), segment(revision));
        let mut modes = Vec::with_capacity(files.len());
        for some in files.chunks(PREUPLOAD_FILES) {
            let list: Vec<_> = some
                .iter()
                .map(|file| json!({"path": file.path, "size": file.size, "sample": STANDARD.encode(&file.sample)}))
                .collect();
            let mut body = json!({"files": list});
            if let Some(ignore) = ignore {
                body["gitIgnore"] = json!(ignore);
            }
            let body = body.to_string();
            let answer: Preupload = self.json(&place, &at, json_ask(&body))?;
            modes.extend(in_order(&place, some, &answer.files)?);
        }
        Ok(modes)
    }

    /// Commits to a branch.
    ///
    /// # Errors
    /// If the hub refuses: a path is not allowed, a large file is not there, somebody else wrote meanwhile.
    pub fn commit(
        &self,
        repo: &RepoId,
        branch: &str,
        message: &Message,
        changes: &[Change],
    ) -> ClientResult<Committed> {
        let place = format!("committing to {repo} on {}", self.endpoint());
        let mut header = json!({"summary": message.title, "description": message.description});
        if let Some(parent) = &message.parent {
            header["parentCommit"] = json!(parent);
        }
        let mut body = json!({"key": "header", "value": header}).to_string();
        for change in changes {
            body.push('\n');
            body.push_str(&change.line());
        }
        body.push('\n');
        let ask = Ask {
            body: Some(body.as_bytes()),
            content_type: Some("application/x-ndjson"),
            is_slow: true,
            ..Ask::default()
        };
        let at = format!("{}/commit/{}", repo.api(), segment(branch));
        let answer: CommitAnswer = self.json(&place, &at, ask)?;
        match is_commit(&answer.commit_oid) {
            true => Ok(Committed {
                commit: answer.commit_oid,
                url: answer.commit_url,
            }),
            false => Err(ClientError::protocol(&place, "it names no commit")),
        }
    }
}

/// A hub may answer in another order than it was asked.
fn in_order(place: &str, files: &[Candidate], wishes: &[Wish]) -> ClientResult<Vec<Mode>> {
    let by_path: std::collections::HashMap<&str, &Wish> = wishes
        .iter()
        .map(|wish| (wish.path.as_str(), wish))
        .collect();
    let mode = |file: &Candidate| match by_path.get(file.path.as_str()) {
        Some(Wish {
            should_ignore: true,
            ..
        }) => Ok(Mode::Ignored),
        // What is empty has no place in a chunk store.
        Some(wish) if wish.upload_mode == "lfs" && file.size > 0 => Ok(Mode::Large),
        Some(_) => Ok(Mode::Inline),
        None => Err(ClientError::protocol(
            place,
            format!("it says nothing of {:?}", file.path),
        )),
    };
    files.iter().map(mode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_commit_are_json_whatever_the_path() {
        let change = Change::File {
            path: "a\"b\n".into(),
            content: b"\xff\0".to_vec(),
        };
        let line = change.line();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["value"]["path"], "a\"b\n");
        assert_eq!(value["value"]["content"], "/wA=");
    }

    #[test]
    fn answers_are_put_in_order_and_empty_files_stay_small() {
        let file = |path: &str, size| Candidate {
            path: path.into(),
            size,
            sample: Vec::new(),
        };
        let wish = |path: &str, ignore| Wish {
            path: path.into(),
            upload_mode: "lfs".into(),
            should_ignore: ignore,
        };
        let wishes = [wish("c", true), wish("b", false), wish("a", false)];
        let files = [file("a", 1), file("b", 0), file("c", 1)];
        assert_eq!(
            in_order("x", &files, &wishes).unwrap(),
            [Mode::Large, Mode::Inline, Mode::Ignored]
        );
        assert!(in_order("x", &[file("d", 1)], &wishes).is_err());
    }
}
