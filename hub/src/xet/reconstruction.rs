//! From a file's terms and a range of its bytes to what a client must fetch.
//!
//! Terms are cut to the chunks that the range touches. For each xorb, what its terms need is merged into
//! as few ranges of packed bytes as possible. `V1` and `V2` are the two shapes in which servers answer.

use super::error::{XetError, XetResult};
use super::hash::Hash;
use super::shard::Term;
use super::xorb::XorbTable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A range in an answer. Of chunks, the end is the one after the last; of bytes, the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span<T> {
    /// First.
    pub start: T,
    /// See [`Span`].
    pub end: T,
}

/// A part of the file, as an answer says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerTerm {
    /// The xorb.
    pub hash: Hash,
    /// Raw bytes of the chunks.
    pub unpacked_length: u32,
    /// The chunks.
    pub range: Span<u32>,
}

/// One fetch of the first shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchV1 {
    /// The chunks that come of it.
    pub range: Span<u32>,
    /// Where to fetch.
    pub url: String,
    /// Which bytes to ask for there.
    pub url_range: Span<u64>,
}

/// The answer of `/v1/reconstructions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1 {
    /// Bytes of the first term that lie before the range asked for.
    pub offset_into_first_range: u64,
    /// The file's parts in order.
    pub terms: Vec<AnswerTerm>,
    /// For each xorb what to fetch.
    pub fetch_info: BTreeMap<Hash, Vec<FetchV1>>,
}

/// A range of a xorb in the second shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct XorbSpan {
    /// The chunks that come of it.
    pub chunks: Span<u32>,
    /// The bytes to ask for.
    pub bytes: Span<u64>,
}

/// One address of the second shape, good for several ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchV2 {
    /// Where to fetch.
    pub url: String,
    /// What can be asked for there, by first chunk.
    pub ranges: Vec<XorbSpan>,
}

/// The answer of `/v2/reconstructions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2 {
    /// Bytes of the first term that lie before the range asked for.
    pub offset_into_first_range: u64,
    /// The file's parts in order.
    pub terms: Vec<AnswerTerm>,
    /// For each xorb what to fetch.
    pub xorbs: BTreeMap<Hash, Vec<FetchV2>>,
}

/// What to fetch for a range of a file, before any addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconstruction {
    /// Bytes of the first term that lie before the range asked for.
    pub offset: u64,
    /// The file's parts in order.
    pub terms: Vec<AnswerTerm>,
    /// For each xorb what to fetch, by first chunk, apart from each other.
    pub xorbs: BTreeMap<Hash, Vec<XorbSpan>>,
}

/// Which terms a range of bytes touches, so that only the tables of their xorbs need be looked up.
///
/// # Errors
/// If the range is empty or begins beyond the file's end. An end beyond it is taken for the end.
pub fn touched(terms: &[Term], range: &Range<u64>) -> XetResult<Range<usize>> {
    let (first, last) = (range.start, range.end);
    let mut start = 0_u64;
    let mut indices = None;
    for (i, term) in terms.iter().enumerate() {
        let end = start + u64::from(term.raw_len);
        if first < last && end > first && start < last {
            let from = indices.map_or(i, |known: Range<usize>| known.start);
            indices = Some(from..i + 1);
        }
        start = end;
    }
    // An empty file has one range, the whole of it.
    match indices {
        Some(indices) => Ok(indices),
        None if terms.is_empty() && first == 0 => Ok(0..0),
        None => Err(XetError::Range {
            start: first,
            size: start,
        }),
    }
}

impl Reconstruction {
    /// What to fetch for the bytes in `range` of the file `file`, whose parts `terms` are. The whole file is
    /// `0..u64::MAX`.
    ///
    /// # Errors
    /// If the range is empty or begins beyond the file's end, or the terms do not fit the tables.
    pub fn plan<'t>(
        file: &Hash,
        terms: &[Term],
        range: Range<u64>,
        mut table_of: impl FnMut(&Hash) -> Option<&'t XorbTable>,
    ) -> XetResult<Self> {
        let indices = touched(terms, &range)?;
        let skipped = terms.iter().take(indices.start);
        let mut at: u64 = skipped.map(|term| u64::from(term.raw_len)).sum();
        let mut plan = Self {
            offset: 0,
            terms: Vec::with_capacity(indices.len()),
            xorbs: BTreeMap::new(),
        };
        for term in terms.get(indices).unwrap_or_default() {
            let end = at + u64::from(term.raw_len);
            let wanted = range.start.max(at) - at..range.end.min(end) - at;
            let unfit = || {
                XetError::file(
                    *file,
                    format!("xorb {} does not fit it; run fsck", term.xorb),
                )
            };
            let table = table_of(&term.xorb).ok_or_else(unfit)?;
            let (cut, before) = cut(term, table, &wanted).ok_or_else(unfit)?;
            let bytes = table
                .packed_range(cut.range.start..cut.range.end)
                .ok_or_else(unfit)?;
            if plan.terms.is_empty() {
                plan.offset = wanted.start - before;
            }
            plan.terms.push(cut);
            let span = XorbSpan {
                chunks: cut.range,
                bytes: Span {
                    start: bytes.start,
                    end: bytes.end - 1,
                },
            };
            plan.xorbs.entry(term.xorb).or_default().push(span);
            at = end;
        }
        plan.xorbs.values_mut().for_each(merge);
        Ok(plan)
    }

    /// The first shape. `url` gives the address for a xorb and the bytes to be asked for there.
    pub fn into_v1(self, mut url: impl FnMut(&Hash, &Span<u64>) -> String) -> V1 {
        let fetch = |(hash, spans): (Hash, Vec<XorbSpan>)| {
            let fetches = spans.iter().map(|span| FetchV1 {
                range: span.chunks,
                url: url(&hash, &span.bytes),
                url_range: span.bytes,
            });
            (hash, fetches.collect())
        };
        V1 {
            offset_into_first_range: self.offset,
            fetch_info: self.xorbs.into_iter().map(fetch).collect(),
            terms: self.terms,
        }
    }

    /// The second shape, with at most `most` ranges an address. `url` gives the address for a xorb and the
    /// ranges that may be asked for there.
    pub fn into_v2(self, most: usize, mut url: impl FnMut(&Hash, &[XorbSpan]) -> String) -> V2 {
        let fetch = |(hash, spans): (Hash, Vec<XorbSpan>)| {
            let fetches = spans.chunks(most.max(1)).map(|ranges| FetchV2 {
                url: url(&hash, ranges),
                ranges: ranges.to_vec(),
            });
            (hash, fetches.collect())
        };
        V2 {
            offset_into_first_range: self.offset,
            xorbs: self.xorbs.into_iter().map(fetch).collect(),
            terms: self.terms,
        }
    }
}

impl From<V1> for V2 {
    fn from(v1: V1) -> Self {
        let fetch = |fetch: FetchV1| FetchV2 {
            url: fetch.url,
            ranges: vec![XorbSpan {
                chunks: fetch.range,
                bytes: fetch.url_range,
            }],
        };
        let xorbs = v1.fetch_info.into_iter();
        Self {
            offset_into_first_range: v1.offset_into_first_range,
            terms: v1.terms,
            xorbs: xorbs
                .map(|(hash, all)| (hash, all.into_iter().map(fetch).collect()))
                .collect(),
        }
    }
}

/// The chunks of a term that `wanted`, which are bytes of the term, touches; and how many bytes of the term
/// come before them.
fn cut(term: &Term, table: &XorbTable, wanted: &Range<u64>) -> Option<(AnswerTerm, u64)> {
    let (mut start, mut before, mut len) = (term.start, 0, 0);
    let mut end = term.start;
    for (_, size) in table.chunks(term.chunks())? {
        let at = before + len;
        if at >= wanted.end {
            break;
        }
        if at + size <= wanted.start {
            start += 1;
            before += size;
        } else {
            len += size;
        }
        end += 1;
    }
    let range = Span { start, end };
    let unpacked_length = u32::try_from(len).ok().filter(|len| *len > 0)?;
    let hash = term.xorb;
    Some((
        AnswerTerm {
            hash,
            unpacked_length,
            range,
        },
        before,
    ))
}

/// Sorts the spans of a xorb and joins those that touch or overlap.
fn merge(spans: &mut Vec<XorbSpan>) {
    spans.sort_by_key(|span| span.chunks);
    spans.dedup_by(|next, kept| {
        let joins = next.chunks.start <= kept.chunks.end;
        if joins && next.chunks.end > kept.chunks.end {
            kept.chunks.end = next.chunks.end;
            kept.bytes.end = next.bytes.end;
        }
        joins
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xet::chunk_hash;
    use crate::xet::xorb::{Unpacker, Xorb, XorbBuilder};
    use proptest::prelude::*;

    fn xorb(seed: u8, chunks: usize) -> Xorb {
        let mut builder = XorbBuilder::default();
        for i in 0..chunks {
            let chunk: Vec<u8> = (0..=i).map(|j| seed.wrapping_add((i * j) as u8)).collect();
            builder.push(chunk_hash(&chunk), &chunk).unwrap();
        }
        builder.finish().unwrap()
    }

    fn term(xorb: &Xorb, start: u32, end: u32) -> Term {
        let raw = xorb.table.raw_range(start..end).unwrap();
        Term {
            xorb: xorb.hash,
            raw_len: (raw.end - raw.start) as u32,
            start,
            end,
        }
    }

    /// Fetches and joins as a client does.
    fn assemble(plan: &Reconstruction, xorbs: &[Xorb]) -> Vec<u8> {
        let mut out = Vec::new();
        for term in &plan.terms {
            let xorb = xorbs.iter().find(|xorb| xorb.hash == term.hash).unwrap();
            let spans = plan.xorbs[&term.hash].iter();
            let span = spans
                .clone()
                .find(|s| s.chunks.start <= term.range.start && term.range.end <= s.chunks.end);
            let span = span.unwrap();
            let packed = &xorb.packed[span.bytes.start as usize..=span.bytes.end as usize];
            let mut chunk = span.chunks.start;
            let before = out.len();
            Unpacker::new()
                .push(packed, |_, raw| {
                    if (term.range.start..term.range.end).contains(&chunk) {
                        out.extend_from_slice(raw);
                    }
                    chunk += 1;
                    Ok::<_, XetError>(())
                })
                .unwrap();
            assert_eq!(chunk, span.chunks.end);
            assert_eq!(out.len() - before, term.unpacked_length as usize);
        }
        out
    }

    fn plan(terms: &[Term], range: Range<u64>, xorbs: &[Xorb]) -> XetResult<Reconstruction> {
        let table = |hash: &Hash| {
            xorbs
                .iter()
                .find(|xorb| xorb.hash == *hash)
                .map(|xorb| &xorb.table)
        };
        Reconstruction::plan(&Hash::ZERO, terms, range, table)
    }

    #[test]
    fn neighbouring_terms_are_fetched_together() {
        let xorb = xorb(1, 10);
        let terms = [term(&xorb, 0, 3), term(&xorb, 6, 8), term(&xorb, 2, 4)];
        let plan = plan(&terms, 0..u64::MAX, std::slice::from_ref(&xorb)).unwrap();
        let chunks: Vec<_> = plan.xorbs[&xorb.hash]
            .iter()
            .map(|s| (s.chunks.start, s.chunks.end))
            .collect();
        assert_eq!(chunks, [(0, 4), (6, 8)]);
        assert_eq!(plan.terms.len(), 3);
    }

    #[test]
    fn a_range_beyond_the_end_is_refused_and_an_end_beyond_it_is_not() {
        let xorb = xorb(1, 4);
        let terms = [term(&xorb, 0, 4)];
        let plan = |range| plan(&terms, range, std::slice::from_ref(&xorb));
        assert_eq!(
            plan(10..11),
            Err(XetError::Range {
                start: 10,
                size: 10
            })
        );
        assert!(plan(3..3).is_err());
        assert_eq!(
            plan(9..100).unwrap().terms[0].range,
            Span { start: 3, end: 4 }
        );
    }

    #[test]
    fn an_empty_file_has_nothing_to_fetch() {
        let plan = plan(&[], 0..u64::MAX, &[]).unwrap();
        assert_eq!(assemble(&plan, &[]), b"");
        assert!(super::touched(&[], &(1..2)).is_err());
    }

    #[test]
    fn answers_are_spelled_as_clients_expect() {
        let xorb = xorb(1, 3);
        let hash = xorb.hash;
        let plan = plan(&[term(&xorb, 1, 3)], 1..4, &[xorb]).unwrap();
        let v2 = plan
            .clone()
            .into_v2(9, |_, spans| format!("http://x/{}", spans.len()));
        let expected = format!(
            r#"{{"offset_into_first_range":1,"terms":[{{"hash":"{hash}","unpacked_length":5,"range":{{"start":1,"end":3}}}}],"xorbs":{{"{hash}":[{{"url":"http://x/1","ranges":[{{"chunks":{{"start":1,"end":3}},"bytes":{{"start":9,"end":29}}}}]}}]}}}}"#
        );
        assert_eq!(serde_json::to_string(&v2).unwrap(), expected);
        assert_eq!(serde_json::from_str::<V2>(&expected).unwrap(), v2);
        let v1 = plan.into_v1(|_, bytes| format!("http://x/{}", bytes.end));
        let expected = format!(
            r#"{{"offset_into_first_range":1,"terms":[{{"hash":"{hash}","unpacked_length":5,"range":{{"start":1,"end":3}}}}],"fetch_info":{{"{hash}":[{{"range":{{"start":1,"end":3}},"url":"http://x/29","url_range":{{"start":9,"end":29}}}}]}}}}"#
        );
        assert_eq!(serde_json::to_string(&v1).unwrap(), expected);
        assert_eq!(
            V2::from(v1).xorbs[&hash][0].ranges,
            v2.xorbs[&hash][0].ranges
        );
    }

    proptest! {
        #[test]
        fn what_is_fetched_makes_the_range(
            picks in prop::collection::vec((0_usize..3, 0_u32..20, 1_u32..20), 1..12),
            from: prop::sample::Index, len in 1_u64..900,
        ) {
            let xorbs = [xorb(1, 20), xorb(50, 20), xorb(99, 20)];
            let terms: Vec<_> = picks.iter().map(|(x, start, n)| term(&xorbs[*x], *start, (start + n).min(20))).collect();
            let whole = assemble(&plan(&terms, 0..u64::MAX, &xorbs).unwrap(), &xorbs);
            prop_assert_eq!(whole.len() as u64, terms.iter().map(|t| u64::from(t.raw_len)).sum::<u64>());
            let from = from.index(whole.len());
            let to = (from as u64 + len).min(whole.len() as u64);
            let part = plan(&terms, from as u64..from as u64 + len, &xorbs).unwrap();
            let got = assemble(&part, &xorbs);
            let offset = part.offset as usize;
            prop_assert_eq!(&got[offset..offset + to as usize - from], &whole[from..to as usize]);
            // Nothing is fetched that the range does not touch.
            let first = part.terms[0].range.start..part.terms[0].range.start + 1;
            let table = &xorbs.iter().find(|x| x.hash == part.terms[0].hash).unwrap().table;
            prop_assert!(part.offset < u64::from(table.chunk_len(first.start as usize).unwrap()));
        }
    }
}
