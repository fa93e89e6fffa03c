//! What a caller may do. Every answer to "may they?" is computed here.

use super::tokens::TokenRole;
use super::{Account, Role, organisations};
use crate::db::Db;
use crate::error::Result;
use crate::repos::Repo;

/// What can be done to a repository or a namespace, each including those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i64)]
pub(crate) enum Right {
    /// Not even know that it exists.
    Nothing = 0,
    Read = 1,
    /// Change, rename and delete it.
    Write = 2,
    /// Manage who else may.
    Admin = 3,
}

/// Somebody who showed a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub user: Account,
    pub token_id: String,
    pub token_name: String,
    pub role: TokenRole,
    pub expires_ms: Option<i64>,
    /// Of a fine-grained token: what it may do where.
    pub grants: Vec<(String, Right)>,
}

impl Caller {
    /// What the token leaves of a right of its user to a repository or a namespace.
    fn capped(&self, right: Right, targets: &[&str], is_public: bool) -> Right {
        let floor = if is_public {
            Right::Read
        } else {
            Right::Nothing
        };
        let cap = match self.role {
            TokenRole::Write => Right::Admin,
            TokenRole::Read => Right::Read,
            TokenRole::FineGrained => self
                .grants
                .iter()
                .filter(|(target, _)| targets.contains(&target.as_str()))
                .map(|grant| grant.1)
                .max()
                .unwrap_or(Right::Nothing),
        };
        right.min(cap.max(floor))
    }
}

/// What somebody, or anybody, may do to a repository.
pub(crate) async fn on_repo(db: &Db, caller: Option<&Caller>, repo: &Repo) -> Result<Right> {
    let anybody = if repo.is_private {
        Right::Nothing
    } else {
        Right::Read
    };
    let Some(caller) = caller else {
        return Ok(anybody);
    };
    let own = own_right(db, caller, &repo.owner, Some(&repo.created_by)).await?;
    Ok(caller.capped(own.max(anybody), &[&repo.id, &repo.owner], !repo.is_private))
}

/// What somebody may do in a namespace: `Write` is to create repositories.
pub(crate) async fn on_namespace(db: &Db, caller: &Caller, owner: &Account) -> Result<Right> {
    let own = own_right(db, caller, &owner.id, Some(&caller.user.id)).await?;
    Ok(caller.capped(own, &[&owner.id], false))
}

/// The user's right without regard to the token.
async fn own_right(
    db: &Db,
    caller: &Caller,
    owner: &str,
    created_by: Option<&str>,
) -> Result<Right> {
    if caller.user.id == owner || caller.user.is_site_admin {
        return Ok(Right::Admin);
    }
    let role: Option<(String,)> =
        sqlx::query_as("SELECT role FROM members WHERE org = $1 AND account = $2")
            .bind(owner.to_owned())
            .bind(caller.user.id.clone())
            .fetch_optional(db.pool())
            .await?;
    let role = role.and_then(|row| Role::parse(&row.0));
    Ok(match role {
        None => Right::Nothing,
        Some(Role::Read) => Right::Read,
        Some(Role::Contributor) if created_by == Some(caller.user.id.as_str()) => Right::Write,
        Some(Role::Contributor) => Right::Read,
        Some(Role::Write) => Right::Write,
        Some(Role::Admin) => Right::Admin,
    })
}

/// Ids of the accounts whose private repositories a caller may read, the token aside.
pub(crate) async fn readable_owners(db: &Db, caller: &Caller) -> Result<Vec<String>> {
    let mut owners = vec![caller.user.id.clone()];
    let orgs = organisations(db, &caller.user.id).await?;
    owners.extend(orgs.into_iter().map(|(org, _)| org.id));
    if caller.role == TokenRole::FineGrained {
        owners.retain(|owner| caller.grants.iter().any(|grant| &grant.0 == owner));
    }
    Ok(owners)
}
