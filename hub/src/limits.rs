//! How much a request may ask for, in one place.

/// Bytes of a JSON request.
pub(crate) const JSON: usize = 8 * 1024 * 1024;
/// Bytes of a whole commit request: the clients send at most 100 MB of contents, a third more in base64.
pub(crate) const COMMIT: u64 = 256 * 1024 * 1024;
/// Bytes of one line of a commit request.
pub(crate) const COMMIT_LINE: usize = 24 * 1024 * 1024;
/// Changes of one commit.
pub(crate) const COMMIT_CHANGES: usize = 25_000;
/// Bytes of a file that is kept in git. Above, it has to come as a large file.
pub(crate) const REGULAR: usize = 16 * 1024 * 1024;
/// Bytes of a large file that comes without Xet.
pub(crate) const LARGE: u64 = 50 * 1024 * 1024 * 1024;
/// Bytes of a xorb, as Xet's specification has it, and room for a footer.
pub(crate) const XORB: u64 = 64 * 1024 * 1024 + 1024 * 1024;
/// Bytes of a shard.
pub(crate) const SHARD: usize = 64 * 1024 * 1024;
/// Files of one preupload request; the clients send at most 256.
pub(crate) const PREUPLOAD_FILES: usize = 1000;
/// Objects of one LFS batch.
pub(crate) const LFS_BATCH: usize = 1000;
/// Paths of one paths-info request.
pub(crate) const PATHS: usize = 2000;
/// Entries on a page of a tree.
pub(crate) const TREE_PAGE: usize = 1000;
/// Entries on a page of a tree that tells who changed what last.
pub(crate) const TREE_PAGE_EXPANDED: usize = 100;
/// Repositories on a page of a list.
pub(crate) const LIST_PAGE: i64 = 1000;
/// Commits on a page.
pub(crate) const COMMITS_PAGE: usize = 1000;
/// Bytes of a card that are looked at.
pub(crate) const CARD: usize = 1024 * 1024;
/// Bytes of a commit's title and description.
pub(crate) const MESSAGE: usize = 64 * 1024;
/// Bytes of a push by git.
pub(crate) const PUSH: u64 = 1024 * 1024 * 1024;
/// Objects of a push.
pub(crate) const PUSH_OBJECTS: u32 = 500_000;
/// Bytes of a push, unpacked, with what is read again for deltas.
pub(crate) const PUSH_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
