//! Which files are meant, by patterns as huggingface_hub has them: a star also stands for slashes.

use super::folder::LocalFile;
use super::tree::Entry;
use crate::glob::{Stars, glob};

/// Patterns for paths. Without any, everything is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// If there are some, one of these has to mean a file.
    pub include: Vec<String>,
    /// None of these may mean it.
    pub exclude: Vec<String>,
}

impl Choice {
    /// Whether a path is meant.
    pub fn takes(&self, path: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| means(pattern, path));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }

    /// Whether everything is meant.
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The files of a folder that are meant.
    pub fn of_folder(&self, mut files: Vec<LocalFile>) -> Vec<LocalFile> {
        files.retain(|file| self.takes(&file.path));
        files
    }

    /// The files of a repository that are meant.
    pub fn of_repository(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.retain(|entry| !entry.is_folder && self.takes(&entry.path));
        entries
    }
}

/// A pattern that ends in a slash means everything in that folder.
fn means(pattern: &str, path: &str) -> bool {
    let mut pattern = pattern.to_owned();
    if pattern.ends_with('/') {
        pattern.push('*');
    }
    glob(pattern.as_bytes(), path.as_bytes(), Stars::Cross)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excluded_is_not_meant_though_it_is_included() {
        let choice = Choice {
            include: vec!["data/".into(), "*.json".into()],
            exclude: vec!["*/chunk-001/*".into()],
        };
        for (path, expected) in [
            ("data/a.parquet", true),
            ("data/chunk-001/a.parquet", false),
            ("meta/info.json", true),
            ("videos/a.mp4", false),
        ] {
            assert_eq!(choice.takes(path), expected, "{path}");
        }
        assert!(Choice::default().takes("anything") && Choice::default().is_all());
    }
}
