//! Repositories of a hub: make, find, list, delete.

use super::error::{ClientError, ClientResult};
use super::http::{Ask, Fault, Http};
use super::hub::{HubClient, next_page, parse};
use super::names::{Kind, RepoId, RepoName, segment};
use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::http::{StatusCode, header};

/// Most bytes of one page of a list.
const PAGE_LIMIT_BYTES: u64 = 64 << 20;
/// Most pages of a list: a hub that never ends is broken.
const PAGES_LIMIT: usize = 100_000;

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoHead {
    /// Which.
    pub repo: RepoId,
    /// The commit, 40 hex digits.
    pub commit: String,
}

/// A repository in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct RepoLine {
    /// `namespace/name`.
    pub id: String,
    /// Whether only some may see it.
    #[serde(default)]
    pub private: bool,
    /// When it was last written to, as the hub writes dates.
    #[serde(default)]
    pub last_modified: Option<String>,
    /// What it is about.
    #[serde(default)]
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    sha: Option<String>,
}

impl HubClient {
    /// Makes a repository; whether it is new.
    ///
    /// # Errors
    /// If the hub refuses, other than because it exists.
    pub fn create_repo(&self, repo: &RepoId, is_private: bool) -> ClientResult<bool> {
        let place = format!("making {repo} on {}", self.endpoint());
        let (namespace, name) = repo.name.split_once('/').unwrap_or_default();
        let visibility = if is_private { "private" } else { "public" };
        let body = json!({
            "name": name, "organization": namespace, "type": repo.kind.singular(),
            "visibility": visibility, "private": is_private,
        });
        let body = body.to_string();
        let url = self.address("/api/repos/create");
        self.http.persist(|| {
            let response = self.send(&place, &url, &json_ask(&body))?;
            match response.status() {
                status if status.is_success() => Ok(true),
                StatusCode::CONFLICT => Ok(false),
                _ => Err(Http::refusal(&place, response)),
            }
        })
    }

    /// Deletes a repository with everything in it.
    ///
    /// # Errors
    /// If the hub refuses or has none.
    pub fn delete_repo(&self, repo: &RepoId) -> ClientResult<()> {
        let place = format!("deleting {repo} on {}", self.endpoint());
        let (namespace, name) = repo.name.split_once('/').unwrap_or_default();
        let body = json!({"name": name, "organization": namespace, "type": repo.kind.singular()});
        let body = body.to_string();
        let ask = Ask {
            method: Some("DELETE"),
            ..json_ask(&body)
        };
        self.call(&place, "/api/repos/delete", ask, |_| Ok(()))
    }

    /// The commit that a revision of a repository means.
    ///
    /// # Errors
    /// If there is no such repository or revision, or the token may not see it.
    pub fn head(&self, repo: &RepoId, revision: &str) -> ClientResult<RepoHead> {
        let place = format!("asking for {repo} at {}", self.endpoint());
        // Only the commit: the whole description lists every file.
        let path = format!("{}/revision/{}?expand=sha", repo.api(), segment(revision));
        let info: Info = self.json(&place, &path, Ask::default())?;
        let commit = info.sha.filter(|sha| is_commit(sha));
        let commit = commit.ok_or_else(|| ClientError::protocol(&place, "it names no commit"))?;
        Ok(RepoHead {
            repo: repo.clone(),
            commit,
        })
    }

    /// Finds a repository whose kind may not have been said.
    ///
    /// # Errors
    /// If there is none, or one of each kind, or the hub cannot be asked.
    pub fn find(&self, name: &RepoName, revision: &str) -> ClientResult<RepoHead> {
        let with_kind = |kind: Kind| RepoId {
            kind,
            name: name.full(),
        };
        if let Some(kind) = name.kind {
            return self.head(&with_kind(kind), revision);
        }
        let mut found = Vec::new();
        let mut missing = None;
        for kind in Kind::ALL {
            match self.head(&with_kind(kind), revision) {
                Ok(head) => found.push(head),
                Err(error) if error.is_no_repository() => {
                    missing.get_or_insert(error);
                }
                // A hub need not have every kind.
                Err(ClientError::Refused {
                    status: 404, code, ..
                }) if code.is_empty() && kind == Kind::Space => {}
                Err(error) => return Err(error),
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(head), true) => Ok(head),
            (Some(_), false) => Err(ClientError::Usage(format!(
                "{} has more than one repository {}; say which with --type",
                self.endpoint(),
                name.full()
            ))),
            (None, _) => Err(self.nowhere(name, missing)),
        }
    }

    fn nowhere(&self, name: &RepoName, missing: Option<ClientError>) -> ClientError {
        // An invalid token has its own words, which must not be hidden.
        match missing {
            Some(ClientError::Refused { status, code, .. }) => ClientError::Refused {
                place: format!("looking for {} on {}", name.full(), self.endpoint()),
                status,
                code,
                words: "there is no such repository, or you may not read it".into(),
            },
            Some(error) => error,
            None => ClientError::protocol(&name.full(), "the hub knows no kind of repository"),
        }
    }

    /// All repositories of a kind that belong to somebody, and that the token may see.
    ///
    /// # Errors
    /// If the hub cannot be asked.
    pub fn list_repos(&self, kind: Kind, author: &str) -> ClientResult<Vec<RepoLine>> {
        let place = format!("listing {} on {}", kind.plural(), self.endpoint());
        let path = format!(
            "/api/{}?author={}&limit=1000",
            kind.plural(),
            segment(author)
        );
        self.pages(&place, &path)
    }

    /// All pages of a list.
    pub(crate) fn pages<T: serde::de::DeserializeOwned>(
        &self,
        place: &str,
        path: &str,
    ) -> ClientResult<Vec<T>> {
        let mut all = Vec::new();
        let mut next = Some(path.to_owned());
        for _ in 0..PAGES_LIMIT {
            let Some(path) = next else { return Ok(all) };
            let (page, following) = self.call(place, &path, Ask::default(), |response| {
                let links = response.headers().get_all(header::LINK).iter();
                let following = links
                    .filter_map(|link| next_page(link.to_str().ok()?))
                    .next();
                let mut body = Vec::new();
                Http::read(place, response, PAGE_LIMIT_BYTES, &mut body)?;
                let page: Vec<T> = parse(place, &body)?;
                Ok::<_, Fault>((page, following))
            })?;
            if following.as_ref() == Some(&path) {
                break;
            }
            all.extend(page);
            next = following;
        }
        Err(ClientError::protocol(place, "the list does not end"))
    }
}

/// A request with a JSON body.
pub(crate) fn json_ask(body: &str) -> Ask<'_> {
    Ask {
        body: Some(body.as_bytes()),
        content_type: Some("application/json"),
        ..Ask::default()
    }
}

/// Whether text is a commit's id.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
