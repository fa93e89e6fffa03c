//! Pushed commits, read as git has them.

use super::pack::Id;
use crate::db::from_hex;
use crate::error::{Error, Result};
use crate::limits;
use crate::repos::names::is_commit_id;

/// Bytes of a commit, signatures included.
const MOST: usize = 1024 * 1024;
/// Parents of one commit.
const PARENTS: usize = 64;
/// The year 10000, seconds since 1970: dates in answers have four digits.
const LATEST_S: i64 = 253_402_300_800;

/// A commit of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushedCommit {
    pub oid: String,
    pub tree: Id,
    pub parents: Vec<String>,
    pub author: String,
    pub title: String,
    pub message: String,
    pub date_s: i64,
    pub raw: Vec<u8>,
}

/// Reads a commit.
///
/// # Errors
/// When it is none, or has more than databases and listings can show.
pub(super) fn parse(id: &Id, raw: Vec<u8>) -> Result<PushedCommit> {
    let oid = hex::encode(id);
    let bad = |problem: &str| Error::bad(format!("the commit {oid} {problem}"));
    if raw.len() > MOST {
        return Err(bad("is larger than 1 MiB"));
    }
    if raw.contains(&0) {
        return Err(bad("has a zero byte in it"));
    }
    let text = String::from_utf8_lossy(&raw);
    let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let tree = lines
        .next()
        .and_then(|line| line.strip_prefix("tree "))
        .filter(|oid| is_commit_id(oid));
    let tree = tree
        .and_then(from_hex)
        .and_then(|bytes| Id::try_from(bytes).ok());
    let tree = tree.ok_or_else(|| bad("names no tree"))?;
    let mut parents = Vec::new();
    let (mut author, mut date_s) = (None, None);
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "parent" if author.is_none() => parents.push(rest.to_owned()),
            "author" if author.is_none() => author = Some(name_of(rest)),
            "committer" if date_s.is_none() => date_s = date_of(rest),
            _ => {}
        }
    }
    if parents.len() > PARENTS || parents.iter().any(|parent| !is_commit_id(parent)) {
        return Err(bad("has parents that cannot be"));
    }
    let author = author.ok_or_else(|| bad("has no author"))?;
    let date_s = date_s.ok_or_else(|| bad("has no date, or one that cannot be"))?;
    let message: String = message.trim_end().chars().take(limits::MESSAGE).collect();
    Ok(PushedCommit {
        tree,
        parents,
        author,
        title: message
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(500)
            .collect(),
        message,
        date_s,
        raw,
        oid,
    })
}

/// `Name <mail> 1700000000 +0100`: the name.
fn name_of(text: &str) -> String {
    let name = text.split('<').next().unwrap_or_default().trim();
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name
    }
}

fn date_of(text: &str) -> Option<i64> {
    let mut words = text.rsplit(' ');
    words.next()?;
    words
        .next()?
        .parse()
        .ok()
        .filter(|date| (0..LATEST_S).contains(date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_merge_is_read() {
        let (a, b, t) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let raw = format!(
            "tree {t}\nparent {a}\nparent {b}\nauthor An Author <a@b> 1 +0000\ncommitter C <c@d> 1700000000 +0100\n\
             gpgsig -----BEGIN\n parent x\n\nMerge\n\nWhy.\n"
        );
        let commit = parse(&[1; 20], raw.into_bytes()).unwrap();
        assert_eq!(commit.parents, [a, b]);
        assert_eq!(
            (commit.author.as_str(), commit.title.as_str()),
            ("An Author", "Merge")
        );
        assert_eq!(
            (commit.message.as_str(), commit.date_s),
            ("Merge\n\nWhy.", 1_700_000_000)
        );
    }

    proptest! {
        #[test]
        fn no_commit_panics(raw in prop::collection::vec(any::<u8>(), 0..200), tail in "(author|committer|parent)[ -~\n]{0,90}") {
            let head = format!("tree {}\n{tail}", "0".repeat(40));
            let _ = parse(&[0; 20], raw);
            let _ = parse(&[0; 20], head.into_bytes());
        }
    }
}
