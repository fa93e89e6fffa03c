//! Arguments of `sinew hub`: here what users say, in `operators.rs` what is said on the hub's own machine.

mod operators;

pub(super) use operators::{
    Audit, Backup, Common, Data, Fsck, Gc, MemberRole, Org, OrgVerb, Quota, Serve, Stats, Token,
    TokenVerb, User, UserVerb,
};

use crate::client::{Choice, Kind, RepoName};
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

/// Which files.
#[derive(Debug, Clone, Args)]
pub(super) struct Files {
    /// Only files whose paths are like this: `*` stands for anything, also slashes, `data/` for all in it; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(super) include: Vec<String>,
    /// Not files whose paths are like this; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub(super) exclude: Vec<String>,
}

impl Files {
    pub(super) fn choice(&self) -> Choice {
        Choice {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }
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
    /// Also delete the repository's files that the folder does not have, of those that --include and --exclude mean.
    #[arg(long)]
    pub(super) delete: bool,
    /// Open a pull request with the changes instead of changing the branch.
    #[arg(long, conflicts_with = "revision")]
    pub(super) create_pr: bool,
    #[command(flatten)]
    pub(super) files: Files,
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
    pub(super) files: Files,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

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
}
