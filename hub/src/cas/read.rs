//! Reading a file back: the terms of a range become pieces of xorbs, read and unpacked a few ahead.

use super::xorbs::Tables;
use crate::error::{Error, Result};
use crate::objects::{ByteStream, Objects, xorb_key};
use crate::xet::XetError;
use crate::xet::shard::Term;
use crate::xet::xorb::{Unpacker, XorbTable};
use bytes::Bytes;
use futures_util::StreamExt;
use std::ops::Range;

/// Raw bytes that a piece has at most, unless one chunk is larger.
const PIECE: u64 = 1024 * 1024;
/// Pieces that are read ahead.
const AHEAD: usize = 3;

/// Consecutive chunks of a xorb, and what of their bytes is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    key: String,
    /// Packed bytes in the xorb.
    packed: Range<u64>,
    /// Within the raw bytes of these chunks.
    wanted: Range<usize>,
}

/// Streams `range` of a file that consists of `terms`. The range has to lie in the file.
pub(crate) async fn stream(
    tables: &Tables,
    objects: &Objects,
    terms: &[Term],
    range: Range<u64>,
) -> Result<ByteStream> {
    let pieces = plan(tables, terms, range).await?;
    let objects = objects.clone();
    let read = move |piece: Piece| {
        let objects = objects.clone();
        async move {
            read_piece(&objects, piece)
                .await
                .map_err(std::io::Error::other)
        }
    };
    Ok(futures_util::stream::iter(pieces)
        .map(read)
        .buffered(AHEAD)
        .boxed())
}

async fn plan(tables: &Tables, terms: &[Term], range: Range<u64>) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for term in terms {
        let end = start + u64::from(term.raw_len);
        if end > range.start && start < range.end {
            let table = tables.get(&term.xorb).await?.ok_or_else(|| damaged(term))?;
            // In the raw bytes of the term.
            let wanted = range.start.max(start) - start..range.end.min(end) - start;
            plan_term(term, &table, wanted, &mut pieces).ok_or_else(|| damaged(term))?;
        }
        start = end;
    }
    Ok(pieces)
}

fn damaged(term: &Term) -> Error {
    Error::Damaged(format!(
        "xorb {} is missing or has no chunks {}..{}; run fsck",
        term.xorb, term.start, term.end
    ))
}

/// Cuts the wanted bytes of a term into pieces; `None` when the term does not fit the xorb.
fn plan_term(
    term: &Term,
    table: &XorbTable,
    wanted: Range<u64>,
    pieces: &mut Vec<Piece>,
) -> Option<()> {
    let lens: Vec<u64> = table.chunks(term.chunks())?.map(|chunk| chunk.1).collect();
    let key = xorb_key(&term.xorb.to_string());
    let (mut first, mut piece_start, mut here) = (term.start, 0, 0);
    for (index, len) in (term.start..).zip(&lens) {
        here += len;
        let is_last = index + 1 == term.end || here >= wanted.end;
        if here <= wanted.start {
            (first, piece_start) = (index + 1, here);
        } else if is_last || here - piece_start >= PIECE {
            let from = wanted.start.max(piece_start) - piece_start;
            let to = wanted.end.min(here) - piece_start;
            pieces.push(Piece {
                key: key.clone(),
                packed: table.packed_range(first..index + 1)?,
                wanted: usize::try_from(from).ok()?..usize::try_from(to).ok()?,
            });
            (first, piece_start) = (index + 1, here);
        }
        if is_last {
            break;
        }
    }
    Some(())
}

async fn read_piece(objects: &Objects, piece: Piece) -> Result<Bytes> {
    let Piece {
        key,
        packed,
        wanted,
    } = piece;
    let raw = objects.read_with(&key, packed, unpack).await?;
    let raw = raw.map_err(|error| Error::Damaged(format!("{key}: {error}; run fsck")))?;
    if raw.len() < wanted.end {
        return Err(Error::Damaged(format!(
            "{key} is shorter than its table says"
        )));
    }
    Ok(Bytes::from(raw).slice(wanted))
}

fn unpack(packed: &[u8]) -> std::result::Result<Vec<u8>, XetError> {
    let mut raw = Vec::with_capacity(packed.len());
    let mut unpacker = Unpacker::new();
    unpacker.push(packed, |_, chunk| {
        raw.extend_from_slice(chunk);
        Ok::<(), XetError>(())
    })?;
    unpacker.finish()?;
    Ok(raw)
}
