//! How a hub opens its chunk store for a repository.

use super::cas::{Cas, CasToken};
use crate::client::error::{ClientError, ClientResult};
use crate::client::http::{Ask, Http, HttpOptions};
use serde::Deserialize;

/// Most bytes of an answer with a token.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// A repository on a hub, and who asks for it.
#[derive(Clone)]
pub struct Repository {
    /// Address of the hub.
    pub endpoint: String,
    /// The user's token; without it only what is public can be read.
    pub token: Option<String>,
    /// `models`, `datasets` or `spaces`.
    pub kind: String,
    /// `namespace/name`.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}/{}@{}",
            self.endpoint, self.kind, self.id, self.revision
        )
    }
}

/// What the hub answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    cas_url: String,
    access_token: String,
    exp: u64,
}

impl Cas {
    /// The chunk store of a repository, for reading its files or also for writing.
    pub fn of_repository(repository: Repository, may_write: bool, options: &HttpOptions) -> Self {
        let hub = Http::new(options.clone());
        let access = if may_write { "write" } else { "read" };
        Self::new(Http::new(options.clone()), move || {
            ask_for_token(&hub, &repository, access)
        })
    }
}

fn ask_for_token(hub: &Http, repository: &Repository, access: &str) -> ClientResult<CasToken> {
    let Repository {
        endpoint, kind, id, ..
    } = repository;
    // A revision is one segment of the path.
    let revision = repository.revision.replace('%', "%25").replace('/', "%2F");
    let endpoint = endpoint.trim_end_matches('/');
    let url = format!("{endpoint}/api/{kind}/{id}/xet-{access}-token/{revision}");
    let place = format!("opening {id} on {endpoint}");
    hub.persist(|| {
        let ask = Ask {
            url: &url,
            token: repository.token.as_deref(),
            ..Ask::default()
        };
        let response = hub.ask(&place, &ask)?;
        if !response.status().is_success() {
            return Err(Http::refusal(&place, response));
        }
        let mut body = Vec::new();
        Http::read(&place, response, ANSWER_LIMIT_BYTES, &mut body)?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|e| {
            ClientError::protocol(&place, format!("the token is not understood ({e})"))
        })?;
        Ok(CasToken {
            url: answer.cas_url,
            token: answer.access_token,
            expires: answer.exp,
        })
    })
}
