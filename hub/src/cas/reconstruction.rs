//! What clients need to put a file together by themselves: which chunks of which xorbs, and addresses of the
//! packed bytes. Answers: `/v1` and `/v2/reconstructions` of Xet's protocol.

use super::xorbs::Tables;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::xet::Hash;
use crate::xet::shard::Term;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

/// The part of a file that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Bytes of the first term that come before the part.
    pub skip: u64,
    pub terms: Vec<Term>,
    /// Per xorb the ranges of chunks, disjoint and in order, each with its packed bytes.
    pub xorbs: BTreeMap<Hash, Vec<(Range<u32>, Range<u64>)>>,
}

/// Finds the terms of a range, cut down to the chunks that are needed.
pub(crate) async fn part(db: &Db, terms: &[Term], range: Range<u64>) -> Result<Part> {
    let mut tables = Tables::new(db);
    let mut part = Part::default();
    let mut start = 0;
    for term in terms {
        let end = start + u64::from(term.raw_len);
        if end > range.start && start < range.end {
            let table = tables.get(&term.xorb).await?;
            let table = table.ok_or_else(|| damaged(term))?;
            let chunks = table.chunks(term.chunks()).ok_or_else(|| damaged(term))?;
            let lens: Vec<u64> = chunks.map(|chunk| chunk.1).collect();
            let (cut, skip) = cut(term, &lens, start, &range);
            if part.terms.is_empty() {
                part.skip = skip;
            }
            part.xorbs
                .entry(cut.xorb)
                .or_default()
                .push((cut.chunks(), 0..0));
            part.terms.push(cut);
        }
        start = end;
    }
    for (hash, ranges) in &mut part.xorbs {
        let table = tables.get(hash).await?;
        merge(ranges);
        for (chunks, packed) in ranges {
            let found = table.as_ref().and_then(|table| table.packed_range(chunks.clone()));
            *packed = found.ok_or_else(|| Error::Damaged(format!("xorb {hash}; run fsck")))?;
        }
    }
    Ok(part)
}

fn damaged(term: &Term) -> Error {
    Error::Damaged(format!("xorb {} is missing or too short; run fsck", term.xorb))
}

/// A term without the chunks outside the range, and how many of its bytes come before the range.
fn cut(term: &Term, lens: &[u64], term_start: u64, range: &Range<u64>) -> (Term, u64) {
    let mut here = term_start;
    let mut cut = Term { end: term.start, raw_len: 0, ..*term };
    let mut cut_start = None;
    for (index, len) in (term.start..).zip(lens) {
        let end = here + len;
        if end > range.start && here < range.end {
            if cut_start.is_none() {
                cut.start = index;
                cut_start = Some(here);
            }
            cut.end = index + 1;
            // At most the term's own size, which is a u32.
            cut.raw_len += u32::try_from(*len).unwrap_or(0);
        }
        here = end;
    }
    let skip = range.start.saturating_sub(cut_start.unwrap_or(term_start));
    (cut, skip)
}

/// Joins ranges that overlap or touch.
fn merge(ranges: &mut Vec<(Range<u32>, Range<u64>)>) {
    ranges.sort_by_key(|range| (range.0.start, range.0.end));
    let mut merged: Vec<(Range<u32>, Range<u64>)> = Vec::new();
    for (range, packed) in ranges.drain(..) {
        match merged.last_mut() {
            Some((last, _)) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push((range, packed)),
        }
    }
    *ranges = merged;
}

fn chunks_json(range: &Range<u32>) -> Value {
    json!({"start": range.start, "end": range.end})
}

/// Ends of byte ranges are inclusive, as in HTTP.
fn bytes_json(range: &Range<u64>) -> Value {
    json!({"start": range.start, "end": range.end.saturating_sub(1)})
}

fn terms_json(part: &Part) -> Value {
    part.terms
        .iter()
        .map(|term| {
            json!({
                "hash": term.xorb.to_string(),
                "unpacked_length": term.raw_len,
                "range": chunks_json(&term.chunks()),
            })
        })
        .collect()
}

/// The answer of `/v1`. `url` makes the address at which a byte range of a xorb can be had.
pub(crate) fn v1(part: &Part, url: impl Fn(&Hash, &Range<u64>) -> String) -> Value {
    let mut fetch = Map::new();
    for (hash, ranges) in &part.xorbs {
        let list = ranges.iter().map(|(chunks, bytes)| {
            json!({
                "range": chunks_json(chunks),
                "url": url(hash, bytes),
                "url_range": bytes_json(bytes),
            })
        });
        fetch.insert(hash.to_string(), list.collect());
    }
    json!({"offset_into_first_range": part.skip, "terms": terms_json(part), "fetch_info": fetch})
}

/// The answer of `/v2`.
pub(crate) fn v2(part: &Part, url: impl Fn(&Hash, &Range<u64>) -> String) -> Value {
    let mut xorbs = Map::new();
    for (hash, ranges) in &part.xorbs {
        // One range an address: otherwise a client may ask for several at once, which not every store serves.
        let list = ranges.iter().map(|(chunks, bytes)| {
            json!({
                "url": url(hash, bytes),
                "ranges": [{"chunks": chunks_json(chunks), "bytes": bytes_json(bytes)}],
            })
        });
        xorbs.insert(hash.to_string(), list.collect());
    }
    json!({"offset_into_first_range": part.skip, "terms": terms_json(part), "xorbs": xorbs})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges = vec![(5..7, 0..0), (0..2, 0..0), (1..3, 0..0), (3..4, 0..0)];
        merge(&mut ranges);
        let chunks: Vec<Range<u32>> = ranges.into_iter().map(|range| range.0).collect();
        assert_eq!(chunks, [0..4, 5..7]);
    }

    #[test]
    fn a_term_is_cut_to_the_chunks_that_are_asked_for() {
        let term = Term { xorb: Hash::ZERO, raw_len: 40, start: 3, end: 7 };
        let (cut, skip) = cut(&term, &[10; 4], 100, &(115..126));
        assert_eq!((cut.start, cut.end, cut.raw_len, skip), (4, 6, 20, 5));
        let (cut, skip) = super::cut(&term, &[10; 4], 100, &(0..500));
        assert_eq!((cut.start, cut.end, cut.raw_len, skip), (3, 7, 40, 0));
    }
}
