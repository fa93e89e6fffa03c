//! Packs as git writes them, and packs as nobody should.

use super::*;
use crate::repos::git::object_id;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    objects: 1000,
    object: 1 << 20,
    total: 4 << 20,
};

/// A pack in the making.
struct Maker {
    bytes: Vec<u8>,
    count: u32,
}

impl Maker {
    fn new() -> Self {
        Self {
            bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(),
            count: 0,
        }
    }

    /// Adds an object and returns where it begins. `base` stands between head and contents.
    fn add(&mut self, kind: u8, base: &[u8], content: &[u8]) -> usize {
        let start = self.bytes.len();
        let mut size = content.len();
        let mut byte = (kind << 4) | (size & 0x0f) as u8;
        size >>= 4;
        while size > 0 {
            self.bytes.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(base);
        let mut encoder = ZlibEncoder::new(&mut self.bytes, Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap();
        self.count += 1;
        start
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes[8..12].copy_from_slice(&self.count.to_be_bytes());
        let digest = Sha1::digest(&self.bytes);
        self.bytes.extend_from_slice(&digest);
        self.bytes
    }
}

fn read_pack(bytes: &[u8]) -> Result<Objects> {
    unpack(bytes, tempfile::tempfile().unwrap(), LIMITS)
}

fn content(objects: &Objects, expected: &[u8]) -> bool {
    let id: Id = crate::repos::git::hash_bytes(&object_id("blob", expected)).unwrap();
    objects
        .get(&id, ObjectKind::Blob)
        .is_some_and(|stored| objects.read(stored).unwrap() == expected)
}

/// Makes `0123456789` into `234` and `tail`.
fn delta(tail: &[u8]) -> Vec<u8> {
    [
        &[10, 3 + tail.len() as u8, 0x91, 2, 3, tail.len() as u8],
        tail,
    ]
    .concat()
}

#[test]
fn deltas_of_both_kinds_are_applied_in_any_order() {
    let base = crate::repos::git::hash_bytes::<20>(&object_id("blob", b"0123456789")).unwrap();
    let mut maker = Maker::new();
    maker.add(7, &base, &delta(b"early"));
    let start = maker.add(3, &[], b"0123456789");
    let distance = maker.bytes.len() - start;
    assert!(distance < 128);
    maker.add(6, &[distance as u8], &delta(b"late"));
    let objects = read_pack(&maker.finish()).unwrap();
    for expected in ["0123456789", "234early", "234late"] {
        assert!(content(&objects, expected.as_bytes()), "{expected}");
    }
}

#[test]
fn hostile_packs_are_refused_in_words() {
    let refused = |bytes: &[u8], why: &str| {
        let error = read_pack(bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let of = |kind: u8, base: &[u8], content: &[u8]| {
        let mut maker = Maker::new();
        maker.add(kind, base, content);
        maker.finish()
    };
    refused(b"", "breaks off");
    refused(b"PACK\0\0\0\x03\0\0\0\0", "version 2");
    refused(b"PACK\0\0\0\x02\xff\0\0\0", "push in parts");
    refused(&of(3, &[], &vec![0; 2 << 20]), "git-lfs");
    refused(&of(5, &[], b"?"), "no kind of object 5");
    refused(&of(7, &[1; 20], &delta(b"x")), "no-thin");
    refused(&of(6, &[0x7f], &delta(b"x")), "before the pack");
    let mut damaged = of(3, &[], b"contents");
    *damaged.last_mut().unwrap() ^= 1;
    refused(&damaged, "digest");
    let mut longer = of(3, &[], b"contents");
    longer.push(0);
    refused(&longer, "follows");
    // Small in the pack, large in memory: one megabyte of zeros after another.
    let mut bomb = Maker::new();
    for last in 0..8 {
        let mut zeros = vec![0; 1 << 20];
        zeros[0] = last;
        bomb.add(3, &[], &zeros);
    }
    refused(&bomb.finish(), "unpacks to more than");
}

proptest! {
    #[test]
    fn no_pack_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 12usize..60, to: u8) {
        let _ = read_pack(&bytes);
        let mut maker = Maker::new();
        let start = maker.add(3, &[], b"0123456789");
        let distance = (maker.bytes.len() - start) as u8;
        maker.add(6, &[distance], &delta(b"late"));
        maker.bytes.extend_from_slice(&bytes);
        let mut pack = maker.finish();
        pack[at] = to;
        // With a digest that is right, so that more than the digest is looked at.
        let end = pack.len() - 20;
        let digest = Sha1::digest(&pack[..end]);
        pack[end..].copy_from_slice(&digest);
        let _ = read_pack(&pack);
    }

    #[test]
    fn what_is_packed_comes_out(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..9)) {
        let mut maker = Maker::new();
        for content in &contents {
            maker.add(3, &[], content);
        }
        let objects = read_pack(&maker.finish()).unwrap();
        for expected in &contents {
            prop_assert!(content(&objects, expected));
        }
    }
}
