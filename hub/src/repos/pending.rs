//! Files of a commit that is not written yet: what is new is at hand, the rest is in the database.

use super::commits::Pack;
use super::git::{EncodedTree, Entry, decode_tree};
use super::{files, trees};
use crate::db::Db;
use crate::error::Result;
use crate::limits;
use crate::objects::{Objects, pack_key};

/// A commit's new objects, and where the others are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending<'a> {
    pub db: &'a Db,
    pub objects: &'a Objects,
    pub trees: &'a [EncodedTree],
    /// Its blobs are in the object store already.
    pub pack: &'a Pack,
}

impl Pending<'_> {
    /// Reads a small file below a tree; nothing when it is missing, too large or no text.
    pub(crate) async fn text(&self, root: &str, path: &str) -> Result<Option<String>> {
        let Some(entry) = self.find(root, path).await? else {
            return Ok(None);
        };
        if entry.is_folder() || files::blob_size(&entry) > limits::CARD as u64 {
            return Ok(None);
        }
        let (pack, start, size) = self.place(&entry.oid).await?;
        let bytes = self
            .objects
            .read(&pack_key(&pack), start..start + size)
            .await?;
        Ok(String::from_utf8(bytes.to_vec()).ok())
    }

    async fn find(&self, root: &str, path: &str) -> Result<Option<Entry>> {
        let mut tree = root.to_owned();
        let mut found: Option<Entry> = None;
        for part in path.split('/') {
            if found.as_ref().is_some_and(|entry| !entry.is_folder()) {
                return Ok(None);
            }
            let entries = self.entries(&tree).await?;
            let Some(entry) = entries.into_iter().find(|entry| entry.name == part) else {
                return Ok(None);
            };
            tree.clone_from(&entry.oid);
            found = Some(entry);
        }
        Ok(found)
    }

    async fn entries(&self, oid: &str) -> Result<Vec<Entry>> {
        match self.trees.iter().find(|tree| tree.oid == oid) {
            Some(new) => decode_tree(&new.oid, &new.raw, &new.facts),
            None => trees::load(self.db, oid).await,
        }
    }

    async fn place(&self, oid: &str) -> Result<(String, u64, u64)> {
        match self.pack.blobs.iter().find(|blob| blob.oid == oid) {
            Some(new) => Ok((self.pack.id.clone(), new.start, new.size)),
            None => files::blob_place(self.db, oid).await,
        }
    }
}
