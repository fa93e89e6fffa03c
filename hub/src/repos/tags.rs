//! Annotated tags: git's tag objects, kept beside the refs that lead to the tagged commits.

use super::Repo;
use super::names::is_commit_id;
use crate::db::Db;
use crate::error::{Error, Result};
use sqlx::{Any, Row, Transaction};
use std::collections::BTreeMap;

/// Bytes of a tag, signature and message included.
const MOST: usize = 64 * 1024;

/// A tag object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagObject {
    pub oid: String,
    /// Id of the commit that it is on.
    pub commit: String,
    pub raw: Vec<u8>,
}

/// Reads a tag object.
///
/// # Errors
/// When it is none, is too large, or is not on a commit.
pub(crate) fn parse(oid: &str, raw: Vec<u8>) -> Result<TagObject> {
    let bad = |problem: &str| Error::bad(format!("the tag {oid} {problem}"));
    if raw.len() > MOST {
        return Err(bad("is larger than 64 KiB"));
    }
    let mut lines = raw.split(|byte| *byte == b'\n');
    let mut field = |name: &str| -> Option<String> {
        let line = std::str::from_utf8(lines.next()?).ok()?;
        Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned())
    };
    let commit = field("object").filter(|oid| is_commit_id(oid));
    let commit = commit.ok_or_else(|| bad("names no object"))?;
    if field("type").as_deref() != Some("commit") {
        return Err(bad(
            "is on another tag or on a file; this hub keeps tags on commits",
        ));
    }
    Ok(TagObject {
        oid: oid.to_owned(),
        commit,
        raw,
    })
}

/// Bytes of tag objects of a repository, by their ids.
pub(crate) async fn read(
    db: &Db,
    repo: &Repo,
    oids: &[String],
) -> Result<BTreeMap<String, Vec<u8>>> {
    // Two refs may have the same.
    let head = "SELECT oid, raw FROM tag_objects WHERE repo = $1 AND oid IN";
    let rows = db.in_list(head, "", &[&repo.id], oids).await?;
    let mut found = BTreeMap::new();
    for row in rows {
        found.insert(row.try_get("oid")?, row.try_get("raw")?);
    }
    Ok(found)
}

/// The tag object that a ref has at the moment.
pub(crate) async fn at(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    name: &str,
) -> Result<Option<String>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT oid FROM tag_objects WHERE repo = $1 AND name = $2")
            .bind(repo.id.clone())
            .bind(name.to_owned())
            .fetch_optional(&mut **transaction)
            .await?;
    Ok(row.map(|row| row.0))
}

/// Gives a ref that is there another tag object, or none.
pub(crate) async fn set(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    name: &str,
    tag: Option<&TagObject>,
) -> Result<()> {
    sqlx::query("DELETE FROM tag_objects WHERE repo = $1 AND name = $2")
        .bind(repo.id.clone())
        .bind(name.to_owned())
        .execute(&mut **transaction)
        .await?;
    let Some(tag) = tag else {
        return Ok(());
    };
    sqlx::query("INSERT INTO tag_objects (repo, name, oid, raw) VALUES ($1, $2, $3, $4)")
        .bind(repo.id.clone())
        .bind(name.to_owned())
        .bind(tag.oid.clone())
        .bind(tag.raw.clone())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_on_a_commit_is_read_and_no_other() {
        let commit = "a".repeat(40);
        let raw =
            format!("object {commit}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nWords\n");
        let tag = parse("1", raw.clone().into_bytes()).unwrap();
        assert_eq!((tag.commit, tag.raw), (commit.clone(), raw.into_bytes()));
        let nested = format!("object {commit}\ntype tag\ntag v2\n\n");
        let error = parse("1", nested.into_bytes()).unwrap_err().to_string();
        assert!(error.contains("tags on commits"), "{error}");
        let long = [
            format!("object {commit}\ntype commit\n").as_bytes(),
            &[b'x'; MOST],
        ]
        .concat();
        let error = parse("1", long).unwrap_err().to_string();
        assert!(error.contains("64 KiB"), "{error}");
    }

    proptest! {
        #[test]
        fn no_tag_panics(raw in prop::collection::vec(any::<u8>(), 0..200), text in "(object|type|tag| |\n|[0-9a-f]{40}|commit){0,12}") {
            let _ = parse("1", raw);
            let _ = parse("1", text.into_bytes());
        }
    }
}
