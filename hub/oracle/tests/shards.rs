//! Shards: both write the same bytes, and each reads what the other writes.

mod common;

use common::{ours, theirs};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sinew_hub::xet::shard::{FileEntry, Shard, ShardBuilder, Stamp, Term, XorbChunk, XorbEntry};
use sinew_hub::xet::{Hash, chunk_hash, shielded_hash};
use std::collections::BTreeSet;
use std::io::Cursor;
use std::time::Duration;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry,
    MDBFileInfo,
};
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::metadata_shard::streaming_shard::MDBMinimalShard;
use xet_core_structures::metadata_shard::xorb_structs::{
    MDBXorbInfo, XorbChunkSequenceEntry, XorbChunkSequenceHeader,
};
use xet_core_structures::metadata_shard::{MDBShardFileHeader, MDBShardInfo};

struct Content {
    files: Vec<FileEntry>,
    xorbs: Vec<XorbEntry>,
}

fn content(seed: u64) -> Content {
    let mut rng = SmallRng::seed_from_u64(seed);
    let name = |rng: &mut SmallRng| chunk_hash(&rng.random::<u64>().to_le_bytes());
    let mut xorbs = Vec::new();
    for _ in 0..rng.random_range(0..6) {
        let (mut raw_len, mut chunks) = (0, Vec::new());
        for _ in 0..rng.random_range(1..40) {
            let len = rng.random_range(1..=131_072);
            // So that some hashes are eligible by themselves.
            let mut hash = *name(&mut rng).as_bytes();
            if rng.random_bool(0.1) {
                hash[24..26].fill(0);
            }
            let hash = Hash::from_bytes(hash);
            chunks.push(XorbChunk {
                hash,
                raw_start: raw_len,
                raw_len: len,
                eligible: rng.random_bool(0.1),
            });
            raw_len += len;
        }
        xorbs.push(XorbEntry {
            hash: name(&mut rng),
            raw_len,
            stored_len: rng.random_range(0..raw_len),
            chunks,
        });
    }
    let mut files = Vec::new();
    for _ in 0..rng.random_range(0..8) {
        let mut terms = Vec::new();
        for _ in 0..rng.random_range(0..5) {
            let Some(xorb) = xorbs.get(rng.random_range(0..6)) else {
                continue;
            };
            let start = rng.random_range(0..xorb.chunks.len() as u32);
            let end = rng.random_range(start + 1..=xorb.chunks.len() as u32);
            let parts = &xorb.chunks[start as usize..end as usize];
            let raw_len = parts.iter().map(|c| c.raw_len).sum();
            terms.push(Term {
                xorb: xorb.hash,
                raw_len,
                start,
                end,
            });
        }
        // Theirs takes all files with verification hashes or none.
        let range_hashes = Some(terms.iter().map(|_| name(&mut rng)).collect());
        let sha256 = rng.random_bool(0.7).then(|| rng.random());
        files.push(FileEntry {
            hash: name(&mut rng),
            terms,
            range_hashes,
            sha256,
        });
    }
    Content { files, xorbs }
}

fn our_builder(content: &Content) -> ShardBuilder {
    let mut builder = ShardBuilder::new();
    content
        .files
        .iter()
        .for_each(|file| builder.add_file(file.clone()).unwrap());
    content
        .xorbs
        .iter()
        .for_each(|xorb| builder.add_xorb(xorb.clone()).unwrap());
    builder
}

fn their_shard(content: &Content) -> MDBInMemoryShard {
    let mut shard = MDBInMemoryShard::default();
    for file in &content.files {
        let verified = file.range_hashes.is_some();
        let term =
            |t: &Term| FileDataSequenceEntry::new(theirs(&t.xorb), t.raw_len, t.start, t.end);
        let hash = |hash: &Hash| FileVerificationEntry::new(theirs(hash));
        let sha256 = |digest: [u8; 32]| FileMetadataExt::new(theirs(&Hash::from_digest(digest)));
        let info = MDBFileInfo {
            metadata: FileDataSequenceHeader::new(
                theirs(&file.hash),
                file.terms.len(),
                verified,
                file.sha256.is_some(),
            ),
            segments: file.terms.iter().map(term).collect(),
            verification: file.range_hashes.iter().flatten().map(hash).collect(),
            metadata_ext: file.sha256.map(sha256),
        };
        shard.add_file_reconstruction_info(info).unwrap();
    }
    for xorb in &content.xorbs {
        let chunk = |c: &XorbChunk| {
            let entry = XorbChunkSequenceEntry::new(theirs(&c.hash), c.raw_len, c.raw_start);
            entry.with_global_dedup_flag(c.eligible)
        };
        let mut metadata =
            XorbChunkSequenceHeader::new(theirs(&xorb.hash), xorb.chunks.len(), xorb.raw_len);
        metadata.num_bytes_on_disk = xorb.stored_len;
        let chunks = xorb.chunks.iter().map(chunk).collect();
        shard
            .add_xorb_block(MDBXorbInfo { metadata, chunks })
            .unwrap();
    }
    shard
}

fn their_bytes(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    MDBShardInfo::serialize_from(&mut bytes, &their_shard(content), None).unwrap();
    bytes
}

#[test]
fn both_store_the_same_bytes() {
    for seed in 0..60 {
        let content = content(seed);
        let own = our_builder(&content).stored(Stamp::default());
        assert!(own == their_bytes(&content), "seed {seed}");
    }
}

#[test]
fn both_upload_the_same_bytes() {
    for seed in 0..60 {
        let content = content(seed);
        let stored = their_bytes(&content);
        let info = MDBShardInfo::load_from_reader(&mut Cursor::new(&stored)).unwrap();
        // As their client takes off tables and footer.
        let mut upload = stored[..info.metadata.file_lookup_offset as usize].to_vec();
        let mut header = Vec::new();
        MDBShardFileHeader {
            footer_size: 0,
            ..info.header
        }
        .serialize(&mut header)
        .unwrap();
        upload[..header.len()].copy_from_slice(&header);
        assert!(our_builder(&content).upload() == upload, "seed {seed}");
    }
}

#[test]
fn each_reads_what_the_other_writes() {
    for seed in 100..160 {
        let content = content(seed);
        let stored = their_bytes(&content);
        let shard = Shard::read(&stored).unwrap();
        let mut files = content.files.clone();
        files.sort_by_key(|file| file.hash);
        let mut xorbs = content.xorbs.clone();
        xorbs.sort_by_key(|xorb| xorb.hash);
        assert_eq!(shard.files().collect::<Vec<_>>(), files);
        assert_eq!(shard.xorbs().collect::<Vec<_>>(), xorbs);
        let own = our_builder(&content).upload();
        let their = MDBMinimalShard::from_reader(&mut Cursor::new(&own), true, true).unwrap();
        assert_eq!(
            (their.num_files(), their.num_xorb()),
            (files.len(), xorbs.len())
        );
        let found: BTreeSet<Hash> = their
            .global_dedup_eligible_chunks()
            .iter()
            .map(ours)
            .collect();
        let own = Shard::read(&own).unwrap();
        let own: BTreeSet<Hash> = own
            .dedup_chunks()
            .into_iter()
            .map(|(chunk, _)| chunk)
            .collect();
        assert_eq!(own, found, "seed {seed}");
    }
}

#[test]
fn both_shield_alike() {
    for seed in 200..240 {
        let content = Content {
            files: Vec::new(),
            ..content(seed)
        };
        let key = chunk_hash(&seed.to_le_bytes());
        let mut their = Vec::new();
        let stored = their_bytes(&content);
        MDBShardInfo::export_as_keyed_shard_streaming(
            &mut Cursor::new(&stored),
            &mut their,
            theirs(&key),
            Duration::from_secs(1000),
            false,
            false,
            false,
        )
        .unwrap();
        let info = MDBShardInfo::load_from_reader(&mut Cursor::new(&their)).unwrap();
        let stamp = Stamp {
            created: info.metadata.shard_creation_timestamp,
            expires: info.metadata.shard_key_expiry,
        };
        let own = our_builder(&content).answer(&key, stamp);
        assert!(own == their, "seed {seed}");
        let chunk = chunk_hash(b"x");
        assert_eq!(
            shielded_hash(&key, &chunk),
            ours(&theirs(&chunk).hmac(theirs(&key)))
        );
    }
}
