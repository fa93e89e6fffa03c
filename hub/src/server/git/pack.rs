//! Writing a pack, object after object, into a side band. Source: git's documentation, `gitformat-pack`.

use super::packets::{FLUSH, MOST, packet};
use super::reach::{Commits, Objects};
use crate::error::{Error, Result};
use crate::objects::pack_key;
use crate::repos::Repo;
use crate::server::Hub;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest, Sha1};
use sqlx::Row;
use std::io::Write;
use tokio::sync::mpsc;

/// Where pieces of the answer go.
pub(super) type Sender = mpsc::Sender<std::io::Result<Bytes>>;

/// Numbers of the kinds of object in a pack.
const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const TAG: u8 = 4;

/// Bytes that are collected before they are sent.
const PIECE: usize = 256 * 1024;

/// Writes a pack of everything found.
pub(super) async fn write(
    hub: &Hub,
    repo: &Repo,
    commits: &Commits,
    objects: Objects,
    sender: &Sender,
) -> Result<()> {
    let count = commits.send.len() + commits.tags.len() + objects.trees.len() + objects.blobs.len();
    let count =
        u32::try_from(count).map_err(|_| Error::bad("the repository has too many objects"))?;
    let mut writer = Writer::new(sender);
    writer.raw(b"PACK\0\0\0\x02").await?;
    writer.raw(&count.to_be_bytes()).await?;
    for commit in &commits.send {
        writer.object(COMMIT, &commit.raw).await?;
    }
    tags(hub, repo, &commits.tags, &mut writer).await?;
    trees(hub, &objects.trees, &mut writer).await?;
    blobs(hub, &objects.blobs, &mut writer).await?;
    writer.finish().await
}

async fn tags(hub: &Hub, repo: &Repo, oids: &[String], writer: &mut Writer<'_>) -> Result<()> {
    for part in oids.chunks(64) {
        let found = crate::repos::tags::read(&hub.db, repo, part).await?;
        complete(found.len(), part.len(), "tags")?;
        for raw in found.values() {
            writer.object(TAG, raw).await?;
        }
    }
    Ok(())
}

async fn trees(hub: &Hub, oids: &[String], writer: &mut Writer<'_>) -> Result<()> {
    for part in oids.chunks(64) {
        // The empty tree is stored nowhere.
        let is_empty = part.iter().any(|oid| oid == crate::repos::trees::EMPTY);
        let rows = hub
            .db
            .in_list("SELECT oid, raw FROM trees WHERE oid IN", "", &[], part)
            .await?;
        let mut written = 0;
        for row in rows {
            let oid: String = row.try_get("oid")?;
            let raw: Vec<u8> = row.try_get("raw")?;
            if oid != crate::repos::trees::EMPTY {
                writer.object(TREE, &raw).await?;
                written += 1;
            }
        }
        if is_empty {
            writer.object(TREE, b"").await?;
            written += 1;
        }
        complete(written, part.len(), "trees")?;
    }
    Ok(())
}

async fn blobs(hub: &Hub, oids: &[String], writer: &mut Writer<'_>) -> Result<()> {
    for part in oids.chunks(200) {
        let head = "SELECT oid, pack, start, size FROM blobs WHERE oid IN";
        let rows = hub
            .db
            .in_list(head, "ORDER BY pack, start", &[], part)
            .await?;
        complete(rows.len(), part.len(), "blobs")?;
        for row in rows {
            let pack: String = row.try_get("pack")?;
            let start: i64 = row.try_get("start")?;
            let size: i64 = row.try_get("size")?;
            let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
            let range = unsigned(start)..unsigned(start) + unsigned(size);
            let bytes = hub.objects.read(&pack_key(&pack), range).await?;
            writer.object(BLOB, &bytes).await?;
        }
    }
    Ok(())
}

fn complete(found: usize, expected: usize, what: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Damaged(format!(
        "{} {what} are missing; run fsck",
        expected - found
    )))
}

/// Collects bytes, hashes them and sends them on.
struct Writer<'a> {
    sender: &'a Sender,
    buffer: Vec<u8>,
    hasher: Sha1,
}

impl<'a> Writer<'a> {
    fn new(sender: &'a Sender) -> Self {
        Self {
            sender,
            buffer: Vec::new(),
            hasher: Sha1::new(),
        }
    }

    async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.send().await
        } else {
            Ok(())
        }
    }

    async fn object(&mut self, kind: u8, content: &[u8]) -> Result<()> {
        self.raw(&head(kind, content.len())).await?;
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let packed = encoder.write_all(content).and_then(|()| encoder.finish());
        self.raw(&packed.map_err(Error::io("pack an object"))?)
            .await
    }

    /// Everything collected, in packets of the first side band.
    async fn send(&mut self) -> Result<()> {
        let mut out = Vec::with_capacity(self.buffer.len() + 64);
        for part in self.buffer.chunks(MOST - 1) {
            let mut banded = vec![1];
            banded.extend_from_slice(part);
            out.extend(packet(&banded));
        }
        self.buffer.clear();
        let sent = self.sender.send(Ok(Bytes::from(out))).await;
        sent.map_err(|_| Error::bad("the client hung up"))
    }

    async fn finish(mut self) -> Result<()> {
        let digest = std::mem::take(&mut self.hasher).finalize();
        self.buffer.extend_from_slice(&digest);
        self.send().await?;
        let end = self.sender.send(Ok(Bytes::from_static(FLUSH))).await;
        end.map_err(|_| Error::bad("the client hung up"))
    }
}

/// Kind and size of an object: four bits of the size first, then seven at a time, least significant first.
fn head(kind: u8, size: usize) -> Vec<u8> {
    // Masked, so the conversions keep every bit.
    let low = |n: usize, mask: usize| u8::try_from(n & mask).unwrap_or(0);
    let mut rest = size >> 4;
    let mut head = vec![(kind << 4) | low(size, 0x0f)];
    while rest > 0 {
        if let Some(last) = head.last_mut() {
            *last |= 0x80;
        }
        head.push(low(rest, 0x7f));
        rest >>= 7;
    }
    head
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn heads_are_gits() {
        assert_eq!(head(3, 5), [0x35]);
        assert_eq!(head(3, 16), [0xb0, 0x01]);
        assert_eq!(head(1, 0x1234), [0x94, 0xa3, 0x02]);
    }
}
