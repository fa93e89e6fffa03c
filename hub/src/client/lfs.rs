//! Large files of a hub without a chunk store: git-lfs's `basic` transfer. Source: git-lfs's `docs/api`.

use super::error::{ClientError, ClientResult};
use super::http::{Ask, Fault, Http};
use super::hub::HubClient;
use super::names::RepoId;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;

/// A file to be stored.
#[derive(Debug)]
pub(crate) struct LfsFile<'a> {
    pub(crate) path: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) size: u64,
}

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Problem>,
}

#[derive(Deserialize, Default)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Problem {
    code: u16,
    #[serde(default)]
    message: String,
}

impl HubClient {
    /// Stores a file; whether it had to be sent.
    ///
    /// # Errors
    /// If the hub refuses it, or it is not what its digest says.
    pub(crate) fn put_lfs(
        &self,
        repo: &RepoId,
        file: &LfsFile<'_>,
        content: &File,
    ) -> ClientResult<bool> {
        let place = format!("uploading {} to {repo} on {}", file.path, self.endpoint());
        let body = json!({
            "operation": "upload", "transfers": ["basic"], "hash_algo": "sha256",
            "objects": [{"oid": file.sha256, "size": file.size}],
        });
        let body = body.to_string();
        let accept = [(
            "accept".to_owned(),
            "application/vnd.git-lfs+json".to_owned(),
        )];
        let ask = Ask {
            body: Some(body.as_bytes()),
            content_type: Some("application/vnd.git-lfs+json"),
            headers: &accept,
            ..Ask::default()
        };
        let batch = format!("{}.git/info/lfs/objects/batch", repo.web());
        let answer: Batch = self.json(&place, &batch, ask)?;
        let object = answer
            .objects
            .into_iter()
            .find(|object| object.oid == file.sha256);
        let object =
            object.ok_or_else(|| ClientError::protocol(&place, "it says nothing of the file"))?;
        if let Some(Problem { code, message }) = object.error {
            return Err(ClientError::Refused {
                place,
                status: code,
                code: String::new(),
                words: message,
            });
        }
        let actions = object.actions.unwrap_or_default();
        let Some(upload) = actions.upload else {
            return Ok(false);
        };
        self.send_lfs(&place, &upload, file, content)?;
        if let Some(verify) = &actions.verify {
            self.verify_lfs(&place, verify, file)?;
        }
        Ok(true)
    }

    /// The address carries what opens it; the hub's token is not sent along.
    fn send_lfs(
        &self,
        place: &str,
        upload: &Action,
        file: &LfsFile<'_>,
        content: &File,
    ) -> ClientResult<()> {
        let headers: Vec<(String, String)> = upload.header.clone().into_iter().collect();
        let ask = Ask {
            url: &upload.href,
            method: Some("PUT"),
            file: Some((content, file.size)),
            headers: &headers,
            is_slow: true,
            ..Ask::default()
        };
        self.http.persist(|| {
            let response = self.http.ask(place, &ask)?;
            match response.status().is_success() {
                true => Ok::<_, Fault>(()),
                false => Err(Http::refusal(place, response)),
            }
        })
    }

    fn verify_lfs(&self, place: &str, verify: &Action, file: &LfsFile<'_>) -> ClientResult<()> {
        let body = json!({"oid": file.sha256, "size": file.size}).to_string();
        let headers: Vec<(String, String)> = verify.header.clone().into_iter().collect();
        let ask = Ask {
            body: Some(body.as_bytes()),
            content_type: Some("application/vnd.git-lfs+json"),
            headers: &headers,
            ..Ask::default()
        };
        self.call(place, &verify.href, ask, |_| Ok(()))
    }
}
