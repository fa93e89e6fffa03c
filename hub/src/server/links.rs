//! What the hub signs: addresses that work without a token for a while, and the tokens of Xet's part. The key
//! lies in the database, so that every replica can check what another one signed.

use crate::db::{Db, from_hex, now_ms, random};
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How long an address works, seconds.
const LINK_S: i64 = 3600;
/// How long a Xet token works, seconds. The clients ask for a new one in time.
const XET_TOKEN_S: i64 = 3600;

/// The hub's signing key.
#[derive(Clone)]
pub(crate) struct Keys {
    key: Vec<u8>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// What a Xet token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct XetGrant {
    /// Id of the access token that it was given for; empty for anybody.
    #[serde(rename = "t")]
    pub token_id: String,
    /// Id of the repository.
    #[serde(rename = "r")]
    pub repo: String,
    #[serde(rename = "w")]
    pub may_write: bool,
    /// When it ends, seconds since 1970.
    #[serde(rename = "e")]
    pub expires_s: i64,
}

impl Keys {
    /// Reads the key, or makes it on a new hub.
    pub(crate) async fn load(db: &Db) -> Result<Self> {
        let random = random::<32>()?;
        sqlx::query("INSERT INTO settings (name, value) VALUES ('signing-key', $1) ON CONFLICT (name) DO NOTHING")
            .bind(hex::encode(random))
            .execute(db.pool())
            .await?;
        let row: (String,) =
            sqlx::query_as("SELECT value FROM settings WHERE name = 'signing-key'")
                .fetch_one(db.pool())
                .await?;
        let key = from_hex(&row.0)
            .filter(|key| key.len() == 32)
            .ok_or_else(|| Error::Damaged("the signing key is no key".to_owned()))?;
        Ok(Self { key })
    }

    /// Purposes keep a signature for one thing from being used for another.
    fn sign(&self, purpose: &str, text: &str) -> Vec<u8> {
        // HMAC takes keys of every length, so this never falls back.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return Vec::new();
        };
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn is_signed(&self, purpose: &str, text: &str, signature: &[u8]) -> bool {
        let expected = self.sign(purpose, text);
        !expected.is_empty() && bool::from(expected.ct_eq(signature))
    }

    /// A signature of a text for one purpose, hex.
    pub(crate) fn signed(&self, purpose: &str, text: &str) -> String {
        hex::encode(self.sign(purpose, text))
    }

    /// Whether a signature is the one of this hub.
    pub(crate) fn is_ours(&self, purpose: &str, text: &str, signature: &str) -> bool {
        let signature = from_hex(signature).unwrap_or_default();
        self.is_signed(purpose, text, &signature)
    }

    /// The query of an address: `?e=…&s=…`, for a thing that its path names.
    pub(crate) fn link(&self, purpose: &str, thing: &str) -> String {
        let expires = now_ms() / 1000 + LINK_S;
        let signature = self.sign(purpose, &format!("{thing}\0{expires}"));
        format!("?e={expires}&s={}", hex::encode(&signature))
    }

    /// Checks the query of an address.
    pub(crate) fn check_link(&self, purpose: &str, thing: &str, query: &LinkQuery) -> Result<()> {
        let text = format!("{thing}\0{}", query.e);
        let signature = from_hex(&query.s).unwrap_or_default();
        if query.e <= now_ms() / 1000 || !self.is_signed(purpose, &text, &signature) {
            return Err(Error::refused(
                403,
                "this address has expired or was not made by this hub; ask for a new one",
            ));
        }
        Ok(())
    }

    /// A Xet token and when it ends.
    pub(crate) fn xet_token(&self, token_id: &str, repo: &str, may_write: bool) -> (String, i64) {
        let grant = XetGrant {
            token_id: token_id.to_owned(),
            repo: repo.to_owned(),
            may_write,
            expires_s: now_ms() / 1000 + XET_TOKEN_S,
        };
        let text = serde_json::json!(grant).to_string();
        let signature = self.sign("xet", &text);
        let token = format!(
            "xet_{}.{}",
            URL_SAFE_NO_PAD.encode(&text),
            hex::encode(&signature)
        );
        (token, grant.expires_s)
    }

    /// What a Xet token says, if it is ours and has not ended.
    pub(crate) fn read_xet_token(&self, token: &str) -> Option<XetGrant> {
        let (text, signature) = token.strip_prefix("xet_")?.split_once('.')?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        if !self.is_signed("xet", &text, &from_hex(signature)?) {
            return None;
        }
        let grant: XetGrant = serde_json::from_str(&text).ok()?;
        (grant.expires_s > now_ms() / 1000).then_some(grant)
    }
}

/// The query of a signed address.
#[derive(Debug, Deserialize)]
pub(crate) struct LinkQuery {
    /// When it ends, seconds since 1970.
    pub e: i64,
    /// The signature, hex.
    pub s: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys { key: vec![7; 32] }
    }

    #[test]
    fn a_token_says_what_it_was_made_for() {
        let (token, _) = keys().xet_token("t", "r", true);
        let grant = keys().read_xet_token(&token).unwrap();
        assert_eq!(
            (
                grant.token_id.as_str(),
                grant.repo.as_str(),
                grant.may_write
            ),
            ("t", "r", true)
        );
        let other = Keys { key: vec![8; 32] };
        assert!(other.read_xet_token(&token).is_none());
    }

    #[test]
    fn an_address_is_for_one_thing() {
        let query = |text: String| {
            let (e, s) = text.trim_start_matches("?e=").split_once("&s=").unwrap();
            LinkQuery {
                e: e.parse().unwrap(),
                s: s.to_owned(),
            }
        };
        let link = query(keys().link("xorb", "a"));
        assert!(keys().check_link("xorb", "a", &link).is_ok());
        assert!(keys().check_link("xorb", "b", &link).is_err());
        assert!(keys().check_link("lfs", "a", &link).is_err());
        assert!(
            keys()
                .check_link(
                    "xorb",
                    "a",
                    &LinkQuery {
                        e: link.e + 1,
                        s: link.s
                    }
                )
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_token_panics(token in "(xet_)?[a-zA-Z0-9_.-]{0,80}") {
            prop_assert!(keys().read_xet_token(&token).is_none());
        }
    }
}
