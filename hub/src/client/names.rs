//! What repositories are called, and how their parts are written in addresses.

use super::error::{ClientError, ClientResult};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::str::FromStr;

/// What may stand in a segment of an address as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// The same for a path, whose slashes stay.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// Text as one segment of an address, or as a value of its query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A path in an address.
pub(crate) fn path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// The kinds of repository that hubs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Policies and everything else that is trained, blueprints among them.
    Model,
    /// Data sets.
    Dataset,
    /// Demos.
    Space,
}

impl Kind {
    /// All of them, in the order in which a name is looked for.
    pub const ALL: [Self; 3] = [Self::Model, Self::Dataset, Self::Space];

    /// As in addresses of the API.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }

    /// As in requests.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    /// Before the name in addresses of files: nothing for models.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.singular())
    }
}

impl FromStr for Kind {
    type Err = ClientError;

    fn from_str(text: &str) -> ClientResult<Self> {
        let named = |kind: &Self| {
            text == kind.singular()
                || text == kind.plural()
                || text == "policy" && *kind == Self::Model
        };
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            ClientError::Usage(format!(
                "{text:?} is no type of repository; use dataset, policy (or model, which is the same), or space"
            ))
        })
    }
}

/// A repository's name as a person writes it: `org/name`, with its kind in front or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoName {
    /// Its kind, if it was said.
    pub kind: Option<Kind>,
    /// User or organisation.
    pub namespace: String,
    /// The rest.
    pub name: String,
}

impl RepoName {
    /// `namespace/name`.
    pub fn full(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.kind.map_or("", Kind::prefix);
        write!(f, "{prefix}{}/{}", self.namespace, self.name)
    }
}

impl FromStr for RepoName {
    type Err = ClientError;

    /// `org/name`, `datasets/org/name`, and both after `hub://` or `hf://`.
    fn from_str(text: &str) -> ClientResult<Self> {
        let bare = text
            .strip_prefix("hub://")
            .or_else(|| text.strip_prefix("hf://"));
        let bare = bare.unwrap_or(text).trim_end_matches('/');
        let wrong = || {
            let shown: String = text.chars().take(200).collect();
            ClientError::Usage(format!(
                "{shown:?} names no repository; write org/name, of a-z, A-Z, 0-9, '-', '_' and '.', such as robots/pick"
            ))
        };
        let (kind, rest) = match bare.split_once('/') {
            Some((first, rest)) if rest.contains('/') => {
                (Some(first.parse().map_err(|_| wrong())?), rest)
            }
            _ => (None, bare),
        };
        let (namespace, name) = rest.split_once('/').ok_or_else(wrong)?;
        if !is_part(namespace) || !is_part(name) {
            return Err(wrong());
        }
        Ok(Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Whether half a name is one. The rule is huggingface_hub's.
fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_edge = |c: char| matches!(c, '-' | '.');
    (1..=96).contains(&part.len())
        && part.chars().all(allowed)
        && !part.starts_with(is_edge)
        && !part.ends_with(is_edge)
        && !part.contains("--")
        && !part.contains("..")
        && !part.ends_with(".git")
}

/// A repository of known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoId {
    /// Its kind.
    pub kind: Kind,
    /// `namespace/name`.
    pub name: String,
}

impl RepoId {
    /// Where the API has it, below the hub's address.
    pub(crate) fn api(&self) -> String {
        format!("/api/{}/{}", self.kind.plural(), self.name)
    }

    /// Where its page and files are.
    pub(crate) fn web(&self) -> String {
        format!("/{}{}", self.kind.prefix(), self.name)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_with_and_without_their_kind() {
        for (text, kind, full) in [
            ("a/b", None, "a/b"),
            ("datasets/a/b", Some(Kind::Dataset), "a/b"),
            ("models/a/b", Some(Kind::Model), "a/b"),
            ("hub://a/b.v2", None, "a/b.v2"),
            ("hub://datasets/a/b/", Some(Kind::Dataset), "a/b"),
        ] {
            let name: RepoName = text.parse().unwrap();
            assert_eq!((name.kind, name.full().as_str()), (kind, full), "{text}");
        }
        for wrong in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/b c",
            "a/../b",
            "a/b.git",
            "-a/b",
            "http://a/b",
            "a//b",
        ] {
            assert!(wrong.parse::<RepoName>().is_err(), "{wrong:?}");
        }
        assert_eq!("policy".parse::<Kind>().unwrap(), Kind::Model);
    }

    proptest! {
        #[test]
        fn what_is_a_name_is_safe_in_addresses(text in ".{0,40}") {
            if let Ok(name) = text.parse::<RepoName>() {
                prop_assert_eq!(path(&name.full()), name.full());
            }
        }
    }
}
