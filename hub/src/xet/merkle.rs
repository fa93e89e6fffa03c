//! Hashes of chunks, and the tree over them that names xorbs and files.
//!
//! All are keyed BLAKE3. An inner node hashes the text of its children, one line each:
//! hash, ` : `, decimal size. How a level is grouped: `closes`.

use super::hash::Hash;
use std::fmt::Write;

/// Key of chunks.
const DATA_KEY: [u8; 32] = [
    102, 151, 245, 119, 91, 149, 80, 222, 49, 53, 203, 172, 165, 151, 24, 28, 157, 228, 33, 16,
    155, 235, 43, 88, 180, 208, 176, 75, 147, 173, 242, 41,
];
/// Key of inner nodes.
const NODE_KEY: [u8; 32] = [
    1, 126, 197, 199, 165, 71, 41, 150, 253, 148, 102, 102, 180, 138, 2, 230, 93, 221, 83, 111, 55,
    199, 109, 210, 248, 99, 82, 230, 74, 83, 113, 63,
];
/// Key of ranges of chunks.
const RANGE_KEY: [u8; 32] = [
    127, 24, 87, 214, 206, 86, 237, 102, 18, 127, 249, 19, 231, 165, 195, 243, 164, 205, 38, 213,
    181, 219, 73, 230, 65, 36, 152, 127, 40, 251, 148, 195,
];
/// Key that makes a file's root its hash.
const FILE_KEY: [u8; 32] = [0; 32];

/// Fewest children of a node that is not the last of its level.
const MIN_CHILDREN: usize = 3;
/// Most children of a node.
const MAX_CHILDREN: usize = 9;
/// A child whose hash is divisible by this ends its group.
const BRANCHING: u64 = 4;
/// One chunk in so many, by its hash, can be asked for in global deduplication.
const DEDUP_MODULUS: u64 = 1024;

fn keyed(key: &[u8; 32], data: &[u8]) -> Hash {
    Hash::from_bytes(*blake3::keyed_hash(key, data).as_bytes())
}

/// The hash of a chunk's bytes.
pub fn chunk_hash(data: &[u8]) -> Hash {
    keyed(&DATA_KEY, data)
}

/// The hash over consecutive chunks of a xorb, which shows that whoever states it knows them all.
pub fn range_hash(chunks: &[Hash]) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(&RANGE_KEY);
    for chunk in chunks {
        hasher.update(chunk.as_bytes());
    }
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

/// A chunk's hash as a keyed dedup shard shows it: whoever has the chunk recognises it, and nobody else
/// learns its hash.
pub fn shielded_hash(key: &Hash, chunk: &Hash) -> Hash {
    keyed(key.as_bytes(), chunk.as_bytes())
}

/// The hash of a xorb made of chunks with these hashes and sizes in bytes.
pub fn xorb_hash(chunks: impl IntoIterator<Item = (Hash, u64)>) -> Hash {
    let mut tree = Tree::new();
    for (hash, size) in chunks {
        tree.push(hash, size);
    }
    tree.xorb_hash()
}

/// The hash of a file made of chunks with these hashes and sizes in bytes.
pub fn file_hash(chunks: impl IntoIterator<Item = (Hash, u64)>) -> Hash {
    let mut tree = Tree::new();
    for (hash, size) in chunks {
        tree.push(hash, size);
    }
    tree.file_hash()
}

/// Whether a chunk's hash alone makes it one that clients ask for in global deduplication.
pub fn is_dedup_eligible(chunk: &Hash) -> bool {
    chunk.modulo(DEDUP_MODULUS) == 0
}

/// The tree over the chunks of a xorb or file, built as they come, in memory that grows with the
/// logarithm of their number.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    levels: Vec<Level>,
    size: u64,
}

/// What is known of one level: the nodes of its open group, and how many nodes it has had.
#[derive(Debug, Clone, Default)]
struct Level {
    group: Vec<(Hash, u64)>,
    nodes: u64,
}

impl Tree {
    /// A tree without chunks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next chunk, `size` bytes long.
    pub fn push(&mut self, chunk: Hash, size: u64) {
        self.size = self.size.saturating_add(size);
        self.push_at(0, (chunk, size));
    }

    /// Bytes of all chunks.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u64 {
        self.levels.first().map_or(0, |level| level.nodes)
    }

    /// The root, which names a xorb: a single chunk's own hash, zero without chunks.
    pub fn xorb_hash(mut self) -> Hash {
        let mut at = 0;
        while let Some(level) = self.levels.get_mut(at) {
            if let (1, Some((root, _))) = (level.nodes, level.group.first()) {
                return *root;
            }
            if !level.group.is_empty() {
                let node = merge(&level.group);
                self.push_at(at + 1, node);
            }
            at += 1;
        }
        Hash::ZERO
    }

    /// The hash of the file that the chunks make; zero for an empty one.
    pub fn file_hash(self) -> Hash {
        match self.xorb_hash() {
            Hash::ZERO => Hash::ZERO,
            root => keyed(&FILE_KEY, root.as_bytes()),
        }
    }

    fn push_at(&mut self, mut at: usize, mut node: (Hash, u64)) {
        loop {
            if self.levels.len() <= at {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[at];
            level.nodes += 1;
            level.group.push(node);
            if !closes(&level.group) {
                return;
            }
            node = merge(&level.group);
            level.group.clear();
            at += 1;
        }
    }
}

/// Whether a group ends with its last node, whatever comes after. What is left at the end of a level is a
/// group too, even of one.
fn closes(group: &[(Hash, u64)]) -> bool {
    let divisible = || {
        group
            .last()
            .is_some_and(|(hash, _)| hash.modulo(BRANCHING) == 0)
    };
    group.len() >= MAX_CHILDREN || group.len() >= MIN_CHILDREN && divisible()
}

fn merge(children: &[(Hash, u64)]) -> (Hash, u64) {
    let mut text = String::with_capacity(children.len() * 90);
    let mut total = 0_u64;
    for (hash, size) in children {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{hash} : {size}");
        total = total.saturating_add(*size);
    }
    (keyed(&NODE_KEY, text.as_bytes()), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tree as the specification words it: level by level over a list.
    fn plainly(mut nodes: Vec<(Hash, u64)>) -> Hash {
        while nodes.len() > 1 {
            let mut parents = Vec::new();
            let mut rest = &nodes[..];
            while !rest.is_empty() {
                let cut = match rest.len() {
                    1 | 2 => rest.len(),
                    n => (2..n.min(9))
                        .find(|i| rest[*i].0.modulo(4) == 0)
                        .map_or(n.min(9), |i| i + 1),
                };
                parents.push(merge(&rest[..cut]));
                rest = &rest[cut..];
            }
            nodes = parents;
        }
        nodes.first().map_or(Hash::ZERO, |node| node.0)
    }

    #[test]
    fn nothing_has_the_hash_zero() {
        assert_eq!(xorb_hash([]), Hash::ZERO);
        assert_eq!(file_hash([]), Hash::ZERO);
    }

    #[test]
    fn a_lone_chunk_is_its_xorbs_root_and_not_its_files_hash() {
        let chunk = chunk_hash(b"hello");
        assert_eq!(xorb_hash([(chunk, 5)]), chunk);
        assert_ne!(file_hash([(chunk, 5)]), chunk);
    }

    #[test]
    fn sizes_are_part_of_the_name() {
        let (a, b) = (chunk_hash(b"a"), chunk_hash(b"b"));
        assert_ne!(xorb_hash([(a, 1), (b, 1)]), xorb_hash([(a, 1), (b, 2)]));
    }

    #[test]
    fn a_tree_knows_its_chunks() {
        let mut tree = Tree::new();
        (0..100).for_each(|i| tree.push(chunk_hash(&[i]), 7));
        assert_eq!((tree.size(), tree.chunks()), (700, 100));
    }

    proptest! {
        #[test]
        fn the_growing_tree_is_the_plain_one(seed: u64, count in 0_u64..600) {
            let nodes: Vec<_> = (0..count).map(|i| (chunk_hash(&(seed ^ i).to_le_bytes()), i + 1)).collect();
            prop_assert_eq!(xorb_hash(nodes.clone()), plainly(nodes));
        }

        #[test]
        fn groups_of_all_lengths_are_the_plain_ones(words in prop::collection::vec(0_u8..8, 0..80)) {
            let node = |word: &u8| { let mut b = [3; 32]; b[24] = *word; (Hash::from_bytes(b), 1) };
            let nodes: Vec<_> = words.iter().map(node).collect();
            prop_assert_eq!(xorb_hash(nodes.clone()), plainly(nodes));
        }
    }
}
