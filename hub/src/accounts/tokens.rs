//! Access tokens. Only a digest is stored: tokens are random, so a plain SHA-256 cannot be guessed back,
//! and looking a digest up tells nothing by its timing that a client could steer.

use super::rights::{Caller, Right};
use super::{Account, AccountRow, COLUMNS, account};
use crate::db::{Db, new_id, now_ms, random};
use crate::error::Result;
use sha2::{Digest, Sha256};

/// What a token may do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// Read what its user may read.
    Read,
    /// Do what its user may do.
    Write,
    /// Do what its grants say, and no more than its user may do.
    FineGrained,
}

impl TokenRole {
    /// As clients know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::FineGrained => "fineGrained",
        }
    }

    /// By its name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::FineGrained]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// What a fine-grained token may do where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A namespace (account id) or a repository's id.
    pub target: String,
    /// Whether it may write there.
    pub may_write: bool,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// For people to know it by.
    pub name: String,
    /// Its role.
    pub role: TokenRole,
    /// When it stops to work, milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// What a fine-grained one may do.
    pub grants: Vec<Grant>,
}

/// Makes a token and returns it: the only time that it can be seen.
///
/// # Errors
/// When the database fails.
pub async fn create(db: &Db, user: &Account, new: &NewToken) -> Result<String> {
    let token = format!("hf_{}", secret()?);
    let id = new_id()?;
    let mut transaction = db.write().await?;
    sqlx::query(
        "INSERT INTO tokens (id, account, digest, name, role, expires_ms, created_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.clone())
    .bind(user.id.clone())
    .bind(digest(&token))
    .bind(new.name.clone())
    .bind(new.role.as_str().to_owned())
    .bind(new.expires_ms)
    .bind(now_ms())
    .execute(&mut *transaction)
    .await?;
    for grant in &new.grants {
        let level = if grant.may_write {
            Right::Write
        } else {
            Right::Read
        };
        sqlx::query("INSERT INTO token_grants (token, target, right_level) VALUES ($1, $2, $3)")
            .bind(id.clone())
            .bind(grant.target.clone())
            .bind(level as i64)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(token)
}

/// 34 letters and digits, as clients know tokens: 200 bits.
fn secret() -> Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::new();
    while text.len() < 34 {
        // Bytes above the largest multiple of 62 would make some letters likelier.
        let fair = random::<64>()?.into_iter().filter(|byte| *byte < 248);
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(byte % 62)]));
        text.extend(letters.take(34 - text.len()));
    }
    Ok(text)
}

/// Ends a token.
///
/// # Errors
/// When the database fails.
pub async fn revoke(db: &Db, token: &str) -> Result<bool> {
    let done = sqlx::query("DELETE FROM tokens WHERE digest = $1")
        .bind(digest(token))
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Whose token this is; `None` when it is unknown or has expired.
pub(crate) async fn identify(db: &Db, token: &str) -> Result<Option<Caller>> {
    lookup(db, "t.digest", &digest(token)).await
}

/// The caller that a signed grant of ours was given to, if their token still stands.
pub(crate) async fn identify_by_id(db: &Db, token_id: &str) -> Result<Option<Caller>> {
    lookup(db, "t.id", token_id).await
}

async fn lookup(db: &Db, column: &'static str, value: &str) -> Result<Option<Caller>> {
    let text = sqlx::AssertSqlSafe(format!(
        "SELECT t.id, t.name, t.role, t.expires_ms, {COLUMNS} FROM tokens t JOIN accounts a ON a.id = t.account \
         WHERE {column} = $1 AND a.is_disabled = 0"
    ));
    type TokenRow = (
        String,
        String,
        String,
        Option<i64>,
        String,
        String,
        String,
        String,
        Option<String>,
        i64,
    );
    let row: Option<TokenRow> = sqlx::query_as(text)
        .bind(value.to_owned())
        .fetch_optional(db.pool())
        .await?;
    let Some((id, name, role, expires, a, b, c, d, e, f)) = row else {
        return Ok(None);
    };
    if expires.is_some_and(|at| at <= now_ms()) {
        return Ok(None);
    }
    let Some(role) = TokenRole::parse(&role) else {
        return Ok(None);
    };
    let user: AccountRow = (a, b, c, d, e, f);
    let grants = if role == TokenRole::FineGrained {
        grants(db, &id).await?
    } else {
        Vec::new()
    };
    Ok(Some(Caller {
        user: account(user),
        token_id: id,
        token_name: name,
        role,
        expires_ms: expires,
        grants,
    }))
}

async fn grants(db: &Db, token_id: &str) -> Result<Vec<(String, Right)>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT target, right_level FROM token_grants WHERE token = $1")
            .bind(token_id.to_owned())
            .fetch_all(db.pool())
            .await?;
    let level = |n: i64| {
        if n >= Right::Write as i64 {
            Right::Write
        } else {
            Right::Read
        }
    };
    Ok(rows
        .into_iter()
        .map(|(target, n)| (target, level(n)))
        .collect())
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}
