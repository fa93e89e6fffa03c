//! Addresses of an S3 store that work without the hub's keys for a while, each for one request: method, object and
//! the headers given are signed. Source: AWS's documentation, "Signature Version 4, query string authentication".

use super::Objects;
use crate::error::{Error, Result};
use axum::http::{HeaderName, HeaderValue, Method};
use object_store::aws::AmazonS3;
use object_store::path::Path as Key;
use object_store::signer::{SignedUrlOptions, Signer};
use std::time::Duration;

/// How long an address works.
const VALID: Duration = Duration::from_secs(3600);

/// A store that signs, and the beginning of all keys in it.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    pub store: AmazonS3,
    pub prefix: Key,
}

impl Objects {
    /// Whether clients can be sent to the store itself.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// An address for one request with exactly these headers; `None` if the store signs none.
    pub(crate) async fn signed(
        &self,
        method: Method,
        key: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Option<String>> {
        let Some(direct) = &self.direct else {
            return Ok(None);
        };
        let mut options = SignedUrlOptions::default();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| Error::bad(format!("{value:?} is no value of a header")))?;
            options = options.with_signed_header(name.clone(), value);
        }
        let key = match direct.prefix.as_ref() {
            "" => Key::from(key),
            prefix => Key::from(format!("{prefix}/{key}")),
        };
        let url = direct
            .store
            .signed_url_opts(method, &key, VALID, &options)
            .await?;
        Ok(Some(url.into()))
    }
}
