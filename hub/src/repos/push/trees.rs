//! Checking pushed trees: the rules for paths hold for git as for every other way in.

use super::known::Known;
use super::pack::{Id, ObjectKind, Objects, Stored};
use crate::error::{Error, Result};
use crate::paths::PATH_LIMIT;
use crate::repos::git::{EncodedTree, Entry, Facts, encode_tree, parse_pointer};
use crate::repos::names::{check_path, fold};
use crate::repos::trees::join;
use std::collections::{HashMap, HashSet};

/// Folders in each other.
const DEPTH: usize = 200;
/// Files below one commit. Trees that name the same folder again and again multiply.
const FILES: u64 = 1_000_000;

/// Why a tree is not taken.
#[derive(Debug)]
pub(super) enum Problem {
    /// It refers to something that is not here.
    Missing {
        path: String,
        id: Id,
    },
    Other(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// How much lies below a folder.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    files: u64,
    /// Bytes of the longest path below it.
    longest: usize,
}

/// Trees of a push, checked one after another.
pub(super) struct Trees<'a> {
    objects: &'a Objects,
    known: Known,
    extents: HashMap<Id, Extent>,
    found: Found,
}

/// What the trees of a push bring.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// New trees, encoded, deepest first.
    pub new: Vec<EncodedTree>,
    /// Blobs of the push that new trees name.
    pub blobs: HashSet<Id>,
    /// Large files that those point to: digest, size and a path.
    pub pointers: Vec<(String, u64, String)>,
}

impl<'a> Trees<'a> {
    pub(super) fn new(objects: &'a Objects, known: Known) -> Self {
        Self {
            objects,
            known,
            extents: HashMap::new(),
            found: Found::default(),
        }
    }

    /// What they bring, once all are checked.
    pub(super) fn finish(self) -> Found {
        self.found
    }

    /// Checks the tree of a commit with everything below it.
    pub(super) fn check_root(&mut self, id: &Id) -> std::result::Result<(), Problem> {
        self.check(id, "", 0)?;
        Ok(())
    }

    fn check(&mut self, id: &Id, path: &str, depth: usize) -> std::result::Result<Extent, Problem> {
        if depth > DEPTH {
            return Err(refused(path, "lies in more than 200 folders").into());
        }
        if let Some(extent) = self.extents.get(id) {
            return self.fits(*extent, path);
        }
        let mut extent = Extent::default();
        if let Some(children) = self.known.folder(id).map(<[_]>::to_vec) {
            for child in children {
                let below = if child.is_folder {
                    self.check(&child.id, path, depth + 1)?
                } else {
                    FILE
                };
                extent.add(child.name_len, below);
            }
        } else {
            let missing = || Problem::Missing {
                path: path.to_owned(),
                id: *id,
            };
            let stored = self.objects.get(id, ObjectKind::Tree).ok_or_else(missing)?;
            let entries = self.entries(&self.objects.read(stored)?, path, depth, &mut extent)?;
            let tree = encode_tree(entries.clone())?;
            if tree.oid != hex::encode(id) {
                return Err(
                    refused(path, "is a folder whose entries are not in git's order").into(),
                );
            }
            self.known.insert(&tree.oid, &entries)?;
            self.found.new.push(tree);
        }
        self.extents.insert(*id, extent);
        self.fits(extent, path)
    }

    fn fits(&self, extent: Extent, path: &str) -> std::result::Result<Extent, Problem> {
        if extent.files > FILES {
            return Err(refused(path, "has more than a million files below it").into());
        }
        if path.len() + extent.longest > PATH_LIMIT {
            return Err(refused(path, "has paths longer than 1024 bytes below it").into());
        }
        Ok(extent)
    }

    fn entries(
        &mut self,
        raw: &[u8],
        folder: &str,
        depth: usize,
        extent: &mut Extent,
    ) -> std::result::Result<Vec<Entry>, Problem> {
        let mut entries = Vec::new();
        let mut names = HashSet::new();
        for parsed in parse(raw) {
            let (mode, name, id) =
                parsed.ok_or_else(|| refused(folder, "is a folder that does not parse"))?;
            let name = std::str::from_utf8(name)
                .map_err(|_| refused(folder, "has a name that is not UTF-8"))?;
            let path = join(folder, name);
            check_path(&path)?;
            if name.contains('/') || !names.insert(fold(name)) {
                return Err(
                    refused(&path, "has the name of something beside it, case aside").into(),
                );
            }
            let is_executable = mode == b"100755";
            let facts = match mode {
                b"40000" => {
                    let below = self.check(&id, &path, depth + 1)?;
                    extent.add(name.len(), below);
                    Facts::Folder
                }
                b"100644" | b"100755" => {
                    extent.add(name.len(), FILE);
                    self.file(&id, &path)?
                }
                b"120000" => {
                    return Err(refused(&path, "is a symbolic link; commit the file itself").into());
                }
                b"160000" => {
                    return Err(refused(&path, "is a submodule; commit its files instead").into());
                }
                _ => return Err(refused(&path, "is of a kind that this hub does not know").into()),
            };
            entries.push(Entry {
                name: name.to_owned(),
                is_executable,
                oid: hex::encode(id),
                facts,
            });
        }
        if entries.is_empty() && !folder.is_empty() {
            return Err(refused(folder, "is an empty folder, which git does not have").into());
        }
        Ok(entries)
    }

    fn file(&mut self, id: &Id, path: &str) -> std::result::Result<Facts, Problem> {
        if let Some(facts) = self.known.file(id) {
            return Ok(facts.clone());
        }
        let missing = || Problem::Missing {
            path: path.to_owned(),
            id: *id,
        };
        let stored = self.objects.get(id, ObjectKind::Blob).ok_or_else(missing)?;
        self.found.blobs.insert(*id);
        Ok(self.facts(stored, path)?)
    }

    fn facts(&mut self, stored: Stored, path: &str) -> Result<Facts> {
        let size = stored.size;
        // Pointers are short.
        let content = if size <= 200 {
            self.objects.read(stored)?
        } else {
            Vec::new()
        };
        let Some((sha256, content_size)) = parse_pointer(&content) else {
            return Ok(Facts::Blob { size });
        };
        self.found
            .pointers
            .push((sha256.clone(), content_size, path.to_owned()));
        Ok(Facts::Pointer {
            size,
            sha256,
            content_size,
        })
    }
}

const FILE: Extent = Extent {
    files: 1,
    longest: 0,
};

impl Extent {
    fn add(&mut self, name_len: usize, below: Self) {
        self.files = self.files.saturating_add(below.files);
        self.longest = self.longest.max(1 + name_len + below.longest);
    }
}

fn refused(path: &str, problem: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    let shown = if shown.is_empty() {
        "the root".to_owned()
    } else {
        format!("{shown:?}")
    };
    Error::bad(format!("{shown} {problem}"))
}

type RawEntry<'a> = (&'a [u8], &'a [u8], Id);

/// Mode, name and id of each entry; `None` where the bytes do not go on as a tree does.
fn parse(raw: &[u8]) -> impl Iterator<Item = Option<RawEntry<'_>>> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = parse_one(rest);
        rest = entry.map_or(&[], |(_, rest)| rest);
        Some(entry.map(|(entry, _)| entry))
    })
}

fn parse_one(raw: &[u8]) -> Option<(RawEntry<'_>, &[u8])> {
    let (mode, rest) = raw.split_at_checked(raw.iter().position(|&byte| byte == b' ')?)?;
    let rest = &rest[1..];
    let (name, rest) = rest.split_at_checked(rest.iter().position(|&byte| byte == 0)?)?;
    let (id, rest) = rest[1..].split_first_chunk::<20>()?;
    Some(((mode, name, *id), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_tree_panics(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&raw).count() <= raw.len());
        }
    }

    #[test]
    fn entries_are_read_in_turn() {
        let raw = [b"100644 a\0".as_slice(), &[1; 20], b"40000 b\0", &[2; 20]].concat();
        let entries: Vec<_> = parse(&raw).map(Option::unwrap).collect();
        assert_eq!(entries[1], (b"40000".as_slice(), b"b".as_slice(), [2; 20]));
        assert!(parse(&raw[..30]).last().unwrap().is_none());
    }
}
