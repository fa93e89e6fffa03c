//! Arguments of `sinew hub`.

use crate::client::{Kind, RepoName};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Arguments of the command.
#[derive(Debug, Args)]
pub struct Hub {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

impl Hub {
    fn transfer(&self) -> Option<&Watch> {
        match &self.verb {
            Verb::Push(args) => Some(&args.watch),
            Verb::Pull(args) => Some(&args.watch),
            _ => None,
        }
    }

    /// Whether nobody wants to see how far it is.
    pub(super) fn is_quiet(&self) -> bool {
        self.transfer().is_none_or(|watch| watch.quiet)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Log in to a hub, and make it the one that the other commands ask.
    ///
    /// The token is checked and stored where huggingface_hub looks for it, so that `hf` is logged in as well. It
    /// comes from --token, or from stdin when that is no terminal, or from a page of the hub that is opened in a
    /// browser.
    ///
    /// Example: sinew hub login --endpoint http://hub.local:8010 < token.txt
    Login(Login),
    /// Make a repository.
    ///
    /// Example: sinew hub create robots/pick --type dataset --private
    Create(Create),
    /// Send a folder to a repository: only what changed, and in one commit. Interrupted, run it again.
    ///
    /// The repository is made if it is not there. Its type follows from the files: a dataset has a
    /// meta/info.json, a policy a config.json or policy.toml.
    ///
    /// Example: sinew hub push out/pick robots/pick
    Push(Push),
    /// Bring a repository into a folder. Files that are there already are not fetched again. Interrupted, run it again.
    ///
    /// Example: sinew hub pull robots/pick out/pick
    Pull(Pull),
    /// List the files of a repository, or the repositories of a user or organisation.
    ///
    /// Example: sinew hub ls robots/pick videos
    Ls(Ls),
    /// Remove files from a repository, or a repository.
    ///
    /// Example: sinew hub rm robots/pick old.safetensors
    Rm(Rm),
    /// Say in what a folder and a repository differ.
    ///
    /// Exit code: 0 in nothing, 1 in something, 2 one of them cannot be read.
    ///
    /// Example: sinew hub diff out/pick robots/pick
    Diff(Diff),
    /// Run a hub. The first start makes an administrator and prints the token.
    ///
    /// Example: sinew hub serve --data /srv/hub      (then, elsewhere: HF_ENDPOINT=http://that-machine:8010 hf …)
    Serve(Serve),
    /// Manage users, on the hub's machine.
    ///
    /// Example: sinew hub user add ada --data /srv/hub
    User(User),
    /// Manage organisations, on the hub's machine.
    ///
    /// Example: sinew hub org member robots ada write --data /srv/hub
    Org(Org),
    /// Manage tokens, on the hub's machine.
    ///
    /// Example: sinew hub token add ada --name laptop --days 90 --data /srv/hub
    Token(Token),
    /// Check everything that a hub stores: refs, trees, files, chunks, hashes.
    ///
    /// Exit code: 0 everything is sound, 4 something is not.
    ///
    /// Example: sinew hub fsck --data /srv/hub
    Fsck(Fsck),
    /// Remove what nothing refers to, and has been there for at least 30 days.
    ///
    /// Example: sinew hub gc --dry-run --data /srv/hub
    Gc(Gc),
    /// Count what a hub has.
    ///
    /// Example: sinew hub stats --data /srv/hub
    Stats(Stats),
    /// Copy a hub into a folder, while it runs. A second time only what is new is copied.
    ///
    /// Example: sinew hub backup /mnt/backup/hub --data /srv/hub
    Backup(Backup),
    /// Fill an empty hub from a backup.
    ///
    /// Example: sinew hub restore /mnt/backup/hub --data /srv/hub-new
    Restore(Backup),
    /// Print the audit log as JSON lines: who wrote, read what is private, or changed rights.
    ///
    /// Example: sinew hub audit --since 2026-11-01 --data /srv/hub
    Audit(Audit),
}

/// Which hub.
#[derive(Debug, Clone, Args)]
pub(super) struct Where {
    /// Address of the hub. Default: HF_ENDPOINT, or else the hub of the last login, or else huggingface.co.
    #[arg(long, value_name = "URL")]
    pub(super) endpoint: Option<String>,
}

/// What is seen of a transfer.
#[derive(Debug, Clone, Args)]
pub(super) struct Watch {
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Do not say on stderr how far it is.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// Types of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RepoType {
    /// A data set.
    Dataset,
    /// A policy, or any other model.
    #[value(alias = "model")]
    Policy,
    /// A demo.
    Space,
}

impl From<RepoType> for Kind {
    fn from(named: RepoType) -> Self {
        match named {
            RepoType::Dataset => Self::Dataset,
            RepoType::Policy => Self::Model,
            RepoType::Space => Self::Space,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Login {
    #[command(flatten)]
    pub(super) hub: Where,
    /// The token. Other users of this machine can see it while the command runs: better is stdin.
    #[arg(long, value_name = "TOKEN")]
    pub(super) token: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The repository: org/name.
    #[arg(value_name = "ORG/NAME")]
    pub(super) repo: RepoName,
    /// Its type: dataset, policy (the default; the same as model) or space.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(super) kind: Option<RepoType>,
    /// Only its owner, or members of its organisation, may see it.
    #[arg(long)]
    pub(super) private: bool,
    /// It is no error if it is there.
    #[arg(long)]
    pub(super) exist_ok: bool,
    #[command(flatten)]
    pub(super) hub: Where,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Push {
    /// The folder. `.git` and `.cache` in it are left out.
    pub(super) folder: PathBuf,
    /// The repository: org/name.
    #[arg(value_name = "ORG/NAME")]
    pub(super) repo: RepoName,
    /// Type of the repository: dataset, policy (the same as model) or space. Default: what the files say.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(super) kind: Option<RepoType>,
    /// If the repository has to be made: only its owner, or members of its organisation, may see it.
    #[arg(long)]
    pub(super) private: bool,
    /// Branch to push to.
    #[arg(long, default_value = "main")]
    pub(super) revision: String,
    /// What the commit is called.
    #[arg(long, short, value_name = "TEXT")]
    pub(super) message: Option<String>,
    /// Also delete the repository's files that the folder does not have.
    #[arg(long)]
    pub(super) delete: bool,
    #[command(flatten)]
    pub(super) hub: Where,
    #[command(flatten)]
    pub(super) watch: Watch,
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// The repository: org/name.
    #[arg(value_name = "ORG/NAME")]
    pub(super) repo: RepoName,
    /// The folder. Default: one of the repository's name, here.
    pub(super) folder: Option<PathBuf>,
    /// Type of the repository, if there are several of that name: dataset, policy or space.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(super) kind: Option<RepoType>,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main")]
    pub(super) revision: String,
    /// Files at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) connections: u8,
    #[command(flatten)]
    pub(super) hub: Where,
    #[command(flatten)]
    pub(super) watch: Watch,
}

#[derive(Debug, Args)]
pub(super) struct Ls {
    /// The repository, org/name; or a user or organisation, whose repositories are listed. Default: you.
    #[arg(value_name = "ORG/NAME")]
    pub(super) repo: Option<String>,
    /// Folder in the repository.
    pub(super) path: Option<String>,
    /// Type of the repository, if there are several of that name: dataset, policy or space.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(super) kind: Option<RepoType>,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main")]
    pub(super) revision: String,
    /// Everything below the folder as well.
    #[arg(long, short)]
    pub(super) recursive: bool,
    #[command(flatten)]
    pub(super) hub: Where,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// The repository: org/name.
    #[arg(value_name = "ORG/NAME")]
    pub(super) repo: RepoName,
    /// Files and folders to remove.
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<String>,
    /// Delete the whole repository with its history, for good.
    #[arg(long, conflicts_with = "paths")]
    pub(super) repository: bool,
    /// Type of the repository, if there are several of that name: dataset, policy or space.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(super) kind: Option<RepoType>,
    /// Branch to remove files from.
    #[arg(long, default_value = "main")]
    pub(super) revision: String,
    /// What the commit is called.
    #[arg(long, short, value_name = "TEXT")]
    pub(super) message: Option<String>,
    #[command(flatten)]
    pub(super) hub: Where,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The folder.
    pub(super) folder: PathBuf,
    /// The repository: org/name.
    #[arg(value_name = "ORG/NAME")]
    pub(super) repo: RepoName,
    /// Type of the repository, if there are several of that name: dataset, policy or space.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub(super) kind: Option<RepoType>,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main")]
    pub(super) revision: String,
    #[command(flatten)]
    pub(super) hub: Where,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Where a hub keeps its data.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The hub's data")]
pub(super) struct Data {
    /// Folder of the hub. Default: $XDG_DATA_HOME/sinew/hub, or else ~/.local/share/sinew/hub.
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
    /// Database: postgres://user:password@host/name, or sqlite:///path/hub.db?mode=rwc. Default: SQLite in the folder.
    #[arg(long, value_name = "URL")]
    pub(super) database: Option<String>,
    /// Where large files lie: s3://bucket/prefix, or a folder. Default: the folder `objects` in the hub's.
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on; 127.0.0.1 for this machine alone.
    #[arg(long, default_value = "0.0.0.0")]
    pub(super) host: std::net::IpAddr,
    /// Port to listen on; 0 for any that is free.
    #[arg(long, default_value_t = 8010)]
    pub(super) port: u16,
    /// The address by which clients know the hub, if it is behind a proxy: https://hub.example.com.
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// Speak HTTPS with this certificate, a PEM file, the hub's own first.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Requests that one token, or one address without a token, may send in five minutes. Contents of large files
    /// do not count. Default: no limit.
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate_limit: Option<u32>,
    /// Send clients to the S3 store itself for large files, by signed addresses. They have to reach it under the name
    /// that the hub uses.
    #[arg(long)]
    pub(super) direct: bool,
    /// Name of the administrator that the first start makes.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(super) admin: String,
    #[command(flatten)]
    pub(super) data: Data,
    /// Print the address, and the first token, as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Of every command on the hub's own data.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) data: Data,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct User {
    #[command(subcommand)]
    pub(super) verb: UserVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
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
pub(super) struct Org {
    #[command(subcommand)]
    pub(super) verb: OrgVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum OrgVerb {
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
pub(super) enum MemberRole {
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
pub(super) struct Token {
    #[command(subcommand)]
    pub(super) verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
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
pub(super) struct Fsck {
    /// Do not read the contents of files: only whether everything is there and refers to what is there.
    #[arg(long)]
    pub(super) quick: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Only count what would be removed.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Only what has been there for more days than this.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(30..=36_500))]
    pub(super) older_than: u32,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The folder of the backup.
    pub(super) folder: PathBuf,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// From this day or moment on: 2026-11-26, or 2026-11-26T12:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = super::text::parse_date)]
    pub(super) since: Option<i64>,
    /// Before this day or moment.
    #[arg(long, value_name = "DATE", value_parser = super::text::parse_date)]
    pub(super) until: Option<i64>,
    #[command(flatten)]
    pub(super) data: Data,
}

/// A limit in bytes; `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota(pub(super) Option<u64>);

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
    use clap::Parser;
    use proptest::prelude::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        hub: Hub,
    }

    #[test]
    fn the_arguments_hold_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        use clap::CommandFactory;
        let command = Cli::command();
        for verb in command.get_subcommands() {
            let help = verb
                .get_long_about()
                .or(verb.get_about())
                .unwrap()
                .to_string();
            assert!(help.contains("Example: sinew hub"), "{}", verb.get_name());
        }
    }

    #[test]
    fn names_are_checked_before_anything_is_done() {
        assert!(Cli::try_parse_from(["hub", "pull", "no-name"]).is_err());
        assert!(Cli::try_parse_from(["hub", "gc", "--older-than", "29"]).is_err());
        let cli = Cli::try_parse_from(["hub", "push", "out", "a/b", "--type", "model"]).unwrap();
        let Verb::Push(push) = cli.hub.verb else {
            panic!()
        };
        assert_eq!(push.kind, Some(RepoType::Policy));
    }

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
