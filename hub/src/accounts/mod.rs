//! Who there is and what they may do: users, organisations, tokens, and the one place that decides about rights.

mod passwords;
pub(crate) mod quota;
pub(crate) mod rights;
pub mod tokens;

pub(crate) use passwords::hash as hash_password;
pub(crate) use rights::{Caller, Right};
pub use tokens::{Grant, NewToken, TokenRole};

use crate::db::{Db, new_id, now_ms};
use crate::error::{Error, Result};
use crate::repos::names::{check_account_name, fold};

/// A user or an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Never changes.
    pub id: String,
    /// As in addresses.
    pub name: String,
    /// Whether it is an organisation.
    pub is_org: bool,
    /// For people to read.
    pub full_name: String,
    /// Where to write to.
    pub email: Option<String>,
    /// May do everything on this hub.
    pub is_site_admin: bool,
}

/// What a member of an organisation may do in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read its private repositories.
    Read,
    /// Also create repositories, and write to those that they created.
    Contributor,
    /// Write to every repository, create and delete them.
    Write,
    /// Also manage members.
    Admin,
}

impl Role {
    /// As in requests and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Contributor => "contributor",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// By its name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Contributor, Self::Write, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// An account and a role in it.
type MemberRow = (String, String, String, String, Option<String>, i64, String);
type AccountRow = (String, String, String, String, Option<String>, i64);
const COLUMNS: &str = "a.id, a.name, a.kind, a.full_name, a.email, a.is_site_admin";

fn account(row: AccountRow) -> Account {
    Account {
        id: row.0,
        name: row.1,
        is_org: row.2 == "org",
        full_name: row.3,
        email: row.4,
        is_site_admin: row.5 != 0,
    }
}

/// Creates a user. Without a password they can use tokens only.
///
/// # Errors
/// When the name is taken or no name, or the database fails.
pub async fn create_user(
    db: &Db,
    name: &str,
    password: Option<&str>,
    is_site_admin: bool,
) -> Result<Account> {
    let hash = password.map(passwords::hash).transpose()?;
    create(db, name, "user", hash, is_site_admin).await
}

/// Creates an organisation with its first administrator.
///
/// # Errors
/// As [`create_user`].
pub async fn create_org(db: &Db, name: &str, admin: &Account) -> Result<Account> {
    let org = create(db, name, "org", None, false).await?;
    set_role(db, &org, admin, Some(Role::Admin)).await?;
    Ok(org)
}

async fn create(
    db: &Db,
    name: &str,
    kind: &str,
    password: Option<String>,
    is_site_admin: bool,
) -> Result<Account> {
    check_account_name(name)?;
    let id = new_id()?;
    let text = "INSERT INTO accounts (id, name, folded, kind, full_name, email, password, is_site_admin, is_disabled, created_ms) \
                VALUES ($1, $2, $3, $4, $2, NULL, $5, $6, 0, $7) ON CONFLICT (folded) DO NOTHING";
    let done = sqlx::query(text)
        .bind(id.clone())
        .bind(name.to_owned())
        .bind(fold(name))
        .bind(kind.to_owned())
        .bind(password)
        .bind(i64::from(is_site_admin))
        .bind(now_ms())
        .execute(db.pool())
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::refused(
            409,
            format!("the name {name:?} is taken; choose another"),
        ));
    }
    Ok(Account {
        id,
        name: name.to_owned(),
        is_org: kind == "org",
        full_name: name.to_owned(),
        email: None,
        is_site_admin,
    })
}

/// Finds an account by its name, in any case.
///
/// # Errors
/// When the database fails.
pub async fn find(db: &Db, name: &str) -> Result<Option<Account>> {
    let text = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM accounts a WHERE a.folded = $1 AND a.is_disabled = 0"
    ));
    let row: Option<AccountRow> = sqlx::query_as(text)
        .bind(fold(name))
        .fetch_optional(db.pool())
        .await?;
    Ok(row.map(account))
}

/// Gives a member a role, or takes the membership away.
///
/// # Errors
/// When the database fails.
pub async fn set_role(db: &Db, org: &Account, user: &Account, role: Option<Role>) -> Result<()> {
    let mut transaction = db.write().await?;
    sqlx::query("DELETE FROM members WHERE org = $1 AND account = $2")
        .bind(org.id.clone())
        .bind(user.id.clone())
        .execute(&mut *transaction)
        .await?;
    if let Some(role) = role {
        sqlx::query("INSERT INTO members (org, account, role) VALUES ($1, $2, $3)")
            .bind(org.id.clone())
            .bind(user.id.clone())
            .bind(role.as_str().to_owned())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The organisations of a user with their role in each.
///
/// # Errors
/// When the database fails.
pub async fn organisations(db: &Db, account_id: &str) -> Result<Vec<(Account, Role)>> {
    let text = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS}, m.role FROM members m JOIN accounts a ON a.id = m.org \
         WHERE m.account = $1 AND a.is_disabled = 0 ORDER BY a.folded"
    ));
    let rows: Vec<MemberRow> = sqlx::query_as(text)
        .bind(account_id.to_owned())
        .fetch_all(db.pool())
        .await?;
    let with_role = |row: MemberRow| {
        let role = Role::parse(&row.6)?;
        Some((account((row.0, row.1, row.2, row.3, row.4, row.5)), role))
    };
    Ok(rows.into_iter().filter_map(with_role).collect())
}

/// Whether a password is this user's.
///
/// # Errors
/// When the database fails.
pub async fn check_password(db: &Db, name: &str, password: &str) -> Result<Option<Account>> {
    let row: Option<(Option<String>,)> = sqlx::query_as(
        "SELECT password FROM accounts WHERE folded = $1 AND kind = 'user' AND is_disabled = 0",
    )
    .bind(fold(name))
    .fetch_optional(db.pool())
    .await?;
    let hash = row.and_then(|row| row.0);
    // Hashing is slow on purpose and would stall other requests of this thread.
    let password = password.to_owned();
    let is_right =
        tokio::task::spawn_blocking(move || passwords::is_right(hash.as_deref(), &password))
            .await
            .unwrap_or(false);
    if is_right {
        find(db, name).await
    } else {
        Ok(None)
    }
}
