//! Git-LFS: large files for clients without Xet, and for git. Source: git-lfs's `docs/api/batch.md`.

use super::Hub;
use super::access::{Visit, check};
use super::links::LinkQuery;
use super::reply::{Json, ok, set};
use super::resolve::{large_away, large_bytes, respond};
use crate::accounts::{Right, quota};
use crate::cas::register::link;
use crate::db::now_ms;
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::lfs_key;
use crate::repos::files::{self, Large};
use crate::repos::names::is_sha256;
use crate::repos::{self, Repo};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    #[serde(default)]
    objects: Vec<Object>,
    hash_algo: Option<String>,
}

impl Batch {
    fn is_upload(&self) -> Result<bool> {
        match self.operation.as_str() {
            "upload" => Ok(true),
            "download" => Ok(false),
            other => Err(Error::refused(
                422,
                format!("{other:?} is no operation; use upload or download"),
            )),
        }
    }

    fn check(&self) -> Result<()> {
        if self.hash_algo.as_ref().is_some_and(|algo| algo != "sha256") {
            return Err(Error::refused(409, "objects are named by their SHA-256"));
        }
        if self.objects.len() > limits::LFS_BATCH {
            return Err(Error::refused(
                413,
                format!(
                    "at most {} objects may be asked for at once",
                    limits::LFS_BATCH
                ),
            ));
        }
        Ok(())
    }

    /// Bytes that an upload announces, all its objects together.
    fn bytes<'a>(objects: impl Iterator<Item = &'a Object>) -> u64 {
        objects.fold(0, |sum, object| sum.saturating_add(object.size))
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Object {
    oid: String,
    #[serde(default)]
    size: u64,
}

impl Object {
    /// Why it cannot be uploaded, whoever asks.
    fn problem(&self) -> Option<&'static str> {
        if !is_sha256(&self.oid) {
            return Some("an object is named by 64 lower-case hex digits");
        }
        (self.size > limits::LARGE).then_some("the object is too large for this transfer; use Xet")
    }
}

/// What is done to a batch before the database is asked: how many objects it may bring. For fuzzing.
#[cfg(any(test, fuzzing))]
pub(super) fn rehearse(body: &[u8]) -> Result<usize> {
    let request: Batch =
        serde_json::from_slice(body).map_err(|error| Error::bad(error.to_string()))?;
    request.is_upload()?;
    request.check()?;
    let good = request.objects.iter().filter(|one| one.problem().is_none());
    let _ = Batch::bytes(good.clone());
    Ok(good.count())
}

/// Where each object can be had, or is to be brought.
pub(super) async fn batch(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(request): Json<Batch>,
) -> Result<Response> {
    let repo = visit.repo()?;
    let is_upload = request.is_upload()?;
    if is_upload {
        check(&hub, visit.caller.as_ref(), repo, Right::Write).await?;
    }
    request.check()?;
    let digests: Vec<String> = request
        .objects
        .iter()
        .map(|object| object.oid.clone())
        .collect();
    let known = if is_upload {
        files::large_to_use(&hub.db, repo, &digests).await?
    } else {
        files::large(&hub.db, repo, &digests).await?
    };
    if is_upload {
        let new = request
            .objects
            .iter()
            .filter(|object| !known.contains_key(&object.oid));
        quota::check(&hub.db, &repo.owner, Batch::bytes(new)).await?;
    }
    let uses_xet = is_upload && request.transfers.iter().any(|transfer| transfer == "xet");
    let answer = |object: &Object| {
        let known = known.get(&object.oid);
        if is_upload {
            upload(&hub, &visit, repo, object, known, uses_xet)
        } else {
            download(&hub, &visit, repo, object, known)
        }
    };
    let objects: Vec<Value> = request.objects.iter().map(answer).collect();
    let transfer = if uses_xet { "xet" } else { "basic" };
    let mut response = ok(json!({"transfer": transfer, "objects": objects, "hash_algo": "sha256"}));
    set(
        response.headers_mut(),
        "content-type",
        "application/vnd.git-lfs+json",
    );
    Ok(response)
}

fn refused(object: &Object, code: u16, message: &str) -> Value {
    json!({"oid": object.oid, "size": object.size, "error": {"code": code, "message": message}})
}

fn address(hub: &Hub, visit: &Visit, repo: &Repo, object: &Object, purpose: &str) -> String {
    let thing = format!("{}/{}/{}", repo.id, object.oid, object.size);
    let query = hub.keys.link(purpose, &thing);
    format!("{}/lfs/objects/{thing}{query}", visit.base)
}

fn download(
    hub: &Hub,
    visit: &Visit,
    repo: &Repo,
    object: &Object,
    known: Option<&Large>,
) -> Value {
    let Some(large) = known else {
        return refused(object, 404, "this repository has no such object");
    };
    let object = Object {
        oid: object.oid.clone(),
        size: large.size,
    };
    let href = address(hub, visit, repo, &object, "lfs-get");
    json!({
        "oid": object.oid, "size": object.size, "authenticated": true,
        "actions": {"download": {"href": href, "header": {}}},
    })
}

fn upload(
    hub: &Hub,
    visit: &Visit,
    repo: &Repo,
    object: &Object,
    known: Option<&Large>,
    uses_xet: bool,
) -> Value {
    if let Some(problem) = object.problem() {
        return refused(object, 422, problem);
    }
    // Only what this repository was shown counts: others' objects are not to be had by naming them.
    if known.is_some_and(|large| large.size == object.size) {
        return json!({"oid": object.oid, "size": object.size, "authenticated": true});
    }
    let actions = if uses_xet {
        let token_id = visit.caller.as_ref().map_or("", |caller| &caller.token_id);
        let (token, expires_s) = hub.keys.xet_token(token_id, &repo.id, true);
        let route = format!(
            "{}/api/{}/{}/xet-write-token/main",
            visit.base,
            repo.kind.plural(),
            repo.full_name()
        );
        json!({"upload": {"href": route, "header": {
            "X-Xet-Cas-Url": visit.base,
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": expires_s.to_string(),
        }}})
    } else {
        // git-lfs takes "authenticated" at its word and verifies without a token, so the address is signed too.
        let href = address(hub, visit, repo, object, "lfs-put");
        json!({"upload": {"href": href, "header": {}}, "verify": {"href": href, "header": {}}})
    };
    json!({"oid": object.oid, "size": object.size, "authenticated": true, "actions": actions})
}

/// Whether an upload has arrived.
pub(super) async fn verify(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Json(object): Json<Object>,
) -> Result<Response> {
    is_here(&hub, visit.repo()?, &object).await
}

/// The same, for whoever was told to bring it.
pub(super) async fn verify_signed(
    State(hub): State<Arc<Hub>>,
    Path(path): ObjectPath,
    Query(query): Query<LinkQuery>,
) -> Result<Response> {
    let repo = signed(&hub, "lfs-put", &path, &query).await?;
    let (_, oid, size) = path;
    is_here(&hub, &repo, &Object { oid, size }).await
}

async fn is_here(hub: &Hub, repo: &Repo, object: &Object) -> Result<Response> {
    let known: HashMap<String, Large> =
        files::large(&hub.db, repo, std::slice::from_ref(&object.oid)).await?;
    match known.get(&object.oid) {
        Some(large) if large.size == object.size => Ok(ok(json!({}))),
        Some(_) => Err(Error::refused(422, "the object has another size")),
        None => Err(Error::refused(404, "the object has not been uploaded")),
    }
}

type ObjectPath = Path<(String, String, u64)>;

async fn signed(
    hub: &Hub,
    purpose: &str,
    (repo, sha256, size): &(String, String, u64),
    query: &LinkQuery,
) -> Result<Repo> {
    hub.keys
        .check_link(purpose, &format!("{repo}/{sha256}/{size}"), query)?;
    let repo = repos::by_id(&hub.db, repo).await?;
    repo.ok_or_else(|| Error::refused(404, "the repository of this address is gone"))
}

/// Takes an object. Its digest is computed while it arrives; a wrong one leaves nothing behind.
pub(super) async fn put(
    State(hub): State<Arc<Hub>>,
    Path(path): ObjectPath,
    Query(query): Query<LinkQuery>,
    body: Body,
) -> Result<Response> {
    let repo = signed(&hub, "lfs-put", &path, &query).await?;
    let (_, sha256, size) = path;
    quota::check(&hub.db, &repo.owner, size).await?;
    let mut spool = hub.objects.spool().await?;
    let mut hasher = Sha256::new();
    spool
        .fill(body.into_data_stream(), size, |piece| hasher.update(piece))
        .await?;
    let found = hex::encode(hasher.finalize());
    if spool.size() != size || found != sha256 {
        return Err(Error::bad(format!(
            "the object was announced as {sha256} of {size} bytes and is {found} of {}",
            spool.size()
        )));
    }
    let key = lfs_key(&sha256);
    hub.objects.put_spool(&key, spool).await?;
    let mut transaction = hub.db.write().await?;
    // Nothing is removed from here on.
    if hub.objects.size(&key).await? != Some(size) {
        return Err(Error::refused(
            503,
            "the object was removed just now; send it again",
        ));
    }
    sqlx::query(
        "INSERT INTO lfs_objects (sha256, size, xet, is_stored, created_ms) VALUES ($1, $2, NULL, 1, $3) \
         ON CONFLICT (sha256) DO UPDATE SET is_stored = 1",
    )
    .bind(sha256.clone())
    .bind(i64::try_from(size).unwrap_or(i64::MAX))
    .bind(now_ms())
    .execute(&mut *transaction)
    .await?;
    link(&mut transaction, &repo, &sha256).await?;
    transaction.commit().await?;
    let mut response = ok(json!({}));
    set(response.headers_mut(), "etag", &format!("\"{sha256}\""));
    Ok(response)
}

/// Hands an object out.
pub(super) async fn get(
    State(hub): State<Arc<Hub>>,
    Path(path): ObjectPath,
    Query(query): Query<LinkQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let repo = signed(&hub, "lfs-get", &path, &query).await?;
    let sha256 = path.1;
    let known = files::large(&hub.db, &repo, std::slice::from_ref(&sha256)).await?;
    let large = known.get(&sha256);
    let large = large.ok_or_else(|| Error::refused(404, "the object is gone"))?;
    if let Some(away) = large_away(&hub, &method, large).await? {
        return Ok(away);
    }
    respond(&method, &headers, large.size, &sha256, async |range| {
        large_bytes(&hub, large, range).await
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_clients_batches_parse() {
        let oid = "a".repeat(64);
        let body = json!({
            "operation": "upload", "transfers": ["basic", "multipart", "xet"], "hash_algo": "sha256",
            "objects": [{"oid": oid, "size": 3}, {"oid": "../x", "size": 3}, {"oid": oid, "size": u64::MAX}],
            "ref": {"name": "refs/heads/main"},
        });
        assert_eq!(rehearse(body.to_string().as_bytes()).unwrap(), 1);
        for wrong in [
            r#"{"operation":"move"}"#,
            r#"{"operation":"upload","hash_algo":"md5"}"#,
            r#"{"operation":"upload","objects":[{"size":-1}]}"#,
        ] {
            assert!(rehearse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_batch_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            oid in ".{0,70}", size: u64, operation in "upload|download|.{0,5}",
        ) {
            let _ = rehearse(&bytes);
            let object = json!({"oid": oid, "size": size});
            let body = json!({"operation": operation, "objects": vec![object; 3]});
            let _ = rehearse(body.to_string().as_bytes());
        }
    }
}
