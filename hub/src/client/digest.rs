//! What names a file's content, computed.

use super::error::{ClientError, ClientResult};
use super::tree::Content;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Computes either name of a content, piece by piece.
#[derive(Debug, Clone)]
pub(crate) enum Digester {
    Git(Sha1),
    Sha256(Sha256),
}

impl Digester {
    /// For comparing with `content`, of a file of `size` bytes: git's names begin with it.
    pub(crate) fn like(content: &Content, size: u64) -> Self {
        match content {
            Content::Git(_) => Self::git(size),
            Content::Sha256(_) => Self::Sha256(Sha256::new()),
        }
    }

    /// Git's name of a file of `size` bytes.
    pub(crate) fn git(size: u64) -> Self {
        Self::Git(Sha1::new_with_prefix(format!("blob {size}\0")))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Git(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Content {
        match self {
            Self::Git(state) => Content::Git(hex::encode(state.finalize())),
            Self::Sha256(state) => Content::Sha256(hex::encode(state.finalize())),
        }
    }

    /// Takes in a whole file.
    pub(crate) fn read(&mut self, path: &Path, file: &mut File) -> ClientResult<()> {
        let mut piece = vec![0; READ_BYTES];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => self.update(piece.get(..read).unwrap_or_default()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ClientError::io(format!("read {}", path.display()), e)),
            }
        }
    }
}

/// Whether the file at `path` is what a repository calls `content` and `size`. What is no file is not.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn is_content(path: &Path, content: &Content, size: u64) -> ClientResult<bool> {
    let known = match std::fs::symlink_metadata(path) {
        Ok(known) => known,
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        Err(e) => return Err(ClientError::io(format!("look at {}", path.display()), e)),
    };
    if !known.is_file() || known.len() != size {
        return Ok(false);
    }
    let mut file =
        File::open(path).map_err(|e| ClientError::io(format!("read {}", path.display()), e))?;
    let mut digester = Digester::like(content, size);
    digester.read(path, &mut file)?;
    Ok(digester.finish() == *content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gits_and_sha256s() {
        let mut git = Digester::git(6);
        git.update(b"hello\n");
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(
            git.finish().digits(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        let mut sha = Digester::Sha256(Sha256::new());
        sha.update(b"abc");
        assert_eq!(
            sha.finish().digits(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
