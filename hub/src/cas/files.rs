//! Files of the content-addressed store: which chunks of which xorbs make one.

use crate::db::Db;
use crate::error::{Error, Result};
use crate::repos::Repo;
use crate::xet::Hash;
use crate::xet::shard::Term;

/// Bytes of an encoded term: xorb, first chunk, end chunk, raw bytes.
const TERM: usize = 44;

/// Terms as they are stored.
pub(crate) fn encode_terms(terms: &[Term]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(terms.len() * TERM);
    for term in terms {
        bytes.extend(term.xorb.as_bytes());
        bytes.extend(term.start.to_le_bytes());
        bytes.extend(term.end.to_le_bytes());
        bytes.extend(term.raw_len.to_le_bytes());
    }
    bytes
}

/// Reads stored terms.
fn decode_terms(bytes: &[u8]) -> Option<Vec<Term>> {
    let (terms, rest) = bytes.as_chunks::<TERM>();
    if !rest.is_empty() {
        return None;
    }
    let number = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
    terms
        .iter()
        .map(|term| {
            Some(Term {
                xorb: Hash::from_bytes(term[..32].try_into().ok()?),
                start: number(&term[32..36])?,
                end: number(&term[36..40])?,
                raw_len: number(&term[40..44])?,
            })
        })
        .collect()
}

/// A file's terms in order; `None` when there is no such file.
pub(crate) async fn terms(db: &Db, file: &str) -> Result<Option<Vec<Term>>> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT terms FROM xet_files WHERE hash = $1")
        .bind(file.to_owned())
        .fetch_optional(db.pool())
        .await?;
    row.map(|row| {
        decode_terms(&row.0).ok_or_else(|| Error::Damaged(format!("the terms of file {file}")))
    })
    .transpose()
}

/// Whether a repository may hand a file out.
pub(crate) async fn is_in_repo(db: &Db, repo: &Repo, file: &str) -> Result<bool> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT o.sha256 FROM lfs_objects o JOIN repo_lfs r ON r.sha256 = o.sha256 WHERE o.xet = $1 AND r.repo = $2",
    )
    .bind(file.to_owned())
    .bind(repo.id.clone())
    .fetch_optional(db.pool())
    .await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn terms_round_trip(parts in prop::collection::vec(any::<([u8; 32], u32, u32, u32)>(), 0..9)) {
            let terms: Vec<Term> = parts
                .into_iter()
                .map(|(xorb, start, end, raw_len)| Term { xorb: Hash::from_bytes(xorb), start, end, raw_len })
                .collect();
            prop_assert_eq!(decode_terms(&encode_terms(&terms)), Some(terms));
        }

        #[test]
        fn damaged_terms_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_terms(&bytes);
        }
    }
}
