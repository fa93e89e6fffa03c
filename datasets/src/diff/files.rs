//! Which files are byte for byte the same.

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that are compared at a time.
const BLOCK: usize = 1 << 20;

/// Answers that were given before: files hold many episodes.
#[derive(Debug, Default)]
pub(super) struct Files {
    same: HashMap<(PathBuf, PathBuf), bool>,
}

impl Files {
    /// Whether both files exist and hold the same bytes.
    pub(super) fn same(&mut self, a: &Path, b: &Path) -> Result<bool> {
        let key = (a.to_owned(), b.to_owned());
        if let Some(known) = self.same.get(&key) {
            return Ok(*known);
        }
        let same = a.is_file() && b.is_file() && same_bytes(a, b)?;
        self.same.insert(key, same);
        Ok(same)
    }
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let open = |path: &Path| -> Result<(File, Metadata)> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let about = file.metadata().map_err(Error::io("look at", path))?;
        Ok((file, about))
    };
    let ((file_a, about_a), (file_b, about_b)) = (open(a)?, open(b)?);
    if (about_a.dev(), about_a.ino()) == (about_b.dev(), about_b.ino()) {
        return Ok(true);
    }
    if about_a.len() != about_b.len() {
        return Ok(false);
    }
    let (mut rest_a, mut rest_b) = (BufReader::new(file_a), BufReader::new(file_b));
    let (mut block_a, mut block_b) = (Vec::new(), Vec::new());
    loop {
        block(&mut rest_a, &mut block_a).map_err(Error::io("read", a))?;
        block(&mut rest_b, &mut block_b).map_err(Error::io("read", b))?;
        if block_a != block_b {
            return Ok(false);
        }
        if block_a.is_empty() {
            return Ok(true);
        }
    }
}

/// Reads the next block, which is shorter only at the end.
fn block(from: &mut impl Read, into: &mut Vec<u8>) -> std::io::Result<usize> {
    into.clear();
    from.take(BLOCK as u64).read_to_end(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_makes_files_differ() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![7; 2 * BLOCK + 5];
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a"), &bytes).unwrap();
        std::fs::write(path("same"), &bytes).unwrap();
        *bytes.last_mut().unwrap() = 8;
        std::fs::write(path("last"), &bytes).unwrap();
        std::fs::write(path("shorter"), &bytes[1..]).unwrap();
        let mut files = Files::default();
        for (name, same) in [
            ("a", true),
            ("same", true),
            ("last", false),
            ("shorter", false),
        ] {
            assert_eq!(files.same(&path("a"), &path(name)).unwrap(), same, "{name}");
        }
        assert!(!files.same(&path("a"), &path("missing")).unwrap());
    }
}
