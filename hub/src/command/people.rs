//! `sinew hub user | org | token`.

use super::args::{Common, MemberRole, Org, OrgVerb, Quota, Token, TokenVerb, User, UserVerb};
use super::login::read_line;
use super::serve::block_on;
use super::text::{bytes, date};
use super::{Failure, Scene};
use crate::accounts::{Role, TokenRole};
use crate::operate::{self, OrgLine, TokenGrant, TokenLine, TokenRequest, UserLine};
use crate::server::Hub;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

pub(super) fn user(args: &User, scene: &mut Scene<'_>) -> Result<(), Failure> {
    block_on(async {
        match &args.verb {
            UserVerb::Add {
                name,
                admin,
                password_stdin,
                common,
            } => {
                let hub = common.data.open(&scene.environment).await?;
                let password = password_stdin.then(read_line).transpose()?;
                let user = operate::create_user(&hub, name, password.as_deref(), *admin).await?;
                done(
                    scene,
                    common,
                    &json!({"user": user.name}),
                    &format!("user {} made", user.name),
                )
            }
            UserVerb::Ls(common) => {
                let hub = common.data.open(&scene.environment).await?;
                let users = operate::list_users(&hub).await?;
                if common.json {
                    return scene.json(&users);
                }
                users
                    .iter()
                    .try_for_each(|user| scene.say(&user_line(user)))
            }
            UserVerb::Set { .. } => set_user(&args.verb, scene).await,
        }
    })
}

async fn set_user(verb: &UserVerb, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let UserVerb::Set {
        name,
        password_stdin,
        admin,
        disabled,
        quota,
        common,
    } = verb
    else {
        return Ok(());
    };
    if !password_stdin && admin.is_none() && disabled.is_none() && quota.is_none() {
        return Err(Failure::Usage(
            "say what to change: --password-stdin, --admin, --disabled or --quota".into(),
        ));
    }
    let hub = common.data.open(&scene.environment).await?;
    if *password_stdin {
        let password = read_line()?;
        operate::set_password(
            &hub,
            name,
            Some(password.as_str()).filter(|text| !text.is_empty()),
        )
        .await?;
    }
    if let Some(is_admin) = admin {
        operate::set_site_admin(&hub, name, *is_admin).await?;
    }
    if let Some(is_disabled) = disabled {
        operate::set_disabled(&hub, name, *is_disabled).await?;
    }
    if let Some(Quota(limit)) = quota {
        operate::set_quota(&hub, name, *limit).await?;
    }
    done(
        scene,
        common,
        &json!({"user": name}),
        &format!("user {name} changed"),
    )
}

fn user_line(user: &UserLine) -> String {
    let marks = [
        (user.is_site_admin, "administrator"),
        (user.has_password, "password"),
        (user.is_disabled, "disabled"),
    ];
    let marks: Vec<&str> = marks
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, mark)| mark)
        .collect();
    let quota = user
        .quota_bytes
        .map_or_else(String::new, |limit| format!("  at most {}", bytes(limit)));
    format!(
        "{:<24}{}  {}{quota}",
        user.name,
        date(user.created_ms),
        marks.join(", ")
    )
}

pub(super) fn org(args: &Org, scene: &mut Scene<'_>) -> Result<(), Failure> {
    block_on(async {
        match &args.verb {
            OrgVerb::Add {
                name,
                admin,
                common,
            } => {
                let hub = common.data.open(&scene.environment).await?;
                let org = operate::create_org(&hub, name, admin).await?;
                done(
                    scene,
                    common,
                    &json!({"organisation": org.name}),
                    &format!("organisation {} made", org.name),
                )
            }
            OrgVerb::Ls { name, common } => {
                let hub = common.data.open(&scene.environment).await?;
                match name {
                    Some(name) => members(&hub, name, common, scene).await,
                    None => orgs(&hub, common, scene).await,
                }
            }
            OrgVerb::Member {
                name,
                user,
                role,
                common,
            } => {
                let hub = common.data.open(&scene.environment).await?;
                let role = role.role();
                operate::set_member(&hub, name, user, role).await?;
                let shown = role.map_or("none", Role::as_str);
                let value = json!({"organisation": name, "user": user, "role": shown});
                done(scene, common, &value, &format!("{user} in {name}: {shown}"))
            }
            OrgVerb::Quota {
                name,
                quota,
                common,
            } => {
                let hub = common.data.open(&scene.environment).await?;
                operate::set_quota(&hub, name, quota.0).await?;
                let value = json!({"organisation": name, "quota_bytes": quota.0});
                done(
                    scene,
                    common,
                    &value,
                    &format!("{name}: {}", quota.0.map_or("no limit".into(), bytes)),
                )
            }
        }
    })
}

async fn members(
    hub: &Hub,
    name: &str,
    common: &Common,
    scene: &mut Scene<'_>,
) -> Result<(), Failure> {
    let members = operate::members(hub, name).await?;
    if common.json {
        let list: Vec<_> = members
            .iter()
            .map(|(user, role)| json!({"user": user, "role": role.as_str()}))
            .collect();
        return scene.json(&list);
    }
    members
        .iter()
        .try_for_each(|(user, role)| scene.say(&format!("{user:<24}{}", role.as_str())))
}

async fn orgs(hub: &Hub, common: &Common, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let orgs = operate::list_orgs(hub).await?;
    if common.json {
        return scene.json(&orgs);
    }
    let line = |org: &OrgLine| {
        let quota = org
            .quota_bytes
            .map_or_else(String::new, |limit| format!("  at most {}", bytes(limit)));
        format!(
            "{:<24}{}  {}{quota}",
            org.name,
            date(org.created_ms),
            super::text::count(org.members, "member")
        )
    };
    orgs.iter().try_for_each(|org| scene.say(&line(org)))
}

impl MemberRole {
    fn role(self) -> Option<Role> {
        match self {
            Self::Read => Some(Role::Read),
            Self::Contributor => Some(Role::Contributor),
            Self::Write => Some(Role::Write),
            Self::Admin => Some(Role::Admin),
            Self::None => None,
        }
    }
}

pub(super) fn token(args: &Token, scene: &mut Scene<'_>) -> Result<(), Failure> {
    block_on(async {
        match &args.verb {
            TokenVerb::Add {
                user,
                name,
                read_only,
                grant,
                days,
                common,
            } => {
                let request = request(name, *read_only, grant, *days)?;
                let hub = common.data.open(&scene.environment).await?;
                let token = operate::create_token(&hub, user, &request).await?;
                done(
                    scene,
                    common,
                    &json!({"user": user, "name": name, "token": token}),
                    &token,
                )
            }
            TokenVerb::Ls { user, common } => {
                let hub = common.data.open(&scene.environment).await?;
                let tokens = operate::list_tokens(&hub, user.as_deref()).await?;
                if common.json {
                    return scene.json(&tokens);
                }
                tokens
                    .iter()
                    .try_for_each(|token| scene.say(&token_line(token)))
            }
            TokenVerb::Revoke { id, common } => {
                let id = if id == "-" { read_line()? } else { id.clone() };
                let hub = common.data.open(&scene.environment).await?;
                operate::revoke_token(&hub, &id).await?;
                done(scene, common, &json!({"revoked": true}), "token revoked")
            }
        }
    })
}

fn token_line(token: &TokenLine) -> String {
    let until = token
        .expires_ms
        .map_or_else(|| "for ever".to_owned(), |at| format!("until {}", date(at)));
    format!(
        "{}  {:<16}{:<16}{:<12} {until}",
        token.id, token.user, token.name, token.role
    )
}

fn request(
    name: &str,
    read_only: bool,
    grants: &[String],
    days: Option<u32>,
) -> Result<TokenRequest, Failure> {
    let grants: Vec<TokenGrant> = grants
        .iter()
        .map(|text| grant(text))
        .collect::<Result<_, _>>()?;
    let role = match (read_only, grants.is_empty()) {
        (true, _) => TokenRole::Read,
        (false, true) => TokenRole::Write,
        (false, false) => TokenRole::FineGrained,
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    Ok(TokenRequest {
        name: name.to_owned(),
        role,
        expires_ms: days.map(|days| now.saturating_add(i64::from(days) * DAY_MS)),
        grants,
    })
}

/// `acme:read`, `datasets/acme/pick:write`.
fn grant(text: &str) -> Result<TokenGrant, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "{text:?} grants nothing; write org:read, org/name:write or datasets/org/name:write"
        ))
    };
    let (target, right) = text.rsplit_once(':').ok_or_else(wrong)?;
    let may_write = match right {
        "read" => false,
        "write" => true,
        _ => return Err(wrong()),
    };
    match target.is_empty() {
        true => Err(wrong()),
        false => Ok(TokenGrant {
            target: target.to_owned(),
            may_write,
        }),
    }
}

fn done(
    scene: &mut Scene<'_>,
    common: &Common,
    value: &serde_json::Value,
    words: &str,
) -> Result<(), Failure> {
    if common.json {
        scene.json(value)
    } else {
        scene.say(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grants_make_a_token_fine_grained() {
        let request = request(
            "x",
            false,
            &["datasets/a/b:write".into(), "c:read".into()],
            Some(1),
        )
        .unwrap();
        assert_eq!(request.role, TokenRole::FineGrained);
        assert_eq!(request.grants[0].target, "datasets/a/b");
        assert!(request.grants[0].may_write && !request.grants[1].may_write);
        assert!(request.expires_ms.is_some());
        for wrong in ["", "a", "a:", ":read", "a:own"] {
            assert!(grant(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,30}") {
            let _ = grant(&text);
        }
    }
}
