//! Where a stranger's bytes come in: one function a parser. None may panic, hang, or take much more
//! memory than its limits say. Compiled for `fuzz/` and for the tests, which replay what it found.

use crate::xet::shard::{Shard, ShardBuilder};
use crate::xet::xorb::{XorbCheck, XorbTable, check_xorb};
use crate::xet::{Hash, XetError, check_file};

/// The name of a target, and what takes its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate, by the name of their folder in `fuzz/regressions`.
pub const TARGETS: [Target; 2] = [("xorb", xorb), ("shard", shard)];

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

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay_kept;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fuzzing_found_stays_mended() {
        replay_kept::replay(&TARGETS);
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
}
