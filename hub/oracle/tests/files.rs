//! Files: the same cuts, the same names.

mod common;

use common::{mixed, ours};
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use sinew_hub::xet::{Chunker, Hash, chunk_hash, file_hash, is_dedup_eligible, xorb_hash};
use std::convert::Infallible;
use xet_core_structures::merklehash;
use xet_core_structures::metadata_shard::hash_is_global_dedup_eligible;

fn our_chunks(data: &[u8], piece: usize) -> Vec<(Hash, u64)> {
    let mut chunks = Vec::new();
    let mut keep = |chunk: &[u8]| {
        chunks.push((chunk_hash(chunk), chunk.len() as u64));
        Ok::<_, Infallible>(())
    };
    let mut chunker = Chunker::new();
    for piece in data.chunks(piece) {
        chunker.push(piece, &mut keep).unwrap();
    }
    chunker.finish(&mut keep).unwrap();
    chunks
}

fn compare(data: &[u8], piece: usize) {
    let mut chunker = xet_data::deduplication::Chunker::default();
    let their_chunks = chunker.next_block(data, true);
    let their_chunks: Vec<_> = their_chunks
        .iter()
        .map(|c| (c.hash, c.data.len() as u64))
        .collect();
    let our_chunks = our_chunks(data, piece);
    let as_ours: Vec<_> = their_chunks
        .iter()
        .map(|(hash, len)| (ours(hash), *len))
        .collect();
    assert!(
        our_chunks == as_ours,
        "{} bytes in pieces of {piece} are cut differently",
        data.len()
    );
    let xorb = merklehash::xorb_hash(&their_chunks);
    let file = merklehash::file_hash(&their_chunks);
    assert_eq!(xorb_hash(our_chunks.iter().copied()), ours(&xorb));
    assert_eq!(file_hash(our_chunks.iter().copied()), ours(&file));
    assert_eq!(file_hash(our_chunks).to_string(), file.hex());
    for (hash, _) in &their_chunks {
        assert_eq!(
            is_dedup_eligible(&ours(hash)),
            hash_is_global_dedup_eligible(hash)
        );
    }
}

#[test]
fn small_files_and_files_of_whole_chunks() {
    let around = |len: usize| [len - 1, len, len + 1];
    let lens = [8192 - 64, 8192, 65_536, 131_072, 262_144]
        .into_iter()
        .flat_map(around);
    for len in lens.chain([0, 1, 2, 63, 64, 65, 1000]) {
        compare(&vec![0; len], 5000);
        compare(&mixed(len, len as u64), 5000);
    }
}

#[test]
fn files_of_some_megabytes() {
    for seed in 0..24 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let len = rng.next_u32() as usize % 6_000_000;
        let piece = 1 + rng.next_u32() as usize % 2_000_000;
        compare(&mixed(len, seed), piece);
        let mut noise = vec![0; len];
        rng.fill_bytes(&mut noise);
        compare(&noise, piece);
    }
}

#[test]
#[ignore = "200 MB several times"]
fn files_up_to_200_megabytes() {
    for (len, seed) in [(50_000_000, 1), (123_456_789, 2), (200_000_000, 3)] {
        compare(&mixed(len, seed), 1 << 20);
    }
    let mut noise = vec![0; 200_000_000];
    SmallRng::seed_from_u64(9).fill_bytes(&mut noise);
    compare(&noise, 777_777);
}

#[test]
fn trees_of_all_sizes() {
    for count in (0..300).chain([1000, 4096, 8192, 30_000]) {
        let nodes: Vec<_> = (0..count)
            .map(|i: u64| (merklehash::compute_data_hash(&i.to_le_bytes()), i % 999 + 1))
            .collect();
        let as_ours = nodes.iter().map(|(hash, len)| (ours(hash), *len));
        assert_eq!(
            xorb_hash(as_ours),
            ours(&merklehash::xorb_hash(&nodes)),
            "{count} chunks"
        );
    }
}

#[test]
fn hashes_are_printed_and_ordered_alike() {
    let hashes: Vec<_> = (0..500_u64)
        .map(|i| merklehash::compute_data_hash(&i.to_le_bytes()))
        .collect();
    for hash in &hashes {
        assert_eq!(ours(hash).to_string(), hash.hex());
        assert_eq!(hash.hex().parse(), Ok(ours(hash)));
    }
    for pair in hashes.windows(2) {
        assert_eq!(ours(&pair[0]).cmp(&ours(&pair[1])), pair[0].cmp(&pair[1]));
    }
}
