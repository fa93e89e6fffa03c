//! Git's objects: ids, trees and commits, as bytes. Format: git's documentation, `gitformat-pack` and `hash-object`.

use crate::error::{Error, Result};
use sha1::{Digest, Sha1};

/// An object's id in hex, 40 digits.
pub(crate) type Oid = String;

/// The id of an object of a kind (`blob`, `tree`, `commit`) with this content.
pub(crate) fn object_id(kind: &str, content: &[u8]) -> Oid {
    let mut hasher = hasher(kind, content.len() as u64);
    hasher.update(content);
    hex::encode(hasher.finalize())
}

/// A hasher that has seen the head of an object of `size` bytes.
pub(crate) fn hasher(kind: &str, size: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("{kind} {size}\0"))
}

/// What stands in git for a large file. Source: git-lfs's specification, "The Pointer".
pub(crate) fn lfs_pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// The digest and size that a pointer names, if the bytes are exactly a pointer.
pub(crate) fn parse_pointer(bytes: &[u8]) -> Option<(String, u64)> {
    if bytes.len() > 200 {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text.strip_prefix("version https://git-lfs.github.com/spec/v1\noid sha256:")?;
    let (sha256, rest) = rest.split_at_checked(64)?;
    let size: u64 = rest
        .strip_prefix("\nsize ")?
        .strip_suffix('\n')?
        .parse()
        .ok()?;
    let is_hex = sha256
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (is_hex && lfs_pointer(sha256, size) == text).then(|| (sha256.to_owned(), size))
}

/// What an entry of a tree is, with what listings say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Facts {
    /// A folder.
    Folder,
    /// A file whose bytes are in git.
    Blob {
        /// Bytes.
        size: u64,
    },
    /// A pointer to a large file.
    Pointer {
        /// Bytes of the pointer itself.
        size: u64,
        /// Digest of the large file, hex.
        sha256: String,
        /// Bytes of the large file.
        content_size: u64,
    },
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Without slashes.
    pub name: String,
    /// Whether git marks it executable.
    pub is_executable: bool,
    /// Id of the blob or tree.
    pub oid: Oid,
    pub facts: Facts,
}

impl Entry {
    pub(crate) fn is_folder(&self) -> bool {
        self.facts == Facts::Folder
    }

    /// As git writes it in trees.
    pub(crate) fn mode(&self) -> &'static str {
        match (self.is_folder(), self.is_executable) {
            (true, _) => "40000",
            (false, true) => "100755",
            (false, false) => "100644",
        }
    }

    /// Git sorts a folder as if its name ended in a slash.
    fn sort_key(&self) -> Vec<u8> {
        let mut key = self.name.as_bytes().to_vec();
        if self.is_folder() {
            key.push(b'/');
        }
        key
    }
}

/// A tree: its git bytes and the facts beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedTree {
    pub oid: Oid,
    pub raw: Vec<u8>,
    pub facts: Vec<u8>,
}

/// Encodes entries, in whatever order they come.
pub(crate) fn encode_tree(mut entries: Vec<Entry>) -> Result<EncodedTree> {
    entries.sort_by_cached_key(Entry::sort_key);
    let mut raw = Vec::new();
    let mut facts = Vec::new();
    for entry in &entries {
        raw.extend_from_slice(entry.mode().as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(entry.name.as_bytes());
        raw.push(0);
        raw.extend(hash_bytes::<20>(&entry.oid)?);
        push_facts(&mut facts, &entry.facts)?;
    }
    Ok(EncodedTree {
        oid: object_id("tree", &raw),
        raw,
        facts,
    })
}

fn push_facts(to: &mut Vec<u8>, facts: &Facts) -> Result<()> {
    match facts {
        Facts::Folder => to.push(0),
        Facts::Blob { size } => {
            to.push(1);
            to.extend(size.to_le_bytes());
        }
        Facts::Pointer {
            size,
            sha256,
            content_size,
        } => {
            to.push(2);
            to.extend(size.to_le_bytes());
            to.extend(hash_bytes::<32>(sha256)?);
            to.extend(content_size.to_le_bytes());
        }
    }
    Ok(())
}

/// Bytes of a hash in hex.
pub(crate) fn hash_bytes<const N: usize>(text: &str) -> Result<[u8; N]> {
    crate::db::from_hex(text)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::Damaged(format!("{text:?} is not a hash of {N} bytes")))
}

/// Reads a stored tree back.
pub(crate) fn decode_tree(oid: &str, raw: &[u8], facts: &[u8]) -> Result<Vec<Entry>> {
    StoredTree::new(raw, facts)
        .map(|entry| entry?.decode())
        .collect::<Option<_>>()
        .ok_or_else(|| damaged(oid))
}

/// The entry of one name in a stored tree. The others are passed over, which for a file of a large folder is much less
/// work than reading them all.
pub(crate) fn find_in_tree(
    oid: &str,
    raw: &[u8],
    facts: &[u8],
    name: &str,
) -> Result<Option<Entry>> {
    for entry in StoredTree::new(raw, facts) {
        let entry = entry.ok_or_else(|| damaged(oid))?;
        if entry.name == name.as_bytes() {
            return entry.decode().map(Some).ok_or_else(|| damaged(oid));
        }
    }
    Ok(None)
}

fn damaged(oid: &str) -> Error {
    Error::Damaged(format!("tree {oid} does not parse; run fsck"))
}

/// Reads a stored tree, entry by entry.
struct StoredTree<'a> {
    raw: Bytes<'a>,
    facts: Bytes<'a>,
}

impl<'a> StoredTree<'a> {
    fn new(raw: &'a [u8], facts: &'a [u8]) -> Self {
        Self {
            raw: Bytes(raw),
            facts: Bytes(facts),
        }
    }

    fn entry(&mut self) -> Option<StoredEntry<'a>> {
        Some(StoredEntry {
            mode: self.raw.until(b' ')?,
            name: self.raw.until(0)?,
            id: self.raw.take(20)?,
            facts: self.facts.facts()?,
        })
    }
}

impl<'a> Iterator for StoredTree<'a> {
    /// `None` in place of an entry that does not parse.
    type Item = Option<StoredEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.raw.0.is_empty()).then(|| self.entry())
    }
}

/// An entry of a stored tree, in its bytes.
struct StoredEntry<'a> {
    mode: &'a [u8],
    name: &'a [u8],
    id: &'a [u8],
    facts: &'a [u8],
}

impl StoredEntry<'_> {
    fn decode(&self) -> Option<Entry> {
        let (kind, facts) = self.facts.split_first()?;
        let mut facts = Bytes(facts);
        Some(Entry {
            name: std::str::from_utf8(self.name).ok()?.to_owned(),
            is_executable: self.mode == b"100755",
            oid: hex::encode(self.id),
            facts: match kind {
                0 => Facts::Folder,
                1 => Facts::Blob { size: facts.u64()? },
                2 => Facts::Pointer {
                    size: facts.u64()?,
                    sha256: hex::encode(facts.take(32)?),
                    content_size: facts.u64()?,
                },
                _ => return None,
            },
        })
    }
}

/// Takes bytes from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.0.iter().position(|&byte| byte == end)?;
        let head = self.take(at)?;
        self.take(1)?;
        Some(head)
    }

    /// The facts of one entry, as [`push_facts`] writes them.
    fn facts(&mut self) -> Option<&'a [u8]> {
        let len = match self.0.first()? {
            0 => 1,
            1 => 1 + 8,
            2 => 1 + 8 + 32 + 8,
            _ => return None,
        };
        self.take(len)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// What makes a commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitText<'a> {
    pub tree: &'a str,
    pub parent: Option<&'a str>,
    /// A user's name, free of angle brackets and line ends.
    pub author: &'a str,
    pub email: &'a str,
    /// Seconds since 1970.
    pub date_s: i64,
    pub message: &'a str,
}

/// The bytes of a commit.
pub(crate) fn encode_commit(commit: &CommitText<'_>) -> Vec<u8> {
    let mut text = format!("tree {}\n", commit.tree);
    if let Some(parent) = commit.parent {
        text.push_str(&format!("parent {parent}\n"));
    }
    let who = format!(
        "{} <{}> {} +0000",
        commit.author, commit.email, commit.date_s
    );
    text.push_str(&format!(
        "author {who}\ncommitter {who}\n\n{}\n",
        commit.message
    ));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_gits() {
        assert_eq!(
            object_id("blob", b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            object_id("tree", b""),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
    }

    #[test]
    fn pointers_round_trip_and_nothing_else_is_one() {
        let sha = "0".repeat(64);
        let text = lfs_pointer(&sha, 12);
        assert_eq!(parse_pointer(text.as_bytes()), Some((sha, 12)));
        assert_eq!(parse_pointer(text.trim_end().as_bytes()), None);
        assert_eq!(
            parse_pointer(text.replace("size 12", "size 012").as_bytes()),
            None
        );
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let facts = prop_oneof![
            Just(Facts::Folder),
            any::<u64>().prop_map(|size| Facts::Blob { size }),
            ("[0-9a-f]{64}", any::<u64>()).prop_map(|(sha256, content_size)| Facts::Pointer {
                size: 1,
                sha256,
                content_size,
            }),
        ];
        ("[a-z.é]{1,9}", "[0-9a-f]{40}", facts).prop_map(|(name, oid, facts)| Entry {
            name,
            is_executable: false,
            oid,
            facts,
        })
    }

    proptest! {
        #[test]
        fn trees_round_trip(mut entries in prop::collection::vec(entry(), 0..20)) {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            entries.dedup_by(|a, b| a.name == b.name);
            let tree = encode_tree(entries.clone()).unwrap();
            for entry in &entries {
                let found = find_in_tree(&tree.oid, &tree.raw, &tree.facts, &entry.name).unwrap();
                prop_assert_eq!(found.as_ref(), Some(entry));
            }
            prop_assert_eq!(find_in_tree(&tree.oid, &tree.raw, &tree.facts, "/").unwrap(), None);
            let mut back = decode_tree(&tree.oid, &tree.raw, &tree.facts).unwrap();
            back.sort_by(|a, b| a.name.cmp(&b.name));
            prop_assert_eq!(back, entries);
        }

        #[test]
        fn damaged_trees_do_not_panic(raw in prop::collection::vec(any::<u8>(), 0..99), facts in prop::collection::vec(any::<u8>(), 0..99)) {
            let all = decode_tree("x", &raw, &facts);
            let found = find_in_tree("x", &raw, &facts, "a");
            prop_assert!(all.is_err() || found.is_ok());
            let _ = parse_pointer(&raw);
        }
    }
}
