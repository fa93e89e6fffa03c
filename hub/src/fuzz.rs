//! Where a stranger's bytes come in: one function a parser. None may panic, hang, or take much more
//! memory than its limits say. Compiled for `fuzz/` and for the tests, which replay what it found.

#[cfg(feature = "server")]
use crate::repos::{attributes::Attributes, cards, push::rehearsal as push};
#[cfg(feature = "server")]
use crate::server::rehearsal;
use crate::xet::shard::{Shard, ShardBuilder};
use crate::xet::xorb::{XorbCheck, XorbTable, check_xorb};
use crate::xet::{Hash, XetError, check_file};

/// The name of a target, and what takes its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate, by the name of their folder in `fuzz/regressions`.
pub const TARGETS: &[Target] = &[
    ("xorb", xorb),
    ("shard", shard),
    #[cfg(feature = "server")]
    ("commit", commit),
    #[cfg(feature = "server")]
    ("lfs_batch", lfs_batch),
    #[cfg(feature = "server")]
    ("git_pack", git_pack),
    #[cfg(feature = "server")]
    ("packets", packets),
    #[cfg(feature = "server")]
    ("card", card),
];

/// A xorb in pieces, whose length the first byte says.
pub fn xorb(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let _ = XorbTable::from_footer(bytes);
    let mut check = XorbCheck::new();
    let mut raw_len = 0;
    for piece in bytes.chunks(1 + 16 * usize::from(*piece)) {
        let each = |chunk: &[u8]| {
            raw_len += chunk.len();
            Ok::<_, XetError>(())
        };
        if check.push_each(piece, each).is_err() {
            return;
        }
    }
    // Every xorb that is none but for its name is one under the right name.
    if let Err(XetError::Misnamed { found, .. }) = check.finish(&Hash::ZERO) {
        let table = check_xorb(bytes, &found);
        assert!(table.is_ok(), "{table:?}");
        let table = table.unwrap_or_default();
        assert_eq!(table.raw_len() as usize, raw_len);
        assert_eq!(XorbTable::from_footer(&table.to_footer()), Ok(table));
    }
}

/// A shard.
pub fn shard(bytes: &[u8]) {
    let Ok(shard) = Shard::read(bytes) else {
        return;
    };
    let mut builder = ShardBuilder::new();
    for file in shard.files() {
        let _ = check_file(&file, |_| None);
        let _ = builder.add_file(file);
    }
    for xorb in shard.xorbs() {
        let _ = builder.add_xorb(xorb);
    }
    let _ = shard.dedup_chunks();
    let upload = builder.upload();
    assert!(Shard::read(&upload).is_ok(), "what is written is read back");
}

/// A commit request in pieces, whose length the first byte says.
#[cfg(feature = "server")]
pub fn commit(bytes: &[u8]) {
    let Some((piece, body)) = bytes.split_first() else {
        return;
    };
    let found = rehearsal::commit(body, 1 + usize::from(*piece)).ok();
    let whole = rehearsal::commit(body, body.len()).ok();
    assert_eq!(found, whole, "pieces make no difference");
}

/// A batch of git-lfs.
#[cfg(feature = "server")]
pub fn lfs_batch(bytes: &[u8]) {
    let _ = rehearsal::lfs_batch(bytes);
}

/// A pushed pack: after a zero a description of one, as [`push::pack_of`] has it, after anything else a pack without
/// its digest.
#[cfg(feature = "server")]
pub fn git_pack(bytes: &[u8]) {
    let Some((form, bytes)) = bytes.split_first() else {
        return;
    };
    let pack = match form {
        0 => push::pack_of(bytes),
        _ => push::with_digest(bytes),
    };
    let _ = push::rehearse(&pack);
}

/// What git sends before a pack, and to fetch.
#[cfg(feature = "server")]
pub fn packets(bytes: &[u8]) {
    let _ = rehearsal::packets(bytes);
}

/// A card, and a `.gitattributes` of the same bytes.
#[cfg(feature = "server")]
pub fn card(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(card) = cards::parse(&text) {
        assert!(cards::tags(&card).len() <= 200);
    }
    let attributes = Attributes::parse(&text);
    let path: String = text.chars().take(40).collect();
    let _ = attributes.is_large(&path, bytes.len() as u64, bytes);
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay_kept;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::sync::OnceLock;

    /// Every seed with the target that takes it.
    fn seeds() -> &'static [(Target, Vec<u8>)] {
        static SEEDS: OnceLock<Vec<(Target, Vec<u8>)>> = OnceLock::new();
        SEEDS.get_or_init(|| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
            let mut seeds = Vec::new();
            for target in TARGETS {
                for file in std::fs::read_dir(folder.join(target.0)).unwrap() {
                    seeds.push((*target, std::fs::read(file.unwrap().path()).unwrap()));
                }
            }
            seeds
        })
    }

    proptest! {
        // What a fuzzer does first, in every run of the tests.
        #[test]
        fn damaged_seeds_break_nothing(
            seed: Index,
            edits in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
            piece: (Index, Index),
            place: Index,
            is_cut in prop::bool::weighted(0.1),
        ) {
            let ((_, target), bytes) = seed.get(seeds());
            let mut bytes = bytes.clone();
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let (one, other) = (piece.0.index(bytes.len()), piece.1.index(bytes.len()));
            let piece = bytes[one.min(other)..one.max(other)].to_vec();
            let place = place.index(bytes.len());
            if is_cut {
                bytes.truncate(place);
            } else if piece.len() < 40 {
                bytes.splice(place..place, piece);
            }
            target(&bytes);
        }
    }

    #[test]
    fn what_fuzzing_found_stays_mended() {
        replay_kept::replay(TARGETS);
    }

    #[test]
    fn seeds_lead_into_the_formats() {
        let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let seed = |name: &str| std::fs::read(seeds.join(name)).unwrap();
        for name in ["xorb/plain", "xorb/lz4", "xorb/grouped"] {
            let checked = check_xorb(&seed(name)[1..], &Hash::ZERO);
            assert!(
                matches!(checked, Err(XetError::Misnamed { .. })),
                "{name}: {checked:?}"
            );
            xorb(&seed(name));
        }
        xorb(&seed("xorb/footer"));
        for name in ["shard/upload", "shard/stored"] {
            let bytes = seed(name);
            let shard = Shard::read(&bytes).unwrap();
            assert_eq!((shard.files().count(), shard.xorbs().count()), (1, 1));
            super::shard(&bytes);
        }
    }
    #[cfg(feature = "server")]
    #[test]
    fn seeds_lead_into_requests() {
        let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let seed = |name: &str| std::fs::read(seeds.join(name)).unwrap();
        let commit = seed("commit/all");
        assert_eq!(rehearsal::commit(&commit[1..], 7).unwrap(), 6);
        super::commit(&commit);
        let batch = seed("lfs_batch/upload");
        assert_eq!(rehearsal::lfs_batch(&batch).unwrap(), 2);
        let described = push::rehearse(&push::pack_of(&seed("git_pack/described")[1..])).unwrap();
        let expected = push::Rehearsed {
            objects: 5,
            commits: 1,
            tags: 0,
            is_whole: true,
        };
        assert_eq!(described, expected);
        let tagged = push::rehearse(&push::pack_of(&seed("git_pack/tagged")[1..])).unwrap();
        assert!(tagged.is_whole && tagged.tags == 1, "{tagged:?}");
        let pack = push::rehearse(&push::with_digest(&seed("git_pack/of_git")[1..])).unwrap();
        assert!(pack.is_whole && pack.commits == 2, "{pack:?}");
        assert_eq!(rehearsal::packets(&seed("packets/push")), Some(2));
        rehearsal::packets(&seed("packets/fetch"));
        let card = String::from_utf8(seed("card/lerobot")).unwrap();
        assert!(cards::tags(&cards::parse(&card).unwrap()).contains("LeRobot"));
    }
}
