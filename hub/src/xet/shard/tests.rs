//! Shards, written and read back, and everything that is none.

use super::record::{RECORD_BYTES, Record};
use super::*;
use crate::xet::{Hash, chunk_hash, shielded_hash};
use proptest::prelude::*;

fn hash(seed: u32) -> Hash {
    chunk_hash(&seed.to_le_bytes())
}

fn files() -> impl Strategy<Value = Vec<FileEntry>> {
    let term = (0_u32..5, 1_u32..9_000_000, 0_u32..100, 1_u32..50);
    let term = term.prop_map(|(xorb, raw_len, start, count)| Term {
        xorb: hash(xorb),
        raw_len,
        start,
        end: start + count,
    });
    let file = (
        any::<u32>(),
        prop::collection::vec(term, 0..9),
        any::<bool>(),
        any::<Option<[u8; 32]>>(),
    );
    let file = file.prop_map(|(name, terms, verified, sha256)| FileEntry {
        hash: hash(name),
        range_hashes: verified.then(|| (0..terms.len() as u32).map(hash).collect()),
        terms,
        sha256,
    });
    prop::collection::vec(file, 0..9)
}

fn xorbs() -> impl Strategy<Value = Vec<XorbEntry>> {
    let xorb = (
        any::<u32>(),
        prop::collection::vec((1_u32..131_073, any::<bool>()), 0..9),
        any::<u32>(),
    );
    let xorb = xorb.prop_map(|(name, chunks, stored_len)| {
        let mut raw_len = 0;
        let chunk = |(i, (len, eligible)): (usize, &(u32, bool))| {
            let chunk = XorbChunk {
                hash: hash(name ^ i as u32),
                raw_start: raw_len,
                raw_len: *len,
                eligible: *eligible,
            };
            raw_len += len;
            chunk
        };
        let chunks = chunks.iter().enumerate().map(chunk).collect();
        XorbEntry {
            hash: hash(!name),
            chunks,
            raw_len,
            stored_len,
        }
    });
    prop::collection::vec(xorb, 0..9)
}

fn builder(files: &[FileEntry], xorbs: &[XorbEntry]) -> ShardBuilder {
    let mut builder = ShardBuilder::new();
    files
        .iter()
        .for_each(|file| builder.add_file(file.clone()).unwrap());
    xorbs
        .iter()
        .for_each(|xorb| builder.add_xorb(xorb.clone()).unwrap());
    builder
}

fn sorted<T: Clone>(items: &[T], key: impl Fn(&T) -> Hash) -> Vec<T> {
    let by_hash: std::collections::BTreeMap<_, _> =
        items.iter().map(|i| (key(i), i.clone())).collect();
    by_hash.into_values().collect()
}

fn example() -> Vec<u8> {
    let term = Term {
        xorb: hash(1),
        raw_len: 10,
        start: 0,
        end: 1,
    };
    let file = FileEntry {
        hash: hash(2),
        terms: vec![term],
        range_hashes: Some(vec![hash(3)]),
        sha256: Some([7; 32]),
    };
    let chunk = XorbChunk {
        hash: hash(4),
        raw_start: 0,
        raw_len: 10,
        eligible: false,
    };
    let xorb = XorbEntry {
        hash: hash(1),
        chunks: vec![chunk],
        raw_len: 10,
        stored_len: 0,
    };
    builder(&[file], &[xorb]).upload()
}

#[test]
fn an_upload_is_laid_out_as_specified() {
    let bytes = example();
    assert_eq!(bytes.len(), 48 * (1 + 4 + 1 + 2 + 1));
    assert_eq!(bytes[..14], *b"HFRepoMetaData");
    assert_eq!(
        bytes[32..48],
        [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        Record::at(&bytes, 48).unwrap().numbers,
        [0xC000_0000, 1, 0, 0]
    );
    assert_eq!(
        Record::at(&bytes, 96).unwrap(),
        Record::of(hash(1), [0, 10, 0, 1])
    );
    assert_eq!(
        Record::at(&bytes, 192).unwrap().hash.to_string(),
        "07".repeat(32)
    );
    assert_eq!(bytes[240..288], [&[0xFF; 32][..], &[0; 16]].concat());
    assert_eq!(Record::at(&bytes, 288).unwrap().numbers, [0, 1, 10, 0]);
}

#[test]
fn every_way_to_be_no_shard_is_told() {
    let good = example();
    let says = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Shard::read(&bytes).map(|_| ()).unwrap_err().to_string()
    };
    assert!(says(&|b| b.clear()).contains("does not begin"));
    assert!(says(&|b| b.truncate(40)).contains("breaks off"));
    assert!(says(&|b| b.truncate(100)).contains("records are announced"));
    assert!(says(&|b| b.truncate(300)).contains("byte 288"));
    assert!(says(&|b| b[32] = 3).contains("version"));
    assert!(says(&|b| b[40] = 9).contains("footer's size"));
    assert!(says(&|b| b[40] = 200).contains("no room for the footer"));
    assert!(says(&|b| b[80] = 1).contains("flags"));
    assert!(says(&|b| b[84..88].fill(0xFF)).contains("announced"));
    assert!(says(&|b| b.push(0)).contains("something follows"));
    assert!(
        says(&|b| b[288 + 36..288 + 40].copy_from_slice(&9000_u32.to_le_bytes()))
            .contains("9000 chunks")
    );
    assert!(says(&|b| b[288 + 43] = 9).contains("cannot have"));
    assert!(says(&|b| b.resize(MAX_SHARD_BYTES + 1, 0)).contains("more than"));
}

#[test]
fn firsts_of_files_and_marked_chunks_can_be_found() {
    let chunk = |i: u32, eligible| XorbChunk {
        hash: hash(100 + i),
        raw_start: 10 * i,
        raw_len: 10,
        eligible,
    };
    let chunks = vec![
        chunk(0, false),
        chunk(1, false),
        chunk(2, true),
        chunk(3, false),
    ];
    let xorb = XorbEntry {
        hash: hash(1),
        chunks,
        raw_len: 40,
        stored_len: 0,
    };
    let term = |start| Term {
        xorb: hash(1),
        raw_len: 10,
        start,
        end: start + 1,
    };
    let file = FileEntry {
        hash: hash(2),
        terms: vec![term(1), term(3)],
        range_hashes: None,
        sha256: None,
    };
    let bytes = builder(&[file], &[xorb]).upload();
    let found = Shard::read(&bytes).unwrap().dedup_chunks();
    assert_eq!(found, [(hash(101), hash(1)), (hash(102), hash(1))].into());
}

#[test]
fn a_file_needs_a_verification_hash_for_every_term() {
    let file = FileEntry {
        hash: hash(2),
        terms: vec![],
        range_hashes: Some(vec![hash(1)]),
        sha256: None,
    };
    assert!(ShardBuilder::new().add_file(file).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back(files in files(), xorbs in xorbs(), created: u64, expires: u64) {
        let builder = builder(&files, &xorbs);
        let upload = builder.upload();
        prop_assert_eq!(upload.len(), builder.upload_len());
        let stored = builder.stored(Stamp { created, expires });
        for bytes in [&upload, &stored] {
            let shard = Shard::read(bytes).unwrap();
            prop_assert_eq!(shard.files().collect::<Vec<_>>(), sorted(&files, |f| f.hash));
            prop_assert_eq!(shard.xorbs().collect::<Vec<_>>(), sorted(&xorbs, |x| x.hash));
        }
        let shard = Shard::read(&stored).unwrap();
        let footer = shard.footer().unwrap();
        prop_assert_eq!((footer.created, footer.expires, footer.key), (created, expires, Hash::ZERO));
        prop_assert_eq!(footer.file_bytes, shard.files().map(|f| f.size()).sum::<u64>());
    }

    #[test]
    fn an_answer_shields_its_chunks(files in files(), xorbs in xorbs(), key: [u8; 32]) {
        let key = Hash::from_bytes(key);
        let bytes = builder(&files, &xorbs).answer(&key, Stamp::default());
        let shard = Shard::read(&bytes).unwrap();
        prop_assert_eq!(shard.files().count(), 0);
        prop_assert_eq!(shard.footer().unwrap().key, key);
        let mut expected = sorted(&xorbs, |x| x.hash);
        let all = expected.iter_mut().flat_map(|xorb| &mut xorb.chunks);
        all.for_each(|chunk| chunk.hash = shielded_hash(&key, &chunk.hash));
        prop_assert_eq!(shard.xorbs().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_changed_shard_never_panics(files in files(), xorbs in xorbs(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
        let mut bytes = builder(&files, &xorbs).stored(Stamp::default());
        let at = at.index(bytes.len());
        bytes[at] = to;
        let cut = cut.index(bytes.len());
        for bytes in [&bytes[..], &bytes[..cut]] {
            if let Ok(shard) = Shard::read(bytes) {
                let _ = (shard.files().count(), shard.xorbs().count(), shard.dedup_chunks());
            }
        }
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>, footer: bool) {
        let _ = Shard::read(&bytes);
        let mut tagged = example()[..HEADER_BYTES].to_vec();
        if footer { tagged[40] = 200; }
        tagged.extend(bytes);
        tagged.extend([0xFF; RECORD_BYTES].repeat(2));
        let _ = Shard::read(&tagged);
    }
}
