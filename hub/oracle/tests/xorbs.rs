//! Xorbs: each side reads what the other writes, and for a given compression both write the same bytes.

mod common;

use common::{mixed, ours, theirs};
use sinew_hub::xet::xorb::{Xorb, XorbBuilder, XorbTable, check_xorb};
use sinew_hub::xet::{Compression, Scheme, range_hash};
use std::io::Cursor;
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::xorb_object::{
    Chunk, CompressionScheme, RawXorbData, SerializedXorbObject, XorbObject,
    reconstruct_xorb_with_footer,
};

fn chunks(seed: u64) -> Vec<Chunk> {
    let data = mixed(3_000_000 + seed as usize * 77_777, seed);
    xet_data::deduplication::Chunker::default().next_block(&data, true)
}

fn our_xorb(chunks: &[Chunk], compression: Compression) -> Xorb {
    let mut builder = XorbBuilder::new(compression);
    for chunk in chunks {
        builder.push(ours(&chunk.hash), &chunk.data).unwrap();
    }
    builder.finish().unwrap()
}

fn their_xorb(chunks: &[Chunk], scheme: CompressionScheme, footer: bool) -> SerializedXorbObject {
    let raw = RawXorbData::from_chunks(chunks, vec![0]);
    SerializedXorbObject::from_xorb_with_compression(raw, scheme, footer, 1).unwrap()
}

#[test]
fn both_write_the_same_bytes() {
    let schemes = [
        (Scheme::None, CompressionScheme::None),
        (Scheme::Lz4, CompressionScheme::LZ4),
        (Scheme::GroupedLz4, CompressionScheme::ByteGrouping4LZ4),
    ];
    for seed in 0..6 {
        let chunks = chunks(seed);
        for (our_scheme, their_scheme) in schemes {
            let built = our_xorb(&chunks, Compression::Always(our_scheme));
            let their = their_xorb(&chunks, their_scheme, true);
            assert_eq!(built.hash, ours(&their.hash));
            let footed = [built.packed, built.table.to_footer()].concat();
            assert!(
                footed == their.serialized_data,
                "seed {seed}, {our_scheme:?}"
            );
            assert_eq!(
                XorbTable::from_footer(
                    &their.serialized_data[their.footer_start.unwrap() as usize..]
                ),
                Ok(built.table)
            );
        }
    }
}

#[test]
fn both_choose_the_same_compression() {
    let mut used = std::collections::BTreeSet::new();
    for seed in 30..40 {
        let chunks = chunks(seed);
        let built = our_xorb(&chunks, Compression::ByContent);
        let their = their_xorb(&chunks, CompressionScheme::Auto, false);
        assert!(built.packed == their.serialized_data, "seed {seed}");
        let starts = (0..built.table.len() as u32)
            .map(|i| built.table.packed_range(i..i + 1).unwrap().start);
        used.extend(starts.map(|at| built.packed[at as usize + 4]));
    }
    assert_eq!(used.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn their_reader_accepts_ours() {
    for seed in 10..16 {
        let chunks = chunks(seed);
        let built = our_xorb(&chunks, Compression::ByContent);
        let mut footed = Vec::new();
        let (object, hash) = reconstruct_xorb_with_footer(&mut footed, &built.packed).unwrap();
        assert_eq!(ours(&hash), built.hash);
        assert_eq!(object.info.num_chunks as usize, built.table.len());
        let own = [&built.packed[..], &built.table.to_footer()].concat();
        assert!(own == footed);
        let read =
            XorbObject::validate_xorb_object(&mut Cursor::new(&own), &theirs(&built.hash)).unwrap();
        let read = read.expect("valid");
        let all = read.get_all_bytes(&mut Cursor::new(&own)).unwrap();
        assert!(
            all == chunks
                .iter()
                .flat_map(|c| c.data.to_vec())
                .collect::<Vec<_>>()
        );
        let count = built.table.len() as u32;
        for range in [0..1, 0..count, 1..count / 2, count - 1..count] {
            let hash = read
                .generate_chunk_range_hash(range.start, range.end)
                .unwrap();
            assert_eq!(
                range_hash(built.table.hashes_in(range.clone()).unwrap()),
                ours(&hash)
            );
            let bytes = read.get_byte_offset(range.start, range.end).unwrap();
            let own = built.table.packed_range(range).unwrap();
            assert_eq!((own.start, own.end), (bytes.0.into(), bytes.1.into()));
        }
    }
}

#[test]
fn our_reader_accepts_theirs() {
    for seed in 20..26 {
        let chunks = chunks(seed);
        for footer in [false, true] {
            let their = their_xorb(&chunks, CompressionScheme::Auto, footer);
            let table = check_xorb(&their.serialized_data, &ours(&their.hash)).unwrap();
            assert_eq!(table.len(), chunks.len());
            let hashes: Vec<_> = chunks.iter().map(|c| ours(&c.hash)).collect();
            assert_eq!(table.hashes(), hashes);
            let all: Vec<_> = chunks.iter().map(|c| c.hash).collect();
            assert_eq!(range_hash(&hashes), ours(&range_hash_from_chunks(&all)));
        }
    }
}
