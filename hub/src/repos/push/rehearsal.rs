//! A push up to where the database is asked, for fuzzing.

use super::known::Known;
use super::pack::{self, Limits, ObjectKind};
use super::{commits, try_trees};
use crate::error::{Error, Result};
use flate2::{Compression, write::ZlibEncoder};
use sha1::{Digest, Sha1};
use std::io::Write;

/// Small, so that what runs into them is found soon.
const LIMITS: Limits = Limits {
    objects: 1000,
    object: 1 << 20,
    total: 16 << 20,
};

/// What a pack comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rehearsed {
    /// Objects, as they come out.
    pub objects: usize,
    /// Commits that can be read.
    pub commits: usize,
    /// Annotated tags that can be read.
    pub tags: usize,
    /// Whether everything that these need is in the pack.
    pub is_whole: bool,
}

/// Unpacks a pack, reads its commits and walks their trees.
pub(crate) fn rehearse(pack: &[u8]) -> Result<Rehearsed> {
    let scratch = tempfile::tempfile().map_err(Error::io("make a scratch file"))?;
    let objects = pack::unpack(pack, scratch, LIMITS)?;
    let (mut read, mut tags) = (Vec::new(), 0);
    for (id, stored) in &objects.by_id {
        let content = objects.read(*stored)?;
        assert_eq!(content.len() as u64, stored.size);
        match stored.kind {
            ObjectKind::Commit => read.extend(commits::parse(id, content)),
            ObjectKind::Tag => {
                tags += usize::from(crate::repos::tags::parse(&hex::encode(id), content).is_ok());
            }
            ObjectKind::Tree | ObjectKind::Blob => {}
        }
    }
    let is_whole = matches!(try_trees(&read, &objects, Known::default()), Ok(Ok(_)));
    Ok(Rehearsed {
        objects: objects.by_id.len(),
        commits: read.len(),
        tags,
        is_whole,
    })
}

/// Puts a pack's digest right, so that what lies behind the check is reached.
pub(crate) fn with_digest(bytes: &[u8]) -> Vec<u8> {
    let mut pack = bytes.to_vec();
    pack.extend_from_slice(&Sha1::digest(bytes));
    pack
}

/// Makes a pack from a description without checksums: of each object the kind (a byte), the length of its contents
/// (two bytes, little-endian), for deltas the base (see below), the contents. Commits and trees can refer to the
/// ids of earlier objects: `\\` and a byte stands for the id of that object, as git writes it there. A delta's base
/// is given as one byte, how many objects earlier it is.
pub(crate) fn pack_of(mut bytes: &[u8]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\0".to_vec();
    let (mut starts, mut ids) = (Vec::new(), Vec::new());
    while let Some((head, rest)) = bytes.split_first_chunk::<3>() {
        let len = usize::from(u16::from_le_bytes([head[1], head[2]])).min(rest.len());
        let (content, rest) = rest.split_at(len);
        bytes = rest;
        let kind = head[0] & 7;
        let content = with_ids(kind, content, &ids);
        let start = pack.len();
        push_object(&mut pack, kind, &starts, &content);
        starts.push(start);
        let name = ["", "commit", "tree", "blob", "tag"].get(usize::from(kind));
        ids.push(crate::repos::git::object_id(
            name.unwrap_or(&"blob"),
            &content,
        ));
    }
    let count = u32::try_from(starts.len()).unwrap_or(u32::MAX);
    pack[8..12].copy_from_slice(&count.to_be_bytes());
    with_digest(&pack)
}

/// Replaces the places that stand for ids.
fn with_ids(kind: u8, content: &[u8], ids: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut bytes = content.iter().copied();
    while let Some(byte) = bytes.next() {
        let wanted = (byte == b'\\').then(|| bytes.next()).flatten();
        let id = wanted.and_then(|at| ids.get(usize::from(at)));
        match (id, kind) {
            (Some(id), 1 | 4) => out.extend_from_slice(id.as_bytes()),
            (Some(id), _) => {
                let raw = crate::repos::git::hash_bytes::<20>(id).unwrap_or_default();
                out.extend_from_slice(&raw);
            }
            (None, _) => out.extend(Some(byte).into_iter().chain(wanted)),
        }
    }
    out
}

fn push_object(pack: &mut Vec<u8>, kind: u8, starts: &[usize], content: &[u8]) {
    let start = pack.len();
    let (base, content) = match (kind, content.split_first()) {
        (6, Some((back, rest))) => (Some(*back), rest),
        _ => (None, content),
    };
    let mut size = content.len();
    let mut byte = (kind << 4) | (size & 0x0f) as u8;
    size >>= 4;
    while size > 0 {
        pack.push(byte | 0x80);
        byte = (size & 0x7f) as u8;
        size >>= 7;
    }
    pack.push(byte);
    if let Some(back) = base {
        let at = starts.len().checked_sub(usize::from(back) + 1);
        let base = at.and_then(|at| starts.get(at)).copied().unwrap_or(0);
        push_distance(pack, (start - base) as u64);
    }
    let mut encoder = ZlibEncoder::new(&mut *pack, Compression::none());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(content);
    let _ = encoder.finish();
}

/// Git's way to write how far back a base lies: seven bits a byte, most significant first, each but the last less one.
fn push_distance(pack: &mut Vec<u8>, mut distance: u64) {
    let mut bytes = vec![(distance & 0x7f) as u8];
    while distance >= 0x80 {
        distance = (distance >> 7) - 1;
        bytes.push(0x80 | (distance & 0x7f) as u8);
    }
    pack.extend(bytes.iter().rev());
}
