//! Which row group of a data file holds which frames.
//!
//! The file's own statistics say which numbers lie in a row group, so that one frame costs the
//! reading of one group's numbers instead of the whole file's.

use crate::error::Result;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use std::sync::{Arc, OnceLock};

/// Rows whose dataset-wide numbers are consecutive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    /// Number of the first row.
    pub(super) number: u64,
    /// Its place in the file.
    pub(super) row: u64,
    pub(super) rows: u64,
}

/// The row groups of a file.
#[derive(Debug)]
pub(super) struct Groups {
    /// First row of each group, and after the last.
    starts: Vec<u64>,
    /// Smallest and largest number in each group; everything where the file does not say.
    spans: Vec<(u64, u64)>,
    /// Whether each group's numbers are larger than those of the group before.
    ordered: bool,
    runs: Vec<OnceLock<Arc<[Run]>>>,
}

impl Groups {
    /// The groups of a file, whose column `index` numbers its rows; `None` if they claim more rows
    /// than can be counted.
    pub(super) fn new(metadata: &ParquetMetaData, index: usize) -> Option<Self> {
        let schema = metadata.file_metadata().schema_descr();
        let leaf = (0..schema.num_columns()).find(|l| schema.get_column_root_idx(*l) == index)?;
        let mut starts = vec![0_u64];
        let mut spans = Vec::with_capacity(metadata.num_row_groups());
        for group in metadata.row_groups() {
            let end = starts.last()?.checked_add(group.num_rows() as u64)?;
            starts.push(end);
            let statistics = group.column(leaf).statistics();
            spans.push(statistics.and_then(span).unwrap_or((0, u64::MAX)));
        }
        let ordered = spans.windows(2).all(|pair| pair[0].1 < pair[1].0);
        let runs = spans.iter().map(|_| OnceLock::new()).collect();
        Some(Self {
            starts,
            spans,
            ordered,
            runs,
        })
    }

    /// First row of a group, and after its last.
    pub(super) fn rows(&self, group: usize) -> (u64, u64) {
        (self.starts[group], self.starts[group + 1])
    }

    /// The group that holds a row of the file.
    pub(super) fn of_row(&self, row: u64) -> Option<usize> {
        let after = self.starts.partition_point(|first| *first <= row);
        (after < self.starts.len()).then(|| after.checked_sub(1))?
    }

    /// The groups that may hold the row numbered `index`.
    pub(super) fn holding(&self, index: u64) -> impl Iterator<Item = usize> {
        let first = if self.ordered {
            self.spans.partition_point(|(_, last)| *last < index)
        } else {
            0
        };
        let end = if self.ordered {
            self.spans.len().min(first + 1)
        } else {
            self.spans.len()
        };
        (first..end).filter(move |group| {
            let (first, last) = self.spans[*group];
            (first..=last).contains(&index)
        })
    }

    /// The runs of a group, which `read` finds out the first time.
    pub(super) fn runs(
        &self,
        group: usize,
        read: impl FnOnce() -> Result<Vec<Run>>,
    ) -> Result<Arc<[Run]>> {
        if let Some(runs) = self.runs[group].get() {
            return Ok(runs.clone());
        }
        let found: Arc<[Run]> = read()?.into();
        Ok(self.runs[group].get_or_init(|| found).clone())
    }
}

/// Smallest and largest value of a column of whole numbers.
fn span(statistics: &Statistics) -> Option<(u64, u64)> {
    let Statistics::Int64(numbers) = statistics else {
        return None;
    };
    let (first, last) = (*numbers.min_opt()?, *numbers.max_opt()?);
    Some((u64::try_from(first).ok()?, u64::try_from(last).ok()?))
}
