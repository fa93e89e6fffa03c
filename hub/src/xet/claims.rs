//! Is what a shard claims true? Compared with xorbs that have been checked themselves.
//!
//! One file after another and one term after another, so that whoever asks can fetch each xorb's table
//! when it is needed and forget it afterwards.

use super::error::{XetError, XetResult};
use super::hash::Hash;
use super::merkle::{Tree, range_hash};
use super::shard::{FileEntry, Term, XorbEntry};
use super::xorb::XorbTable;

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedFile {
    /// Its size in bytes.
    pub size: u64,
    /// Its number of chunks.
    pub chunks: u64,
}

/// Checks one file's terms in order: ranges lie inside their xorbs, sizes add up, verification hashes are
/// those of the chunks, and all chunks together make the file's hash.
#[derive(Debug)]
pub struct FileCheck<'a> {
    file: &'a FileEntry,
    tree: Tree,
    done: usize,
}

impl<'a> FileCheck<'a> {
    /// Before the first term.
    ///
    /// # Errors
    /// If the file comes without verification hashes: then nothing shows that whoever sent the shard has
    /// the chunks.
    pub fn new(file: &'a FileEntry) -> XetResult<Self> {
        match &file.range_hashes {
            Some(hashes) if hashes.len() == file.terms.len() => Ok(Self {
                file,
                tree: Tree::new(),
                done: 0,
            }),
            _ => Err(XetError::file(
                file.hash,
                "it has no verification hashes; update the client that made the shard",
            )),
        }
    }

    /// The term to be checked next, whose xorb's table [`FileCheck::check`] needs.
    pub fn term(&self) -> Option<&'a Term> {
        self.file.terms.get(self.done)
    }

    /// Checks the next term against the table of its xorb, or `None` when there is no such xorb.
    ///
    /// # Errors
    /// If the claim is not true.
    pub fn check(&mut self, table: Option<&XorbTable>) -> XetResult<()> {
        let Some(term) = self.term() else {
            return Ok(());
        };
        let table = table.ok_or_else(|| {
            self.refused(&format!(
                "xorb {} is not here; upload it before the shard",
                term.xorb
            ))
        })?;
        let (Some(hashes), Some(chunks), Some(raw)) = (
            table.hashes_in(term.chunks()),
            table.chunks(term.chunks()),
            table.raw_range(term.chunks()),
        ) else {
            let count = table.len();
            return Err(self.refused(&format!(
                "chunks {} to {} are wanted of xorb {}, which has {count}; upload the file again",
                term.start, term.end, term.xorb
            )));
        };
        if raw.end - raw.start != u64::from(term.raw_len) {
            return Err(self.refused(&format!(
                "its chunks have {} bytes and {} are stated; upload the file again",
                raw.end - raw.start,
                term.raw_len
            )));
        }
        let claimed = self
            .file
            .range_hashes
            .as_ref()
            .and_then(|hashes| hashes.get(self.done));
        if claimed != Some(&range_hash(hashes)) {
            return Err(self.refused("its verification hash is wrong; upload the file again"));
        }
        for (hash, size) in chunks {
            self.tree.push(hash, size);
        }
        self.done += 1;
        Ok(())
    }

    /// All terms have been checked.
    ///
    /// # Errors
    /// If terms are left, or the chunks do not make the file.
    pub fn finish(self) -> XetResult<CheckedFile> {
        if self.term().is_some() {
            return Err(self.refused("it has not been checked"));
        }
        let found = CheckedFile {
            size: self.tree.size(),
            chunks: self.tree.chunks(),
        };
        let file = self.file.hash;
        match self.tree.file_hash() {
            hash if hash == file => Ok(found),
            hash => Err(XetError::file(
                file,
                format!("its chunks make file {hash}; upload the file again"),
            )),
        }
    }

    fn refused(&self, problem: &str) -> XetError {
        XetError::file(self.file.hash, format!("term {}: {problem}", self.done))
    }
}

/// As [`FileCheck`], when the tables of all xorbs are at hand.
///
/// # Errors
/// If a claim is not true.
pub fn check_file<'t>(
    file: &FileEntry,
    mut table_of: impl FnMut(&Hash) -> Option<&'t XorbTable>,
) -> XetResult<CheckedFile> {
    let mut check = FileCheck::new(file)?;
    while let Some(term) = check.term() {
        check.check(table_of(&term.xorb))?;
    }
    check.finish()
}

/// Checks a shard's list of a xorb's chunks against the xorb's table, or `None` when there is no such
/// xorb.
///
/// # Errors
/// If they differ.
pub fn check_xorb_entry(entry: &XorbEntry, table: Option<&XorbTable>) -> XetResult<()> {
    let refused = |problem: &str| XetError::XorbList {
        xorb: entry.hash,
        problem: problem.to_owned(),
    };
    let table = table.ok_or_else(|| refused("is of a xorb that is not here"))?;
    let mut raw_start = 0;
    let is_same = |(i, chunk): (usize, &super::shard::XorbChunk)| {
        let same = table.hashes().get(i) == Some(&chunk.hash)
            && table.chunk_len(i) == Some(chunk.raw_len)
            && chunk.raw_start == raw_start;
        raw_start = raw_start.saturating_add(chunk.raw_len);
        same
    };
    let lengths = entry.chunks.len() == table.len() && entry.raw_len == table.raw_len();
    match lengths && entry.chunks.iter().enumerate().all(is_same) {
        true => Ok(()),
        false => Err(refused("differs from the xorb")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xet::xorb::{Xorb, XorbBuilder};
    use crate::xet::{chunk_hash, file_hash};

    fn xorb() -> Xorb {
        let mut builder = XorbBuilder::default();
        for i in 0..6_u8 {
            let chunk = vec![i; 100 + usize::from(i)];
            builder.push(chunk_hash(&chunk), &chunk).unwrap();
        }
        builder.finish().unwrap()
    }

    /// Chunks 1 to 3 and then 0 to 2 of the xorb.
    fn file(xorb: &Xorb) -> FileEntry {
        let term = |start, end, raw_len| Term {
            xorb: xorb.hash,
            raw_len,
            start,
            end,
        };
        let terms = vec![term(1, 4, 306), term(0, 3, 303)];
        let chunks = terms
            .iter()
            .flat_map(|term| xorb.table.chunks(term.chunks()).unwrap());
        let hash = file_hash(chunks);
        let range = |term: &Term| range_hash(xorb.table.hashes_in(term.chunks()).unwrap());
        let range_hashes = Some(terms.iter().map(range).collect());
        FileEntry {
            hash,
            terms,
            range_hashes,
            sha256: None,
        }
    }

    #[test]
    fn a_true_shard_is_believed() {
        let xorb = xorb();
        let checked = check_file(&file(&xorb), |_| Some(&xorb.table));
        assert_eq!(
            checked,
            Ok(CheckedFile {
                size: 609,
                chunks: 6
            })
        );
        assert_eq!(
            check_xorb_entry(&XorbEntry::of(xorb.hash, &xorb.table), Some(&xorb.table)),
            Ok(())
        );
    }

    #[test]
    fn an_empty_file_needs_no_xorb() {
        let file = FileEntry {
            hash: Hash::ZERO,
            terms: vec![],
            range_hashes: Some(vec![]),
            sha256: None,
        };
        assert_eq!(
            check_file(&file, |_| None),
            Ok(CheckedFile { size: 0, chunks: 0 })
        );
    }

    #[test]
    fn every_lie_about_a_file_is_told() {
        let xorb = xorb();
        let says = |change: &dyn Fn(&mut FileEntry)| {
            let mut file = file(&xorb);
            change(&mut file);
            check_file(&file, |hash| (*hash == xorb.hash).then_some(&xorb.table))
                .unwrap_err()
                .to_string()
        };
        assert!(says(&|f| f.range_hashes = None).contains("no verification hashes"));
        assert!(
            says(&|f| f.range_hashes.as_mut().unwrap().truncate(1))
                .contains("no verification hashes")
        );
        assert!(says(&|f| f.terms[1].xorb = Hash::ZERO).contains("term 1: xorb 00"));
        assert!(says(&|f| f.terms[1].end = 7).contains("which has 6"));
        assert!(says(&|f| f.terms[1].end = 0).contains("chunks 0 to 0"));
        assert!(says(&|f| f.terms[0].raw_len = 305).contains("306 bytes and 305"));
        assert!(
            says(&|f| f.range_hashes.as_mut().unwrap()[0] = Hash::ZERO)
                .contains("verification hash is wrong")
        );
        assert!(says(&|f| f.terms.swap(0, 1)).contains("verification hash is wrong"));
        assert!(says(&|f| f.hash = Hash::ZERO).contains("make file"));
    }

    #[test]
    fn every_lie_about_a_xorb_is_told() {
        let xorb = xorb();
        let is_refused = |change: &dyn Fn(&mut XorbEntry)| {
            let mut entry = XorbEntry::of(xorb.hash, &xorb.table);
            change(&mut entry);
            check_xorb_entry(&entry, Some(&xorb.table)).is_err()
        };
        assert!(is_refused(&|x| x.raw_len += 1));
        assert!(is_refused(&|x| x.chunks.truncate(5)));
        assert!(is_refused(&|x| x.chunks[2].hash = Hash::ZERO));
        assert!(is_refused(&|x| x.chunks[2].raw_len += 1));
        assert!(is_refused(&|x| x.chunks[2].raw_start += 1));
        assert!(!is_refused(&|x| x.chunks[2].eligible = true));
        assert!(check_xorb_entry(&XorbEntry::of(xorb.hash, &xorb.table), None).is_err());
    }
}
