//! Which files are large files: `.gitattributes`, size, and whether the beginning reads as text.
//! Pattern rules: git's documentation, `gitattributes` and `gitignore`.

use crate::glob::{Stars, glob};

/// Files larger than this are never kept in git, bytes.
pub(crate) const REGULAR_LIMIT: u64 = 10 * 1024 * 1024;

/// Endings of files that do not read as text, for new repositories.
const LARGE: [&str; 34] = [
    "7z",
    "arrow",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gz",
    "h5",
    "joblib",
    "mcap",
    "mlmodel",
    "model",
    "mp4",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ot",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "rrd",
    "safetensors",
    "tar",
    "tflite",
    "tgz",
    "wasm",
    "xz",
    "zip",
    "zst",
];

/// The `.gitattributes` of a new repository.
pub(crate) fn default_file() -> String {
    let line = |ending: &&str| format!("*.{ending} filter=lfs diff=lfs merge=lfs -text\n");
    LARGE.iter().map(line).collect()
}

/// The lines of a `.gitattributes` that say what is a large file.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    rules: Vec<(String, bool)>,
}

impl Attributes {
    /// Reads a file; lines that make no sense are passed over, as git does.
    pub(crate) fn parse(text: &str) -> Self {
        let rule = |line: &str| {
            let mut words = line.split_whitespace();
            let pattern = words.next().filter(|first| !first.starts_with('#'))?;
            let attributes: Vec<&str> = words.collect();
            let is_large = attributes.contains(&"filter=lfs");
            let is_not = attributes
                .iter()
                .any(|a| matches!(*a, "-filter" | "!filter" | "filter="));
            (is_large || is_not).then(|| (pattern.to_owned(), is_large))
        };
        Self {
            rules: text.lines().take(10_000).filter_map(rule).collect(),
        }
    }

    /// What the last line that matches says, if any does.
    fn says(&self, path: &str) -> Option<bool> {
        let rule = self.rules.iter().rev().find(|rule| matches(&rule.0, path));
        rule.map(|rule| rule.1)
    }

    /// Whether a file is to be uploaded as a large file.
    pub(crate) fn is_large(&self, path: &str, size: u64, sample: &[u8]) -> bool {
        size > REGULAR_LIMIT || self.says(path).unwrap_or_else(|| !reads_as_text(sample))
    }
}

/// Whether the beginning of a file is UTF-8 without control characters; a character may be cut at the end.
fn reads_as_text(sample: &[u8]) -> bool {
    let valid = match std::str::from_utf8(sample) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&sample[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}'))
}

/// Whether a pattern means a path: without a slash it is matched with the name alone.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let anchored = pattern.strip_prefix('/').unwrap_or(pattern);
    if anchored.contains('/') || pattern.starts_with('/') {
        return glob(anchored.as_bytes(), path.as_bytes(), Stars::Stop);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    glob(pattern.as_bytes(), name.as_bytes(), Stars::Stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_gits() {
        for (pattern, path, expected) in [
            ("*.bin", "a/b.bin", true),
            ("*.bin", "a.bin/b", false),
            ("data/*", "data/a", true),
            ("data/*", "data/a/b", false),
            ("data/**", "data/a/b", true),
            ("**/x.txt", "x.txt", true),
            ("**/x.txt", "a/b/x.txt", true),
            ("**/x.txt", "a/yx.txt", false),
            ("/a", "a", true),
            ("/a", "b/a", false),
            ("a?c", "abc", true),
            ("*tfevents*", "x/events.out.tfevents.1", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn size_beats_attributes_and_attributes_beat_the_sample() {
        let attributes = Attributes::parse("*.txt -filter\n*.dat filter=lfs\n");
        assert!(attributes.is_large("a.txt", REGULAR_LIMIT + 1, b"a"));
        assert!(!attributes.is_large("a.txt", 4, b"\0\0\0"));
        assert!(attributes.is_large("a.dat", 4, b"text"));
        assert!(attributes.is_large("a", 4, b"\xff\xfe"));
        assert!(!attributes.is_large("a", 4, "é".as_bytes()));
        assert!(!attributes.is_large("a", 4, &"é".as_bytes()[..1]));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}", path in ".{0,40}", sample in prop::collection::vec(any::<u8>(), 0..40)) {
            let attributes = Attributes::parse(&text);
            let _ = attributes.is_large(&path, 1, &sample);
            let _ = matches(&text, &path);
        }
    }
}
