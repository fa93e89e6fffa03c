//! Users, organisations and tokens, by name. Each change stands in the audit log as the operator's.

use crate::accounts::tokens;
use crate::accounts::{self, Account, Grant, NewToken, Role, TokenRole};
use crate::audit::{self, Event};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::repos::names::Kind;
use crate::server::Hub;
use crate::{db, repos};
use sqlx::AssertSqlSafe;

/// A user, for lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UserLine {
    /// As in addresses.
    pub name: String,
    /// May do everything on this hub.
    pub is_site_admin: bool,
    /// Cannot log in, nor use tokens.
    pub is_disabled: bool,
    /// Can log in by a password.
    pub has_password: bool,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Bytes that the user's own repositories may have; `None` without a limit.
    pub quota_bytes: Option<u64>,
}

/// An organisation, for lists.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OrgLine {
    /// As in addresses.
    pub name: String,
    /// How many members it has.
    pub members: u64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Bytes that its repositories may have; `None` without a limit.
    pub quota_bytes: Option<u64>,
}

/// A token, for lists. The token itself cannot be shown again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TokenLine {
    /// By which it is revoked.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// For people to know it by.
    pub name: String,
    /// `read`, `write` or `fineGrained`.
    pub role: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// When it stops to work, milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// What a fine-grained token may do where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenGrant {
    /// A namespace (`acme`), a model (`acme/pick`) or a repository of another kind (`datasets/acme/pick`).
    pub target: String,
    /// Whether it may write there.
    pub may_write: bool,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// For people to know it by.
    pub name: String,
    /// What it may do at most.
    pub role: TokenRole,
    /// When it stops to work, milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// Of a fine-grained one; others have none.
    pub grants: Vec<TokenGrant>,
}

/// Creates a user. Without a password they can use tokens only.
///
/// # Errors
/// When the name is taken or no name, the password is too short, or the database fails.
pub async fn create_user(
    hub: &Hub,
    name: &str,
    password: Option<&str>,
    is_site_admin: bool,
) -> Result<Account> {
    let user = accounts::create_user(&hub.db, name, password, is_site_admin).await?;
    note(hub, "user.create", &user.name, String::new()).await?;
    Ok(user)
}

/// All users, by name.
///
/// # Errors
/// When the database fails.
pub async fn list_users(hub: &Hub) -> Result<Vec<UserLine>> {
    type Row = (String, i64, i64, Option<String>, i64, Option<i64>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT name, is_site_admin, is_disabled, password, created_ms, quota FROM accounts \
         WHERE kind = 'user' ORDER BY folded",
    )
    .fetch_all(hub.db.pool())
    .await?;
    let line = |row: Row| UserLine {
        name: row.0,
        is_site_admin: row.1 != 0,
        is_disabled: row.2 != 0,
        has_password: row.3.is_some(),
        created_ms: row.4,
        quota_bytes: row.5.and_then(|bytes| u64::try_from(bytes).ok()),
    };
    Ok(rows.into_iter().map(line).collect())
}

/// Gives a user another password, or takes it away.
///
/// # Errors
/// When there is no such user, the password is too short, or the database fails.
pub async fn set_password(hub: &Hub, name: &str, password: Option<&str>) -> Result<()> {
    let user = user(&hub.db, name).await?;
    let hash = password.map(accounts::hash_password).transpose()?;
    sqlx::query("UPDATE accounts SET password = $1 WHERE id = $2")
        .bind(hash)
        .bind(user.id)
        .execute(hub.db.pool())
        .await?;
    note(hub, "user.password", &user.name, String::new()).await
}

/// Locks a user or an organisation out, or lets them in again. Their repositories stay.
///
/// # Errors
/// When there is no such account or the database fails.
pub async fn set_disabled(hub: &Hub, name: &str, is_disabled: bool) -> Result<()> {
    update_flag(hub, name, "is_disabled", is_disabled).await
}

/// Makes a user an administrator of the whole hub, or no longer.
///
/// # Errors
/// When there is no such user or the database fails.
pub async fn set_site_admin(hub: &Hub, name: &str, is_site_admin: bool) -> Result<()> {
    user(&hub.db, name).await?;
    update_flag(hub, name, "is_site_admin", is_site_admin).await
}

async fn update_flag(hub: &Hub, name: &str, column: &'static str, value: bool) -> Result<()> {
    let text = AssertSqlSafe(format!(
        "UPDATE accounts SET {column} = $1 WHERE folded = $2"
    ));
    let done = sqlx::query(text)
        .bind(i64::from(value))
        .bind(repos::names::fold(name))
        .execute(hub.db.pool())
        .await?;
    if done.rows_affected() == 0 {
        return Err(unknown("account", name));
    }
    note(hub, "user.update", name, format!("{column}={value}")).await
}

/// Limits the bytes of an account's own repositories; `None` takes the limit away.
///
/// # Errors
/// When there is no such account or the database fails.
pub async fn set_quota(hub: &Hub, name: &str, bytes: Option<u64>) -> Result<()> {
    let account = find_account(hub, name).await?;
    let stored = bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    sqlx::query("UPDATE accounts SET quota = $1 WHERE id = $2")
        .bind(stored)
        .bind(account.id)
        .execute(hub.db.pool())
        .await?;
    let detail = bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
    note(hub, "account.quota", &account.name, detail).await
}

/// Finds a user or an organisation that is not disabled.
///
/// # Errors
/// When there is none or the database fails.
pub async fn find_account(hub: &Hub, name: &str) -> Result<Account> {
    let account = accounts::find(&hub.db, name).await?;
    account.ok_or_else(|| unknown("account", name))
}

/// Creates an organisation whose first administrator is a user.
///
/// # Errors
/// When there is no such user, the name is taken or no name, or the database fails.
pub async fn create_org(hub: &Hub, name: &str, admin: &str) -> Result<Account> {
    let admin = user(&hub.db, admin).await?;
    let org = accounts::create_org(&hub.db, name, &admin).await?;
    note(
        hub,
        "org.create",
        &org.name,
        format!("admin={}", admin.name),
    )
    .await?;
    Ok(org)
}

/// All organisations, by name.
///
/// # Errors
/// When the database fails.
pub async fn list_orgs(hub: &Hub) -> Result<Vec<OrgLine>> {
    let rows: Vec<(String, i64, i64, Option<i64>)> = sqlx::query_as(
        "SELECT a.name, (SELECT COUNT(*) FROM members m WHERE m.org = a.id), a.created_ms, a.quota \
         FROM accounts a WHERE a.kind = 'org' ORDER BY a.folded",
    )
    .fetch_all(hub.db.pool())
    .await?;
    let line = |row: (String, i64, i64, Option<i64>)| OrgLine {
        name: row.0,
        members: u64::try_from(row.1).unwrap_or(0),
        created_ms: row.2,
        quota_bytes: row.3.and_then(|bytes| u64::try_from(bytes).ok()),
    };
    Ok(rows.into_iter().map(line).collect())
}

/// The members of an organisation with their roles, by name.
///
/// # Errors
/// When there is no such organisation or the database fails.
pub async fn members(hub: &Hub, org: &str) -> Result<Vec<(String, Role)>> {
    let org = organisation(&hub.db, org).await?;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT a.name, m.role FROM members m JOIN accounts a ON a.id = m.account \
         WHERE m.org = $1 ORDER BY a.folded",
    )
    .bind(org.id)
    .fetch_all(hub.db.pool())
    .await?;
    let with_role = |(name, role): (String, String)| Some((name, Role::parse(&role)?));
    Ok(rows.into_iter().filter_map(with_role).collect())
}

/// Gives a user a role in an organisation; `None` ends the membership. The last administrator stays.
///
/// # Errors
/// When there is no such organisation or user, or nobody would administer the organisation any more.
pub async fn set_member(hub: &Hub, org: &str, name: &str, role: Option<Role>) -> Result<()> {
    let (organisation, member) = (
        organisation(&hub.db, org).await?,
        user(&hub.db, name).await?,
    );
    let admins = members(hub, org).await?;
    let mut admins = admins.iter().filter(|(_, role)| *role == Role::Admin);
    let is_last = admins.clone().count() == 1 && admins.any(|(admin, _)| *admin == member.name);
    if is_last && role != Some(Role::Admin) {
        return Err(Error::refused(
            409,
            format!(
                "{} is the last administrator of {org}; make another one first",
                member.name
            ),
        ));
    }
    accounts::set_role(&hub.db, &organisation, &member, role).await?;
    let role = role.map_or("none", Role::as_str);
    let detail = format!("{}={role}", member.name);
    note(hub, "org.change_role", &organisation.name, detail).await
}

/// Makes a token of a user and returns it: the only time that it can be seen.
///
/// # Errors
/// When there is no such user or grant's target, or the database fails.
pub async fn create_token(hub: &Hub, user: &str, request: &TokenRequest) -> Result<String> {
    let user = self::user(&hub.db, user).await?;
    if request.role != TokenRole::FineGrained && !request.grants.is_empty() {
        return Err(Error::bad(
            "only fine-grained tokens have grants; choose that role",
        ));
    }
    let mut grants = Vec::new();
    for grant in &request.grants {
        grants.push(Grant {
            target: target(&hub.db, &grant.target).await?,
            may_write: grant.may_write,
        });
    }
    let new = NewToken {
        name: request.name.clone(),
        role: request.role,
        expires_ms: request.expires_ms,
        grants,
    };
    let token = tokens::create(&hub.db, &user, &new).await?;
    let detail = format!("{} {}", request.name, request.role.as_str());
    note(hub, "token.create", &user.name, detail).await?;
    Ok(token)
}

/// The id that a grant is kept by.
async fn target(db: &Db, text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (kind, namespace, name) = match parts[..] {
        [account] => {
            let account = accounts::find(db, account).await?;
            return account
                .map(|account| account.id)
                .ok_or_else(|| unknown("namespace", text));
        }
        [namespace, name] => (Some(Kind::Model), namespace, name),
        [kind, namespace, name] => (Kind::parse(kind), namespace, name),
        _ => (None, "", ""),
    };
    let kind = kind.ok_or_else(|| {
        Error::bad(format!(
            "{text:?} names no namespace and no repository; write acme, acme/model or datasets/acme/data"
        ))
    })?;
    let repo = repos::find(db, kind, namespace, name).await?;
    repo.map(|repo| repo.id)
        .ok_or_else(|| unknown("repository", text))
}

/// Tokens of one user, or all, oldest first.
///
/// # Errors
/// When there is no such user or the database fails.
pub async fn list_tokens(hub: &Hub, user: Option<&str>) -> Result<Vec<TokenLine>> {
    let text = "SELECT t.id, a.name, t.name, t.role, t.created_ms, t.expires_ms FROM tokens t \
                JOIN accounts a ON a.id = t.account WHERE a.id = $1 OR $1 = '' ORDER BY t.created_ms, t.id";
    let account = match user {
        Some(name) => self::user(&hub.db, name).await?.id,
        None => String::new(),
    };
    let rows: Vec<(String, String, String, String, i64, Option<i64>)> = sqlx::query_as(text)
        .bind(account)
        .fetch_all(hub.db.pool())
        .await?;
    let line = |row: (String, String, String, String, i64, Option<i64>)| TokenLine {
        id: row.0,
        user: row.1,
        name: row.2,
        role: row.3,
        created_ms: row.4,
        expires_ms: row.5,
    };
    Ok(rows.into_iter().map(line).collect())
}

/// Ends a token, given by its id or by itself.
///
/// # Errors
/// When there is no such token or the database fails.
pub async fn revoke_token(hub: &Hub, id_or_token: &str) -> Result<()> {
    let is_revoked = if id_or_token.starts_with("hf_") {
        tokens::revoke(&hub.db, id_or_token).await?
    } else {
        let done = sqlx::query("DELETE FROM tokens WHERE id = $1")
            .bind(id_or_token.to_owned())
            .execute(hub.db.pool())
            .await?;
        done.rows_affected() > 0
    };
    if !is_revoked {
        return Err(Error::refused(
            404,
            "there is no such token; list them to see their ids",
        ));
    }
    let shown = if id_or_token.starts_with("hf_") {
        "by itself"
    } else {
        id_or_token
    };
    note(hub, "token.revoke", shown, String::new()).await
}

async fn user(db: &Db, name: &str) -> Result<Account> {
    let account = accounts::find(db, name).await?;
    account
        .filter(|account| !account.is_org)
        .ok_or_else(|| unknown("user", name))
}

async fn organisation(db: &Db, name: &str) -> Result<Account> {
    let account = accounts::find(db, name).await?;
    account
        .filter(|account| account.is_org)
        .ok_or_else(|| unknown("organisation", name))
}

fn unknown(what: &str, name: &str) -> Error {
    Error::refused(404, format!("there is no {what} {name:?} on this hub"))
}

async fn note(hub: &Hub, action: &'static str, target: &str, detail: String) -> Result<()> {
    let mut transaction = db::Db::write(&hub.db).await?;
    let event = Event {
        action,
        target,
        detail,
    };
    audit::note_operator(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(())
}
