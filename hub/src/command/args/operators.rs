//! Arguments of the commands on a hub's own data.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where a hub keeps its data.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The hub's data")]
pub(in crate::command) struct Data {
    /// Folder of the hub. Default: $XDG_DATA_HOME/sinew/hub, or else ~/.local/share/sinew/hub.
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::command) data: Option<PathBuf>,
    /// Database: postgres://user:password@host/name, or sqlite:///path/hub.db?mode=rwc. Default: SQLite in the folder.
    #[arg(long, value_name = "URL")]
    pub(in crate::command) database: Option<String>,
    /// Where large files lie: s3://bucket/prefix, or a folder. Default: the folder `objects` in the hub's.
    #[arg(long, value_name = "URL")]
    pub(in crate::command) store: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::command) struct Serve {
    /// Address to listen on; 127.0.0.1 for this machine alone.
    #[arg(long, default_value = "0.0.0.0")]
    pub(in crate::command) host: std::net::IpAddr,
    /// Port to listen on; 0 for any that is free.
    #[arg(long, default_value_t = 8010)]
    pub(in crate::command) port: u16,
    /// The address by which clients know the hub, if it is behind a proxy: https://hub.example.com.
    #[arg(long, value_name = "URL")]
    pub(in crate::command) public_url: Option<String>,
    /// Speak HTTPS with this certificate, a PEM file, the hub's own first.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(in crate::command) tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::command) tls_key: Option<PathBuf>,
    /// Requests that one token, or one address without a token, may send in five minutes. Contents of large files
    /// do not count. Default: no limit.
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::command) rate_limit: Option<u32>,
    /// Send clients to the S3 store itself for large files, by signed addresses. They have to reach it under the name
    /// that the hub uses.
    #[arg(long)]
    pub(in crate::command) direct: bool,
    /// Name of the administrator that the first start makes.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(in crate::command) admin: String,
    #[command(flatten)]
    pub(in crate::command) data: Data,
    /// Print the address, and the first token, as JSON.
    #[arg(long)]
    pub(in crate::command) json: bool,
}

/// Of every command on the hub's own data.
#[derive(Debug, Clone, Args)]
pub(in crate::command) struct Common {
    #[command(flatten)]
    pub(in crate::command) data: Data,
    /// Print JSON.
    #[arg(long)]
    pub(in crate::command) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::command) struct User {
    #[command(subcommand)]
    pub(in crate::command) verb: UserVerb,
}

#[derive(Debug, Subcommand)]
pub(in crate::command) enum UserVerb {
    /// Make a user, who can be given tokens.
    ///
    /// Example: sinew hub user add ada
    Add {
        /// The user's name.
        name: String,
        /// May do everything on this hub.
        #[arg(long)]
        admin: bool,
        /// Read a password from the first line of stdin, for logging in on a page.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List the users.
    ///
    /// Example: sinew hub user ls
    Ls(Common),
    /// Change a user: password, rights, quota, or whether they can be used at all.
    ///
    /// Example: sinew hub user set ada --quota 200GB
    Set {
        /// The user's name.
        name: String,
        /// Read a new password from the first line of stdin; an empty one takes it away.
        #[arg(long)]
        password_stdin: bool,
        /// Whether the user may do everything on this hub.
        #[arg(long, value_name = "true|false")]
        admin: Option<bool>,
        /// Neither logins nor tokens work.
        #[arg(long, value_name = "true|false")]
        disabled: Option<bool>,
        /// What the user's own repositories may have, such as 200GB; `none` for no limit.
        #[arg(long, value_name = "SIZE|none", value_parser = quota)]
        quota: Option<Quota>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
pub(in crate::command) struct Org {
    #[command(subcommand)]
    pub(in crate::command) verb: OrgVerb,
}

#[derive(Debug, Subcommand)]
pub(in crate::command) enum OrgVerb {
    /// Make an organisation.
    ///
    /// Example: sinew hub org add robots --admin ada
    Add {
        /// The organisation's name.
        name: String,
        /// The user who administers it.
        #[arg(long, value_name = "USER")]
        admin: String,
        #[command(flatten)]
        common: Common,
    },
    /// List the organisations, or the members of one.
    ///
    /// Example: sinew hub org ls robots
    Ls {
        /// The organisation.
        name: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Give a member a role: read, contributor, write or admin; `none` takes the membership away.
    ///
    /// Example: sinew hub org member robots ada write
    Member {
        /// The organisation.
        name: String,
        /// The user.
        user: String,
        /// The role.
        #[arg(value_enum)]
        role: MemberRole,
        #[command(flatten)]
        common: Common,
    },
    /// Limit what an organisation's repositories may have.
    ///
    /// Example: sinew hub org quota robots 2TB
    Quota {
        /// The organisation.
        name: String,
        /// Such as 200GB; `none` for no limit.
        #[arg(value_name = "SIZE|none", value_parser = quota)]
        quota: Quota,
        #[command(flatten)]
        common: Common,
    },
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::command) enum MemberRole {
    /// Read private repositories.
    Read,
    /// Also make repositories, and write to those that they made.
    Contributor,
    /// Write to all, make and delete them.
    Write,
    /// Also manage members.
    Admin,
    /// Not a member.
    None,
}

#[derive(Debug, Args)]
pub(in crate::command) struct Token {
    #[command(subcommand)]
    pub(in crate::command) verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
pub(in crate::command) enum TokenVerb {
    /// Make a token and print it: the only time that it can be seen.
    ///
    /// Example: sinew hub token add ada --name robot-7 --grant datasets/robots/pick:write
    Add {
        /// Whose it is.
        user: String,
        /// For people to know it by.
        #[arg(long, default_value = "token")]
        name: String,
        /// It may only read.
        #[arg(long, conflicts_with = "grant")]
        read_only: bool,
        /// It may only do this: a namespace, org/name or datasets/org/name, then :read or :write; repeatable.
        #[arg(long, value_name = "TARGET:RIGHT")]
        grant: Vec<String>,
        /// Days until it stops to work. Default: never.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        #[command(flatten)]
        common: Common,
    },
    /// List tokens by what they are called and may do; the tokens themselves are not stored.
    ///
    /// Example: sinew hub token ls ada
    Ls {
        /// Whose.
        user: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// End a token.
    ///
    /// Example: sinew hub token revoke 5f0c9e
    Revoke {
        /// Its id, from `token ls`; or `-` to read the token itself from stdin.
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
pub(in crate::command) struct Fsck {
    /// Do not read the contents of files: only whether everything is there and refers to what is there.
    #[arg(long)]
    pub(in crate::command) quick: bool,
    #[command(flatten)]
    pub(in crate::command) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::command) struct Gc {
    /// Only count what would be removed.
    #[arg(long)]
    pub(in crate::command) dry_run: bool,
    /// Only what has been there for more days than this.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(30..=36_500))]
    pub(in crate::command) older_than: u32,
    #[command(flatten)]
    pub(in crate::command) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::command) struct Stats {
    #[command(flatten)]
    pub(in crate::command) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::command) struct Backup {
    /// The folder of the backup.
    pub(in crate::command) folder: PathBuf,
    #[command(flatten)]
    pub(in crate::command) common: Common,
}

#[derive(Debug, Args)]
pub(in crate::command) struct Audit {
    /// From this day or moment on: 2026-11-26, or 2026-11-26T12:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = crate::command::text::parse_date)]
    pub(in crate::command) since: Option<i64>,
    /// Before this day or moment.
    #[arg(long, value_name = "DATE", value_parser = crate::command::text::parse_date)]
    pub(in crate::command) until: Option<i64>,
    #[command(flatten)]
    pub(in crate::command) data: Data,
}

/// A limit in bytes; `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) struct Quota(pub(in crate::command) Option<u64>);

/// `200GB`, `1.5 TB`, `1000`, `none`.
fn quota(text: &str) -> Result<Quota, String> {
    let lower = text.trim().to_lowercase();
    if lower == "none" {
        return Ok(Quota(None));
    }
    let wrong = || format!("{text:?} is no size; write one such as 200GB, or none");
    let at = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(at);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(wrong()),
    };
    let bytes = number * factor;
    // Above this not every whole number is one of the format's.
    match bytes.is_finite() && bytes < 9e15 {
        true => Ok(Quota(Some(bytes as u64))),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(quota("200GB"), Ok(Quota(Some(200_000_000_000))));
        assert_eq!(quota("1.5 tb"), Ok(Quota(Some(1_500_000_000_000))));
        assert_eq!(quota("none"), Ok(Quota(None)));
        for wrong in ["", "GB", "-1", "1XB", "1e300", "9999999TB"] {
            assert!(quota(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,20}") {
            let _ = quota(&text);
        }
    }
}
