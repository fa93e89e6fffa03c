//! What the doctor says: findings with a place and a remedy, and the report that holds them.

use super::code::Code;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing needs to be done.
    Note,
    /// Loads, but probably is not what was meant to be recorded.
    Warning,
    /// Does not load, loads the wrong rows or pictures, or trains on wrong numbers.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Where a finding is, as closely as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Place {
    /// File, relative to the dataset's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Episode number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub episode: Option<u64>,
    /// Row within the episode, or frame within the file where there is no episode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// Feature name, with the entry's name after a slash where one entry is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
}

impl Place {
    pub(super) fn file(file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..Self::default()
        }
    }

    pub(super) fn episode(mut self, episode: u64) -> Self {
        self.episode = Some(episode);
        self
    }

    pub(super) fn frame(mut self, frame: u64) -> Self {
        self.frame = Some(frame);
        self
    }

    pub(super) fn feature(mut self, feature: impl Into<String>) -> Self {
        self.feature = Some(feature.into());
        self
    }
}

impl fmt::Display for Place {
    /// `episode 3 · frame 7 · action/gripper.pos · data/…`, without what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.episode.map(|e| format!("episode {e}")),
            self.frame.map(|n| format!("frame {n}")),
            self.feature.clone(),
            self.file.as_ref().map(|p| p.display().to_string()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(" · "))
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What was found, with the figures.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Checked {
    /// Rows of the episode table.
    pub episodes: u64,
    /// Rows of the data files.
    pub rows: u64,
    /// Data files.
    pub data_files: u64,
    /// Video files whose index was read.
    pub video_files: u64,
    /// Pictures decoded.
    pub pictures: u64,
    /// Size of the dataset's folder, bytes.
    pub bytes: u64,
}

/// Everything that an examination found, worst first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings; of each code at most [`super::Options::per_code`].
    pub findings: Vec<Finding>,
    /// How many more findings of a code there were than are listed.
    pub unlisted: BTreeMap<Code, u64>,
    /// How much was looked at.
    pub checked: Checked,
}

impl Report {
    /// The worst severity, or `None` without findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|f| f.severity).max()
    }

    /// Number of findings of a severity, the unlisted included.
    pub fn count(&self, severity: Severity) -> u64 {
        let listed = self.findings.iter().filter(|f| f.severity == severity);
        let unlisted = self
            .unlisted
            .iter()
            .filter(|(c, _)| c.severity() == severity);
        listed.count() as u64 + unlisted.map(|(_, n)| n).sum::<u64>()
    }
}

/// Findings as they come in. A dataset that is wrong everywhere must not fill the memory.
#[derive(Debug)]
pub(super) struct Findings {
    list: Vec<Finding>,
    counts: BTreeMap<Code, u64>,
    per_code: u64,
    pub(super) checked: Checked,
}

impl Findings {
    pub(super) fn new(per_code: usize) -> Self {
        Self {
            list: Vec::new(),
            counts: BTreeMap::new(),
            per_code: per_code as u64,
            checked: Checked::default(),
        }
    }

    pub(super) fn add(&mut self, code: Code, place: Place, message: impl Into<String>) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= self.per_code {
            self.list.push(Finding {
                code,
                severity: code.severity(),
                place,
                message: message.into(),
                remedy: code.remedy(),
            });
        }
    }

    pub(super) fn has(&self, code: Code) -> bool {
        self.counts.contains_key(&code)
    }

    pub(super) fn report(mut self) -> Report {
        // Stable, so that findings of one kind stay in the order of the files.
        self.list
            .sort_by_key(|f| (std::cmp::Reverse(f.severity), f.code));
        let per_code = self.per_code;
        let more =
            |(code, count): (Code, u64)| (count > per_code).then(|| (code, count - per_code));
        Report {
            findings: self.list,
            unlisted: self.counts.into_iter().filter_map(more).collect(),
            checked: self.checked,
        }
    }
}

/// Follows a column that should count up by one, and tells each departure from that once: after a
/// wrong cell it goes on where it was, after a gap where the column goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    pub(super) next: u64,
    shifted: Option<u64>,
}

impl Counter {
    pub(super) fn starting_at(next: u64) -> Self {
        Self {
            next,
            shifted: None,
        }
    }

    /// Takes the next value; gives what it should have been if it is wrong in a new way.
    pub(super) fn take(&mut self, value: u64) -> Option<u64> {
        let expected = self.next;
        if value == expected || Some(value) == self.shifted {
            *self = Self::starting_at(value.saturating_add(1));
            return None;
        }
        self.next = expected.saturating_add(1);
        self.shifted = Some(value.saturating_add(1));
        Some(expected)
    }
}

/// `gap` or `duplicate`, for messages.
pub(super) fn gap_or_duplicate(found: u64, expected: u64) -> &'static str {
    if found > expected {
        "a gap"
    } else {
        "a duplicate"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departures(values: &[u64]) -> Vec<(usize, u64)> {
        let mut counter = Counter::default();
        let wrong = |(at, value): (usize, &u64)| counter.take(*value).map(|e| (at, e));
        values.iter().enumerate().filter_map(wrong).collect()
    }

    #[test]
    fn each_departure_is_told_once() {
        assert_eq!(departures(&[0, 1, 2, 3]), []);
        assert_eq!(departures(&[0, 1, 9, 3, 4]), [(2, 2)], "one wrong cell");
        assert_eq!(departures(&[0, 1, 3, 4, 5]), [(2, 2)], "a gap");
        assert_eq!(departures(&[0, 1, 1, 2, 3]), [(2, 2)], "a duplicate");
        assert_eq!(departures(&[0, 2, 3, 5, 6]), [(1, 1), (3, 4)], "two gaps");
        assert_eq!(departures(&[u64::MAX, u64::MAX]), [(0, 0)]);
    }

    #[test]
    fn a_flood_is_counted_and_cut() {
        let mut findings = Findings::new(2);
        for frame in 0..5 {
            findings.add(Code::JointJump, Place::default().frame(frame), "jump");
        }
        findings.add(Code::Totals, Place::default(), "totals");
        let report = findings.report();
        let codes: Vec<Code> = report.findings.iter().map(|f| f.code).collect();
        assert_eq!(codes, [Code::Totals, Code::JointJump, Code::JointJump]);
        assert_eq!(report.unlisted, BTreeMap::from([(Code::JointJump, 3)]));
        assert_eq!(report.count(Severity::Warning), 5);
        assert_eq!(report.worst(), Some(Severity::Error));
    }
}
