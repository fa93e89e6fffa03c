//! Reading a pack that a stranger sent: every object comes out whole, within limits. Source: git's documentation,
//! `gitformat-pack`.

use super::delta;
use crate::error::{Error, Result};
use crate::repos::git::hasher;
use flate2::bufread::ZlibDecoder;
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

/// An object's id, raw.
pub(crate) type Id = [u8; 20];

/// How much a pack may ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub objects: u32,
    /// Bytes of one object.
    pub object: u64,
    /// Bytes of all objects, and of all that are read again as bases of deltas.
    pub total: u64,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Commit,
    Tree,
    Blob,
    /// An annotated tag.
    Tag,
}

impl ObjectKind {
    /// As git writes it before an object's bytes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// An object in the scratch file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub kind: ObjectKind,
    pub start: u64,
    pub size: u64,
}

/// A pack's objects.
#[derive(Debug)]
pub(crate) struct Objects {
    pub by_id: HashMap<Id, Stored>,
    scratch: File,
}

impl Objects {
    /// Of a push that brings none.
    pub(crate) fn none(scratch: File) -> Self {
        Self {
            by_id: HashMap::new(),
            scratch,
        }
    }

    /// An object of a kind.
    pub(crate) fn get(&self, id: &Id, kind: ObjectKind) -> Option<Stored> {
        self.by_id
            .get(id)
            .copied()
            .filter(|stored| stored.kind == kind)
    }

    /// An object's bytes.
    pub(crate) fn read(&self, stored: Stored) -> Result<Vec<u8>> {
        read(&self.scratch, stored.start, stored.size)
    }
}

fn read(scratch: &File, start: u64, size: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    scratch
        .read_exact_at(&mut bytes, start)
        .map_err(Error::io("read a pushed object back"))?;
    Ok(bytes)
}

/// Reads a whole pack. Contents lie in `scratch` afterwards, an empty file.
///
/// # Errors
/// When it is no pack, is damaged, asks for too much, or refers to objects that it does not bring.
pub(crate) fn unpack(pack: impl BufRead, scratch: File, limits: Limits) -> Result<Objects> {
    let mut reader = Counted::new(pack);
    let mut head = [0; 12];
    reader.exact(&mut head)?;
    if !head.starts_with(b"PACK\0\0\0\x02") {
        return Err(bad("it does not begin as a pack of version 2"));
    }
    let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    if count > limits.objects {
        return Err(bad(format!(
            "it has {count} objects, {} are allowed; push in parts",
            limits.objects
        )));
    }
    let writer = scratch.try_clone().map_err(Error::io("store a push"))?;
    let mut unpacking = Unpacking {
        scratch,
        writer: BufWriter::with_capacity(256 * 1024, writer),
        written: 0,
        spent: 0,
        limits,
        by_id: HashMap::new(),
        by_offset: HashMap::new(),
        waiting: Vec::new(),
    };
    for _ in 0..count {
        unpacking.object(&mut reader)?;
    }
    reader.finish()?;
    unpacking.settle()
}

fn bad(problem: impl std::fmt::Display) -> Error {
    Error::bad(format!("the pushed pack cannot be used: {problem}"))
}

/// What a delta is to be applied to.
#[derive(Debug, Clone, Copy)]
enum Base {
    /// Where it begins in the pack.
    Offset(u64),
    Id(Id),
}

/// A delta whose base has not come yet.
#[derive(Debug)]
struct Waiting {
    at: u64,
    base: Base,
    start: u64,
    size: u64,
}

struct Unpacking {
    scratch: File,
    writer: BufWriter<File>,
    written: u64,
    spent: u64,
    limits: Limits,
    by_id: HashMap<Id, Stored>,
    by_offset: HashMap<u64, Stored>,
    waiting: Vec<Waiting>,
}

impl Unpacking {
    fn object(&mut self, reader: &mut Counted<impl BufRead>) -> Result<()> {
        let at = reader.offset;
        let (number, size) = reader.head()?;
        let kind = match number {
            1 => ObjectKind::Commit,
            2 => ObjectKind::Tree,
            3 => ObjectKind::Blob,
            4 => ObjectKind::Tag,
            6 => {
                let base = reader.distance()?;
                let base = at
                    .checked_sub(base)
                    .ok_or_else(|| bad("a delta's base lies before the pack"))?;
                return self.delta(reader, at, size, Base::Offset(base));
            }
            7 => {
                let mut id = [0; 20];
                reader.exact(&mut id)?;
                return self.delta(reader, at, size, Base::Id(id));
            }
            other => return Err(bad(format!("there is no kind of object {other}"))),
        };
        let content = self.inflate(reader, size)?;
        self.store(at, kind, &content)
    }

    /// Unpacks `size` bytes; exactly as many have to come.
    fn inflate(&mut self, reader: &mut Counted<impl BufRead>, size: u64) -> Result<Vec<u8>> {
        self.check_size(size)?;
        let mut content = Vec::new();
        let mut decoder = ZlibDecoder::new(&mut *reader);
        let done = decoder.by_ref().take(size + 1).read_to_end(&mut content);
        done.map_err(|error| bad(format!("an object does not unpack ({error})")))?;
        if content.len() as u64 != size {
            return Err(bad("an object has another size than it says"));
        }
        Ok(content)
    }

    fn check_size(&mut self, size: u64) -> Result<()> {
        if size > self.limits.object {
            return Err(Error::bad(format!(
                "a pushed object has {size} bytes, {} are allowed; files above that go through git-lfs: \
                 `git lfs migrate import --above=10MB`",
                self.limits.object
            )));
        }
        self.spend(size)
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > self.limits.total {
            return Err(bad(format!(
                "it unpacks to more than {} bytes; push in parts",
                self.limits.total
            )));
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.written;
        self.writer
            .write_all(bytes)
            .map_err(Error::io("store a push"))?;
        self.written += bytes.len() as u64;
        Ok(start)
    }

    fn store(&mut self, at: u64, kind: ObjectKind, content: &[u8]) -> Result<()> {
        let mut hasher = hasher(kind.as_str(), content.len() as u64);
        hasher.update(content);
        let id: Id = hasher.finalize().into();
        let stored = match self.by_id.get(&id) {
            Some(stored) => *stored,
            None => Stored {
                kind,
                start: self.append(content)?,
                size: content.len() as u64,
            },
        };
        self.by_id.insert(id, stored);
        self.by_offset.insert(at, stored);
        Ok(())
    }

    fn delta(
        &mut self,
        reader: &mut Counted<impl BufRead>,
        at: u64,
        size: u64,
        base: Base,
    ) -> Result<()> {
        let delta = self.inflate(reader, size)?;
        if self.resolve(at, base, &delta)? {
            return Ok(());
        }
        let start = self.append(&delta)?;
        self.waiting.push(Waiting {
            at,
            base,
            start,
            size,
        });
        Ok(())
    }

    /// Applies a delta; false when its base is not there.
    fn resolve(&mut self, at: u64, base: Base, delta: &[u8]) -> Result<bool> {
        let base = match base {
            Base::Offset(offset) => self.by_offset.get(&offset),
            Base::Id(id) => self.by_id.get(&id),
        };
        let Some(base) = base.copied() else {
            return Ok(false);
        };
        self.spend(base.size)?;
        self.writer.flush().map_err(Error::io("store a push"))?;
        let bytes = read(&self.scratch, base.start, base.size)?;
        let size = delta::result_size(&bytes, delta)
            .ok_or_else(|| bad("a delta does not fit its base"))?;
        self.check_size(size)?;
        let content =
            delta::apply(&bytes, delta).ok_or_else(|| bad("a delta does not fit its base"))?;
        self.store(at, base.kind, &content)?;
        Ok(true)
    }

    /// Applies the deltas whose bases came after them.
    fn settle(mut self) -> Result<Objects> {
        self.writer.flush().map_err(Error::io("store a push"))?;
        // Packs of git have their bases first; whoever nests them the other way round is not waited for.
        for _ in 0..ROUNDS {
            let waiting = std::mem::take(&mut self.waiting);
            if waiting.is_empty() {
                break;
            }
            for one in waiting {
                self.spend(one.size)?;
                let delta = read(&self.scratch, one.start, one.size)?;
                if !self.resolve(one.at, one.base, &delta)? {
                    self.waiting.push(one);
                }
            }
        }
        self.writer.flush().map_err(Error::io("store a push"))?;
        if let Some(one) = self.waiting.first() {
            return Err(bad(format!(
                "the object at byte {} builds on one that it does not bring; push with `git -c pack.thin=false push`, \
                 or `git push --no-thin`",
                one.at
            )));
        }
        Ok(Objects {
            by_id: self.by_id,
            scratch: self.scratch,
        })
    }
}

/// How often deltas are tried whose bases come after them.
const ROUNDS: usize = 60;

/// Reads on, counting and hashing what is taken.
struct Counted<R> {
    inner: R,
    offset: u64,
    hasher: Sha1,
}

impl<R: BufRead> Counted<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            hasher: Sha1::new(),
        }
    }

    fn exact(&mut self, to: &mut [u8]) -> Result<()> {
        self.read_exact(to).map_err(|_| bad("it breaks off"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Kind and size of an object.
    fn head(&mut self) -> Result<(u8, u64)> {
        let mut byte = self.byte()?;
        let kind = byte >> 4 & 7;
        let mut size = u64::from(byte & 0x0f);
        let mut shift = 4;
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            if shift > 53 {
                return Err(bad("an object's size has too many digits"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok((kind, size))
    }

    /// How far back a delta's base begins.
    fn distance(&mut self) -> Result<u64> {
        let mut byte = self.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            let next = distance.checked_add(1).and_then(|n| n.checked_mul(128));
            distance =
                next.ok_or_else(|| bad("a delta's base is too far away"))? | u64::from(byte & 0x7f);
        }
        Ok(distance)
    }

    /// The digest at the end, and nothing after it.
    fn finish(mut self) -> Result<()> {
        let expected = self.hasher.clone().finalize();
        let mut found = [0; 20];
        self.exact(&mut found)?;
        if found != expected[..] {
            return Err(bad("its digest is not that of its contents"));
        }
        let rest = self.inner.fill_buf().map_err(Error::io("read a push"))?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(bad("something follows it"))
        }
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(to.len());
        to[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // Bytes that were seen already are there again without reading.
        if let Ok(bytes) = self.inner.fill_buf() {
            self.hasher.update(&bytes[..count.min(bytes.len())]);
        }
        self.offset += count as u64;
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests;
