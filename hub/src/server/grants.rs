//! Grants: clients bring xorbs to the object store by themselves, at an address that the hub signs, and then ask the
//! hub to check them. What a grant is for stands in its id, signed, so that every replica can finish it.

use super::Hub;
use super::access::Visit;
use super::reply::{Json, ok, with_status};
use super::xet::hash;
use crate::accounts::quota;
use crate::cas::dedup;
use crate::cas::grants::{self, Brought};
use crate::db::{from_hex, new_id};
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::grant_key;
use axum::extract::{Path, State};
use axum::http::{HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// What the hub signs ids of grants as.
const PURPOSE: &str = "grant";

/// The header by which an S3 store checks what it is sent: CRC-64/NVME, big-endian, base64.
const CHECKSUM: &str = "x-amz-checksum-crc64nvme";

/// What is to be brought.
#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    length: u64,
    checksum: Checksum,
}

#[derive(Debug, Deserialize)]
struct Checksum {
    algo: String,
    /// Decimal.
    value: String,
}

impl Checksum {
    /// The value of the header; `None` for another algorithm.
    fn header(&self) -> Option<String> {
        let value: u64 = self.value.parse().ok()?;
        (self.algo == "crc64nvme").then(|| STANDARD.encode(value.to_be_bytes()))
    }
}

/// Gives an address to bring a xorb to. 404 makes clients send it to the hub.
pub(super) async fn grant(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, name)): Path<(String, String)>,
    Json(announced): Json<Announced>,
) -> Result<Response> {
    let name = hash(&name)?.to_string();
    let caller = visit.caller()?;
    let len = announced.length;
    let here = || Error::refused(404, "send xorbs to this hub");
    if !hub.objects.is_direct() {
        return Err(here());
    }
    let checksum = announced.checksum.header().ok_or_else(here)?;
    if len == 0 || len > limits::XORB {
        let message = format!("a xorb has 1 to {} bytes", limits::XORB);
        return Err(Error::refused(413, message));
    }
    quota::check(&hub.db, &visit.repo()?.owner, len).await?;
    // Only whoever may refer to it is told that it is there.
    let reached = dedup::reachable(&hub.db, caller, std::slice::from_ref(&name)).await?;
    if !reached.is_empty() {
        return Ok(StatusCode::OK.into_response());
    }
    let id = new_id()?;
    let signed = hub
        .keys
        .signed(PURPOSE, &text(&caller.user.id, &name, &id, len));
    // The address is good for these bytes alone.
    let headers = [(HeaderName::from_static(CHECKSUM), checksum.clone())];
    let url = hub
        .objects
        .signed(Method::PUT, &grant_key(&id), &headers)
        .await?;
    let url = url.ok_or_else(here)?;
    let answer = json!({
        "id": format!("{id}-{len}-{signed}"), "method": "PUT", "url": url,
        "headers": {CHECKSUM: checksum},
    });
    Ok(with_status(201, answer))
}

fn text(account: &str, hash: &str, id: &str, len: u64) -> String {
    format!("{account} {hash} {id} {len}")
}

/// Parts of a grant's id: where the xorb lies, its length, and the signature.
fn parse(grant: &str) -> Option<(&str, u64, &str)> {
    let mut parts = grant.splitn(3, '-');
    let (id, len, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str| from_hex(text).is_some() && !text.is_empty();
    (is_hex(id) && is_hex(signature)).then_some((id, len.parse().ok()?, signature))
}

/// Checks what was brought. 404 makes clients ask for another grant.
pub(super) async fn commit(
    visit: Visit,
    State(hub): State<Arc<Hub>>,
    Path((_, name, grant)): Path<(String, String, String)>,
) -> Result<Response> {
    let hash = hash(&name)?;
    let caller = visit.caller()?;
    let missing = || Error::refused(404, "nothing was uploaded with this grant");
    let (id, len, signature) = parse(&grant).ok_or_else(missing)?;
    let text = text(&caller.user.id, &hash.to_string(), id, len);
    if !hub.keys.is_ours(PURPOSE, &text, signature) {
        return Err(missing());
    }
    quota::check(&hub.db, &visit.repo()?.owner, 0).await?;
    let brought = Brought {
        hash: &hash,
        id,
        len,
    };
    if !grants::commit(&hub.db, &hub.objects, caller, brought).await? {
        return Err(missing());
    }
    Ok(ok(json!({})))
}

#[cfg(test)]
mod tests {
    use super::{Checksum, parse};
    use proptest::prelude::*;

    #[test]
    fn an_id_says_what_it_is_for() {
        assert_eq!(parse("ab-12-cd"), Some(("ab", 12, "cd")));
        for bad in [
            "",
            "ab",
            "ab-12",
            "ab-x-cd",
            "../ab-12-cd",
            "ab-12-",
            "-12-ab",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn checksums_are_those_of_s3() {
        let header = |algo: &str, value: &str| {
            let (algo, value) = (algo.to_owned(), value.to_owned());
            Checksum { algo, value }.header()
        };
        assert_eq!(header("crc64nvme", "1").as_deref(), Some("AAAAAAAAAAE="));
        assert_eq!(header("crc64nvme", "-1"), None);
        assert_eq!(header("md5", "1"), None);
    }

    proptest! {
        #[test]
        fn no_id_panics(text in "[0-9a-f./-]{0,60}") {
            if let Some((id, _, _)) = parse(&text) {
                prop_assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
    }
}
