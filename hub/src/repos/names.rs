//! What things may be called: repositories, paths in them, branches and tags.

use crate::error::{Error, Result};
use std::fmt;

/// The kinds of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Policies and everything else that is trained, blueprints among them.
    Model,
    /// Data sets.
    Dataset,
    /// Demos.
    Space,
    /// Compute kernels.
    Kernel,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Model, Self::Dataset, Self::Space, Self::Kernel];

    /// As in API paths and in the database.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
            Self::Kernel => "kernels",
        }
    }

    /// As in request bodies.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
            Self::Kernel => "kernel",
        }
    }

    /// Before the name in addresses of files: nothing for models.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
            Self::Kernel => "kernels/",
        }
    }

    /// By either of its names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.plural() == text || kind.singular() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.singular())
    }
}

/// First parts of addresses that mean something else.
const RESERVED: [&str; 24] = [
    "api",
    "datasets",
    "spaces",
    "kernels",
    "models",
    "buckets",
    "oauth",
    "login",
    "logout",
    "join",
    "settings",
    "xet",
    "lfs",
    "cas",
    "docs",
    "organizations",
    "new",
    "static",
    "assets",
    "v1",
    "v2",
    "me",
    "git",
    ".well-known",
];

/// Checks the name of a user or an organisation.
///
/// # Errors
/// When no client could use it in an address.
pub(crate) fn check_account_name(name: &str) -> Result<()> {
    check_part("account", name)?;
    if RESERVED.contains(&name.to_lowercase().as_str()) {
        return Err(Error::bad(format!(
            "the name {name:?} is reserved; choose another"
        )));
    }
    Ok(())
}

/// Checks the second part of a repository's name.
///
/// # Errors
/// As [`check_account_name`].
pub(crate) fn check_repo_name(name: &str) -> Result<()> {
    check_part("repository", name)
}

/// One part of `namespace/name`. The rule is the clients' own.
fn check_part(what: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| matches!(c, '-' | '.');
    let is_fine = (1..=96).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(edge)
        && !name.ends_with(edge)
        && !name.contains("--")
        && !name.contains("..")
        && !name.ends_with(".git");
    if is_fine {
        return Ok(());
    }
    Err(Error::bad(format!(
        "{name:?} cannot name a {what}: use 1 to 96 of a-z, A-Z, 0-9, '-', '_' and '.', not '-' or '.' at either end, no '--', no '..', and no '.git' at the end"
    )))
}

/// Checks a file's or folder's path in a repository.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let problem = crate::paths::problem(path);
    problem.map_or(Ok(()), |problem| {
        let shown: String = path.chars().take(200).collect();
        Err(Error::bad(format!("the path {shown:?} {problem}")))
    })
}

/// Checks the name of a branch or tag, without `refs/…`. The rule is git's (`check-ref-format`).
pub(crate) fn check_ref_name(name: &str) -> Result<()> {
    let bad_char =
        |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let bad_part = |part: &str| {
        part.is_empty() || part.starts_with('.') || part.ends_with(".lock") || part.ends_with('.')
    };
    let is_bad = name.is_empty()
        || name.len() > 200
        || name.chars().any(bad_char)
        || name.contains("..")
        || name.contains("@{")
        || name == "@"
        || name.starts_with('-')
        || name.split('/').any(bad_part);
    if is_bad {
        let shown: String = name.chars().take(200).collect();
        return Err(Error::bad(format!("{shown:?} cannot name a branch or tag")));
    }
    Ok(())
}

/// How names are compared: two that differ only in case are the same.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// A digest in hex: 64 lower-case digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A commit's id: 40 lower-case hex digits.
pub(crate) fn is_commit_id(text: &str) -> bool {
    text.len() == 40
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a\0b",
            "a\\b",
            ".git/config",
            "A/.GIT",
            "x/.git./y",
            "nul",
            "COM1.txt",
            "a\nb",
            "x/\u{202e}y",
            ".git\u{200b}",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"a".repeat(256)).is_err());
        assert!(check_path(&"a/".repeat(600)).is_err());
    }

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            ".gitattributes",
            "data/chunk-000/file-000.parquet",
            "é/ü.txt",
            "null",
            "a b",
            "command",
        ] {
            assert!(check_path(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn names_follow_the_clients_rule() {
        for name in [
            "",
            "a--b",
            "a..b",
            "-a",
            "a.",
            "a/b",
            "a.git",
            &"a".repeat(97),
        ] {
            assert!(check_repo_name(name).is_err(), "{name:?}");
        }
        assert!(check_repo_name("so101_pick.v2-x").is_ok());
        assert!(check_account_name("API").is_err());
    }

    #[test]
    fn ref_names_follow_gits_rule() {
        for name in [
            "", "a..b", "a b", "/a", "a/", ".a", "a.lock", "a@{b", "-x", "a\\b",
        ] {
            assert!(check_ref_name(name).is_err(), "{name:?}");
        }
        assert!(check_ref_name("v3.0").is_ok());
        assert!(check_ref_name("feature/x").is_ok());
    }
}
